//! Turns: who is at work on an attempt's files, or on a sandbox.
//!
//! Why: work on a thread or in a task goes on when the future that waits for it is dropped, so it
//! takes its turn along. Owns: one lock for each that is worked on. Must never happen here: two at
//! work on one.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
};

use tokio::sync::OwnedMutexGuard;

use super::lock;

/// The turns at each of these.
pub(super) struct Turns<Of>(Mutex<HashMap<Of, Arc<tokio::sync::Mutex<()>>>>);

impl<Of> Default for Turns<Of> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Of: Clone + Eq + Hash> Turns<Of> {
    /// Waits until nobody else is at work on it.
    pub(super) async fn take(&self, of: &Of) -> OwnedMutexGuard<()> {
        let turn = lock(&self.0).entry(of.clone()).or_default().clone();
        turn.lock_owned().await
    }

    /// Drops what is kept of something that is gone; not while somebody has a turn at it or waits
    /// for one, for the next to come would not wait for those.
    pub(super) fn end(&self, of: &Of) {
        let mut turns = lock(&self.0);
        if turns
            .get(of)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(of);
        }
    }
}
