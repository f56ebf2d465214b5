use std::sync::Arc;

use super::*;
use crate::{
    clock::Clock,
    image::reference::TransportPolicy,
    intake::Intake,
    journal::disk::{Disk, Op},
    ledger::{Ledger, OpenOptions},
    model::ids::{InstanceId, Source},
    reconciler::{Context, Reconciler},
    reporter::Outbox as _,
    testing::{
        builders::{uid, workload},
        fake_node::FakeNode,
    },
};

fn outboxes(book: &Ledger) -> Outboxes<Ledger> {
    let intake = Intake::new(book.clone(), TransportPolicy::default(), || uid(9));
    let node = Arc::new(FakeNode::default());
    let context = Context::new(node, book.clone(), Arc::new(intake), 1);
    let (_, waker) = Reconciler::new(context, std::time::Duration::from_secs(10));
    Outboxes::new(book.clone(), waker, watch::channel(0).1)
}

#[tokio::test]
async fn what_was_acknowledged_is_not_sent_again_although_a_failed_sync_took_that_back() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, script) = Disk::scripted();
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH, 1_000, "boot-1");
    let options = OpenOptions {
        disk,
        ..OpenOptions::new(dir.path(), clock)
    };
    let (book, _) = Ledger::open(options).unwrap();
    let outboxes = outboxes(&book);
    let accepted = Event::Accepted {
        uid: uid(1),
        instance: InstanceId::from_wire("web").unwrap(),
        source: Source::Scheduler,
        definition: String::new(),
        spec: Box::new(workload(1, crate::model::spec::RestartPolicy::Always)),
        warnings: Vec::new(),
    };
    let seq = book.record(accepted).unwrap().seq;
    book.durable(seq).await.unwrap();
    let sent = outboxes.batch(10);
    assert_eq!(sent.len(), 1);
    outboxes.acknowledge(&sent);
    assert!(book.read(|fold| fold.acknowledged(&uid(1))));

    script.fail(Op::Fdatasync, 0, 1, nix::libc::EIO);
    let last = book.written().borrow().to_owned();
    assert!(book.durable(last).await.is_err());
    assert!(!book.read(|fold| fold.acknowledged(&uid(1))));
    assert_eq!(outboxes.batch(10), []);
    assert!(book.read(|fold| fold.acknowledged(&uid(1))));

    // Once that is durable nothing of it is kept in memory.
    let last = book.written().borrow().to_owned();
    book.durable(last).await.unwrap();
    assert_eq!(outboxes.batch(10), []);
    assert!(outboxes.acknowledged().is_empty());
    book.close().unwrap();
}
