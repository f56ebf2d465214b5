//! The scheduler's instructions on their way to the intake.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use super::underway::{Underway, shown};
use crate::{
    book::Book as _,
    error_chain::one_line,
    intake::{Intake, Verdict},
    ledger::Ledger,
    model::{fold::Fold, instruction::Instruction},
    reconciler::Waker,
    session,
};

/// Where the session puts instructions.
pub(super) struct Inbox {
    intake: Arc<Intake<Ledger>>,
    underway: Underway,
    /// How many have come; the start-up hold waits for silence.
    arrivals: watch::Sender<u64>,
    /// Destroys for ids of which nothing is known: they go to the first ready worker, whoever
    /// owns the instance (design section 9, rule 2).
    pub(super) unknown_destroys: AtomicU64,
    heard: Mutex<BTreeSet<String>>,
    /// With so many heard, those that are gone are forgotten.
    forget_at: AtomicUsize,
    book: Ledger,
}

/// So many ids are always kept; beyond that twice as many as live.
const HEARD_AT_LEAST: usize = 1024;

impl Inbox {
    pub(super) fn new(book: &Ledger, intake: &Arc<Intake<Ledger>>, waker: &Waker) -> Self {
        let (arrivals, _) = watch::channel(0);
        Self {
            underway: Underway::new(Arc::clone(intake), waker.clone()),
            intake: Arc::clone(intake),
            arrivals,
            unknown_destroys: AtomicU64::new(0),
            heard: Mutex::default(),
            forget_at: AtomicUsize::new(HEARD_AT_LEAST),
            book: book.clone(),
        }
    }

    /// Ids that the scheduler has named since the link was last lost: of the others it may know
    /// nothing any more (design section 9, rule 7).
    pub(super) fn heard(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, instance: &str) {
        let mut heard = self.heard();
        heard.insert(instance.to_owned());
        if heard.len() >= self.forget_at.load(Ordering::Relaxed) {
            let live = |fold: &Fold| -> BTreeSet<String> {
                let ids = fold.instances.values().map(|r| r.instance.to_string());
                ids.collect()
            };
            let live = self.book.read(live);
            heard.retain(|id| live.contains(id));
            let next = (2 * heard.len()).max(HEARD_AT_LEAST);
            self.forget_at.store(next, Ordering::Relaxed);
        }
    }

    /// Counts what has come.
    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }
}

impl session::Inbox for Inbox {
    async fn submit(&self, instruction: Instruction) {
        self.arrivals.send_modify(|n| *n += 1);
        let instance = shown(&instruction.instance);
        let judged = self.underway.take(&instruction);
        // Destroys of everybody's instances may come here; only what is known here counts.
        if !matches!(judged, Ok(Verdict::NotFound)) {
            self.hear(&instance);
        }
        match judged {
            Ok(Verdict::Accepted { .. }) => {}
            Ok(Verdict::Unchanged { why }) => {
                tracing::debug!(instance, why, "nothing to do");
            }
            Ok(Verdict::Refused { message, .. }) => {
                tracing::warn!(instance, message, "refused");
            }
            Ok(Verdict::NotFound) => {
                self.unknown_destroys.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(instance, "a destroy of nothing that is known here");
            }
            Err(error) => {
                tracing::error!(instance, why = one_line(&error), "could not be accepted");
            }
        }
    }

    fn overloaded(&self, instruction: &Instruction) {
        self.arrivals.send_modify(|n| *n += 1);
        if let Err(error) = self.intake.refuse_overloaded(instruction) {
            tracing::error!(
                why = one_line(&error),
                "a refusal could not be written down"
            );
        }
    }
}

#[cfg(test)]
mod tests;
