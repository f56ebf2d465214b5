//! What the turns share: where they act, where they write, and what this daemon remembers.
//!
//! Owns: the daemon's memory besides the journal (losing it costs a signal more, nothing else),
//! and which degraded modes the runtime's failures and successes stand for. Must never happen
//! here: an action.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Semaphore, mpsc};

use crate::{
    book::{Book, BookError},
    error_chain::one_line,
    intake::Intake,
    model::{
        ids::{ContainerId, Uid},
        line::{DegradedMode, Event},
        observed::{ObservedContainer, ObservedInstance, Status},
    },
    node::{Failure, FailureKind, Node},
    plan::Action,
};

/// How long trouble with the runtime is shown after it was last met, in ms. What fails is tried
/// again after 300 s at most, so trouble that lasts is met again before.
const SHOWN_MS: u64 = 330_000;

/// Before or after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Before,
    After,
}

/// Told of each action; a simulation dies there.
#[cfg(any(test, feature = "testing"))]
pub(crate) type Witness = Box<dyn Fn(&Action, Side) + Send + Sync>;

/// What turns share.
pub struct Context<N, B> {
    /// Where containers run.
    pub node: Arc<N>,
    /// Where everything is written down.
    pub book: B,
    pub(super) intake: Arc<Intake<B>>,
    pub(super) operations: Semaphore,
    bells: Vec<mpsc::UnboundedSender<Uid>>,
    /// Never asked for within a look into the book, nor held over one: that would be the other
    /// way round elsewhere.
    memory: Mutex<Memory>,
    /// One look for a host port or for ids, and its line, at a time. Taken before the book, never within it.
    claims: Mutex<()>,
    #[cfg(any(test, feature = "testing"))]
    pub(crate) witness: Option<Witness>,
}

/// What this daemon knows besides the journal; losing it costs a signal more, nothing else.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) signalled: BTreeSet<ContainerId>,
    pub(super) kills: BTreeMap<ContainerId, (u32, u64)>,
    held: BTreeSet<Uid>,
    /// When each degraded mode of the runtime was last met.
    met: BTreeMap<DegradedMode, u64>,
    awaited: BTreeMap<ContainerId, u64>,
    /// What has ended for good and was seen to have no sandbox: no line says that one is gone.
    vacated: BTreeSet<Uid>,
}

impl<N: Node, B: Book> Context<N, B> {
    /// What turns share; at most `operations` of the runtime's verbs run at once.
    pub fn new(node: Arc<N>, book: B, intake: Arc<Intake<B>>, operations: usize) -> Self {
        let operations = Semaphore::new(operations.max(1));
        Self {
            node,
            book,
            intake,
            operations,
            bells: Vec::new(),
            memory: Mutex::default(),
            claims: Mutex::default(),
            #[cfg(any(test, feature = "testing"))]
            witness: None,
        }
    }

    /// Another bell that rings for an instance when something was done at it: its probes, its
    /// hooks, or a look at its volumes may be due.
    pub fn bell(&mut self) -> mpsc::UnboundedReceiver<Uid> {
        let (sender, bell) = mpsc::unbounded_channel();
        self.bells.push(sender);
        bell
    }

    pub(super) fn ring(&self, uid: &Uid) {
        for bell in &self.bells {
            // Nobody hears it only when the daemon stops; the next one looks at everything.
            let _ = bell.send(uid.clone());
        }
    }

    /// Tells the witness of an action, where there is one.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn tell(&self, action: &Action, side: Side) {
        if let Some(witness) = &self.witness {
            witness(action, side);
        }
    }

    /// Nobody watches a daemon.
    #[cfg(not(any(test, feature = "testing")))]
    pub(super) fn tell(&self, _: &Action, _: Side) {}

    /// Whoever has this may look for a host port, or for ids, and take them.
    pub(super) fn claims_turn(&self) -> MutexGuard<'_, ()> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts of these wait from now on; of all others they don't.
    pub(super) fn hold(&self, uids: BTreeSet<Uid>) {
        self.memory().held = uids;
    }

    /// Unclaimed things that are on their way out and bear the mark of this incarnation's
    /// instance: it isn't started beside them.
    pub(super) fn leaving_before(&self, uid: &Uid) -> Vec<Uid> {
        self.book.read(|fold| {
            let Some(record) = fold.instances.get(uid) else {
                return Vec::new();
            };
            let disowned = fold.node.disowned.iter();
            let same = disowned.filter(|(_, d)| d.instance.as_ref() == Some(&record.instance));
            same.map(|(uid, _)| uid.clone()).collect()
        })
    }

    /// Notes whether an incarnation has ended for good and nothing of its sandbox is left.
    pub(super) fn note_vacated(&self, uid: &Uid, is: bool) {
        let mut memory = self.memory();
        if is {
            memory.vacated.insert(uid.clone());
        } else {
            memory.vacated.remove(uid);
        }
    }

    /// Those whose host ports are free although their records are there. Asked for before a look
    /// into the book.
    pub(super) fn vacated(&self) -> BTreeSet<Uid> {
        self.memory().vacated.clone()
    }

    pub(super) fn is_held(&self, uid: &Uid) -> bool {
        self.memory().held.contains(uid)
    }

    pub(super) fn signalled(&self, uid: &Uid) -> BTreeSet<ContainerId> {
        self.memory()
            .signalled
            .iter()
            .filter(|id| id.uid == *uid)
            .cloned()
            .collect()
    }

    /// Since when each exit of an incarnation is awaited that its monitor hasn't told yet.
    pub(super) fn await_exits(
        &self,
        uid: &Uid,
        observed: &ObservedInstance,
        now: u64,
    ) -> BTreeMap<ContainerId, u64> {
        let awaited = |c: &ObservedContainer| {
            matches!(c.status, Status::Stopped | Status::Absent) && c.exit.is_none() && c.monitor
        };
        let mut memory = self.memory();
        memory
            .awaited
            .retain(|id, _| id.uid != *uid || observed.containers.get(id).is_some_and(awaited));
        for (id, _) in observed.containers.iter().filter(|(_, c)| awaited(c)) {
            memory.awaited.entry(id.clone()).or_insert(now);
        }
        memory
            .awaited
            .iter()
            .filter(|(id, _)| id.uid == *uid)
            .map(|(i, up)| (i.clone(), *up))
            .collect()
    }

    pub(super) fn forget(&self, id: &ContainerId) {
        let mut memory = self.memory();
        memory.signalled.remove(id);
        memory.kills.remove(id);
    }

    /// Enters the degraded mode that a failure of the runtime stands for, once.
    pub(super) fn runtime_fails(&self, failure: &Failure) -> Result<(), BookError> {
        let mode = match failure.kind {
            FailureKind::Hung => DegradedMode::RuntimeHung,
            FailureKind::ProgramMissing => DegradedMode::RuntimeMissing,
            FailureKind::DiskFull => DegradedMode::DiskFull,
            _ => return Ok(()),
        };
        self.memory().met.insert(mode, self.book.now().up);
        if !self
            .book
            .read(|fold| fold.node.degraded.contains_key(&mode))
        {
            self.book.record(Event::DegradedEntered {
                mode,
                detail: one_line(failure),
            })?;
        }
        Ok(())
    }

    /// Leaves the degraded modes that a success of the runtime disproves. A call that succeeds
    /// for one container says nothing of another's that hangs.
    pub(super) fn runtime_works(&self) -> Result<(), BookError> {
        let mut memory = self.memory();
        memory.met.remove(&DegradedMode::RuntimeMissing);
        memory.met.remove(&DegradedMode::DiskFull);
        drop(memory);
        self.leave(DegradedMode::RuntimeMissing)
    }

    /// Leaves the degraded modes of the runtime that were not met for a while: what failed is
    /// mended, or gone.
    pub(super) fn runtime_is_quiet(&self) -> Result<(), BookError> {
        for mode in [DegradedMode::RuntimeHung, DegradedMode::RuntimeMissing] {
            if !self.was_met(mode) {
                self.leave(mode)?;
            }
        }
        Ok(())
    }

    /// Has something failed for lack of space, and nothing been created since? The ledger has a
    /// word in this mode, too, so it isn't left here.
    #[must_use]
    pub fn lacks_space(&self) -> bool {
        self.was_met(DegradedMode::DiskFull)
    }

    fn was_met(&self, mode: DegradedMode) -> bool {
        let now = self.book.now().up;
        let met = self.memory().met.get(&mode).copied();
        met.is_some_and(|up| now.saturating_sub(up) < SHOWN_MS)
    }

    fn leave(&self, mode: DegradedMode) -> Result<(), BookError> {
        if self
            .book
            .read(|fold| fold.node.degraded.contains_key(&mode))
        {
            self.book.record(Event::DegradedLeft { mode })?;
        }
        Ok(())
    }
}
