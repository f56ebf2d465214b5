//! The store damaged from within, and ahead of a journal whose end is lost.

use std::{fs, path::Path};

use super::{
    kinds::remove,
    world::{SERVE, World, modes, run},
};
use crate::{below, support::proof::rounds};

/// What is done to the database, and whether that has to be noticed.
type Attack = (&'static str, fn(&sled::Db, &mut u64), bool);

const ATTACKS: &[Attack] = &[
    ("random keys dropped", drop_random_keys, true),
    ("all keys dropped", drop_all, true),
    (
        "its meta record dropped",
        |db, _| drop_key(db, b"meta"),
        true,
    ),
    ("a value changed", change_value, true),
    ("a newer schema", newer_schema, true),
    ("a tree of somebody else's", foreign_tree, false),
    ("a key of somebody else's", foreign_key, true),
    (
        "its meta record is garbage",
        |db, _| put(db, b"meta", b"{"),
        true,
    ),
];

fn put(db: &sled::Db, key: &[u8], value: &[u8]) {
    db.insert(key, value).unwrap();
}

fn drop_key(db: &sled::Db, key: &[u8]) {
    assert!(db.remove(key).unwrap().is_some());
}

fn keys(db: &sled::Db) -> Vec<sled::IVec> {
    db.scan_prefix("p/")
        .keys()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn drop_random_keys(db: &sled::Db, dice: &mut u64) {
    let mut keys = keys(db);
    for _ in 0..=below(dice, keys.len() - 1) {
        let key = keys.swap_remove(below(dice, keys.len()));
        db.remove(key).unwrap();
    }
}

fn drop_all(db: &sled::Db, _: &mut u64) {
    db.clear().unwrap();
}

fn change_value(db: &sled::Db, dice: &mut u64) {
    let keys = keys(db);
    let key = &keys[below(dice, keys.len())];
    let mut value = db.get(key).unwrap().unwrap().to_vec();
    let at = below(dice, value.len());
    value[at] ^= 1;
    db.insert(key, value).unwrap();
}

fn newer_schema(db: &sled::Db, _: &mut u64) {
    let meta = db.get("meta").unwrap().unwrap();
    let mut meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
    meta["schema"] = 99.into();
    put(db, b"meta", meta.to_string().as_bytes());
}

fn foreign_tree(db: &sled::Db, _: &mut u64) {
    let tree = db.open_tree("somebody").unwrap();
    tree.insert("else", "'s").unwrap();
}

fn foreign_key(db: &sled::Db, _: &mut u64) {
    put(db, b"p/somebody", b"else's");
}

fn attack(dir: &Path, with: fn(&sled::Db, &mut u64), dice: &mut u64) {
    let db = sled::Config::new().path(dir).flush_every_ms(None).open();
    let db = db.unwrap();
    with(&db, dice);
    db.flush().unwrap();
}

#[test]
fn s02_whatever_is_dropped_from_the_store_costs_no_container() {
    let mut world = World::new();
    let mut dice = crate::seed();
    for round in 0..rounds(1, 20) {
        for (name, with, noticed) in ATTACKS {
            attack(&world.node.state().join("db"), *with, &mut dice);
            world.node.start();
            let faults = world.faults();
            assert!(faults.is_empty(), "{name} (round {round}): {faults:#?}");
            let shown = modes(&world.node);
            let told = shown.contains_key("StoreRebuilt");
            assert_eq!(told, *noticed, "{name}: {shown:?}");
            assert_eq!(world.node.cli(&["state", "verify"]).code, 0, "{name}");
            world.heal();
        }
    }
    // What isn't a database at all.
    let db = world.node.state().join("db");
    remove(&db).unwrap();
    fs::create_dir(&db).unwrap();
    for name in ["db", "conf", "snap.0000000000000000"] {
        fs::write(db.join(name), "not sled's ".repeat(400)).unwrap();
    }
    world.node.start();
    let faults = world.faults();
    assert!(faults.is_empty(), "garbage: {faults:#?}");
    assert!(modes(&world.node).contains_key("StoreRebuilt"));
    // A link in it leads into somebody else's file, which is not written to.
    world.heal();
    let decoy = world.node.dir().join("decoy");
    fs::write(&decoy, "somebody else's").unwrap();
    remove(&db.join("db")).unwrap();
    std::os::unix::fs::symlink(&decoy, db.join("db")).unwrap();
    world.node.start();
    let faults = world.faults();
    assert!(faults.is_empty(), "a link: {faults:#?}");
    assert_eq!(fs::read_to_string(&decoy).unwrap(), "somebody else's");
}

#[test]
fn s01_a_store_ahead_of_a_journal_whose_end_is_lost_carries_on() {
    let mut world = World::new();
    world.node.start();
    run(&world.node, "late", SERVE);
    world.learn();
    world.node.terminate();
    let applied = world.node.lines().last().unwrap()["seq"].as_u64().unwrap();
    world.keep();
    let journal = world.node.state().join("journal");
    let mut segments: Vec<_> = fs::read_dir(&journal)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    segments.sort();
    let last = segments.pop().unwrap();
    let whole = fs::read(&last).unwrap();
    let ends: Vec<usize> = (1..=whole.len())
        .filter(|n| whole[n - 1] == b'\n')
        .collect();
    let mut dice = crate::seed();
    for round in 0..rounds(4, 40) {
        // At the end of a line, and within one.
        let line = below(&mut dice, ends.len() - 1);
        let within = if round % 2 == 0 {
            0
        } else {
            below(&mut dice, 40)
        };
        let cut = ends[line] + within;
        fs::write(&last, &whole[..cut]).unwrap();
        world.node.start();
        let faults = world.faults();
        assert!(faults.is_empty(), "cut at {cut}: {faults:#?}");
        let shown = modes(&world.node);
        assert!(
            shown.contains_key("JournalDamaged"),
            "cut at {cut}: {shown:?}"
        );
        let lines = world.node.lines();
        let next = lines
            .iter()
            .rev()
            .find(|line| line["kind"] == "segment_header");
        let next = next.unwrap()["seq"].as_u64().unwrap();
        assert!(next > applied, "cut at {cut}: seq {next} was used before");
        // What the store knew is in the journal now: it can do without the store.
        world.node.kill9();
        remove(&world.node.state().join("db")).unwrap();
        world.node.start();
        let faults = world.faults();
        assert!(
            faults.is_empty(),
            "cut at {cut}, then no store: {faults:#?}"
        );
        world.heal();
    }
}
