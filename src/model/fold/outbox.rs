//! States that the scheduler hasn't acknowledged yet.
//!
//! Bounded twice, by instance and in total: a scheduler that is away, or one that never
//! acknowledges, may cost history but not the node. What goes is told of: the state after it
//! carries how many are missing before it.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Deref,
};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{
    ids::{InstanceId, Seq, Uid},
    state::StateReport,
};

/// At most so many unacknowledged states are kept for one incarnation (design section 5).
pub const MAX_ENTRIES: usize = 64;

/// At most so many bytes of unacknowledged states are kept in total, as [`OutboxEntry::size`]
/// counts them (design section 5).
pub const MAX_BYTES: usize = 16 << 20;

/// What an entry takes besides its message, in memory or as JSON, whichever is more; rounded up.
const ENTRY_BYTES: usize = 192;

/// One recorded state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Seq of the line that has it.
    pub seq: Seq,
    /// When it was written.
    pub at: Timestamp,
    /// How many states right before this one were dropped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gap: u64,
    /// The state.
    #[serde(flatten)]
    pub report: StateReport,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl OutboxEntry {
    /// Nearly how many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        ENTRY_BYTES + self.report.message.as_ref().map_or(0, String::len)
    }
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
}

impl Outbox {
    /// An empty one.
    #[must_use]
    pub fn new(instance: InstanceId) -> Self {
        Self {
            instance,
            entries: VecDeque::new(),
            acknowledged: None,
        }
    }

    /// How many states were dropped of those that were never acknowledged.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.entries
            .iter()
            .fold(0, |sum, entry| sum.saturating_add(entry.gap))
    }

    /// Drops one state from the middle, for the oldest and the newest say most; of two the older
    /// one; the only one never. The next one tells of it.
    fn drop_one(&mut self) -> Option<OutboxEntry> {
        let middle = match self.entries.len() {
            0 | 1 => return None,
            2 => 0,
            n => n / 2,
        };
        let dropped = self.entries.remove(middle)?;
        if let Some(next) = self.entries.get_mut(middle) {
            next.gap = next.gap.saturating_add(dropped.gap).saturating_add(1);
        }
        Some(dropped)
    }
}

/// The outboxes by incarnation, with their size. To be read as the map that it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outboxes {
    boxes: BTreeMap<Uid, Outbox>,
    /// Sum of the entries' sizes: kept, for a sum over all of them at each state would be felt.
    bytes: usize,
}

impl Outboxes {
    /// Sum of the [sizes](OutboxEntry::size) of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a new state. Returns whose outboxes changed by it: where there are too many bytes in
    /// total, the longest ones lose from their middle.
    pub(super) fn push(&mut self, uid: &Uid, instance: InstanceId, entry: OutboxEntry) -> Vec<Uid> {
        self.bytes += entry.size();
        let outbox = self
            .boxes
            .entry(uid.clone())
            .or_insert_with(|| Outbox::new(instance));
        outbox.entries.push_back(entry);
        if outbox.entries.len() > MAX_ENTRIES
            && let Some(dropped) = outbox.drop_one()
        {
            self.bytes = self.bytes.saturating_sub(dropped.size());
        }
        let mut changed = vec![uid.clone()];
        while self.bytes > MAX_BYTES
            && let Some(shortened) = self.shorten_longest()
        {
            if !changed.contains(&shortened) {
                changed.push(shortened);
            }
        }
        changed
    }

    fn shorten_longest(&mut self) -> Option<Uid> {
        let longest = self.boxes.iter_mut().max_by_key(|(_, o)| o.entries.len());
        let (uid, outbox) = longest?;
        let dropped = outbox.drop_one()?;
        self.bytes = self.bytes.saturating_sub(dropped.size());
        Some(uid.clone())
    }

    /// The scheduler has everything of that incarnation up to and with `through`. Is that news?
    pub(super) fn acknowledge(&mut self, uid: &Uid, through: Seq) -> bool {
        let Some(outbox) = self.boxes.get_mut(uid) else {
            return false;
        };
        let waiting = outbox.entries.len();
        while outbox.entries.front().is_some_and(|e| e.seq <= through) {
            let taken = outbox.entries.pop_front();
            self.bytes = self
                .bytes
                .saturating_sub(taken.as_ref().map_or(0, OutboxEntry::size));
            // Told once: when it is repeated after a lost link, nothing is missing before it.
            outbox.acknowledged = taken.map(|entry| OutboxEntry { gap: 0, ..entry });
        }
        outbox.entries.len() < waiting
    }

    /// Puts one in the place of what is there.
    pub(super) fn insert(&mut self, uid: Uid, outbox: Outbox) {
        self.remove(&uid);
        self.bytes += outbox.entries.iter().map(OutboxEntry::size).sum::<usize>();
        self.boxes.insert(uid, outbox);
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, uid: &Uid) {
        if let Some(outbox) = self.boxes.remove(uid) {
            let bytes: usize = outbox.entries.iter().map(OutboxEntry::size).sum();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

impl Deref for Outboxes {
    type Target = BTreeMap<Uid, Outbox>;
    fn deref(&self) -> &Self::Target {
        &self.boxes
    }
}

impl Serialize for Outboxes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.boxes.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Outboxes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let boxes = BTreeMap::<Uid, Outbox>::deserialize(deserializer)?;
        let mut outboxes = Self::default();
        for (uid, outbox) in boxes {
            outboxes.insert(uid, outbox);
        }
        Ok(outboxes)
    }
}

#[cfg(test)]
mod tests;
