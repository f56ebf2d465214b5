//! What is promised of a sandbox: made once, found, made anew, given up midway, removed.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests, compiled for more than one test crate"
)]

use std::time::Duration;

use tokio::{join, time::timeout};

use super::{
    ContractNode, create, create_on, fresh_id, removed, running, sandbox, seen, until, workload,
};
use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::Intent,
        observed::{ObservedContainer, Status},
        spec::{Port, WorkloadSpec},
        users::IdRange,
    },
    node::{CreateRequest, Failure, ImageWish, Node, Sandbox, SandboxRequest},
};

/// The contract's workload in a network of its own.
fn apart() -> WorkloadSpec {
    WorkloadSpec {
        host_network: false,
        ..workload()
    }
}

/// The same with a port of the node, where there is a free one.
fn with_port() -> WorkloadSpec {
    let mut workload = apart();
    let free = std::net::TcpListener::bind("0.0.0.0:0").and_then(|socket| socket.local_addr());
    workload.containers[0].ports.push(Port {
        host: free.unwrap().port(),
        container: 80,
        protocol: "TCP".to_owned(),
        name: None,
        host_ip: None,
    });
    workload
}

/// Makes the sandbox that the workload asks for, joined to what the node says now.
async fn make(node: &impl Node, uid: &Uid, workload: &WorkloadSpec) -> Result<Sandbox, Failure> {
    let claim = node.claim_network(workload).await?;
    let request = SandboxRequest {
        uid,
        instance: "contract-1",
        workload,
        claim: claim.as_ref(),
        users: None,
    };
    node.ensure_sandbox(request).await
}

async fn stands(node: &impl Node, uid: &Uid) -> bool {
    node.observe(uid).await.unwrap().sandbox
}

/// Removes it; nothing may be left.
async fn gone(node: &impl Node, uid: &Uid) {
    node.remove_sandbox(uid).await.unwrap();
    assert_eq!(node.observe(uid).await.unwrap(), Default::default());
}

/// A sandbox stands until it is removed, and removing one that is gone, or just going, is a
/// success.
pub async fn a_sandbox_stands_until_it_is_removed(node: &impl ContractNode) {
    let uid = fresh_id().uid;
    make(node, &uid, &apart()).await.unwrap();
    let instance = node.observe(&uid).await.unwrap();
    assert!(instance.sandbox && instance.leftovers && instance.containers.is_empty());
    gone(node, &uid).await;
    gone(node, &uid).await;
    make(node, &uid, &apart()).await.unwrap();
    assert!(stands(node, &uid).await);
    let (first, second) = join!(node.remove_sandbox(&uid), node.remove_sandbox(&uid));
    first.and(second).unwrap();
    gone(node, &uid).await;
}

/// What is in a sandbox goes with it, whatever it is at: nothing of it runs afterwards, nor can it
/// be started.
pub async fn a_sandbox_goes_with_what_is_in_it(node: &impl ContractNode) {
    let id = running(node).await;
    let [created, ended, broken] = [2, 3, 4].map(|attempt| ContainerId {
        attempt,
        ..id.clone()
    });
    for id in [&created, &ended, &broken] {
        create(node, id).await.unwrap();
    }
    for id in [&ended, &broken] {
        node.start(id).await.unwrap();
    }
    node.exit(&ended, 3);
    until(node, &ended, |c| c.exit.is_some()).await;
    node.break_state(&broken);
    let instance = node.observe(&id.uid).await.unwrap();
    assert!(instance.sandbox && instance.leftovers && instance.containers.len() == 4);
    gone(node, &id.uid).await;
    for id in [&id, &created, &ended, &broken] {
        assert_eq!(seen(node, id).await, None);
        assert!(node.start(id).await.unwrap_err().retryable());
        node.signal(id, 9).await.unwrap();
        node.remove(id).await.unwrap();
    }
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

/// The same request again finds the sandbox as it is, with its addresses and all that is in it.
pub async fn the_same_sandbox_is_found_as_it_is(node: &impl ContractNode) {
    for workload in [workload(), apart(), with_port()] {
        let uid = fresh_id().uid;
        let made = make(node, &uid, &workload).await.unwrap();
        node.mark_sandbox(&uid);
        assert!(node.is_marked(&uid));
        assert_eq!(make(node, &uid, &workload).await.unwrap(), made);
        assert!(node.is_marked(&uid) && stands(node, &uid).await);
        gone(node, &uid).await;
        assert!(!node.is_marked(&uid));
    }
}

/// A request by another claim, or for a workload that shares something else with the node, takes
/// the sandbox back and makes it anew.
pub async fn another_sandbox_is_made_anew(node: &impl ContractNode) {
    let uid = fresh_id().uid;
    let host_ipc = WorkloadSpec {
        host_ipc: true,
        ..apart()
    };
    let mut wishes = vec![workload(), apart(), host_ipc, apart()];
    let claims = (
        node.claim_network(&apart()).await.unwrap(),
        node.claim_network(&with_port()).await.unwrap(),
    );
    if claims.0.is_some() {
        // A node without a network has no claims to differ by.
        assert_ne!(claims.0, claims.1);
        wishes.extend([with_port(), apart()]);
    }
    for wish in wishes {
        let made = make(node, &uid, &wish).await.unwrap();
        assert!(!node.is_marked(&uid), "the former one is gone");
        assert!(stands(node, &uid).await);
        let joined = claims.0.is_some() && !wish.host_network;
        assert_eq!(made.addresses.is_empty(), !joined);
        if !wish.host_ipc {
            node.mark_sandbox(&uid);
        }
    }
    gone(node, &uid).await;
}

/// Whoever asks for a sandbox while it is being made gets that one.
pub async fn sandboxes_asked_for_at_once_are_one(node: &impl ContractNode) {
    let (uid, apart) = (fresh_id().uid, apart());
    let (first, second) = join!(make(node, &uid, &apart), make(node, &uid, &apart));
    assert_eq!(first.unwrap(), second.unwrap());
    node.mark_sandbox(&uid);
    let many = join!(make(node, &uid, &apart), make(node, &uid, &apart));
    assert_eq!(many.0.unwrap(), many.1.unwrap());
    assert!(node.is_marked(&uid) && stands(node, &uid).await);
    gone(node, &uid).await;
}

/// A sandbox whose making was given up at any point is made whole by the next request; and a
/// removal leaves nothing of it, then or later.
pub async fn a_sandbox_given_up_midway_is_made_or_removed_whole(node: &impl ContractNode) {
    let apart = apart();
    let mut removed = Vec::new();
    for patience in [0, 1, 5, 20, 60].map(Duration::from_millis) {
        let uid = fresh_id().uid;
        let _ = timeout(patience, make(node, &uid, &apart)).await;
        make(node, &uid, &apart).await.unwrap();
        assert!(stands(node, &uid).await);
        gone(node, &uid).await;
        let uid = fresh_id().uid;
        let _ = timeout(patience, make(node, &uid, &apart)).await;
        gone(node, &uid).await;
        removed.push(uid);
    }
    for uid in removed {
        assert_eq!(node.observe(&uid).await.unwrap(), Default::default());
    }
}

/// A create in a sandbox that is gone, or never was, fails; nothing of the attempt runs, and a
/// remove clears the rest.
pub async fn a_create_in_a_sandbox_that_is_gone_fails_and_leaves_nothing(node: &impl ContractNode) {
    for workload in [workload(), apart()] {
        for made in [true, false] {
            let id = fresh_id();
            if made {
                sandbox(node, &id.uid, workload.host_network).await;
                gone(node, &id.uid).await;
            }
            let failure = create_of(node, &id, &workload).await.unwrap_err();
            assert!(failure.retryable(), "{failure:?}");
            let lives = |c: ObservedContainer| {
                c.process.is_some() || c.monitor || c.status == Status::Creating
            };
            assert!(!seen(node, &id).await.is_some_and(lives));
            removed(node, &id).await;
            // In one that stands the same attempt can be made.
            sandbox(node, &id.uid, workload.host_network).await;
            create_of(node, &id, &workload).await.unwrap();
            removed(node, &id).await;
        }
    }
}

async fn create_of(
    node: &impl Node,
    id: &ContainerId,
    workload: &WorkloadSpec,
) -> Result<(), Failure> {
    let wish = ImageWish {
        image: "image",
        pinned: None,
        policy: workload.containers[0].pull_policy(),
    };
    let snapshot = node.ensure_image(wish).await?.snapshot;
    if workload.host_network {
        return create_on(node, id, snapshot).await.map(drop);
    }
    let intent = Intent {
        container: id.clone(),
        snapshot,
        netns: Some(format!("rk-{}", id.uid)),
    };
    let request = CreateRequest {
        intent: &intent,
        instance: "contract-1",
        workload,
        addresses: &[],
        users: None,
    };
    node.create(request).await.map(drop)
}
