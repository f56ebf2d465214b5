//! Daemons and monitors that die at a start.

use std::{collections::VecDeque, pin::pin};

use tokio::task::yield_now;

use super::*;
use crate::{plan::Action, reconciler::context::Side};

/// A turn of a daemon that dies in this verb: the verb's work is done, and nobody writes it down.
async fn die_after(bench: &mut Bench, uid: &Uid, verb: Verb) {
    bench.node.fault(verb, Fault::Silent);
    {
        let superseded = Superseded::default();
        let mut turn = pin!(run_turn(&bench.context, uid, &superseded));
        for _ in 0..1_000 {
            tokio::select! {
                biased;
                _ = &mut turn => panic!("nobody died in {verb:?}"),
                () = yield_now() => {}
            }
        }
    }
    let met = |faults: &VecDeque<Fault>| faults.is_empty();
    assert!(bench.node.world().faults.get(&verb).is_some_and(met));
    bench.crash();
}

#[tokio::test]
async fn never_is_at_most_once_though_two_daemons_and_the_monitor_die_at_its_start() {
    let mut bench = Bench::new();
    let uid = bench.create("job", definition("Never", 1, 1)).await;
    die_after(&mut bench, &uid, Verb::Create).await;
    die_after(&mut bench, &uid, Verb::Start).await;
    let id = bench.running()[0].clone();
    bench.node.kill_monitor(&id);
    bench.node.exit(&id, 0);
    bench.rest().await;
    assert_eq!(bench.node.world().runs[&(uid.clone(), 0)], 1);
    assert_eq!(
        bench.state(&uid),
        (State::Failed, Some(Reason::MonitorLost))
    );
}

#[tokio::test]
async fn a_monitor_that_always_dies_before_the_start_backs_off_and_is_told() {
    for policy in ["Always", "Never"] {
        let mut bench = Bench::new();
        let node = bench.node.clone();
        bench.context.witness = Some(Box::new(move |action, side| {
            if let (Action::Create { intent }, Side::After) = (action, side) {
                node.kill_monitor(&intent.container);
            }
        }));
        let uid = bench.create("web", definition(policy, 1, 1)).await;
        let attempts = || bench.fold(|f| f.instances[&uid].containers[0].attempt);
        let mut waits = Vec::new();
        for attempt in 1..=4 {
            bench.settle().await;
            assert_eq!(attempts(), attempt);
            let report = bench.fold(|f| f.instances[&uid].reported.clone().unwrap());
            let told = (report.state, report.reason);
            assert_eq!(told, (State::Failed, Some(Reason::StartError)));
            let message = report.message.unwrap();
            assert!(
                message.contains("its monitor died before it was started"),
                "{message}"
            );
            let due = plan_of(&bench.context, &uid).await.unwrap().wake_up;
            let now = bench.book.now().up;
            waits.push((due.unwrap() - now) / 1_000);
            bench.book.advance(due.unwrap() - now);
        }
        assert_eq!(waits, [10, 20, 40, 80]);
        assert!(!bench.node.world().runs.contains_key(&(uid.clone(), 0)));
        // Monitors live again.
        bench.context.witness = None;
        bench.rest().await;
        assert_eq!(bench.state(&uid), (State::Running, None));
        assert_eq!(bench.node.world().runs[&(uid, 0)], 1);
    }
}
