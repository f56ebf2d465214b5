//! Instructions on their way from the wire to being accepted.
//!
//! Why: the wire has no answer to an instruction, so nobody repeats one whose line was written and
//! then withdrawn by a failed sync; without this it would be lost for good although the journal
//! goes on a moment later. Owns: the last such instruction of each id, until its line is durable.
//! In: instructions in the order in which they came. Out: wakes, once they are accepted. Must never
//! happen here: an instruction being repeated after a later one of its id.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    book::BookError,
    error_chain::one_line,
    intake::{Intake, Verdict},
    ledger::Ledger,
    model::{
        ids::{Seq, Uid},
        instruction::Instruction,
    },
    reconciler::{Wake, Waker},
};

/// A journal that can't be written is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Underway(Arc<Shared>);

struct Shared {
    intake: Arc<Intake<Ledger>>,
    waker: Waker,
    last: Mutex<HashMap<String, (Seq, Instruction)>>,
}

impl Underway {
    pub(super) fn new(intake: Arc<Intake<Ledger>>, waker: Waker) -> Self {
        Self(Arc::new(Shared {
            intake,
            waker,
            last: Mutex::default(),
        }))
    }

    fn last(&self) -> MutexGuard<'_, HashMap<String, (Seq, Instruction)>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges an instruction and writes it down. What is accepted is waited for beside the next
    /// ones, so that many share a sync.
    pub(super) fn take(&self, instruction: &Instruction) -> Result<Verdict, BookError> {
        let id = &instruction.instance;
        let mut last = self.last();
        let (verdict, seq) = self.0.intake.take(instruction)?;
        match (&verdict, seq) {
            (Verdict::Accepted { uid, .. }, Some(seq)) => {
                last.insert(id.clone(), (seq, instruction.clone()));
                tokio::spawn(self.clone().settle(id.clone(), uid.clone(), seq));
            }
            // A destroy of what was withdrawn: it isn't to come back.
            (Verdict::NotFound, _) => drop(last.remove(id)),
            // It changes nothing of what is under way.
            _ => {}
        }
        Ok(verdict)
    }

    async fn settle(self, id: String, uid: Uid, seq: Seq) {
        let (mut uid, mut seq) = (uid, seq);
        loop {
            match self.0.intake.settle(Some(seq)).await {
                Ok(()) => {
                    tracing::info!(instance = shown(&id), %uid, seq, "accepted");
                    self.forget(&id, seq);
                    return self.0.waker.wake(Wake::Instructed(uid));
                }
                Err(error @ BookError::Withdrawn { .. }) => {
                    let why = one_line(&error);
                    tracing::warn!(instance = shown(&id), why, "taken once more");
                }
                Err(error) => {
                    let why = one_line(&error);
                    tracing::error!(instance = shown(&id), why, "could not be accepted");
                    return self.forget(&id, seq);
                }
            }
            match self.again(&id, seq).await {
                Some(anew) => (uid, seq) = anew,
                None => return,
            }
        }
    }

    /// Takes the withdrawn instruction once more, as soon as anything can be written down, unless
    /// a later one of its id has come.
    async fn again(&self, id: &str, withdrawn: Seq) -> Option<(Uid, Seq)> {
        loop {
            {
                let mut last = self.last();
                let (seq, instruction) = last.get_mut(id).filter(|(s, _)| *s == withdrawn)?;
                match self.0.intake.take(instruction) {
                    Ok((Verdict::Accepted { uid, .. }, Some(anew))) => {
                        *seq = anew;
                        return Some((uid, anew));
                    }
                    Err(BookError::ReadOnly { .. }) => {}
                    other => {
                        tracing::warn!(instance = shown(id), ?other, "not accepted any more");
                        last.remove(id);
                        return None;
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn forget(&self, id: &str, seq: Seq) {
        let mut last = self.last();
        if last.get(id).is_some_and(|(s, _)| *s == seq) {
            last.remove(id);
        }
    }
}

/// An id from outside as it may stand in a log.
pub(super) fn shown(id: &str) -> String {
    id.escape_debug().take(128).collect()
}
