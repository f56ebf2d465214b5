//! What is known of one incarnation: the sum of its lines.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::health::{HookRecord, ProbeRecord};
use crate::model::{
    definition::Warning,
    ids::{Attempt, ContainerId, Generation, InstanceId, Position, Seq, Source, Uid},
    line::{Exit, NetworkClaim, ProcessId},
    phase::Phase,
    spec::{ContainerSpec, Errand, Hook, ProbeKind, RestartPolicy, Role, WorkloadSpec},
    state::{Reason, StateReport},
    users::IdRange,
};

/// What is wanted of an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// It is to run.
    Run,
    /// Nothing of it is to be left.
    Gone,
}

/// Why a definition was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In a word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
}

/// A create that waits for its id's destruction to be over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// The definition as it came.
    pub definition: Arc<str>,
    /// Its model.
    pub spec: Arc<WorkloadSpec>,
    /// Who asked.
    pub source: Source,
}

/// What is known of an image that an instance needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The digest that was pinned when it was first had; a later pull takes exactly that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The snapshot to run from, once it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Failed tries in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// When the next try is, in CLOCK_BOOTTIME ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_up: Option<u64>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The same in a word, if not [`Reason::ImagePullBackOff`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// Why a generation isn't to run on this node any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eviction {
    /// What it took, and of what, in a sentence.
    pub message: String,
    /// Seq of the line that says so: nothing is done about it before that is durable.
    pub seq: Seq,
}

/// A container's end that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When SIGKILL follows, in CLOCK_BOOTTIME ms.
    pub deadline_up: u64,
    /// When it was asked for, in CLOCK_BOOTTIME ms.
    #[serde(default)]
    pub asked_up: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Has it outlived SIGKILL several times?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unkillable: bool,
}

/// So much of a grace is left for SIGTERM by a hook before it, in ms, as kubelet does.
const LEFT_FOR_SIGTERM_MS: u64 = 2_000;

impl Stop {
    /// Until when a hook before SIGTERM may run, in CLOCK_BOOTTIME ms: half of a short grace.
    #[must_use]
    pub fn hook_until(&self) -> u64 {
        let grace = self.deadline_up.saturating_sub(self.asked_up);
        let left = LEFT_FOR_SIGTERM_MS.min(grace / 2);
        self.deadline_up.saturating_sub(left)
    }
}

/// How the last attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// Which attempt.
    pub attempt: Attempt,
    /// When it was recorded.
    pub at: Timestamp,
    /// How.
    #[serde(flatten)]
    pub exit: Exit,
    /// Why it never ran, if the runtime refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_error: Option<String>,
}

/// What is known of one container of an incarnation, across its attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Its name in the definition of its current generation.
    pub name: String,
    /// The last attempt that was intended; 0 for none.
    pub attempt: Attempt,
    /// The generation of that attempt.
    pub generation: Generation,
    /// Where that attempt is.
    pub phase: Phase,
    /// The boot in which that attempt was intended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub boot: String,
    /// The snapshot that attempt lies on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub snapshot: String,
    /// Its init process, once created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// When that attempt started, by both clocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<(Timestamp, u64)>,
    /// Seconds of grace by the definition that attempt was made from.
    #[serde(default)]
    pub grace_seconds: u32,
    /// What that attempt is there for, by the definition it was made from.
    #[serde(default, skip_serializing_if = "is_main")]
    pub role: Role,
    /// The number of the sandbox that attempt was intended for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sandbox: u32,
    /// What is done before its SIGTERM, by the definition it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Errand>,
    /// What its probes have said of that attempt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub probes: BTreeMap<ProbeKind, ProbeRecord>,
    /// Which of its hooks have run at that attempt.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<Hook, HookRecord>,
    /// Its end was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// Its monitor is gone while it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub monitor_lost: bool,
    /// Starts after the first one, within the generation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u32,
    /// Level of the restart backoff.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub backoff: u32,
    /// When the next attempt may start, in CLOCK_BOOTTIME ms; none if none is to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_up: Option<u64>,
    /// How the last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_main(role: &Role) -> bool {
    *role == Role::Main
}

/// What is known of an incarnation's sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxRecord {
    /// The boot in which it was made.
    pub boot: String,
    /// The generation that it was made for.
    pub generation: Generation,
    /// How often one was begun for this incarnation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub number: u32,
    /// The network it joined, with what leaving it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<NetworkClaim>,
    /// The ids that its incarnation holds until it is gone, also if its present definition has
    /// the node's; see [`InstanceRecord::users`] for those of its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<IdRange>,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Did it come to stand?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// Failed tries in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// When the next try is, in CLOCK_BOOTTIME ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_up: Option<u64>,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What is known of one incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// Its name.
    pub uid: Uid,
    /// The instance.
    pub instance: InstanceId,
    /// Whose it is.
    pub source: Source,
    /// The newest incarnations of this id before it, which the journal shows to be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Uid>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Which definition is the current one, counted from 1.
    pub generation: Generation,
    /// The current definition as it came.
    pub definition: Arc<str>,
    /// Its model; none if it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Arc<WorkloadSpec>>,
    /// What of it was ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
    /// Its current generation was evicted: it is ended, and nothing of it starts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<Eviction>,
    /// What is wanted.
    pub desired: Desired,
    /// Who wanted it gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed_by: Option<Source>,
    /// A create that begins when this is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<Queued>,
    /// By position; may be longer than the current definition, for attempts never repeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerRecord>,
    /// By the image's name in the definition.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub images: BTreeMap<String, ImageRecord>,
    /// Its sandbox, once one was intended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxRecord>,
    /// When the grace of all its containers is over, in CLOCK_BOOTTIME ms, once their end was
    /// begun: those that are ended after others have what is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<u64>,
    /// The state that was last recorded for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<StateReport>,
    /// A line about it made no sense after the lines before: look before deciding.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
    /// Lines about it may be lost: which, in a sentence. It is neither started nor stopped until
    /// an instruction names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// Seq of the last line that an instruction about it came to: nothing is done before that is
    /// durable.
    #[serde(default)]
    pub instructed_seq: Seq,
    /// Seq of its last line.
    pub last_seq: Seq,
}

impl InstanceRecord {
    /// The container's record at `n`, if there is one.
    #[must_use]
    pub fn container(&self, n: Position) -> Option<&ContainerRecord> {
        self.containers.get(usize::from(n))
    }

    /// Its address, once its sandbox stands on a network.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        let sandbox = self.sandbox.as_ref().filter(|s| s.ready)?;
        sandbox.addresses.first().copied()
    }

    /// The ids of its containers; none where their users are the node's, or while no sandbox was
    /// intended.
    #[must_use]
    pub fn users(&self) -> Option<IdRange> {
        let own = self.spec.as_ref().is_some_and(|spec| !spec.host_users);
        self.sandbox.as_ref()?.users.filter(|_| own)
    }

    /// The container of the current definition at `n`, if there is one.
    #[must_use]
    pub fn container_spec(&self, n: Position) -> Option<&ContainerSpec> {
        self.spec.as_ref()?.containers.get(usize::from(n))
    }

    /// Positions of the current definition's containers; none if it was refused.
    pub fn positions(&self) -> impl Iterator<Item = Position> + use<> {
        let count = self.spec.as_ref().map_or(0, |s| s.containers.len());
        0..Position::try_from(count).unwrap_or(Position::MAX)
    }

    /// Positions that ever had an attempt.
    pub fn attempted(&self) -> impl Iterator<Item = (Position, &ContainerRecord)> {
        (0..).zip(&self.containers)
    }

    /// The restart policy of the current definition.
    #[must_use]
    pub fn restart_policy(&self) -> RestartPolicy {
        self.spec
            .as_ref()
            .map(|s| s.restart_policy)
            .unwrap_or_default()
    }

    /// The name of the current attempt at `n`; none before the first.
    #[must_use]
    pub fn current(&self, n: Position) -> Option<ContainerId> {
        let attempt = self.container(n)?.attempt;
        (attempt > 0).then(|| ContainerId {
            uid: self.uid.clone(),
            n,
            attempt,
        })
    }
}
