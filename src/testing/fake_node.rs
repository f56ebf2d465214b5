//! A node whose containers are values.
//!
//! It simulates what the runtime edge promises (runc's states, a monitor that writes an exit,
//! leftovers that stay until removed), with faults that a test scripts: a verb may fail, hang, or
//! do its work and then fail. The contract suite holds it against the real node, so that it
//! can't pass what the real one fails.

mod hand;
mod sandbox;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::sync::Notify;

pub use self::world::{Fault, Joined, Script, SimContainer, Verb, World};
use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::{Exit, NetworkClaim, ProcessId},
        observed::{ObservedInstance, ObservedNode, Status},
        spec::{Errand, WorkloadSpec},
        users::IdSpan,
    },
    node::{
        Change, CreateRequest, CreatedContainer, ErrandEnd, Failure, FailureKind, ImageWish, Node,
        ReadyImage, Sandbox, SandboxRequest,
    },
};

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
        let runs = |c: &SimContainer| c.status == Status::Running;
        if self.world().containers.get(id).is_some_and(runs) {
            self.end(id, Exit::from_code(code, false));
        }
    }

    /// A container's monitor dies while it runs.
    pub fn kill_monitor(&self, id: &ContainerId) {
        if let Some(c) = self.world().containers.get_mut(id) {
            c.monitor = false;
            c.untold = None;
            // Its create is in flight, and nobody goes on with it.
            c.broken |= c.status == Status::Creating;
        }
        self.tell(Change::Instance(id.uid.clone()));
    }

    /// A hint, as an event source gives it.
    pub fn tell(&self, change: Change) {
        self.world().changes.push_back(change);
        self.changed.notify_one();
    }

    /// Takes the next hint, if there is one.
    pub fn next_change(&self) -> Option<Change> {
        self.world().changes.pop_front()
    }

    /// Takes the hints that nobody has waited for. Were there any?
    pub fn take_changes(&self) -> bool {
        let mut world = self.world();
        let any = !world.changes.is_empty();
        world.changes.clear();
        any
    }

    fn end(&self, id: &ContainerId, exit: Exit) {
        let mut world = self.world();
        let slow = world.slow_monitors;
        if let Some(c) = world.containers.get_mut(id).filter(|c| c.lives()) {
            c.status = Status::Stopped;
            // Nobody but the monitor sees how it ended.
            if c.monitor {
                c.untold = Some(exit);
                if !slow {
                    c.proceed();
                }
            }
        }
        drop(world);
        self.tell(Change::Instance(id.uid.clone()));
    }

    /// Has a monitor at work on the attempt, unless it is there already, whole or in the making.
    fn spawn_monitor(&self, request: &CreateRequest<'_>) -> Result<(), Failure> {
        let id = &request.intent.container;
        let mut world = self.world();
        world.directories.insert(id.uid.clone());
        let whole = |c: &SimContainer| !c.broken && c.status != Status::Absent;
        if world.containers.get(id).is_some_and(whole) {
            return Ok(());
        }
        // What is neither is swept away.
        world.containers.remove(id);
        if !world.stands(&id.uid) {
            let tried = format!("creating {id}: the namespaces it is to join aren't there");
            return Err(Failure::plain(FailureKind::Transient, tried));
        }
        if !world.snapshots.contains(&request.intent.snapshot) {
            let tried = format!("creating {id}: {} isn't there", request.intent.snapshot);
            return Err(Failure::plain(FailureKind::SnapshotMissing, tried));
        }
        world.next_pid += 10;
        let c = SimContainer {
            status: Status::Creating,
            process: ProcessId {
                pid: 1_000 + world.next_pid,
                start_time: 7,
            },
            monitor: true,
            exit: None,
            obeys: !world.stubborn,
            broken: false,
            untold: None,
            sandbox: world.made.get(&id.uid).copied().unwrap_or(0),
        };
        world.containers.insert(id.clone(), c);
        Ok(())
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
        Some(Fault::After(_) | Fault::Silent) | None => Ok(()),
    }
}

async fn after<T>(fault: Option<Fault>, verb: Verb, value: T) -> Result<T, Failure> {
    match fault {
        Some(Fault::After(kind)) => Err(failure(kind, verb)),
        Some(Fault::Silent) => std::future::pending().await,
        _ => Ok(value),
    }
}

fn failure(kind: FailureKind, verb: Verb) -> Failure {
    Failure::plain(kind, format!("{verb:?} met a scripted fault"))
}

impl Node for FakeNode {
    async fn ensure_image(&self, wish: ImageWish<'_>) -> Result<ReadyImage, Failure> {
        let image = wish.image;
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
        self.world().snapshots.insert(ready.snapshot.clone());
        after(fault, Verb::Image, ready).await
    }

    async fn claim_network(
        &self,
        workload: &WorkloadSpec,
    ) -> Result<Option<NetworkClaim>, Failure> {
        let ports = workload.host_ports().map(|(_, p)| p.clone()).collect();
        Ok((!workload.host_network).then(|| NetworkClaim {
            network: "simulated".to_owned(),
            config: "{}".to_owned(),
            ports,
        }))
    }

    async fn taken_ids(&self, uid: &Uid) -> Result<Vec<IdSpan>, Failure> {
        Ok(self.world().ids_of_others(uid))
    }

    async fn ensure_sandbox(&self, request: SandboxRequest<'_>) -> Result<Sandbox, Failure> {
        let fault = self.begin(Verb::Sandbox, request.uid);
        before(fault, Verb::Sandbox).await?;
        let sandbox = self.world().make_sandbox(&request);
        // Here a caller may give up; what it asked for is made all the same.
        tokio::task::yield_now().await;
        after(fault, Verb::Sandbox, sandbox).await
    }

    async fn create(&self, request: CreateRequest<'_>) -> Result<CreatedContainer, Failure> {
        let id = &request.intent.container;
        let fault = self.begin(Verb::Create, id);
        before(fault, Verb::Create).await?;
        self.spawn_monitor(&request)?;
        // Here a caller may give up; the monitor goes on.
        tokio::task::yield_now().await;
        let created = self.world().created(id)?;
        after(fault, Verb::Create, created).await
    }

    async fn start(&self, id: &ContainerId) -> Result<ProcessId, Failure> {
        let fault = self.begin(Verb::Start, id);
        before(fault, Verb::Start).await?;
        let process = self.world().start(id)?;
        // What counts is whether it was started, whatever the call came to.
        match fault {
            Some(Fault::After(_)) => Ok(process),
            other => after(other, Verb::Start, process).await,
        }
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Failure> {
        let fault = self.begin(Verb::Signal, format!("{id} {signal}"));
        before(fault, Verb::Signal).await?;
        // Frozen processes get nothing but SIGKILL, with which they are thawed.
        let obeys = |c: &SimContainer| c.obeys && c.status != Status::Paused;
        let obeys = self.world().containers.get(id).is_some_and(obeys);
        let hangs = self.world().unkillable.contains(id);
        if !hangs && (signal == 9 || obeys) {
            self.end(id, Exit::from_code(128 + signal, false));
        }
        after(fault, Verb::Signal, ()).await
    }

    async fn errand(
        &self,
        id: &ContainerId,
        _: Option<IpAddr>,
        errand: &Errand,
        limit: Duration,
    ) -> Result<ErrandEnd, Failure> {
        let fault = self.begin(Verb::Errand, id);
        before(fault, Verb::Errand).await?;
        let end = self.world().do_errand(id, errand, limit)?;
        after(fault, Verb::Errand, end).await
    }

    async fn volume_use(&self, uid: &Uid, _: usize, _: u64) -> Result<u64, Failure> {
        let fault = self.begin(Verb::VolumeUse, uid);
        before(fault, Verb::VolumeUse).await?;
        let used = self.world().volume_use;
        after(fault, Verb::VolumeUse, used).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Failure> {
        let fault = self.begin(Verb::Remove, id);
        before(fault, Verb::Remove).await?;
        self.world().containers.remove(id);
        after(fault, Verb::Remove, ()).await
    }

    async fn remove_sandbox(&self, uid: &Uid) -> Result<(), Failure> {
        let fault = self.begin(Verb::RemoveSandbox, uid);
        before(fault, Verb::RemoveSandbox).await?;
        self.world().remove_all(uid);
        after(fault, Verb::RemoveSandbox, ()).await
    }

    async fn observe(&self, uid: &Uid) -> Result<ObservedInstance, Failure> {
        let mut world = self.world();
        let mut containers = BTreeMap::new();
        let mut told = false;
        for (id, c) in &mut world.containers {
            if id.uid == *uid {
                containers.insert(id.clone(), c.seen());
                told |= c.proceed();
            }
        }
        let seen = ObservedInstance {
            containers,
            sandbox: world.stands(uid),
            leftovers: world.sandboxes.contains(uid) || world.directories.contains(uid),
        };
        drop(world);
        if told {
            self.tell(Change::Instance(uid.clone()));
        }
        Ok(seen)
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
