//! Which instances are to be looked at, and when. Pure bookkeeping.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Superseded;
use crate::model::ids::Uid;

/// The first delay after a turn that failed, in ms; doubled with each further failure.
const RETRY_BASE_MS: u64 = 500;

/// The longest delay after a turn that failed, in ms.
const RETRY_CAP_MS: u64 = 30_000;

/// An instance whose turn is to begin.
pub(crate) struct Ready {
    pub(super) uid: Uid,
    pub(super) superseded: Superseded,
}

#[derive(Default)]
struct Running {
    again: bool,
    superseded: Superseded,
}

/// Wakes collapse, the earliest timer wins, and an instance has at most one turn at a time.
#[derive(Default)]
pub(super) struct Queue {
    ready: BTreeSet<Uid>,
    running: HashMap<Uid, Running>,
    timers: BTreeMap<Uid, u64>,
    failures: HashMap<Uid, u32>,
    surveying: bool,
}

impl Queue {
    /// May a survey begin? At most one runs.
    pub(super) fn begin_survey(&mut self) -> bool {
        !std::mem::replace(&mut self.surveying, true)
    }

    /// Asks for a turn. An instruction tells the turn that is under way that it is stale.
    pub(super) fn push(&mut self, uid: Uid, instructed: bool) {
        match self.running.get_mut(&uid) {
            Some(running) => {
                running.again = true;
                if instructed {
                    running.superseded.tell();
                }
            }
            None => {
                self.ready.insert(uid);
            }
        }
    }

    /// The next instance whose turn is to begin; it counts as running from here.
    pub(super) fn pop(&mut self) -> Option<Ready> {
        let uid = self.ready.pop_first()?;
        self.timers.remove(&uid);
        let superseded = Superseded::default();
        let running = Running {
            again: false,
            superseded: superseded.clone(),
        };
        self.running.insert(uid.clone(), running);
        Some(Ready { uid, superseded })
    }

    /// A turn ended: look again at `wake_up`, sooner if it failed, at once if it was asked for.
    pub(super) fn end(&mut self, uid: &Uid, now: u64, wake_up: Option<u64>, failed: bool) {
        let Some(running) = self.running.remove(uid) else {
            return;
        };
        let mut wake = wake_up;
        if failed {
            let failures = self.failures.entry(uid.clone()).or_default();
            let delay = (RETRY_BASE_MS << (*failures).min(6)).min(RETRY_CAP_MS);
            *failures += 1;
            wake = Some(wake.map_or(now + delay, |w| w.min(now + delay)));
        } else {
            self.failures.remove(uid);
        }
        let stale = running.superseded.is_told();
        if running.again && (stale || !failed) {
            self.ready.insert(uid.clone());
        } else if let Some(up) = wake {
            self.timers.insert(uid.clone(), up);
        }
    }

    /// The survey ended.
    pub(super) fn end_survey(&mut self) {
        self.surveying = false;
    }

    /// When the next timer is due, in CLOCK_BOOTTIME ms.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.timers.values().min().copied()
    }

    /// Asks for a turn of everything whose timer is due.
    pub(super) fn take_due(&mut self, now: u64) {
        let due: Vec<Uid> = self
            .timers
            .iter()
            .filter(|(_, up)| **up <= now)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in due {
            self.timers.remove(&uid);
            self.push(uid, false);
        }
    }
}
