//! The planner and the executor over the simulated node, one turn at a time.

mod deaths;
mod pods;
mod races;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{
    context::Context,
    turn::{plan_of, run_turn},
    *,
};
use crate::{
    image::reference::TransportPolicy,
    intake::{Intake, Unclaimed, Verdict},
    model::{
        fold::Fold,
        ids::{ContainerId, Source},
        instruction::Instruction,
        line::{
            DegradedMode::{RuntimeHung, RuntimeMissing},
            Event,
        },
        observed::Status,
        spec::Port,
        state::{Reason, State},
    },
    node::FailureKind,
    testing::{
        fake_node::{FakeNode, Fault, Verb},
        memory_book::MemoryBook,
    },
};

/// One daemon after another over one node and one journal.
struct Bench {
    node: FakeNode,
    book: MemoryBook,
    context: Context<FakeNode, MemoryBook>,
    boots: u32,
}

fn draw() -> Uid {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    Uid::from_entropy(u64::from_le_bytes(bytes))
}

/// The node's port 8080.
fn host_port() -> Port {
    Port {
        host: 8080,
        container: 80,
        protocol: "TCP".to_owned(),
        name: None,
        host_ip: None,
    }
}

fn daemon(node: &FakeNode, book: &MemoryBook) -> Context<FakeNode, MemoryBook> {
    let intake = Arc::new(Intake::new(book.clone(), TransportPolicy::default(), draw));
    Context::new(Arc::new(node.clone()), book.clone(), intake, 4)
}

fn definition(policy: &str, containers: usize, tag: u32) -> String {
    let list: Vec<String> = (0..containers)
        .map(|n| format!(r#"{{"name":"c{n}","image":"image-{tag}"}}"#))
        .collect();
    format!(
        r#"{{"apiVersion":"v0","kind":"Pod","name":"w","spec":{{"restartPolicy":"{policy}","terminationGracePeriodSeconds":2,"containers":[{}]}}}}"#,
        list.join(",")
    )
}

impl Bench {
    fn new() -> Self {
        let (node, book) = (FakeNode::default(), MemoryBook::default());
        let context = daemon(&node, &book);
        Self {
            node,
            book,
            context,
            boots: 1,
        }
    }

    /// The daemon dies and another takes over: only what is written is left.
    fn crash(&mut self) {
        self.context = daemon(&self.node, &self.book);
    }

    fn power_cut(&mut self) {
        self.boots += 1;
        self.node.power_cut();
        self.crash();
        self.book.reboot(&format!("boot-{}", self.boots));
    }

    async fn submit(&self, instruction: Instruction) -> Verdict {
        Intake::new(self.book.clone(), TransportPolicy::default(), draw)
            .submit(&instruction)
            .await
            .unwrap()
    }

    async fn create(&self, id: &str, definition: String) -> Uid {
        match self
            .submit(Instruction::create(id, Source::Scheduler, definition))
            .await
        {
            Verdict::Accepted { uid, .. } => uid,
            other => panic!("{other:?}"),
        }
    }

    async fn destroy(&self, id: &str) -> Verdict {
        self.submit(Instruction::destroy(id, Source::Scheduler))
            .await
    }

    fn uids(&self) -> Vec<Uid> {
        let mut uids: BTreeSet<Uid> = self.fold(|f| f.instances.keys().cloned().collect());
        uids.extend(self.node.world().containers.keys().map(|id| id.uid.clone()));
        uids.into_iter().collect()
    }

    fn fold<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        self.book.read(look)
    }

    /// Turns of everything until nothing is due now.
    async fn settle(&self) {
        for _ in 0..40 {
            let mut busy = self.node.take_changes();
            for uid in self.uids() {
                let end = run_turn(&self.context, &uid, &Superseded::default()).await;
                busy |= end.failed || !end.also.is_empty();
            }
            self.check();
            busy |= self.node.take_changes();
            if !busy {
                return;
            }
        }
        panic!("it never settles");
    }

    /// Time passes until nothing is due any more, and no container is left waiting.
    async fn rest(&self) {
        for _ in 0..200 {
            self.settle().await;
            let mut wake = None;
            for uid in self.uids() {
                let plan = plan_of(&self.context, &uid).await.unwrap();
                if plan.actions.iter().all(|p| p.action.name() != "kill") {
                    assert_eq!(plan.actions, vec![], "after a settled turn nothing is due");
                }
                wake = [wake, plan.wake_up].into_iter().flatten().min();
            }
            let Some(up) = wake else { return };
            let now = self.book.now().up;
            self.book.advance(up.saturating_sub(now).max(1));
        }
        panic!("it never rests");
    }

    /// What must hold at every moment.
    fn check(&self) {
        let world = self.node.world();
        let mut live = BTreeSet::new();
        for (id, c) in &world.containers {
            if matches!(c.status, Status::Created | Status::Running | Status::Paused) {
                assert!(
                    live.insert((id.uid.clone(), id.n)),
                    "two live attempts of {id}"
                );
            }
        }
    }

    fn state(&self, uid: &Uid) -> (State, Option<Reason>) {
        self.fold(|f| {
            let report = f.instances[uid].reported.clone().unwrap();
            (report.state, report.reason)
        })
    }

    fn running(&self) -> Vec<ContainerId> {
        let world = self.node.world();
        let running = world
            .containers
            .iter()
            .filter(|(_, c)| c.status == Status::Running);
        running.map(|(id, _)| id.clone()).collect()
    }

    fn states(&self, uid: &Uid) -> Vec<State> {
        let pages = self.book.pages();
        let lines = pages.lines.iter().filter(|l| l.event.uid() == Some(uid));
        lines
            .filter_map(|l| l.state.as_ref().map(|s| s.state))
            .collect()
    }
}

#[tokio::test]
async fn a_created_instance_runs_and_a_destroyed_one_leaves_nothing() {
    let bench = Bench::new();
    let uid = bench.create("web", definition("Always", 2, 1)).await;
    bench.rest().await;
    assert_eq!(bench.state(&uid), (State::Running, None));
    assert_eq!(bench.running().len(), 2);
    bench.destroy("web").await;
    bench.rest().await;
    let world = bench.node.world();
    assert!(world.containers.is_empty() && world.sandboxes.is_empty());
    assert!(world.directories.is_empty());
    drop(world);
    assert!(bench.fold(|f| f.instances.is_empty() && f.tombstones.len() == 1));
    assert_eq!(
        bench.states(&uid),
        [
            State::Creating,
            State::Running,
            State::Destroying,
            State::Terminated
        ]
    );
}

#[tokio::test]
async fn a_start_waits_for_two_syncs_a_restart_for_one_and_adopting_for_none() {
    // Each has one more: the reporter's, before the state Running is sent.
    let mut bench = Bench::new();
    bench.create("web", definition("Always", 1, 1)).await;
    bench.rest().await;
    assert_eq!(bench.book.pages().syncs, 2);
    bench.node.exit(&bench.running()[0], 1);
    bench.rest().await;
    assert_eq!(bench.running()[0].attempt, 2);
    // The intent's covers the exit's; the removal of the first attempt waits for nothing new.
    assert!(bench.book.pages().syncs <= 4);
    let before = bench.book.pages().syncs;
    bench.crash();
    bench.rest().await;
    assert_eq!(bench.book.pages().syncs, before);
    bench.destroy("web").await;
    bench.rest().await;
    assert_eq!(bench.book.pages().syncs, before + 1);
}

#[tokio::test]
async fn a_crashed_daemon_adopts_without_a_line_or_a_call() {
    let mut bench = Bench::new();
    bench.create("web", definition("Always", 3, 1)).await;
    bench.rest().await;
    let (lines, calls) = (
        bench.book.pages().lines.len(),
        bench.node.world().calls.len(),
    );
    bench.crash();
    bench.rest().await;
    assert_eq!(bench.book.pages().lines.len(), lines);
    assert_eq!(bench.node.world().calls.len(), calls);
}

#[tokio::test]
async fn completed_work_is_never_run_again() {
    for policy in ["Never", "OnFailure"] {
        let mut bench = Bench::new();
        let uid = bench.create("job", definition(policy, 1, 1)).await;
        bench.rest().await;
        bench.node.exit(&bench.running()[0], 0);
        for round in 0..20 {
            if round % 2 == 0 {
                bench.crash()
            } else {
                bench.power_cut()
            }
            bench.rest().await;
        }
        assert_eq!(bench.node.world().runs[&(uid.clone(), 0)], 1, "{policy}");
        assert_eq!(
            bench.state(&uid),
            (State::Terminated, Some(Reason::Completed))
        );
        // Once acknowledged it is cleared away, without a second Terminated.
        let through = bench.fold(|f| f.seq);
        bench
            .book
            .record(Event::Acknowledged {
                uid: uid.clone(),
                through,
            })
            .unwrap();
        bench.rest().await;
        assert!(bench.fold(|f| f.instances.is_empty()));
        assert_eq!(
            bench
                .states(&uid)
                .iter()
                .filter(|s| **s == State::Terminated)
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn the_first_restart_is_at_once_and_the_next_ones_back_off_across_crashes() {
    let mut bench = Bench::new();
    let uid = bench.create("web", definition("Always", 1, 1)).await;
    bench.rest().await;
    let mut delays = Vec::new();
    for _ in 0..8 {
        bench.node.exit(&bench.running()[0], 1);
        let before = bench.book.now().up;
        bench.crash();
        bench.rest().await;
        delays.push((bench.book.now().up - before) / 1_000);
    }
    assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    bench.book.advance(600_000);
    bench.node.exit(&bench.running()[0], 1);
    let before = bench.book.now().up;
    bench.rest().await;
    assert_eq!(
        bench.book.now().up,
        before,
        "a clean run of ten minutes resets the backoff"
    );
    assert_eq!(bench.state(&uid), (State::Running, None));
}

#[tokio::test]
async fn s25_a_process_that_outlives_sigkill_is_told_and_makes_nothing_else_wait() {
    let bench = Bench::new();
    bench.node.world().stubborn = true;
    let hung = bench.create("hung", definition("Always", 1, 1)).await;
    bench.rest().await;
    let id = bench.fold(|f| f.instances[&hung].current(0)).unwrap();
    bench.node.world().unkillable.insert(id);
    let began = bench.book.now().up;
    bench.destroy("hung").await;
    let report = || bench.fold(|f| f.instances[&hung].reported.clone().unwrap());
    while report().reason != Some(Reason::Unkillable) {
        bench.settle().await;
        bench.book.advance(500);
        assert!(bench.book.now().up - began < 60_000, "{:?}", report());
    }
    assert_eq!(report().state, State::Destroying);
    // Another one comes and goes meanwhile.
    bench.node.world().stubborn = false;
    bench.create("other", definition("Always", 1, 2)).await;
    bench.settle().await;
    let other = bench.fold(|f| {
        let id = "other".parse().unwrap();
        f.by_instance(&id).unwrap().reported.clone().unwrap()
    });
    assert_eq!(other.state, State::Running);
    // Tries are few, and one is enough once the kernel lets go.
    let kills = || {
        let world = bench.node.world();
        let killed = |(verb, what): &&(Verb, String)| *verb == Verb::Signal && what.ends_with(" 9");
        world.calls.iter().filter(killed).count()
    };
    let (before, from) = (kills(), bench.book.now().up);
    while bench.book.now().up - from < 600_000 {
        let end = run_turn(&bench.context, &hung, &Superseded::default()).await;
        let due = end.wake_up.unwrap();
        bench.book.advance(due.saturating_sub(bench.book.now().up));
    }
    let tries = kills() - before;
    assert!((10..=25).contains(&tries), "{tries} in ten minutes");
    bench.node.world().unkillable.clear();
    bench.rest().await;
    assert!(bench.fold(|f| !f.instances.contains_key(&hung)));
}

#[tokio::test]
async fn a_stubborn_process_is_killed_at_the_deadline_that_the_journal_has() {
    let mut bench = Bench::new();
    bench.node.world().stubborn = true;
    bench.create("web", definition("Always", 1, 1)).await;
    bench.rest().await;
    let began = bench.book.now().up;
    bench.destroy("web").await;
    bench.settle().await;
    bench.book.advance(1_500);
    // The next daemon sends SIGTERM again, and keeps the deadline.
    bench.crash();
    bench.rest().await;
    assert!(bench.fold(|f| f.instances.is_empty()));
    let took = bench.book.now().up - began;
    assert!((2_000..3_500).contains(&took), "{took}");
    let signals: Vec<_> = {
        let world = bench.node.world();
        let calls = world.calls.iter().filter(|(verb, _)| *verb == Verb::Signal);
        calls
            .filter_map(|(_, what)| what.rsplit_once(' ').map(|p| p.1.to_owned()))
            .collect()
    };
    assert_eq!(signals, ["15", "15", "9"]);
}

#[tokio::test]
async fn a_newer_generation_replaces_and_an_equal_one_does_nothing() {
    let bench = Bench::new();
    let uid = bench.create("web", definition("Always", 2, 1)).await;
    bench.rest().await;
    let same = Instruction::create("web", Source::Scheduler, definition("Always", 2, 1));
    assert!(matches!(
        bench.submit(same).await,
        Verdict::Unchanged { .. }
    ));
    assert_eq!(bench.create("web", definition("Always", 1, 2)).await, uid);
    bench.rest().await;
    let running = bench.running();
    assert_eq!(running.len(), 1);
    assert_eq!(
        running[0].attempt, 2,
        "an attempt number is never used twice"
    );
    assert_eq!(bench.state(&uid), (State::Running, None));
}

#[tokio::test]
async fn a_create_while_being_destroyed_waits_for_the_tombstone() {
    let mut bench = Bench::new();
    let first = bench.create("web", definition("Always", 1, 1)).await;
    bench.rest().await;
    bench.destroy("web").await;
    bench.create("web", definition("Always", 1, 2)).await;
    bench.crash();
    bench.rest().await;
    bench.rest().await;
    let second = bench.fold(|f| f.instances.keys().next().cloned().unwrap());
    assert_ne!(first, second);
    assert_eq!(bench.state(&second), (State::Running, None));
    assert_eq!(bench.states(&first).last(), Some(&State::Terminated));
}

#[tokio::test]
async fn drained_instances_stop_and_stay_stopped_until_uncordoned_even_across_a_reboot() {
    let mut bench = Bench::new();
    let uid = bench.create("web", definition("Always", 1, 1)).await;
    bench.rest().await;
    bench.book.record(Event::Drained {}).unwrap();
    bench.rest().await;
    assert_eq!(
        bench.state(&uid),
        (State::Failed, Some(Reason::NodeDrained))
    );
    bench.power_cut();
    bench.rest().await;
    assert!(bench.running().is_empty());
    bench.book.record(Event::Uncordoned {}).unwrap();
    bench.rest().await;
    assert_eq!(bench.state(&uid), (State::Running, None));
}

#[tokio::test]
async fn a_stop_that_was_begun_is_carried_through_also_if_it_is_uncordoned_meanwhile() {
    let bench = Bench::new();
    bench.node.world().stubborn = true;
    let uid = bench.create("web", definition("Always", 1, 1)).await;
    bench.rest().await;
    bench.book.record(Event::Drained {}).unwrap();
    bench.settle().await;
    bench.book.record(Event::Uncordoned {}).unwrap();
    bench.node.world().stubborn = false;
    bench.rest().await;
    // It got SIGTERM and its grace; what runs now was never told to stop.
    assert_eq!(bench.state(&uid), (State::Running, None));
    let attempts: Vec<u32> = bench.running().iter().map(|id| id.attempt).collect();
    assert_eq!(attempts, [2]);
    bench.fold(|f| assert_eq!(f.instances[&uid].containers[0].stop, None));
}

#[tokio::test]
async fn what_bears_our_mark_and_is_unknown_is_left_running_and_shown() {
    let bench = Bench::new();
    let uid = bench.create("web", definition("Always", 1, 1)).await;
    bench.rest().await;
    bench.book.pages().fold.instances.clear();
    let due = survey::differing(&bench.context).await;
    assert_eq!(due, vec![]);
    bench.settle().await;
    assert_eq!(bench.running().len(), 1);
    let shown = bench.fold(|f| f.node.degraded.clone());
    assert_eq!(shown.values().next(), Some(&uid.to_string()));
}

#[tokio::test]
async fn s24_a_hung_call_is_shown_until_none_has_hung_for_a_while() {
    let bench = Bench::new();
    let hung = |bench: &Bench| bench.fold(|f| f.node.degraded.contains_key(&RuntimeHung));
    bench
        .node
        .fault(Verb::Create, Fault::Before(FailureKind::Hung));
    let uid = bench.create("web", definition("Always", 1, 1)).await;
    bench.settle().await;
    assert!(hung(&bench), "shown");
    bench.rest().await;
    assert_eq!(bench.state(&uid), (State::Running, None));
    survey::differing(&bench.context).await;
    assert!(hung(&bench), "one that succeeds says nothing of the others");
    bench.book.advance(331_000);
    survey::differing(&bench.context).await;
    assert!(!hung(&bench), "left by itself");
}

#[tokio::test]
async fn what_is_disowned_ends_whenever_the_daemon_dies_and_nothing_starts_beside_it() {
    for (stubborn, dies_at) in (0..8).flat_map(|n| [(false, n), (true, n)]) {
        let mut bench = Bench::new();
        bench.node.world().stubborn = stubborn;
        let old = bench.create("web", definition("Always", 1, 1)).await;
        bench.rest().await;
        bench.book.pages().fold.instances.clear();
        let mark = Unclaimed {
            instance: Some("web".parse().unwrap()),
            ..Unclaimed::default()
        };
        let seen = [(old.clone(), mark)];
        bench.context.intake.set_unclaimed(seen.into());
        let create = Instruction::create("web", Source::Scheduler, definition("Always", 1, 2));
        let Verdict::Accepted { uid: new, .. } =
            bench.context.intake.submit(&create).await.unwrap()
        else {
            panic!("not accepted");
        };
        for n in 0..20 {
            if n == dies_at {
                bench.crash();
            }
            for uid in [&new, &old] {
                run_turn(&bench.context, uid, &Superseded::default()).await;
                let ours = |id: &ContainerId| id.uid == *uid;
                let running = bench.running();
                assert!(
                    running.iter().all(ours) || !running.iter().any(ours),
                    "both run: {running:?}"
                );
            }
            bench.book.advance(5_000);
        }
        assert_eq!(
            bench.state(&new),
            (State::Running, None),
            "dies at {dies_at}"
        );
        assert!(bench.running().iter().all(|id| id.uid == new));
        assert!(!bench.node.world().directories.contains(&old));
        assert!(bench.fold(|f| f.node.disowned.is_empty()));
    }
}

#[tokio::test]
async fn a_missing_runtime_is_shown_until_a_create_succeeds_or_nobody_needs_it_any_more() {
    let missing = Fault::Before(FailureKind::ProgramMissing);
    let shown = |bench: &Bench| bench.fold(|f| f.node.degraded.contains_key(&RuntimeMissing));
    let bench = Bench::new();
    bench.node.fault(Verb::Create, missing);
    bench.create("web", definition("Always", 1, 1)).await;
    bench.settle().await;
    assert!(shown(&bench));
    bench.rest().await;
    assert!(!shown(&bench), "it was created");

    bench.node.fault(Verb::Create, missing);
    bench.create("api", definition("Always", 1, 1)).await;
    bench.settle().await;
    bench.destroy("api").await;
    bench.settle().await;
    survey::differing(&bench.context).await;
    assert!(shown(&bench));
    bench.book.advance(331_000);
    survey::differing(&bench.context).await;
    assert!(!shown(&bench), "nothing failed for a while");
}

/// What may happen to a node.
#[derive(Debug, Clone)]
enum Happening {
    Create {
        id: u8,
        policy: u8,
        containers: usize,
        tag: u32,
    },
    Destroy {
        id: u8,
    },
    Exit {
        which: usize,
        code: i32,
    },
    MonitorKilled {
        which: usize,
    },
    Crash,
    PowerCut,
    Fault {
        verb: u8,
        kind: u8,
    },
    Pass {
        ms: u64,
    },
    Drain,
    Uncordon,
    Acknowledge,
    Damage {
        which: usize,
        status: u8,
    },
    Vanish {
        which: usize,
    },
    Stubborn(bool),
    SlowMonitors(bool),
    SnapshotsLost,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        4 => (0..3_u8, 0..3_u8, 1..4_usize, 0..3_u32)
            .prop_map(|(id, policy, containers, tag)| Create { id, policy, containers, tag }),
        2 => (0..3_u8).prop_map(|id| Destroy { id }),
        3 => (0..6_usize, 0..2_i32).prop_map(|(which, code)| Exit { which, code }),
        1 => (0..6_usize).prop_map(|which| MonitorKilled { which }),
        2 => Just(Crash),
        1 => Just(PowerCut),
        2 => (0..7_u8, 0..4_u8).prop_map(|(verb, kind)| Fault { verb, kind }),
        2 => (0..700_000_u64).prop_map(|ms| Pass { ms }),
        1 => Just(Drain),
        1 => Just(Uncordon),
        1 => Just(Acknowledge),
        1 => (0..6_usize, 0..4_u8).prop_map(|(which, status)| Damage { which, status }),
        1 => (0..6_usize).prop_map(|which| Vanish { which }),
        1 => any::<bool>().prop_map(Stubborn),
        1 => any::<bool>().prop_map(SlowMonitors),
        1 => Just(SnapshotsLost),
    ]
}

impl Bench {
    fn pick(&self, which: usize) -> Option<ContainerId> {
        let world = self.node.world();
        let ids: Vec<_> = world.containers.keys().cloned().collect();
        (!ids.is_empty()).then(|| ids[which % ids.len()].clone())
    }

    async fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Create {
                id,
                policy,
                containers,
                tag,
            } => {
                let policy = ["Always", "OnFailure", "Never"][usize::from(policy)];
                let text = definition(policy, containers, tag);
                let create = Instruction::create(format!("i{id}"), Source::Scheduler, text);
                self.submit(create).await;
            }
            Happening::Destroy { id } => {
                self.destroy(&format!("i{id}")).await;
            }
            Happening::Exit { which, code } => {
                if let Some(id) = self.pick(which) {
                    self.node.exit(&id, code);
                }
            }
            Happening::MonitorKilled { which } => {
                if let Some(id) = self.pick(which) {
                    self.node.kill_monitor(&id);
                }
            }
            Happening::Crash => self.crash(),
            Happening::PowerCut => self.power_cut(),
            Happening::Fault { verb, kind } => {
                let verb = [
                    Verb::Image,
                    Verb::Sandbox,
                    Verb::Create,
                    Verb::Start,
                    Verb::Signal,
                    Verb::Remove,
                    Verb::RemoveSandbox,
                ][usize::from(verb)];
                let fault = [
                    Fault::Before(FailureKind::Transient),
                    Fault::After(FailureKind::Transient),
                    Fault::Before(FailureKind::Permanent),
                    Fault::After(FailureKind::Hung),
                ][usize::from(kind)];
                self.node.fault(verb, fault);
            }
            Happening::Pass { ms } => self.book.advance(ms),
            Happening::Drain => drop(self.book.record(Event::Drained {}).unwrap()),
            Happening::Uncordon => drop(self.book.record(Event::Uncordoned {}).unwrap()),
            Happening::Acknowledge => {
                let through = self.fold(|f| f.seq);
                for uid in self.fold(|f| f.outboxes.keys().cloned().collect::<Vec<_>>()) {
                    self.book
                        .record(Event::Acknowledged { uid, through })
                        .unwrap();
                }
            }
            Happening::Damage { which, status } => {
                let status = [
                    Status::Broken,
                    Status::Paused,
                    Status::Stopped,
                    Status::Absent,
                ][usize::from(status)];
                if let Some(id) = self.pick(which)
                    && let Some(c) = self.node.world().containers.get_mut(&id)
                {
                    c.status = status;
                }
            }
            Happening::Vanish { which } => {
                if let Some(id) = self.pick(which) {
                    self.node.world().containers.remove(&id);
                }
            }
            Happening::Stubborn(stubborn) => self.node.world().stubborn = stubborn,
            Happening::SlowMonitors(slow) => self.node.world().slow_monitors = slow,
            Happening::SnapshotsLost => self.node.world().snapshots.clear(),
        }
    }

    /// Where everything has come to rest: what is wanted is what is there.
    fn check_rest(&self) {
        let world = self.node.world();
        let fold = &self.book.pages().fold;
        for record in fold.instances.values() {
            let report = record.reported.clone().unwrap();
            if report.state == State::Running {
                for n in record
                    .positions()
                    .filter(|n| !record.container_completed(*n))
                {
                    let id = record.current(n).unwrap();
                    let status = world.containers[&id].status;
                    assert!(
                        matches!(status, Status::Running | Status::Paused),
                        "{id} {status:?}"
                    );
                }
            }
        }
        for id in world.containers.keys() {
            assert!(fold.instances.contains_key(&id.uid), "{id} is left over");
        }
        for uid in world.sandboxes.iter().chain(&world.directories) {
            assert!(
                fold.instances.contains_key(uid),
                "the sandbox of {uid} is left over"
            );
        }
        assert_eq!(fold.waiting().next(), None, "a create waits for ever");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// Each case goes on from the leftovers of the happenings before.
    #[test]
    fn from_any_state_the_plan_leads_to_an_empty_plan(
        happenings in proptest::collection::vec(happening(), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new();
            for happening in &happenings {
                bench.happen(happening).await;
                bench.rest().await;
                bench.check_rest();
            }
        });
    }
}
