use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    model::{
        ids::{ContainerId, NodeUid},
        line::{Exit, Intent, ProcessId},
        phase::Phase,
        spec::RestartPolicy,
        state::Reason,
    },
    testing::{
        builders::{container_id, moment, moment_in, uid, workload},
        lines::Die,
    },
};

/// A fold that writes its own lines, as the ledger does.
#[derive(Default)]
struct Pen {
    fold: Fold,
    lines: Vec<Line>,
}

impl Pen {
    fn write_at(&mut self, moment: Moment, event: Event) -> Option<StateReport> {
        let state = self.fold.effect(&event, &moment);
        let line = Line {
            seq: self.fold.seq + 1,
            moment,
            event,
            state: state.clone(),
            durable: None,
        };
        self.fold.apply(&line);
        self.lines.push(line);
        state
    }

    fn write(&mut self, event: Event) -> Option<State> {
        let up = 1_000 + self.fold.seq;
        self.write_at(moment(up), event).map(|r| r.state)
    }

    fn record(&self, n: u64) -> &InstanceRecord {
        &self.fold.instances[&uid(n)]
    }

    /// Accepts, has its image and starts its first container.
    fn run(&mut self, n: u64, policy: RestartPolicy) -> ContainerId {
        let id = container_id(&uid(n), 0, 1);
        self.write(accepted(n, Source::Scheduler, policy));
        self.write(intended(&id));
        self.write(created(&id));
        self.write(started(&id));
        id
    }
}

fn instance(n: u64, source: Source) -> InstanceId {
    InstanceId::local(&format!("web-{n}"), source).unwrap()
}

fn accepted(n: u64, source: Source, policy: RestartPolicy) -> Event {
    Event::Accepted {
        uid: uid(n),
        instance: instance(n, source),
        source,
        definition: "d".to_owned(),
        spec: Box::new(workload(1, policy)),
        warnings: Vec::new(),
    }
}

fn intended(id: &ContainerId) -> Event {
    Event::AttemptIntended {
        uid: id.uid.clone(),
        intent: Intent {
            container: id.clone(),
            snapshot: "sha256-00".to_owned(),
            netns: None,
        },
    }
}

const PROCESS: ProcessId = ProcessId {
    pid: 7,
    start_time: 70,
};

fn created(id: &ContainerId) -> Event {
    Event::Created {
        container: id.clone(),
        process: PROCESS,
        monitor: Some(6),
    }
}

fn started(id: &ContainerId) -> Event {
    Event::Started {
        container: id.clone(),
        process: PROCESS,
        adopted: false,
    }
}

fn exited(id: &ContainerId, code: i32, next_up: Option<u64>) -> Event {
    Event::Exited {
        container: id.clone(),
        exit: Exit::from_code(code, false),
        next_up,
        backoff: 1,
    }
}

fn destroyed(n: u64, source: Source) -> Event {
    Event::DestroyAccepted {
        uid: uid(n),
        source,
    }
}

fn queued(n: u64) -> Event {
    Event::Queued {
        uid: uid(n),
        definition: "next".to_owned(),
        spec: Box::new(workload(2, RestartPolicy::Always)),
        source: Source::Scheduler,
    }
}

#[test]
fn a_life_is_told_by_its_states() {
    let mut pen = Pen::default();
    let id = container_id(&uid(1), 0, 1);
    let creating = pen.write(accepted(1, Source::Scheduler, RestartPolicy::Always));
    assert_eq!(creating, Some(State::Creating));
    assert_eq!(pen.write(intended(&id)), None);
    assert_eq!(pen.write(created(&id)), None);
    assert_eq!(pen.write(started(&id)), Some(State::Running));
    assert_eq!(
        pen.write(exited(&id, 1, Some(9_000))),
        Some(State::Failed),
        "against its policy"
    );
    let destroying = pen.write(destroyed(1, Source::Scheduler));
    assert_eq!(destroying, Some(State::Destroying));
    let removed = Event::Removed { uid: uid(1) };
    assert_eq!(pen.write(removed.clone()), Some(State::Terminated));
    assert_eq!(pen.write(removed), None, "nothing ends twice");
    let states: Vec<State> = pen.fold.outboxes[&uid(1)]
        .entries
        .iter()
        .map(|e| e.report.state)
        .collect();
    assert_eq!(
        states,
        [
            State::Creating,
            State::Running,
            State::Failed,
            State::Destroying,
            State::Terminated
        ]
    );
}

#[test]
fn what_completed_says_terminated_once_and_nothing_after_it() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Never);
    assert_eq!(pen.write(exited(&id, 0, None)), Some(State::Terminated));
    let removed = Event::StepRemoved {
        container: id.clone(),
    };
    assert_eq!(pen.write(removed), None);
    assert_eq!(pen.write(destroyed(1, Source::Scheduler)), None);
    let through = pen.fold.seq;
    pen.write(Event::Acknowledged {
        uid: uid(1),
        through,
    });
    assert_eq!(pen.write(Event::Removed { uid: uid(1) }), None);
    let tombstone = &pen.fold.tombstones[&instance(1, Source::Scheduler)];
    assert_eq!(tombstone.report.reason, Some(Reason::Completed));
    assert!(
        pen.fold.outboxes.is_empty(),
        "acknowledged before it was gone"
    );
}

#[test]
fn only_the_schedulers_own_destroy_says_destroying_to_it() {
    let mut pen = Pen::default();
    pen.run(1, RestartPolicy::Always);
    assert_eq!(pen.write(destroyed(1, Source::Operator)), None);
    assert_eq!(
        pen.write(destroyed(1, Source::Scheduler)),
        Some(State::Destroying)
    );
}

#[test]
fn only_the_schedulers_instances_have_an_outbox() {
    let mut pen = Pen::default();
    pen.write(accepted(1, Source::Cli, RestartPolicy::Always));
    pen.write(accepted(2, Source::Manifest, RestartPolicy::Always));
    assert!(pen.fold.outboxes.is_empty());
    assert!(pen.fold.acknowledged(&uid(1)));
    pen.write(accepted(3, Source::Scheduler, RestartPolicy::Always));
    assert_eq!(pen.fold.outboxes.len(), 1);
    assert!(!pen.fold.acknowledged(&uid(3)));
}

#[test]
fn an_outbox_drops_its_middle_and_counts_what_is_missing() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Always);
    for n in 0..100_u32 {
        let id = ContainerId {
            attempt: n + 2,
            ..id.clone()
        };
        pen.write(exited(
            &ContainerId {
                attempt: n + 1,
                ..id.clone()
            },
            1,
            Some(0),
        ));
        pen.write(intended(&id));
        pen.write(started(&id));
    }
    let told: Vec<Seq> = pen
        .lines
        .iter()
        .filter(|l| l.state.is_some())
        .map(|l| l.seq)
        .collect();
    let outbox = &pen.fold.outboxes[&uid(1)];
    let kept: Vec<Seq> = outbox.entries.iter().map(|e| e.seq).collect();
    assert_eq!(kept.len(), MAX_ENTRIES);
    assert_eq!(outbox.dropped(), (told.len() - MAX_ENTRIES) as u64);
    let gaps: Vec<u64> = outbox.entries.iter().map(|e| e.gap).collect();
    assert_eq!(
        gaps[MAX_ENTRIES / 2],
        outbox.dropped(),
        "told where they are missing"
    );
    assert_eq!(kept[..2], told[..2], "the oldest stay");
    assert_eq!(
        kept[kept.len() - 2..],
        told[told.len() - 2..],
        "and the newest"
    );
    assert!(kept.is_sorted());
    let through = pen.fold.seq;
    pen.write(Event::Acknowledged {
        uid: uid(1),
        through,
    });
    let outbox = &pen.fold.outboxes[&uid(1)];
    assert_eq!((outbox.entries.len(), outbox.dropped()), (0, 0));
    assert_eq!(
        outbox.acknowledged.as_ref().map(|e| e.seq),
        told.last().copied()
    );
}

#[test]
fn an_attempt_that_is_removed_before_it_ran_leaves_no_pid_and_is_no_failure() {
    for created_too in [false, true] {
        let mut pen = Pen::default();
        let first = pen.run(1, RestartPolicy::Always);
        let state = pen.write(exited(&first, 37, Some(0)));
        assert_eq!(state, Some(State::Failed));
        let again = container_id(&uid(1), 0, 2);
        assert_eq!(pen.write(intended(&again)), Some(State::Creating));
        if created_too {
            pen.write(created(&again));
        }
        pen.write(Event::StopRequested {
            container: again.clone(),
            deadline_up: 1,
            reason: None,
            unkillable: false,
        });
        let state = pen.write(Event::StepRemoved { container: again });
        assert_eq!(state, None, "the former attempt's exit is old news");
        let container = &pen.record(1).containers[0];
        assert_eq!(container.phase, Phase::Waiting);
        assert_eq!((container.process, container.stop.as_ref()), (None, None));
    }
}

#[test]
fn an_outbox_outlives_its_incarnation_until_it_is_acknowledged() {
    let mut pen = Pen::default();
    pen.run(1, RestartPolicy::Always);
    pen.write(destroyed(1, Source::Scheduler));
    pen.write(Event::Removed { uid: uid(1) });
    assert!(pen.fold.outboxes.contains_key(&uid(1)));
    let last = pen.fold.seq;
    let acknowledged = |through| Event::Acknowledged {
        uid: uid(1),
        through,
    };
    pen.write(acknowledged(last - 1));
    assert_eq!(pen.fold.outboxes[&uid(1)].entries.len(), 1);
    pen.write(acknowledged(last));
    assert!(pen.fold.outboxes.is_empty());
}

#[test]
fn tombstones_are_bounded_in_number_and_age() {
    let mut pen = Pen::default();
    for n in 0..1_200 {
        pen.write(accepted(n, Source::Cli, RestartPolicy::Always));
        pen.write(Event::Removed { uid: uid(n) });
    }
    assert_eq!(pen.fold.tombstones.len(), MAX_TOMBSTONES);
    let kept = |n| pen.fold.tombstones.contains_key(&instance(n, Source::Cli));
    assert!(!kept(199) && kept(200) && kept(1_199));

    let day = u64::try_from(TOMBSTONE_AGE_MS).unwrap();
    pen.write_at(
        moment(1_000),
        accepted(2_000, Source::Cli, RestartPolicy::Always),
    );
    pen.write_at(moment(5_000 + day), Event::Removed { uid: uid(2_000) });
    let ids: Vec<&InstanceId> = pen.fold.tombstones.keys().collect();
    assert_eq!(ids, [&instance(2_000, Source::Cli)]);
}

#[test]
fn what_was_removed_is_known_as_such_also_when_its_id_lives_again() {
    let mut pen = Pen::default();
    let begin = |pen: &mut Pen, n: u64| {
        pen.write(Event::Accepted {
            uid: uid(n),
            instance: instance(1, Source::Scheduler),
            source: Source::Scheduler,
            definition: "any".to_owned(),
            spec: Box::new(workload(1, RestartPolicy::Always)),
            warnings: Vec::new(),
        });
    };
    for n in 1..=20 {
        begin(&mut pen, n);
        assert!(!pen.fold.was_removed(&uid(n)));
        pen.write(Event::Removed { uid: uid(n) });
        assert!(pen.fold.was_removed(&uid(n)));
    }
    begin(&mut pen, 21);
    // A power cut may bring back directories of any of these; their id has a live incarnation.
    let known = |n| pen.fold.was_removed(&uid(n));
    assert!((5..=20).all(known) && !known(21));
    assert!(!known(4), "only the newest are remembered");
    let (again, errors) = Fold::from_pieces(pen.fold.seq, pen.fold.pieces());
    assert!(errors.is_empty() && again.was_removed(&uid(20)));
}

#[test]
fn a_queued_create_survives_in_the_tombstone_however_old_until_it_begins() {
    let mut pen = Pen::default();
    pen.run(1, RestartPolicy::Always);
    pen.write(destroyed(1, Source::Scheduler));
    pen.write(queued(1));
    pen.write(Event::Removed { uid: uid(1) });
    let waits = |pen: &Pen| {
        let waiting: Vec<_> = pen.fold.waiting().collect();
        waiting
            .first()
            .map(|(id, q)| ((*id).clone(), q.definition.to_string()))
    };
    let expected = Some((instance(1, Source::Scheduler), "next".to_owned()));
    assert_eq!(waits(&pen), expected);
    // Neither age nor number takes an accepted create away.
    let day = u64::try_from(TOMBSTONE_AGE_MS).unwrap();
    for n in 10..1_300 {
        pen.write_at(
            moment(2 * day + n),
            accepted(n, Source::Cli, RestartPolicy::Always),
        );
        pen.write_at(moment(2 * day + n), Event::Removed { uid: uid(n) });
    }
    assert_eq!(waits(&pen), expected);
    let begun = Event::Accepted {
        uid: uid(5_000),
        instance: instance(1, Source::Scheduler),
        source: Source::Scheduler,
        definition: "next".to_owned(),
        spec: Box::new(workload(2, RestartPolicy::Always)),
        warnings: Vec::new(),
    };
    pen.write_at(moment(2 * day + 2_000), begun);
    assert_eq!(waits(&pen), None);
    let waited = instance(1, Source::Scheduler);
    assert!(!pen.fold.tombstones.contains_key(&waited));
}

#[test]
fn a_destroy_after_a_queued_create_takes_it_back() {
    let mut pen = Pen::default();
    pen.run(1, RestartPolicy::Always);
    pen.write(destroyed(1, Source::Scheduler));
    pen.write(queued(1));
    pen.write(destroyed(1, Source::Scheduler));
    pen.write(Event::Removed { uid: uid(1) });
    assert_eq!(pen.fold.waiting().count(), 0);
}

#[test]
fn delays_count_anew_after_a_reboot_and_are_at_most_300_seconds() {
    let header = Event::SegmentHeader {
        format: 1,
        min_reader: 1,
        journal: "00".to_owned(),
        node: NodeUid::from_entropy(1),
        first_seq: 1,
        prev_sum: "0".repeat(16),
        prev_bytes: 0,
    };
    let (at, boot_at) = (1_000_000, 2_000);
    for (next_up, left) in [
        (at - 5_000, 0),
        (at, 0),
        (at + 7_000, 7_000),
        (at + 900_000, 300_000),
        (u64::MAX, 300_000),
    ] {
        let mut pen = Pen::default();
        let id = pen.run(1, RestartPolicy::Always);
        let image_failed = Event::ImageFailed {
            uid: uid(1),
            image: "image".to_owned(),
            reason: None,
            message: "registry down".to_owned(),
            retryable: true,
            retry_up: next_up,
        };
        pen.write_at(moment(900_000), image_failed);
        pen.write_at(moment(at), exited(&id, 1, Some(next_up)));
        // The new daemon's segment begins before it records the reboot.
        pen.write_at(moment_in("boot-2", boot_at - 10), header.clone());
        pen.write_at(moment_in("boot-2", boot_at), Event::Boot {});
        let record = pen.record(1);
        assert_eq!(
            record.containers[0].next_up,
            Some(boot_at + left),
            "{next_up}"
        );
        assert_eq!(
            record.images["image"].retry_up,
            Some(boot_at + left),
            "{next_up}"
        );
    }
}

#[test]
fn a_stops_deadline_counts_anew_after_a_reboot() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Always);
    let stop = Event::StopRequested {
        container: id,
        deadline_up: 40_000,
        reason: None,
        unkillable: false,
    };
    pen.write_at(moment(10_000), stop);
    pen.write_at(moment_in("boot-2", 100), Event::Boot {});
    let stop = pen.record(1).containers[0].stop.as_ref();
    assert_eq!(stop.map(|s| s.deadline_up), Some(30_100));
}

#[test]
fn every_step_that_the_table_lacks_marks_the_instance_uncertain() {
    let id = container_id(&uid(1), 0, 1);
    let reach = |phase: Phase| {
        let mut pen = Pen::default();
        pen.write(accepted(1, Source::Scheduler, RestartPolicy::Never));
        let steps: &[Event] = match phase {
            Phase::Waiting => &[],
            Phase::Intended => &[intended(&id)],
            Phase::Created => &[intended(&id), created(&id)],
            Phase::Running => &[intended(&id), started(&id)],
            Phase::Exited => &[intended(&id), exited(&id, 1, None)],
            Phase::Done => &[
                intended(&id),
                exited(&id, 1, None),
                Event::StepRemoved {
                    container: id.clone(),
                },
            ],
        };
        for step in steps {
            pen.write(step.clone());
        }
        if phase != Phase::Waiting {
            assert_eq!(pen.record(1).containers[0].phase, phase);
        }
        assert!(
            !pen.record(1).uncertain,
            "{phase} is reached by legal steps"
        );
        pen
    };
    let next = ContainerId {
        attempt: 2,
        ..id.clone()
    };
    for from in Phase::ALL {
        let attempt = if from == Phase::Waiting { &id } else { &next };
        let steps = [
            (Phase::Intended, intended(attempt)),
            (Phase::Created, created(&id)),
            (Phase::Running, started(&id)),
            (Phase::Exited, exited(&id, 1, None)),
        ];
        for (to, step) in steps {
            let mut pen = reach(from);
            pen.write(step);
            let record = pen.record(1);
            assert_eq!(record.uncertain, !from.may_become(to), "{from} to {to}");
            if from != Phase::Waiting {
                assert_eq!(record.containers[0].phase, to, "it was seen all the same");
            }
        }
    }
}

#[test]
fn what_belongs_to_no_attempt_changes_none() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Always);
    let later = ContainerId {
        attempt: 9,
        ..id.clone()
    };
    for strange in [started(&later), exited(&later, 0, None), created(&later)] {
        let before = pen.record(1).containers.clone();
        pen.write(strange);
        assert_eq!(pen.record(1).containers, before);
        assert!(pen.record(1).uncertain);
    }
    let far = ContainerId { n: u16::MAX, ..id };
    pen.write(intended(&far));
    assert_eq!(
        pen.record(1).containers.len(),
        1,
        "no definition has so many"
    );
    assert!(pen.record(1).uncertain);
}

#[test]
fn an_incarnation_begins_once() {
    let mut pen = Pen::default();
    pen.run(1, RestartPolicy::Always);
    pen.write(accepted(1, Source::Scheduler, RestartPolicy::Always));
    assert!(pen.record(1).uncertain);
}

#[test]
fn a_legal_start_makes_certain_again() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Always);
    pen.write(created(&id));
    assert!(pen.record(1).uncertain);
    pen.write(exited(&id, 1, Some(0)));
    pen.write(intended(&ContainerId { attempt: 2, ..id }));
    assert!(!pen.record(1).uncertain);
}

#[test]
fn attempts_never_go_back() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Always);
    let fifth = ContainerId {
        attempt: 5,
        ..id.clone()
    };
    pen.write(exited(&id, 1, Some(0)));
    pen.write(intended(&fifth));
    pen.write(exited(&fifth, 1, Some(0)));
    pen.write(intended(&id));
    assert_eq!(pen.record(1).containers[0].attempt, 5);
    assert!(pen.record(1).uncertain);
}

#[test]
fn counters_stay_at_their_ends() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Always);
    let exit = Event::Exited {
        container: id.clone(),
        exit: Exit::from_code(1, false),
        next_up: Some(u64::MAX),
        backoff: u32::MAX,
    };
    pen.write(exit);
    let failed = Event::StartFailed {
        container: id,
        message: "no".to_owned(),
        retryable: true,
        retry_up: u64::MAX,
    };
    pen.write(failed);
    assert_eq!(pen.record(1).containers[0].backoff, u32::MAX);
    pen.write_at(moment_in("boot-2", u64::MAX), Event::Boot {});
    assert_eq!(pen.record(1).containers[0].next_up, Some(u64::MAX));
}

fn evicted(n: u64, generation: u32) -> Event {
    Event::Evicted {
        uid: uid(n),
        generation,
        message: "it took too much".to_owned(),
    }
}

#[test]
fn what_was_evicted_is_failed_whatever_its_containers_do_until_another_generation() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Never);
    let said = pen.write_at(moment(2_000), evicted(1, 1)).unwrap();
    assert_eq!(
        (said.state, said.reason),
        (State::Failed, Some(Reason::Evicted))
    );
    assert_eq!(said.message.as_deref(), Some("it took too much"));
    assert_eq!(pen.record(1).evicted.as_ref().unwrap().seq, pen.fold.seq);
    let exit = Event::Exited {
        container: id.clone(),
        exit: Exit::from_code(0, false),
        next_up: None,
        backoff: 0,
    };
    assert_eq!(pen.write(exit), None, "that is no completed work");
    assert_eq!(pen.write(Event::StepRemoved { container: id }), None);
    assert!(!pen.record(1).completed());
    // A verdict about what was replaced meanwhile says nothing.
    let spec = Box::new(workload(1, RestartPolicy::Never));
    let replaced = Event::Replaced {
        uid: uid(1),
        generation: 2,
        definition: "another".to_owned(),
        spec,
        warnings: Vec::new(),
    };
    assert_eq!(pen.write(replaced), Some(State::Creating));
    assert_eq!(pen.write(evicted(1, 1)), None);
    assert!(!pen.record(1).is_evicted());
}

#[test]
fn an_evicted_instance_waits_for_no_start() {
    let mut pen = Pen::default();
    let id = pen.run(1, RestartPolicy::Always);
    pen.write(Event::Exited {
        container: id,
        exit: Exit::from_code(1, false),
        next_up: Some(90_000),
        backoff: 2,
    });
    pen.write(evicted(1, 1));
    assert_eq!(pen.record(1).containers[0].next_up, None);
}

#[test]
fn the_newest_refusals_are_kept() {
    let mut pen = Pen::default();
    for n in 0..150 {
        pen.write(Event::Refused {
            uid: None,
            instance: format!("../{n}"),
            source: Source::Scheduler,
            reason: Reason::InvalidDefinition,
            message: "no".to_owned(),
        });
    }
    let refused = &pen.fold.node.refused;
    assert_eq!(refused.len(), 100);
    assert_eq!(refused[99].instance, "../149");
    assert!(pen.fold.instances.is_empty() && pen.fold.outboxes.is_empty());
}

fn die() -> impl Strategy<Value = Die> {
    let edges = prop_oneof![
        4 => 0..2_000_u64,
        1 => any::<u64>(),
        1 => Just(u64::MAX),
        1 => Just(u64::from(u32::MAX)),
    ];
    let position = prop_oneof![8 => 0..3_u16, 1 => Just(u16::MAX)];
    let attempt = prop_oneof![8 => 0..4_u32, 1 => Just(u32::MAX)];
    (any::<u8>(), 0..3_u8, position, attempt, edges, any::<u8>()).prop_map(
        |(kind, uid, n, attempt, number, choice)| Die {
            kind,
            uid,
            n,
            attempt,
            number,
            choice,
        },
    )
}

fn pieces(fold: &Fold) -> BTreeSet<(Piece, String)> {
    fold.pieces().into_iter().collect()
}

proptest! {
    #[test]
    fn no_lines_in_whatever_order_make_the_fold_fail(
        dice in prop::collection::vec((die(), any::<u64>(), any::<bool>(), 0..3_u8), 1..60),
    ) {
        let mut fold = Fold::default();
        for (i, (die, up, honest, boot)) in dice.into_iter().enumerate() {
            let event = die.event();
            let up = if honest { up % 100_000 } else { up };
            let moment = moment_in(&format!("boot-{boot}"), up);
            let state = match honest {
                true => fold.effect(&event, &moment),
                false => (die.choice % 2 == 0).then(|| die.report()),
            };
            let line = Line { seq: i as u64 + 1, moment, event, state, durable: None };
            // A line is what it is on disk.
            let text = serde_json::to_string(&line).unwrap();
            let line: Line = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&serde_json::to_string(&line).unwrap(), &text);

            let before = pieces(&fold);
            let told: BTreeSet<Piece> = fold.apply(&line).into_iter().collect();
            let after = pieces(&fold);
            let differ: BTreeSet<Piece> = before
                .symmetric_difference(&after)
                .map(|(piece, _)| piece.clone())
                .collect();
            prop_assert_eq!(told, differ, "{}", text);

            let (again, errors) = Fold::from_pieces(fold.seq, fold.pieces());
            prop_assert!(errors.is_empty(), "{:?}", errors);
            prop_assert_eq!(&again, &fold);
            for (piece, _) in fold.pieces() {
                prop_assert_eq!(piece.to_string().parse::<Piece>().unwrap(), piece);
            }
        }
    }

    #[test]
    fn a_state_is_news_and_nothing_follows_terminated(
        dice in prop::collection::vec(die(), 1..80),
    ) {
        let mut pen = Pen::default();
        let mut last: BTreeMap<Uid, StateReport> = BTreeMap::new();
        let mut begun = BTreeSet::new();
        for die in dice {
            let event = die.event();
            let Some(uid) = event.uid().cloned() else {
                pen.write(event);
                continue;
            };
            let begins = matches!(event, Event::Accepted { .. } | Event::Refused { .. });
            if begins && !begun.insert(uid.clone()) {
                // A uid is drawn once.
                continue;
            }
            let up = 1_000 + pen.fold.seq;
            if let Some(report) = pen.write_at(moment(up), event) {
                if let Some(former) = last.insert(uid.clone(), report.clone()) {
                    prop_assert!(former.state != State::Terminated, "{:?} follows it", report);
                    prop_assert!(!former.same_news(&report), "{:?} is no news", report);
                }
                if let Some(record) = pen.fold.instances.get(&uid) {
                    prop_assert_eq!(record.reported.as_ref(), Some(&report));
                }
            }
        }
        let sizes = pen.fold.outboxes.values().flat_map(|o| &o.entries);
        let sizes = sizes.map(OutboxEntry::size).sum::<usize>();
        prop_assert_eq!(pen.fold.outboxes.bytes(), sizes);
        for outbox in pen.fold.outboxes.values() {
            prop_assert!(outbox.entries.len() <= MAX_ENTRIES);
            prop_assert!(outbox.entries.iter().map(|e| e.seq).is_sorted());
        }
    }
}

#[test]
fn a_node_that_was_to_go_down_and_did_not_is_not_taken_for_one_that_did() {
    let mut pen = Pen::default();
    pen.write(Event::NodeStopping {});
    assert_eq!(pen.fold.node.stopping_boot.as_deref(), Some("boot-1"));
    // Only the daemon, or the userspace around it, was started anew.
    let started = |pid| Event::DaemonStarted {
        version: "1".to_owned(),
        pid,
    };
    pen.write(started(2));
    assert_eq!(pen.fold.node.stopping_boot, None);
    pen.write(Event::NodeStopping {});
    pen.write_at(moment_in("boot-2", 10), Event::Boot {});
    pen.write_at(moment_in("boot-2", 11), started(3));
    assert_eq!(pen.fold.node.stopping_boot.as_deref(), Some("boot-1"));
}
