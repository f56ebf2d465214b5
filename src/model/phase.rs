//! Where a container is in its life, and which step may follow which.
//!
//! Owns: the one table of legal transitions. Must never happen here: anything but looking up.

use serde::{Deserialize, Serialize};

/// Where the current attempt of a container is, as recorded.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// No attempt is under way: the first, or the next after a removed one, is still to come.
    #[default]
    Waiting,
    /// An attempt is intended; nothing proves that the runtime made it.
    Intended,
    /// The runtime has created it.
    Created,
    /// Its own process runs.
    Running,
    /// It ended; what is left of it may still be there.
    Exited,
    /// It ended, nothing of it is left, and no other attempt is to follow.
    Done,
}

impl Phase {
    /// Every phase, for tables and tests.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Intended,
        Self::Created,
        Self::Running,
        Self::Exited,
        Self::Done,
    ];

    /// May `next` follow this phase? What the table doesn't have marks the instance uncertain.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        use Phase::{Created, Done, Exited, Intended, Running, Waiting};
        matches!(
            (self, next),
            // A new attempt: the first, after an exit, or after an attempt without proof.
            (Waiting | Intended | Exited | Done, Intended)
                // The runtime's two steps; the second may be all that was seen.
                | (Intended, Created | Running)
                | (Created, Running)
                // An end may be seen at any point; a start that failed is one.
                | (Intended | Created | Running, Exited)
                // Removed, with or without another attempt to come.
                | (Intended | Exited, Waiting)
                | (Exited, Done)
                | (Created, Waiting)
        )
    }

    /// Does a process of this attempt run, or may it?
    #[must_use]
    pub fn may_live(self) -> bool {
        matches!(self, Self::Intended | Self::Created | Self::Running)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Waiting => "waiting",
            Self::Intended => "intended",
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Done => "done",
        })
    }
}
