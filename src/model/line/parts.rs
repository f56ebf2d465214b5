//! What lines are made of: moments, names, ends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{ids::ContainerId, spec::Port, state::Reason};

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

/// A network that a sandbox is about to join, with everything that leaving it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkClaim {
    /// CNI's name of it.
    pub network: String,
    /// The configuration list (JSON) that it is joined by; it is left by the same one.
    pub config: String,
    /// Ports of the node that are mapped into it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
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
    /// Its last words: what it left in its termination message, at most 4,096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
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

    /// An exit as a shell would number it: above 128 a signal ended it. What the kernel killed in
    /// it is why it failed, and no reason if it ended well all the same.
    #[must_use]
    pub fn from_code(code: i32, oom: bool) -> Self {
        Self {
            code: Some(code),
            signal: (code > 128 && code <= 128 + 64).then(|| code - 128),
            oom,
            reason: (oom && code != 0).then_some(Reason::OOMKilled),
            message: None,
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
    /// CNI's plugins or its configuration are missing: instances have `lo` only.
    NetworkMissing,
    /// The manifests directory is missing or can't be read: nothing of it is removed.
    ManifestsUnreadable,
}

impl std::fmt::Display for DegradedMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}
