use super::*;
use crate::{
    clock::Clock,
    image::reference::TransportPolicy,
    ledger::OpenOptions,
    model::ids::Source,
    node::Node,
    reconciler::{Context, Reconciler},
    session::Inbox as _,
    testing::fake_node::FakeNode,
};

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
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH, 1_000, "boot-1");
    let (book, _) = Ledger::open(OpenOptions::new(dir.path(), clock)).unwrap();
    let intake = Intake::new(book.clone(), TransportPolicy::default(), draw);
    let intake = Arc::new(intake);
    let waker = waker(FakeNode::default(), &book, &intake);
    let inbox = Inbox::new(book.clone(), Arc::clone(&intake), waker);

    for n in 0..HEARD_AT_LEAST / 2 {
        let destroy = Instruction::destroy(format!("other-{n}"), Source::Scheduler);
        inbox.submit(destroy).await;
    }
    assert_eq!(inbox.heard().len(), 0);

    let text = r#"{"apiVersion":"v0","kind":"Pod","name":"w",
        "spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    inbox
        .submit(Instruction::create("stays", Source::Scheduler, text))
        .await;
    for n in 0..2 * HEARD_AT_LEAST {
        let id = format!("goes-{n}");
        inbox
            .submit(Instruction::create(&id, Source::Scheduler, text))
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
