//! Lines that nobody has any more: the instances that they may have been about are neither
//! started nor stopped until an instruction names them, or `state repair --accept`.

use std::fs;

use serde_json::Value;

use super::{
    kinds::remove,
    world::{SERVE, TICK, modes, node, run, start_time},
};
use crate::support::daemon::{Daemon, SOON, process_runs, signal};

/// A node with `web` and `db`, then a line that is damaged, then `ticker`; journal only.
struct Doubtful {
    node: Daemon,
    pids: Vec<(String, i32, String)>,
}

impl Doubtful {
    fn pid(&self, instance: &str) -> i32 {
        let found = self.pids.iter().find(|(name, ..)| name == instance);
        found.unwrap().1
    }

    fn row(&self, instance: &str) -> Value {
        self.node.row(instance).unwrap()
    }

    fn assert_same_processes(&self) {
        for (instance, pid, began) in &self.pids {
            assert_eq!(start_time(*pid).as_ref(), Some(began), "{instance}");
        }
    }

    fn in_doubt(&self) -> Vec<String> {
        let view = self.node.ok(&["state", "repair", "-o", "json"]).json();
        let doubted = view["doubted"].as_array().unwrap().iter();
        doubted
            .map(|d| d["instance"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// The daemon is dead, the line damaged, the store gone.
fn doubtful() -> Doubtful {
    let mut node = node();
    node.start();
    run(&node, "web", SERVE);
    run(&node, "db", SERVE);
    node.restart();
    let hole = node.lines().last().unwrap()["seq"].as_u64().unwrap();
    run(&node, "ticker", TICK);
    let mut pids = Vec::new();
    for (instance, of) in node.pids() {
        pids.push((instance, of[0], start_time(of[0]).unwrap()));
    }
    node.kill9();
    damage_line(&node, hole);
    remove(&node.state().join("db")).unwrap();
    Doubtful { node, pids }
}

/// Makes one line unreadable, in place.
fn damage_line(node: &Daemon, seq: u64) {
    let head = format!("{{\"seq\":{seq},");
    for entry in fs::read_dir(node.state().join("journal")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if let Some(at) = text.find(&head) {
            let (from, to) = (at + head.len(), at + head.len() + 40);
            let mut bytes = text.into_bytes();
            bytes[from..to].fill(b'#');
            fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("no line {seq}");
}

#[test]
fn s01_an_instance_whose_lines_are_damaged_is_neither_started_nor_stopped() {
    let mut world = doubtful();
    world.node.start();
    let node = &world.node;
    world.assert_same_processes();
    let shown = modes(node);
    let damaged = &shown["JournalDamaged"];
    assert!(damaged.contains("2 instances are in doubt"), "{damaged}");
    for instance in ["web@cli", "db@cli"] {
        assert_eq!(world.row(instance)["reason"], "InDoubt");
    }
    assert_eq!(world.row("ticker@cli")["reason"], Value::Null);
    assert_eq!(node.status()["instances"]["in_doubt"], 2);

    // One of them ends: nothing is started, and `plan` and `explain` say why.
    signal(world.pid("web@cli"), "KILL");
    let ended = |_: &Daemon| (!process_runs(world.pid("web@cli"))).then_some(());
    node.wait("web to end", ended);
    let lines = node.lines().len();
    let ticks = || node.logs("ticker").matches("tick").count();
    let before = ticks();
    node.wait("some time to pass", |_| {
        (ticks() > before + 30).then_some(())
    });
    assert_eq!(node.lines().len(), lines, "something was done");
    assert_eq!(
        world.row("web@cli")["state"],
        "Running",
        "the last that is known"
    );
    let plan = node.ok(&["plan", "-o", "json"]).json();
    assert_eq!(plan["instances"].as_array().unwrap().len(), 0, "{plan}");
    assert_eq!(plan["held"].as_array().unwrap().len(), 2, "{plan}");
    let told = node.ok(&["explain", "web"]).out;
    assert!(told.contains("in doubt"), "{told}");

    // It outlives a kill, and the store that is there again.
    world.node.restart();
    assert_eq!(world.in_doubt(), ["db@cli", "web@cli"]);

    // An instruction that names one settles it, also one that says what is known.
    let node = &world.node;
    node.apply(&node.definition("web", SERVE));
    let row = node.wait("web to run again", |d| {
        let row = d.row("web@cli")?;
        (row["containers"][0]["restarts"] == 1 && row["state"] == "Running").then_some(row)
    });
    assert_eq!(row["reason"], Value::Null);
    assert_eq!(world.in_doubt(), ["db@cli"]);
    assert!(process_runs(world.pid("db@cli")));

    // And so does an operator who accepts what is known.
    let said = node.ok(&["state", "repair", "--accept"]);
    assert!(said.out.contains("1 instance in doubt"), "{}", said.out);
    assert_eq!(world.in_doubt(), Vec::<String>::new());
    assert!(!modes(node).contains_key("JournalDamaged"));
    assert_eq!(
        node.cli(&["state", "verify"]).code,
        1,
        "history stays damaged"
    );
    world.node.restart();
    let node = &world.node;
    assert!(!modes(node).contains_key("JournalDamaged"));
    assert!(process_runs(world.pid("db@cli")), "accepting stops nothing");
    for instance in ["web", "db", "ticker"] {
        node.ok(&["delete", instance]);
    }
    node.until_nothing_is_left();
}

#[test]
fn s01_what_is_in_doubt_is_settled_without_a_daemon_too_and_a_delete_names_it() {
    let mut world = doubtful();
    // What a start would doubt is shown, and nothing is changed by looking.
    let journal = world.node.state().join("journal");
    let files = || fs::read_dir(&journal).unwrap().count();
    let before = files();
    assert_eq!(world.in_doubt(), ["db@cli", "web@cli"]);
    assert_eq!(files(), before);
    let said = world.node.ok(&["state", "repair", "--accept"]);
    assert!(said.out.contains("2 instances in doubt"), "{}", said.out);
    world.node.start();
    assert_eq!(world.in_doubt(), Vec::<String>::new());
    world.assert_same_processes();
    assert!(world.node.plan().is_empty());
    assert!(!modes(&world.node).contains_key("JournalDamaged"));

    // The same hole once more: a delete is an instruction as well.
    world.node.restart();
    world.node.kill9();
    let lines = world.node.lines();
    let mut starts = lines.iter().rev().filter(|l| l["kind"] == "daemon_started");
    // Not the last one: of bad bytes at the very end nobody knows that there was a receipt.
    let line = starts.nth(1).unwrap();
    damage_line(&world.node, line["seq"].as_u64().unwrap());
    for name in fs::read_dir(&journal).unwrap() {
        let path = name.unwrap().path();
        if path.to_str().unwrap().contains("snapshot-") {
            remove(&path).unwrap();
        }
    }
    remove(&world.node.state().join("db")).unwrap();
    world.node.start();
    assert_eq!(world.in_doubt().len(), 3);
    world.assert_same_processes();
    for instance in ["web", "db", "ticker"] {
        world.node.ok(&["delete", instance]);
    }
    world.node.until_nothing_is_left();
    let ended = |_: &Daemon| world.pids.iter().all(|(_, pid, _)| !process_runs(*pid));
    world
        .node
        .wait_within(SOON, "all to end", |d| ended(d).then_some(()));
}

#[test]
fn s01_state_repair_beside_a_daemon_that_does_not_answer_is_refused_with_its_pid() {
    let mut node = node();
    node.start();
    let pid = node.pid().to_string();
    let elsewhere = node.dir().join("nobody.sock");
    let elsewhere = elsewhere.to_str().unwrap();
    let said = node.cli(&["state", "repair", "--accept", "--socket", elsewhere]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(&pid), "{said:?}");
    node.terminate();
}
