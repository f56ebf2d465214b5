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

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    definition::Warning,
    ids::{ContainerId, Generation, InstanceId, NodeUid, Seq, Source, Uid},
    spec::WorkloadSpec,
    state::{Reason, StateReport},
};

/// Version of the format that this riklet writes.
pub const FORMAT: u32 = 1;

/// The oldest reader that understands what this riklet writes.
pub const MIN_READER: u32 = 1;

/// When something happened, by two clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Wall time, for people.
    pub at: Timestamp,
    /// CLOCK_BOOTTIME in milliseconds: delays are compared by this, within one boot.
    pub up: u64,
    /// The kernel's boot id.
    pub boot: String,
}

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

/// A start that is about to be made, with every name it will use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Container id: runc's id, bundle, cgroup, monitor, exit file.
    pub container: ContainerId,
    /// The snapshot it lies on: `sha256-<hex>`.
    pub snapshot: String,
    /// The network namespace it joins, `rk-<uid>`; none on the host's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
}

/// How a container ended, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + signal as conmon has it when a signal ended it; none if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal that ended it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Did the kernel kill something in it for its memory limit?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom: bool,
    /// Why the code is unknown, or why riklet ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Exit {
    /// An exit of which nothing is known but why.
    #[must_use]
    pub fn unknown(reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            ..Self::default()
        }
    }

    /// An exit as a shell would number it: above 128 a signal ended it.
    #[must_use]
    pub fn from_code(code: i32, oom: bool) -> Self {
        Self {
            code: Some(code),
            signal: (code > 128 && code <= 128 + 64).then(|| code - 128),
            oom,
            reason: oom.then_some(Reason::OOMKilled),
        }
    }
}

/// A process, named so that it can't be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid in the host's namespace.
    pub pid: i32,
    /// Field 22 of `/proc/<pid>/stat`, in clock ticks since boot (proc(5)).
    pub start_time: u64,
}

/// What of the node is worse than it should be. Each is entered, shown, and left by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DegradedMode {
    /// The journal can't be written: nothing is accepted, nothing is killed.
    JournalReadOnly,
    /// Lines of the journal are damaged.
    JournalDamaged,
    /// The store was rebuilt from the journal.
    StoreRebuilt,
    /// The store is off; the journal alone is used.
    StoreOff,
    /// The disk is full: creates are refused.
    DiskFull,
    /// Containers with our mark of which nothing is known are left running.
    Unclaimed,
    /// A call of the runtime hung and was killed.
    RuntimeHung,
    /// The runtime can't be run at all.
    RuntimeMissing,
    /// The scheduler can't be reached.
    SchedulerLost,
    /// The former journal is gone or unreadable; a new one was begun.
    JournalLost,
}

impl std::fmt::Display for DegradedMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// First line of every segment.
    SegmentHeader {
        /// [`FORMAT`] of its writer.
        format: u32,
        /// [`MIN_READER`] of its writer.
        min_reader: u32,
        /// The journal's uuid.
        journal: String,
        /// The journal's owner.
        node: NodeUid,
        /// Seq of this line.
        first_seq: Seq,
        /// Sum of the last line that counts of the segment before.
        prev_sum: String,
        /// How many bytes of the segment before count.
        prev_bytes: u64,
    },
    /// Last line of a segment that was ended in order.
    SegmentSealed {},
    /// The node runs under another boot id than the line before.
    Boot {},
    /// A daemon took over.
    DaemonStarted {
        /// riklet's version.
        version: String,
        /// Its pid.
        pid: i32,
    },
    /// A daemon ended in order, leaving containers running.
    DaemonStopped {},
    /// The node is going down.
    NodeStopping {},
    /// A create was accepted: a new incarnation.
    Accepted {
        /// The incarnation's name, drawn for it.
        uid: Uid,
        /// The instance.
        instance: InstanceId,
        /// Who asked.
        source: Source,
        /// The definition as it came.
        definition: String,
        /// The definition's model, so that an upgrade can't read it otherwise.
        spec: Box<WorkloadSpec>,
        /// What of the definition was ignored.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<Warning>,
    },
    /// A create of a live id with another model was accepted: its next generation.
    Replaced {
        /// The incarnation.
        uid: Uid,
        /// The generation's number.
        generation: Generation,
        /// The definition as it came.
        definition: String,
        /// Its model.
        spec: Box<WorkloadSpec>,
        /// What of the definition was ignored.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<Warning>,
    },
    /// A create of an id that is being destroyed was accepted; it begins once that is over.
    Queued {
        /// The incarnation being destroyed.
        uid: Uid,
        /// The definition as it came.
        definition: String,
        /// Its model.
        spec: Box<WorkloadSpec>,
        /// Who asked.
        source: Source,
    },
    /// A destroy was accepted.
    DestroyAccepted {
        /// The incarnation.
        uid: Uid,
        /// Who asked.
        source: Source,
    },
    /// An instruction was refused.
    Refused {
        /// Drawn for a refused create of an unknown id, which is reported as Failed; none where
        /// nothing is reported (an illegal id, an update of a live instance).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<Uid>,
        /// The id as it came, cut to 128 characters.
        instance: String,
        /// Who asked.
        source: Source,
        /// Why, in a word.
        reason: Reason,
        /// Why, in a sentence, all faults in it.
        message: String,
    },
    /// An image is unpacked and ready.
    ImageReady {
        /// The instance that waited for it.
        uid: Uid,
        /// The image as the definition names it.
        image: String,
        /// Digest of the manifest in the registry, `sha256:<hex>`.
        digest: String,
        /// The snapshot's name, `sha256-<hex>`.
        snapshot: String,
    },
    /// An image could not be had; the next try is at `retry_up`.
    ImageFailed {
        /// The instance that waits for it.
        uid: Uid,
        /// The image as the definition names it.
        image: String,
        /// Why, in a sentence.
        message: String,
        /// Will a later try make sense?
        retryable: bool,
        /// When, in CLOCK_BOOTTIME ms.
        retry_up: u64,
    },
    /// A start is about to be made; durable before the monitor is spawned.
    AttemptIntended {
        /// The incarnation.
        uid: Uid,
        /// Every name it will use.
        #[serde(flatten)]
        intent: Intent,
    },
    /// The runtime has created the container.
    Created {
        /// The container.
        container: ContainerId,
        /// Its init process.
        #[serde(flatten)]
        process: ProcessId,
        /// Its monitor's pid.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        monitor: Option<i32>,
    },
    /// The container's own process runs.
    Started {
        /// The container.
        container: ContainerId,
        /// Its init process.
        #[serde(flatten)]
        process: ProcessId,
        /// Was it found running rather than started by this daemon?
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        adopted: bool,
    },
    /// A start failed before the container ran; the next attempt is at `retry_up`.
    StartFailed {
        /// The container.
        container: ContainerId,
        /// Why, in a sentence.
        message: String,
        /// Will a later try make sense?
        retryable: bool,
        /// When, in CLOCK_BOOTTIME ms.
        retry_up: u64,
    },
    /// The container ended.
    Exited {
        /// The container.
        container: ContainerId,
        /// How.
        #[serde(flatten)]
        exit: Exit,
        /// When the next attempt may start, in CLOCK_BOOTTIME ms; none if it is not to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next_up: Option<u64>,
        /// Level of the backoff after this exit; 0 for none.
        #[serde(default)]
        backoff: u32,
    },
    /// A container's end was asked for; SIGKILL follows at the deadline.
    StopRequested {
        /// The container.
        container: ContainerId,
        /// In CLOCK_BOOTTIME ms.
        deadline_up: u64,
        /// Why it is stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    /// Nothing of this attempt is left on the node.
    StepRemoved {
        /// The container.
        container: ContainerId,
    },
    /// Nothing of this incarnation is left on the node.
    Removed {
        /// The incarnation.
        uid: Uid,
    },
    /// A container's monitor is gone while it runs; its exit code will be unknown.
    MonitorLost {
        /// The container.
        container: ContainerId,
    },
    /// `drain`: instances are stopped and stay stopped.
    Drained {},
    /// `uncordon`: instances run again.
    Uncordoned {},
    /// The scheduler has every state of this incarnation up to and with `through`.
    Acknowledged {
        /// The incarnation.
        uid: Uid,
        /// Seq of the last line whose state was sent.
        through: Seq,
    },
    /// Lines are lost that may have been about these incarnations: they are neither started nor
    /// stopped until an instruction names them, or an operator accepts what is known.
    Doubted {
        /// The incarnations.
        uids: Vec<Uid>,
        /// What is lost, in a sentence.
        why: String,
    },
    /// What is known of an incarnation in doubt is what it shall be.
    Settled {
        /// The incarnation.
        uid: Uid,
        /// Who said so.
        source: Source,
    },
    /// An incarnation of which only its mark is known shall go.
    Disowned {
        /// Its mark.
        uid: Uid,
        /// The instance that its mark names, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<InstanceId>,
        /// Who said so.
        source: Source,
        /// When SIGKILL follows, in CLOCK_BOOTTIME ms.
        deadline_up: u64,
    },
    /// A degraded mode was entered.
    DegradedEntered {
        /// Which.
        mode: DegradedMode,
        /// What exactly, in a sentence.
        detail: String,
    },
    /// A degraded mode was left.
    DegradedLeft {
        /// Which.
        mode: DegradedMode,
    },
}

impl Event {
    /// The incarnation this is about, if it is about one.
    #[must_use]
    pub fn uid(&self) -> Option<&Uid> {
        match self {
            Self::Accepted { uid, .. }
            | Self::Replaced { uid, .. }
            | Self::Queued { uid, .. }
            | Self::DestroyAccepted { uid, .. }
            | Self::ImageReady { uid, .. }
            | Self::ImageFailed { uid, .. }
            | Self::AttemptIntended { uid, .. }
            | Self::Removed { uid }
            | Self::Settled { uid, .. }
            | Self::Disowned { uid, .. }
            | Self::Acknowledged { uid, .. } => Some(uid),
            Self::Refused { uid, .. } => uid.as_ref(),
            Self::Created { container, .. }
            | Self::Started { container, .. }
            | Self::StartFailed { container, .. }
            | Self::Exited { container, .. }
            | Self::StopRequested { container, .. }
            | Self::StepRemoved { container }
            | Self::MonitorLost { container } => Some(&container.uid),
            Self::SegmentHeader { .. }
            | Self::SegmentSealed {}
            | Self::Boot {}
            | Self::DaemonStarted { .. }
            | Self::DaemonStopped {}
            | Self::NodeStopping {}
            | Self::Drained {}
            | Self::Uncordoned {}
            | Self::Doubted { .. }
            | Self::DegradedEntered { .. }
            | Self::DegradedLeft { .. } => None,
        }
    }

    /// Is this what an instruction came to?
    #[must_use]
    pub fn is_instruction(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. }
                | Self::Replaced { .. }
                | Self::Queued { .. }
                | Self::DestroyAccepted { .. }
                | Self::Refused { .. }
                | Self::Settled { .. }
        )
    }

    /// The line's kind as it is written.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SegmentHeader { .. } => "segment_header",
            Self::SegmentSealed {} => "segment_sealed",
            Self::Boot {} => "boot",
            Self::DaemonStarted { .. } => "daemon_started",
            Self::DaemonStopped {} => "daemon_stopped",
            Self::NodeStopping {} => "node_stopping",
            Self::Accepted { .. } => "accepted",
            Self::Replaced { .. } => "replaced",
            Self::Queued { .. } => "queued",
            Self::DestroyAccepted { .. } => "destroy_accepted",
            Self::Refused { .. } => "refused",
            Self::ImageReady { .. } => "image_ready",
            Self::ImageFailed { .. } => "image_failed",
            Self::AttemptIntended { .. } => "attempt_intended",
            Self::Created { .. } => "created",
            Self::Started { .. } => "started",
            Self::StartFailed { .. } => "start_failed",
            Self::Exited { .. } => "exited",
            Self::StopRequested { .. } => "stop_requested",
            Self::StepRemoved { .. } => "step_removed",
            Self::Removed { .. } => "removed",
            Self::MonitorLost { .. } => "monitor_lost",
            Self::Drained {} => "drained",
            Self::Uncordoned {} => "uncordoned",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Doubted { .. } => "doubted",
            Self::Settled { .. } => "settled",
            Self::Disowned { .. } => "disowned",
            Self::DegradedEntered { .. } => "degraded_entered",
            Self::DegradedLeft { .. } => "degraded_left",
        }
    }
}
