//! The scheduler's instructions on their way to the intake.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::watch;

use crate::{
    error_chain::one_line,
    intake::{Intake, Verdict},
    ledger::Ledger,
    model::instruction::Instruction,
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
}

impl Inbox {
    pub(super) fn new(intake: Arc<Intake<Ledger>>, waker: Waker) -> Self {
        let (arrivals, _) = watch::channel(0);
        Self {
            intake,
            waker,
            arrivals,
            unknown_destroys: AtomicU64::new(0),
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
        let instance: String = instruction.instance.escape_debug().take(128).collect();
        match self.intake.submit(&instruction).await {
            Ok(Verdict::Accepted { uid, seq }) => {
                tracing::info!(instance, %uid, seq, "accepted");
                self.waker.wake(Wake::Instructed(uid));
            }
            Ok(Verdict::Unchanged { why }) => tracing::debug!(instance, why, "nothing to do"),
            Ok(Verdict::Refused { message, .. }) => tracing::warn!(instance, message, "refused"),
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
