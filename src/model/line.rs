//! The journal's vocabulary: what a line can say.
//!
//! Owns: every kind of line and its fields; this is the on-disk format, documented for operators
//! in `state/README.md`. In and out: values only. Must never happen here: framing, sums, files
//! (that is [`journal`](crate::journal)).
//!
//! ```text
//! {"seq":42,"at":"2026-11-22T15:39:04.123Z","up":123456,"boot":"…","kind":"started",
//!  "uid":"…",…,"state":"Running","sum":"0123456789abcdef"}
//! ```
//!
//! One event is one line: the state that results from it is in the same line, computed by the
//! [`Fold`](super::fold::Fold) before the line is written. Unknown fields are ignored; an unknown kind
//! stops a start (exit 78), for skipping it could lose what it says.

mod about;
mod event;
mod parts;

use serde::{Deserialize, Serialize};

pub use self::{
    event::Event,
    parts::{DegradedMode, Exit, Intent, Moment, NetworkClaim, ProcessId},
};
use super::{ids::Seq, state::StateReport};

/// Version of the format that this riklet writes.
pub const FORMAT: u32 = 1;

/// The oldest reader that understands what this riklet writes.
pub const MIN_READER: u32 = 1;

/// One line of the journal, without its sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number: one more than the line before.
    pub seq: Seq,
    /// When it was written.
    #[serde(flatten)]
    pub moment: Moment,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The reported state of the line's instance that results from it, if it changed.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateReport>,
    /// On the first line of a batch: the last seq whose fdatasync had returned by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<Seq>,
}
