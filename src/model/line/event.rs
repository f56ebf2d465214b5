//! Every kind of line there is.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::parts::{DegradedMode, Exit, Intent, NetworkClaim, ProcessId};
use crate::model::{
    definition::Warning,
    ids::{ContainerId, Generation, InstanceId, NodeUid, Seq, Source, Uid},
    spec::{Hook, ProbeKind, WorkloadSpec},
    state::Reason,
    users::IdRange,
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// First line of every segment.
    SegmentHeader {
        /// [`FORMAT`](super::FORMAT) of its writer.
        format: u32,
        /// [`MIN_READER`](super::MIN_READER) of its writer.
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
        /// Why, in a word, if not for [`Reason::ImagePullBackOff`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
        /// Why, in a sentence.
        message: String,
        /// Will a later try make sense?
        retryable: bool,
        /// When, in CLOCK_BOOTTIME ms.
        retry_up: u64,
    },
    /// A sandbox is about to be made: namespaces, volumes, network.
    SandboxIntended {
        /// The incarnation.
        uid: Uid,
        /// The generation that it is made for.
        generation: Generation,
        /// The network it will join; none on the host's, or where there is none.
        #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
        claim: Option<NetworkClaim>,
        /// The ids of its user namespace, by the first of them; none where its users are the node's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        users: Option<IdRange>,
    },
    /// The sandbox stands.
    SandboxReady {
        /// The incarnation.
        uid: Uid,
        /// Its addresses; none on the host's network, or where there is none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        addresses: Vec<IpAddr>,
    },
    /// The sandbox couldn't be made; the next try is at `retry_up`.
    SandboxFailed {
        /// The incarnation.
        uid: Uid,
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
        /// Has it outlived SIGKILL several times since?
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unkillable: bool,
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
    /// A probe's result that isn't what it was: written on change only.
    Probed {
        /// The container.
        container: ContainerId,
        /// Which probe.
        probe: ProbeKind,
        /// Did the last try succeed?
        ok: bool,
        /// So many tries in a row ended like that, counted up to the probe's threshold.
        in_a_row: u32,
        /// What was seen, in a sentence, where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A hook has run.
    HookDone {
        /// The container.
        container: ContainerId,
        /// Which hook.
        hook: Hook,
        /// Did it succeed?
        ok: bool,
        /// What was seen, in a sentence, where it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// It took more than it may of the node: it is ended, and isn't started again.
    Evicted {
        /// The incarnation.
        uid: Uid,
        /// The generation that is evicted.
        generation: Generation,
        /// What it took, and of what, in a sentence.
        message: String,
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
