//! `status`: the node, its link, and what is worse than it should be.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    degraded::Degraded,
    images::{ImagesUse, PullView},
    ps::shown_state,
};
use crate::model::{
    fold::{Fold, Outbox, RefusedInstruction},
    ids::Seq,
    line::{DegradedMode, Moment},
    state::{Reason, State},
};

/// What only a live daemon knows; everything of it is empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// Now, for what is due in so and so many seconds.
    pub now: Option<Moment>,
    /// What the scheduler knows this node by.
    pub node_name: String,
    /// riklet's version.
    pub version: String,
    /// The daemon's pid.
    pub pid: Option<u32>,
    /// When it started.
    pub since: Option<Timestamp>,
    /// The link to the scheduler.
    pub link: LinkView,
    /// The last seq whose fdatasync has returned.
    pub durable_seq: Seq,
    /// What bears this node's mark and of which nothing is known.
    pub unclaimed: Vec<Unclaimed>,
    /// Degraded modes that the ledger is in now: what the journal says of them may be late, or
    /// could not be written into it.
    pub modes: BTreeMap<DegradedMode, String>,
    /// The scheduler's instances that it has forgotten since a lost link.
    pub forgotten: usize,
    /// Manifests that can't be taken, each with why.
    pub manifest_faults: Vec<ManifestFault>,
    /// What images take of the disk.
    pub images: Option<ImagesUse>,
    /// How far pulls are.
    pub pulls: Vec<PullView>,
    /// What else is worth knowing: "rootfs are copies, for overlayfs can't lie on …".
    pub notes: Vec<String>,
}

/// Something that bears this node's mark and of which nothing is known: left running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unclaimed {
    /// Its incarnation, from its mark.
    pub uid: String,
    /// Its instance, from its annotation.
    pub instance: Option<String>,
    /// Its containers' ids.
    pub containers: Vec<String>,
}

/// A manifest, or a Pod of one, that can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFault {
    /// The file's name in the manifests directory.
    pub file: String,
    /// The instance that it is about; none where the file can't be understood at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Why, in a word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
}

impl std::fmt::Display for ManifestFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.file)?;
        if let Some(instance) = &self.instance {
            write!(f, "{instance}: ")?;
        }
        write!(f, "{} ({})", self.message, self.reason)
    }
}

/// Where the link to the scheduler stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// There is to be none.
    #[default]
    Standalone,
    /// It is being made.
    Connecting,
    /// The scheduler knows this node.
    Registered,
    /// It was there and is lost; it is being made again.
    Lost,
}

impl std::fmt::Display for LinkState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Standalone => "standalone",
            Self::Connecting => "connecting",
            Self::Registered => "registered",
            Self::Lost => "lost",
        })
    }
}

/// The link to the scheduler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// Its address; none when standalone.
    pub scheduler: Option<String>,
    /// Where it stands.
    pub state: LinkState,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why the last try failed.
    pub error: Option<String>,
}

/// Both ends of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqView {
    /// The last line that survives a crash of the daemon.
    pub written: Seq,
    /// The last line that survives a power cut.
    pub durable: Seq,
}

/// How many instances are in which state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    /// Running.
    pub running: usize,
    /// Creating.
    pub creating: usize,
    /// Failed.
    pub failed: usize,
    /// Destroying.
    pub destroying: usize,
    /// Terminated: completed, and not yet removed.
    pub terminated: usize,
    /// In doubt: neither started nor stopped.
    #[serde(default)]
    pub in_doubt: usize,
    /// Of which nothing is known.
    pub unclaimed: usize,
    /// The scheduler's, forgotten by it since a lost link.
    pub forgotten: usize,
}

/// The node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// What the scheduler knows it by.
    pub node: String,
    /// The journal's owner.
    pub node_uid: Option<String>,
    /// riklet's version.
    pub version: String,
    /// The daemon's pid.
    pub pid: Option<u32>,
    /// When it started.
    pub since: Option<Timestamp>,
    /// The kernel's boot id.
    pub boot: String,
    /// The link to the scheduler.
    pub link: LinkView,
    /// Are instances stopped until `uncordon`?
    pub drained: bool,
    /// What is worse than it should be.
    pub degraded: Vec<Degraded>,
    /// The journal.
    pub seq: SeqView,
    /// Instances by state.
    pub instances: Counts,
    /// States that the scheduler hasn't acknowledged.
    pub unacknowledged: usize,
    /// States that were dropped because the scheduler was away too long.
    pub dropped: u64,
    /// What images take of the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImagesUse>,
    /// Manifests that can't be taken, each with why.
    pub manifest_faults: Vec<ManifestFault>,
    /// Instructions that were refused, the newest last; at most ten.
    pub refused: Vec<RefusedInstruction>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
}

/// The node's status.
#[must_use]
pub fn status(fold: &Fold, live: &Live) -> StatusView {
    let refused = &fold.node.refused;
    let skipped = refused.len().saturating_sub(10);
    StatusView {
        node: live.node_name.clone(),
        node_uid: fold.node.uid.as_ref().map(ToString::to_string),
        version: live.version.clone(),
        pid: live.pid,
        since: live.since,
        boot: fold.node.boot.clone(),
        link: live.link.clone(),
        drained: fold.node.drained,
        degraded: degraded(fold, live),
        seq: SeqView {
            written: fold.seq,
            durable: live.durable_seq,
        },
        instances: counts(fold, live),
        unacknowledged: fold.outboxes.values().map(|o| o.entries.len()).sum(),
        dropped: fold.outboxes.values().map(Outbox::dropped).sum(),
        images: live.images.clone(),
        manifest_faults: live.manifest_faults.clone(),
        refused: refused.iter().skip(skipped).cloned().collect(),
        notes: live.notes.clone(),
    }
}

fn degraded(fold: &Fold, live: &Live) -> Vec<Degraded> {
    let mut modes = fold.node.degraded.clone();
    for (mode, detail) in &live.modes {
        modes.entry(*mode).or_insert_with(|| detail.clone());
    }
    let view = |(mode, detail): (&DegradedMode, &String)| Degraded::new(*mode, detail);
    modes.iter().map(view).collect()
}

fn counts(fold: &Fold, live: &Live) -> Counts {
    let mut counts = Counts {
        total: fold.instances.len(),
        in_doubt: fold.doubted().count(),
        unclaimed: live.unclaimed.len(),
        forgotten: live.forgotten,
        ..Counts::default()
    };
    for record in fold.instances.values() {
        match shown_state(record).state {
            State::Creating => counts.creating += 1,
            State::Running => counts.running += 1,
            State::Failed => counts.failed += 1,
            State::Destroying => counts.destroying += 1,
            State::Terminated => counts.terminated += 1,
        }
    }
    counts
}
