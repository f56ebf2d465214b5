mod refusals;

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::{
    book::Recorded,
    image::reference::TransportPolicy,
    model::{
        fold::{Desired, Fold},
        ids::{InstanceId, MAX_WIRE_ID, Source},
        instruction::Ask,
        line::{Exit, Intent},
        state::State,
    },
    testing::{
        builders::{container_id, uid},
        memory_book::MemoryBook,
    },
};

fn draw() -> Uid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    uid(NEXT.fetch_add(1, Ordering::Relaxed))
}

fn definition(image: &str, policy: &str) -> String {
    format!(
        r#"{{"apiVersion":"v0","kind":"Pod","name":"web","spec":{{"restartPolicy":"{policy}",
            "containers":[{{"name":"c","image":"{image}"}}]}}}}"#
    )
}

fn web() -> String {
    definition("nginx:1", "Always")
}

fn other() -> String {
    definition("nginx:2", "Always")
}

/// An intake over a book in memory.
struct Door {
    book: MemoryBook,
    intake: Intake<MemoryBook>,
}

impl Door {
    fn new() -> Self {
        let book = MemoryBook::default();
        let intake = Intake::new(book.clone(), TransportPolicy::default(), draw);
        Self { book, intake }
    }

    fn submit(&self, instruction: &Instruction) -> Verdict {
        block(self.intake.submit(instruction)).unwrap()
    }

    fn create(&self, id: &str, source: Source, text: impl Into<String>) -> Verdict {
        self.submit(&Instruction::create(id, source, text))
    }

    fn destroy(&self, id: &str, source: Source) -> Verdict {
        self.submit(&Instruction::destroy(id, source))
    }

    fn lines(&self) -> usize {
        self.book.pages().lines.len()
    }

    fn record(&self, event: Event) -> Recorded {
        self.book.record(event).unwrap()
    }

    fn fold<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        self.book.read(look)
    }

    fn live(&self, id: &str) -> Option<(Uid, u32)> {
        self.fold(|fold| {
            let record = fold.by_instance(&id.parse().ok()?)?;
            Some((record.uid.clone(), record.generation))
        })
    }

    /// Its one container ran and exited with 0, for good.
    fn complete(&self, uid: &Uid) {
        let container = container_id(uid, 0, 1);
        self.record(Event::AttemptIntended {
            uid: uid.clone(),
            intent: Intent {
                container: container.clone(),
                snapshot: "sha256-00".to_owned(),
                netns: None,
            },
        });
        self.record(Event::Exited {
            container,
            exit: Exit::from_code(0, false),
            next_up: None,
            backoff: 0,
        });
    }

    fn acknowledge(&self, uid: &Uid) {
        let through = self.fold(|f| f.seq);
        self.record(Event::Acknowledged {
            uid: uid.clone(),
            through,
        });
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn accepted(verdict: Verdict) -> Uid {
    match verdict {
        Verdict::Accepted { uid, .. } => uid,
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Verdict) -> (Option<Uid>, Reason) {
    match verdict {
        Verdict::Refused {
            uid,
            reason,
            message,
        } => {
            assert!(
                !message.is_empty() && !message.contains('\n'),
                "{message:?}"
            );
            (uid, reason)
        }
        other => panic!("{other:?}"),
    }
}

const SCHEDULER: Source = Source::Scheduler;

#[test]
fn what_is_accepted_is_durable() {
    let door = Door::new();
    let uid = accepted(door.create("web-1", SCHEDULER, web()));
    let pages = door.book.pages();
    assert_eq!(pages.durable, pages.fold.seq);
    let report = pages.fold.instances[&uid].reported.clone();
    assert_eq!(report.map(|r| r.state), Some(State::Creating));
}

#[test]
fn a_destroy_of_what_isnt_there_leaves_no_line() {
    let door = Door::new();
    assert_eq!(door.destroy("web-1", SCHEDULER), Verdict::NotFound);
    assert_eq!(door.lines(), 0);
    let uid = accepted(door.create("web-1", SCHEDULER, web()));
    // An id that begins alike is another.
    assert_eq!(door.destroy("web", SCHEDULER), Verdict::NotFound);
    accepted(door.destroy("web-1", SCHEDULER));
    door.record(Event::Removed { uid });
    let lines = door.lines();
    assert_eq!(door.destroy("web-1", SCHEDULER), Verdict::NotFound);
    assert_eq!(door.lines(), lines);
}

#[test]
fn a_second_destroy_changes_nothing() {
    let door = Door::new();
    accepted(door.create("web-1", SCHEDULER, web()));
    accepted(door.destroy("web-1", SCHEDULER));
    let lines = door.lines();
    let again = door.destroy("web-1", SCHEDULER);
    assert!(matches!(again, Verdict::Unchanged { .. }));
    assert_eq!(door.lines(), lines);
}

#[test]
fn the_schedulers_own_destroy_is_recorded_after_anothers() {
    let door = Door::new();
    accepted(door.create("web-1", SCHEDULER, web()));
    let force = Instruction {
        instance: "web-1".to_owned(),
        source: Source::Operator,
        ask: Ask::Destroy { force: true },
    };
    let uid = accepted(door.submit(&force));
    accepted(door.destroy("web-1", SCHEDULER));
    let state = door.fold(|f| f.instances[&uid].reported.clone());
    assert_eq!(state.map(|r| r.state), Some(State::Destroying));
}

#[test]
fn hostile_ids_are_recorded_and_shown_and_never_reported() {
    let long = "x".repeat(300);
    let ids = [
        "", "../x", &long, "a\0b", "a b", "-rf", ".hidden", "web@cli", "wéb", "a/b", "a\n",
    ];
    let asks = [
        Ask::Create { definition: web() },
        Ask::Destroy { force: false },
        Ask::Destroy { force: true },
        Ask::Unknown { action: 7 },
        Ask::TooBig { bytes: 10 << 20 },
    ];
    for id in ids {
        for ask in &asks {
            let door = Door::new();
            let instruction = Instruction {
                instance: id.to_owned(),
                source: SCHEDULER,
                ask: ask.clone(),
            };
            let (uid, reason) = refused(door.submit(&instruction));
            assert_eq!((uid, reason), (None, Reason::InvalidDefinition), "{id:?}");
            let pages = door.book.pages();
            assert_eq!(pages.lines.len(), 1);
            assert_eq!(pages.lines[0].state, None);
            assert!(pages.fold.instances.is_empty() && pages.fold.outboxes.is_empty());
            let shown = &pages.fold.node.refused[0].instance;
            assert!(shown.chars().count() <= MAX_WIRE_ID && id.starts_with(shown.as_str()));
        }
    }
}

#[test]
fn ids_that_are_names_of_files_elsewhere_are_ids() {
    let door = Door::new();
    for id in ["tasks", "cgroup.procs", "node", "1", "x-0-1"] {
        accepted(door.create(id, SCHEDULER, web()));
    }
}

#[test]
fn a_create_means_what_is_known_of_its_id() {
    let door = Door::new();
    let first = accepted(door.create("web-1", SCHEDULER, web()));
    let lines = door.lines();
    // Live, by an equal model, however it is written.
    for same in [web(), web().replace([' ', '\n'], "")] {
        let verdict = door.create("web-1", SCHEDULER, same);
        assert!(matches!(verdict, Verdict::Unchanged { .. }));
    }
    assert_eq!(door.lines(), lines);
    // Live, by another.
    assert_eq!(accepted(door.create("web-1", SCHEDULER, other())), first);
    assert_eq!(door.live("web-1"), Some((first.clone(), 2)));
    // Being destroyed.
    accepted(door.destroy("web-1", SCHEDULER));
    assert_eq!(accepted(door.create("web-1", SCHEDULER, other())), first);
    assert_eq!(accepted(door.create("web-1", SCHEDULER, web())), first);
    let wanted = door.fold(|f| f.instances[&first].desired);
    assert_eq!(wanted, Desired::Gone);
    assert_eq!(block(door.intake.begin_waiting()).unwrap(), []);
    // Destroyed: the last that waited begins, once.
    door.record(Event::Removed { uid: first.clone() });
    let begun = block(door.intake.begin_waiting()).unwrap();
    assert_eq!(block(door.intake.begin_waiting()).unwrap(), []);
    let [second] = begun.as_slice() else {
        panic!("{begun:?}")
    };
    assert_ne!(*second, first);
    assert_eq!(door.live("web-1"), Some((second.clone(), 1)));
    let image = door.fold(|f| f.instances[second].container_spec(0).unwrap().image.clone());
    assert_eq!(image, "nginx:1");
    // Destroyed, and nothing waited.
    accepted(door.destroy("web-1", SCHEDULER));
    door.record(Event::Removed {
        uid: second.clone(),
    });
    let third = accepted(door.create("web-1", SCHEDULER, web()));
    assert!(third != first && third != *second);
}

#[test]
fn an_answer_that_changes_nothing_waits_for_the_line_that_it_rests_on() {
    let door = Door::new();
    let create = Instruction::create("web", Source::Cli, web());
    let (_, first) = door.intake.take(&create).unwrap();
    // Somebody else asks for the same before that is durable.
    let (verdict, second) = door.intake.take(&create).unwrap();
    assert!(matches!(verdict, Verdict::Unchanged { .. }));
    assert_eq!((first, second), (Some(1), Some(1)));
    let destroy = Instruction::destroy("web", Source::Cli);
    let (_, first) = door.intake.take(&destroy).unwrap();
    let (verdict, second) = door.intake.take(&destroy).unwrap();
    assert!(matches!(verdict, Verdict::Unchanged { .. }));
    assert_eq!((first, second), (Some(2), Some(2)));
}

#[test]
fn a_create_of_what_completed_is_a_new_incarnation() {
    let job = |image| definition(image, "Never");
    for (acknowledged, text, queued) in [
        (true, job("job:1"), true),
        (true, job("job:2"), true),
        (false, job("job:2"), true),
        // The scheduler hasn't heard of its end: what is done is not done again.
        (false, job("job:1"), false),
    ] {
        let door = Door::new();
        let uid = accepted(door.create("job-1", SCHEDULER, job("job:1")));
        door.complete(&uid);
        if acknowledged {
            door.acknowledge(&uid);
        }
        let verdict = door.create("job-1", SCHEDULER, text);
        assert_eq!(matches!(verdict, Verdict::Accepted { .. }), queued);
        assert_eq!(door.live("job-1"), Some((uid.clone(), 1)), "no generation");
        door.record(Event::Removed { uid: uid.clone() });
        let begun = block(door.intake.begin_waiting()).unwrap();
        assert_eq!(begun.len(), usize::from(queued));
    }
}

#[test]
fn the_last_create_counts_where_several_wait_for_what_completed() {
    let job = |image| definition(image, "Never");
    let door = Door::new();
    let uid = accepted(door.create("job-1", SCHEDULER, job("job:1")));
    door.complete(&uid);
    accepted(door.create("job-1", SCHEDULER, job("job:2")));
    // As the first was; but job:2 was asked for in between.
    accepted(door.create("job-1", SCHEDULER, job("job:1")));
    door.record(Event::Removed { uid });
    let begun = block(door.intake.begin_waiting()).unwrap();
    let text = door.fold(|f| f.instances[&begun[0]].definition.to_string());
    assert_eq!(text, job("job:1"));
}

#[test]
fn a_drain_that_changes_nothing_waits_for_the_one_before() {
    let door = Door::new();
    door.record(Event::Drained {});
    assert!(!block(door.intake.cordon(true)).unwrap());
    assert_eq!(door.book.pages().durable, 1);
    assert!(block(door.intake.cordon(false)).unwrap());
    assert_eq!(door.book.pages().durable, 2);
}

#[test]
fn a_destroy_takes_back_what_waits_to_begin() {
    for removed in [false, true] {
        let door = Door::new();
        let first = accepted(door.create("web-1", SCHEDULER, web()));
        accepted(door.destroy("web-1", SCHEDULER));
        accepted(door.create("web-1", SCHEDULER, other()));
        if removed {
            // Nobody has begun it yet.
            door.record(Event::Removed { uid: first });
        }
        let uid = accepted(door.destroy("web-1", SCHEDULER));
        assert_eq!(door.fold(|f| f.instances[&uid].desired), Desired::Gone);
        door.record(Event::Removed { uid });
        assert_eq!(block(door.intake.begin_waiting()).unwrap(), []);
        assert_eq!(door.live("web-1"), None);
    }
}

#[test]
fn what_is_refused_is_reported_only_where_nothing_else_has_the_id() {
    let bad = "{";
    let door = Door::new();
    let (uid, reason) = refused(door.create("web-1", SCHEDULER, bad));
    assert_eq!(reason, Reason::InvalidDefinition);
    let uid = uid.unwrap();
    let report = door.fold(|f| f.outboxes[&uid].entries[0].report.clone());
    assert_eq!(report.state, State::Failed);
    assert_eq!(report.reason, Some(Reason::InvalidDefinition));
    // It is mended by its next generation.
    assert_eq!(accepted(door.create("web-1", SCHEDULER, web())), uid);
    assert_eq!(door.live("web-1"), Some((uid.clone(), 2)));
    // What runs goes on running.
    let unknown = Instruction {
        instance: "web-1".to_owned(),
        source: SCHEDULER,
        ask: Ask::Unknown { action: 7 },
    };
    let too_big = Instruction {
        ask: Ask::TooBig { bytes: 10 << 20 },
        ..unknown.clone()
    };
    assert_eq!(refused(door.create("web-1", SCHEDULER, bad)).0, None);
    assert_eq!(refused(door.submit(&unknown)), (None, Reason::Unsupported));
    assert_eq!(refused(door.submit(&too_big)).0, None);
    block(async { door.intake.refuse_overloaded(&too_big) }).unwrap();
    assert_eq!(door.live("web-1"), Some((uid.clone(), 2)));
    // Nor does a refusal get before a create that waits.
    accepted(door.destroy("web-1", SCHEDULER));
    accepted(door.create("web-1", SCHEDULER, other()));
    door.record(Event::Removed { uid });
    assert_eq!(refused(door.create("web-1", SCHEDULER, bad)).0, None);
    block(async { door.intake.refuse_overloaded(&too_big) }).unwrap();
    assert_eq!(door.live("web-1"), None);
    assert_eq!(block(door.intake.begin_waiting()).unwrap().len(), 1);
}

#[test]
fn an_unsupported_kind_says_so() {
    let door = Door::new();
    let function = web().replace("Pod", "Function");
    let (uid, reason) = refused(door.create("web-1", SCHEDULER, function));
    assert!(uid.is_some());
    assert_eq!(reason, Reason::Unsupported);
}

#[test]
fn sources_have_their_own_instances_of_one_name() {
    let door = Door::new();
    let uids = [SCHEDULER, Source::Cli, Source::Manifest]
        .map(|source| accepted(door.create("web", source, web())));
    for (id, uid) in ["web", "web@cli", "web@manifest"].iter().zip(&uids) {
        assert_eq!(door.live(id), Some((uid.clone(), 1)));
    }
    for (source, uid) in [SCHEDULER, Source::Cli, Source::Manifest].iter().zip(&uids) {
        assert_eq!(accepted(door.destroy("web", *source)), *uid);
    }
}

#[test]
fn no_source_touches_anothers_instance() {
    let door = Door::new();
    let manifest = accepted(door.create("web", Source::Manifest, web()));
    let scheduled = accepted(door.create("web-1", SCHEDULER, web()));
    let lines = |door: &Door| {
        door.fold(|f| {
            let of = |uid| f.instances[uid].last_seq;
            (of(&manifest), of(&scheduled))
        })
    };
    let before = lines(&door);
    // Named in full, so that it is found.
    for source in [Source::Cli, Source::Operator] {
        for (id, text) in [("web@manifest", web()), ("web@manifest", other())] {
            let (uid, reason) = refused(door.create(id, source, text));
            assert_eq!((uid, reason), (None, Reason::Forbidden), "{source}");
        }
        let (uid, reason) = refused(door.destroy("web@manifest", source));
        assert_eq!((uid, reason), (None, Reason::Forbidden));
    }
    assert_eq!(
        refused(door.destroy("web-1", Source::Operator)).1,
        Reason::Forbidden
    );
    assert_eq!(
        refused(door.create("web-1", Source::Operator, other())).1,
        Reason::Forbidden
    );
    assert_eq!(door.destroy("web-1", Source::Cli), Verdict::NotFound);
    assert_eq!(lines(&door), before);
    // Nor does it take a name that would be another's.
    for (id, source) in [
        ("new@manifest", Source::Cli),
        ("new@cli", Source::Manifest),
        ("new", Source::Operator),
    ] {
        let (uid, reason) = refused(door.create(id, source, web()));
        assert_eq!((uid, reason), (None, Reason::Forbidden), "{id}");
    }
    // But for force, which says so.
    let force = Instruction {
        instance: "web-1".to_owned(),
        source: Source::Operator,
        ask: Ask::Destroy { force: true },
    };
    assert_eq!(accepted(door.submit(&force)), scheduled);
    let by = door.fold(|f| f.instances[&scheduled].destroyed_by);
    assert_eq!(by, Some(Source::Operator));
}

#[test]
fn an_image_on_the_nodes_disk_is_not_for_the_scheduler_to_name() {
    let door = Door::new();
    let local = definition("oci:/var/images/web", "Always");
    let (uid, reason) = refused(door.create("web-1", SCHEDULER, local.clone()));
    assert!(uid.is_some());
    assert_eq!(reason, Reason::Forbidden);
    accepted(door.create("web", Source::Cli, local.clone()));
    accepted(door.create("web", Source::Manifest, local));
    let nonsense = definition("UPPER CASE", "Always");
    let (_, reason) = refused(door.create("web-2", SCHEDULER, nonsense));
    assert_eq!(reason, Reason::InvalidDefinition);
}

fn instruction() -> impl Strategy<Value = Instruction> {
    let id = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "a@cli", "b@manifest"]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[a-z@.-]{0,6}",
    ];
    let source = prop::sample::select(vec![
        SCHEDULER,
        SCHEDULER,
        Source::Cli,
        Source::Manifest,
        Source::Operator,
    ]);
    let text = prop_oneof![
        6 => prop::sample::select(vec![web(), other(), definition("job", "Never")]),
        1 => any::<String>(),
        1 => r#"[{}\[\]":,a-z0-9]{0,40}"#,
    ];
    let ask = prop_oneof![
        4 => text.prop_map(|definition| Ask::Create { definition }),
        2 => any::<bool>().prop_map(|force| Ask::Destroy { force }),
        1 => any::<i32>().prop_map(|action| Ask::Unknown { action }),
        1 => any::<usize>().prop_map(|bytes| Ask::TooBig { bytes }),
    ];
    (id, source, ask).prop_map(|(instance, source, ask)| Instruction {
        instance,
        source,
        ask,
    })
}

proptest! {
    #[test]
    fn no_instruction_makes_it_panic_or_share_an_id(
        steps in prop::collection::vec((instruction(), 0..4_u8), 1..30),
    ) {
        let door = Door::new();
        for (instruction, then) in steps {
            let verdict = door.submit(&instruction);
            if let Verdict::Accepted { seq, .. } = verdict {
                prop_assert!(door.book.pages().durable >= seq);
            }
            match then {
                0 => {
                    let gone = door.fold(|f| {
                        let mut gone = f.instances.values().filter(|r| r.desired == Desired::Gone);
                        gone.next().map(|r| r.uid.clone())
                    });
                    gone.into_iter().for_each(|uid| drop(door.record(Event::Removed { uid })));
                }
                1 => drop(block(door.intake.begin_waiting()).unwrap()),
                2 => door.intake.refuse_overloaded(&instruction).unwrap(),
                _ => {}
            }
            let pages = door.book.pages();
            let mut ids: Vec<&InstanceId> =
                pages.fold.instances.values().map(|r| &r.instance).collect();
            let all = ids.len();
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), all, "two live incarnations of one id");
            for record in pages.fold.instances.values() {
                prop_assert_eq!(record.instance.source(), record.source);
            }
            for outbox in pages.fold.outboxes.values() {
                prop_assert_eq!(outbox.instance.source(), SCHEDULER);
            }
        }
    }
}

#[test]
fn an_instruction_that_says_what_is_known_settles_an_instance_in_doubt() {
    let door = Door::new();
    let uid = accepted(door.create("web", Source::Scheduler, web()));
    let doubt = || {
        door.record(Event::Doubted {
            uids: vec![uid.clone()],
            why: "line 7 is lost".to_owned(),
        });
        assert_eq!(door.fold(|f| f.doubted().count()), 1);
    };
    let settled = || door.fold(|f| f.doubted().count() == 0);
    doubt();
    assert_eq!(
        accepted(door.create("web", Source::Scheduler, web())),
        uid,
        "the same definition is an instruction, too"
    );
    assert!(settled());
    assert_eq!(door.fold(|f| f.instances[&uid].generation), 1);
    doubt();
    accepted(door.create("web", Source::Scheduler, other()));
    assert!(settled());
    doubt();
    accepted(door.submit(&Instruction::destroy("web", Source::Scheduler)));
    assert!(settled());
    doubt();
    accepted(door.submit(&Instruction::destroy("web", Source::Scheduler)));
    assert!(settled());
    assert_eq!(door.fold(|f| f.instances[&uid].desired), Desired::Gone);
}

#[test]
fn what_is_unclaimed_goes_by_a_delete_or_a_create_of_its_id_and_by_nothing_else() {
    let door = Door::new();
    let mark = |instance: &str| Unclaimed {
        instance: Some(instance.parse().unwrap()),
        containers: Vec::new(),
    };
    let (web, db, known) = (uid(901), uid(902), uid(903));
    let seen = [(web.clone(), mark("web")), (db.clone(), mark("db"))];
    door.intake.set_unclaimed(seen.into());
    let disowned = || door.fold(|f| f.node.disowned.keys().cloned().collect::<Vec<_>>());
    door.submit(&Instruction::destroy("web", Source::Scheduler));
    accepted(door.create("other", Source::Scheduler, self::web()));
    assert_eq!(disowned(), vec![], "nobody has named it");
    let begun = accepted(door.create("web", Source::Scheduler, self::web()));
    assert_eq!(disowned(), std::slice::from_ref(&web));
    let (before, after) = door.fold(|f| {
        let gone = &f.node.disowned[&web];
        assert_eq!(gone.instance.as_ref().unwrap().as_str(), "web");
        (gone.seq, f.instances[&begun].instructed_seq)
    });
    assert!(before < after, "first what was there goes");
    assert!(block(door.intake.disown(&db, Source::Operator)).unwrap());
    assert!(!block(door.intake.disown(&db, Source::Operator)).unwrap());
    assert!(!block(door.intake.disown(&known, Source::Operator)).unwrap());
    assert_eq!(disowned(), [web.clone(), db.clone()]);
    door.record(Event::Removed { uid: db });
    assert_eq!(disowned(), [web]);
}

#[test]
fn what_is_so_already_is_told_only_once_it_is_durable() {
    let door = Door::new();
    let create = Instruction::create("web-1", Source::Scheduler, web());
    let (_, first) = door.intake.take(&create).unwrap();
    let (verdict, second) = door.intake.take(&create).unwrap();
    assert!(matches!(verdict, Verdict::Unchanged { .. }));
    assert!(first.is_some());
    assert_eq!(second, first, "its OK waits for the line that made it so");
    let destroy = Instruction::destroy("web-1", Source::Scheduler);
    let (_, first) = door.intake.take(&destroy).unwrap();
    let (verdict, second) = door.intake.take(&destroy).unwrap();
    assert!(matches!(verdict, Verdict::Unchanged { .. }));
    assert_eq!((first.is_some(), second), (true, first));
}
