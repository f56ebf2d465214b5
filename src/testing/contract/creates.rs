//! What is promised of a create that meets something: its own leftovers, an end, garbage.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests, compiled for more than one test crate"
)]

use std::time::Duration;

use tokio::time::timeout;

use super::{ContractNode, create, create_on, fresh_id, removed, running, sandbox, seen, until};
use crate::{
    model::observed::{ObservedContainer, Status},
    node::FailureKind,
};

/// A create that was given up halfway leaves nothing after a remove, now or later.
pub async fn a_create_given_up_midway_is_removed_whole(node: &impl ContractNode) {
    for patience in [0, 1, 5, 15, 25, 40] {
        let id = fresh_id();
        sandbox(node, &id.uid, true).await;
        let _ = timeout(Duration::from_millis(patience), create(node, &id)).await;
        removed(node, &id).await;
    }
}

/// A create on the leftovers of its own attempt makes exactly one container.
pub async fn a_create_after_one_given_up_makes_one_container(node: &impl ContractNode) {
    for patience in [1, 2, 3, 5, 10, 30] {
        let id = fresh_id();
        sandbox(node, &id.uid, true).await;
        let _ = timeout(Duration::from_millis(patience), create(node, &id)).await;
        let created = create(node, &id).await.unwrap();
        let waiting = seen(node, &id).await.unwrap();
        assert_eq!(waiting.process, Some(created.process));
        assert_eq!(waiting.status, Status::Created);
        removed(node, &id).await;
    }
}

/// A create on a snapshot that isn't there says so, and nothing of the attempt runs.
pub async fn a_create_without_its_snapshot_says_so(node: &impl ContractNode) {
    let id = fresh_id();
    sandbox(node, &id.uid, true).await;
    let failure = create_on(node, &id, "sha256-nowhere".to_owned()).await;
    assert_eq!(failure.unwrap_err().kind, FailureKind::SnapshotMissing);
    let lives = |c: ObservedContainer| c.process.is_some() || c.monitor;
    assert!(!seen(node, &id).await.is_some_and(lives));
    removed(node, &id).await;
}

/// A create of an attempt that has ended is a success and runs nothing anew.
pub async fn a_create_of_what_ended_runs_nothing(node: &impl ContractNode) {
    let id = running(node).await;
    node.exit(&id, 3);
    let ended = until(node, &id, |c| c.exit.is_some()).await;
    create(node, &id).await.unwrap();
    node.start(&id).await.unwrap();
    let still = seen(node, &id).await.unwrap();
    assert_eq!((still.process, still.exit), (None, ended.exit));
    removed(node, &id).await;
}

/// What the runtime can't command is not started, and a create of it begins anew.
pub async fn a_broken_attempt_is_made_anew_by_a_create(node: &impl ContractNode) {
    let id = running(node).await;
    let before = seen(node, &id).await.unwrap();
    node.break_state(&id);
    assert!(node.start(&id).await.unwrap_err().retryable());
    let broken = seen(node, &id).await.unwrap();
    assert_eq!((broken.status, broken.process), (Status::Broken, None));
    let created = create(node, &id).await.unwrap();
    assert_ne!(Some(created.process), before.process);
    let anew = seen(node, &id).await.unwrap();
    assert_eq!(anew.status, Status::Created);
    assert_eq!(anew.process, Some(created.process));
    removed(node, &id).await;
}

/// A created container whose monitor is gone isn't started: nobody would see it end.
pub async fn a_created_container_without_its_monitor_is_not_started(node: &impl ContractNode) {
    let id = fresh_id();
    sandbox(node, &id.uid, true).await;
    create(node, &id).await.unwrap();
    node.kill_monitor(&id);
    let alone = until(node, &id, |c| !c.monitor).await;
    assert_eq!(alone.status, Status::Created);
    assert!(node.start(&id).await.unwrap_err().retryable());
    assert_eq!(seen(node, &id).await, Some(alone));
    removed(node, &id).await;
}

/// A monitor killed at any point of a create leaves what is seen, ended and removed.
pub async fn a_monitor_killed_during_a_create_leaves_nothing_behind(node: &impl ContractNode) {
    for patience in [1, 10, 30] {
        let id = fresh_id();
        sandbox(node, &id.uid, true).await;
        let _ = timeout(Duration::from_millis(patience), create(node, &id)).await;
        node.kill_monitor(&id);
        removed(node, &id).await;
    }
}
