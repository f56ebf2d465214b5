//! Instructions and failures that come in the narrowest moments.

use std::sync::{Mutex, PoisonError};

use super::*;
use crate::{
    book::{BookError, Recorded},
    model::{
        definition::{self, Strictness},
        ids::{InstanceId, Seq},
        line::Moment,
        phase::Phase,
    },
};

/// A book in which something else is written at a chosen moment, or something isn't.
#[derive(Clone, Default)]
struct Racing {
    book: MemoryBook,
    before_intent: Arc<Mutex<Option<Event>>>,
    after_durable: Arc<Mutex<Option<Event>>>,
    no_creates: Arc<AtomicBool>,
    /// Done right before an instruction is written that was judged by a record which is leaving.
    amid: Arc<Mutex<Option<Amid>>>,
}

type Amid = Box<dyn FnOnce() + Send>;

fn take<T>(moment: &Mutex<Option<T>>) -> Option<T> {
    moment.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Book for Racing {
    fn record(&self, event: Event) -> Result<Recorded, BookError> {
        if let Event::AttemptIntended { .. } = event
            && let Some(other) = take(&self.before_intent)
        {
            self.book.record(other)?;
        }
        if matches!(event, Event::Queued { .. } | Event::DestroyAccepted { .. })
            && let Some(amid) = take(&self.amid)
        {
            amid();
        }
        if matches!(event, Event::Accepted { .. }) && self.no_creates.load(Ordering::SeqCst) {
            return Err(BookError::DiskFull { left: 0 });
        }
        self.book.record(event)
    }

    async fn durable(&self, seq: Seq) -> Result<(), BookError> {
        self.book.durable(seq).await?;
        take(&self.after_durable).map_or(Ok(()), |other| self.book.record(other).map(drop))
    }

    fn durable_seq(&self) -> Seq {
        self.book.durable_seq()
    }

    fn written(&self) -> tokio::sync::watch::Receiver<Seq> {
        self.book.written()
    }

    async fn stored(&self, _: Seq) {}

    fn read<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        self.book.read(look)
    }

    fn now(&self) -> Moment {
        self.book.now()
    }
}

struct Race {
    node: FakeNode,
    book: Racing,
    context: Context<FakeNode, Racing>,
    uid: Uid,
}

impl Race {
    /// An accepted instance `web` of `image-1`.
    async fn new() -> Self {
        let (node, book) = (FakeNode::default(), Racing::default());
        let intake = Arc::new(Intake::new(book.clone(), TransportPolicy::default(), draw));
        let context = Context::new(Arc::new(node.clone()), book.clone(), intake, 4);
        let web = Instruction::create("web", Source::Scheduler, definition("Always", 1, 1));
        let Verdict::Accepted { uid, .. } = context.intake.submit(&web).await.unwrap() else {
            panic!("web is accepted");
        };
        Self {
            node,
            book,
            context,
            uid,
        }
    }

    async fn turn(&self) -> turn::TurnEnd {
        run_turn(&self.context, &self.uid, &Superseded::default()).await
    }

    fn signals(&self) -> usize {
        let world = self.node.world();
        let signals = world.calls.iter().filter(|(verb, _)| *verb == Verb::Signal);
        signals.count()
    }
}

#[tokio::test]
async fn a_replacement_that_comes_just_before_an_intent_is_what_is_run() {
    let race = Race::new().await;
    let text = definition("Always", 1, 2);
    let parsed = definition::parse(&text, Strictness::Lenient).unwrap();
    *race.book.before_intent.lock().unwrap() = Some(Event::Replaced {
        uid: race.uid.clone(),
        generation: 2,
        definition: text,
        spec: Box::new(parsed.spec),
        warnings: Vec::new(),
    });
    for _ in 0..10 {
        race.turn().await;
    }
    race.book.read(|fold| {
        let container = &fold.instances[&race.uid].containers[0];
        let of = (container.phase, container.generation, &*container.snapshot);
        assert_eq!(of, (Phase::Running, 2, "sha256-image-2"));
    });
}

#[tokio::test]
async fn a_destroy_that_comes_while_a_turn_begins_is_durable_before_its_first_effect() {
    let race = Race::new().await;
    race.turn().await;
    *race.book.after_durable.lock().unwrap() = Some(Event::DestroyAccepted {
        uid: race.uid.clone(),
        source: Source::Scheduler,
    });
    race.turn().await;
    let destroy = race
        .book
        .read(|fold| fold.instances[&race.uid].instructed_seq);
    assert!(race.book.book.pages().durable < destroy);
    assert_eq!(race.signals(), 0, "it could still be taken back");
    race.turn().await;
    assert!(race.book.book.pages().durable >= destroy);
    assert_eq!(race.signals(), 1);
}

#[tokio::test]
async fn a_create_that_could_not_begin_when_its_turn_came_begins_later() {
    let race = Race::new().await;
    race.turn().await;
    let intake = &race.context.intake;
    let web = Instruction::destroy("web", Source::Scheduler);
    intake.submit(&web).await.unwrap();
    let again = Instruction::create("web", Source::Scheduler, definition("Always", 1, 2));
    intake.submit(&again).await.unwrap();

    race.book.no_creates.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        race.turn().await;
    }
    let id: InstanceId = "web".parse().unwrap();
    assert!(race.book.read(|fold| fold.by_instance(&id).is_none()));
    assert_eq!(survey::differing(&race.context).await, vec![]);

    race.book.no_creates.store(false, Ordering::SeqCst);
    let begun = survey::differing(&race.context).await;
    let live = race
        .book
        .read(|fold| fold.by_instance(&id).map(|r| r.uid.clone()));
    assert_eq!(begun, Vec::from_iter(live));
    assert_eq!(
        begun.len(),
        1,
        "nobody but us remembers that it was asked for"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instruction_that_is_judged_while_its_instance_goes_is_not_lost() {
    for destroyed in [false, true] {
        let race = Race::new().await;
        race.turn().await;
        let intake = Arc::clone(&race.context.intake);
        let destroy = Instruction::destroy("web", Source::Scheduler);
        let create = Instruction::create("web", Source::Scheduler, definition("Always", 1, 2));
        intake.submit(&destroy).await.unwrap();
        if destroyed {
            intake.submit(&create).await.unwrap();
        }
        // Judged, not yet written: and now its end is recorded, or has to wait.
        let (other, uid) = (Arc::clone(&intake), race.uid.clone());
        let (tell, end) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let amid = move || {
            let (ended, ends) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let begun = runtime.block_on(other.bury(&uid)).unwrap();
                let _ = ended.send(());
                let _ = tell.send(begun);
            });
            let _ = ends.recv_timeout(std::time::Duration::from_millis(200));
        };
        *race.book.amid.lock().unwrap() = Some(Box::new(amid));
        let instruction = if destroyed { &destroy } else { &create };
        intake.submit(instruction).await.unwrap();
        let begun = end.await.unwrap();
        let id: InstanceId = "web".parse().unwrap();
        let live = |fold: &Fold| fold.by_instance(&id).map(|record| record.uid.clone());
        let live = race.book.read(live);
        let waits = race.book.read(|fold| fold.waiting().count());
        assert_eq!(waits, 0);
        assert_eq!(begun, Vec::from_iter(live));
        assert_eq!(begun.len(), usize::from(!destroyed), "{destroyed}");
    }
}

#[tokio::test]
async fn whoever_waits_for_the_port_of_what_failed_for_good_is_woken_when_it_is_free() {
    let race = Race::new().await;
    let accept = |name: &str| {
        let text = definition("Never", 1, 1);
        let mut spec = definition::parse(&text, Strictness::Lenient).unwrap().spec;
        spec.containers[0].ports.push(host_port());
        let uid = draw();
        let accepted = Event::Accepted {
            uid: uid.clone(),
            instance: name.parse().unwrap(),
            source: Source::Scheduler,
            definition: text,
            spec: Box::new(spec),
            warnings: Vec::new(),
        };
        race.book.record(accepted).unwrap();
        uid
    };
    let turn = async |uid: &Uid| run_turn(&race.context, uid, &Superseded::default()).await;
    let fails = accept("fails");
    turn(&fails).await;
    let id = race
        .book
        .read(|fold| fold.instances[&fails].current(0))
        .unwrap();
    race.node.exit(&id, 3);
    // Its end is known when the next one comes, and its sandbox still there.
    race.node
        .fault(Verb::RemoveSandbox, Fault::Before(FailureKind::Transient));
    assert!(turn(&fails).await.failed);
    let next = accept("next");
    turn(&next).await;
    let end = turn(&fails).await;
    assert!(end.also.contains(&next), "{:?}", end.also);
    turn(&next).await;
    let runs = |fold: &Fold| fold.instances[&next].containers[0].phase;
    assert_eq!(race.book.read(runs), Phase::Running);
}
