//! Ids of users and groups on the node, as far as user namespaces have them.
//!
//! Owns: what a range is, and when two meet. Must never happen here: an id that is root's or an
//! ordinary user's on the node (all below 65,536), or one past the kernel's last.

use serde::{Deserialize, Serialize};

/// How many ids a namespace has: 16 bits of them, which is what images are made for (Kubernetes'
/// number).
pub const COUNT: u32 = 65_536;

/// The first id of the last range. The one after it would end with 4,294,967,295, which to the
/// kernel is no id.
const LAST: u32 = COUNT * 65_534;

/// The ids of one user namespace: id 0 inside is [`first`](Self::first) on the node, and so on
/// for [`COUNT`] of them, users and groups alike. A journal's line has it as that first id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdRange(u32);

impl IdRange {
    /// The range that begins with `first`, if one may begin there.
    #[must_use]
    pub fn at(first: u64) -> Option<Self> {
        let first = u32::try_from(first).ok()?;
        let fine = first % COUNT == 0 && (COUNT..=LAST).contains(&first);
        fine.then_some(Self(first))
    }

    /// Its first id on the node: that of root inside.
    #[must_use]
    pub fn first(self) -> u32 {
        self.0
    }

    /// What an id inside is on the node; none if there is no such id inside.
    #[must_use]
    pub fn on_node(self, id: u32) -> Option<u32> {
        (id < COUNT).then(|| self.0.checked_add(id)).flatten()
    }

    /// The same as ids of the node.
    #[must_use]
    pub fn span(self) -> IdSpan {
        IdSpan {
            first: self.0.into(),
            count: COUNT.into(),
        }
    }
}

impl std::fmt::Display for IdRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let span = self.span();
        write!(f, "{} to {}", span.first, span.end() - 1)
    }
}

/// Ids of the node that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdSpan {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl IdSpan {
    /// The first id after it.
    #[must_use]
    pub fn end(self) -> u64 {
        self.first.saturating_add(self.count)
    }

    /// Is there an id in both?
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.first < other.end() && other.first < self.end()
    }
}
