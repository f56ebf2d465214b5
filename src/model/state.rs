//! States as they are reported, and the reasons that go with them.
//!
//! Owns: the vocabulary of design section 11. Must never happen here: deriving a state; that is
//! one function, `derive`.

use serde::{Deserialize, Serialize};

/// What the scheduler and the operator are told about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Accepted, and not every container is started yet; also between attempts after exit 0.
    Creating,
    /// Every container has started.
    Running,
    /// Not as it should be: the reason says why, and whether riklet will retry.
    Failed,
    /// A destroy was accepted and is under way.
    Destroying,
    /// Destroyed, or completed.
    Terminated,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Creating => "Creating",
            Self::Running => "Running",
            Self::Failed => "Failed",
            Self::Destroying => "Destroying",
            Self::Terminated => "Terminated",
        })
    }
}

/// Why an instance or a container is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Exited with 0 and is not to run again.
    Completed,
    /// Exited with another code or by a signal.
    Error,
    /// The kernel killed it for its memory limit.
    OOMKilled,
    /// Exited repeatedly; the next start waits.
    CrashLoopBackOff,
    /// The image can't be had; the next try waits.
    ImagePullBackOff,
    /// The definition can't be read.
    InvalidDefinition,
    /// The definition asks for what riklet doesn't do.
    Unsupported,
    /// The node's policy forbids what was asked for.
    Forbidden,
    /// The runtime refused to create or start the container; the next try waits.
    StartError,
    /// The node rebooted while it ran.
    NodeRebooted,
    /// `riklet drain` stopped it.
    NodeDrained,
    /// Its monitor died, so its exit code is unknown.
    MonitorLost,
    /// The runtime's own state was lost; it had to be ended and made again.
    RuntimeStateLost,
    /// Another instance has the host port.
    PortConflict,
    /// The node has too little memory left.
    InsufficientMemory,
    /// The node has too little processor time left.
    InsufficientCPU,
    /// The node is drained, so it takes nothing new.
    NodeDraining,
    /// The image isn't there, and the definition says never to pull it.
    ErrImageNeverPull,
    /// Namespaces, volumes or network couldn't be made; the next try waits.
    SandboxError,
    /// A hook after the start failed.
    PostStartHookError,
    /// The node's disk is full.
    DiskFull,
    /// The journal can't be written.
    JournalReadOnly,
    /// A probe failed.
    ProbeFailed,
    /// It took more of the node than its definition lets it, so it was ended.
    Evicted,
    /// A process that no signal ends.
    Unkillable,
    /// A newer generation replaces it.
    Replacing,
}

impl Reason {
    /// Did riklet end it because it was found unwell: by a probe, or by the hook at its start?
    #[must_use]
    pub fn is_unwell(&self) -> bool {
        matches!(self, Self::ProbeFailed | Self::PostStartHookError)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Reasons print as they are written: one CamelCase word.
        write!(f, "{self:?}")
    }
}

/// A reported state with what goes with it. Its serialised names begin with `state`, for it lies
/// flat in a journal line beside the event's own `reason` and `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// The state.
    pub state: State,
    /// Why, where there is more to say than the state does.
    #[serde(
        default,
        rename = "state_reason",
        skip_serializing_if = "Option::is_none"
    )]
    pub reason: Option<Reason>,
    /// One sentence for a person.
    #[serde(
        default,
        rename = "state_message",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
    /// The exit code that led here, where one did.
    #[serde(
        default,
        rename = "state_exit_code",
        skip_serializing_if = "Option::is_none"
    )]
    pub exit_code: Option<i32>,
}

impl StateReport {
    /// A state without a reason.
    #[must_use]
    pub fn plain(state: State) -> Self {
        Self {
            state,
            reason: None,
            message: None,
            exit_code: None,
        }
    }

    /// A state with its reason and a sentence.
    #[must_use]
    pub fn because(state: State, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state,
            reason: Some(reason),
            message: Some(message.into()),
            exit_code: None,
        }
    }

    /// Is this the same news for a receiver: state and reason? A message that merely counts on
    /// is none.
    #[must_use]
    pub fn same_news(&self, other: &Self) -> bool {
        (self.state, self.reason) == (other.state, other.reason)
    }
}
