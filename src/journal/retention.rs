//! What of the journal may go: bounded disk.
//!
//! Owns: the choice (pure) and its execution. Must never happen here: removing a segment that a
//! start may need, or one out of the middle.

use std::{io, path::Path, time::Duration};

use super::{Sizes, disk::Disk, segment, snapshot};
use crate::model::ids::Seq;

/// How many snapshots are kept.
pub const SNAPSHOTS: usize = 2;

/// A segment, as far as the choice needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// First seq.
    pub first: Seq,
    /// Bytes.
    pub bytes: u64,
    /// Since its last line was written.
    pub age: Duration,
}

/// Which segments may go: those wholly at or below the older snapshot, and outside of history;
/// always a prefix, never the last.
#[must_use]
pub fn expendable(segments: &[Candidate], older_snapshot: Seq, sizes: &Sizes) -> Vec<Seq> {
    let mut kept: u64 = segments.iter().map(|s| s.bytes).sum();
    let mut gone = Vec::new();
    for pair in segments.windows(2) {
        let [this, next] = pair else { break };
        let newer = kept - this.bytes;
        let below = next.first <= older_snapshot + 1;
        let outside = this.age > sizes.history_age || kept > sizes.history_bytes;
        if !(below && outside && newer >= sizes.history_always) {
            break;
        }
        gone.push(this.first);
        kept = newer;
    }
    gone
}

/// Removes what may go: snapshots but the newest two, then segments. Oldest first, so that a
/// crash in between leaves no hole.
///
/// # Errors
/// A step failed; the rest goes next time.
pub fn prune(disk: &Disk, dir: &Path, sizes: &Sizes, now: jiff::Timestamp) -> io::Result<Vec<Seq>> {
    let snapshots = snapshot::list(dir)?;
    let kept = snapshots.len().saturating_sub(SNAPSHOTS);
    for seq in &snapshots[..kept] {
        disk.remove(&dir.join(snapshot::file_name(*seq)))?;
    }
    if snapshots.len() < SNAPSHOTS {
        return Ok(Vec::new());
    }
    // A snapshot that is damaged is no reason to let go of what it was taken of.
    for seq in &snapshots[kept..] {
        if let Err(error) = snapshot::read(dir, *seq) {
            tracing::warn!(snapshot = seq, %error, "segments are kept: a snapshot is bad");
            return Ok(Vec::new());
        }
    }
    let mut candidates = Vec::new();
    for first in segment::list(dir)? {
        let meta = dir.join(segment::file_name(first)).metadata()?;
        let written = jiff::Timestamp::try_from(meta.modified()?).unwrap_or(now);
        candidates.push(Candidate {
            first,
            bytes: meta.len(),
            age: now.duration_since(written).try_into().unwrap_or_default(),
        });
    }
    let gone = expendable(&candidates, snapshots[kept], sizes);
    for first in &gone {
        disk.remove(&dir.join(segment::file_name(*first)))?;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests;
