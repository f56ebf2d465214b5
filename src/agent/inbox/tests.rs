use std::time::{Duration, Instant};

use super::*;
use crate::{
    clock::Clock,
    image::reference::TransportPolicy,
    journal::disk::{Disk, Op},
    ledger::OpenOptions,
    model::ids::{Source, Uid},
    node::Node,
    reconciler::{Context, Reconciler},
    session::Inbox as _,
    testing::fake_node::FakeNode,
};

fn open(dir: &std::path::Path, disk: Disk) -> Ledger {
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH, 1_000, "boot-1");
    let options = OpenOptions {
        disk,
        ..OpenOptions::new(dir, clock)
    };
    Ledger::open(options).unwrap().0
}

fn inbox(book: &Ledger) -> Inbox {
    let intake = Intake::new(book.clone(), TransportPolicy::default(), draw);
    let intake = Arc::new(intake);
    let waker = waker(FakeNode::default(), book, &intake);
    Inbox::new(book, &intake, &waker)
}

const TEXT: &str = r#"{"apiVersion":"v0","kind":"Pod","name":"w",
    "spec":{"containers":[{"name":"c","image":"i"}]}}"#;

fn draw() -> Uid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Uid::from_entropy(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn waker(node: impl Node, book: &Ledger, intake: &Arc<Intake<Ledger>>) -> Waker {
    let context = Context::new(Arc::new(node), book.clone(), Arc::clone(intake), 1);
    Reconciler::new(context, std::time::Duration::from_secs(10)).1
}

#[tokio::test]
async fn ids_that_are_not_here_or_no_longer_are_cost_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let book = open(dir.path(), Disk::real());
    let inbox = inbox(&book);

    for n in 0..HEARD_AT_LEAST / 2 {
        let destroy = Instruction::destroy(format!("other-{n}"), Source::Scheduler);
        inbox.submit(destroy).await;
    }
    assert_eq!(inbox.heard().len(), 0);

    inbox
        .submit(Instruction::create("stays", Source::Scheduler, TEXT))
        .await;
    for n in 0..2 * HEARD_AT_LEAST {
        let id = format!("goes-{n}");
        inbox
            .submit(Instruction::create(&id, Source::Scheduler, TEXT))
            .await;
        let uid = book.read(|fold| {
            let id = id.parse().unwrap();
            fold.by_instance(&id).unwrap().uid.clone()
        });
        book.record(crate::model::line::Event::Removed { uid })
            .unwrap();
        assert!(inbox.heard().len() <= HEARD_AT_LEAST);
    }
    assert!(inbox.heard().contains("stays"));
    book.close().unwrap();
}

/// Waits until the id's last instruction is durable, or nothing is known of it.
async fn until_durable(book: &Ledger, id: &str) {
    let (began, id) = (Instant::now(), id.parse().unwrap());
    loop {
        let instructed = |fold: &Fold| fold.by_instance(&id).map(|r| r.instructed_seq);
        match book.read(instructed) {
            Some(seq) if book.durable_seq() >= seq => return,
            _ => tokio::task::yield_now().await,
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "{id} is not accepted"
        );
    }
}

#[tokio::test]
async fn an_instruction_that_a_failed_sync_took_back_is_taken_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, script) = Disk::scripted();
    let book = open(dir.path(), disk);
    let inbox = inbox(&book);
    script.fail(Op::Fdatasync, 0, 1, nix::libc::EIO);
    let create = Instruction::create("web", Source::Scheduler, TEXT);
    inbox.submit(create).await;
    while *book.lapses().borrow() == 0 {
        tokio::task::yield_now().await;
    }
    // Nobody repeats it: the wire has no answer that would say that it is lost.
    until_durable(&book, "web").await;
    book.close().unwrap();
}

#[tokio::test]
async fn what_a_failed_sync_took_back_does_not_come_back_after_a_later_destroy() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, script) = Disk::scripted();
    let book = open(dir.path(), disk);
    let inbox = inbox(&book);
    script.fail(Op::Fdatasync, 0, 1, nix::libc::EIO);
    let create = Instruction::create("web", Source::Scheduler, TEXT);
    inbox.submit(create).await;
    let destroy = Instruction::destroy("web", Source::Scheduler);
    inbox.submit(destroy).await;
    while *book.lapses().borrow() == 0 {
        tokio::task::yield_now().await;
    }
    // Another one's way through shows that theirs is over.
    let other = Instruction::create("other", Source::Scheduler, TEXT);
    inbox.submit(other).await;
    until_durable(&book, "other").await;
    let id = "web".parse().unwrap();
    let run = |fold: &Fold| {
        let record = fold.by_instance(&id);
        record.is_some_and(|r| r.desired == crate::model::fold::Desired::Run)
    };
    assert!(!book.read(run));
    book.close().unwrap();
}
