//! What is known of the node itself.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Queued;
use crate::model::{
    ids::{InstanceId, NodeUid, Seq, Source, Uid},
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
    /// The newest incarnations of the id before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Uid>,
    /// Its last state.
    #[serde(flatten)]
    pub report: StateReport,
}

/// So many removed incarnations of one id are remembered. What a power cut brings back of them
/// (the removal of a directory is no durable thing) can then be told from what nobody knows: that
/// is removed, this is left alone.
const FORMER_KEPT: usize = 16;

/// `older`, then `newer`: the newest ones of both.
pub(super) fn lineage(older: Vec<Uid>, newer: impl IntoIterator<Item = Uid>) -> Vec<Uid> {
    let mut all = older;
    for uid in newer {
        if !all.contains(&uid) {
            all.push(uid);
        }
    }
    let over = all.len().saturating_sub(FORMER_KEPT);
    all.drain(..over);
    all
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

/// An incarnation of which only its mark is known, and that shall go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disowned {
    /// Seq of the line that said so: nothing is done before that is durable.
    pub seq: Seq,
    /// The instance that its mark names; nothing of that one is started before this is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// When SIGKILL follows, in CLOCK_BOOTTIME ms.
    pub deadline_up: u64,
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
    /// What was unclaimed and shall go, until nothing of it is left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disowned: BTreeMap<Uid, Disowned>,
}

impl NodeRecord {
    /// Takes what a line says of the node. Is anything of it different by that?
    pub(super) fn apply(&mut self, line: &Line) -> bool {
        let said = self.apply_event(line);
        // A new segment's header is the first line after a reboot, before `boot`: it must not
        // hide how far the delays of the former boot had run.
        let segments = matches!(
            line.event,
            Event::SegmentHeader { .. } | Event::SegmentSealed {}
        );
        let later = !segments && set(&mut self.last_up, line.moment.up);
        said || later
    }

    fn apply_event(&mut self, line: &Line) -> bool {
        match &line.event {
            Event::SegmentHeader { node, .. } => set(&mut self.uid, Some(node.clone())),
            Event::Boot {} => set(&mut self.boot, line.moment.boot.clone()),
            Event::DaemonStarted { .. } => {
                // The node didn't go down after all, or only its userspace did: an end of this
                // boot that is found later says what it says.
                let stayed = self.stopping_boot.as_ref() == Some(&line.moment.boot);
                if stayed {
                    self.stopping_boot = None;
                }
                set(&mut self.boot, line.moment.boot.clone()) || stayed
            }
            Event::NodeStopping {} => set(&mut self.stopping_boot, Some(line.moment.boot.clone())),
            Event::Drained {} => set(&mut self.drained, true),
            Event::Uncordoned {} => set(&mut self.drained, false),
            Event::DegradedEntered { mode, detail } => {
                let former = self.degraded.insert(*mode, detail.clone());
                former.as_ref() != Some(detail)
            }
            Event::DegradedLeft { mode } => self.degraded.remove(mode).is_some(),
            Event::Disowned {
                uid,
                instance,
                deadline_up,
                ..
            } => {
                let disowned = Disowned {
                    seq: line.seq,
                    instance: instance.clone(),
                    deadline_up: *deadline_up,
                };
                self.disowned.insert(uid.clone(), disowned.clone()) != Some(disowned)
            }
            Event::Removed { uid } => self.disowned.remove(uid).is_some(),
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
                true
            }
            _ => false,
        }
    }
}

fn set<T: PartialEq>(slot: &mut T, value: T) -> bool {
    let differs = *slot != value;
    *slot = value;
    differs
}
