//! Which snapshots may go.
//!
//! Why: images pile up until the disk is full. Owns: the decision, which is pure; the effect is
//! [`Images::collect`](super::Images::collect). In: what is there and what is in use, as the
//! ledger has it (accepted instances and intended attempts). Must never happen here: a snapshot
//! going that something in use names, or that was asked for a moment ago (between "ready" and the
//! record of its use it is in no set).

use std::{collections::BTreeSet, time::Duration};

use super::records::{PREFIX, SnapshotView};

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Snapshots that went.
    pub snapshots: Vec<String>,
    /// Bytes that their trees took, as far as that was known.
    pub tree_bytes: u64,
    /// Bytes of compressed blobs that went.
    pub blob_bytes: u64,
}

/// The snapshots that a mountinfo names, wherever in it: whatever they are mounted for, they are
/// needed.
#[must_use]
pub fn mounted(mountinfo: &str) -> BTreeSet<String> {
    const HEX: usize = 64;
    let name = |(at, _): (usize, &str)| {
        let name = mountinfo.get(at..at + PREFIX.len() + HEX)?;
        let hex = name.get(PREFIX.len()..)?;
        hex.bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| name.to_owned())
    };
    mountinfo.match_indices(PREFIX).filter_map(name).collect()
}

/// The names of the snapshots that are in no use and that nobody asked for since `min_age`, the
/// longest unused first; of those that this daemon hasn't used at all, the oldest first.
#[must_use]
pub fn removable(
    there: &[SnapshotView],
    in_use: &BTreeSet<String>,
    min_age: Duration,
) -> Vec<String> {
    let free = |view: &&SnapshotView| !in_use.contains(&view.snapshot) && view.idle >= min_age;
    let mut free: Vec<_> = there.iter().filter(free).collect();
    // To the second: what was found at one start is as old as its files say.
    free.sort_by_key(|view| (std::cmp::Reverse(view.idle.as_secs()), view.made));
    free.iter().map(|view| view.snapshot.clone()).collect()
}

#[cfg(test)]
mod tests;
