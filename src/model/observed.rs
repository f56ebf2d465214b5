//! What is really there, as the runtime edge saw it.
//!
//! Owns: the values an observation is made of. In: the real node and the simulated one fill
//! them. Out: the planner reads them. Must never happen here: a decision.

use std::collections::BTreeMap;

use super::{
    ids::{ContainerId, Uid},
    line::{Exit, ProcessId},
};

/// What the runtime says of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The runtime doesn't know it, or says it is gone.
    Absent,
    /// A monitor or a runtime call for it is still at work.
    Creating,
    /// Created, its own process not yet started.
    Created,
    /// Running.
    Running,
    /// Frozen; it has to be thawed to be killed.
    Paused,
    /// Its process has ended; the runtime still has its state.
    Stopped,
    /// The runtime's state of it is lost or half-written, so it can't be commanded: processes
    /// may live in its cgroup.
    Broken,
}

/// One attempt's container as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    /// What the runtime says.
    pub status: Status,
    /// Its init process while it is created, running or paused.
    pub process: Option<ProcessId>,
    /// Does its monitor live?
    pub monitor: bool,
    /// How it ended, if its monitor (or the reaper) has said so.
    pub exit: Option<Exit>,
    /// Is anything of it left: bundle, mount, cgroup, exit file, monitor's directory, runtime
    /// state? False only when nothing at all is.
    pub leftovers: bool,
}

/// One incarnation as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedInstance {
    /// Every attempt of which anything is left.
    pub containers: BTreeMap<ContainerId, ObservedContainer>,
    /// Does its sandbox stand, made whole in this boot: namespaces, volumes, network?
    pub sandbox: bool,
    /// Is anything else of it left: its directories, its network namespace?
    pub leftovers: bool,
}

/// The whole node as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedNode {
    /// By incarnation, ours and only ours (those that bear this node's mark).
    pub instances: BTreeMap<Uid, ObservedInstance>,
}
