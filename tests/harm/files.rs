//! S01: every file in turn, every kind of damage.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    kinds::{DECOY, KINDS, Kind, copy_dir, damage, remove},
    world::World,
};
use crate::{
    below,
    support::proof::{Proof, long, rounds},
};

/// Below these there is somebody else's affair: an image's or a container's own files, and the
/// runtime's records (those are tests/adoption.rs'); `ns` holds namespaces, not files.
const NOT_OURS: [&str; 7] = ["rootfs", "upper", "work", "runc", "merged", "said", "ns"];

/// Every plain file of state dir and run dir, by its class.
fn files(world: &World) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let (state, run) = (world.node.state(), world.node.run());
    for top in [state, run] {
        let mut waiting = vec![top.clone()];
        while let Some(dir) = waiting.pop() {
            let mut entries: Vec<_> = fs::read_dir(&dir).unwrap().map(Result::unwrap).collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries {
                let kind = entry.file_type().unwrap();
                let name = entry.file_name().into_string().unwrap();
                if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
                    waiting.push(entry.path());
                } else if kind.is_file() {
                    let below = dir.strip_prefix(&top).unwrap();
                    found.push((class(&top, below, &name), entry.path()));
                }
            }
        }
    }
    found.sort();
    one_of_each_life(world, found)
}

/// What a file is to riklet, whichever instance's it is.
fn class(top: &Path, below: &Path, name: &str) -> String {
    let top = top.file_name().unwrap().to_str().unwrap();
    let room = below.iter().next().unwrap_or_default().to_str().unwrap();
    match room {
        "journal" | "db" => format!("{top}/{room}/{name}"),
        "logs" => format!("{top}/logs"),
        "" => format!("{top}/{name}"),
        room => format!("{top}/{room}/{name}"),
    }
}

/// Three instances have the same files: one of them is enough, and the ticker's log is watched.
fn one_of_each_life(world: &World, found: Vec<(String, PathBuf)>) -> Vec<(String, PathBuf)> {
    let watched = &world.uids["ticker@cli"];
    let mut classes = BTreeSet::new();
    let of_ticker = |path: &Path| path.to_str().unwrap().contains(watched.as_str());
    let mut kept = found;
    kept.retain(|(class, path)| !of_ticker(path) && classes.insert(class.clone()));
    kept
}

/// Where a directory in the place of a file can't be helped: it would have to be removed, and
/// riklet doesn't remove what it didn't make.
fn is_beyond_help(class: &str, kind: Kind) -> bool {
    let locks = ["state/lock", "run/lock", "run/owner"];
    kind == Kind::Directory && locks.contains(&class)
}

struct Case {
    class: String,
    path: PathBuf,
    kind: Kind,
}

/// Which cases are tried: all in the long form. In the short one every kind, every class, and
/// more of what matters most.
fn cases(world: &World) -> Vec<Case> {
    let only = std::env::var("DAMAGE").unwrap_or_default();
    let mut all = Vec::new();
    for (class, path) in files(world) {
        for kind in KINDS {
            let (old, whole) = (fs::read(world.old(&path)).ok(), fs::read(&path).unwrap());
            let changes = kind != Kind::Old || old.is_some_and(|old| old != whole);
            if class.contains(&only) && changes {
                let (class, path) = (class.clone(), path.clone());
                all.push(Case { class, path, kind });
            }
        }
    }
    let wanted = usize::try_from(rounds(64, u64::MAX >> 1)).unwrap();
    let mut dice = crate::seed();
    let mut chosen: Vec<Case> = Vec::new();
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    // Each kind in its turn, so that none is short of cases.
    for kind in KINDS.iter().cycle().take(KINDS.len() * all.len()) {
        let of_kind = |n: &usize| all[*n].kind == *kind;
        let left: Vec<usize> = (0..all.len()).filter(of_kind).collect();
        if left.is_empty() || chosen.len() == wanted {
            continue;
        }
        let case = all.swap_remove(left[below(&mut dice, left.len())]);
        let core = case.class.contains("/journal/") || case.class.contains("/db/");
        let most = if core { 6 } else { 2 };
        let seen = met.entry(case.class.clone()).or_default();
        if !long() && *seen >= most {
            continue;
        }
        *seen += 1;
        chosen.push(case);
    }
    chosen.sort_by(|a, b| (&a.class, a.kind).cmp(&(&b.class, b.kind)));
    chosen
}

#[test]
fn s01_each_file_damaged_in_turn_costs_no_container_and_is_told_of() {
    let mut proof = Proof::of(
        "Whatever happens to one file of its state, riklet starts, keeps every container (same \
         pids), says what it lost, and writes into nothing that isn't its own",
        format!(
            "kill -9, one file of a node with three running instances damaged, start, check, put \
             back (seed {})",
            crate::seed()
        ),
    );
    let mut world = World::new();
    let mut violations = Vec::new();
    let began = Instant::now();
    for (n, case) in cases(&world).into_iter().enumerate() {
        let mut dice = crate::seed() ^ u64::try_from(n).unwrap();
        let name = format!("{} {:?}", case.class, case.kind);
        let Some(faults) = live(&mut world, &case, crate::draw(&mut dice)) else {
            continue;
        };
        violations.extend(faults.iter().map(|f| format!("{name}: {f}")));
        proof.one("cases");
        proof.one(format!("{:?}", case.kind));
        let room: Vec<&str> = case.class.split('/').take(2).collect();
        proof.one(room.join("/"));
    }
    println!("{} s", began.elapsed().as_secs());
    let filtered = std::env::var_os("DAMAGE").is_some();
    assert!(filtered || proof.count("cases") >= 50, "too few cases");
    world.node.start();
    proof.conclude("damage_on_the_real_thing", &violations);
}

/// One case; none if the damage would change nothing.
fn live(world: &mut World, case: &Case, dice: u64) -> Option<Vec<String>> {
    let aside = world.node.dir().join("aside");
    fs::create_dir_all(&aside).unwrap();
    let old = world.old(&case.path);
    let damaged = damage(&case.path, case.kind, &aside, &old, dice)?;
    let before = fs::read(&case.path).ok();
    let mut faults = Vec::new();
    if is_beyond_help(&case.class, case.kind) {
        faults.extend(refusal_faults(world, case));
    } else {
        let started = catch_unwind(AssertUnwindSafe(|| {
            world.node.start();
            let mut faults = world.faults();
            faults.extend(silence(world, case));
            faults
        }));
        match started {
            Ok(found) => faults.extend(found),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                faults.push(text.chars().take(600).collect());
            }
        }
        let journal = case.class.starts_with("state/journal/");
        if journal && fs::read(&case.path).ok() != before {
            faults.push("its bytes were changed".to_owned());
        }
    }
    if fs::read_to_string(aside.join("decoy")).unwrap() != DECOY {
        faults.push("it was written through the link".to_owned());
    }
    if world.node.started() {
        world.node.kill9();
    }
    damaged.undo();
    world.heal();
    Some(faults)
}

/// It can't start: one line says what to do, and nothing ended.
fn refusal_faults(world: &World, case: &Case) -> Vec<String> {
    let said = world.node.run_to_end();
    let line = said.err.lines().last().unwrap_or_default();
    let path = case.path.to_str().unwrap();
    if said.code == 1 && line.contains(path) && line.contains("remove what is there") {
        return Vec::new();
    }
    vec![format!("it ended with {} and {line:?}", said.code)]
}

/// What the damage of a file of the journal or the store is told by: `verify`, or a degraded
/// mode. A store may be whole in spite of it.
fn silence(world: &World, case: &Case) -> Vec<String> {
    let modes = world.modes();
    let verify = world.node.cli(&["state", "verify"]);
    let told = verify.code == 1 || !modes.is_empty();
    let journal = case.class.starts_with("state/journal/");
    // A first segment below the older snapshot is gone like one that was let go.
    let expendable = case.class.ends_with("/00000000000000000001.jsonl");
    match (journal, told) {
        (true, false) if expendable && case.kind == Kind::Removed => Vec::new(),
        // A snapshot more or less is no loss: segments say the same.
        (true, false) if case.class.contains("snapshot-") && case.kind == Kind::Removed => {
            Vec::new()
        }
        (true, false) => vec![format!("nothing tells of it: {}", verify.out)],
        (false, _) if verify.code != 0 => vec![format!("verify: {}", verify.out)],
        _ => Vec::new(),
    }
}

/// Replaces a directory by something.
type Replacement = fn(&World, &Path);

fn by_nothing(_: &World, path: &Path) {
    remove(path).unwrap();
}

fn by_a_file(_: &World, path: &Path) {
    remove(path).unwrap();
    fs::write(path, "no directory").unwrap();
}

fn by_a_dangling_link(world: &World, path: &Path) {
    remove(path).unwrap();
    std::os::unix::fs::symlink(world.node.dir().join("nothing"), path).unwrap();
}

fn by_its_old_copy(world: &World, path: &Path) {
    copy_dir(&world.old(path), path);
}

fn by_an_empty_one(_: &World, path: &Path) {
    remove(path).unwrap();
    fs::create_dir(path).unwrap();
}

const REPLACEMENTS: [(&str, Replacement); 5] = [
    ("removed", by_nothing),
    ("a file", by_a_file),
    ("a dangling link", by_a_dangling_link),
    ("its hour-old copy", by_its_old_copy),
    ("empty", by_an_empty_one),
];

#[test]
fn s01_each_directory_replaced_in_turn_costs_no_container() {
    let mut world = World::new();
    for room in ["journal", "db", "exits", "logs"] {
        for (how, replace) in REPLACEMENTS {
            let path = world.node.state().join(room);
            let kept = how == "its hour-old copy" && !world.old(&path).exists();
            if kept {
                continue;
            }
            replace(&world, &path);
            world.node.start();
            // The ticker's log is among what is gone: then it is heard by nobody.
            let faults = match room {
                "logs" => world.process_faults(),
                _ => world.faults(),
            };
            assert!(faults.is_empty(), "{room} by {how}: {faults:#?}");
            let modes = world.modes();
            match room {
                "journal" => {
                    let told = ["JournalLost", "JournalDamaged"];
                    let told = told.iter().any(|mode| modes.contains_key(*mode));
                    assert!(told, "{room} by {how}: {modes:?}");
                }
                "db" if how != "its hour-old copy" => {
                    assert!(modes.contains_key("StoreRebuilt"), "{how}: {modes:?}");
                }
                _ => {}
            }
            world.heal();
        }
    }
}
