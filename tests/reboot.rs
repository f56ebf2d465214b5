//! Reboots: nothing lives, `/run` is empty, the clock begins anew and the boot id is another one.
//! The daemon lives on a machine of its own for it (`survival/machine.rs`): real processes, mounts,
//! namespaces and cgroups are ended, and what it finds then is what a boot finds.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    #[allow(dead_code, reason = "each test file uses its own part")]
    pub mod proof;
}
mod survival {
    pub mod draw;
    pub mod gates;
    pub mod machine;
    pub mod node;
    #[allow(dead_code, reason = "each test file uses its own part")]
    pub mod rows;
}

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};
use support::{
    daemon::process_runs,
    proof::{self, Proof},
};
use survival::{
    draw::Draw,
    node::{Node, OBEY},
    rows,
};

fn told(reason: &str, code: Option<i32>) -> (String, Option<i32>) {
    (reason.to_owned(), code)
}

fn lines_of(node: &Node, kind: &str) -> Vec<Value> {
    let mut lines = node.daemon.lines();
    lines.retain(|line| line["kind"] == kind);
    lines
}

/// SIGTERM to the daemon of a machine that is going down; then its containers get this signal.
fn go_down(node: &mut Node, ends: &[(&str, &str)]) {
    let stopping = lines_of(node, "node_stopping").len();
    let ran: Vec<_> = ends
        .iter()
        .map(|(id, signal)| (node.runs_as(id), *signal))
        .collect();
    node.machine.as_ref().unwrap().begin_to_stop();
    assert!(node.daemon.terminate().success());
    assert_eq!(lines_of(node, "node_stopping").len(), stopping + 1);
    for ((container, pid), signal) in ran {
        node.kill(pid, signal);
        node.daemon.wait("its exit file", |_| {
            node.exit_file(&container).exists().then_some(())
        });
    }
}

#[test]
fn after_node_stopping_an_end_says_how_it_was_taken_down_and_not_that_it_failed() {
    let mut node = Node::on_a_machine();
    let again = [
        node.run("Always"),
        node.run("OnFailure"),
        node.run("OnFailure"),
    ];
    let (failed, done) = (node.run("Never"), node.run("Never"));
    node.settle();
    let mark = node.mark();
    let [a, b, c] = [&again[0], &again[1], &again[2]].map(String::as_str);
    go_down(
        &mut node,
        &[
            (a, "TERM"),
            (b, "TERM"),
            (c, "KILL"),
            (&failed, "KILL"),
            (&done, "TERM"),
        ],
    );
    node.power_cut(false);
    node.boot(None);
    node.daemon.start();
    for (id, code) in again.iter().zip([0, 0, 137]) {
        assert_eq!(node.failed(id, mark), told("NodeRebooted", Some(code)));
        rows::assert_second_attempt(&node, id);
        let waited = node.lines(&node.attempt(id, 1), "exited");
        assert_eq!(waited[0]["backoff"].as_u64().unwrap_or(0), 0, "{waited:?}");
    }
    assert_eq!(node.failed(&failed, mark), told("NodeRebooted", Some(137)));
    node.until_wire(&done, "TERMINATED");
    for id in [&failed, &done] {
        assert_eq!(node.runs(id), 1, "{id} ran again");
    }
    node.end();
}

#[test]
fn s15_a_new_boot_id_with_the_run_dir_kept_needs_no_operator() {
    let mut node = Node::on_a_machine();
    let (always, done, failed) = (node.run("Always"), node.run("OnFailure"), node.run("Never"));
    node.settle();
    let mark = node.mark();
    let ends = [node.runs_as(&done), node.runs_as(&failed)];
    node.daemon.kill9();
    for ((container, pid), signal) in ends.iter().zip(["USR2", "USR1"]) {
        node.kill(*pid, signal);
        let file = node.persist(container).join("exit");
        node.daemon
            .wait("its exit file", |_| file.exists().then_some(()));
    }
    let names = node.machine.as_ref().unwrap().netns();
    node.power_cut(true);
    node.boot(None);
    // Names of namespaces are files, and those stayed, too; what they named is gone.
    let netns = node.machine.as_ref().unwrap().path("/run/netns");
    fs::create_dir(&netns).unwrap();
    assert!(!names.is_empty());
    names
        .iter()
        .for_each(|name| fs::write(netns.join(name), "").unwrap());
    node.daemon.start();
    assert_eq!(node.failed(&always, mark), told("NodeRebooted", None));
    rows::assert_second_attempt(&node, &always);
    assert_eq!(node.failed(&failed, mark), told("Error", Some(37)));
    node.until_wire(&done, "TERMINATED");
    assert_eq!((node.runs(&done), node.runs(&failed)), (1, 1));
    node.end();
}

#[test]
fn s15_an_emptied_run_dir_in_the_same_boot_needs_no_operator() {
    for alive in [false, true] {
        let mut node = Node::on_a_machine();
        let (always, never) = (node.run("Always"), node.run("Never"));
        let failed = node.run("Never");
        node.settle();
        let mark = node.mark();
        let pids = [&always, &never].map(|id| node.runs_as(id).1);
        let (container, pid) = node.runs_as(&failed);
        node.daemon.kill9();
        node.kill(pid, "USR1");
        node.daemon.wait("its exit file", |_| {
            node.exit_file(&container).exists().then_some(())
        });
        if alive {
            fs::remove_dir_all(node.daemon.run()).unwrap();
            fs::create_dir(node.daemon.run()).unwrap();
        } else {
            node.power_cut(false);
            let id = node.boot_id();
            node.boot(Some(&id));
        }
        node.daemon.start();
        let why = if alive {
            "RuntimeStateLost"
        } else {
            "MonitorLost"
        };
        for id in [&always, &never] {
            assert_eq!(node.failed(id, mark), told(why, None));
        }
        rows::assert_second_attempt(&node, &always);
        assert_eq!(node.failed(&failed, mark), told("Error", Some(37)));
        assert_eq!((node.living(&always), node.living(&never)), (1, 0));
        assert_eq!((node.runs(&never), node.runs(&failed)), (1, 1));
        assert!(!pids.iter().any(|pid| process_runs(*pid)));
        node.end();
    }
}

#[test]
fn s18_a_boot_without_a_scheduler_runs_every_desired_workload() {
    let mut node = Node::on_a_machine();
    let again = [
        node.run("Always"),
        node.run("OnFailure"),
        node.run("Always"),
    ];
    let never = node.run("Never");
    let done = node.run("OnFailure");
    // One that waits for its next start: 10 s after its second exit.
    let looper = node.run("Always");
    node.settle();
    for attempt in [1, 2] {
        node.daemon.wait("its next attempt", |_| {
            let (container, pid) = node.runs_as(&looper);
            let ready = container == node.attempt(&looper, attempt.try_into().unwrap());
            (ready && node.runs(&looper) == attempt).then(|| node.kill(pid, "USR1"))
        });
    }
    let second = node.attempt(&looper, 2);
    node.daemon.wait("its second exit", |_| {
        (!node.lines(&second, "exited").is_empty()).then_some(())
    });
    let (container, pid) = node.runs_as(&done);
    node.daemon.kill9();
    node.kill(pid, "USR2");
    node.daemon.wait("its exit file", |_| {
        node.exit_file(&container).exists().then_some(())
    });
    let mark = node.mark();
    node.scheduler.die();
    node.power_cut(false);
    node.boot(None);
    node.daemon.start();
    for id in &again {
        let second = node.attempt(id, 2);
        node.daemon.wait("it to run", |_| {
            let container = node.container(id);
            (container["id"] == *second && container["state"] == "running").then_some(())
        });
        assert_eq!(node.living(id), 1);
    }
    assert_waited_anew(&node, &looper);
    assert_eq!((node.runs(&never), node.runs(&done)), (1, 1));
    // And all of it is told, in order, once somebody listens.
    node.revive();
    node.until_wire(&done, "TERMINATED");
    node.settle();
    for id in &again {
        let told: Vec<_> = node.arrived(id, mark).into_iter().map(|s| s.0).collect();
        let repeated = usize::from(told[0] == "RUNNING");
        assert_eq!(told[repeated..], ["FAILED", "CREATING", "RUNNING"], "{id}");
    }
    node.end();
}

/// The delay that was left when the node went down has passed anew, by the new clock.
fn assert_waited_anew(node: &Node, id: &str) {
    let third = node.attempt(id, 3);
    node.daemon.wait("its third attempt", |_| {
        (!node.lines(&third, "attempt_intended").is_empty()).then_some(())
    });
    let up = |line: &Value| line["up"].as_u64().unwrap();
    let exited = node.lines(&node.attempt(id, 2), "exited").remove(0);
    let boot = lines_of(node, "boot").pop().unwrap();
    let before = node.daemon.lines();
    let before = before.iter().filter(|line| line["boot"] == exited["boot"]);
    let left = exited["next_up"].as_u64().unwrap() - before.map(up).max().unwrap();
    let intended = up(&node.lines(&third, "attempt_intended")[0]);
    let waited = intended - up(&boot);
    assert!(left > 2_000, "nothing was left to wait for: {left}");
    assert!(
        (left..left + 10_000).contains(&waited),
        "{waited} ms of {left}"
    );
}

#[test]
fn a_standalone_node_runs_again_by_itself_what_it_was_told() {
    let mut node = Node::prepare_standalone();
    node.boot(None);
    node.daemon.start();
    node.daemon
        .apply(&node.daemon.definition("web", survival::node::OBEY));
    node.daemon.until("web@cli", "Running");
    let pid = node.runs_as("web@cli").1;
    node.daemon.kill9();
    node.power_cut(false);
    node.boot(None);
    node.daemon.start();
    let row = node.daemon.wait("it to run again", |d| {
        d.row("web@cli")
            .filter(|row| row["state"] == "Running" && row["restarts"] == 1)
    });
    assert!(!process_runs(pid));
    assert_eq!(row["containers"][0]["id"], *node.attempt("web@cli", 2));
    let exit = &node.lines(&node.attempt("web@cli", 1), "exited")[0];
    assert_eq!(
        (&exit["reason"], &exit["code"]),
        (&json!("NodeRebooted"), &Value::Null)
    );
    node.daemon.ok(&["delete", "web"]);
    node.daemon.until_nothing_is_left();
}

#[test]
fn a_drained_node_stays_drained_across_a_reboot_and_runs_everything_after_uncordon() {
    let mut node = Node::on_a_machine();
    let (web, job) = (node.run("Always"), node.run("Never"));
    node.settle();
    node.daemon.ok(&["drain"]);
    node.daemon.wait("the node to be drained", |d| {
        let rows = d.ps();
        let stopped = |row: &Value| row["reason"] == "NodeDrained";
        (rows.iter().all(stopped) && d.pids().is_empty()).then_some(())
    });
    node.daemon.kill9();
    node.power_cut(false);
    node.boot(None);
    node.daemon.start();
    node.until_starts_begin();
    node.daemon
        .wait("nothing to be due", |d| d.plan().is_empty().then_some(()));
    assert_eq!(node.daemon.status()["drained"], json!(true));
    assert_eq!((node.living(&web), node.living(&job)), (0, 0));
    node.daemon.ok(&["uncordon"]);
    for id in [&web, &job] {
        rows::assert_second_attempt(&node, id);
    }
    node.end();
}

/// How a machine goes down and comes up in the long proof.
const KINDS: &[&str] = &[
    "power cut",
    "power cut, scheduler away",
    "in order",
    "new boot id, run dir kept",
    "same boot id, run dir emptied",
    "new boot id, everything alive",
];

fn reboot(node: &mut Node, kind: &str, running: &[&str]) {
    match kind {
        "in order" => {
            let ends: Vec<_> = running.iter().map(|id| (*id, "TERM")).collect();
            go_down(node, &ends);
        }
        _ => node.daemon.kill9(),
    }
    match kind {
        "new boot id, everything alive" => {
            let id = node.new_boot_id();
            node.machine.as_ref().unwrap().forge_boot_id(&id);
        }
        "same boot id, run dir emptied" => {
            node.power_cut(false);
            let id = node.boot_id();
            node.boot(Some(&id));
        }
        _ => {
            node.power_cut(kind == "new boot id, run dir kept");
            node.boot(None);
        }
    }
    let away = kind.ends_with("scheduler away");
    if away {
        node.scheduler.die();
    }
    node.daemon.start();
    if away {
        node.daemon.wait("what is to run", |d| {
            (d.pids().len() == running.len()).then_some(())
        });
        node.revive();
    }
}

/// Reboots of every kind, one after the other, on a node that grows old by them.
#[test]
fn reboots() {
    let seed = survival::draw::seed();
    let mut draw = Draw(seed);
    let mut proof = Proof::of(
        "after any reboot all that is to run runs once, and what ended isn't run again",
        format!(
            "the daemon on a machine of its own: every process of the node killed, mounts, namespaces, cgroups and /run gone, a new clock; seed {seed}"
        ),
    );
    let mut violations = Vec::new();
    let mut node = Node::on_a_machine();
    let again = [
        node.run("Always"),
        node.run("OnFailure"),
        node.run("Always"),
    ];
    let running: Vec<&str> = again.iter().map(String::as_str).collect();
    let mut runs: BTreeMap<&str, usize> = running.iter().map(|id| (*id, 1)).collect();
    for round in 0..proof::rounds(3, 50) {
        let drawn = draw.below(KINDS.len() as u64);
        let kind = KINDS[usize::try_from(drawn).unwrap()];
        let (done, lost) = (node.run("Never"), node.run("Never"));
        node.kill(node.runs_as(&done).1, "USR2");
        node.until_wire(&done, "TERMINATED");
        node.settle();
        let mut lives = running.clone();
        lives.push(&lost);
        let restarts: BTreeMap<_, _> = running.iter().map(|id| (*id, node.runs_as(id).0)).collect();
        reboot(
            &mut node,
            kind,
            if kind.ends_with("away") {
                &running
            } else {
                &lives
            },
        );
        for id in &running {
            node.daemon
                .wait(&format!("{id} to run again after {kind}"), |_| {
                    let container = node.container(id);
                    let anew = container["id"] != *restarts[id];
                    (anew && container["state"] == "running").then_some(())
                });
            node.until_running(id);
            *runs.get_mut(id).unwrap() += 1;
        }
        node.settle();
        let mut check = |what: String, holds: bool| {
            if !holds {
                violations.push(format!(
                    "round {round} ({kind}, RIKLET_SEED={seed}): {what}"
                ));
            }
        };
        for id in &running {
            check(
                format!("{id} lives {} times", node.living(id)),
                node.living(id) == 1,
            );
            check(
                format!("{id} ran {} times", node.runs(id)),
                node.runs(id) == runs[id],
            );
        }
        for id in [&done, &lost] {
            check(
                format!("{id} ran {} times", node.runs(id)),
                node.runs(id) == 1,
            );
        }
        let _ = node.scheduler.destroy(&lost);
        node.until_wire(&lost, "TERMINATED");
        let mounts = node.machine.as_ref().unwrap().mounts(node.daemon.dir());
        // A root file system each, and what each sandbox shares: IPC, hostname, memory.
        let mounts = (mounts.len(), 4 * running.len());
        check(format!("{mounts:?} mounts"), mounts.0 == mounts.1);
        let netns = node.machine.as_ref().unwrap().netns().len();
        check(format!("{netns} namespaces"), netns == running.len());
        proof.one("reboots");
        proof.one(kind);
        proof.add("starts after a reboot", running.len() as u64);
    }
    node.end();
    proof.conclude("reboots", &violations);
}

/// The first of the node's ids that a process has.
fn first_id(pid: i32) -> u32 {
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    map.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn after_a_reboot_a_pod_has_the_ids_that_it_had_and_its_files() {
    let mut node = Node::on_a_machine();
    let script = format!("echo start >>/data/starts; {OBEY}");
    let mut definition: Value = serde_json::from_str(&node.definition(&script, "Always")).unwrap();
    definition["spec"]["hostUsers"] = json!(false);
    definition["spec"]["volumes"] = json!([{ "name": "data", "emptyDir": {} }]);
    definition["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "data", "mountPath": "/data" }]);
    let ids = [node.name("own"), node.name("own")];
    for id in &ids {
        node.scheduler.create(id, &definition.to_string()).unwrap();
        node.until_running(id);
    }
    let had = ids.each_ref().map(|id| first_id(node.runs_as(id).1));
    let fine = had.iter().all(|first| *first >= 65_536);
    assert!(fine && had[0] != had[1], "{had:?}");
    // With the run dir gone; and with all that was in it, of which nothing is mounted any more.
    for (boot, run_stays) in [false, true].into_iter().enumerate() {
        node.settle();
        node.daemon.kill9();
        node.power_cut(run_stays);
        node.boot(None);
        node.daemon.start();
        for (id, first) in ids.iter().zip(had) {
            let attempt = u32::try_from(boot + 2).unwrap();
            let container = node.attempt(id, attempt);
            node.daemon.wait("its next attempt to run", |_| {
                let found = node.container(id);
                (found["id"] == *container && found["state"] == "running").then_some(())
            });
            assert_eq!(first_id(node.runs_as(id).1), first);
            node.daemon.wait("its file to have been written", |d| {
                let starts = d.cli(&["exec", id, "--", "/bin/sh", "-c", "cat /data/starts"]);
                (starts.out.lines().count() == boot + 2).then_some(())
            });
        }
    }
    node.end();
}
