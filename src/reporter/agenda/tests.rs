use std::{future::pending, sync::Mutex, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{
    model::{
        ids::InstanceId,
        state::{State, StateReport},
    },
    reporter::{InstanceReading, NodeReading},
};

#[derive(Default)]
struct Letters {
    pending: Mutex<Vec<Report>>,
    last: Mutex<Vec<Report>>,
    arrivals: Mutex<u64>,
}

impl Outbox for Letters {
    fn batch(&self, limit: usize) -> Vec<Report> {
        self.pending
            .lock()
            .unwrap()
            .iter()
            .take(limit)
            .cloned()
            .collect()
    }
    fn arrivals(&self) -> u64 {
        *self.arrivals.lock().unwrap()
    }
    fn acknowledge(&self, reports: &[Report]) {
        self.pending
            .lock()
            .unwrap()
            .retain(|report| !reports.contains(report));
    }
    fn last_acknowledged(&self) -> Vec<Report> {
        self.last.lock().unwrap().clone()
    }
    async fn changed(&self) {
        pending().await
    }
}

/// A number that has moved when it differs by 5.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number(i64);

impl NodeReading for Number {
    fn json(&self) -> String {
        self.0.to_string()
    }
    fn worth_sending(&self, sent: &Self) -> bool {
        (self.0 - sent.0).abs() >= 5
    }
}

impl InstanceReading for Number {
    fn restarts(&self) -> u32 {
        3
    }
    fn containers(&self) -> Vec<Value> {
        vec![json!(self.0)]
    }
    fn worth_sending(&self, sent: &Self) -> bool {
        NodeReading::worth_sending(self, sent)
    }
}

struct Numbers {
    node: Mutex<i64>,
    placements: Mutex<bool>,
    instance: Mutex<Option<i64>>,
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            node: Mutex::new(0),
            placements: Mutex::new(true),
            instance: Mutex::new(None),
        }
    }
}

impl Samples for Numbers {
    type Node = Number;
    type Instance = Number;
    fn node(&self) -> Number {
        Number(*self.node.lock().unwrap())
    }
    fn placements(&self) -> bool {
        *self.placements.lock().unwrap()
    }
    fn instance(&self, _: &Uid) -> Option<Number> {
        self.instance.lock().unwrap().map(Number)
    }
    async fn changed(&self) {
        pending().await
    }
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

/// A registration, driven by hand: every batch is acknowledged at once.
struct Bench {
    agenda: Agenda<Numbers>,
    outbox: Letters,
    samples: Numbers,
    now: Instant,
}

impl Bench {
    fn new(pending: Vec<Report>, last: Vec<Report>) -> Self {
        Self {
            agenda: Agenda::new(Pace::default()),
            outbox: Letters {
                pending: Mutex::new(pending),
                last: Mutex::new(last),
                ..Letters::default()
            },
            samples: Numbers::default(),
            now: Instant::now(),
        }
    }

    fn turn(&mut self) -> Turn<Numbers> {
        self.agenda.next(self.now, &self.outbox, &self.samples)
    }

    /// Sends everything there is; what was sent, one text a batch.
    fn drain(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Turn::Send(batch) = self.turn() {
            assert!(said.len() < 100, "it never ends: {said:?}");
            said.push(format!("{} {}", batch.kind(), text(&batch)));
            if let Batch::States(reports) = &batch {
                self.outbox.acknowledge(reports);
            }
            self.agenda.sent(batch, self.now);
        }
        said
    }

    fn push(&self, report: Report) {
        self.outbox.pending.lock().unwrap().push(report);
    }
}

fn completed(id: u64, seq: Seq) -> Report {
    let because = StateReport::because(State::Terminated, Reason::Completed, "0");
    Report {
        report: because,
        ..report(id, seq, State::Terminated)
    }
}

#[test]
fn completed_is_said_only_after_what_the_scheduler_replays_was_judged() {
    let next = Report {
        uid: Uid::from_entropy(9),
        ..report(1, 7, State::Creating)
    };
    let pending = vec![completed(1, 5), report(2, 6, State::Running), next];
    let mut bench = Bench::new(pending, Vec::new());
    // What follows for its id waits with it: TERMINATED would end the next incarnation.
    assert_eq!(bench.drain().len(), 2, "the node, and i2");
    bench.now += Duration::from_millis(900);
    *bench.outbox.arrivals.lock().unwrap() += 1;
    assert_eq!(bench.drain(), Vec::<String>::new());
    bench.now += Duration::from_millis(900);
    assert_eq!(
        bench.drain(),
        Vec::<String>::new(),
        "not yet silent for long enough"
    );
    bench.now += Duration::from_millis(100);
    assert_eq!(
        bench.drain().len(),
        2,
        "TERMINATED alone, then the next incarnation"
    );
    // From then on nothing is held back.
    bench.push(completed(2, 8));
    assert_eq!(bench.drain().len(), 1);
}

#[test]
fn an_instance_that_is_set_aside_holds_up_the_next_incarnation_of_its_id() {
    let next = Report {
        uid: Uid::from_entropy(9),
        ..report(1, 7, State::Creating)
    };
    let mut bench = Bench::new(vec![report(1, 5, State::Terminated), next], Vec::new());
    assert_eq!(bench.drain().len(), 3);
    bench.push(report(3, 8, State::Terminated));
    for _ in 0..3 {
        let Turn::Send(batch) = bench.turn() else {
            panic!("nothing to send")
        };
        bench.agenda.refused(&batch, bench.now);
    }
    bench.push(Report {
        uid: Uid::from_entropy(10),
        ..report(3, 9, State::Creating)
    });
    assert_eq!(bench.drain(), Vec::<String>::new());
}

fn text(batch: &Batch<Numbers>) -> String {
    let messages = batch.messages();
    assert_eq!(messages.len(), batch.len());
    let texts: Vec<_> = messages
        .iter()
        .map(|message| match message {
            Message::Node {
                placements,
                metrics,
            } => format!("{placements}:{metrics}"),
            Message::Instance(report) => {
                format!("{}:{}", report.instance, report.report.state)
            }
        })
        .collect();
    texts.join(" ")
}

#[test]
fn a_registration_begins_with_node_then_outbox_then_what_was_last_acknowledged() {
    let mut bench = Bench::new(
        vec![report(1, 7, State::Creating), report(2, 8, State::Failed)],
        vec![report(3, 5, State::Running)],
    );
    assert_eq!(
        bench.drain(),
        [
            "node true:0",
            "states i1:Creating i2:Failed",
            "repeats i3:Running"
        ]
    );
}

#[test]
fn terminated_is_alone_in_its_batch() {
    let mut bench = Bench::new(
        vec![
            report(1, 1, State::Running),
            report(2, 2, State::Terminated),
            report(3, 3, State::Terminated),
            report(1, 4, State::Failed),
        ],
        vec![],
    );
    assert_eq!(
        bench.drain()[1..],
        [
            "states i1:Running",
            "states i2:Terminated",
            "states i3:Terminated",
            "states i1:Failed"
        ]
    );
}

#[test]
fn a_batch_has_a_limit() {
    let reports: Vec<_> = (1..=600).map(|id| report(id, id, State::Running)).collect();
    let mut bench = Bench::new(reports.clone(), vec![]);
    let sizes = |said: Vec<String>| {
        said[1..]
            .iter()
            .map(|batch| batch.split(' ').count() - 1)
            .collect::<Vec<_>>()
    };
    assert_eq!(sizes(bench.drain()), [256, 256, 88]);
    assert_eq!(sizes(Bench::new(vec![], reports).drain()), [256, 256, 88]);
}

#[test]
fn terminated_is_never_repeated_and_what_was_said_now_is_not_repeated_either() {
    let mut bench = Bench::new(
        vec![report(1, 7, State::Running)],
        vec![
            report(1, 7, State::Running),
            report(2, 6, State::Terminated),
        ],
    );
    assert_eq!(bench.drain(), ["node true:0", "states i1:Running"]);
}

#[test]
fn news_goes_before_repeats() {
    let mut bench = Bench::new(vec![], vec![report(1, 1, State::Running)]);
    let Turn::Send(node) = bench.turn() else {
        panic!()
    };
    bench.agenda.sent(node, bench.now);
    bench.push(report(2, 2, State::Failed));
    assert_eq!(bench.drain(), ["states i2:Failed", "repeats i1:Running"]);
}

#[test]
fn what_was_not_acknowledged_is_said_again() {
    let mut bench = Bench::new(vec![report(1, 1, State::Terminated)], vec![]);
    for _ in 0..3 {
        let Turn::Send(batch) = bench.turn() else {
            panic!()
        };
        assert_eq!(text(&batch), "true:0");
    }
    let Turn::Send(node) = bench.turn() else {
        panic!()
    };
    bench.agenda.sent(node, bench.now);
    for _ in 0..3 {
        let Turn::Send(batch) = bench.turn() else {
            panic!()
        };
        assert_eq!(text(&batch), "i1:Terminated");
    }
}

#[test]
fn an_outbox_that_forgets_acknowledgements_makes_no_storm() {
    let mut bench = Bench::new(vec![report(1, 1, State::Terminated)], vec![]);
    for expected in ["node", "states"] {
        let Turn::Send(batch) = bench.turn() else {
            panic!()
        };
        assert_eq!(batch.kind(), expected);
        bench.agenda.sent(batch, bench.now);
    }
    assert!(matches!(bench.turn(), Turn::Wait { until: Some(_) }));
}

#[test]
fn silence_brings_the_full_sample_and_nothing_before_does() {
    let mut bench = Bench::new(vec![], vec![]);
    bench.drain();
    let Turn::Wait { until: Some(until) } = bench.turn() else {
        panic!()
    };
    assert_eq!(until - bench.now, Duration::from_secs(15));
    *bench.samples.node.lock().unwrap() = 4;
    bench.now = until - Duration::from_millis(1);
    assert_eq!(bench.drain(), [""; 0]);
    bench.now = until;
    assert_eq!(bench.drain(), ["node true:4"]);
    assert_eq!(bench.drain(), [""; 0]);
}

#[test]
fn a_node_value_that_moved_and_a_cordon_go_at_once() {
    let mut bench = Bench::new(vec![], vec![]);
    bench.drain();
    *bench.samples.node.lock().unwrap() = 5;
    assert_eq!(bench.drain(), ["node true:5"]);
    *bench.samples.placements.lock().unwrap() = false;
    assert_eq!(bench.drain(), ["node false:5"]);
}

#[test]
fn metrics_begin_with_running_and_end_with_terminated() {
    let mut bench = Bench::new(vec![report(1, 1, State::Creating)], vec![]);
    *bench.samples.instance.lock().unwrap() = Some(0);
    assert_eq!(bench.drain(), ["node true:0", "states i1:Creating"]);
    bench.push(report(1, 2, State::Running));
    assert_eq!(bench.drain(), ["states i1:Running", "metrics i1:Running"]);
    *bench.samples.instance.lock().unwrap() = Some(100);
    bench.push(report(1, 3, State::Terminated));
    bench.now += Duration::from_secs(6);
    assert_eq!(bench.drain(), ["states i1:Terminated"]);
}

#[test]
fn destroying_is_never_said_a_second_time_with_metrics() {
    let mut bench = Bench::new(
        vec![
            report(1, 1, State::Running),
            report(1, 2, State::Destroying),
        ],
        vec![],
    );
    *bench.samples.instance.lock().unwrap() = Some(0);
    assert_eq!(
        bench.drain(),
        ["node true:0", "states i1:Running i1:Destroying"]
    );
}

#[test]
fn metrics_of_an_instance_wait_their_five_seconds_and_a_move() {
    let mut bench = Bench::new(vec![report(1, 1, State::Running)], vec![]);
    *bench.samples.instance.lock().unwrap() = Some(0);
    bench.drain();
    let began = bench.now;
    *bench.samples.instance.lock().unwrap() = Some(4);
    bench.now = began + Duration::from_secs(6);
    assert_eq!(bench.drain(), [""; 0], "it did not move");
    *bench.samples.instance.lock().unwrap() = Some(5);
    assert_eq!(bench.drain(), ["metrics i1:Running"]);
    let sent = bench.now;
    *bench.samples.instance.lock().unwrap() = Some(50);
    bench.now = sent + Duration::from_secs(1);
    let Turn::Wait { until: Some(until) } = bench.turn() else {
        panic!()
    };
    assert_eq!(until - sent, Duration::from_secs(5));
    bench.now = until;
    let Turn::Send(Batch::Metrics(metrics)) = bench.turn() else {
        panic!()
    };
    assert_eq!(
        (metrics[0].0.restarts, &metrics[0].0.containers),
        (3, &vec![json!(50)])
    );
}

#[test]
fn the_last_words_are_states_and_only_to_who_knows_the_node() {
    let mut bench = Bench::new(vec![report(1, 1, State::Running)], vec![]);
    assert!(matches!(
        bench.agenda.last_words(bench.now, &bench.outbox),
        Turn::Wait { until: None }
    ));
    let Turn::Send(node) = bench.turn() else {
        panic!()
    };
    bench.agenda.sent(node, bench.now);
    let Turn::Send(batch) = bench.agenda.last_words(bench.now, &bench.outbox) else {
        panic!()
    };
    assert_eq!(text(&batch), "i1:Running");
}

#[test]
fn one_instance_that_is_always_refused_does_not_silence_the_others() {
    let mut bench = Bench::new(
        (1..=9)
            .map(|seq| report(1 + seq % 3, seq, State::Running))
            .collect(),
        vec![report(8, 1, State::Running), report(9, 1, State::Running)],
    );
    let poison = [Uid::from_entropy(2), Uid::from_entropy(9)];
    let mut refusals = 0;
    while let Turn::Send(batch) = bench.turn() {
        if batch.uids().iter().any(|uid| poison.contains(uid)) {
            refusals += 1;
            assert!(refusals < 50);
            bench.agenda.refused(&batch, bench.now);
            continue;
        }
        if let Batch::States(reports) = &batch {
            bench.outbox.acknowledge(reports);
        }
        bench.agenda.sent(batch, bench.now);
    }
    let left: Vec<_> = bench
        .outbox
        .batch(99)
        .iter()
        .map(|report| report.seq)
        .collect();
    assert_eq!(left, [1, 4, 7], "only the refused instance waits, in order");
    assert!(bench.agenda.told.contains_key(&Uid::from_entropy(8)));
    let Turn::Wait { until: Some(until) } = bench.turn() else {
        panic!()
    };
    bench.now = until.max(bench.now + crate::reporter::trouble::ASIDE);
    let said = bench.drain();
    assert!(
        said.iter()
            .any(|batch| batch == "states i2:Running i2:Running i2:Running"),
        "{said:?}"
    );
}

#[test]
fn the_next_incarnation_of_an_id_waits_for_a_former_one_that_is_set_aside() {
    let former = report(1, 1, State::Terminated);
    let next = Report {
        uid: Uid::from_entropy(2),
        ..report(1, 2, State::Creating)
    };
    let mut bench = Bench::new(
        vec![former.clone(), next, report(3, 3, State::Running)],
        Vec::new(),
    );
    let mut said = Vec::new();
    while let Turn::Send(batch) = bench.turn() {
        if batch.uids().contains(&former.uid) {
            bench.agenda.refused(&batch, bench.now);
            continue;
        }
        if let Batch::States(reports) = &batch {
            said.extend(reports.iter().map(|r| r.instance.to_string()));
            bench.outbox.acknowledge(reports);
        }
        bench.agenda.sent(batch, bench.now);
    }
    assert_eq!(
        said,
        ["i3"],
        "others are heard, i1 in its order or not at all"
    );
    bench.now += crate::reporter::trouble::ASIDE;
    let said = bench.drain();
    assert_eq!(said[..2], ["states i1:Terminated", "states i1:Creating"]);
}
