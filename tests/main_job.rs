//! The main job, against the built daemon: what the scheduler says runs, and is still running
//! after a crash, or the loss of the database.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that says what it measured; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod story;
    pub mod strace;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use riklet::testing::scheduler::{Core, Manners, Scheduler};
use serde_json::{Value, json};
use support::{
    daemon::{Daemon, SOON, process_runs, signal},
    story::{
        OBEY, SERVE, Seen, assert_no_rule_was_broken, last_seq, lines_of_kind, next_event, pid,
        scheduler, seen, states_since, story, uid, until_all_is_acknowledged, until_hold_is_lifted,
        until_state, until_terminated, with_policy,
    },
    strace::Strace,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_placed_runs_and_what_is_destroyed_leaves_nothing() {
    let scheduler = scheduler(Manners::Kind).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    let definition = daemon.definition("web", SERVE).to_string();
    scheduler.create("web-1", &definition).unwrap();
    until_state(&scheduler, "web-1", "RUNNING").await;
    assert_eq!(daemon.until("web-1", "Running")["source"], "scheduler");
    daemon.wait("its log", |d| (d.logs("web-1") == "hello\n").then_some(()));
    assert_eq!(daemon.pids()["web-1"].len(), 1);
    assert!(daemon.plan().is_empty(), "{:?}", daemon.plan());

    // What is looked for afterwards is there now, and is seen.
    let there = daemon.leaks().join("\n");
    for what in [
        "process ",
        "mount ",
        "netns ",
        "cgroup ",
        "state/pods/",
        "run/runc/",
    ] {
        assert!(there.contains(what), "no {what:?} in {there}");
    }

    scheduler.destroy("web-1").unwrap();
    let gone = |core: &Core| core.terminated.contains_key("web-1").then_some(());
    scheduler.wait("TERMINATED", SOON, gone).await.unwrap();
    daemon.until_nothing_is_left();
    let order = ["CREATING", "RUNNING", "DESTROYING", "TERMINATED"];
    assert_eq!(story(&scheduler, "web-1"), order);
    let terminated = |s: &Seen| s.status == "TERMINATED";
    let count = scheduler.look(|core| seen(core, 0).into_iter().filter(terminated).count());
    assert_eq!(count, 1, "TERMINATED goes once");
    assert_no_rule_was_broken(&scheduler);
}

/// Fifty instances, SIGKILL, restart. Returns daemon and scheduler, with all of them running.
async fn fifty_through_a_crash(manners: Manners) -> (Daemon, Scheduler) {
    let scheduler = scheduler(manners).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    let began = Instant::now();
    for n in 0..50 {
        let definition = daemon.definition("web", SERVE).to_string();
        scheduler
            .create(&format!("web-{n:02}"), &definition)
            .unwrap();
    }
    let all_run = |core: &Core| {
        let running = core.instances.values().filter(|i| i.status == "RUNNING");
        (running.count() == 50).then_some(())
    };
    let limit = Duration::from_secs(60);
    scheduler.wait("50 RUNNING", limit, all_run).await.unwrap();
    println!("{manners:?}: 50 ran after {:?}", began.elapsed());
    until_all_is_acknowledged(&daemon);
    let (pids, lines) = (daemon.pids(), last_seq(&daemon));
    assert_eq!(pids.len(), 50);
    let last: BTreeMap<String, u64> = scheduler.look(|core| {
        let of = |(id, i): (&String, &_)| (id.clone(), acknowledged(i));
        core.instances.iter().map(of).collect()
    });

    let from = next_event(&scheduler);
    daemon.kill9();
    assert!(pids.values().flatten().all(|pid| process_runs(*pid)));
    let began = Instant::now();
    daemon.start();
    println!(
        "{manners:?}: answers {:?} after the restart",
        began.elapsed()
    );
    let again = |core: &Core| {
        let sent: BTreeSet<_> = seen(core, from).into_iter().map(|s| s.instance).collect();
        (sent.len() == 50).then_some(())
    };
    scheduler
        .wait("every state again", SOON, again)
        .await
        .unwrap();
    until_hold_is_lifted(&daemon);
    until_all_is_acknowledged(&daemon);
    assert_eq!(daemon.pids(), pids, "same pids");
    assert!(daemon.plan().is_empty(), "{:?}", daemon.plan());
    assert_eq!(states_since(&daemon, lines), Vec::<Value>::new());
    for state in scheduler.look(|core| seen(core, from)) {
        assert_eq!(state.status, "RUNNING", "{state:?}");
        assert_eq!(state.seq, last[&state.instance], "{state:?}");
    }
    assert_no_rule_was_broken(&scheduler);
    (daemon, scheduler)
}

fn acknowledged(instance: &riklet::testing::scheduler::InstanceView) -> u64 {
    instance.acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_containers_keep_their_pids_across_sigkill_and_are_destroyed_once() {
    let (mut daemon, scheduler) = fifty_through_a_crash(Manners::Kind).await;
    for n in 0..50 {
        scheduler.destroy(&format!("web-{n:02}")).unwrap();
    }
    // Somewhere in the middle of them.
    let some = |core: &Core| (core.terminated.len() >= 5).then_some(());
    scheduler.wait("some TERMINATED", SOON, some).await.unwrap();
    daemon.kill9();
    let (recorded, from) = (recorded_as_terminated(&daemon), next_event(&scheduler));
    assert!(recorded.len() >= 4, "{recorded:?}");
    daemon.start();
    let all = |core: &Core| (core.terminated.len() == 50).then_some(());
    let limit = Duration::from_secs(60);
    scheduler.wait("50 TERMINATED", limit, all).await.unwrap();
    daemon.until_nothing_is_left();
    until_all_is_acknowledged(&daemon);
    for state in scheduler.look(|core| seen(core, from)) {
        assert!(!recorded.contains(&state.instance), "once more: {state:?}");
    }
    // One may have been on its way when the daemon died: nobody knew of its acknowledgement.
    let terminated = |s: &Seen| s.status == "TERMINATED";
    let count = scheduler.look(|core| seen(core, 0).into_iter().filter(terminated).count());
    assert!((50..=51).contains(&count), "{count} TERMINATED for 50");
    assert_no_rule_was_broken(&scheduler);
}

/// Instances whose TERMINATED is acknowledged as far as the journal knows.
fn recorded_as_terminated(daemon: &Daemon) -> BTreeSet<String> {
    let (lines, mut recorded) = (daemon.lines(), BTreeSet::new());
    for line in lines.iter().filter(|line| line["state"] == "Terminated") {
        let (uid, seq) = (&line["uid"], line["seq"].as_u64());
        let of = |l: &&Value| l["uid"] == *uid;
        let mine = || lines.iter().filter(of);
        let acknowledges = |l: &Value| l["kind"] == "acknowledged" && l["through"].as_u64() >= seq;
        if mine().any(acknowledges) {
            let mut names = mine().filter_map(|l| l["instance"].as_str());
            recorded.insert(names.next().unwrap().to_owned());
        }
    }
    recorded
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_containers_keep_their_pids_under_the_real_schedulers_manners() {
    let (daemon, scheduler) = fifty_through_a_crash(Manners::LikeRik).await;
    // It has forgotten where they are; the operator may destroy one all the same.
    daemon.ok(&["delete", "--force", "web-07"]);
    daemon.wait("web-07 to be gone", |d| {
        d.row("web-07").is_none().then_some(())
    });
    assert_eq!(daemon.pids().len(), 49);
    assert_no_rule_was_broken(&scheduler);
}

/// Does something to the directory of the database.
type Loss = fn(&Path);

/// What befalls the database while the daemon is dead.
const LOSSES: &[(&str, Loss)] = &[
    ("removed", |db| fs::remove_dir_all(db).unwrap()),
    ("an empty directory", |db| {
        fs::remove_dir_all(db).unwrap();
        fs::create_dir(db).unwrap();
    }),
    ("files without content", |db| overwrite_files(db, b"")),
    ("garbage", |db| {
        overwrite_files(db, &b"\x17garbage\xff".repeat(40_000));
    }),
    ("a newer schema", write_newer_schema),
];

fn overwrite_files(dir: &Path, bytes: &[u8]) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            overwrite_files(&path, bytes);
        } else {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "plays the riklet that comes after this one"
)]
fn write_newer_schema(db: &Path) {
    let sled = sled::open(db).unwrap();
    let meta = sled.get("meta").unwrap().unwrap();
    let mut meta: Value = serde_json::from_slice(&meta).unwrap();
    meta["schema"] = json!(meta["schema"].as_u64().unwrap() + 1);
    meta["what_this_riklet_cannot_know"] = json!(true);
    sled.insert("meta", serde_json::to_vec(&meta).unwrap())
        .unwrap();
    sled.flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_the_database_disturbs_nothing() {
    let scheduler = scheduler(Manners::Kind).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    for id in ["a", "b", "c"] {
        let definition = daemon.definition("web", SERVE).to_string();
        scheduler.create(id, &definition).unwrap();
    }
    for id in ["a", "b", "c"] {
        until_state(&scheduler, id, "RUNNING").await;
    }
    until_all_is_acknowledged(&daemon);
    let (pids, lines) = (daemon.pids(), last_seq(&daemon));
    let export = instances_of_export(&daemon);
    for (loss, befall) in LOSSES {
        daemon.kill9();
        let db = daemon.state().join("db");
        assert!(db.is_dir(), "{loss}: the database isn't there");
        befall(&db);
        let from = next_event(&scheduler);
        daemon.start();
        let modes = daemon.status()["degraded"].to_string();
        assert!(modes.contains("StoreRebuilt"), "{loss}: {modes}");
        until_hold_is_lifted(&daemon);
        until_all_is_acknowledged(&daemon);
        assert_eq!(daemon.pids(), pids, "{loss}");
        assert!(daemon.plan().is_empty(), "{loss}: {:?}", daemon.plan());
        assert_eq!(states_since(&daemon, lines), Vec::<Value>::new(), "{loss}");
        assert_eq!(instances_of_export(&daemon), export, "{loss}");
        for state in scheduler.look(|core| seen(core, from)) {
            assert_eq!(state.status, "RUNNING", "{loss}: {state:?}");
        }
        daemon.wait("the rebuilt database", |_| {
            db.join("db").exists().then_some(())
        });
    }
    // Once it is whole again, nothing is said of it.
    daemon.restart();
    assert_eq!(daemon.status()["degraded"], json!([]));
    assert_eq!(daemon.pids(), pids);
    assert_no_rule_was_broken(&scheduler);
}

fn instances_of_export(daemon: &Daemon) -> Value {
    let export = daemon.ok(&["state", "export"]).json();
    assert!(export["instances"].is_object(), "{export}");
    export["instances"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exited_while_nobody_looked_is_reported_as_it_was() {
    let scheduler = scheduler(Manners::Kind).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    let ids = ["code", "killed", "again", "destroyed", "orphan"];
    for id in ids {
        let policy = if ["again", "destroyed"].contains(&id) {
            "Always"
        } else {
            "Never"
        };
        let definition = with_policy(daemon.definition("web", OBEY), policy);
        scheduler.create(id, &definition).unwrap();
    }
    for id in ids {
        until_state(&scheduler, id, "RUNNING").await;
    }
    // The monitor dies first: the container is the daemon's child then.
    let orphan = pid(&daemon, "orphan");
    let monitor = monitor_of(&daemon, "orphan");
    signal(monitor, "KILL");
    daemon.wait("the monitor's end to be seen", |d| {
        (!lines_of_kind(d, "monitor_lost").is_empty()).then_some(())
    });
    assert_eq!(pid(&daemon, "orphan"), orphan);
    signal(orphan, "USR1");
    let failed = |id: &'static str| {
        move |core: &Core| {
            let mut states = seen(core, 0).into_iter();
            states.find(|s| s.instance == id && s.status == "FAILED")
        }
    };
    let state = scheduler
        .wait("orphan FAILED", SOON, failed("orphan"))
        .await
        .unwrap();
    assert_eq!(
        (state.reason.as_str(), state.exit_code),
        ("Error", Some(37))
    );

    until_all_is_acknowledged(&daemon);
    let pids = daemon.pids();
    let from = next_event(&scheduler);
    daemon.kill9();
    signal(pids["code"][0], "USR1");
    signal(pids["killed"][0], "KILL");
    signal(pids["again"][0], "USR1");
    signal(pids["destroyed"][0], "USR1");
    scheduler.destroy("destroyed").unwrap();
    daemon.wait("their ends", |_| {
        let mut pids = pids.values().flatten();
        (!pids.any(|pid| process_runs(*pid))).then_some(())
    });
    daemon.start();
    let state = scheduler
        .wait("code FAILED", SOON, failed("code"))
        .await
        .unwrap();
    assert_eq!(
        (state.reason.as_str(), state.exit_code),
        ("Error", Some(37))
    );
    let state = scheduler
        .wait("killed FAILED", SOON, failed("killed"))
        .await
        .unwrap();
    assert_eq!(state.reason, "Error");
    let exit = exits_of(&daemon, "killed").remove(0);
    assert_eq!((&exit["code"], &exit["signal"]), (&json!(137), &json!(9)));
    let state = scheduler
        .wait("again FAILED", SOON, failed("again"))
        .await
        .unwrap();
    assert_eq!(state.exit_code, Some(37));
    until_state(&scheduler, "again", "RUNNING").await;
    assert_eq!(exits_of(&daemon, "again").len(), 1);
    until_terminated(&scheduler, "destroyed").await;
    // The destroy waited, and came before a restart would have.
    let attempts = attempts_of(&daemon, "destroyed");
    assert_eq!(attempts, 1, "started again although a destroy waited");
    let after = scheduler.look(|core| seen(core, from));
    let destroyed = after.iter().filter(|s| s.instance == "destroyed");
    let last = destroyed.map(|s| s.status.as_str()).next_back();
    assert_eq!(last, Some("TERMINATED"), "{after:#?}");
    assert_no_rule_was_broken(&scheduler);
}

/// Lines of this kind about an instance's containers.
fn container_lines(daemon: &Daemon, instance: &str, kind: &str) -> Vec<Value> {
    let start = format!("{}-", uid(daemon, instance));
    let mut lines = lines_of_kind(daemon, kind);
    lines.retain(|line| {
        line["container"]
            .as_str()
            .is_some_and(|id| id.starts_with(&start))
    });
    lines
}

fn exits_of(daemon: &Daemon, instance: &str) -> Vec<Value> {
    container_lines(daemon, instance, "exited")
}

fn attempts_of(daemon: &Daemon, instance: &str) -> usize {
    let uid = uid(daemon, instance);
    let logs = fs::read_dir(daemon.state().join("logs").join(uid)).unwrap();
    let intended = container_lines(daemon, instance, "created").len();
    assert_eq!(logs.count(), intended, "a log for each attempt");
    intended
}

/// The monitor of an instance's one container, found by its command line.
fn monitor_of(daemon: &Daemon, instance: &str) -> i32 {
    let row = daemon.row(instance).unwrap();
    let container = row["containers"][0]["id"].as_str().unwrap().to_owned();
    let exits = daemon.state().join("exits");
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let Some(pid) = path.file_name().unwrap().to_str().unwrap().parse().ok() else {
            continue;
        };
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<_> = line.split('\0').collect();
        let conmon = words[0].ends_with("conmon");
        if conmon && words.contains(&container.as_str()) && line.contains(&*exits.to_string_lossy())
        {
            return pid;
        }
    }
    panic!("no monitor of {container}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scheduler_nothing_changes_and_every_state_arrives_in_order_later() {
    let mut scheduler = scheduler(Manners::Kind).await;
    scheduler.die();
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    daemon.apply(&daemon.definition("local", SERVE));
    daemon.until("local@cli", "Running");
    scheduler.revive().await.unwrap();
    let definition = daemon.definition("web", OBEY).to_string();
    scheduler.create("web-1", &definition).unwrap();
    until_state(&scheduler, "web-1", "RUNNING").await;
    until_all_is_acknowledged(&daemon);
    let pids = daemon.pids();

    // It dies; so does the daemon; and the container, which runs again.
    scheduler.die();
    daemon.wait("the loss of the link", |d| {
        (d.status()["link"]["state"] != "registered").then_some(())
    });
    assert_eq!(daemon.pids(), pids);
    daemon.restart();
    until_hold_is_lifted(&daemon);
    assert_eq!(daemon.pids(), pids);
    assert!(daemon.plan().is_empty(), "{:?}", daemon.plan());
    let seq = last_seq(&daemon);
    signal(pids["web-1"][0], "USR1");
    daemon.wait("web-1 to run again", |d| {
        let now = d.pids();
        let now = now.get("web-1")?;
        (*now != pids["web-1"]).then_some(())
    });
    daemon.until("web-1", "Running");
    assert_eq!(daemon.pids()["local@cli"], pids["local@cli"]);
    let states = |lines: Vec<Value>| -> Vec<(u64, String)> {
        let of = |line: &Value| {
            let state = line["state"].as_str().unwrap().to_uppercase();
            (line["seq"].as_u64().unwrap(), state)
        };
        lines.iter().map(of).collect()
    };
    let written = states(states_since(&daemon, seq));
    assert_eq!(written.len(), 3, "{written:?}");
    let from = next_event(&scheduler);
    scheduler.revive().await.unwrap();
    until_all_is_acknowledged(&daemon);
    let mut arrived = scheduler.look(|core| seen(core, from));
    assert!(arrived.iter().all(|s| s.instance == "web-1"), "{arrived:?}");
    arrived.dedup_by_key(|s| s.seq);
    let arrived: Vec<_> = arrived.into_iter().map(|s| (s.seq, s.status)).collect();
    assert_eq!(arrived, written);
    assert_no_rule_was_broken(&scheduler);
}

/// The disk is asked for no more than was promised (design section 5), with every state sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_a_restart_and_a_destroy_stay_in_their_budget_of_syncs_and_idle_costs_nothing() {
    let scheduler = scheduler(Manners::Kind).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    let definition = daemon.definition("web", OBEY).to_string();
    // The image is got by another one.
    scheduler.create("first", &definition).unwrap();
    until_state(&scheduler, "first", "RUNNING").await;
    until_all_is_acknowledged(&daemon);
    let strace = Strace::attach(daemon.pid(), daemon.dir());
    let journal = daemon.state().join("journal");
    let began = std::cell::Cell::new(0);
    let budget = |what: &str, limit: usize| {
        until_all_is_acknowledged(&daemon);
        let syncs = strace.syncs(&journal) - began.get();
        println!("{what}: {syncs} syncs");
        assert!(syncs <= limit, "{what}: {syncs} syncs, {limit} are allowed");
        assert!(syncs > 0, "{what}: nothing was counted");
        began.set(strace.syncs(&journal));
    };

    scheduler.create("web", &definition).unwrap();
    until_state(&scheduler, "web", "RUNNING").await;
    budget("start", 3);
    let (from, former) = (next_event(&scheduler), pid(&daemon, "web"));
    signal(former, "USR1");
    let again = |core: &Core| {
        let mut states = seen(core, from).into_iter().map(|s| s.status);
        (states.any(|s| s == "CREATING" || s == "FAILED") && states.any(|s| s == "RUNNING"))
            .then_some(())
    };
    scheduler.wait("the restart", SOON, again).await.unwrap();
    budget("restart", 2);
    scheduler.destroy("web").unwrap();
    until_terminated(&scheduler, "web").await;
    budget("destroy", 2);

    // Idle over a resync: no sync, no process, no line. Time passing is what is tested. What came
    // last is on its way into the store for a moment.
    strace.until_quiet(Duration::from_secs(1));
    let (mark, lines) = (strace.mark(), daemon.lines().len());
    tokio::time::sleep(Duration::from_secs(12)).await;
    let did = strace.since(mark);
    assert!(did.is_empty(), "while idle: {did:#?}");
    assert_eq!(daemon.lines().len(), lines);
}

/// Where in `did` the first line from `from` on has all of `parts`.
fn place(did: &[String], from: usize, parts: &[&str]) -> usize {
    let has = |line: &String| parts.iter().all(|part| line.contains(part));
    let found = did.iter().skip(from).position(has);
    from + found.unwrap_or_else(|| panic!("no {parts:?} from {from} on in {did:#?}"))
}

/// Nothing but the order of these calls keeps a power cut from leaving a name without its bytes.
#[test]
fn an_image_and_its_record_get_their_names_once_their_bytes_are_durable_and_then_keep_them() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    let strace = Strace::attach(daemon.pid(), daemon.dir());
    daemon.apply(&daemon.definition("web", SERVE));
    daemon.until("web@cli", "Running");
    let snapshots = daemon.state().join("snapshots").display().to_string();
    let record = "/image.json";
    let did = strace.around_the_rename_to(record);
    let bytes = place(&did, 0, &["syncfs("]);
    let name = place(&did, bytes, &["rename", "/snapshots/sha256-"]);
    let kept = place(&did, name, &["fsync(", &format!("<{snapshots}>")]);
    let written = place(&did, kept, &["fsync(", "/.image.json>"]);
    let named = place(&did, written, &["rename", &format!("{record}\"")]);
    place(&did, named, &["fsync(", "/snapshots/sha256-"]);
    let first = place(&did, 0, &["rename", "/snapshots/sha256-"]);
    assert_eq!(first, name, "no name before its bytes: {did:#?}");
}

/// sled's own flush is no fsync; without one the next start after a power cut rebuilds the store.
#[test]
fn an_orderly_end_makes_the_store_durable() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    daemon.apply(&daemon.definition("web", SERVE));
    daemon.until("web@cli", "Running");
    let strace = Strace::attach(daemon.pid(), daemon.dir());
    let store = daemon.state().join("db/db");
    assert_eq!(strace.syncs_of(&store), 0);
    assert!(daemon.terminate().success());
    assert!(strace.syncs_of(&store) > 0, "{}", store.display());
}

#[test]
fn a_closed_terminal_ends_the_daemon_in_order_and_its_containers_run_on() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    daemon.apply(&daemon.definition("web", "exec sleep 1000000"));
    daemon.until("web@cli", "Running");
    let pids = daemon.pids();
    assert_eq!(daemon.end_by("HUP").code(), Some(0));
    assert!(daemon.log().contains("SIGHUP"), "{}", daemon.log());
    daemon.start();
    assert_eq!(daemon.pids(), pids);
}

#[test]
fn a_test_that_panics_leaves_nothing_on_the_machine() {
    let left = std::panic::catch_unwind(|| {
        let mut daemon = Daemon::prepare();
        daemon.start();
        daemon.apply(&daemon.definition("web", SERVE));
        daemon.until("web@cli", "Running");
        let (dir, pid) = (daemon.dir().to_owned(), pid(&daemon, "web@cli"));
        let node = daemon.status()["node_uid"].as_str().unwrap().to_owned();
        std::panic::panic_any((dir, pid, node));
    });
    let (dir, pid, node) = *left
        .unwrap_err()
        .downcast::<(std::path::PathBuf, i32, String)>()
        .unwrap();
    assert!(!dir.exists());
    assert!(!process_runs(pid));
    assert_eq!(support::leaks::of_node(&dir, &node), Vec::<String>::new());
}

#[test]
fn a_second_daemon_on_a_state_dir_or_a_run_dir_is_refused_with_the_holders_pid() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    let holder = format!("pid {}", daemon.pid());
    let said = daemon.run_to_end();
    assert_eq!(said.code, 1, "{said:?}");
    let line = said.err.lines().last().unwrap();
    assert!(line.contains(&holder), "{said:?}");
    assert!(line.contains(daemon.state().to_str().unwrap()), "{said:?}");

    let other = daemon.dir().join("other");
    let said = daemon.finish(daemon.command_on(&other, &daemon.run()));
    assert_eq!(said.code, 1, "{said:?}");
    let line = said.err.lines().last().unwrap();
    assert!(line.contains(&holder), "{said:?}");
    assert!(line.contains(daemon.run().to_str().unwrap()), "{said:?}");
    assert_eq!(daemon.cli(&["status"]).code, 0, "the holder goes on");
}
