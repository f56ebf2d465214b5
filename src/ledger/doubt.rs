//! What a damaged journal leaves in doubt.
//!
//! Owns: from lost lines to the incarnations that they may have been about, and the way out of
//! doubt. Must never happen here: a doubt that a kill at any moment makes forgotten.

use super::{Damage, Ledger};
use crate::{
    book::{Book, BookError},
    model::{
        fold::Fold,
        ids::{Source, Uid},
        line::Event,
    },
};

/// Incarnations that lost lines may have been about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The incarnations.
    pub uids: Vec<Uid>,
    /// What is lost, in a sentence.
    pub why: String,
}

/// What the damage leaves in doubt; none if every lost line is in a snapshot or in the store, or
/// no incarnation can be meant.
///
/// Lost bytes can't be trusted to tell whom they were about, so every incarnation is meant that
/// could have had a line there (see [`Fold::concerned`]).
#[must_use]
pub fn doubt(fold: &Fold, damage: &[Damage]) -> Option<Doubt> {
    let mut lost = damage.iter().filter(|d| d.in_doubt());
    // Whoever an earlier loss concerns and a later one doesn't was settled in between.
    let latest = lost.clone().map(|d| d.first).max()?;
    let uids = fold.concerned(latest);
    let why = lost.next()?.to_string();
    let more = match lost.count() {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    };
    (!uids.is_empty()).then(|| Doubt {
        uids,
        why: format!("{why}{more}"),
    })
}

impl Ledger {
    /// Takes what is known of the instances in doubt for what they shall be, durably. Returns who
    /// was in doubt. With a snapshot after it what is damaged is history.
    ///
    /// # Errors
    /// It can't be written down; then some may still be in doubt.
    pub async fn accept_damage(&self) -> Result<Vec<Uid>, BookError> {
        let doubted: Vec<Uid> =
            self.read(|fold| fold.doubted().map(|record| record.uid.clone()).collect());
        let settled = |uid: &Uid| Event::Settled {
            uid: uid.clone(),
            source: Source::Operator,
        };
        let recorded = self.record_all(doubted.iter().map(settled).collect())?;
        if let Some(last) = recorded.last() {
            self.durable(last.seq).await?;
        }
        Ok(doubted)
    }
}
