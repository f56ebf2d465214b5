//! What can be done to an instance.

use std::fmt;

use crate::model::{
    ids::ContainerId,
    line::{Exit, Intent, ProcessId},
    state::Reason,
};

/// One step towards what is wanted. The executor interprets one at a time; each is idempotent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Have the image's snapshot.
    PullImage {
        /// As the definition names it.
        image: String,
        /// The digest that was recorded for it.
        pinned: Option<String>,
    },
    /// Make volumes, namespaces and network.
    CreateSandbox,
    /// Record the intent, wait until it is durable, have the container created.
    Create {
        /// Every name it will use.
        intent: Intent,
    },
    /// Start what was created.
    Start {
        /// Which.
        container: ContainerId,
    },
    /// Record that it was found created: nothing is started of which that isn't written.
    RecordCreated {
        /// Which.
        container: ContainerId,
        /// Its init process.
        process: ProcessId,
    },
    /// Record that it was found running.
    RecordStarted {
        /// Which.
        container: ContainerId,
        /// Its init process.
        process: ProcessId,
    },
    /// Record that its monitor is gone.
    RecordMonitorLost {
        /// Which.
        container: ContainerId,
    },
    /// Record how it ended, and in the same breath the intent of the attempt that follows at once.
    RecordExit {
        /// Which.
        container: ContainerId,
        /// How.
        exit: Exit,
        /// When the next attempt may start, in CLOCK_BOOTTIME ms.
        next_up: Option<u64>,
        /// The backoff's level from now on.
        backoff: u32,
        /// The attempt that follows at once; its `Create` follows in the plan, too. Written
        /// together both need one sync, whoever waits for the first.
        next: Option<Intent>,
    },
    /// Record the deadline, then send SIGTERM, unless a hook comes before it.
    RequestStop {
        /// Which.
        container: ContainerId,
        /// When SIGKILL follows, in CLOCK_BOOTTIME ms.
        deadline_up: u64,
        /// Why.
        reason: Option<Reason>,
        /// Is SIGTERM sent with it?
        terminate: bool,
    },
    /// Send SIGTERM: a hook came before it, or whoever recorded the stop died before it was sent.
    Terminate {
        /// Which.
        container: ContainerId,
    },
    /// Send SIGKILL and see it gone.
    Kill {
        /// Which.
        container: ContainerId,
    },
    /// Leave nothing of the attempt but its log.
    Remove {
        /// Which.
        container: ContainerId,
    },
    /// Leave nothing of the incarnation's volumes, namespaces and network.
    RemoveSandbox,
    /// Record that nothing is left.
    RecordRemoved,
}

impl Action {
    /// The action's name as `plan` and `explain` print it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::PullImage { .. } => "pull-image",
            Self::CreateSandbox => "create-sandbox",
            Self::Create { .. } => "create",
            Self::Start { .. } => "start",
            Self::RecordCreated { .. } => "record-created",
            Self::RecordStarted { .. } => "record-started",
            Self::RecordMonitorLost { .. } => "record-monitor-lost",
            Self::RecordExit { .. } => "record-exit",
            Self::RequestStop { .. } => "request-stop",
            Self::Terminate { .. } => "terminate",
            Self::Kill { .. } => "kill",
            Self::Remove { .. } => "remove",
            Self::RemoveSandbox => "remove-sandbox",
            Self::RecordRemoved => "record-removed",
        }
    }

    /// The container it is about.
    #[must_use]
    pub fn container(&self) -> Option<&ContainerId> {
        match self {
            Self::Create { intent } => Some(&intent.container),
            Self::Start { container }
            | Self::RecordCreated { container, .. }
            | Self::RecordStarted { container, .. }
            | Self::RecordMonitorLost { container }
            | Self::RecordExit { container, .. }
            | Self::RequestStop { container, .. }
            | Self::Terminate { container }
            | Self::Kill { container }
            | Self::Remove { container } => Some(container),
            Self::PullImage { .. }
            | Self::CreateSandbox
            | Self::RemoveSandbox
            | Self::RecordRemoved => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::PullImage { image, .. } => write!(f, " {image}"),
            _ => self.container().map_or(Ok(()), |c| write!(f, " {c}")),
        }
    }
}

/// An action with the reason that it was planned for, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// What to do.
    pub action: Action,
    /// Why.
    pub why: String,
}

/// What is to be done to an instance now, and when to look again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstancePlan {
    /// In order; each may rely on the ones before.
    pub actions: Vec<Planned>,
    /// When something will be due by itself, in CLOCK_BOOTTIME ms.
    pub wake_up: Option<u64>,
}

impl InstancePlan {
    /// Plans an action.
    pub(crate) fn push(&mut self, action: Action, why: impl Into<String>) {
        self.actions.push(Planned {
            action,
            why: why.into(),
        });
    }

    /// Asks to look again no later than `up`.
    pub(crate) fn wake(&mut self, up: u64) {
        self.wake_up = Some(self.wake_up.map_or(up, |w| w.min(up)));
    }
}
