//! What every [`Node`] promises, as tests: one suite for the real node and the simulated one.
//!
//! Each promise is an async function over a fresh node; [`node_contract!`](crate::node_contract)
//! makes a test of each. Where a simulation can't know what a kernel knows, the promise says
//! what either may answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests, compiled for more than one test crate"
)]

mod creates;
mod errands;
mod sandboxes;

use std::time::Duration;

use tokio::time::{sleep, timeout};

pub use self::{creates::*, errands::*, sandboxes::*};
use super::real_world::fresh_entropy;
use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::{Exit, Intent},
        observed::{ObservedContainer, Status},
        spec::{ContainerSpec, PullPolicy, WorkloadSpec},
    },
    node::{Change, CreateRequest, CreatedContainer, Failure, ImageWish, Node, SandboxRequest},
};

/// A node to which things can be done behind its back.
pub trait ContractNode: Node {
    /// The container's process ends by itself with that code.
    fn exit(&self, id: &ContainerId, code: i32);
    /// The container's process is killed by somebody.
    fn kill_container(&self, id: &ContainerId);
    /// The container's monitor is killed by somebody.
    fn kill_monitor(&self, id: &ContainerId);
    /// The runtime's own state of the container becomes garbage.
    fn break_state(&self, id: &ContainerId);
    /// Leaves something in the incarnation's sandbox that goes with it.
    fn mark_sandbox(&self, uid: &Uid);
    /// Is that still there?
    fn is_marked(&self, uid: &Uid) -> bool;
}

/// How long anything may take that is to happen.
const SOON: Duration = Duration::from_secs(10);

/// A workload whose container ends on SIGTERM with 0, or with the code in its file `/exit`.
#[must_use]
pub fn workload() -> WorkloadSpec {
    let script = "trap 'exit 0' TERM; while [ ! -s /exit ]; do sleep 0.02; done; exit $(cat /exit)";
    WorkloadSpec {
        name: "contract".to_owned(),
        containers: vec![ContainerSpec {
            name: "main".to_owned(),
            image: "image".to_owned(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            ..ContainerSpec::default()
        }],
        restart_policy: crate::model::spec::RestartPolicy::Never,
        grace_seconds: 1,
        host_network: true,
        ..WorkloadSpec::default()
    }
}

/// A first attempt's name that nobody else has.
#[must_use]
pub fn fresh_id() -> ContainerId {
    ContainerId {
        uid: Uid::from_entropy(fresh_entropy()),
        n: 0,
        attempt: 1,
    }
}

/// Makes a sandbox for [`workload`].
pub async fn sandbox(node: &impl Node, uid: &Uid, host_network: bool) {
    let mut workload = workload();
    workload.host_network = host_network;
    let request = SandboxRequest {
        uid,
        instance: "contract-1",
        workload: &workload,
        claim: None,
        users: None,
    };
    node.ensure_sandbox(request).await.unwrap();
}

async fn create(node: &impl Node, id: &ContainerId) -> Result<CreatedContainer, Failure> {
    let wish = ImageWish {
        image: "image",
        pinned: None,
        policy: PullPolicy::IfNotPresent,
    };
    let image = node.ensure_image(wish).await?;
    create_on(node, id, image.snapshot).await
}

async fn create_on(
    node: &impl Node,
    id: &ContainerId,
    snapshot: String,
) -> Result<CreatedContainer, Failure> {
    let intent = Intent {
        container: id.clone(),
        snapshot,
        netns: None,
    };
    let workload = workload();
    let request = CreateRequest {
        intent: &intent,
        instance: "contract-1",
        workload: &workload,
        addresses: &[],
        users: None,
    };
    node.create(request).await
}

async fn running(node: &impl Node) -> ContainerId {
    let id = fresh_id();
    sandbox(node, &id.uid, true).await;
    create(node, &id).await.unwrap();
    node.start(&id).await.unwrap();
    id
}

/// What is seen of an attempt.
pub async fn seen(node: &impl Node, id: &ContainerId) -> Option<ObservedContainer> {
    let instance = node.observe(&id.uid).await.unwrap();
    instance.containers.get(id).cloned()
}

/// Looks at an attempt until `wished` is seen, for 10 s at most.
pub async fn until(
    node: &impl Node,
    id: &ContainerId,
    wished: impl Fn(&ObservedContainer) -> bool,
) -> ObservedContainer {
    let wished = &wished;
    let looked = || async move { seen(node, id).await.filter(wished) };
    match eventually(looked).await {
        Some(container) => container,
        None => panic!("never seen, but {:?}", seen(node, id).await),
    }
}

/// Asks until there is an answer, for 10 s at most, with a pause of 2 ms between.
pub async fn eventually<T, F: Future<Output = Option<T>>>(look: impl Fn() -> F) -> Option<T> {
    let ends = tokio::time::Instant::now() + SOON;
    loop {
        let found = look().await;
        if found.is_some() || tokio::time::Instant::now() >= ends {
            return found;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

async fn removed(node: &impl Node, id: &ContainerId) {
    node.remove(id).await.unwrap();
    assert_eq!(seen(node, id).await, None);
    node.remove_sandbox(&id.uid).await.unwrap();
    let left = node.observe(&id.uid).await.unwrap();
    assert_eq!(left, Default::default());
    let all = node.observe_all().await.unwrap();
    assert!(!all.instances.contains_key(&id.uid));
}

/// Nothing is seen of what was never there, and removing it is a success.
pub async fn nothing_is_seen_of_what_was_never_there(node: &impl ContractNode) {
    let id = fresh_id();
    assert_eq!(node.observe(&id.uid).await.unwrap(), Default::default());
    removed(node, &id).await;
    removed(node, &id).await;
}

/// A created container waits; started, it runs, with the process that the create named.
pub async fn a_created_container_waits_for_its_start(node: &impl ContractNode) {
    let id = fresh_id();
    sandbox(node, &id.uid, true).await;
    let created = create(node, &id).await.unwrap();
    let waiting = seen(node, &id).await.unwrap();
    assert_eq!(waiting.status, Status::Created);
    assert_eq!(waiting.process, Some(created.process));
    assert!(waiting.monitor && waiting.exit.is_none() && created.monitor.is_some());
    assert_eq!(node.start(&id).await.unwrap(), created.process);
    let runs = until(node, &id, |c| c.status == Status::Running).await;
    assert_eq!(runs.process, Some(created.process));
    let all = node.observe_all().await.unwrap();
    assert!(all.instances[&id.uid].containers.contains_key(&id));
    removed(node, &id).await;
}

/// The same create twice makes one container; the same start twice starts it once.
pub async fn the_same_verb_twice_does_it_once(node: &impl ContractNode) {
    let id = fresh_id();
    sandbox(node, &id.uid, true).await;
    sandbox(node, &id.uid, true).await;
    let first = create(node, &id).await.unwrap();
    let second = create(node, &id).await.unwrap();
    assert_eq!(first.process, second.process);
    assert_eq!(node.start(&id).await.unwrap(), first.process);
    assert_eq!(node.start(&id).await.unwrap(), first.process);
    // Also once it runs.
    let third = create(node, &id).await.unwrap();
    assert_eq!(first.process, third.process);
    removed(node, &id).await;
    removed(node, &id).await;
}

/// A start of what isn't there fails, and may be tried again.
pub async fn a_start_of_nothing_is_a_failure(node: &impl ContractNode) {
    let failure = node.start(&fresh_id()).await.unwrap_err();
    assert!(failure.retryable());
}

/// A running container goes without a trace.
pub async fn a_running_container_is_removed_without_a_trace(node: &impl ContractNode) {
    let id = running(node).await;
    removed(node, &id).await;
}

/// The code with which a container exits while nobody looks is found later.
pub async fn an_exit_that_nobody_watched_is_found(node: &impl ContractNode) {
    let id = running(node).await;
    node.exit(&id, 37);
    let ended = until(node, &id, |c| c.exit.is_some()).await;
    assert_eq!(ended.exit, Some(Exit::from_code(37, false)));
    assert!(matches!(ended.status, Status::Stopped | Status::Absent));
    assert_eq!(ended.process, None);
    // A start of it is a success and runs nothing.
    node.start(&id).await.unwrap();
    assert!(seen(node, &id).await.unwrap().process.is_none());
    removed(node, &id).await;
}

/// SIGTERM lets a container end, SIGKILL ends it, and the dead are signalled with success.
pub async fn signals_end_containers_and_the_dead_ignore_them(node: &impl ContractNode) {
    let id = running(node).await;
    let asked = async {
        // More than once: until the shell has set its trap, the kernel drops what is sent to the
        // init of a pid namespace.
        while seen(node, &id).await.unwrap().exit.is_none() {
            node.signal(&id, 15).await.unwrap();
            sleep(SOON / 1_000).await;
        }
    };
    timeout(SOON, asked).await.expect("an end");
    node.signal(&id, 15).await.unwrap();
    node.signal(&id, 9).await.unwrap();
    removed(node, &id).await;
    node.signal(&id, 15).await.unwrap();
    node.signal(&id, 9).await.unwrap();

    let id = running(node).await;
    node.signal(&id, 9).await.unwrap();
    let ended = until(node, &id, |c| c.exit.is_some()).await;
    assert_eq!(ended.exit.and_then(|e| e.signal), Some(9));
    removed(node, &id).await;
}

/// A created container that was never started can be killed.
pub async fn a_container_that_never_started_can_be_killed(node: &impl ContractNode) {
    let id = fresh_id();
    sandbox(node, &id.uid, true).await;
    create(node, &id).await.unwrap();
    node.signal(&id, 9).await.unwrap();
    until(node, &id, |c| c.process.is_none()).await;
    removed(node, &id).await;
}

/// A container outlives its monitor, is seen to have none, and its exit code is right or unknown.
pub async fn a_container_outlives_its_monitor(node: &impl ContractNode) {
    let id = running(node).await;
    let before = seen(node, &id).await.unwrap();
    node.kill_monitor(&id);
    let alone = until(node, &id, |c| !c.monitor).await;
    assert_eq!(alone.status, Status::Running);
    assert_eq!(alone.process, before.process);
    node.exit(&id, 41);
    let ended = until(node, &id, |c| c.process.is_none()).await;
    assert!(ended.exit.is_none_or(|e| e.code == Some(41)));
    removed(node, &id).await;
}

/// A container that the runtime can't command any more is seen as such, killed and removed.
pub async fn a_container_with_a_broken_state_is_ended_all_the_same(node: &impl ContractNode) {
    let id = running(node).await;
    node.break_state(&id);
    assert_eq!(seen(node, &id).await.unwrap().status, Status::Broken);
    removed(node, &id).await;

    let id = running(node).await;
    node.break_state(&id);
    node.signal(&id, 9).await.unwrap();
    removed(node, &id).await;
}

/// A change is hinted at soon, whether a container exits or is killed or its monitor is.
pub async fn changes_are_hinted_at_soon(node: &impl ContractNode) {
    let deeds: [fn(&_, &ContainerId); 3] = [
        |node, id| ContractNode::exit(node, id, 3),
        |node, id| ContractNode::kill_container(node, id),
        |node, id| ContractNode::kill_monitor(node, id),
    ];
    for deed in deeds {
        let id = running(node).await;
        let before = seen(node, &id).await.unwrap();
        deed(node, &id);
        let hinted = async {
            loop {
                let change = node.changed().await;
                if (change == Change::Anywhere || change == Change::Instance(id.uid.clone()))
                    && seen(node, &id).await.unwrap() != before
                {
                    return;
                }
            }
        };
        timeout(SOON, hinted).await.expect("a hint");
        removed(node, &id).await;
    }
}

/// Makes a test of every promise; `$with` is an async function that runs an async closure on a
/// fresh node.
#[macro_export]
macro_rules! node_contract {
    ($with:path) => {
        $crate::node_contract! { @ $with:
            nothing_is_seen_of_what_was_never_there
            a_created_container_waits_for_its_start
            the_same_verb_twice_does_it_once
            a_start_of_nothing_is_a_failure
            a_running_container_is_removed_without_a_trace
            an_exit_that_nobody_watched_is_found
            signals_end_containers_and_the_dead_ignore_them
            a_container_that_never_started_can_be_killed
            a_container_outlives_its_monitor
            a_create_given_up_midway_is_removed_whole
            a_create_after_one_given_up_makes_one_container
            a_container_with_a_broken_state_is_ended_all_the_same
            changes_are_hinted_at_soon
            a_sandbox_stands_until_it_is_removed
            a_sandbox_goes_with_what_is_in_it
            a_sandboxes_ids_are_nobody_elses_until_it_is_removed
            the_same_sandbox_is_found_as_it_is
            another_sandbox_is_made_anew
            sandboxes_asked_for_at_once_are_one
            a_sandbox_given_up_midway_is_made_or_removed_whole
            a_create_in_a_sandbox_that_is_gone_fails_and_leaves_nothing
            an_errand_is_done_at_what_runs
            an_errand_at_what_does_not_run_can_not_be_tried
            a_create_without_its_snapshot_says_so
            a_create_of_what_ended_runs_nothing
            a_broken_attempt_is_made_anew_by_a_create
            a_monitor_killed_during_a_create_leaves_nothing_behind
            a_created_container_without_its_monitor_is_not_started
        }
    };
    (@ $with:path: $($promise:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            $with(async |node: &_| $crate::testing::contract::$promise(node).await).await;
        })*
    };
}
