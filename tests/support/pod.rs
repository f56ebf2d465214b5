//! Pods on a real node, without a daemon: made, run to their end, looked at, removed.

use std::{collections::BTreeMap, fs, sync::Mutex};

use riklet::{
    model::{
        ids::{ContainerId, Uid},
        line::{Exit, Intent},
        spec::{ContainerSpec, WorkloadSpec},
        users::IdRange,
    },
    node::{CreateRequest, Failure, Node, SandboxRequest},
    runtime::{layout::netns_name, real_node::RealNode},
    testing::{
        contract::{fresh_id, until, workload},
        real_world::{BusyboxImage, RealWorld, SNAPSHOT},
    },
};

/// A container that runs a shell script.
pub(crate) fn shell(script: &str) -> ContainerSpec {
    ContainerSpec {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..workload().containers.remove(0)
    }
}

/// A workload of these containers, in a network of its own.
pub(crate) fn pod(containers: impl IntoIterator<Item = ContainerSpec>) -> WorkloadSpec {
    WorkloadSpec {
        containers: containers.into_iter().collect(),
        host_network: false,
        ..workload()
    }
}

/// Ids for a workload that has its own, which no other sandbox of this process has.
pub(crate) fn own_users(uid: &Uid, workload: &WorkloadSpec) -> Option<IdRange> {
    static GIVEN: Mutex<BTreeMap<Uid, IdRange>> = Mutex::new(BTreeMap::new());
    let mut given = GIVEN.lock().unwrap();
    let next = 65_536 * (given.len() as u64 + 1);
    let ids = *given
        .entry(uid.clone())
        .or_insert(IdRange::at(next).unwrap());
    (!workload.host_users).then_some(ids)
}

/// Makes the sandbox, if there is none, and creates the container.
pub(crate) async fn create(
    node: &RealNode<BusyboxImage>,
    id: &ContainerId,
    workload: &WorkloadSpec,
) -> Result<(), Failure> {
    let sandbox = SandboxRequest {
        uid: &id.uid,
        instance: "web-1@cli",
        workload,
        claim: None,
        users: own_users(&id.uid, workload),
    };
    node.ensure_sandbox(sandbox).await?;
    let intent = Intent {
        container: id.clone(),
        snapshot: SNAPSHOT.to_owned(),
        netns: (!workload.host_network).then(|| netns_name(&id.uid)),
    };
    let request = CreateRequest {
        intent: &intent,
        instance: "web-1@cli",
        workload,
        addresses: &[[10, 9, 8, 7].into()],
        users: own_users(&id.uid, workload),
    };
    node.create(request).await.map(drop)
}

/// Runs a container to its end: how it ended, and what it said.
pub(crate) async fn ran(
    world: &RealWorld,
    id: &ContainerId,
    workload: &WorkloadSpec,
) -> (Exit, String) {
    create(&world.node, id, workload).await.unwrap();
    world.node.start(id).await.unwrap();
    let ended = until(&world.node, id, |c| c.exit.is_some() && !c.monitor).await;
    let said = fs::read_to_string(world.node.layout().log_file(id)).unwrap_or_default();
    (ended.exit.unwrap(), said)
}

/// Runs a workload's only container to its end, and removes everything.
pub(crate) async fn ran_alone(world: &RealWorld, workload: &WorkloadSpec) -> (Exit, String) {
    let id = fresh_id();
    let ended = ran(world, &id, workload).await;
    removed(world, &id).await;
    ended
}

/// Removes a container and its sandbox; nothing may be left of it.
pub(crate) async fn removed(world: &RealWorld, id: &ContainerId) {
    world.node.remove(id).await.unwrap();
    world.node.remove_sandbox(&id.uid).await.unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let left: Vec<_> = mounts
        .lines()
        .filter(|l| l.contains(id.uid.as_str()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!world.node.layout().pod(&id.uid).exists());
    assert!(!world.cgroups.exists(&format!("pods/{}", id.uid)));
}

/// Asserts that each part is in what was said.
pub(crate) fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}
