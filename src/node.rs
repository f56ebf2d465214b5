//! The seam between deciding and doing: what the reconciler needs of a node.
//!
//! Owns: the verbs, what each promises, and the errors they may end with. The real node
//! ([`RealNode`](crate::runtime::real_node::RealNode)) and the simulated one
//! (`testing::FakeNode`) implement it, and one contract suite runs over both. Must never happen
//! behind it: a decision about what should run. Every verb is idempotent: "exists", "already
//! stopped" and "not found" are successes.

use std::{fmt, future::Future, net::IpAddr, time::Duration};

use crate::model::{
    ids::{ContainerId, InstanceId, Uid},
    line::{Intent, NetworkClaim, ProcessId},
    observed::{ObservedInstance, ObservedNode},
    spec::{Errand, PullPolicy, WorkloadSpec},
    users::{IdRange, IdSpan},
};

/// What kind of failure a verb ended with; the retry policy reads this, never the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// A later try may succeed: the network, a busy file, a full table.
    Transient,
    /// The same request can't succeed: no such image, wrong architecture, a refused definition.
    Permanent,
    /// The call hung, and was killed at its deadline together with all it had spawned.
    Hung,
    /// The program itself can't be run.
    ProgramMissing,
    /// The disk is full.
    DiskFull,
    /// The snapshot that the container was to lie on isn't there (any more).
    SnapshotMissing,
    /// A process outlives SIGKILL.
    Unkillable,
    /// The image isn't there, and its definition says never to pull it.
    ImageNeverPull,
}

/// Why a verb failed: what was tried is the message, the cause is the source.
#[derive(Debug)]
pub struct Failure {
    /// For the retry policy.
    pub kind: FailureKind,
    /// What was tried, on what, in one sentence, with the mend where there is one.
    pub tried: String,
    /// The cause.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    /// A failure with its cause.
    pub fn new(
        kind: FailureKind,
        tried: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            tried: tried.into(),
            source: Some(source.into()),
        }
    }

    /// A failure that is its own cause.
    pub fn plain(kind: FailureKind, tried: impl Into<String>) -> Self {
        Self {
            kind,
            tried: tried.into(),
            source: None,
        }
    }

    /// Will the same request make sense later?
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.kind != FailureKind::Permanent
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tried)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// An image that is unpacked and may be run from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyImage {
    /// Digest of the manifest as the registry has it, `sha256:<hex>`.
    pub digest: String,
    /// The snapshot's name, `sha256-<hex>`.
    pub snapshot: String,
}

/// An image that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageWish<'a> {
    /// As the definition names it.
    pub image: &'a str,
    /// The digest that was recorded for it, if any: then exactly that one.
    pub pinned: Option<&'a str>,
    /// When the registry is asked.
    pub policy: PullPolicy,
}

/// Everything a sandbox needs; the claim in it is written down before the verb is called.
#[derive(Debug, Clone)]
pub struct SandboxRequest<'a> {
    /// The incarnation.
    pub uid: &'a Uid,
    /// The instance's id: only for names inside and annotations, never for a path.
    pub instance: &'a str,
    /// What will run in it.
    pub workload: &'a WorkloadSpec,
    /// The network to join; none on the host's, or where there is none.
    pub claim: Option<&'a NetworkClaim>,
    /// The ids of its user namespace; none where its users are the node's.
    pub users: Option<IdRange>,
}

/// A sandbox that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Its addresses, the first the one to show; none on the host's network, or where there is
    /// none.
    pub addresses: Vec<IpAddr>,
}

/// How an errand ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrandEnd {
    /// Was it done well?
    pub ok: bool,
    /// What was seen, in a sentence without secrets, at most 1,024 bytes.
    pub message: String,
}

/// Everything a create needs; the intent in it is durable before the verb is called.
#[derive(Debug, Clone)]
pub struct CreateRequest<'a> {
    /// The names to use.
    pub intent: &'a Intent,
    /// The instance's id: only for annotations, labels and the hostname, never for a path.
    pub instance: &'a str,
    /// What to run; the container is `workload.containers[intent.container.n]`.
    pub workload: &'a WorkloadSpec,
    /// The sandbox's addresses, for what the definition makes of them.
    pub addresses: &'a [IpAddr],
    /// The ids of the sandbox's user namespace; none where its users are the node's.
    pub users: Option<IdRange>,
}

/// A container that the runtime has created and not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedContainer {
    /// Its init process.
    pub process: ProcessId,
    /// Its monitor's pid.
    pub monitor: Option<i32>,
}

/// Something may have changed; look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// At this incarnation.
    Instance(Uid),
    /// Anywhere: an event source overflowed or was re-opened.
    Anywhere,
}

/// A node on which containers run.
pub trait Node: Send + Sync + 'static {
    /// Makes the image's snapshot be there. One pull however many wait for it.
    fn ensure_image(
        &self,
        wish: ImageWish<'_>,
    ) -> impl Future<Output = Result<ReadyImage, Failure>> + Send;

    /// The network that a workload's sandbox would join now; none if it is on the host's, or if
    /// the node has none. No effect.
    fn claim_network(
        &self,
        workload: &WorkloadSpec,
    ) -> impl Future<Output = Result<Option<NetworkClaim>, Failure>> + Send;

    /// Ids of the node that no user namespace of this incarnation may have: those that the node's
    /// own files give to its users, and those of all other sandboxes on it, known or not. No
    /// effect.
    fn taken_ids(&self, uid: &Uid) -> impl Future<Output = Result<Vec<IdSpan>, Failure>> + Send;

    /// Makes the incarnation's directories and volumes and, unless it is on the host's network,
    /// its network namespace `rk-<uid>` with `lo` raised, joined to the claim's network; where it
    /// has ids of its own, a user namespace that owns the others. One that stands, by the same
    /// claim, with the same ids and the same shared with the node, is found as it is; anything
    /// else (another's, a former try's or boot's) is taken back first. Who asks while it is being
    /// made gets that one; a caller that gives up leaves it made or not begun.
    fn ensure_sandbox(
        &self,
        request: SandboxRequest<'_>,
    ) -> impl Future<Output = Result<Sandbox, Failure>> + Send;

    /// Makes bundle, rootfs and monitor in the sandbox that stands, and waits until the runtime
    /// says "created". Without a sandbox that is a failure. After a
    /// failure nothing of the attempt runs and a `remove` clears the rest.
    fn create(
        &self,
        request: CreateRequest<'_>,
    ) -> impl Future<Output = Result<CreatedContainer, Failure>> + Send;

    /// Starts a created container; one that already runs, or already ended, is a success, and so
    /// is a call that started it and failed all the same. One whose monitor is gone isn't started,
    /// for nobody would see it end: that is a failure.
    fn start(&self, id: &ContainerId) -> impl Future<Output = Result<ProcessId, Failure>> + Send;

    /// Sends a signal to the container's init process; one that has ended is a success. With
    /// SIGKILL a paused container is thawed, and one that the runtime can't command is ended by
    /// its cgroup.
    fn signal(
        &self,
        id: &ContainerId,
        signal: i32,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Does an errand at a running container, within `limit`. Whether it was done well is the
    /// answer; a failure is only that it couldn't be tried at all, as at one that doesn't run.
    fn errand(
        &self,
        id: &ContainerId,
        address: Option<IpAddr>,
        errand: &Errand,
        limit: Duration,
    ) -> impl Future<Output = Result<ErrandEnd, Failure>> + Send;

    /// How many bytes of the disk the incarnation's volume at that position of its definition
    /// takes, by files only: no fork, no write. A look ends once it has found more than `enough`,
    /// and takes as long as it takes: it is bounded in what it costs. One that isn't there takes 0.
    fn volume_use(
        &self,
        uid: &Uid,
        volume: usize,
        enough: u64,
    ) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Leaves nothing of the attempt: ends its monitor and every process of its cgroup, waits
    /// until that is empty, has the runtime forget it, unmounts, removes directories and exit
    /// file. The container's log stays.
    fn remove(&self, id: &ContainerId) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Leaves nothing of the incarnation besides its logs: leaves its network by the very claim
    /// it was joined by, unmounts and removes its volumes and namespaces.
    fn remove_sandbox(&self, uid: &Uid) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Looks at one incarnation, by files only: no fork, no write.
    fn observe(&self, uid: &Uid) -> impl Future<Output = Result<ObservedInstance, Failure>> + Send;

    /// Looks at everything that bears this node's mark, by files only: no fork, no write.
    fn observe_all(&self) -> impl Future<Output = Result<ObservedNode, Failure>> + Send;

    /// The instance that what is left of an incarnation names as its own; for one of which
    /// nothing else is known. None if nothing says so any more.
    fn instance_of(&self, uid: &Uid) -> impl Future<Output = Option<InstanceId>> + Send {
        let _ = uid;
        async { None }
    }

    /// The next hint that something changed. Hints may be spurious and may be lost (a resync
    /// finds what they miss), but come soon. Cancel-safe.
    fn changed(&self) -> impl Future<Output = Change> + Send;
}
