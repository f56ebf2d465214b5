//! The journal: append-only lines, from which everything that was accepted can be had again.
//!
//! Why: the store is fast and fragile, the journal is neither; it is the store's write-ahead
//! log, the node's history and its rescue, readable with `less`. Owns: framing and sums
//! ([`frame`]), files ([`segment`], [`snapshot`], [`retention`]), the one [`writer`], readers
//! without a lock ([`read`]) and the judgement of damage ([`walk`], [`verify`]). In: events with
//! their moment. Out: lines, folds, located [`Damage`]. Must never happen here: truncating or
//! overwriting a byte, removing bad bytes, syncing a file whose sync failed once.

pub mod damage;
pub mod disk;
pub mod frame;
pub mod read;
pub mod retention;
pub mod scan;
pub mod segment;
pub mod snapshot;
pub mod verify;
pub mod walk;
pub mod writer;

use std::time::Duration;

pub use self::{
    damage::{Damage, DamageKind, Tail},
    disk::{Disk, DiskCounts},
    frame::Sum,
};
use crate::model::ids::NodeUid;

/// Whose journal it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node uid, drawn with the first journal and carried on by the next.
    pub node: NodeUid,
    /// The journal's uuid: 32 hex digits, drawn with the journal.
    pub journal: String,
}

/// How big things get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// A segment is ended once it has so many bytes.
    pub segment: u64,
    /// Space that the live segment owns.
    pub reserve: u64,
    /// With less than this left of it only lines that end something are admitted.
    pub floor: u64,
    /// Segments older than this go.
    pub history_age: Duration,
    /// Segments beyond so many bytes go.
    pub history_bytes: u64,
    /// The newest so many bytes of segments stay, however old.
    pub history_always: u64,
}

const MIB: u64 = 1024 * 1024;

impl Default for Sizes {
    fn default() -> Self {
        Self {
            segment: 4 * MIB,
            reserve: 8 * MIB,
            floor: 2 * MIB,
            history_age: Duration::from_secs(7 * 24 * 60 * 60),
            history_bytes: 256 * MIB,
            history_always: 16 * MIB,
        }
    }
}
