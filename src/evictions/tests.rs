#![allow(clippy::unwrap_used, reason = "tests")]

//! The bookkeeping over a book in memory and a simulated node.

use super::*;
use crate::{
    model::{
        ids::{ContainerId, Generation, InstanceId, Source},
        line::{Event, Intent, ProcessId},
        spec::{RestartPolicy, Volume, VolumeSource},
    },
    testing::{
        builders::{container_id, uid, workload},
        fake_node::{FakeNode, Fault, Verb},
        memory_book::MemoryBook,
    },
};

const EVERY: u64 = 10_000;

fn spec(limit: Option<u64>) -> Box<crate::model::spec::WorkloadSpec> {
    let mut spec = workload(1, RestartPolicy::Always);
    spec.volumes = vec![Volume {
        name: "data".to_owned(),
        source: VolumeSource::Empty {
            memory: false,
            size_limit: limit,
        },
    }];
    Box::new(spec)
}

fn starts(book: &MemoryBook, n: u64, attempt: u32, generation: Generation) -> ContainerId {
    let container = container_id(&uid(n), 0, attempt);
    let process = ProcessId {
        pid: 7,
        start_time: 7,
    };
    for event in [
        Event::SandboxIntended {
            uid: uid(n),
            generation,
            claim: None,
            users: None,
        },
        Event::SandboxReady {
            uid: uid(n),
            addresses: Vec::new(),
        },
        Event::AttemptIntended {
            uid: uid(n),
            intent: Intent {
                container: container.clone(),
                snapshot: "sha256-00".to_owned(),
                netns: None,
            },
        },
        Event::Created {
            container: container.clone(),
            process,
            monitor: None,
        },
        Event::Started {
            container: container.clone(),
            process,
            adopted: false,
        },
    ] {
        book.record(event).unwrap();
    }
    container
}

/// An instance that runs, whose volume has a limit or none.
fn runs(book: &MemoryBook, n: u64, limit: Option<u64>) -> ContainerId {
    let accepted = Event::Accepted {
        uid: uid(n),
        instance: InstanceId::from_wire(&format!("web-{n}")).unwrap(),
        source: Source::Scheduler,
        definition: String::new(),
        spec: spec(limit),
        warnings: Vec::new(),
    };
    book.record(accepted).unwrap();
    starts(book, n, 1, 1)
}

fn lines(book: &MemoryBook) -> usize {
    let all = &book.pages().lines;
    all.iter().filter(|l| l.event.kind() == "evicted").count()
}

/// Does every look that is due; so many were.
async fn look(node: &FakeNode, rounds: &mut LookRounds<MemoryBook>) -> (usize, Vec<Uid>) {
    rounds.on_due();
    let (mut looks, mut evicted) = (0, Vec::new());
    while let Some(look) = rounds.next_look() {
        looks += 1;
        let measured = measure(node, &look).await;
        evicted.extend(rounds.on_end(&look, measured));
    }
    (looks, evicted)
}

#[tokio::test]
async fn a_node_without_bounded_volumes_never_looks_at_anything() {
    let (book, node) = (MemoryBook::default(), FakeNode::default());
    runs(&book, 1, None);
    let mut rounds = LookRounds::new(book.clone(), EVERY);
    rounds.on_ring(uid(1));
    assert_eq!(look(&node, &mut rounds).await.0, 0);
    assert_eq!(rounds.next_due(), None, "nothing wakes the loop");
    book.advance(10 * EVERY);
    assert_eq!(look(&node, &mut rounds).await.0, 0);
    assert!(node.world().calls.is_empty());
}

#[tokio::test]
async fn a_volume_is_looked_at_every_so_often_and_over_its_limit_it_evicts_once() {
    let (book, node) = (MemoryBook::default(), FakeNode::default());
    let mut rounds = LookRounds::new(book.clone(), EVERY);
    runs(&book, 1, Some(1_000));
    runs(&book, 2, None);
    for n in [1, 1, 2] {
        rounds.on_ring(uid(n));
    }
    assert_eq!(look(&node, &mut rounds).await.0, 0, "not before its time");
    assert_eq!(rounds.next_due(), Some(book.now().up + EVERY));
    node.world().volume_use = 1_000;
    for _ in 0..3 {
        book.advance(EVERY);
        assert_eq!(look(&node, &mut rounds).await, (1, Vec::new()));
        // Whatever is done at it meanwhile doesn't put the next look off, nor add one.
        book.advance(EVERY / 2);
        rounds.on_ring(uid(1));
        assert_eq!(look(&node, &mut rounds).await, (0, Vec::new()));
        book.pages().up -= EVERY / 2;
    }
    node.world().volume_use = 1_001;
    book.advance(EVERY);
    assert_eq!(look(&node, &mut rounds).await, (1, vec![uid(1)]));
    assert_eq!(lines(&book), 1);
    book.advance(10 * EVERY);
    assert_eq!(look(&node, &mut rounds).await, (0, Vec::new()));
    assert_eq!((rounds.next_due(), lines(&book)), (None, 1));
    assert!(rounds.is_idle());
}

#[tokio::test]
async fn a_new_daemon_looks_at_what_it_finds_running_after_the_interval() {
    let (book, node) = (MemoryBook::default(), FakeNode::default());
    runs(&book, 1, Some(1_000));
    node.world().volume_use = 2_000;
    let mut rounds = LookRounds::new(book.clone(), EVERY);
    assert_eq!(look(&node, &mut rounds).await.0, 0);
    book.advance(EVERY);
    assert_eq!(look(&node, &mut rounds).await, (1, vec![uid(1)]));
}

#[tokio::test]
async fn what_takes_long_to_look_at_is_looked_at_less_often() {
    let (book, node) = (MemoryBook::default(), FakeNode::default());
    runs(&book, 1, Some(1_000));
    let mut rounds = LookRounds::new(book.clone(), EVERY);
    assert!(rounds.next_look().is_none());
    book.advance(EVERY);
    rounds.on_due();
    let long = rounds.next_look().unwrap();
    book.advance(60_000);
    rounds.on_ring(uid(1));
    assert!(rounds.next_look().is_none(), "one look at a time");
    let measured = measure(&node, &long).await;
    rounds.on_end(&long, measured);
    assert!(rounds.next_look().is_none());
    assert_eq!(rounds.next_due(), Some(book.now().up + 600_000));
}

#[tokio::test]
async fn a_look_that_fails_evicts_nobody_and_is_made_again() {
    let (book, node) = (MemoryBook::default(), FakeNode::default());
    runs(&book, 1, Some(1_000));
    node.world().volume_use = 2_000;
    node.fault(
        Verb::VolumeUse,
        Fault::Before(crate::node::FailureKind::Transient),
    );
    let mut rounds = LookRounds::new(book.clone(), EVERY);
    assert_eq!(look(&node, &mut rounds).await.0, 0);
    book.advance(EVERY);
    assert_eq!(look(&node, &mut rounds).await, (1, Vec::new()));
    book.advance(EVERY);
    rounds.on_due();
    // One that dies is no end of looks either.
    assert!(rounds.next_look().is_some());
    rounds.on_death();
    book.advance(EVERY);
    assert_eq!(look(&node, &mut rounds).await, (1, vec![uid(1)]));
}

#[tokio::test]
async fn a_verdict_of_a_look_that_a_new_generation_overtook_is_none() {
    let (book, node) = (MemoryBook::default(), FakeNode::default());
    runs(&book, 1, Some(1_000));
    node.world().volume_use = 2_000;
    let mut rounds = LookRounds::new(book.clone(), EVERY);
    assert_eq!(look(&node, &mut rounds).await.0, 0);
    book.advance(EVERY);
    rounds.on_due();
    let old = rounds.next_look().unwrap();
    let measured = measure(&node, &old).await;
    book.record(Event::Replaced {
        uid: uid(1),
        generation: 2,
        definition: "another".to_owned(),
        spec: spec(Some(3_000)),
        warnings: Vec::new(),
    })
    .unwrap();
    starts(&book, 1, 2, 2);
    assert_eq!(rounds.on_end(&old, measured), None);
    assert_eq!(lines(&book), 0);
    // It is looked at by its own limit from now on.
    book.advance(EVERY);
    assert_eq!(look(&node, &mut rounds).await, (1, Vec::new()));
}
