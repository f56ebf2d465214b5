//! One instance that the scheduler chokes on must not silence the others.
//!
//! RIK's scheduler ends a whole status stream over one message that it can't place (an id that
//! its controller doesn't know, for one). So a batch that is refused again and again is sent
//! message by message, and an instance whose message alone is still refused is set aside for a
//! while. Nothing is dropped, and the order within an instance stays. Pure.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::model::ids::Uid;

/// So often the same thing is refused before it is taken apart, or set aside.
const PATIENCE: u32 = 3;

/// For so long an instance is set aside.
pub(super) const ASIDE: Duration = Duration::from_secs(30);

/// What was refused lately.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    refusals: u32,
    /// So many messages still go one by one.
    singly: usize,
    aside: BTreeMap<Uid, Instant>,
}

impl Trouble {
    /// How many messages may go in one stream.
    pub(super) fn limit(&self, usual: usize) -> usize {
        if self.singly > 0 { 1 } else { usual.max(1) }
    }

    /// Is nothing set aside, nor was and has yet to be heard?
    pub(super) fn is_over(&self) -> bool {
        self.aside.is_empty()
    }

    pub(super) fn is_aside(&self, uid: &Uid, now: Instant) -> bool {
        self.aside.get(uid).is_some_and(|until| *until > now)
    }

    /// When the next instance is tried again.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        self.aside
            .values()
            .copied()
            .filter(|until| *until > now)
            .min()
    }

    /// The scheduler refused a stream of these; gives the instance that is now set aside.
    pub(super) fn refused(&mut self, uids: &[Uid], now: Instant) -> Option<Uid> {
        self.refusals += 1;
        // One that was set aside before has had its patience.
        let known = matches!(uids, [one] if self.aside.contains_key(one));
        if self.refusals < PATIENCE && !known {
            return None;
        }
        self.refusals = 0;
        match uids {
            [] => None,
            [one] => {
                self.aside.insert(one.clone(), now + ASIDE);
                self.singly = self.singly.saturating_sub(1);
                Some(one.clone())
            }
            many => {
                self.singly = many.len();
                None
            }
        }
    }

    /// The scheduler took a stream of these.
    pub(super) fn taken(&mut self, uids: &[Uid]) {
        self.refusals = 0;
        self.singly = self.singly.saturating_sub(uids.len());
        for uid in uids {
            self.aside.remove(uid);
        }
    }
}
