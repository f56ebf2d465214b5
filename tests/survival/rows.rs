//! The rows of the matrix in docs/architecture.md, "What a start finds": each makes what is found
//! by killing the named process at the named step, starts the daemon, and sees what it does.
//!
//! A row may be lived again and again on one node: it names its instances anew.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::node::Node;
use crate::support::daemon::process_runs;

/// A row, by the name of its test.
pub type Row = (&'static str, fn(&mut Node));

fn unknown(reason: &str) -> (String, Option<i32>) {
    (reason.to_owned(), None)
}

fn exactly(reason: &str, code: i32) -> (String, Option<i32>) {
    (reason.to_owned(), Some(code))
}

/// It was adopted as it was: the same process, never another, and nothing new on the wire.
fn assert_untouched(node: &Node, id: &str, runs_as: &(String, i32), mark: usize) {
    node.settle();
    assert_eq!(node.runs_as(id), *runs_as);
    assert!(process_runs(runs_as.1));
    for (status, _, _, seq) in node.arrived(id, mark) {
        let before = node.arrived(id, 0);
        let known = before.iter().any(|s| s.3 == seq && s.0 == status);
        assert!(
            known && status == "RUNNING",
            "{id}: {status} of {seq}, {before:?}"
        );
    }
    let attempts = node.lines(&runs_as.0, "attempt_intended").len();
    assert_eq!((attempts, node.runs(id)), (1, 1));
}

/// It runs by its second attempt, and nothing of the first is left.
pub fn assert_second_attempt(node: &Node, id: &str) {
    let (first, second) = (node.attempt(id, 1), node.attempt(id, 2));
    node.daemon.wait("its second attempt to run", |_| {
        let container = node.container(id);
        (container["id"] == *second && container["state"] == "running").then_some(())
    });
    node.until_wire(id, "RUNNING");
    assert_nothing_left_of(node, &first);
}

/// Nothing of this attempt is left but its log.
pub fn assert_nothing_left_of(node: &Node, container: &str) {
    node.daemon.wait("nothing of it to be left", |_| {
        let paths = [
            node.runc_dir(container),
            node.persist(container),
            node.exit_file(container),
        ];
        let gone = paths.iter().all(|path| path.symlink_metadata().is_err());
        (gone && node.cgroups(container).is_empty()).then_some(())
    });
}

pub fn running_is_adopted_as_it_is(node: &mut Node) {
    let id = node.run("Always");
    node.settle();
    let (runs_as, mark) = (node.runs_as(&id), node.mark());
    let lines = node.daemon.lines().len();
    node.daemon.restart();
    assert_untouched(node, &id, &runs_as, mark);
    let new = node.daemon.lines().split_off(lines);
    assert!(new.iter().all(|line| line["state"].is_null()), "{new:#?}");
}

pub fn running_and_never_recorded_started_is_adopted(node: &mut Node) {
    node.gates.close("started");
    node.gates.say_once(
        "start",
        "runc \"$@\"; touch \"$here/started\"; wait_for never\n",
    );
    let id = node.place("Always");
    node.gates.reached(&node.daemon, "started");
    node.daemon.kill9();
    let container = node.attempt(&id, 1);
    assert_eq!(node.lines(&container, "created").len(), 1);
    assert_eq!(node.lines(&container, "started").len(), 0, "it is recorded");
    let pid = init_pid(node, &container);
    node.daemon.start();
    node.until_running(&id);
    assert_eq!(node.runs_as(&id), (container.clone(), pid));
    assert_untouched(node, &id, &(container.clone(), pid), usize::MAX);
    let started = node.lines(&container, "started");
    assert_eq!((started.len(), &started[0]["adopted"]), (1, &json!(true)));
}

/// The init's pid, as runc has it.
pub fn init_pid(node: &Node, container: &str) -> i32 {
    let state = fs::read(node.runc_dir(container).join("state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    i32::try_from(state["init_process_pid"].as_i64().unwrap()).unwrap()
}

pub fn running_without_its_monitor_is_kept_and_flagged(node: &mut Node) {
    let id = node.run("Always");
    node.settle();
    let (runs_as, mark) = (node.runs_as(&id), node.mark());
    node.daemon.kill9();
    node.kill_monitor(&runs_as.0);
    node.daemon.start();
    node.daemon.wait("the loss to be flagged", |_| {
        (node.container(&id)["reason"] == "MonitorLost").then_some(())
    });
    assert_untouched(node, &id, &runs_as, mark);
    // Its pid is watched; how it ends nobody can say.
    node.kill(runs_as.1, "USR1");
    assert_eq!(node.failed(&id, mark), unknown("MonitorLost"));
    assert_second_attempt(node, &id);
}

pub fn created_and_not_started_is_started(node: &mut Node) {
    // Its creation is recorded; and, once more, it isn't.
    for verb in ["start", "create"] {
        node.gates.close("came");
        node.gates.close("go");
        let text = match verb {
            "start" => "touch \"$here/came\"; wait_for never\n",
            _ => "runc \"$@\"; touch \"$here/came\"; wait_for go; exit 0\n",
        };
        node.gates.say_once(verb, text);
        let id = node.place("Always");
        node.gates.reached(&node.daemon, "came");
        node.daemon.kill9();
        let container = node.attempt(&id, 1);
        assert_eq!(
            node.lines(&container, "created").len(),
            usize::from(verb == "start")
        );
        let pid = init_pid(node, &container);
        node.gates.open("go");
        // The monitor's word, as if the daemon had died a little later.
        node.daemon.wait("the monitor's word", |_| {
            let word = fs::read_to_string(node.persist(&container).join("sync"));
            word.is_ok_and(|text| text.contains('\n')).then_some(())
        });
        node.daemon.start();
        node.until_running(&id);
        assert_eq!(node.runs_as(&id), (container.clone(), pid));
        assert_untouched(node, &id, &(container, pid), usize::MAX);
    }
}

pub fn an_intent_without_proof_is_cleared_and_the_next_attempt_is_made(node: &mut Node) {
    // runc died, or still creates; its monitor waits for it.
    for text in [
        "touch \"$here/came\"; wait_for never\n",
        "runc \"$@\"; touch \"$here/came\"; wait_for never\n",
    ] {
        node.gates.close("came");
        node.gates.say_once("create", text);
        let id = node.place("Never");
        node.gates.reached(&node.daemon, "came");
        node.daemon.kill9();
        node.daemon.start();
        node.until_running(&id);
        assert_second_attempt(node, &id);
        assert_eq!(node.runs(&id), 1, "no backoff, and one that ran");
    }
}

/// What ends a container, and how that is told: the signal that it gets, reason and code.
pub const ENDS: &[(&str, &str, i32)] = &[
    ("USR1", "Error", 37),
    ("HUP", "Error", 139),
    ("KILL", "Error", 137),
    ("QUIT", "OOMKilled", 137),
];

/// The kernel kills what uses more than 16 MiB.
pub fn limit_memory(node: &Node, container: &str) {
    let mut limited = false;
    for dir in node.cgroups(container) {
        for file in ["memory.max", "memory.limit_in_bytes"] {
            limited |= dir.join(file).exists() && fs::write(dir.join(file), "16777216").is_ok();
        }
    }
    assert!(limited, "{container} has no memory cgroup");
}

pub fn s20_an_exit_while_nobody_looked_is_recorded_as_it_was(node: &mut Node) {
    let ended: Vec<_> = ENDS.iter().map(|end| (end, node.run("Never"))).collect();
    let done = node.run("Never");
    node.settle();
    let done_as = node.runs_as(&done);
    let ended: Vec<_> = ended
        .into_iter()
        .map(|(end, id)| (end, node.runs_as(&id), id))
        .collect();
    let mark = node.mark();
    node.daemon.kill9();
    for ((signal, reason, _), runs_as, _) in &ended {
        if *reason == "OOMKilled" {
            limit_memory(node, &runs_as.0);
        }
        node.kill(runs_as.1, signal);
    }
    node.kill(done_as.1, "USR2");
    node.daemon.start();
    for ((signal, reason, code), runs_as, id) in &ended {
        assert_eq!(node.failed(id, mark), exactly(reason, *code), "{signal}");
        let container = node.container(id);
        assert_eq!(container["exit_code"], json!(code), "{signal}");
        assert_eq!(container["reason"], json!(reason), "{signal}");
        let exited = node.lines(&runs_as.0, "exited");
        assert_eq!(exited.len(), 1, "{exited:?}");
        let by_signal = (*code > 128).then(|| code - 128);
        assert_eq!(exited[0]["signal"].as_i64(), by_signal.map(i64::from));
        assert_eq!(node.runs(id), 1);
    }
    node.until_wire(&done, "TERMINATED");
    assert_eq!(node.runs(&done), 1);
}

pub fn an_exit_file_that_says_nothing_is_an_unknown_exit(node: &mut Node) {
    for said in ["", "garbage", "\u{1}\u{2}"] {
        let (again, never) = (node.run("OnFailure"), node.run("Never"));
        node.settle();
        let mark = node.mark();
        let both = [node.runs_as(&again), node.runs_as(&never)];
        node.daemon.kill9();
        for (container, pid) in &both {
            node.kill(*pid, "USR2");
            let files = [
                node.exit_file(container),
                node.persist(container).join("exit"),
            ];
            node.daemon.wait("its exit files", |_| {
                files.iter().all(|f| f.exists()).then_some(())
            });
            files.iter().for_each(|file| fs::write(file, said).unwrap());
        }
        node.daemon.start();
        for id in [&again, &never] {
            assert_eq!(node.failed(id, mark), unknown("Error"), "{said:?}");
        }
        assert_second_attempt(node, &again);
        assert_eq!(
            (node.runs(&never), &node.container(&never)["exit_code"]),
            (1, &Value::Null)
        );
    }
}

pub fn gone_without_a_word_is_unknown_and_follows_the_policy(node: &mut Node) {
    let (again, never) = (node.run("OnFailure"), node.run("Never"));
    node.settle();
    let mark = node.mark();
    let both = [node.runs_as(&again), node.runs_as(&never)];
    node.daemon.kill9();
    for (container, pid) in &both {
        node.kill_monitor(container);
        node.kill(*pid, "USR2");
    }
    node.daemon.start();
    for id in [&again, &never] {
        assert_eq!(node.failed(id, mark), unknown("MonitorLost"));
    }
    assert_second_attempt(node, &again);
    assert_eq!(node.runs(&never), 1);
    assert_eq!(node.container(&never)["reason"], "MonitorLost");
}

pub fn paused_is_adopted_and_thawed_to_be_killed(node: &mut Node) {
    let id = node.run("Always");
    node.settle();
    let (runs_as, mark) = (node.runs_as(&id), node.mark());
    node.daemon.kill9();
    node.runc(&["pause", &runs_as.0]);
    node.daemon.start();
    assert_untouched(node, &id, &runs_as, mark);
    node.scheduler.destroy(&id).unwrap();
    node.until_wire(&id, "TERMINATED");
    assert!(!process_runs(runs_as.1));
    assert_nothing_left_of(node, &runs_as.0);
}

/// Does something to runc's directory of a container.
type Loss = fn(&Path);

/// How runc's state is lost.
const LOSSES: &[(&str, Loss)] = &[
    ("no directory", |dir| fs::remove_dir_all(dir).unwrap()),
    ("an empty directory", |dir| {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
    }),
    ("an empty file", |dir| {
        fs::write(dir.join("state.json"), "").unwrap()
    }),
    ("half a file", |dir| {
        let text = fs::read(dir.join("state.json")).unwrap();
        fs::write(dir.join("state.json"), &text[..text.len() / 2]).unwrap();
    }),
    ("garbage", |dir| {
        fs::write(dir.join("state.json"), "\u{7}garbage").unwrap()
    }),
];

pub fn s11_lost_runtime_state_is_ended_by_cgroup_and_made_anew(node: &mut Node) {
    let all: Vec<_> = LOSSES
        .iter()
        .map(|(what, lose)| (what, lose, node.run("Always"), node.run("Never")))
        .collect();
    node.settle();
    let mark = node.mark();
    let mut pids = Vec::new();
    let alive: Vec<_> = all
        .iter()
        .map(|(_, _, a, n)| (node.runs_as(a), node.runs_as(n)))
        .collect();
    node.daemon.kill9();
    for ((_, lose, _, _), (always, never)) in all.iter().zip(&alive) {
        for (container, pid) in [always, never] {
            lose(&node.runc_dir(container));
            pids.push(*pid);
        }
    }
    node.daemon.start();
    for (what, _, always, never) in &all {
        assert_eq!(
            node.failed(always, mark),
            unknown("RuntimeStateLost"),
            "{what}"
        );
        assert_second_attempt(node, always);
        // Made anew is what runs again at all: `Never` runs at most once.
        assert_eq!(
            node.failed(never, mark),
            unknown("RuntimeStateLost"),
            "{what}"
        );
        assert_nothing_left_of(node, &node.attempt(never, 1));
        assert_eq!(node.runs(never), 1, "{what}");
    }
    for pid in pids {
        assert!(!process_runs(pid));
    }
}

pub fn s11_lost_runtime_state_of_what_ended_takes_nothing_from_its_exit(node: &mut Node) {
    let all: Vec<_> = LOSSES
        .iter()
        .map(|(what, lose)| (what, lose, node.run("Never")))
        .collect();
    node.settle();
    let mark = node.mark();
    let ran: Vec<_> = all.iter().map(|(_, _, id)| node.runs_as(id)).collect();
    node.daemon.kill9();
    for ((_, lose, _), (container, pid)) in all.iter().zip(&ran) {
        node.kill(*pid, "USR1");
        lose(&node.runc_dir(container));
    }
    node.daemon.start();
    for ((what, _, id), (container, _)) in all.iter().zip(&ran) {
        assert_eq!(node.failed(id, mark), exactly("Error", 37), "{what}");
        assert_nothing_left_of(node, container);
        assert_eq!(node.runs(id), 1, "{what}");
    }
}

/// One instance of each fate: still running, done (with 0), failed (with 37), the last two while
/// nobody looked.
struct Fates {
    always: String,
    on_failure: String,
    never: String,
    done: String,
    failed: String,
}

fn fates(node: &mut Node) -> (Fates, [(String, i32); 2]) {
    let fates = Fates {
        always: node.run("Always"),
        on_failure: node.run("OnFailure"),
        never: node.run("Never"),
        done: node.run("OnFailure"),
        failed: node.run("Never"),
    };
    node.settle();
    let ends = [node.runs_as(&fates.done), node.runs_as(&fates.failed)];
    (fates, ends)
}

/// What a reboot makes of them.
fn assert_rebooted(node: &Node, fates: &Fates, mark: usize) {
    for id in [&fates.always, &fates.on_failure] {
        assert_eq!(node.failed(id, mark), unknown("NodeRebooted"));
        assert_second_attempt(node, id);
    }
    assert_eq!(node.failed(&fates.never, mark), unknown("NodeRebooted"));
    assert_eq!(node.failed(&fates.failed, mark), exactly("Error", 37));
    node.until_wire(&fates.done, "TERMINATED");
    for id in [&fates.never, &fates.done, &fates.failed] {
        assert_eq!(node.runs(id), 1, "{id} ran again");
    }
    for id in [&fates.never, &fates.failed] {
        assert_nothing_left_of(node, &node.attempt(id, 1));
    }
}

/// The daemon is killed; then the first of these ends with 0, the others with 37.
fn end_behind_its_back(node: &mut Node, ends: &[(String, i32)]) {
    node.daemon.kill9();
    for (n, (container, pid)) in ends.iter().enumerate() {
        node.kill(*pid, if n == 0 { "USR2" } else { "USR1" });
        node.daemon.wait("its exit file", |_| {
            node.exit_file(container).exists().then_some(())
        });
    }
}

pub fn after_a_reboot_what_was_to_run_runs_again_and_what_ended_does_not(node: &mut Node) {
    let (fates, ends) = fates(node);
    let mark = node.mark();
    end_behind_its_back(node, &ends);
    node.power_cut(false);
    node.boot(None);
    node.daemon.start();
    assert_rebooted(node, &fates, mark);
}

pub fn processes_under_another_boot_id_are_ended_first(node: &mut Node) {
    let (fates, ends) = fates(node);
    let mark = node.mark();
    let alive = [&fates.always, &fates.on_failure, &fates.never].map(|id| node.runs_as(id).1);
    end_behind_its_back(node, &ends);
    let id = node.new_boot_id();
    node.machine.as_ref().unwrap().forge_boot_id(&id);
    node.daemon.start();
    assert_rebooted(node, &fates, mark);
    for pid in alive {
        assert!(!process_runs(pid));
    }
}
