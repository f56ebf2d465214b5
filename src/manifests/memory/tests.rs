use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::{
    book::Book as _,
    image::reference::TransportPolicy,
    intake::Intake,
    manifests::directory::{Identity, ManifestFile},
    model::{
        fold::{ContainerRecord, LastExit},
        ids::Uid,
        line::Exit,
        phase::Phase,
    },
    testing::{builders::uid, memory_book::MemoryBook},
};

fn draw() -> Uid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    uid(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A Pod of this name; `version` is its image's.
fn pod(name: &str, version: u32) -> String {
    format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: OnFailure, containers: [{{name: c, image: \"i:{version}\"}}]}}}}\n")
        .replace("{apiVersion", "# a comment\n{apiVersion")
}

/// The directory, and what is known.
struct World {
    files: BTreeMap<String, Result<String, String>>,
    directory: Identity,
    book: MemoryBook,
    intake: Intake<MemoryBook>,
    memory: Memory,
}

impl World {
    fn new() -> Self {
        let book = MemoryBook::default();
        Self {
            files: BTreeMap::new(),
            directory: Identity::numbered(1),
            intake: Intake::new(book.clone(), TransportPolicy::default(), draw),
            book,
            memory: Memory::default(),
        }
    }

    fn write(&mut self, file: &str, text: &str) {
        self.files.insert(file.to_owned(), Ok(text.to_owned()));
    }

    fn damage(&mut self, file: &str) {
        let why = Err("can't be read".to_owned());
        self.files.insert(file.to_owned(), why);
    }

    fn remove(&mut self, file: &str) {
        self.files.remove(file);
    }

    fn pass(&self, ms: u64) {
        self.book.pages().up += ms;
    }

    /// The daemon is killed and started.
    fn restart(&mut self) {
        self.memory = Memory::default();
    }

    /// One look, and what follows from it, done.
    fn look(&mut self) -> (Due, Sheet) {
        let files = self.files.iter().map(|(name, text)| ManifestFile {
            name: name.clone(),
            text: text.clone(),
        });
        let look = Look {
            identity: self.directory,
            files: files.collect(),
        };
        let sheet = Sheet::read(&look.files);
        let now = self.book.now().up;
        let memory = &mut self.memory;
        let due = self.book.read(|fold| memory.take(&look, &sheet, fold, now));
        for (_, instruction) in due.creates.iter().chain(&due.destroys) {
            self.intake.take(instruction).unwrap();
        }
        (due, sheet)
    }

    /// Looks until nothing is absent for too short a time.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.look();
            self.pass(ABSENT_ANEW);
        }
        self.look();
    }

    /// What is to run, by instance, and from which image.
    fn runs(&self) -> Vec<(String, String)> {
        self.book.read(|fold| {
            let live = fold
                .instances
                .values()
                .filter(|r| r.desired == Desired::Run || r.queued.is_some());
            let image = |record: &InstanceRecord| {
                let queued = record.queued.as_ref().map(|q| &q.spec);
                let spec = queued.or(record.spec.as_ref()).unwrap();
                spec.containers[0].image.clone()
            };
            let mut rows: Vec<_> = live.map(|r| (r.instance.to_string(), image(r))).collect();
            rows.sort();
            rows
        })
    }

    fn lines(&self) -> usize {
        self.book.pages().lines.len()
    }

    fn uid(&self, instance: &str) -> Uid {
        let id = instance.parse().unwrap();
        self.book
            .read(|fold| fold.by_instance(&id).unwrap().uid.clone())
    }
}

fn row(instance: &str, version: u32) -> (String, String) {
    (instance.to_owned(), format!("i:{version}"))
}

#[test]
fn files_that_are_added_changed_and_removed_become_instructions() {
    let mut world = World::new();
    world.write("a.yaml", &pod("a", 1));
    world.write("b.yaml", &pod("b", 1));
    world.look();
    assert_eq!(world.runs(), [row("a@manifest", 1), row("b@manifest", 1)]);
    world.write("a.yaml", &pod("a", 2));
    world.look();
    assert_eq!(world.runs(), [row("a@manifest", 2), row("b@manifest", 1)]);
    world.pass(ABSENT_ANEW);
    world.remove("a.yaml");
    let (due, _) = world.look();
    assert_eq!(
        world.runs().len(),
        2,
        "a file may be taken away to be written anew"
    );
    world.pass(due.again_up.unwrap() - world.book.now().up);
    world.look();
    assert_eq!(world.runs(), [row("b@manifest", 1)]);
}

#[test]
fn a_look_that_finds_nothing_new_writes_nothing() {
    let mut world = World::new();
    world.write("a.yaml", &pod("a", 1));
    world.write("b.yaml", "nonsense: [");
    world.settle();
    let lines = world.lines();
    world.write("a.yaml", &format!("{}# said otherwise\n", pod("a", 1)));
    world.settle();
    world.restart();
    world.settle();
    assert_eq!(world.lines(), lines);
}

#[test]
fn a_broken_file_leaves_the_former_version_running_also_over_a_restart() {
    let mut world = World::new();
    world.write("a.yaml", &pod("a", 1));
    world.look();
    for text in [
        "",
        "{",
        "kind: Pod",
        &pod("a", 1).replace("containers", "contaners"),
    ] {
        world.write("a.yaml", text);
        world.settle();
        assert_eq!(world.runs(), [row("a@manifest", 1)], "{text}");
        world.restart();
        world.settle();
        assert_eq!(world.runs(), [row("a@manifest", 1)], "{text}");
    }
    world.damage("a.yaml");
    world.settle();
    assert_eq!(world.runs(), [row("a@manifest", 1)]);
    world.remove("a.yaml");
    world.settle();
    assert_eq!(world.runs(), []);
}

#[test]
fn a_broken_file_does_not_keep_what_was_another_files() {
    let mut world = World::new();
    world.write("a.yaml", &pod("a", 1));
    world.write("b.yaml", "nonsense: [");
    world.settle();
    world.remove("a.yaml");
    world.settle();
    assert_eq!(world.runs(), []);
}

#[test]
fn of_two_files_with_one_name_the_first_holds_and_the_second_is_a_fault() {
    let mut world = World::new();
    world.write("b.yaml", &pod("a", 2));
    world.look();
    world.write("a.yaml", &pod("a", 1));
    let (_, sheet) = world.look();
    assert_eq!(world.runs(), [row("a@manifest", 1)]);
    assert_eq!(sheet.faults.len(), 1);
    assert_eq!(sheet.faults[0].file, "b.yaml");
    assert_eq!(sheet.faults[0].instance.as_deref(), Some("a@manifest"));
    world.remove("a.yaml");
    world.look();
    assert_eq!(world.runs(), [row("a@manifest", 2)], "and takes its place");
}

#[test]
fn a_second_file_does_not_take_what_a_first_one_had_that_is_broken() {
    let mut world = World::new();
    world.write("a.yaml", &pod("a", 1));
    world.look();
    world.write("a.yaml", "]");
    world.write("b.yaml", &pod("a", 2));
    let (due, _) = world.look();
    assert_eq!(world.runs(), [row("a@manifest", 1)]);
    assert_eq!(due.held.len(), 1);
    world.remove("a.yaml");
    world.look();
    assert_eq!(world.runs(), [row("a@manifest", 2)]);
}

#[test]
fn pods_of_one_file_are_judged_one_by_one_and_find_what_they_name_in_any_file() {
    let mut world = World::new();
    let config = "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {greeting: hello}}\n";
    let refers = pod("b", 1).replace(
        "name: c,",
        "name: c, envFrom: [{configMapRef: {name: settings}}],",
    );
    world.write("ab.yaml", &format!("{}---\n{refers}", pod("a", 1)));
    world.write("settings.yaml", config);
    let (due, sheet) = world.look();
    assert_eq!(sheet.faults, []);
    assert_eq!(world.runs(), [row("a@manifest", 1), row("b@manifest", 1)]);
    let (_, told) = &due.creates[1];
    assert!(
        matches!(&told.ask, crate::model::instruction::Ask::Create { definition } if definition.contains("hello"))
    );
    world.remove("settings.yaml");
    world.settle();
    let (_, sheet) = world.look();
    assert_eq!(sheet.faults.len(), 1);
    assert_eq!(sheet.faults[0].instance.as_deref(), Some("b@manifest"));
    assert_eq!(world.runs().len(), 2, "its former version goes on");
    world.write("ab.yaml", &pod("a", 2));
    world.settle();
    assert_eq!(world.runs(), [row("a@manifest", 2)]);
}

#[test]
fn what_is_gone_while_the_daemon_was_down_is_destroyed_and_what_completed_is_not_run_again() {
    let mut world = World::new();
    world.write("a.yaml", &pod("a", 1));
    world.write("b.yaml", &pod("b", 1));
    world.look();
    let uid = world.uid("b@manifest");
    let done = ContainerRecord {
        attempt: 1,
        generation: 1,
        phase: Phase::Exited,
        last_exit: Some(LastExit {
            attempt: 1,
            at: jiff::Timestamp::default(),
            exit: Exit::from_code(0, false),
            start_error: None,
        }),
        ..ContainerRecord::default()
    };
    let completes = |fold: &mut Fold| fold.instances.get_mut(&uid).unwrap().containers = vec![done];
    completes(&mut world.book.pages().fold);
    assert!(world.book.read(|fold| fold.instances[&uid].completed()));
    world.remove("a.yaml");
    world.restart();
    world.settle();
    assert_eq!(world.runs(), [row("b@manifest", 1)]);
    assert_eq!(world.uid("b@manifest"), uid, "the job that is done");
}

#[test]
fn a_directory_that_was_lost_and_comes_back_empty_is_given_time_to_fill() {
    let mut world = World::new();
    world.write("a.yaml", &pod("a", 1));
    world.settle();
    world.memory.lost();
    world.pass(60_000);
    let files = std::mem::take(&mut world.files);
    world.directory = Identity::numbered(2);
    world.look();
    world.pass(ABSENT);
    world.look();
    assert_eq!(world.runs(), [row("a@manifest", 1)]);
    world.files = files;
    world.settle();
    assert_eq!(world.runs(), [row("a@manifest", 1)]);
}

#[test]
fn a_refusal_is_news_once_also_over_a_restart() {
    let mut world = World::new();
    let id: InstanceId = "a@manifest".parse().unwrap();
    let bad = pod("a", 1).replace("i:1", "NOT-AN-IMAGE");
    world.write("a.yaml", &bad);
    let (due, _) = world.look();
    assert_eq!(due.creates.len(), 1);
    let refusal = world.book.read(|fold| {
        let record = fold.by_instance(&id).unwrap();
        record.refusal.clone().unwrap()
    });
    for _ in 0..2 {
        let (fold, memory) = (world.book.pages().fold.clone(), &mut world.memory);
        assert!(!memory.is_news(&fold, &id, &bad, refusal.reason, &refusal.message));
        world.restart();
    }
    let (fold, memory) = (world.book.pages().fold.clone(), &mut world.memory);
    assert!(memory.is_news(&fold, &id, &bad, Reason::PortConflict, "another"));
    assert!(!memory.is_news(
        &fold,
        &id,
        &bad,
        Reason::PortConflict,
        "with another number"
    ));
}

/// What may happen to a directory of two files and three names.
#[derive(Debug, Clone)]
enum Happening {
    Written { file: u8, name: u8, version: u32 },
    Broken { file: u8 },
    Unreadable { file: u8 },
    Removed { file: u8 },
    Looked,
    Passed(u64),
    DirectoryLost,
    Restarted,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..2u8, 0..3u8, 1..3u32).prop_map(|(file, name, version)| Happening::Written {
            file,
            name,
            version
        }),
        (0..2u8).prop_map(|file| Happening::Broken { file }),
        (0..2u8).prop_map(|file| Happening::Unreadable { file }),
        (0..2u8).prop_map(|file| Happening::Removed { file }),
        Just(Happening::Looked),
        Just(Happening::Looked),
        (0..2 * ABSENT_ANEW).prop_map(Happening::Passed),
        Just(Happening::DirectoryLost),
        Just(Happening::Restarted),
    ]
}

proptest! {
    #[test]
    fn only_what_no_file_can_hold_is_destroyed_and_others_instances_never(
        happenings in proptest::collection::vec(happening(), 1..40)
    ) {
        let mut world = World::new();
        let theirs = [("a", Source::Scheduler), ("a", Source::Cli)];
        for (id, source) in theirs {
            let create = Instruction::create(id, source, r#"{"apiVersion":"v0","kind":"Pod","name":"a","spec":{"containers":[{"name":"c","image":"i:9"}]}}"#);
            world.intake.take(&create).unwrap();
        }
        for happening in happenings {
            let file = |n: u8| format!("{n}.yaml");
            match happening {
                Happening::Written { file: n, name, version } => {
                    let name = ["a", "b", "c"][usize::from(name)];
                    world.write(&file(n), &pod(name, version));
                }
                Happening::Broken { file: n } => world.write(&file(n), "]"),
                Happening::Unreadable { file: n } => world.damage(&file(n)),
                Happening::Removed { file: n } => world.remove(&file(n)),
                Happening::Passed(ms) => world.pass(ms),
                Happening::DirectoryLost => world.memory.lost(),
                Happening::Restarted => world.restart(),
                Happening::Looked => {
                    let (due, sheet) = world.look();
                    for (id, _) in due.creates.iter().chain(&due.destroys) {
                        prop_assert_eq!(id.source(), Source::Manifest);
                    }
                    for (id, _) in &due.destroys {
                        prop_assert!(!sheet.names(id));
                    }
                    if sheet.broken().count() == 2 {
                        prop_assert!(due.destroys.is_empty(), "both may hold it");
                    }
                }
            }
        }
        // Once all is whole again, exactly the files' Pods run.
        for n in 0..2 {
            if !matches!(world.files.get(&format!("{n}.yaml")), Some(Ok(text)) if text != "]") {
                world.remove(&format!("{n}.yaml"));
            }
        }
        world.settle();
        let mut expected: BTreeMap<String, String> = BTreeMap::new();
        for text in world.files.values().flatten() {
            for name in ["a", "b", "c"] {
                for version in 1..3 {
                    if *text == pod(name, version) {
                        let (id, image) = row(&format!("{name}@manifest"), version);
                        expected.entry(id).or_insert(image);
                    }
                }
            }
        }
        expected.extend([row("a", 9), row("a@cli", 9)]);
        prop_assert_eq!(world.runs(), expected.into_iter().collect::<Vec<_>>());
        let lines = world.lines();
        world.settle();
        prop_assert_eq!(world.lines(), lines);
    }
}
