//! What is known of the node itself.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Queued;
use crate::model::{
    ids::{NodeUid, Seq, Source, Uid},
    line::{DegradedMode, Event, Line},
    state::{Reason, StateReport},
};

/// The newest so many refused instructions are kept to be shown.
const MAX_REFUSALS: usize = 100;

/// An id whose last incarnation is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The incarnation.
    pub uid: Uid,
    /// Seq of the line that removed it.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// Whose it was.
    pub source: Source,
    /// The create that waited for it, until that has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Queued>,
    /// Its last state.
    #[serde(flatten)]
    pub report: StateReport,
}

/// An instruction that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedInstruction {
    /// Seq of its line.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// The id as it came, cut.
    pub instance: String,
    /// Who asked.
    pub source: Source,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
}

/// What is known of the node itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The journal's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<NodeUid>,
    /// The boot id of the last `boot` or `daemon_started` line.
    #[serde(default)]
    pub boot: String,
    /// CLOCK_BOOTTIME ms of the last line: how far a delay had run when the node went down.
    #[serde(default)]
    pub last_up: u64,
    /// Are instances to be stopped and to stay stopped?
    #[serde(default)]
    pub drained: bool,
    /// The boot in which the node was last taken down in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping_boot: Option<String>,
    /// The degraded modes that are on, with what exactly.
    #[serde(default)]
    pub degraded: BTreeMap<DegradedMode, String>,
    /// The newest refused instructions.
    #[serde(default)]
    pub refused: VecDeque<RefusedInstruction>,
}

impl NodeRecord {
    /// Takes what a line says of the node. A line of an instance changes nothing here.
    pub(super) fn apply(&mut self, line: &Line) {
        match &line.event {
            Event::SegmentHeader { node, .. } => self.uid = Some(node.clone()),
            Event::Boot {} | Event::DaemonStarted { .. } => {
                self.boot.clone_from(&line.moment.boot);
            }
            Event::NodeStopping {} => self.stopping_boot = Some(line.moment.boot.clone()),
            Event::Drained {} => self.drained = true,
            Event::Uncordoned {} => self.drained = false,
            Event::DegradedEntered { mode, detail } => {
                self.degraded.insert(*mode, detail.clone());
            }
            Event::DegradedLeft { mode } => {
                self.degraded.remove(mode);
            }
            Event::Refused {
                instance,
                source,
                reason,
                message,
                ..
            } => {
                self.refused.push_back(RefusedInstruction {
                    seq: line.seq,
                    at: line.moment.at,
                    instance: instance.clone(),
                    source: *source,
                    reason: *reason,
                    message: message.clone(),
                });
                if self.refused.len() > MAX_REFUSALS {
                    self.refused.pop_front();
                }
            }
            _ => {}
        }
    }
}
