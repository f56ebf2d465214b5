//! Pods of several containers: order, sidecars, sandboxes, host ports, probes and hooks.

use super::*;
use crate::{
    model::{
        line::Exit,
        spec::{ContainerSpec, Errand, Probe, ProbeKind, RestartPolicy, Role, WorkloadSpec},
    },
    probes::{ErrandRounds, judge_errand},
    testing::{builders::workload, fake_node::Script},
};

/// A bench whose probes and hooks are done.
struct Pod {
    bench: Bench,
    uid: Uid,
    errands: ErrandRounds<MemoryBook>,
}

fn errand(word: &str) -> Errand {
    Errand::Exec {
        command: vec![word.to_owned()],
    }
}

fn probe(word: &str) -> Probe {
    Probe {
        errand: errand(word),
        initial_delay: 0,
        period: 10,
        timeout: 1,
        successes: 1,
        failures: 3,
        grace_seconds: None,
    }
}

/// Main containers `c0`…, then others by their roles.
fn pod(mains: usize, others: &[Role], policy: RestartPolicy) -> WorkloadSpec {
    let mut spec = workload(mains, policy);
    for (n, role) in others.iter().enumerate() {
        spec.containers.push(ContainerSpec {
            name: format!("i{n}"),
            image: "image".to_owned(),
            role: *role,
            ..ContainerSpec::default()
        });
    }
    spec
}

fn accept(bench: &Bench, name: &str, spec: WorkloadSpec) -> Uid {
    let uid = draw();
    let accepted = Event::Accepted {
        uid: uid.clone(),
        instance: name.parse().unwrap(),
        source: match name.ends_with("@cli") {
            true => Source::Cli,
            false => Source::Scheduler,
        },
        definition: String::new(),
        spec: Box::new(spec),
        warnings: Vec::new(),
    };
    bench.book.record(accepted).unwrap();
    uid
}

impl Pod {
    fn new(spec: WorkloadSpec) -> Self {
        let bench = Bench::new();
        let uid = accept(&bench, "web", spec);
        let errands = ErrandRounds::new(bench.book.clone());
        Self {
            bench,
            uid,
            errands,
        }
    }

    /// Turns and errands until nothing is due now.
    async fn settle(&mut self) {
        for _ in 0..100 {
            self.bench.settle().await;
            for uid in self.bench.uids() {
                self.errands.on_ring(uid);
            }
            self.errands.on_due();
            let mut news = false;
            while let Some(due) = self.errands.next_errand() {
                let node = &self.bench.node;
                let done = node
                    .errand(&due.id.container, due.address, &due.errand, due.limit)
                    .await;
                let told = judge_errand(&due.id, done);
                news |= self.errands.on_end(&due.id, told).is_some();
            }
            if !news {
                return;
            }
        }
        panic!("it never settles");
    }

    async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.bench.book.advance(1_000);
            self.settle().await;
        }
    }

    async fn crash(&mut self) {
        self.bench.crash();
        self.errands = ErrandRounds::new(self.bench.book.clone());
        self.settle().await;
    }

    async fn power_cut(&mut self) {
        self.bench.power_cut();
        self.errands = ErrandRounds::new(self.bench.book.clone());
        self.settle().await;
    }

    /// Positions of what runs.
    fn running(&self) -> Vec<u16> {
        self.bench.running().iter().map(|id| id.n).collect()
    }

    async fn exit(&mut self, n: u16, code: i32) {
        let running = self.bench.running();
        let id = running.iter().find(|id| id.n == n).unwrap();
        self.bench.node.exit(id, code);
        self.settle().await;
    }

    fn runs(&self, n: u16) -> u32 {
        let world = self.bench.node.world();
        world.runs.get(&(self.uid.clone(), n)).copied().unwrap_or(0)
    }

    fn state(&self) -> (State, Option<Reason>) {
        self.bench.state(&self.uid)
    }

    fn script(&self, word: &str, script: Option<Script>) {
        let scripts = &mut self.bench.node.world().scripts;
        match script {
            Some(script) => scripts.insert(word.to_owned(), script),
            None => scripts.remove(word),
        };
    }

    /// The kinds of lines about containers, with their positions, since a line.
    fn signals(&self) -> Vec<(u16, String)> {
        let world = self.bench.node.world();
        let calls = world.calls.iter().filter(|(verb, _)| *verb == Verb::Signal);
        let told = calls.map(|(_, what)| {
            let (id, signal) = what.split_once(' ').unwrap();
            let id: ContainerId = id.parse().unwrap();
            (id.n, signal.to_owned())
        });
        told.collect()
    }

    fn last_exit(&self, n: u16) -> Exit {
        let look = |f: &Fold| f.instances[&self.uid].container(n)?.last_exit.clone();
        self.bench.fold(look).unwrap().exit
    }
}

#[tokio::test]
async fn init_containers_run_one_after_another_to_their_end_before_the_main_ones() {
    let mut pod = Pod::new(pod(2, &[Role::Init, Role::Init], RestartPolicy::Always));
    pod.settle().await;
    assert_eq!(pod.running(), [2]);
    assert_eq!(pod.state(), (State::Creating, None));
    pod.exit(2, 1).await;
    // Its first restart is at once.
    assert_eq!(pod.running(), [2]);
    pod.exit(2, 1).await;
    assert_eq!(pod.state().0, State::Failed);
    pod.pass(11).await;
    pod.exit(2, 0).await;
    assert_eq!(pod.running(), [3]);
    pod.crash().await;
    pod.exit(3, 0).await;
    assert_eq!(pod.running(), [0, 1]);
    assert_eq!(pod.state(), (State::Running, None));
    pod.exit(0, 1).await;
    assert_eq!(pod.running(), [0, 1]);
    assert_eq!((pod.runs(2), pod.runs(3)), (3, 1), "no init again");
}

#[tokio::test]
async fn an_init_container_that_fails_with_never_fails_the_instance_for_good() {
    let mut pod = Pod::new(pod(1, &[Role::Sidecar, Role::Init], RestartPolicy::Never));
    pod.settle().await;
    assert_eq!(pod.running(), [1, 2]);
    pod.exit(2, 3).await;
    pod.pass(40).await;
    assert_eq!(pod.state(), (State::Failed, Some(Reason::Error)));
    assert_eq!(pod.running(), [0; 0], "the sidecar is ended, too");
    pod.power_cut().await;
    assert_eq!(pod.running(), [0; 0]);
    assert_eq!(pod.runs(0), 0);
}

#[tokio::test]
async fn sidecars_start_in_order_run_beside_and_are_ended_after_the_work_in_reverse() {
    let mut pod = Pod::new(pod(
        1,
        &[Role::Sidecar, Role::Init, Role::Sidecar],
        RestartPolicy::OnFailure,
    ));
    pod.settle().await;
    assert_eq!(pod.running(), [1, 2]);
    pod.exit(2, 0).await;
    assert_eq!(pod.running(), [0, 1, 3]);
    assert_eq!(pod.state(), (State::Running, None));
    pod.exit(1, 0).await;
    assert_eq!(
        pod.running(),
        [0, 1, 3],
        "a sidecar is always started again"
    );
    pod.exit(0, 0).await;
    assert_eq!(pod.signals(), [(3, "15".into()), (1, "15".into())]);
    assert_eq!(pod.state(), (State::Terminated, Some(Reason::Completed)));
    let states = pod.bench.states(&pod.uid);
    assert_eq!(
        states,
        [
            State::Creating,
            State::Running,
            State::Creating,
            State::Running,
            State::Terminated
        ],
        "a sidecar that restarts is news, and one that is ended after the work isn't"
    );
    pod.power_cut().await;
    assert_eq!(pod.running(), [0; 0]);
    assert_eq!(pod.runs(0), 1);
}

#[tokio::test]
async fn a_destroy_ends_main_containers_then_sidecars_in_reverse_within_one_grace() {
    let mut pod = Pod::new(pod(
        2,
        &[Role::Sidecar, Role::Sidecar],
        RestartPolicy::Always,
    ));
    pod.bench.node.world().stubborn = true;
    pod.settle().await;
    let began = pod.bench.book.now().up;
    pod.bench.destroy("web").await;
    pod.settle().await;
    assert_eq!(pod.signals(), [(0, "15".into()), (1, "15".into())]);
    pod.pass(29).await;
    assert_eq!(pod.running(), [0, 1, 2, 3]);
    pod.pass(3).await;
    assert!(
        pod.bench.fold(|f| f.instances.is_empty()),
        "{:?}",
        pod.signals()
    );
    assert!(pod.bench.book.now().up - began <= 33_000);
    let order: Vec<u16> = pod.signals().iter().map(|(n, _)| *n).collect();
    let first = |n| order.iter().position(|m| *m == n);
    assert!(first(3) < first(2), "{order:?}");
    assert!(pod.bench.node.world().joined.is_empty());
}

#[tokio::test]
async fn after_a_reboot_init_containers_run_anew_only_if_a_main_container_has_to_start() {
    let mut pod = Pod::new(pod(2, &[Role::Init], RestartPolicy::OnFailure));
    pod.settle().await;
    pod.exit(2, 0).await;
    pod.exit(0, 0).await;
    assert_eq!(pod.running(), [1]);
    pod.power_cut().await;
    assert_eq!(pod.running(), [2], "the init container comes first");
    pod.exit(2, 0).await;
    assert_eq!(pod.running(), [1]);
    assert_eq!(pod.runs(0), 1, "completed work is never run again");
    pod.exit(1, 0).await;
    pod.power_cut().await;
    assert_eq!(pod.running(), [0; 0]);
    assert_eq!((pod.runs(1), pod.runs(2)), (2, 2));
}

#[tokio::test]
async fn a_new_generation_has_a_new_sandbox_made_when_nothing_of_the_former_lives() {
    let mut pod = Pod::new(pod(2, &[Role::Init], RestartPolicy::Always));
    pod.settle().await;
    pod.exit(2, 0).await;
    let made = |pod: &Pod| pod.bench.node.world().made[&pod.uid];
    assert_eq!(made(&pod), 1);
    let replaced = Event::Replaced {
        uid: pod.uid.clone(),
        generation: 2,
        definition: String::new(),
        spec: Box::new(super::pods::pod(1, &[Role::Init], RestartPolicy::Always)),
        warnings: Vec::new(),
    };
    pod.bench.book.record(replaced).unwrap();
    pod.settle().await;
    assert_eq!(made(&pod), 2);
    assert_eq!(pod.running(), [1], "its init container runs, too");
    pod.exit(1, 0).await;
    assert_eq!(pod.running(), [0]);
    assert_eq!(pod.state(), (State::Running, None));
}

#[tokio::test]
async fn a_lost_sandbox_is_made_anew_for_all_when_something_has_to_start_in_it() {
    let mut pod = Pod::new(pod(2, &[Role::Init], RestartPolicy::Never));
    pod.settle().await;
    pod.exit(2, 0).await;
    pod.bench.node.lose_sandbox(&pod.uid);
    pod.settle().await;
    assert_eq!(pod.running(), [0, 1], "what runs is left alone");
    pod.exit(0, 0).await;
    assert_eq!(pod.running(), [1]);
    let mut pod = Pod::new(super::pods::pod(2, &[Role::Init], RestartPolicy::Always));
    pod.settle().await;
    pod.exit(2, 0).await;
    pod.bench.node.lose_sandbox(&pod.uid);
    pod.exit(0, 1).await;
    assert_eq!(pod.running(), [2], "all share the new one");
    assert_eq!(pod.last_exit(1).reason, Some(Reason::SandboxError));
    pod.exit(2, 0).await;
    assert_eq!(pod.running(), [0, 1]);
}

#[tokio::test]
async fn a_sandbox_that_fails_is_said_with_its_reason_and_tried_again_with_backoff() {
    let mut pod = Pod::new(pod(1, &[], RestartPolicy::Always));
    for _ in 0..2 {
        let fault = Fault::Before(FailureKind::Transient);
        pod.bench.node.fault(Verb::Sandbox, fault);
    }
    pod.settle().await;
    assert_eq!(pod.state(), (State::Failed, Some(Reason::SandboxError)));
    pod.pass(11).await;
    assert_eq!(pod.state(), (State::Failed, Some(Reason::SandboxError)));
    pod.pass(18).await;
    assert_eq!(pod.running(), [0; 0]);
    pod.pass(2).await;
    assert_eq!(pod.state(), (State::Running, None));
}

#[tokio::test]
async fn s14_a_host_port_waits_until_its_holder_is_gone() {
    let mut spec = pod(1, &[], RestartPolicy::Always);
    spec.containers[0].ports.push(host_port());
    let mut pod = Pod::new(spec.clone());
    pod.bench.node.world().stubborn = true;
    pod.settle().await;
    let rival = accept(&pod.bench, "rival", spec.clone());
    pod.settle().await;
    assert_eq!(
        pod.bench.state(&rival),
        (State::Failed, Some(Reason::SandboxError))
    );
    pod.bench.destroy("web").await;
    let next = accept(&pod.bench, "next", spec);
    pod.bench.destroy("rival").await;
    pod.settle().await;
    assert_eq!(pod.bench.state(&next), (State::Creating, None));
    assert!(!pod.bench.node.world().joined.contains_key(&next));
    pod.pass(32).await;
    assert_eq!(pod.bench.state(&next), (State::Running, None));
}

#[tokio::test]
async fn s14_a_host_port_of_what_completed_or_was_evicted_is_free_once_its_sandbox_is_gone() {
    let port = || {
        let mut spec = pod(1, &[], RestartPolicy::OnFailure);
        spec.containers[0].ports.push(host_port());
        spec
    };
    let mut pod = Pod::new(port());
    pod.settle().await;
    pod.bench
        .book
        .record(Event::Evicted {
            uid: pod.uid.clone(),
            generation: 1,
            message: "it took too much".to_owned(),
        })
        .unwrap();
    let next = accept(&pod.bench, "next@cli", port());
    pod.settle().await;
    assert_eq!(pod.state(), (State::Failed, Some(Reason::Evicted)));
    // A new daemon sees it again.
    pod.crash().await;
    pod.settle().await;
    assert_eq!(pod.bench.state(&next), (State::Running, None));
    let done = pod.bench.running()[0].clone();
    assert_eq!(done.uid, next);
    pod.bench.node.exit(&done, 0);
    pod.settle().await;
    assert_eq!(
        pod.bench.state(&next),
        (State::Terminated, Some(Reason::Completed))
    );
    let last = accept(&pod.bench, "last", port());
    pod.settle().await;
    assert_eq!(pod.bench.state(&last), (State::Running, None));
}

#[tokio::test]
async fn a_failed_liveness_probe_ends_the_container_and_starts_it_again() {
    let mut spec = pod(1, &[], RestartPolicy::Always);
    spec.containers[0].probes.liveness = Some(probe("live"));
    let mut pod = Pod::new(spec);
    pod.settle().await;
    assert_eq!(
        pod.state(),
        (State::Running, None),
        "alive until proven otherwise"
    );
    let lines = pod.bench.book.pages().lines.len();
    pod.pass(60).await;
    assert_eq!(pod.bench.book.pages().lines.len(), lines, "on change only");
    pod.script("live", Some(Script::Fails));
    pod.pass(15).await;
    // The counters survive the daemon.
    pod.crash().await;
    assert_eq!(pod.runs(0), 1);
    pod.pass(15).await;
    assert!(pod.runs(0) >= 2);
    assert_eq!(pod.last_exit(0).reason, Some(Reason::ProbeFailed));
    let report = {
        let pages = pod.bench.book.pages();
        let failed = |l: &crate::model::line::Line| {
            let state = l.state.clone()?;
            (state.state == State::Failed).then_some(state)
        };
        pages.lines.iter().find_map(failed).unwrap()
    };
    assert_eq!(report.reason, Some(Reason::ProbeFailed));
    let message = report.message.unwrap();
    assert!(
        message.contains("c0 liveness probe failed: live said no"),
        "{message}"
    );
    pod.script("live", None);
    pod.pass(300).await;
    assert_eq!(pod.state(), (State::Running, None));
}

#[tokio::test]
async fn readiness_changes_the_state_and_nothing_else() {
    let mut spec = pod(1, &[], RestartPolicy::Always);
    spec.containers[0].probes.readiness = Some(probe("ready"));
    let mut pod = Pod::new(spec);
    pod.script("ready", Some(Script::Fails));
    pod.settle().await;
    assert_eq!(pod.state(), (State::Creating, Some(Reason::ProbeFailed)));
    pod.script("ready", None);
    pod.pass(10).await;
    assert_eq!(pod.state(), (State::Running, None));
    pod.script("ready", Some(Script::Hangs));
    pod.pass(20).await;
    assert_eq!(
        pod.state(),
        (State::Running, None),
        "twice is not three times"
    );
    pod.pass(10).await;
    assert_eq!(pod.state(), (State::Creating, Some(Reason::ProbeFailed)));
    pod.crash().await;
    assert_eq!(pod.state(), (State::Creating, Some(Reason::ProbeFailed)));
    assert_eq!(pod.runs(0), 1);
}

#[tokio::test]
async fn until_the_startup_probe_has_passed_the_others_wait_and_so_does_what_follows() {
    let mut spec = pod(1, &[Role::Sidecar], RestartPolicy::Always);
    spec.containers[1].probes.startup = Some(probe("up"));
    spec.containers[1].probes.liveness = Some(probe("live"));
    let mut pod = Pod::new(spec);
    pod.script("up", Some(Script::CantBeTried));
    pod.script("live", Some(Script::Fails));
    pod.settle().await;
    pod.pass(60).await;
    assert_eq!(pod.running(), [1], "what can't be tried says nothing");
    assert_eq!(pod.runs(1), 1);
    pod.script("live", None);
    pod.script("up", None);
    pod.pass(10).await;
    assert_eq!(pod.running(), [0, 1]);
    assert_eq!(
        pod.bench.fold(|f| {
            f.instances[&pod.uid]
                .container(1)
                .unwrap()
                .verdict(ProbeKind::Startup)
        }),
        Some(true)
    );
}

#[tokio::test]
async fn s29_probes_and_graces_go_by_the_clock_that_never_steps() {
    let mut spec = pod(1, &[], RestartPolicy::Always);
    let mut late = probe("live");
    late.initial_delay = 30;
    spec.containers[0].probes.liveness = Some(late);
    let mut pod = Pod::new(spec);
    pod.settle().await;
    pod.pass(29).await;
    let tries = |pod: &Pod| {
        let world = pod.bench.node.world();
        world
            .calls
            .iter()
            .filter(|(verb, _)| *verb == Verb::Errand)
            .count()
    };
    assert_eq!(tries(&pod), 0);
    pod.pass(1).await;
    assert_eq!(tries(&pod), 1);
    pod.pass(20).await;
    assert_eq!(tries(&pod), 3);
}

#[tokio::test]
async fn a_hook_after_the_start_is_awaited_and_its_failure_ends_the_container() {
    let mut spec = pod(1, &[], RestartPolicy::Never);
    spec.containers[0].hooks.post_start = Some(errand("post"));
    let mut pod = Pod::new(spec);
    pod.script("post", Some(Script::Fails));
    pod.settle().await;
    assert_eq!(
        pod.state(),
        (State::Failed, Some(Reason::PostStartHookError))
    );
    assert_eq!(pod.running(), [0; 0]);
    assert_eq!(pod.runs(0), 1);
}

#[tokio::test]
async fn a_hook_before_the_end_comes_before_sigterm_and_within_the_grace() {
    let mut spec = pod(1, &[], RestartPolicy::Always);
    spec.containers[0].hooks.pre_stop = Some(errand("pre"));
    let mut pod = Pod::new(spec.clone());
    pod.settle().await;
    pod.bench.destroy("web").await;
    pod.settle().await;
    let calls: Vec<Verb> = {
        let world = pod.bench.node.world();
        world.calls.iter().map(|(verb, _)| *verb).collect()
    };
    let at = |verb| calls.iter().position(|v| *v == verb);
    assert!(at(Verb::Errand) < at(Verb::Signal), "{calls:?}");
    assert!(pod.bench.fold(|f| f.instances.is_empty()));

    // One that never ends: SIGTERM comes 2 s before the grace is over all the same.
    let mut pod = Pod::new(spec);
    pod.settle().await;
    pod.bench.destroy("web").await;
    pod.bench.settle().await;
    assert_eq!(pod.signals(), []);
    pod.bench.book.advance(27_999);
    pod.bench.settle().await;
    assert_eq!(pod.signals(), []);
    pod.bench.book.advance(1);
    pod.bench.settle().await;
    assert_eq!(pod.signals(), [(0, "15".into())]);
}

#[tokio::test]
async fn a_hook_of_which_no_end_is_written_is_run_again_after_a_crash() {
    let mut spec = pod(1, &[], RestartPolicy::Always);
    spec.containers[0].hooks.pre_stop = Some(errand("pre"));
    let mut pod = Pod::new(spec);
    pod.settle().await;
    pod.bench.destroy("web").await;
    pod.bench.settle().await;
    // It begins, and the daemon dies before its end is written.
    pod.errands.on_ring(pod.uid.clone());
    assert!(pod.errands.next_errand().is_some());
    assert!(pod.errands.next_errand().is_none(), "once at a time");
    pod.crash().await;
    assert!(pod.bench.fold(|f| f.instances.is_empty()));
}
