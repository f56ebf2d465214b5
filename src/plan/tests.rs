//! A row of design section 6's table or section 7's matrix is a row here: what is recorded and
//! what is seen, and the whole plan.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    model::{
        fold::{
            ContainerRecord, Desired, Fold, ImageRecord, InstanceRecord, LastExit, Refusal, Stop,
        },
        ids::{ContainerId, InstanceId, Source},
        line::{Event, Exit, Line, Moment, ProcessId},
        observed::{ObservedContainer, ObservedInstance, Status},
        phase::Phase,
        spec::RestartPolicy::{self, Always, Never, OnFailure},
        state::Reason,
    },
    testing::{
        builders::{container_id, moment_in, uid, workload},
        lines::Die,
    },
};

const NOW: u64 = 5_000_000;
const BOOT: &str = "boot-1";

fn now() -> Moment {
    moment_in(BOOT, NOW)
}

fn id(n: u16, attempt: u32) -> ContainerId {
    container_id(&uid(1), n, attempt)
}

const PROCESS: ProcessId = ProcessId {
    pid: 7,
    start_time: 70,
};

/// What a row begins with: an instance whose image is ready, a sandbox, no attempt.
#[derive(Clone)]
struct Row {
    record: InstanceRecord,
    observed: ObservedInstance,
    circumstances: Circumstances,
}

fn row(containers: usize, policy: RestartPolicy) -> Row {
    let mut fold = Fold::default();
    let accepted = Event::Accepted {
        uid: uid(1),
        instance: InstanceId::from_wire("web-1").unwrap(),
        source: Source::Scheduler,
        definition: String::new(),
        spec: Box::new(workload(containers, policy)),
        warnings: Vec::new(),
    };
    let ready = Event::ImageReady {
        uid: uid(1),
        image: "image".to_owned(),
        digest: "sha256:00".to_owned(),
        snapshot: "sha256-00".to_owned(),
    };
    for event in [accepted, ready] {
        fold.apply(&Line {
            seq: fold.seq + 1,
            moment: now(),
            event,
            state: None,
            durable: None,
        });
    }
    Row {
        record: fold.instances[&uid(1)].clone(),
        observed: ObservedInstance {
            containers: BTreeMap::new(),
            sandbox: true,
            leftovers: true,
        },
        circumstances: Circumstances::default(),
    }
}

fn always() -> Row {
    row(1, Always)
}

impl Row {
    /// An attempt at the next position, begun 60 s ago.
    fn attempt(mut self, phase: Phase) -> Self {
        let started = (phase >= Phase::Running).then(|| {
            let moment = moment_in(BOOT, NOW - 60_000);
            (moment.at, moment.up)
        });
        self.record.containers.push(ContainerRecord {
            name: "c".to_owned(),
            attempt: 1,
            generation: 1,
            phase,
            boot: BOOT.to_owned(),
            snapshot: "sha256-00".to_owned(),
            process: phase.may_live().then_some(PROCESS),
            started,
            grace_seconds: 30,
            ..ContainerRecord::default()
        });
        self
    }

    fn last(&mut self) -> &mut ContainerRecord {
        self.record.containers.last_mut().unwrap()
    }

    fn with(mut self, change: impl FnOnce(&mut ContainerRecord)) -> Self {
        change(self.last());
        self
    }

    /// Its end is recorded.
    fn exited(self, code: i32, next_up: Option<u64>) -> Self {
        self.attempt(Phase::Exited).with(|c| {
            c.next_up = next_up;
            c.last_exit = Some(LastExit {
                attempt: 1,
                at: now().at,
                exit: Exit::from_code(code, false),
                start_error: None,
            });
        })
    }

    /// The last attempt is seen.
    fn seen(self, status: Status) -> Self {
        let n = u16::try_from(self.record.containers.len() - 1).unwrap();
        self.seen_as(n, 1, status)
    }

    fn seen_as(mut self, n: u16, attempt: u32, status: Status) -> Self {
        let lives = matches!(status, Status::Created | Status::Running | Status::Paused);
        let seen = ObservedContainer {
            status,
            process: lives.then_some(PROCESS),
            monitor: lives || status == Status::Creating,
            exit: None,
            leftovers: true,
        };
        self.observed.containers.insert(id(n, attempt), seen);
        self
    }

    fn look(mut self, change: impl FnOnce(&mut ObservedContainer)) -> Self {
        change(self.observed.containers.values_mut().next_back().unwrap());
        self
    }

    fn exit_file(self, code: i32) -> Self {
        self.look(|c| c.exit = Some(Exit::from_code(code, false)))
    }

    fn monitor(self, lives: bool) -> Self {
        self.look(|c| c.monitor = lives)
    }

    fn gone(mut self) -> Self {
        self.record.desired = Desired::Gone;
        self
    }

    /// The node has another boot id than when the attempt was made.
    fn rebooted(self) -> Self {
        self.with(|c| c.boot = "boot-0".to_owned())
    }

    fn in_order(mut self) -> Self {
        self.circumstances.stopping_boot = Some("boot-0".to_owned());
        self
    }

    fn stop(self, deadline_up: u64) -> Self {
        self.with(|c| {
            c.stop = Some(Stop {
                deadline_up,
                asked_up: NOW,
                reason: None,
                unkillable: false,
            });
        })
    }

    fn signalled(mut self) -> Self {
        self.circumstances.signalled.insert(id(0, 1));
        self
    }

    /// A newer generation with a shorter grace was accepted.
    fn replaced(mut self) -> Self {
        self.record.generation = 2;
        let mut spec = workload(
            self.record.positions().count(),
            self.record.restart_policy(),
        );
        spec.grace_seconds = 5;
        self.record.spec = Some(spec.into());
        self
    }

    fn changed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn plan(&self) -> InstancePlan {
        plan_instance(&self.record, &self.observed, &self.circumstances, &now())
    }
}

/// A plan in a line: actions with what is in them, and when to look again.
fn said(plan: &InstancePlan) -> String {
    let since = |up: u64| format!("+{}", up - NOW);
    let of = |id: &ContainerId| format!("{}-{}", id.n, id.attempt);
    let mut words: Vec<String> = plan
        .actions
        .iter()
        .map(|planned| {
            assert!(!planned.why.is_empty());
            let name = planned.action.name();
            match &planned.action {
                Action::RecordExit {
                    container,
                    exit,
                    next_up,
                    backoff,
                    // The create that follows in the plan tells of it.
                    next: _,
                } => {
                    let code = exit.code.map_or("?".to_owned(), |c| c.to_string());
                    let reason = exit.reason.map_or("-".to_owned(), |r| r.to_string());
                    let next = next_up.map_or("never".to_owned(), since);
                    format!("{name} {} {code} {reason} {next} {backoff}", of(container))
                }
                Action::RequestStop {
                    container,
                    deadline_up,
                    reason,
                    terminate,
                } => {
                    let reason = reason.map_or("-".to_owned(), |r| r.to_string());
                    let name = if *terminate {
                        name
                    } else {
                        "request-stop-after-hook"
                    };
                    format!("{name} {} {} {reason}", of(container), since(*deadline_up))
                }
                Action::PullImage { pinned, .. } => {
                    format!("{name} {}", pinned.as_deref().unwrap_or("any"))
                }
                other => match other.container() {
                    Some(id) => format!("{name} {}", of(id)),
                    None => name.to_owned(),
                },
            }
        })
        .collect();
    words.extend(plan.wake_up.map(|up| format!("wake {}", since(up))));
    words.join(", ")
}

fn check(rows: Vec<(&str, Row, &str)>) {
    let failed: Vec<String> = rows
        .iter()
        .filter_map(|(name, row, expected)| {
            let plan = said(&row.plan());
            (plan != *expected).then(|| format!("{name}: {plan:?}, expected {expected:?}"))
        })
        .collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

fn image(change: impl FnOnce(&mut ImageRecord)) -> Row {
    always().changed(|row| change(row.record.images.get_mut("image").unwrap()))
}

#[test]
fn what_is_to_run_is_brought_to_run() {
    let unpinned = always().changed(|row| row.record.images.clear());
    let failed = image(|i| {
        i.snapshot = None;
        i.retry_up = Some(NOW + 10_000);
    });
    let no_sandbox = |mut row: Row| {
        row.observed.sandbox = false;
        row
    };
    let host = no_sandbox(always()).changed(|row| {
        let mut spec = workload(1, Always);
        spec.host_network = true;
        row.record.spec = Some(spec.into());
    });
    check(vec![
        ("image absent", unpinned, "pull-image any"),
        (
            "image lost: exactly the recorded one again",
            image(|i| i.snapshot = None),
            "pull-image sha256:00",
        ),
        ("its pull failed", failed, "wake +10000"),
        (
            "no sandbox",
            no_sandbox(always()),
            "create-sandbox, create 0-1",
        ),
        ("on the host's network", host, "create-sandbox, create 0-1"),
        ("never started", always(), "create 0-1"),
        (
            "two, never started",
            row(2, Always),
            "create 0-1, create 1-1",
        ),
        (
            "created",
            always().attempt(Phase::Created).seen(Status::Created),
            "start 0-1",
        ),
        (
            "running",
            always().attempt(Phase::Running).seen(Status::Running),
            "",
        ),
        (
            "refused",
            always().changed(|row| {
                row.record.spec = None;
                row.record.refusal = Some(Refusal {
                    reason: Reason::InvalidDefinition,
                    message: "no".to_owned(),
                });
            }),
            "",
        ),
        (
            "starts are held back",
            always().changed(|row| row.circumstances.hold_starts = true),
            "",
        ),
    ]);
}

#[test]
fn what_exited_follows_its_policy() {
    check(vec![
        (
            "the next start is due",
            always().exited(1, Some(NOW)).seen(Status::Stopped),
            "create 0-2",
        ),
        (
            "the next start is not due",
            always().exited(1, Some(NOW + 10_000)).seen(Status::Stopped),
            "remove 0-1, wake +10000",
        ),
        (
            "and nothing of the last one is left",
            always()
                .exited(1, Some(NOW + 10_000))
                .with(|c| c.phase = Phase::Waiting),
            "wake +10000",
        ),
        (
            "no other start",
            row(1, Never).exited(1, None).seen(Status::Stopped),
            "remove 0-1",
        ),
        (
            "no other start, nothing left of its containers",
            row(1, Never).exited(1, None),
            "remove-sandbox",
        ),
        (
            "its start failed half-way, and something lives",
            always().exited(1, Some(NOW)).seen(Status::Broken),
            "remove 0-1",
        ),
        (
            "completed, and the scheduler doesn't know",
            row(1, Never)
                .exited(0, None)
                .with(|c| c.phase = Phase::Done),
            "remove-sandbox",
        ),
        (
            "completed, and the scheduler knows",
            row(1, Never)
                .exited(0, None)
                .with(|c| c.phase = Phase::Done)
                .changed(|row| row.circumstances.acknowledged = true),
            "remove-sandbox, record-removed",
        ),
        (
            "completed, of a source that somebody looks at",
            row(1, Never)
                .exited(0, None)
                .with(|c| c.phase = Phase::Done)
                .changed(|row| {
                    row.circumstances.acknowledged = true;
                    row.record.source = Source::Manifest;
                }),
            "remove-sandbox",
        ),
    ]);
}

#[test]
fn delays_double_up_to_a_cap_and_reset_after_a_clean_run() {
    let exit = |backoff: u32, ran_ms: u64, policy, code| {
        let started = moment_in(BOOT, NOW - ran_ms);
        let row = row(1, policy).attempt(Phase::Running).with(|c| {
            c.backoff = backoff;
            c.started = Some((started.at, started.up));
        });
        said(&row.seen(Status::Stopped).exit_file(code).plan())
    };
    let rows = [
        (0, 1_000, Always, 1, "1 - +0 1, create 0-2"),
        (1, 1_000, Always, 0, "0 - +10000 2"),
        (2, 1_000, Always, 1, "1 - +20000 3"),
        (5, 1_000, Always, 1, "1 - +160000 6"),
        (6, 1_000, Always, 1, "1 - +300000 7"),
        (u32::MAX, 1_000, Always, 1, "1 - +300000 4294967295"),
        (6, 600_000, Always, 1, "1 - +0 1, create 0-2"),
        (6, 599_999, Always, 1, "1 - +300000 7"),
        (0, 1_000, OnFailure, 1, "1 - +0 1, create 0-2"),
        (3, 1_000, OnFailure, 0, "0 - never 0"),
        (0, 1_000, Never, 1, "1 - never 0"),
        (0, 1_000, Never, 0, "0 - never 0"),
    ];
    for (backoff, ran, policy, code, expected) in rows {
        let plan = exit(backoff, ran, policy, code);
        assert_eq!(plan, format!("record-exit 0-1 {expected}"));
    }
    for (failures, ms) in [(1, 10_000), (2, 20_000), (6, 300_000), (u32::MAX, 300_000)] {
        assert_eq!(backoff::after_failures(failures), ms, "{failures}");
    }
}

#[test]
fn a_newer_generation_follows_when_nothing_of_the_former_is_left() {
    let two = row(2, Always);
    check(vec![
        (
            "it runs: the former definition's grace",
            always()
                .attempt(Phase::Running)
                .seen(Status::Running)
                .replaced(),
            "request-stop 0-1 +30000 Replacing",
        ),
        (
            "it ended",
            always()
                .exited(0, Some(NOW))
                .seen(Status::Stopped)
                .replaced(),
            "remove 0-1",
        ),
        (
            "a delay of the former holds nothing back",
            always().exited(1, Some(NOW + 300_000)).replaced(),
            "remove-sandbox, create-sandbox, create 0-2",
        ),
        (
            "it was intended, and nothing came of it: nobody would ever record its end",
            always().attempt(Phase::Intended).replaced(),
            "remove-sandbox, create-sandbox, create 0-2",
        ),
        (
            "one ended, the other doesn't yet",
            two.clone()
                .exited(0, Some(NOW))
                .attempt(Phase::Running)
                .seen(Status::Running)
                .stop(NOW + 3_000)
                .changed(|row| {
                    row.circumstances.signalled.insert(id(1, 1));
                })
                .replaced(),
            "wake +3000",
        ),
        (
            "fewer containers: the surplus one is stopped",
            two.attempt(Phase::Running)
                .seen(Status::Running)
                .attempt(Phase::Running)
                .seen(Status::Running)
                .changed(|row| {
                    row.record.generation = 2;
                    row.record.containers[0].generation = 2;
                    row.record.spec = Some(workload(1, Always).into());
                }),
            "request-stop 1-1 +30000 Replacing",
        ),
    ]);
}

#[test]
fn what_is_to_be_gone_is_ended_and_removed() {
    let running = || {
        always()
            .attempt(Phase::Running)
            .seen(Status::Running)
            .gone()
    };
    let nothing = always().gone().changed(|row| {
        row.observed = ObservedInstance::default();
    });
    check(vec![
        ("it runs", running(), "request-stop 0-1 +30000 -"),
        (
            "SIGTERM was sent",
            running().stop(NOW + 9_000).signalled(),
            "wake +9000",
        ),
        (
            "a former daemon recorded the stop",
            running().stop(NOW + 9_000),
            "terminate 0-1, wake +9000",
        ),
        (
            "its grace is over",
            running().stop(NOW),
            "kill 0-1, wake +30000",
        ),
        (
            "it ended",
            always()
                .attempt(Phase::Running)
                .stop(NOW)
                .seen(Status::Stopped)
                .exit_file(143)
                .gone(),
            "record-exit 0-1 143 - never 0",
        ),
        (
            "its end is recorded",
            always().exited(0, None).seen(Status::Stopped).gone(),
            "remove 0-1",
        ),
        (
            "no container is left",
            always().exited(0, None).gone(),
            "remove-sandbox, record-removed",
        ),
        ("nothing is left", nothing, "record-removed"),
        (
            "it was never started",
            always()
                .attempt(Phase::Created)
                .seen(Status::Created)
                .gone(),
            "remove 0-1",
        ),
        (
            "its start is under way",
            always()
                .attempt(Phase::Intended)
                .seen(Status::Creating)
                .gone(),
            "remove 0-1",
        ),
        (
            "its start was intended, and nothing came of it",
            always().attempt(Phase::Intended).gone(),
            "remove-sandbox, record-removed",
        ),
        (
            "the runtime can't command it",
            always().attempt(Phase::Running).seen(Status::Broken).gone(),
            "remove 0-1, record-exit 0-1 ? RuntimeStateLost never 0",
        ),
        (
            "frozen",
            always()
                .attempt(Phase::Running)
                .seen(Status::Paused)
                .stop(NOW)
                .gone(),
            "kill 0-1, wake +30000",
        ),
        (
            "an attempt that the journal doesn't know lives",
            always().seen_as(0, 3, Status::Running).gone(),
            "remove 0-3",
        ),
    ]);
}

#[test]
fn what_is_evicted_is_ended_gives_its_volumes_back_and_starts_never_again() {
    let evicted = |row: Row| {
        row.changed(|row| {
            row.record.evicted = Some(crate::model::fold::Eviction {
                message: "too much".to_owned(),
                seq: 9,
            });
        })
    };
    let dead = || always().attempt(Phase::Done);
    check(vec![
        (
            "it runs",
            evicted(always().attempt(Phase::Running).seen(Status::Running)),
            "request-stop 0-1 +30000 Evicted",
        ),
        (
            "it is on its way",
            evicted(always().attempt(Phase::Created).seen(Status::Created)),
            "remove 0-1",
        ),
        (
            "it was about to be made",
            evicted(always().attempt(Phase::Intended)),
            "remove 0-1",
        ),
        (
            "it ended meanwhile, with 0 or not",
            evicted(
                always()
                    .attempt(Phase::Running)
                    .seen(Status::Stopped)
                    .exit_file(0),
            ),
            "record-exit 0-1 0 - never 0",
        ),
        (
            "it backs off",
            evicted(always().exited(1, Some(NOW - 1)).seen(Status::Stopped)),
            "remove 0-1",
        ),
        ("nothing of it is left", evicted(dead()), "remove-sandbox"),
        (
            "nor of its volumes",
            evicted(dead().changed(|row| row.observed.leftovers = false)),
            "",
        ),
        (
            "it never came to run",
            evicted(always().changed(|row| row.observed.leftovers = false)),
            "",
        ),
        (
            "and the node is drained",
            evicted(always().attempt(Phase::Running).seen(Status::Running))
                .changed(|row| row.circumstances.drained = true),
            "request-stop 0-1 +30000 Evicted",
        ),
    ]);
}

#[test]
fn a_drained_node_stops_what_runs_and_starts_nothing() {
    let drained = |mut row: Row| {
        row.circumstances.drained = true;
        row
    };
    check(vec![
        (
            "it runs",
            drained(always().attempt(Phase::Running).seen(Status::Running)),
            "request-stop 0-1 +30000 NodeDrained",
        ),
        (
            "it was never started",
            drained(always().changed(|row| row.record.images.clear())),
            "",
        ),
        ("it ended", drained(always().exited(1, Some(NOW))), ""),
        (
            "it ended by the drain, and runs again after it whatever its policy",
            row(1, Never)
                .attempt(Phase::Running)
                .seen(Status::Stopped)
                .exit_file(0)
                .with(|c| {
                    c.stop = Some(Stop {
                        deadline_up: NOW,
                        asked_up: NOW,
                        reason: Some(Reason::NodeDrained),
                        unkillable: false,
                    });
                }),
            "record-exit 0-1 0 NodeDrained +0 0, create 0-2",
        ),
    ]);
}

#[test]
fn without_a_record_only_what_was_removed_is_removed() {
    let row = always().seen_as(0, 1, Status::Running);
    let plan = |removed| said(&plan_unknown(&uid(1), &row.observed, removed));
    assert_eq!(plan(true), "remove 0-1, remove-sandbox");
    assert_eq!(plan(false), "", "unclaimed: left running");
}

#[test]
fn an_instance_in_doubt_is_left_as_it_is() {
    let doubt = |mut row: Row| {
        row.record.doubt = Some("line 7 is lost".to_owned());
        row
    };
    let gone = |mut row: Row| {
        row.record.desired = Desired::Gone;
        row
    };
    let runs = always().attempt(Phase::Running).seen(Status::Running);
    check(vec![
        ("never started", doubt(always()), ""),
        ("running", doubt(runs.clone()), ""),
        ("to be gone", doubt(gone(runs.clone())), ""),
        (
            "ended",
            doubt(always().attempt(Phase::Running).seen(Status::Stopped)),
            "",
        ),
        (
            "an attempt that isn't known",
            doubt(runs.seen_as(0, 3, Status::Stopped)),
            "",
        ),
    ]);
}

#[test]
fn what_is_disowned_gets_sigterm_and_sigkill_at_the_deadline_and_then_nothing_is_left() {
    let row = always()
        .seen_as(0, 1, Status::Running)
        .seen_as(1, 1, Status::Stopped);
    let plan = |deadline, signalled: bool| {
        let ids = BTreeSet::from([id(0, 1)]);
        let signalled = if signalled { ids } else { BTreeSet::new() };
        plan_disowned(&row.observed, deadline, &signalled, &now())
    };
    let first = plan(NOW + 5, false);
    assert_eq!(said(&first), "terminate 0-1, remove 1-1, wake +5");
    assert_eq!(said(&plan(NOW + 5, true)), "remove 1-1, wake +5");
    assert_eq!(said(&plan(NOW, true)), "remove 0-1, remove 1-1");
    let mut rest = ObservedInstance {
        leftovers: true,
        ..ObservedInstance::default()
    };
    let last = |seen: &ObservedInstance| said(&plan_disowned(seen, NOW, &BTreeSet::new(), &now()));
    assert_eq!(last(&rest), "remove-sandbox, record-removed");
    rest.leftovers = false;
    assert_eq!(last(&rest), "record-removed");
}

#[test]
fn attempts_besides_the_current_one_go_by_evidence_only() {
    let second = |status| {
        always()
            .attempt(Phase::Running)
            .with(|c| c.attempt = 2)
            .seen_as(0, 2, Status::Running)
            .seen_as(0, 1, status)
    };
    check(vec![
        ("superseded, alive", second(Status::Running), "remove 0-1"),
        ("superseded, dead", second(Status::Stopped), "remove 0-1"),
        (
            "unknown and alive: left alone, and none is started beside it",
            always().seen_as(0, 3, Status::Running),
            "",
        ),
        (
            "unknown and dead",
            always()
                .attempt(Phase::Running)
                .seen(Status::Running)
                .seen_as(0, 3, Status::Stopped),
            "remove 0-3",
        ),
    ]);
}

#[test]
fn what_a_crashed_daemon_left_is_taken_up_as_it_is() {
    let running = || always().attempt(Phase::Running);
    check(vec![
        ("running", running().seen(Status::Running), ""),
        (
            "running, never recorded started",
            always().attempt(Phase::Created).seen(Status::Running),
            "record-started 0-1",
        ),
        (
            "running, never recorded created",
            always().attempt(Phase::Intended).seen(Status::Running),
            "record-started 0-1",
        ),
        (
            "paused, never recorded created",
            always().attempt(Phase::Intended).seen(Status::Paused),
            "record-started 0-1",
        ),
        (
            "running, monitor dead",
            running().seen(Status::Running).monitor(false),
            "record-monitor-lost 0-1",
        ),
        (
            "running, monitor dead, recorded",
            running()
                .with(|c| c.monitor_lost = true)
                .seen(Status::Running)
                .monitor(false),
            "",
        ),
        (
            "created, not started",
            always().attempt(Phase::Created).seen(Status::Created),
            "start 0-1",
        ),
        (
            "created, not started, never recorded created",
            always().attempt(Phase::Intended).seen(Status::Created),
            "record-created 0-1",
        ),
        (
            "created, monitor dead: its start will fail",
            always()
                .attempt(Phase::Created)
                .seen(Status::Created)
                .monitor(false),
            "start 0-1",
        ),
        (
            "intended, its create under way",
            always().attempt(Phase::Intended).seen(Status::Creating),
            "remove 0-1",
        ),
        (
            "intended, created by halves, monitor dead",
            always()
                .attempt(Phase::Intended)
                .seen(Status::Created)
                .monitor(false),
            "remove 0-1",
        ),
        (
            "intended, nothing made: the next number, no backoff",
            always().attempt(Phase::Intended),
            "create 0-2",
        ),
        (
            "exit file, exit not recorded",
            running().seen(Status::Stopped).exit_file(3),
            "record-exit 0-1 3 - +0 1, create 0-2",
        ),
        (
            "exit file, the runtime has forgotten it",
            running().seen(Status::Absent).exit_file(137),
            "record-exit 0-1 137 - +0 1, create 0-2",
        ),
        (
            "exit file, not even its start recorded",
            row(1, Never)
                .attempt(Phase::Intended)
                .seen(Status::Stopped)
                .exit_file(0),
            "record-exit 0-1 0 - never 0",
        ),
        (
            "not even its start recorded, and its monitor is about to tell how it ended",
            row(1, Never)
                .attempt(Phase::Intended)
                .seen(Status::Stopped)
                .monitor(true),
            "wake +200",
        ),
        (
            "not even its start recorded, and its monitor is stuck",
            row(1, Never)
                .attempt(Phase::Intended)
                .seen(Status::Stopped)
                .monitor(true)
                .changed(|row| {
                    row.circumstances.awaited.insert(id(0, 1), NOW - 10_000);
                }),
            "remove 0-1",
        ),
        (
            "gone, no exit file",
            running(),
            "record-exit 0-1 ? MonitorLost +0 1, create 0-2",
        ),
        (
            "gone, no exit file, Never",
            row(1, Never).attempt(Phase::Running).seen(Status::Stopped),
            "record-exit 0-1 ? MonitorLost never 0",
        ),
        (
            "ended, its monitor is about to tell how",
            running().seen(Status::Stopped).monitor(true),
            "wake +200",
        ),
        (
            "ended, its monitor is stuck",
            running()
                .seen(Status::Stopped)
                .monitor(true)
                .changed(|row| {
                    row.circumstances.awaited.insert(id(0, 1), NOW - 10_000);
                }),
            "record-exit 0-1 ? MonitorLost +0 1, create 0-2",
        ),
        ("paused", running().seen(Status::Paused), ""),
        (
            "the runtime's state is lost",
            running().seen(Status::Broken),
            "remove 0-1, record-exit 0-1 ? RuntimeStateLost +0 0, create 0-2",
        ),
        (
            "the runtime's state is lost, Never: what it had done isn't done again",
            row(1, Never).attempt(Phase::Running).seen(Status::Broken),
            "remove 0-1, record-exit 0-1 ? RuntimeStateLost never 0",
        ),
        (
            "something lives of what its monitor saw end: its exit goes with a remove",
            running().seen(Status::Broken).exit_file(37),
            "record-exit 0-1 37 - +0 1",
        ),
    ]);
}

#[test]
fn after_a_reboot_what_ran_runs_again_at_once() {
    let ran = |policy| row(1, policy).attempt(Phase::Running).rebooted();
    let with_file = |policy, code| ran(policy).seen(Status::Absent).exit_file(code);
    check(vec![
        (
            "no exit file",
            ran(Always).with(|c| c.backoff = 4),
            "record-exit 0-1 ? NodeRebooted +0 0, create 0-2",
        ),
        (
            "no exit file, OnFailure",
            ran(OnFailure),
            "record-exit 0-1 ? NodeRebooted +0 0, create 0-2",
        ),
        (
            "no exit file, Never",
            ran(Never),
            "record-exit 0-1 ? NodeRebooted never 0",
        ),
        (
            "an exit that reached the disk counts",
            with_file(OnFailure, 0),
            "record-exit 0-1 0 - never 0",
        ),
        (
            "and follows the policy, with its backoff",
            with_file(Always, 1).with(|c| c.backoff = 1),
            "record-exit 0-1 1 - +10000 2",
        ),
        (
            "a start of another boot is no clean run",
            with_file(Always, 1).with(|c| {
                c.backoff = 1;
                c.started = Some((now().at, 5));
            }),
            "record-exit 0-1 1 - +10000 2",
        ),
        (
            "taken down in order",
            with_file(Always, 143).in_order(),
            "record-exit 0-1 143 NodeRebooted +0 0, create 0-2",
        ),
        (
            "taken down in order with 0, OnFailure",
            with_file(OnFailure, 0).in_order(),
            "record-exit 0-1 0 NodeRebooted +0 0, create 0-2",
        ),
        (
            "taken down in order with 0, Never",
            with_file(Never, 0).in_order(),
            "record-exit 0-1 0 NodeRebooted never 0",
        ),
        (
            "processes in its cgroup under another boot id",
            ran(Always).seen(Status::Running),
            "remove 0-1, record-exit 0-1 ? NodeRebooted +0 0, create 0-2",
        ),
        (
            "created, not started",
            always().attempt(Phase::Created).rebooted(),
            "record-exit 0-1 ? NodeRebooted +0 0, create 0-2",
        ),
        (
            "intended",
            always()
                .attempt(Phase::Intended)
                .rebooted()
                .seen(Status::Absent),
            "remove 0-1",
        ),
        (
            "its end was recorded before",
            row(1, Never)
                .exited(1, None)
                .rebooted()
                .seen(Status::Absent),
            "remove 0-1",
        ),
    ]);
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Absent,
        Status::Creating,
        Status::Created,
        Status::Running,
        Status::Paused,
        Status::Stopped,
        Status::Broken,
    ])
}

fn observation() -> impl Strategy<Value = ObservedInstance> {
    let container = (
        0..3_u16,
        0..5_u32,
        status(),
        any::<bool>(),
        prop::option::of(0..200_i32),
    );
    let containers = prop::collection::vec(container, 0..5);
    (containers, any::<bool>(), any::<bool>()).prop_map(|(containers, sandbox, leftovers)| {
        let containers = containers
            .into_iter()
            .map(|(n, attempt, status, monitor, exit)| {
                let lives = matches!(status, Status::Created | Status::Running | Status::Paused);
                let seen = ObservedContainer {
                    status,
                    process: lives.then_some(PROCESS),
                    monitor,
                    exit: exit.map(|code| Exit::from_code(code, false)),
                    leftovers: true,
                };
                (container_id(&uid(0), n, attempt), seen)
            })
            .collect();
        ObservedInstance {
            containers,
            sandbox,
            leftovers,
        }
    })
}

fn circumstances() -> impl Strategy<Value = Circumstances> {
    (any::<[bool; 3]>(), 0..3_u8).prop_map(|([drained, acknowledged, hold_starts], boot)| {
        Circumstances {
            drained,
            acknowledged,
            hold_starts,
            stopping_boot: Some(format!("boot-{boot}")),
            ..Circumstances::default()
        }
    })
}

fn dice() -> impl Strategy<Value = Vec<Die>> {
    let number = prop_oneof![4 => 0..2_000_u64, 1 => any::<u64>()];
    let attempt = prop_oneof![8 => 0..4_u32, 1 => Just(u32::MAX)];
    let die = (any::<u8>(), 0..3_u16, attempt, number, any::<u8>()).prop_map(
        |(kind, n, attempt, number, choice)| Die {
            kind,
            uid: 0,
            n,
            attempt,
            number,
            choice,
        },
    );
    prop::collection::vec(die, 1..30)
}

proptest! {
    #[test]
    fn whatever_is_recorded_and_seen_a_plan_is_sane(
        dice in dice(),
        observed in observation(),
        circumstances in circumstances(),
    ) {
        let mut fold = Fold::default();
        let begin = Die { kind: 1, uid: 0, n: 0, attempt: 0, number: 0, choice: 0 };
        for (i, event) in [begin].iter().chain(&dice).map(Die::event).enumerate() {
            let moment = moment_in(BOOT, NOW - 1_000 + i as u64);
            let state = fold.effect(&event, &moment);
            fold.apply(&Line { seq: i as u64 + 1, moment, event, state, durable: None });
        }
        let Some(record) = fold.instances.get(&uid(0)) else { return Ok(()) };
        let plan = plan_instance(record, &observed, &circumstances, &now());
        let again = plan_instance(record, &observed, &circumstances, &now());
        prop_assert_eq!(&plan, &again);
        let mut begun = BTreeSet::new();
        for planned in &plan.actions {
            let id = planned.action.container();
            prop_assert!(id.is_none_or(|id| id.uid == record.uid));
            match &planned.action {
                Action::Create { intent } => {
                    let id = &intent.container;
                    prop_assert!(begun.insert(id.n), "two starts at one position");
                    let seen = observed.containers.keys().filter(|seen| seen.n == id.n);
                    prop_assert!(seen.into_iter().all(|seen| seen.attempt < id.attempt));
                    prop_assert!(record.container(id.n).is_none_or(|c| c.attempt < id.attempt));
                    prop_assert!(!circumstances.drained && !circumstances.hold_starts);
                    prop_assert!(record.desired == Desired::Run);
                }
                Action::Start { .. } | Action::PullImage { .. } | Action::CreateSandbox => {
                    prop_assert!(record.desired == Desired::Run);
                }
                Action::RecordExit { container, .. }
                | Action::RequestStop { container, .. }
                | Action::Kill { container }
                | Action::Remove { container } => {
                    let known = record.container(container.n);
                    let wanted = record.desired == Desired::Run
                        && !circumstances.drained
                        && known.is_some_and(|c| {
                            c.attempt == container.attempt
                                && c.generation >= record.generation
                                && c.phase == Phase::Running
                                && c.boot == BOOT
                        });
                    let runs = observed.containers.get(container).is_some_and(|seen| {
                        matches!(seen.status, Status::Running | Status::Paused)
                    });
                    prop_assert!(!(wanted && runs), "{} ends what is to run", planned.action);
                }
                _ => {}
            }
        }
    }
}
