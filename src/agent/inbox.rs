//! The scheduler's instructions on their way to the intake.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use crate::{
    book::Book as _,
    error_chain::one_line,
    intake::{Intake, Verdict},
    ledger::Ledger,
    model::{
        fold::Fold,
        ids::{Seq, Uid},
        instruction::Instruction,
    },
    reconciler::{Wake, Waker},
    session,
};

/// Where the session puts instructions.
pub(super) struct Inbox {
    intake: Arc<Intake<Ledger>>,
    waker: Waker,
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
    pub(super) fn new(book: Ledger, intake: Arc<Intake<Ledger>>, waker: Waker) -> Self {
        let (arrivals, _) = watch::channel(0);
        Self {
            intake,
            waker,
            arrivals,
            unknown_destroys: AtomicU64::new(0),
            heard: Mutex::default(),
            forget_at: AtomicUsize::new(HEARD_AT_LEAST),
            book,
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

    /// Waits beside the next instructions until this one is durable, so that many share a sync.
    fn settle(&self, instance: String, uid: Uid, seq: Option<Seq>) {
        let (intake, waker) = (Arc::clone(&self.intake), self.waker.clone());
        tokio::spawn(async move {
            match intake.settle(seq).await {
                Ok(()) => {
                    tracing::info!(instance, %uid, seq, "accepted");
                    waker.wake(Wake::Instructed(uid));
                }
                Err(error) => {
                    tracing::error!(instance, why = one_line(&error), "could not be accepted");
                }
            }
        });
    }

    /// Counts what has come.
    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }
}

impl session::Inbox for Inbox {
    async fn submit(&self, instruction: Instruction) {
        self.arrivals.send_modify(|n| *n += 1);
        let instance: String = instruction.instance.escape_debug().take(128).collect();
        let judged = self.intake.take(&instruction);
        // Destroys of everybody's instances may come here; only what is known here counts.
        if !matches!(judged, Ok((Verdict::NotFound, _))) {
            self.hear(&instance);
        }
        match judged {
            Ok((Verdict::Accepted { uid, .. }, seq)) => self.settle(instance, uid, seq),
            Ok((Verdict::Unchanged { why }, _)) => {
                tracing::debug!(instance, why, "nothing to do");
            }
            Ok((Verdict::Refused { message, .. }, _)) => {
                tracing::warn!(instance, message, "refused");
            }
            Ok((Verdict::NotFound, _)) => {
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
