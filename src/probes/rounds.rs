//! The loop's bookkeeping: who is looked at, which errands begin, what their ends come to.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    book::Book,
    error_chain::one_line,
    model::ids::Uid,
    node::{ErrandEnd, Failure, FailureKind},
    plan::errands::{DueErrand, ErrandId, Memory, Purpose, due_errands, errand_ended},
};

/// So many errands run at once; others wait. Hooks go before probes.
const AT_ONCE: usize = 64;

/// What came of an errand, as it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// It was done, well or not.
    Done {
        /// Well?
        ok: bool,
        /// What was seen.
        message: String,
    },
    /// It couldn't be tried: that says nothing of the container.
    Untried,
}

impl Told {
    /// It took too long.
    pub(crate) fn late(limit: Duration) -> Self {
        Self::Done {
            ok: false,
            message: format!("not done within {} s", limit.as_secs_f64()),
        }
    }
}

/// What an errand's end says. A probe that can't be tried says nothing; a hook that can't be has
/// failed, for somebody waits for it.
pub(crate) fn judge_errand(id: &ErrandId, done: Result<ErrandEnd, Failure>) -> Told {
    match done {
        Ok(end) => Told::Done {
            ok: end.ok,
            message: end.message,
        },
        Err(failure) => {
            let message = one_line(&failure);
            let hung = failure.kind == FailureKind::Hung;
            if hung || matches!(id.purpose, Purpose::Hook(_)) {
                return Told::Done { ok: false, message };
            }
            tracing::debug!(container = %id.container, why = %message, "a probe can't be tried");
            Told::Untried
        }
    }
}

/// What this daemon knows of errands besides the journal.
#[derive(Default)]
struct Known {
    begun: BTreeMap<ErrandId, u64>,
    running: BTreeSet<ErrandId>,
}

impl Memory for Known {
    fn begun(&self, id: &ErrandId) -> Option<u64> {
        self.begun.get(id).copied()
    }

    fn runs(&self, id: &ErrandId) -> bool {
        self.running.contains(id)
    }
}

/// The loop's bookkeeping.
pub(crate) struct ErrandRounds<B> {
    book: B,
    known: Known,
    /// Due, and counted as running, until there is room.
    ready: VecDeque<DueErrand>,
    look: BTreeSet<Uid>,
    timers: BTreeMap<Uid, u64>,
    under_way: usize,
}

impl<B: Book> ErrandRounds<B> {
    /// Everything is looked at first.
    pub(crate) fn new(book: B) -> Self {
        let look = book.read(|fold| fold.instances.keys().cloned().collect());
        Self {
            book,
            known: Known::default(),
            ready: VecDeque::new(),
            look,
            timers: BTreeMap::new(),
            under_way: 0,
        }
    }

    /// CLOCK_BOOTTIME ms.
    pub(crate) fn now(&self) -> u64 {
        self.book.now().up
    }

    /// Something was done at an instance.
    pub(crate) fn on_ring(&mut self, uid: Uid) -> &'static str {
        self.look.insert(uid);
        "ring"
    }

    /// A timer is due.
    pub(crate) fn on_due(&mut self) -> &'static str {
        let now = self.now();
        for (uid, _) in self.timers.extract_if(.., |_, up| *up <= now) {
            self.look.insert(uid);
        }
        "due"
    }

    /// When the next timer is due, in CLOCK_BOOTTIME ms.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.timers.values().min().copied()
    }

    /// The next errand to begin; it counts as under way from here.
    pub(crate) fn next_errand(&mut self) -> Option<DueErrand> {
        while let Some(uid) = self.look.pop_first() {
            self.look_at(&uid);
        }
        if self.under_way >= AT_ONCE {
            return None;
        }
        let next = self.ready.pop_front()?;
        self.under_way += 1;
        self.known.begun.insert(next.id.clone(), self.now());
        Some(next)
    }

    fn look_at(&mut self, uid: &Uid) {
        let now = self.book.now();
        let known = &self.known;
        let found = self.book.read(|fold| {
            let record = fold.instances.get(uid)?;
            Some(due_errands(record, known, &now))
        });
        self.timers.remove(uid);
        let Some(found) = found else {
            return self.forget(uid);
        };
        if let Some(up) = found.wake_up {
            self.timers.insert(uid.clone(), up);
        }
        for due in found.due {
            self.known.running.insert(due.id.clone());
            match due.id.purpose {
                Purpose::Hook(_) => self.ready.push_front(due),
                Purpose::Probe(_) => self.ready.push_back(due),
            }
        }
        // What was begun at attempts that are over says nothing any more.
        self.book.read(|fold| {
            let record = fold.instances.get(uid);
            self.known.begun.retain(|id, _| {
                let current = || record.and_then(|r| r.current(id.container.n));
                id.container.uid != *uid || current().as_ref() == Some(&id.container)
            });
        });
    }

    fn forget(&mut self, uid: &Uid) {
        self.known.begun.retain(|id, _| id.container.uid != *uid);
    }

    /// An errand ended. The instance, if that is news of it.
    pub(crate) fn on_end(&mut self, id: &ErrandId, told: Told) -> Option<Uid> {
        self.under_way = self.under_way.saturating_sub(1);
        self.known.running.remove(id);
        let uid = id.container.uid.clone();
        self.look.insert(uid.clone());
        let Told::Done { ok, message } = told else {
            return None;
        };
        let event = self.book.read(|fold| {
            let record = fold.instances.get(&uid)?;
            errand_ended(record, id, ok, &message)
        })?;
        if let Err(error) = self.book.record(event) {
            // It is tried again: a probe after its period, a hook at the next look.
            tracing::warn!(%uid, why = %one_line(&error), "a result can't be written down");
            self.look.remove(&uid);
            let retry = self.now() + RETRY_MS;
            self.timers.insert(uid, retry);
            return None;
        }
        Some(uid)
    }

    /// An errand died without a word: a defect, which must not hold up the others.
    pub(crate) fn on_death(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        if self.under_way == 0 {
            let waiting = self.ready.iter().map(|due| due.id.clone());
            self.known.running = waiting.collect();
        }
    }

    /// Is nothing to begin and nothing under way?
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is_idle(&self) -> bool {
        self.look.is_empty() && self.ready.is_empty() && self.under_way == 0
    }
}

/// How soon something is looked at again whose result couldn't be written down, in ms.
const RETRY_MS: u64 = 1_000;
