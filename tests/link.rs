//! The scheduler link over real gRPC on loopback: session and reporter against a scheduler with
//! the real one's quirks and scripted faults.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test; clippy knows only #[test] functions as such"
)]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use riklet::{
    model::{
        ids::{InstanceId, Seq, Source, Uid},
        instruction::{Ask, Instruction},
        state::{State, StateReport},
    },
    reporter::{InstanceReading, NodeReading, Outbox, Samples},
    session::{Inbox, Link, Session, Settings},
    testing::scheduler::{Core, Event, Manners, Place, Scheduler},
    wire::{Registration, Report, Tls},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// Generous, for the machine may be busy; nothing waits this long when all is well.
const SOON: Duration = Duration::from_secs(20);

/// Takes what its gate lets through.
struct Desk {
    taken: watch::Sender<Vec<Instruction>>,
    overloaded: watch::Sender<Vec<String>>,
    gate: Semaphore,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            taken: watch::Sender::new(Vec::new()),
            overloaded: watch::Sender::new(Vec::new()),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        }
    }
}

impl Inbox for Desk {
    async fn submit(&self, instruction: Instruction) {
        self.gate.acquire().await.unwrap().forget();
        self.taken.send_modify(|taken| taken.push(instruction));
    }

    fn overloaded(&self, instruction: &Instruction) {
        self.overloaded
            .send_modify(|all| all.push(instruction.instance.clone()));
    }
}

/// An outbox in memory.
#[derive(Default)]
struct Letters {
    waiting: Mutex<Vec<Report>>,
    acknowledged: watch::Sender<Vec<Report>>,
    changed: Notify,
}

impl Letters {
    fn post(&self, report: Report) {
        self.waiting.lock().unwrap().push(report);
        self.changed.notify_one();
    }

    fn seqs(&self) -> Vec<Seq> {
        self.acknowledged
            .borrow()
            .iter()
            .map(|report| report.seq)
            .collect()
    }
}

impl Outbox for Letters {
    fn batch(&self, limit: usize) -> Vec<Report> {
        self.waiting
            .lock()
            .unwrap()
            .iter()
            .take(limit)
            .cloned()
            .collect()
    }

    fn acknowledge(&self, reports: &[Report]) {
        self.waiting
            .lock()
            .unwrap()
            .retain(|report| !reports.contains(report));
        self.acknowledged
            .send_modify(|all| all.extend_from_slice(reports));
    }

    fn last_acknowledged(&self) -> Vec<Report> {
        let mut last = std::collections::BTreeMap::new();
        for report in self.acknowledged.borrow().iter() {
            last.insert(report.uid.clone(), report.clone());
        }
        let waiting = self.waiting.lock().unwrap();
        last.retain(|uid, report| !report.is_last() && !waiting.iter().any(|w| w.uid == *uid));
        last.into_values().collect()
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }
}

struct Still;

impl NodeReading for Still {
    fn json(&self) -> String {
        r#"{"cpu":{"total":2,"free":50.0}}"#.into()
    }
    fn worth_sending(&self, _: &Self) -> bool {
        false
    }
}

impl InstanceReading for Still {
    fn restarts(&self) -> u32 {
        0
    }
    fn containers(&self) -> Vec<Value> {
        vec![json!({"name": "c"})]
    }
    fn worth_sending(&self, _: &Self) -> bool {
        false
    }
}

/// Measures nothing of instances.
struct Quiet;

impl Samples for Quiet {
    type Node = Still;
    type Instance = Still;
    fn node(&self) -> Still {
        Still
    }
    fn placements(&self) -> bool {
        true
    }
    fn instance(&self, _: &Uid) -> Option<Still> {
        None
    }
    async fn changed(&self) {
        std::future::pending().await
    }
}

/// A node's link, and its ends.
struct Node {
    desk: Arc<Desk>,
    letters: Arc<Letters>,
    link: watch::Receiver<Link>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn settings(url: &str) -> Settings {
    let registration = Registration {
        node: "n1".into(),
        host_address: None,
        boot_id: "b".into(),
        version: "0".into(),
    };
    let mut settings = Settings::new(url, registration);
    settings.target.keepalive_interval = Duration::from_millis(400);
    settings.target.keepalive_timeout = Duration::from_millis(400);
    settings.target.answer_timeout = Duration::from_millis(1500);
    settings.backoff_first = Duration::from_millis(20);
    settings.backoff_max = Duration::from_millis(100);
    settings.pace.retry = Duration::from_millis(20);
    settings
}

impl Node {
    fn start(settings: Settings, letters: Letters) -> Self {
        let (desk, letters) = (Arc::new(Desk::default()), Arc::new(letters));
        let shutdown = CancellationToken::new();
        let (session, link) = Session::new(
            settings,
            Arc::clone(&desk),
            Arc::clone(&letters),
            Arc::new(Quiet),
            shutdown.clone(),
        );
        let task = tokio::spawn(session.run());
        Self {
            desk,
            letters,
            link,
            shutdown,
            task,
        }
    }

    async fn link(&self, what: &str, is: impl Fn(&Link) -> bool) -> Link {
        let mut link = self.link.clone();
        let waited = tokio::time::timeout(SOON, link.wait_for(|link| is(link))).await;
        let seen = waited.map(|link| link.unwrap().clone());
        seen.unwrap_or_else(|_| panic!("{what}: {:?}", self.link.borrow()))
    }

    async fn taken(&self, count: usize) -> Vec<Instruction> {
        let mut taken = self.desk.taken.subscribe();
        let waited = tokio::time::timeout(SOON, taken.wait_for(|taken| taken.len() >= count)).await;
        let seen = waited.map(|taken| taken.unwrap().clone());
        seen.unwrap_or_else(|_| panic!("{count}: {:?}", self.desk.taken.borrow()))
    }

    async fn acknowledged(&self, count: usize) -> Vec<Seq> {
        let mut all = self.letters.acknowledged.subscribe();
        let waited = tokio::time::timeout(SOON, all.wait_for(|all| all.len() >= count)).await;
        waited
            .map(drop)
            .unwrap_or_else(|_| panic!("{count}: {:?}", self.letters.seqs()));
        self.letters.seqs()
    }
}

async fn scheduler(manners: Manners) -> Scheduler {
    Scheduler::start(SocketAddr::from(([127, 0, 0, 1], 0)), manners)
        .await
        .unwrap()
}

fn report(id: u64, seq: Seq, state: State) -> Report {
    let instance = InstanceId::from_wire(&format!("i{id}")).unwrap();
    Report::new(
        Uid::from_entropy(id),
        instance,
        seq,
        StateReport::plain(state),
    )
}

fn letters(reports: impl IntoIterator<Item = Report>) -> Letters {
    let letters = Letters::default();
    reports.into_iter().for_each(|report| letters.post(report));
    letters
}

/// Wants `i1` to `i<count>`, placed as soon as the node is ready.
fn want(scheduler: &Scheduler, count: u64) {
    for id in 1..=count {
        scheduler.create(&format!("i{id}"), "{}").unwrap();
    }
}

async fn ready(scheduler: &Scheduler) {
    let ready = |core: &Core| core.nodes.get("n1").filter(|node| node.ready).map(drop);
    scheduler
        .wait("the node is ready", SOON, ready)
        .await
        .unwrap();
}

/// What arrived: `node` or `<id>:<state>`, one list a stream.
fn streams(scheduler: &Scheduler) -> Vec<(u64, Vec<String>)> {
    let mut streams: Vec<(u64, Vec<String>)> = Vec::new();
    for event in scheduler.look(|core| core.events(0)).0 {
        let (number, text) = match event {
            Event::Node { stream, .. } => (stream, "node".to_owned()),
            Event::Instance {
                stream,
                instance,
                status,
                ..
            } => (stream, format!("{instance}:{status}")),
            _ => continue,
        };
        match streams.last_mut() {
            Some((last, texts)) if *last == number => texts.push(text),
            _ => streams.push((number, vec![text])),
        }
    }
    streams
}

fn texts(scheduler: &Scheduler) -> Vec<Vec<String>> {
    streams(scheduler)
        .into_iter()
        .map(|(_, texts)| texts)
        .collect()
}

fn no_violation(scheduler: &Scheduler) {
    scheduler.look(|core| assert_eq!(core.violations, [""; 0]));
}

#[tokio::test]
async fn nothing_is_said_before_register_and_then_node_outbox_and_the_rest_in_order() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 3);
    let letters = letters([
        report(1, 4, State::Creating),
        report(2, 5, State::Creating),
        report(1, 6, State::Running),
    ]);
    letters
        .acknowledged
        .send_modify(|all| all.push(report(3, 2, State::Running)));
    let node = Node::start(settings(&scheduler.url()), letters);
    assert_eq!(node.acknowledged(4).await, [2, 4, 5, 6]);
    let repeated = |core: &Core| (core.instances["i3"].status == "RUNNING").then_some(());
    scheduler
        .wait("the repetition", SOON, repeated)
        .await
        .unwrap();
    assert_eq!(
        texts(&scheduler),
        [
            vec!["node"],
            vec!["i1:CREATING", "i2:CREATING", "i1:RUNNING"],
            vec!["i3:RUNNING"]
        ]
    );
    let first = scheduler.look(|core| core.events(0)).0.remove(0);
    assert!(
        matches!(&first, Event::Registered { node, .. } if node == "n1"),
        "{first:?}"
    );
    no_violation(&scheduler);
}

#[tokio::test]
async fn a_change_is_sent_at_once_and_a_hundred_within_a_second() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 100);
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    let began = Instant::now();
    for id in 1..=100 {
        node.letters.post(report(id, id, State::Failed));
    }
    node.acknowledged(100).await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    no_violation(&scheduler);
}

#[tokio::test]
async fn terminated_goes_once_and_alone() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 3);
    let letters = letters([
        report(1, 1, State::Running),
        report(2, 2, State::Terminated),
        report(3, 3, State::Running),
        report(1, 4, State::Terminated),
    ]);
    let node = Node::start(settings(&scheduler.url()), letters);
    node.acknowledged(4).await;
    scheduler.cut();
    let again = |core: &Core| (core.nodes["n1"].registrations == 2).then_some(());
    scheduler
        .wait("the second registration", SOON, again)
        .await
        .unwrap();
    node.letters.post(report(3, 5, State::Failed));
    node.acknowledged(5).await;
    let terminated = |texts: &Vec<String>| texts.iter().any(|text| text.ends_with(":TERMINATED"));
    let mut alone: Vec<_> = texts(&scheduler).into_iter().filter(terminated).collect();
    alone.sort();
    assert_eq!(alone, [["i1:TERMINATED"], ["i2:TERMINATED"]]);
    no_violation(&scheduler);
}

#[tokio::test]
async fn a_batch_that_is_not_acknowledged_is_sent_again_whole_and_in_order() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 2);
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    scheduler.fault(|faults| (faults.refused_streams, faults.silent_streams) = (2, 1));
    node.letters.post(report(1, 1, State::Creating));
    node.letters.post(report(2, 2, State::Running));
    assert_eq!(node.acknowledged(2).await, [1, 2]);
    let all = texts(&scheduler);
    assert_eq!(all.last().unwrap(), &["i1:CREATING", "i2:RUNNING"]);
    assert!(
        all.len() >= 5,
        "a sample, and four times the states: {all:?}"
    );
    scheduler.look(|core| assert_eq!(core.nodes["n1"].registrations, 1, "the link stays"));
    no_violation(&scheduler);
}

#[tokio::test]
async fn terminated_is_repeated_while_it_is_unacknowledged() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 1);
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    scheduler.fault(|faults| faults.refused_streams = 2);
    node.letters.post(report(1, 1, State::Terminated));
    node.acknowledged(1).await;
    assert_eq!(
        texts(&scheduler)[1..],
        [["i1:TERMINATED"], ["i1:TERMINATED"], ["i1:TERMINATED"]]
    );
    no_violation(&scheduler);
}

#[tokio::test]
async fn a_scheduler_that_dies_mid_stream_gets_everything_when_it_is_back() {
    let mut scheduler = scheduler(Manners::Kind).await;
    want(&scheduler, 50);
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    scheduler.fault(|faults| faults.dies_at_status = Some(20));
    for id in 1..=50 {
        node.letters.post(report(id, id, State::Running));
    }
    node.link("lost", |link| matches!(link, Link::Lost { .. }))
        .await;
    scheduler.die();
    let lost = node
        .link(
            "lost",
            |link| matches!(link, Link::Lost { why, .. } if why.contains("cannot connect")),
        )
        .await;
    for id in 1..=50 {
        node.letters.post(report(id, 100 + id, State::Failed));
    }
    scheduler.revive().await.unwrap();
    node.link("back", Link::is_registered).await;
    let seqs = node.acknowledged(100).await;
    let expected: Vec<_> = (1..=50).chain(101..=150).collect();
    assert_eq!(seqs, expected, "{lost:?}");
    scheduler.look(|core| assert!(core.instances.values().all(|i| i.status == "FAILED")));
    no_violation(&scheduler);
}

#[tokio::test]
async fn a_name_that_is_taken_is_asked_for_again_until_it_is_free() {
    let scheduler = scheduler(Manners::LikeRik).await;
    scheduler.fault(|faults| faults.names_taken = 5);
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    let taken = |link: &Link| matches!(link, Link::Lost { why, .. } if why.contains("n1"));
    node.link("the name is taken", taken).await;
    scheduler.look(|core| assert_eq!(texts_of(core), 0, "nothing is said to it"));
    ready(&scheduler).await;
    node.link("registered", Link::is_registered).await;
    no_violation(&scheduler);
}

fn texts_of(core: &Core) -> usize {
    let (events, _) = core.events(0);
    events
        .iter()
        .filter(|e| matches!(e, Event::Node { .. } | Event::Instance { .. }))
        .count()
}

#[tokio::test]
async fn a_scheduler_that_comes_late_is_found() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let node = Node::start(
        settings(&address.to_string()),
        letters([report(1, 1, State::Running)]),
    );
    let refused = |link: &Link| matches!(link, Link::Lost { why, .. } if why.contains("refused"));
    let Link::Lost { since, .. } = node.link("nobody there", refused).await else {
        panic!()
    };
    let scheduler = Scheduler::start(address, Manners::Kind).await.unwrap();
    want(&scheduler, 1);
    assert_eq!(node.acknowledged(1).await, [1]);
    let Link::Registered { since: registered } = node.link("found", Link::is_registered).await
    else {
        panic!()
    };
    assert!(registered >= since);
    no_violation(&scheduler);
}

#[tokio::test]
async fn a_black_hole_is_noticed_by_keepalive_while_nothing_is_said() {
    let scheduler = scheduler(Manners::Kind).await;
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    let began = Instant::now();
    scheduler.freeze();
    node.link("lost", |link| matches!(link, Link::Lost { .. }))
        .await;
    // Interval and timeout are 0.4 s each.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    node.link("back", Link::is_registered).await;
    scheduler.look(|core| assert_eq!(core.nodes["n1"].registrations, 2));
    no_violation(&scheduler);
}

#[tokio::test]
async fn like_rik_a_black_holed_name_is_taken_until_the_scheduler_notices() {
    let scheduler = scheduler(Manners::LikeRik).await;
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    scheduler.freeze();
    let taken = |link: &Link| matches!(link, Link::Lost { why, .. } if why.contains("already"));
    node.link("taken", taken).await;
    scheduler.cut();
    node.link("back", Link::is_registered).await;
    no_violation(&scheduler);
}

#[tokio::test]
async fn instructions_arrive_as_they_were_sent_and_bad_ones_leave_the_link_alone() {
    let scheduler = scheduler(Manners::LikeRik).await;
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    let ten_mib = 10 << 20;
    scheduler.send_raw("n1", "a", "{}", 7);
    scheduler.send_raw("n1", "big", &"x".repeat(ten_mib), 0);
    scheduler.send_raw("n1", "", "{\"name\": null }", 0);
    scheduler.send_raw("n1", "gone", "", 1);
    scheduler.create("b", r#"{"name":"b"}"#).unwrap();
    let taken = node.taken(5).await;
    let asks: Vec<_> = taken
        .iter()
        .map(|i| (i.instance.as_str(), i.ask.clone()))
        .collect();
    let create = |definition: &str| Ask::Create {
        definition: definition.into(),
    };
    let nulls = concat!(
        r#"{"apiVersion":null,"kind":null,"name":"b","replicas":null,"#,
        r#""spec":{"containers":null}}"#
    );
    assert_eq!(
        asks,
        [
            ("a", Ask::Unknown { action: 7 }),
            ("big", Ask::TooBig { bytes: ten_mib }),
            ("", create("{\"name\": null }")),
            ("gone", Ask::Destroy { force: false }),
            ("b", create(nulls)),
        ]
    );
    assert!(
        taken
            .iter()
            .all(|instruction| instruction.source == Source::Scheduler)
    );
    scheduler.look(|core| assert_eq!(core.nodes["n1"].registrations, 1));
    no_violation(&scheduler);
}

#[tokio::test]
async fn a_message_over_the_limit_costs_the_link_and_not_the_node() {
    let scheduler = scheduler(Manners::Kind).await;
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    scheduler.send_raw("n1", "huge", &"x".repeat(17 << 20), 0);
    let again = |core: &Core| (core.nodes["n1"].registrations >= 2).then_some(());
    scheduler
        .wait("a new registration", SOON, again)
        .await
        .unwrap();
    scheduler.create("a", "{}").unwrap();
    assert_eq!(node.taken(1).await[0].instance, "a");
    no_violation(&scheduler);
}

#[tokio::test]
async fn overload_is_refused_for_its_instance_while_the_stream_is_read() {
    let scheduler = scheduler(Manners::Kind).await;
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    let all = node.desk.gate.forget_permits(usize::MAX);
    for n in 0..2000 {
        scheduler.send_raw("n1", &format!("i{n}"), "{}", 0);
    }
    scheduler.send_raw("n1", "last", "", 1);
    // The states still go out, so the stream is still read and the reporter has its turn.
    want(&scheduler, 1);
    node.letters.post(report(1, 1, State::Running));
    node.acknowledged(1).await;
    let mut refused = node.desk.overloaded.subscribe();
    let many = |refused: &Vec<String>| refused.len() > 900;
    tokio::time::timeout(SOON, refused.wait_for(many))
        .await
        .unwrap()
        .unwrap();
    node.desk.gate.add_permits(all.min(1 << 20));
    let mut taken = node.desk.taken.subscribe();
    let last = |taken: &Vec<Instruction>| taken.iter().any(|i| i.instance == "last");
    tokio::time::timeout(SOON, taken.wait_for(last))
        .await
        .unwrap()
        .unwrap();
    let refused = node.desk.overloaded.borrow().clone();
    let taken = node.desk.taken.borrow().clone();
    assert!(
        refused.len() > 900 && taken.len() > 1000,
        "{} {}",
        refused.len(),
        taken.len()
    );
    assert!(
        !refused.contains(&"last".to_owned()),
        "a destroy has room of its own"
    );
    scheduler.look(|core| assert_eq!(core.nodes["n1"].registrations, 1));
}

#[tokio::test]
async fn at_shutdown_states_go_first_and_register_last() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 2);
    let mut node = Node::start(settings(&scheduler.url()), Letters::default());
    ready(&scheduler).await;
    node.letters.post(report(1, 1, State::Running));
    node.letters.post(report(2, 2, State::Terminated));
    node.shutdown.cancel();
    tokio::time::timeout(SOON, &mut node.task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(node.letters.seqs(), [1, 2]);
    let left =
        |core: &Core| matches!(core.events(0).0.last(), Some(Event::Left { .. })).then_some(());
    scheduler
        .wait("Register ends last", SOON, left)
        .await
        .unwrap();
    no_violation(&scheduler);
}

#[tokio::test]
async fn a_shutdown_without_a_scheduler_is_quick() {
    let mut node = Node::start(
        settings("127.0.0.1:1"),
        letters([report(1, 1, State::Running)]),
    );
    node.link("lost", |link| matches!(link, Link::Lost { .. }))
        .await;
    node.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), &mut node.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_although_the_scheduler_is_silent() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 1);
    let mut settings = settings(&scheduler.url());
    settings.farewell = Duration::from_millis(300);
    let mut node = Node::start(settings, Letters::default());
    ready(&scheduler).await;
    scheduler.fault(|faults| faults.silent_streams = u32::MAX);
    node.letters.post(report(1, 1, State::Running));
    node.shutdown.cancel();
    tokio::time::timeout(SOON, &mut node.task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(node.letters.seqs(), [0; 0]);
}

#[tokio::test]
async fn like_rik_destroying_brings_one_destroy_back_and_a_lost_link_forgets() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 2);
    let node = Node::start(settings(&scheduler.url()), Letters::default());
    node.taken(2).await;
    scheduler.destroy("i1").unwrap();
    node.taken(3).await;
    node.letters.post(report(1, 1, State::Destroying));
    let taken = node.taken(4).await;
    assert_eq!(taken[3], Instruction::destroy("i1", Source::Scheduler));
    node.letters.post(report(1, 2, State::Terminated));
    node.acknowledged(2).await;
    scheduler.look(|core| assert_eq!(core.destroyed_back, 1));
    scheduler.cut();
    let forgotten =
        |core: &Core| matches!(core.instances["i2"].place, Place::Forgotten(_)).then_some(());
    scheduler
        .wait("i2 is forgotten", SOON, forgotten)
        .await
        .unwrap();
    node.link("back", Link::is_registered).await;
    assert!(scheduler.destroy("i2").is_err());
    no_violation(&scheduler);
}

#[tokio::test]
async fn like_rik_a_state_that_it_chokes_on_does_not_silence_the_others() {
    let scheduler = scheduler(Manners::LikeRik).await;
    want(&scheduler, 2);
    let unknown = report(77, 1, State::Running);
    let node = Node::start(
        settings(&scheduler.url()),
        letters([
            unknown,
            report(1, 2, State::Running),
            report(2, 3, State::Running),
        ]),
    );
    assert_eq!(node.acknowledged(2).await, [2, 3]);
    scheduler.look(|core| assert_eq!(core.nodes["n1"].registrations, 1));
}

fn tls_file(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/tls")
        .join(name)
}

/// A scheduler that asks for the node's certificate.
async fn tls_scheduler() -> Scheduler {
    let pem = |name: &str| std::fs::read(tls_file(name)).unwrap();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(
            pem("scheduler.pem"),
            pem("scheduler.key"),
        ))
        .client_ca_root(Certificate::from_pem(pem("ca.pem")));
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    Scheduler::start_with(address, Manners::LikeRik, Some(tls))
        .await
        .unwrap()
}

fn tls_settings(scheduler: &Scheduler, identity: bool, domain: Option<&str>) -> Settings {
    let mut settings = settings(&scheduler.address().to_string());
    settings.target.tls = Some(Tls {
        ca: tls_file("ca.pem"),
        identity: identity.then(|| (tls_file("node.pem"), tls_file("node.key"))),
        domain: domain.map(str::to_owned),
    });
    settings
}

#[tokio::test]
async fn with_tls_both_sides_show_who_they_are() {
    let scheduler = tls_scheduler().await;
    want(&scheduler, 1);
    let settings = tls_settings(&scheduler, true, Some("scheduler.test"));
    let node = Node::start(settings, letters([report(1, 1, State::Running)]));
    node.acknowledged(1).await;
    no_violation(&scheduler);
}

#[tokio::test]
async fn tls_that_does_not_fit_is_said_and_tried_again() {
    let scheduler = tls_scheduler().await;
    for (identity, domain, says) in [
        (true, None, "certificate"),
        (false, Some("scheduler.test"), "link"),
    ] {
        let settings = tls_settings(&scheduler, identity, domain);
        let node = Node::start(settings, letters([report(1, 1, State::Running)]));
        let lost = |link: &Link| matches!(link, Link::Lost { .. });
        let Link::Lost { why, .. } = node.link("lost", lost).await else {
            panic!()
        };
        println!("{why}");
        assert!(why.contains(says), "{why}");
        assert_eq!(node.letters.seqs(), [0; 0]);
    }
    scheduler.look(|core| assert!(core.nodes.is_empty()));
}
