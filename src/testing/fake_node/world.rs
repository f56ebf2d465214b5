//! What the simulated node is made of.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::{Exit, NetworkClaim, ProcessId},
        observed::{ObservedContainer, Status},
        users::IdRange,
    },
    node::{Change, CreatedContainer, Failure, FailureKind},
};

/// A verb of the node, for faults and for the log of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// `ensure_image`
    Image,
    /// `ensure_sandbox`
    Sandbox,
    /// `create`
    Create,
    /// `start`
    Start,
    /// `signal`
    Signal,
    /// `errand`
    Errand,
    /// `volume_use`
    VolumeUse,
    /// `remove`
    Remove,
    /// `remove_sandbox`
    RemoveSandbox,
}

/// What a verb does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has done nothing.
    Before(FailureKind),
    /// It does its work and fails all the same.
    After(FailureKind),
    /// It does its work and never returns.
    Silent,
    /// It never returns.
    Hang,
}

/// One simulated container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimContainer {
    /// What the runtime says of it.
    pub status: Status,
    /// Its init process.
    pub process: ProcessId,
    /// Does its monitor live?
    pub monitor: bool,
    /// The exit that its monitor (or the reaper) has told.
    pub exit: Option<Exit>,
    /// Does its process end on SIGTERM?
    pub obeys: bool,
    /// Is the runtime's own state of it garbage? Then it can't be commanded.
    pub broken: bool,
    /// How it ended, while its monitor hasn't told yet.
    pub untold: Option<Exit>,
    /// Which of its incarnation's sandboxes it is in.
    pub sandbox: u32,
}

/// What a sandbox holds of the network it has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// What it was joined by.
    pub claim: NetworkClaim,
    /// Its address.
    pub address: IpAddr,
}

/// By what a sandbox is told from another of its incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeOf {
    /// What it has joined.
    pub claim: Option<NetworkClaim>,
    /// Is it on the node's network?
    pub host_network: bool,
    /// Does it share the node's IPC?
    pub host_ipc: bool,
    /// The ids that are its own.
    pub users: Option<IdRange>,
}

/// What an errand comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// It isn't done well.
    Fails,
    /// It never ends.
    Hangs,
    /// It can't be tried.
    CantBeTried,
}

impl World {
    /// A monitor has brought its container to "created", or somebody has removed both.
    pub(super) fn created(&mut self, id: &ContainerId) -> Result<CreatedContainer, Failure> {
        let Some(c) = self.containers.get_mut(id) else {
            let tried = format!("creating {id}: it was removed meanwhile");
            return Err(Failure::plain(FailureKind::Transient, tried));
        };
        if c.status == Status::Creating {
            c.proceed();
        }
        Ok(CreatedContainer {
            process: c.process,
            monitor: c.monitor.then_some(c.process.pid + 1),
        })
    }

    /// Starts what is created.
    pub(super) fn start(&mut self, id: &ContainerId) -> Result<ProcessId, Failure> {
        let refused = |why| {
            let tried = format!("starting {id}: {why}");
            Err(Failure::plain(FailureKind::Transient, tried))
        };
        let commanded = |c: &&mut SimContainer| {
            !c.broken && !matches!(c.status, Status::Absent | Status::Creating)
        };
        let Some(c) = self.containers.get_mut(id).filter(commanded) else {
            return refused("the runtime has no state of it");
        };
        let process = c.process;
        if c.status == Status::Created {
            if !c.monitor {
                return refused("its monitor died before it was started");
            }
            c.status = Status::Running;
            *self.runs.entry((id.uid.clone(), id.n)).or_default() += 1;
        }
        Ok(process)
    }
}

impl SimContainer {
    pub(super) fn lives(&self) -> bool {
        matches!(
            self.status,
            Status::Created | Status::Running | Status::Paused
        )
    }

    /// What is seen of it.
    pub(super) fn seen(&self) -> ObservedContainer {
        ObservedContainer {
            status: if self.broken {
                Status::Broken
            } else {
                self.status
            },
            process: (self.lives() && !self.broken).then_some(self.process),
            monitor: self.monitor,
            exit: self.exit.clone(),
            leftovers: true,
        }
    }

    /// A monitor goes on with what it is at, whoever waits for it. Was there anything?
    pub(super) fn proceed(&mut self) -> bool {
        if self.status == Status::Creating {
            self.status = Status::Created;
            return true;
        }
        if let Some(exit) = self.untold.take() {
            self.exit = Some(exit);
            self.monitor = false;
            return true;
        }
        false
    }
}

/// The simulated world.
#[derive(Debug, Default)]
pub struct World {
    /// Every attempt of which anything is left.
    pub containers: BTreeMap<ContainerId, SimContainer>,
    /// Incarnations with a network namespace.
    pub sandboxes: BTreeSet<Uid>,
    /// Incarnations on the host's network.
    pub on_host_network: BTreeSet<Uid>,
    /// What each sandbox that stands was made of.
    pub made_of: BTreeMap<Uid, MadeOf>,
    /// Sandboxes in which somebody has left something that goes with them.
    pub marked: BTreeSet<Uid>,
    /// The networks that sandboxes have joined, with everything that they hold.
    pub joined: BTreeMap<Uid, Joined>,
    /// How often each incarnation's sandbox was made.
    pub made: BTreeMap<Uid, u32>,
    /// What errands come to, by the first word of their command; others are done well.
    pub scripts: BTreeMap<String, Script>,
    /// What every volume takes of the disk, in bytes.
    pub volume_use: u64,
    /// Snapshots that are there.
    pub snapshots: BTreeSet<String>,
    /// Incarnations with directories.
    pub directories: BTreeSet<Uid>,
    /// Images that can be had; none in here means that every image can be had.
    pub missing_images: BTreeSet<String>,
    /// Faults in the order in which calls of a verb meet them.
    pub faults: BTreeMap<Verb, VecDeque<Fault>>,
    /// Every call that was made.
    pub calls: Vec<(Verb, String)>,
    /// How often each container's own process began to run.
    pub runs: BTreeMap<(Uid, u16), u32>,
    /// Do processes that are to be made end on SIGTERM?
    pub stubborn: bool,
    /// Containers whose process hangs in the kernel: not even SIGKILL ends it.
    pub unkillable: BTreeSet<ContainerId>,
    /// Do monitors tell an exit only after the end of its process was seen?
    pub slow_monitors: bool,
    pub(super) next_pid: i32,
    pub(super) changes: VecDeque<Change>,
}
