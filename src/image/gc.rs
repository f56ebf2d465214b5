//! Which snapshots may go.
//!
//! Why: images pile up until the disk is full. Owns: the decision, which is pure; the effect is
//! [`Images::collect`](super::Images::collect). In: what is there and what is in use, as the
//! ledger has it (accepted instances and intended attempts). Must never happen here: a snapshot
//! going that something in use names, or that was asked for a moment ago (between "ready" and the
//! record of its use it is in no set).

use std::{collections::BTreeSet, time::Duration};

use super::records::SnapshotView;

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Snapshots that went.
    pub snapshots: Vec<String>,
    /// Bytes of compressed blobs that went.
    pub blob_bytes: u64,
}

/// The names of the snapshots that are in no use and that nobody asked for since `min_age`.
#[must_use]
pub fn removable(
    there: &[SnapshotView],
    in_use: &BTreeSet<String>,
    min_age: Duration,
) -> Vec<String> {
    there
        .iter()
        .filter(|view| !in_use.contains(&view.snapshot) && view.idle >= min_age)
        .map(|view| view.snapshot.clone())
        .collect()
}

#[cfg(test)]
mod tests;
