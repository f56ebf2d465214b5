//! A node whose containers are values.
//!
//! It simulates what the runtime edge promises (runc's states, a monitor that writes an exit,
//! leftovers that stay until removed), with faults that a test scripts: a verb may fail, hang, or
//! do its work and then fail. The contract suite holds it against the real node, so that it
//! can't pass what the real one fails.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::{Exit, ProcessId},
        observed::{ObservedContainer, ObservedInstance, ObservedNode, Status},
    },
    node::{Change, CreateRequest, CreatedContainer, Failure, FailureKind, Node, ReadyImage},
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
}

/// The simulated world.
#[derive(Debug, Default)]
pub struct World {
    /// Every attempt of which anything is left.
    pub containers: BTreeMap<ContainerId, SimContainer>,
    /// Incarnations with a network namespace.
    pub sandboxes: BTreeSet<Uid>,
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
    next_pid: i32,
    changes: VecDeque<Change>,
}

/// A node whose containers are values. Clones share one world.
#[derive(Debug, Clone, Default)]
pub struct FakeNode {
    world: Arc<Mutex<World>>,
    changed: Arc<Notify>,
}

impl FakeNode {
    /// The world, to look at and to change.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next call of the verb meets the fault.
    pub fn fault(&self, verb: Verb, fault: Fault) {
        self.world()
            .faults
            .entry(verb)
            .or_default()
            .push_back(fault);
    }

    /// A container's process ends by itself.
    pub fn exit(&self, id: &ContainerId, code: i32) {
        self.end(id, Exit::from_code(code, false));
    }

    /// A container's monitor dies while it runs.
    pub fn kill_monitor(&self, id: &ContainerId) {
        if let Some(c) = self.world().containers.get_mut(id) {
            c.monitor = false;
        }
        self.tell(Change::Instance(id.uid.clone()));
    }

    /// The node loses power: every process is gone, what lies on disk stays, tmpfs is empty.
    pub fn power_cut(&self) {
        let mut world = self.world();
        for c in world.containers.values_mut() {
            c.status = Status::Absent;
            c.monitor = false;
        }
        world.sandboxes.clear();
    }

    /// A hint, as an event source gives it.
    pub fn tell(&self, change: Change) {
        self.world().changes.push_back(change);
        self.changed.notify_one();
    }

    /// Takes the hints that nobody has waited for. Were there any?
    pub fn take_changes(&self) -> bool {
        let mut world = self.world();
        let any = !world.changes.is_empty();
        world.changes.clear();
        any
    }

    fn end(&self, id: &ContainerId, exit: Exit) {
        if let Some(c) = self.world().containers.get_mut(id)
            && matches!(c.status, Status::Running | Status::Created | Status::Paused)
        {
            c.status = Status::Stopped;
            // Nobody but the monitor sees how it ended.
            if std::mem::take(&mut c.monitor) {
                c.exit = Some(exit);
            }
        }
        self.tell(Change::Instance(id.uid.clone()));
    }

    /// Writes the call down and gives the fault it meets.
    fn begin(&self, verb: Verb, what: impl ToString) -> Option<Fault> {
        let mut world = self.world();
        world.calls.push((verb, what.to_string()));
        world.faults.get_mut(&verb).and_then(VecDeque::pop_front)
    }
}

async fn before(fault: Option<Fault>, verb: Verb) -> Result<(), Failure> {
    match fault {
        Some(Fault::Before(kind)) => Err(failure(kind, verb)),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::After(_)) | None => Ok(()),
    }
}

fn after<T>(fault: Option<Fault>, verb: Verb, value: T) -> Result<T, Failure> {
    match fault {
        Some(Fault::After(kind)) => Err(failure(kind, verb)),
        _ => Ok(value),
    }
}

fn failure(kind: FailureKind, verb: Verb) -> Failure {
    Failure::plain(kind, format!("{verb:?} met a scripted fault"))
}

impl Node for FakeNode {
    async fn ensure_image(&self, image: &str, _: Option<&str>) -> Result<ReadyImage, Failure> {
        let fault = self.begin(Verb::Image, image);
        before(fault, Verb::Image).await?;
        if self.world().missing_images.contains(image) {
            let tried = format!("pulling {image}: no such image");
            return Err(Failure::plain(FailureKind::Permanent, tried));
        }
        let ready = ReadyImage {
            digest: format!("sha256:{image}"),
            snapshot: format!("sha256-{image}"),
        };
        after(fault, Verb::Image, ready)
    }

    async fn ensure_sandbox(&self, uid: &Uid, host_network: bool) -> Result<(), Failure> {
        let fault = self.begin(Verb::Sandbox, uid);
        before(fault, Verb::Sandbox).await?;
        let mut world = self.world();
        world.directories.insert(uid.clone());
        if !host_network {
            world.sandboxes.insert(uid.clone());
        }
        after(fault, Verb::Sandbox, ())
    }

    async fn create(&self, request: CreateRequest<'_>) -> Result<CreatedContainer, Failure> {
        let id = &request.intent.container;
        let fault = self.begin(Verb::Create, id);
        before(fault, Verb::Create).await?;
        let mut world = self.world();
        world.directories.insert(id.uid.clone());
        if let Some(c) = world.containers.get(id) {
            let created = CreatedContainer {
                process: c.process,
                monitor: Some(c.process.pid + 1),
            };
            return match c.status {
                Status::Created | Status::Running => after(fault, Verb::Create, created),
                _ => Err(Failure::plain(
                    FailureKind::Transient,
                    format!("{id} is left over"),
                )),
            };
        }
        world.next_pid += 10;
        let process = ProcessId {
            pid: 1_000 + world.next_pid,
            start_time: 7,
        };
        let obeys = !world.stubborn;
        let c = SimContainer {
            status: Status::Created,
            process,
            monitor: true,
            exit: None,
            obeys,
        };
        world.containers.insert(id.clone(), c);
        let created = CreatedContainer {
            process,
            monitor: Some(process.pid + 1),
        };
        after(fault, Verb::Create, created)
    }

    async fn start(&self, id: &ContainerId) -> Result<ProcessId, Failure> {
        let fault = self.begin(Verb::Start, id);
        before(fault, Verb::Start).await?;
        let mut world = self.world();
        let Some(c) = world.containers.get_mut(id) else {
            let tried = format!("starting {id}: no such container");
            return Err(Failure::plain(FailureKind::Transient, tried));
        };
        let process = c.process;
        if c.status == Status::Created {
            c.status = Status::Running;
            *world.runs.entry((id.uid.clone(), id.n)).or_default() += 1;
        }
        after(fault, Verb::Start, process)
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Failure> {
        let fault = self.begin(Verb::Signal, format!("{id} {signal}"));
        before(fault, Verb::Signal).await?;
        let obeys = self.world().containers.get(id).is_some_and(|c| c.obeys);
        if signal == 9 || obeys {
            self.end(id, Exit::from_code(128 + signal, false));
        }
        after(fault, Verb::Signal, ())
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Failure> {
        let fault = self.begin(Verb::Remove, id);
        before(fault, Verb::Remove).await?;
        self.world().containers.remove(id);
        after(fault, Verb::Remove, ())
    }

    async fn remove_sandbox(&self, uid: &Uid) -> Result<(), Failure> {
        let fault = self.begin(Verb::RemoveSandbox, uid);
        before(fault, Verb::RemoveSandbox).await?;
        let mut world = self.world();
        world.sandboxes.remove(uid);
        world.directories.remove(uid);
        after(fault, Verb::RemoveSandbox, ())
    }

    async fn observe(&self, uid: &Uid) -> Result<ObservedInstance, Failure> {
        let world = self.world();
        let containers = world
            .containers
            .iter()
            .filter(|(id, _)| id.uid == *uid)
            .map(|(id, c)| {
                let lives = matches!(c.status, Status::Created | Status::Running | Status::Paused);
                let seen = ObservedContainer {
                    status: c.status,
                    process: lives.then_some(c.process),
                    monitor: c.monitor,
                    exit: c.exit.clone(),
                    leftovers: true,
                };
                (id.clone(), seen)
            })
            .collect();
        Ok(ObservedInstance {
            containers,
            sandbox: world.sandboxes.contains(uid),
            leftovers: world.sandboxes.contains(uid) || world.directories.contains(uid),
        })
    }

    async fn observe_all(&self) -> Result<ObservedNode, Failure> {
        let uids: BTreeSet<Uid> = {
            let world = self.world();
            let of_containers = world.containers.keys().map(|id| id.uid.clone());
            of_containers
                .chain(world.directories.iter().cloned())
                .collect()
        };
        let mut node = ObservedNode::default();
        for uid in uids {
            let seen = self.observe(&uid).await?;
            node.instances.insert(uid, seen);
        }
        Ok(node)
    }

    async fn changed(&self) -> Change {
        loop {
            let next = self.world().changes.pop_front();
            match next {
                Some(change) => return change,
                None => self.changed.notified().await,
            }
        }
    }
}
