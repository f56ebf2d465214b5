//! The simulated node of a simulated daemon: [`FakeNode`], on which a daemon may die before,
//! amid and after each verb, and whose power may be cut.

use std::{
    collections::BTreeMap, future::Future, net::IpAddr, pin::pin, task::Poll, time::Duration,
};

use super::{
    ground::{Ground, State},
    judge,
    trap::{Point, Side},
};
use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::{Exit, NetworkClaim, ProcessId},
        observed::{ObservedInstance, ObservedNode, Status},
        spec::{Errand, WorkloadSpec},
        state::Reason,
        users::IdSpan,
    },
    node::{
        Change, CreateRequest, CreatedContainer, ErrandEnd, Failure, ImageWish, Node, ReadyImage,
        Sandbox, SandboxRequest,
    },
    testing::fake_node::{FakeNode, Script, SimContainer, Verb},
};

/// How long a change of a directory may take to be on disk, in ms (ext4 commits every 5 s).
const COMMIT_MS: u64 = 5_000;

/// How long what is in a file may take to be on disk, in ms (dirty pages expire after 30 s).
const WRITEBACK_MS: u64 = 30_000;

/// What was removed and may come back by a power cut, for its removal wasn't on disk.
#[derive(Debug, Default)]
pub(super) struct Removals {
    containers: Vec<(u64, ContainerId, SimContainer)>,
    directories: Vec<(u64, Uid)>,
}

/// The node as one daemon sees it.
#[derive(Debug, Clone)]
pub(super) struct SimNode {
    pub(super) fake: FakeNode,
    pub(super) ground: Ground,
}

impl SimNode {
    /// Does a verb, with the points around it.
    async fn verb<T>(
        &self,
        verb: Verb,
        check: impl FnOnce(&mut State),
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        let point = Point::Verb(verb);
        self.ground.point(point, Side::Before).await;
        check(&mut self.ground.state());
        let mut work = pin!(work);
        let done = std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            // Dead: whoever was called goes on, and nobody hears of it.
            Poll::Pending if self.ground.state().pass(point, Side::Middle) => Poll::Pending,
            polled => polled,
        })
        .await;
        self.look();
        if let Err(failure) = &done {
            self.ground
                .state()
                .tell(|_| format!("    {verb:?} fails: {failure}"));
        }
        self.ground.point(point, Side::After).await;
        done
    }

    /// What must hold of the world at every step.
    pub(super) fn look(&self) {
        judge::world(&mut self.ground.state(), &self.fake.world());
    }

    /// The power is gone. What lies on disk may not have reached it, and what was removed may not
    /// have been removed there.
    pub(super) fn power_cut(&self, removals: &mut Removals) {
        self.fake.power_cut();
        self.fake.take_changes();
        let mut state = self.ground.state();
        judge::power_cut(&mut state);
        let now = state.clocks.truth;
        let mut world = self.fake.world();
        let ids: Vec<ContainerId> = world.containers.keys().cloned().collect();
        for id in ids {
            let made = state.judge.made_at.get(&id).copied().unwrap_or(0);
            if now - made <= COMMIT_MS && state.dice.one_in(4) {
                world.containers.remove(&id);
                state.tell(|_| format!("  nothing of {id} had reached the disk"));
                judge::file_lost(&mut state, &id);
                continue;
            }
            let told = state.judge.told_at.get(&id).copied().unwrap_or(0);
            if let Some(c) = world.containers.get_mut(&id).filter(|c| c.exit.is_some())
                && now - told <= WRITEBACK_MS
            {
                match state.dice.below(4) {
                    0 => c.exit = None,
                    1 => c.exit = Some(Exit::unknown(Reason::MonitorLost)),
                    _ => continue,
                }
                state.tell(|_| format!("  the exit file of {id} had not reached the disk"));
                judge::file_lost(&mut state, &id);
            }
        }
        for (at, id, c) in removals.containers.drain(..) {
            if now - at <= COMMIT_MS && state.dice.one_in(4) {
                state.tell(|_| format!("  the removal of {id} had not reached the disk"));
                world.directories.insert(id.uid.clone());
                let gone = SimContainer {
                    status: Status::Absent,
                    monitor: false,
                    untold: None,
                    broken: false,
                    ..c
                };
                world.containers.insert(id, gone);
            } else {
                judge::file_lost(&mut state, &id);
            }
        }
        for (at, uid) in removals.directories.drain(..) {
            if now - at <= COMMIT_MS && state.dice.one_in(4) {
                state.tell(|_| {
                    format!("  the removal of {uid}'s directories had not reached the disk")
                });
                world.directories.insert(uid);
            }
        }
    }

    fn hangs(&self, errand: &Errand) -> bool {
        let Errand::Exec { command } = errand else {
            return false;
        };
        let world = self.fake.world();
        let script = command.first().and_then(|word| world.scripts.get(word));
        script == Some(&Script::Hangs)
    }

    fn about_to_remove(&self, id: &ContainerId) {
        let gone = self.fake.world().containers.get(id).cloned();
        if let Some(c) = gone {
            let mut state = self.ground.state();
            let now = state.clocks.truth;
            state.judge.removals.containers.push((now, id.clone(), c));
        }
    }
}

impl Node for SimNode {
    async fn ensure_image(&self, wish: ImageWish<'_>) -> Result<ReadyImage, Failure> {
        self.verb(Verb::Image, |_| (), self.fake.ensure_image(wish))
            .await
    }

    async fn claim_network(
        &self,
        workload: &WorkloadSpec,
    ) -> Result<Option<NetworkClaim>, Failure> {
        self.fake.claim_network(workload).await
    }

    async fn taken_ids(&self, uid: &Uid) -> Result<Vec<IdSpan>, Failure> {
        self.fake.taken_ids(uid).await
    }

    async fn errand(
        &self,
        id: &ContainerId,
        address: Option<IpAddr>,
        errand: &Errand,
        limit: Duration,
    ) -> Result<ErrandEnd, Failure> {
        let work = async {
            let end = self.fake.errand(id, address, errand, limit).await;
            if self.hangs(errand) {
                let until = self.ground.state().clocks.up + limit.as_millis() as u64;
                self.ground.until(until).await;
            }
            end
        };
        self.verb(Verb::Errand, |_| (), work).await
    }

    async fn volume_use(&self, uid: &Uid, volume: usize, enough: u64) -> Result<u64, Failure> {
        let work = self.fake.volume_use(uid, volume, enough);
        self.verb(Verb::VolumeUse, |_| (), work).await
    }

    async fn ensure_sandbox(&self, request: SandboxRequest<'_>) -> Result<Sandbox, Failure> {
        let uid = request.uid;
        let work = self.fake.ensure_sandbox(request);
        self.verb(Verb::Sandbox, |state| judge::sandbox(state, uid), work)
            .await
    }

    async fn create(&self, request: CreateRequest<'_>) -> Result<CreatedContainer, Failure> {
        let id = request.intent.container.clone();
        let work = self.fake.create(request);
        self.verb(Verb::Create, |state| judge::create(state, &id), work)
            .await
    }

    async fn start(&self, id: &ContainerId) -> Result<ProcessId, Failure> {
        let fresh = || {
            let world = self.fake.world();
            world
                .containers
                .get(id)
                .is_some_and(|c| c.status == Status::Created && c.monitor && !c.broken)
        };
        let check = |state: &mut State| {
            if fresh() {
                judge::start(state, id);
            }
        };
        self.verb(Verb::Start, check, self.fake.start(id)).await
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Failure> {
        let work = self.fake.signal(id, signal);
        self.verb(Verb::Signal, |state| judge::signal(state, id, signal), work)
            .await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Failure> {
        let seen = || self.fake.world().containers.get(id).cloned();
        let check = |state: &mut State| judge::remove(state, id, seen().as_ref());
        let work = async {
            self.about_to_remove(id);
            self.fake.remove(id).await
        };
        self.verb(Verb::Remove, check, work).await
    }

    async fn remove_sandbox(&self, uid: &Uid) -> Result<(), Failure> {
        let work = async {
            let now = self.ground.state().clocks.truth;
            if self.fake.world().directories.contains(uid) {
                let mut state = self.ground.state();
                state.judge.removals.directories.push((now, uid.clone()));
            }
            self.fake.remove_sandbox(uid).await
        };
        self.verb(Verb::RemoveSandbox, |_| (), work).await
    }

    async fn observe(&self, uid: &Uid) -> Result<ObservedInstance, Failure> {
        let seen = self.fake.observe(uid).await;
        self.look();
        seen
    }

    async fn observe_all(&self) -> Result<ObservedNode, Failure> {
        let seen = self.fake.observe_all().await;
        self.look();
        seen
    }

    async fn changed(&self) -> Change {
        self.fake.changed().await
    }
}

/// What runs, in order, for somebody to pick from.
pub(super) fn containers(fake: &FakeNode, status: Option<Status>) -> Vec<ContainerId> {
    let world = fake.world();
    let chosen = |c: &SimContainer| status.is_none_or(|s| c.status == s && !c.broken);
    let found: BTreeMap<_, _> = world.containers.iter().filter(|(_, c)| chosen(c)).collect();
    found.into_keys().cloned().collect()
}
