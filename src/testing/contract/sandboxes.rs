//! What is promised of sandboxes.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests, compiled for more than one test crate"
)]

use super::{ContractNode, fresh_id, running, sandbox, workload};
use crate::{
    model::{ids::Uid, spec::WorkloadSpec, users::IdRange},
    node::SandboxRequest,
};

/// A sandbox with a network of its own stands until it is removed.
pub async fn a_sandbox_stands_until_it_is_removed(node: &impl ContractNode) {
    let uid = fresh_id().uid;
    sandbox(node, &uid, false).await;
    sandbox(node, &uid, false).await;
    let instance = node.observe(&uid).await.unwrap();
    assert!(instance.sandbox && instance.leftovers && instance.containers.is_empty());
    node.remove_sandbox(&uid).await.unwrap();
    node.remove_sandbox(&uid).await.unwrap();
    assert_eq!(node.observe(&uid).await.unwrap(), Default::default());
}

/// The ids of a sandbox are taken for all others, until it is removed.
pub async fn a_sandboxes_ids_are_nobody_elses_until_it_is_removed(node: &impl ContractNode) {
    let (uid, other) = (fresh_id().uid, fresh_id().uid);
    let workload = WorkloadSpec {
        host_network: false,
        host_users: false,
        ..workload()
    };
    let given = |k: u64| IdRange::at(k * 65_536).unwrap();
    let taken = async |by: &Uid| node.taken_ids(by).await.unwrap();
    let before = taken(&other).await;
    for ids in [given(50_000), given(50_000), given(50_001)] {
        let request = SandboxRequest {
            uid: &uid,
            instance: "contract-1",
            workload: &workload,
            claim: None,
            users: Some(ids),
        };
        node.ensure_sandbox(request).await.unwrap();
        let mut expected = before.clone();
        expected.push(ids.span());
        assert_eq!(taken(&other).await, expected);
        assert_eq!(taken(&uid).await, before);
    }
    assert!(node.observe(&uid).await.unwrap().sandbox);
    node.remove_sandbox(&uid).await.unwrap();
    assert_eq!(taken(&other).await, before);
    assert_eq!(node.observe(&uid).await.unwrap(), Default::default());
}

/// The same on the host's network; what is in it goes with it.
pub async fn a_sandbox_goes_with_what_is_in_it(node: &impl ContractNode) {
    let id = running(node).await;
    let instance = node.observe(&id.uid).await.unwrap();
    assert!(instance.sandbox && instance.leftovers);
    node.remove_sandbox(&id.uid).await.unwrap();
    assert_eq!(node.observe(&id.uid).await.unwrap(), Default::default());
}
