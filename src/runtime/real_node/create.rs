//! Making: the container, its start.

use std::net::IpAddr;

use super::{ImageSource, RealNode, failure};
use crate::{
    model::{
        ids::ContainerId,
        line::{Intent, ProcessId},
        observed::Status,
        spec::WorkloadSpec,
        users::IdRange,
    },
    node::{CreateRequest, CreatedContainer, Failure, FailureKind},
    runtime::{
        bundle::{self, BundleRequest, limits},
        conmon::read_pid,
        layout::{container_cgroup, monitor_cgroup, pod_cgroup},
        process::identify,
        runc_state::{self, RuncState},
    },
};

/// What of a request outlives its borrow, for another thread.
struct Owned {
    intent: Intent,
    instance: String,
    workload: WorkloadSpec,
    addresses: Vec<IpAddr>,
    users: Option<IdRange>,
}

impl<I: ImageSource> RealNode<I> {
    pub(super) async fn make_container(
        &self,
        request: CreateRequest<'_>,
    ) -> Result<CreatedContainer, Failure> {
        let id = &request.intent.container;
        // What was begun and given up goes on to its end on a thread: what it makes is found, and
        // doesn't get a second monitor.
        drop(self.turn(id).await?);
        if let Some(found) = self.found(id).await? {
            return Ok(found);
        }
        let made = match self.begin(&request).await {
            Ok(()) => {
                let created = self.0.conmon.created(id).await;
                created.map_err(|e| failure::of_monitor(id, e))
            }
            Err(e) => Err(e),
        };
        let monitor = match made {
            Ok(monitored) => monitored.monitor,
            Err(e) => {
                // Nothing of the attempt may run after a failure; what lies about is for
                // `remove`.
                if let Err(worse) = self.end(id).await {
                    tracing::warn!(container = %id, error = %worse, "end a create that failed");
                }
                return Err(e);
            }
        };
        self.created(id, monitor).await
    }

    /// Is the attempt there already, whole or in the making? What is neither is swept away, so
    /// that there is never a second monitor for one id.
    async fn found(&self, id: &ContainerId) -> Result<Option<CreatedContainer>, Failure> {
        let of = id.clone();
        let tried = format!("look for {id}");
        let look = move |node: &Self| node.look_at(&of);
        let Some(seen) = self.off_thread(&tried, look).await? else {
            return Ok(None);
        };
        match seen.status {
            Status::Created | Status::Running | Status::Paused | Status::Stopped => {
                let persist = self.layout().persist(id);
                let monitor = read_pid(&persist.join("conmon.pid")).filter(|_| seen.monitor);
                self.created(id, monitor).await.map(Some)
            }
            Status::Creating => {
                let created = self.0.conmon.created(id).await;
                let monitored = created.map_err(|e| failure::of_monitor(id, e))?;
                self.created(id, monitored.monitor).await.map(Some)
            }
            Status::Absent | Status::Broken => {
                self.remove_container(id).await?;
                Ok(None)
            }
        }
    }

    /// Makes the bundle and spawns its monitor, in one piece of work that goes on to its end if
    /// the caller gives up; a `remove` waits for that end, so nothing appears after it.
    async fn begin(&self, request: &CreateRequest<'_>) -> Result<(), Failure> {
        let turn = self.turn(&request.intent.container).await?;
        let owned = Owned {
            intent: request.intent.clone(),
            instance: request.instance.to_owned(),
            workload: request.workload.clone(),
            addresses: request.addresses.to_vec(),
            users: request.users,
        };
        let tried = format!("make the bundle of {}", request.intent.container);
        let limit = self.0.deadlines.create;
        let begun = self.off_thread(&tried, move |node| {
            let _turn = turn;
            let (inner, intent) = (&node.0, &owned.intent);
            let id = &intent.container;
            let image = inner.images.config(&intent.snapshot)?;
            let request = BundleRequest {
                intent,
                instance: &owned.instance,
                workload: &owned.workload,
                image: &image,
                snapshot: &inner.images.rootfs(&intent.snapshot),
                node: &inner.node,
                cgroups_path: &node.cgroups().cgroups_path(&container_cgroup(id)),
                profiles: &inner.profiles,
                facts: &inner.facts,
                addresses: &owned.addresses,
                users: owned.users,
                swap: node.cgroups().counts_swap(),
            };
            node.cgroups()
                .limit(&pod_cgroup(&id.uid), &limits::of_pod(&owned.workload))
                .map_err(|e| failure::of_cgroup(&format!("limit the cgroup of {}", id.uid), e))?;
            bundle::make(&inner.layout, &request).map_err(|e| failure::of_bundle(id, e))?;
            let container = &owned.workload.containers[usize::from(id.n)];
            let spawned = inner.conmon.spawn(id, container.tty, container.stdin);
            spawned.map_err(|e| failure::of_monitor(id, e))
        });
        let begun = tokio::time::timeout(limit, begun).await;
        begun.unwrap_or_else(|_| Err(failure::late(tried.clone(), limit)))
    }

    /// What a create answers, from runc's own record; from now on its processes are watched.
    async fn created(
        &self,
        id: &ContainerId,
        monitor: Option<i32>,
    ) -> Result<CreatedContainer, Failure> {
        let process = match runc_state::read(&self.layout().runc_dir(id)) {
            Ok(RuncState::Known { process, .. }) => process,
            Ok(_) => {
                return Err(Failure::plain(
                    FailureKind::Transient,
                    format!("create {id}: the runtime says it is created and has no state of it"),
                ));
            }
            Err(e) => {
                return Err(failure::of_io(
                    format!("read the runtime's state of {id}"),
                    e,
                ));
            }
        };
        self.0.watch.follow_container(id, process);
        if let Some(monitor) = monitor.and_then(|pid| identify(pid).ok()) {
            self.0.watch.follow_monitor(id, monitor);
        }
        Ok(CreatedContainer { process, monitor })
    }

    pub(super) async fn start_container(&self, id: &ContainerId) -> Result<ProcessId, Failure> {
        let tried = || format!("start the container {id}");
        let look = || {
            let state = runc_state::read(&self.layout().runc_dir(id));
            state.map_err(|e| failure::of_io(tried(), e))
        };
        let process = match look()? {
            RuncState::Known {
                process,
                alive: true,
                waiting: true,
                ..
            } => process,
            // It runs, or has ended: nothing to do.
            RuncState::Known { process, .. } => return Ok(process),
            RuncState::Absent | RuncState::Broken => {
                return Err(Failure::plain(
                    FailureKind::Transient,
                    format!("start the container {id}: the runtime has no state of it"),
                ));
            }
        };
        if !self.cgroups().populated(&monitor_cgroup(id)) {
            let tried = format!("{}: its monitor died before it was started", tried());
            return Err(Failure::plain(FailureKind::Transient, tried));
        }
        self.0.watch.follow_container(id, process);
        // Here and not with the create: a crash comes between the two.
        bundle::stdio::hand_over(&self.layout().bundle(id), process.pid)
            .map_err(|e| failure::of_io(tried(), e))?;
        match self.0.runc.start(id).await {
            Ok(()) => Ok(process),
            // Whatever the call said: what counts is whether it was started, by whomever.
            Err(e) => match look()? {
                RuncState::Known {
                    process,
                    waiting: false,
                    ..
                } => Ok(process),
                _ => Err(failure::of_runc(tried(), e)),
            },
        }
    }
}
