//! Generations that took more than they may of the node.
//!
//! Owns: what a verdict changes in a record, and how long it holds: until another generation takes
//! this one's place, or the instance is destroyed. Must never happen here: the verdict itself;
//! that is [`plan::eviction`]'s.
//!
//! [`plan::eviction`]: crate::plan::eviction

use super::record::{Eviction, InstanceRecord};
use crate::model::{ids::Seq, line::Event};

/// Takes a verdict; one about a generation that was replaced meanwhile says nothing.
pub(super) fn apply(record: &mut InstanceRecord, event: &Event) {
    let Event::Evicted {
        generation,
        message,
        ..
    } = event
    else {
        return;
    };
    if *generation != record.generation {
        return;
    }
    record.evicted = Some(Eviction {
        message: message.clone(),
        seq: 0,
    });
    // No start is due any more, whatever their policy said.
    for c in &mut record.containers {
        if c.generation == *generation {
            c.next_up = None;
        }
    }
}

/// Notes which line said so.
pub(super) fn stamp(record: &mut InstanceRecord, event: &Event, seq: Seq) {
    if let Event::Evicted { .. } = event
        && let Some(evicted) = &mut record.evicted
        && evicted.seq == 0
    {
        evicted.seq = seq;
    }
}

impl InstanceRecord {
    /// Was its current generation evicted?
    #[must_use]
    pub fn is_evicted(&self) -> bool {
        self.evicted.is_some()
    }
}
