//! What is promised of an errand: it is done at what runs, and can't be tried at anything else.

#![allow(
    clippy::unwrap_used,
    reason = "these are tests, compiled for more than one test crate"
)]

use std::time::Duration;

use super::{ContractNode, create, fresh_id, removed, running, sandbox, until};
use crate::{
    model::{
        ids::ContainerId,
        spec::{Errand, HttpErrand},
    },
    node::{ErrandEnd, Failure, Node},
};

/// How long an errand may take; none of these takes that long.
const LIMIT: Duration = Duration::from_secs(10);

/// A port at which nobody listens.
const SILENT: u16 = 1;

fn exec() -> Errand {
    Errand::Exec {
        command: vec!["/bin/true".to_owned()],
    }
}

/// One of each kind.
fn errands() -> [Errand; 5] {
    [
        exec(),
        Errand::Sleep { seconds: 0 },
        Errand::Tcp {
            port: SILENT,
            host: None,
        },
        Errand::Http(HttpErrand {
            port: SILENT,
            path: "/".to_owned(),
            ..HttpErrand::default()
        }),
        Errand::Grpc {
            port: SILENT,
            service: String::new(),
        },
    ]
}

async fn ask(node: &impl Node, id: &ContainerId, errand: &Errand) -> Result<ErrandEnd, Failure> {
    node.errand(id, None, errand, LIMIT).await
}

/// At a container that runs every errand is tried, so that there is an answer, well done or not;
/// one that takes longer than it may isn't well done.
pub async fn an_errand_is_done_at_what_runs(node: &impl ContractNode) {
    let id = running(node).await;
    for errand in errands() {
        let end = ask(node, &id, &errand).await.unwrap();
        assert!(end.message.len() <= 1024);
        let inside = matches!(errand, Errand::Exec { .. } | Errand::Sleep { .. });
        // A simulation has no ports: elsewhere either answer will do.
        assert!(end.ok || !inside, "{errand:?}: {end:?}");
    }
    let (long, limit) = (Errand::Sleep { seconds: 60 }, Duration::from_millis(20));
    let late = node.errand(&id, None, &long, limit).await.unwrap();
    assert!(!late.ok && !late.message.is_empty(), "{late:?}");
    removed(node, &id).await;
}

/// At a container that was never made, that ended, that can't be commanded or that is removed no
/// errand can be tried: that is a failure, and says nothing of the container.
pub async fn an_errand_at_what_does_not_run_can_not_be_tried(node: &impl ContractNode) {
    let never = fresh_id();
    let unmade = fresh_id();
    sandbox(node, &unmade.uid, true).await;
    let ended = running(node).await;
    node.exit(&ended, 3);
    until(node, &ended, |c| c.exit.is_some()).await;
    let gone = fresh_id();
    sandbox(node, &gone.uid, true).await;
    create(node, &gone).await.unwrap();
    node.start(&gone).await.unwrap();
    removed(node, &gone).await;
    for id in [&never, &unmade, &ended, &gone] {
        for errand in errands() {
            let failure = ask(node, id, &errand).await.unwrap_err();
            assert!(failure.retryable(), "{errand:?} at {id}: {failure:?}");
        }
    }
    let broken = running(node).await;
    node.break_state(&broken);
    assert!(ask(node, &broken, &exec()).await.is_err());
    for id in [&unmade, &ended, &broken] {
        removed(node, id).await;
    }
}
