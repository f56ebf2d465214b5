//! Adoption: a start finds whatever a crash has left, and does the right thing with it. One test a
//! row of the matrix in docs/architecture.md, "What a start finds", with a real daemon, monitor and
//! runc; and runc at its worst (S09, S10, S19, exact exits).

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
    pub mod rows;
}

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{
    daemon::process_runs,
    proof::{self, Proof},
};
use survival::{
    draw::{Draw, seed},
    node::Node,
    rows::{self, Row},
};

/// Makes a test of each row, and the list of them all.
macro_rules! matrix {
    ($list:ident, $node:expr, $($row:ident),+ $(,)?) => {
        const $list: &[Row] = &[$((stringify!($row), rows::$row)),+];
        $(#[test]
        fn $row() {
            let mut node = $node;
            rows::$row(&mut node);
            node.end();
        })+
    };
}

matrix!(
    ROWS,
    Node::new(),
    running_is_adopted_as_it_is,
    running_and_never_recorded_started_is_adopted,
    running_without_its_monitor_is_kept_and_flagged,
    created_and_not_started_is_started,
    an_intent_without_proof_is_cleared_and_the_next_attempt_is_made,
    s20_an_exit_while_nobody_looked_is_recorded_as_it_was,
    an_exit_file_that_says_nothing_is_an_unknown_exit,
    gone_without_a_word_is_unknown_and_follows_the_policy,
    paused_is_adopted_and_thawed_to_be_killed,
    s11_lost_runtime_state_is_ended_by_cgroup_and_made_anew,
    s11_lost_runtime_state_of_what_ended_takes_nothing_from_its_exit,
);

matrix!(
    REBOOT_ROWS,
    Node::on_a_machine(),
    after_a_reboot_what_was_to_run_runs_again_and_what_ended_does_not,
    processes_under_another_boot_id_are_ended_first,
);

/// The last column of the matrix.
fn documented() -> BTreeSet<&'static str> {
    let page = include_str!("../docs/architecture.md");
    let section = page.split("## What a start finds").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = section
        .lines()
        .filter_map(|line| line.trim_end().strip_suffix("` |"));
    cells.map(|line| line.rsplit('`').next().unwrap()).collect()
}

#[test]
fn each_row_of_the_matrix_has_a_test_and_each_test_a_row() {
    let tested: BTreeSet<_> = ROWS
        .iter()
        .chain(REBOOT_ROWS)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(documented(), tested);
}

/// The matrix again and again on the same two nodes, which grow old by it.
#[test]
fn adoption_matrix() {
    let rounds = proof::rounds(0, 6);
    let mut proof = Proof::of(
        "whatever a crash leaves, the next start finds, and does with it what the matrix says",
        "each row of the matrix with real runc and conmon, the named process killed at the named step; all rows again and again on two nodes that grow old by it",
    );
    for (rows, fresh) in [
        (ROWS, Node::new as fn() -> Node),
        (REBOOT_ROWS, Node::on_a_machine),
    ] {
        if rounds == 0 {
            continue;
        }
        let mut node = fresh();
        for _ in 0..rounds {
            for (name, live) in rows {
                let began = Instant::now();
                live(&mut node);
                println!("{name}: {:?}", began.elapsed());
                proof.one(*name);
                proof.one("rows lived");
            }
            node.end();
        }
    }
    proof.conclude("adoption_matrix", &[]);
}

/// A monitor killed under a daemon that lives takes nothing from the exit: the container is the
/// daemon's child then.
#[test]
fn s20_an_exit_without_a_monitor_is_told_as_it_was_while_the_daemon_lives() {
    let mut node = Node::new();
    let ended: Vec<_> = rows::ENDS
        .iter()
        .map(|end| (end, node.run("Never")))
        .collect();
    node.settle();
    let mark = node.mark();
    for ((signal, reason, _), id) in &ended {
        let (container, pid) = node.runs_as(id);
        node.kill_monitor(&container);
        if *reason == "OOMKilled" {
            rows::limit_memory(&node, &container);
        }
        node.kill(pid, signal);
    }
    for ((signal, reason, code), id) in &ended {
        let told = ((*reason).to_owned(), Some(*code));
        assert_eq!(node.failed(id, mark), told, "{signal}");
        let container = node.container(id);
        assert_eq!(container["exit_code"], *code, "{signal}");
        assert_eq!(container["reason"], *reason, "{signal}");
        assert_eq!(node.runs(id), 1);
    }
    node.end();
}

/// Two daemons die at one start, each with its work done and not written down, and then monitor and
/// container: how that ended nobody knows, but it had begun.
#[test]
fn never_is_at_most_once_though_two_daemons_and_the_monitor_die_at_one_start() {
    let mut node = Node::new();
    node.gates.say_once(
        "create",
        "runc \"$@\"; touch \"$here/came\"; wait_for go; exit 0\n",
    );
    let id = node.place("Never");
    node.gates.reached(&node.daemon, "came");
    node.daemon.kill9();
    let container = node.attempt(&id, 1);
    node.gates.open("go");
    node.daemon.wait("the monitor's word", |_| {
        let word = fs::read_to_string(node.persist(&container).join("sync"));
        word.is_ok_and(|text| text.contains('\n')).then_some(())
    });
    let pid = rows::init_pid(&node, &container);
    node.gates.say_once(
        "start",
        "runc \"$@\"; touch \"$here/started\"; wait_for never\n",
    );
    node.daemon.start();
    node.gates.reached(&node.daemon, "started");
    node.daemon
        .wait("it to run", |_| (node.runs(&id) == 1).then_some(()));
    node.daemon.kill9();
    assert_eq!(node.lines(&container, "started").len(), 0);
    node.kill_monitor(&container);
    node.kill(pid, "USR2");
    let mark = node.mark();
    node.daemon.start();
    assert_eq!(node.failed(&id, mark), ("MonitorLost".to_owned(), None));
    node.settle();
    assert_eq!(node.runs(&id), 1);
    node.end();
}

/// A create that has hung is ended with all that it may still do; so is one that was done and
/// whose monitor can't tell. (What the daemon's death in that moment does is a row of the matrix.)
#[test]
fn s09_a_create_that_is_done_after_its_deadline_makes_no_second_container() {
    let mut node = Node::prepare("\n[deadlines]\nruntime = \"3s\"\n");
    node.daemon.start();
    let late = "touch \"$here/came\"; sleep 4; runc \"$@\"; touch \"$here/late\"; exit 0\n";
    let mute = "runc \"$@\"; touch \"$here/came\"; sleep 300; exit 0\n";
    let mut ids = Vec::new();
    for text in [late, mute] {
        node.gates.close("came");
        node.gates.say_once("create", text);
        ids.push(node.place("Always"));
        node.gates.reached(&node.daemon, "came");
    }
    for id in &ids {
        node.until_running(id);
        assert_eq!(node.runs_as(id).0, node.attempt(id, 2));
        rows::assert_nothing_left_of(&node, &node.attempt(id, 1));
        assert_eq!((node.runs(id), node.living(id)), (1, 1));
    }
    assert!(!node.gates.has("late"), "a create outlived its deadline");
    node.end();
}

/// Kills the daemon somewhere between an intent and the record of what came of it.
#[test]
fn s09_a_daemon_killed_between_create_and_record_leaves_exactly_one_container() {
    let seed = seed();
    let mut draw = Draw(seed);
    let mut node = Node::new();
    for _ in 0..proof::rounds(2, 20) {
        let ids: Vec<_> = (0..4).map(|_| node.place("Never")).collect();
        node.daemon.wait("an intent", |_| {
            (!node
                .lines(&node.attempt_if(&ids[0])?, "attempt_intended")
                .is_empty())
            .then_some(())
        });
        let delay = Duration::from_micros(draw.below(120_000));
        std::thread::park_timeout(delay);
        node.daemon.restart();
        for id in &ids {
            node.until_running(id);
            assert_eq!(
                (node.runs(id), node.living(id)),
                (1, 1),
                "{id}, {delay:?}, seed {seed}"
            );
        }
        node.end();
    }
}

/// Kills runc, of half of the first attempts in its create, of the others in its start, and tells
/// what it had come to by what lies there then.
const STAGES: &str = r#"
case $id in *-0-1) ;; *) exec runc "$@" ;; esac
drawn=$(echo "$id" | cksum | cut -d' ' -f1)
[ $((drawn % 2)) = HALF ] || exec runc "$@"
runc "$@" & p=$!
sleep 0.0$(printf %02d $((drawn / 2 % MOST)))
kill -9 $p 2>/dev/null; wait $p; code=$?
stage=nothing
[ ! -e "$root/$id" ] || stage=directory
[ ! -e "$root/$id/exec.fifo" ] || stage=fifo
[ ! -s "$root/$id/state.json" ] || stage=state
[ ! -e "$root/$id/exec.fifo" ] || [ "$stage" != state ] || stage=waiting
[ $code = 137 ] || stage=done
echo "$verb killed: $stage" >>"$here/stages"
exit $code
"#;

#[test]
fn s10_a_runc_killed_at_any_stage_leaves_nothing_that_a_retry_trips_over() {
    let mut proof = Proof::of(
        "runc killed at any stage of create or start leaves nothing behind, and never two copies",
        "SIGKILL 0 to 80 ms after runc began, by the container's id; what it had come to is told by what lay there",
    );
    let mut node = Node::new();
    for _ in 0..proof::rounds(1, 6) {
        for (verb, half, most) in [("create", "0", "80"), ("start", "1", "30")] {
            let text = STAGES.replace("HALF", half).replace("MOST", most);
            node.gates.say(verb, &text);
        }
        let ids: Vec<_> = (0..24).map(|_| node.place("Always")).collect();
        node.daemon.wait("each runc to have been killed", |_| {
            let killed = node.gates.text("stages");
            (killed.lines().count() == ids.len()).then_some(())
        });
        for id in &ids {
            node.until_running(id);
            assert_eq!(node.living(id), 1, "{id}");
            let runs_as = node.runs_as(id).0;
            if runs_as != node.attempt(id, 1) {
                // The retry itself tripped over nothing.
                assert_eq!(runs_as, node.attempt(id, 2));
                rows::assert_nothing_left_of(&node, &node.attempt(id, 1));
            }
        }
        for stage in node.gates.text("stages").lines() {
            proof.one(stage);
            proof.one("kills");
        }
        node.gates.close("stages");
        node.end();
    }
    proof.conclude("runc_killed", &[]);
}

/// `runc start` reads the init's word from a fifo and removes that: killed in between, it leaves a
/// container that runs and of which runc says for ever that it waits to be started.
#[test]
fn s10_a_start_killed_after_its_container_began_is_a_start_and_no_second_one_follows() {
    let mut node = Node::new();
    let torn = "runc \"$@\"; mkfifo \"$root/$id/exec.fifo\"; touch \"$here/came\"; ";
    for daemon_dies in [false, true] {
        node.gates.close("came");
        let then = if daemon_dies {
            "wait_for never"
        } else {
            "kill -9 $$"
        };
        node.gates.say_once("start", &format!("{torn}{then}\n"));
        let id = node.place("Never");
        node.gates.reached(&node.daemon, "came");
        if daemon_dies {
            node.daemon.restart();
        }
        node.until_running(&id);
        node.settle();
        assert_eq!(node.runs_as(&id).0, node.attempt(&id, 1));
        assert_eq!((node.runs(&id), node.living(&id)), (1, 1));
    }
    node.end();
}

#[test]
fn s11_runtime_state_lost_under_a_living_daemon_is_found_by_its_resync() {
    let mut node = Node::new();
    let (lives, ended) = (node.run("Always"), node.run("Never"));
    node.settle();
    let (mark, ran) = (node.mark(), [node.runs_as(&lives), node.runs_as(&ended)]);
    fs::remove_dir_all(node.runc_dir(&ran[1].0)).unwrap();
    // It may be seen before it has ended; but never is it told otherwise than it was.
    node.kill(ran[1].1, "USR1");
    fs::write(node.runc_dir(&ran[0].0).join("state.json"), "{").unwrap();
    let lost = ("RuntimeStateLost".to_owned(), None);
    assert_eq!(node.failed(&lives, mark), lost);
    rows::assert_second_attempt(&node, &lives);
    assert_eq!(node.living(&lives), 1);
    let told = node.failed(&ended, mark);
    assert!(
        told == lost || told == ("Error".to_owned(), Some(37)),
        "{told:?}"
    );
    assert_eq!(node.runs(&ended), 1);
    assert!(!process_runs(ran[0].1));
    node.end();
}

#[test]
fn a_removed_directory_of_exit_files_comes_back_and_costs_no_exit() {
    let mut node = Node::new();
    let ids = [node.run("Never"), node.run("Never")];
    node.settle();
    let exits = node.daemon.state().join("exits");
    fs::remove_dir_all(&exits).unwrap();
    node.daemon
        .wait("the directory", |_| exits.is_dir().then_some(()));
    // What ends from now on reaches the disk again; without the directory there is the copy that
    // doesn't survive a reboot.
    for (id, removed) in ids.iter().zip([false, true]) {
        let ((container, pid), mark) = (node.runs_as(id), node.mark());
        node.daemon.kill9();
        if removed {
            fs::remove_dir_all(&exits).unwrap();
        }
        node.kill(pid, "USR1");
        if !removed {
            node.daemon.wait("its exit file", |_| {
                node.exit_file(&container).exists().then_some(())
            });
        }
        node.daemon.start();
        assert_eq!(node.failed(id, mark), ("Error".to_owned(), Some(37)));
    }
    node.end();
}

#[test]
fn s19_a_recorded_pid_that_is_somebody_elses_is_never_signalled() {
    let mut node = Node::new();
    let stranger = Stranger(Command::new("sleep").arg("1000000").spawn().unwrap());
    let pid = i32::try_from(stranger.0.id()).unwrap();
    let (lives, ended) = (node.run("Always"), node.run("Never"));
    node.settle();
    let ran = [node.runs_as(&lives), node.runs_as(&ended)];
    node.daemon.kill9();
    node.kill(ran[1].1, "USR1");
    // Both records name the stranger now, by pid and start time, as if the numbers had come round.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start: u64 = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    for (container, _) in &ran {
        let file = node.runc_dir(container).join("state.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        state["init_process_pid"] = pid.into();
        state["init_process_start"] = start.into();
        fs::write(file, state.to_string()).unwrap();
        for name in ["pid", "conmon.pid"] {
            fs::write(node.persist(container).join(name), pid.to_string()).unwrap();
        }
    }
    let mark = node.mark();
    node.daemon.start();
    assert_eq!(node.failed(&ended, mark), ("Error".to_owned(), Some(37)));
    // It can't be commanded by that record, so it is made anew, and not beside itself.
    rows::assert_second_attempt(&node, &lives);
    assert!(!process_runs(ran[0].1));
    assert_eq!(node.living(&lives), 1);
    node.end();
    assert!(process_runs(pid), "a stranger was signalled");
}

/// A process of nobody's; dropping it ends it.
struct Stranger(std::process::Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
