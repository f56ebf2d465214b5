//! What a start found damaged, for as long as that matters.
//!
//! Owns: when the degraded mode `JournalDamaged` is shown, and what it says. It is left once
//! nobody is in doubt and a start finds nothing damaged in what it reads, or an operator has
//! accepted what is known.

use std::sync::{Mutex, PoisonError};

use super::tend::show;
use crate::{
    book::Book,
    ledger::{Ledger, Opening},
    model::line::DegradedMode,
};

/// What a start found damaged.
pub(super) struct Wounds(Mutex<Opening>);

impl Wounds {
    pub(super) fn of(opening: &Opening) -> Self {
        Self(Mutex::new(opening.clone()))
    }

    /// An operator has seen it: what is damaged is history.
    pub(super) fn accept(&self) {
        let mut opening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opening.damage.clear();
        opening.ahead = None;
    }

    /// Shows the mode, or leaves it.
    pub(super) fn show(&self, book: &Ledger) {
        let mut opening = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opening.doubted = book.read(|fold| fold.doubted().count());
        show(book, DegradedMode::JournalDamaged, opening.damaged(), true);
    }
}
