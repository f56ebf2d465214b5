//! What the promises are made of: a node to which things can be done behind its back, one
//! workload, and waits with a bound.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::Intent,
        observed::ObservedContainer,
        spec::{ContainerSpec, WorkloadSpec},
    },
    node::{CreateRequest, CreatedContainer, Failure, Node},
    testing::real_world::fresh_entropy,
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
}

/// How long anything may take that is to happen.
pub(super) const SOON: Duration = Duration::from_secs(10);

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
            args: Vec::new(),
            working_dir: None,
            env: Vec::new(),
            ports: Vec::new(),
        }],
        restart_policy: crate::model::spec::RestartPolicy::Never,
        grace_seconds: 1,
        host_network: true,
        hostname: None,
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

/// Creates it on the image.
pub(super) async fn create(
    node: &impl Node,
    id: &ContainerId,
) -> Result<CreatedContainer, Failure> {
    let image = node.ensure_image("image", None).await?;
    create_on(node, id, image.snapshot).await
}

/// Creates it on this snapshot.
pub(super) async fn create_on(
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
    };
    node.create(request).await
}

/// A container that was started.
pub(super) async fn running(node: &impl Node) -> ContainerId {
    let id = fresh_id();
    node.ensure_sandbox(&id.uid, true).await.unwrap();
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

/// Removes it; nothing is seen of it then.
pub(super) async fn removed(node: &impl Node, id: &ContainerId) {
    node.remove(id).await.unwrap();
    assert_eq!(seen(node, id).await, None);
    node.remove_sandbox(&id.uid).await.unwrap();
    let left = node.observe(&id.uid).await.unwrap();
    assert_eq!(left, Default::default());
    let all = node.observe_all().await.unwrap();
    assert!(!all.instances.contains_key(&id.uid));
}
