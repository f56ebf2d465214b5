//! States that the scheduler hasn't acknowledged yet.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    ids::{InstanceId, Seq},
    state::StateReport,
};

/// At most so many unacknowledged states are kept for one incarnation (design section 5).
pub const MAX_ENTRIES: usize = 64;

/// One recorded state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Seq of the line that has it.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
    /// The state.
    #[serde(flatten)]
    pub report: StateReport,
}

/// The recorded states of one of the scheduler's incarnations that it hasn't acknowledged, and
/// the last one that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    /// The instance.
    pub instance: InstanceId,
    /// In seq order.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub entries: VecDeque<OutboxEntry>,
    /// The last acknowledged one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<OutboxEntry>,
    /// How many were dropped from the middle because the scheduler was away too long.
    #[serde(default)]
    pub gap: u64,
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(instance: InstanceId) -> Self {
        Self {
            instance,
            entries: VecDeque::new(),
            acknowledged: None,
            gap: 0,
        }
    }

    /// Takes a new state; over the limit the middle goes, for the oldest and the newest say most.
    pub fn push(&mut self, entry: OutboxEntry) {
        self.entries.push_back(entry);
        if self.entries.len() > MAX_ENTRIES {
            self.entries.remove(MAX_ENTRIES / 2);
            self.gap += 1;
        }
    }

    /// The scheduler has everything up to and with `through`. Is that news?
    pub fn acknowledge(&mut self, through: Seq) -> bool {
        let waiting = self.entries.len();
        while self.entries.front().is_some_and(|e| e.seq <= through) {
            self.acknowledged = self.entries.pop_front();
        }
        if self.entries.is_empty() {
            self.gap = 0;
        }
        self.entries.len() < waiting
    }
}
