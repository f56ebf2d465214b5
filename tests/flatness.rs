//! What a daemon costs doesn't grow with what it has done: starts and kills by the thousand,
//! fifty restarts, short workloads in a row. All is read from outside: /proc, the files, the
//! scheduler's own record of the wire.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that says what it measured; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod gauge;
    pub mod image;
    pub mod leaks;
    #[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
    pub mod proof;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use riklet::testing::scheduler::{Core, Event, Manners, Scheduler};
use serde_json::{Value, json};
use support::{
    daemon::{Daemon, SOON, process_runs, signal},
    gauge::{Margins, Settling, Weight, grown, weigh, zombies},
    proof::{Proof, rounds},
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Waits for SIGTERM.
const SERVE: &str = r#"trap "exit 0" TERM; sleep 1000000 & wait"#;

/// A journal whose bounds are reached within a test.
const SMALL_JOURNAL: &str = "[journal]\nsegment = \"64KiB\"\nhistory_size = \"256KiB\"\n\
                             history_always = \"128KiB\"";

/// The most that the journal of [`SMALL_JOURNAL`] holds besides its snapshots: the history, the
/// segment that crosses its bound, the live one, and what came while a snapshot was taken.
const JOURNAL_BOUND: u64 = 256 * KIB + 4 * 64 * KIB;

/// What the tests with [`SMALL_JOURNAL`] may add.
const MARGINS: Margins = Margins {
    segments: Some(64),
    journal: JOURNAL_BOUND + 2 * MIB,
    store: 4 * MIB,
};

async fn node(config: &str) -> (Daemon, Scheduler) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let scheduler = Scheduler::start(any, Manners::Kind).await.unwrap();
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url()).config(config);
    // At the level of a node that is in use: what is logged is no part of what is weighed.
    daemon = daemon.env("RIKLET_LOG_LEVEL", "info");
    daemon.start();
    (daemon, scheduler)
}

fn never(daemon: &Daemon, script: &str) -> String {
    let mut definition = daemon.definition("short", script);
    definition["spec"]["restartPolicy"] = json!("Never");
    definition.to_string()
}

async fn until_all(scheduler: &Scheduler, ids: &[String], status: &str) {
    let limit = 2 * SOON;
    let what = format!("{} {status}", ids.len());
    let all = |core: &Core| {
        let is = |id: &String| match status {
            "TERMINATED" => core.terminated.contains_key(id),
            _ => core.instances.get(id).is_some_and(|i| i.status == status),
        };
        ids.iter().all(is).then_some(())
    };
    scheduler.wait(&what, limit, all).await.unwrap();
}

fn assert_no_rule_was_broken(scheduler: &Scheduler) {
    let violations = scheduler.look(|core| core.violations.clone());
    assert!(violations.is_empty(), "{violations:#?}");
}

/// Weighs a daemon that has nothing left to do, once it stands but for its memory.
fn at_rest(daemon: &Daemon) -> Weight {
    let settled = |d: &Daemon| {
        let linked = d.status()["unacknowledged"] == 0;
        let nothing = linked && d.plan().is_empty() && d.leaks().is_empty();
        (nothing && zombies(d.pid()).is_empty()).then_some(())
    };
    daemon.wait_within(2 * SOON, "nothing left to do", settled);
    let mut settling = Settling::new();
    daemon.wait("a weight that stands", |d| {
        settling.look(weigh(d.pid(), &d.state()))
    })
}

/// How long a SIGKILLed daemon takes until it answers again, the best of three.
fn start_time(daemon: &mut Daemon) -> Duration {
    let mut once = || {
        daemon.kill9();
        let began = Instant::now();
        daemon.start();
        began.elapsed()
    };
    let times = [once(), once(), once()];
    *times.iter().min().unwrap()
}

/// Short workloads, a few at a time, each to its TERMINATED.
async fn run_short(daemon: &Daemon, scheduler: &Scheduler, numbers: std::ops::Range<u64>) {
    let definition = never(daemon, "exit 0");
    let numbers: Vec<_> = numbers.map(|n| format!("short-{n}")).collect();
    for ids in numbers.chunks(10) {
        for id in ids {
            scheduler.create(id, &definition).unwrap();
        }
        until_all(scheduler, ids, "TERMINATED").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s36_memory_journal_database_and_start_time_stay_flat_over_short_workloads() {
    let mut proof = Proof::of(
        "short workloads in a row leave memory, journal, database and start time flat",
        "Never jobs through the scheduler, ten at a time, with 64 KiB segments and 256 KiB of \
         history; weighed after a warm-up and at the end",
    );
    let (mut daemon, scheduler) = node(SMALL_JOURNAL).await;
    // The long form warms up until the tombstones are at their bound of 1,000.
    let (warm, all) = (rounds(120, 1_200), rounds(320, 2_400));
    run_short(&daemon, &scheduler, 0..10).await;
    let start_before = start_time(&mut daemon);
    let step = rounds(40, 200);
    let (mut done, mut before) = (0, None);
    while done < all {
        run_short(&daemon, &scheduler, 10 + done..10 + done + step).await;
        done += step;
        let now = at_rest(&daemon);
        println!("after {done}: {now}");
        if done == warm {
            before = Some(now);
        }
    }
    let before = before.unwrap();
    let after = at_rest(&daemon);
    let mut violations = grown(&before, &after, &MARGINS);
    let start_after = start_time(&mut daemon);
    println!("start: {start_before:?}, then {start_after:?}");
    proof.add("short workloads", all);
    proof.add("KiB of memory after the warm-up", before.memory / KIB);
    proof.add("KiB of memory at the end", after.memory / KIB);
    proof.add("KiB of journal at the end", after.journal / KIB);
    proof.add("segments at the end", after.segments);
    proof.add("KiB of store after the warm-up", before.store / KIB);
    proof.add("KiB of store at the end", after.store / KIB);
    proof.add("ms to start before", start_before.as_millis() as u64);
    proof.add("ms to start at the end", start_after.as_millis() as u64);
    assert_no_rule_was_broken(&scheduler);
    let verified = daemon.ok(&["state", "verify"]);
    if start_after > 3 * start_before + Duration::from_secs(1) {
        violations.push(format!("start: {start_before:?} became {start_after:?}"));
    }
    if verified.out.contains("damage") {
        violations.push(verified.out);
    }
    proof.conclude("s36_short_workloads", &violations);
}

#[tokio::test(flavor = "multi_thread")]
async fn s23_starts_and_kills_leave_no_zombie_no_monitor_and_no_descriptor() {
    let mut proof = Proof::of(
        "starts and kills leave no zombie, no monitor and no descriptor",
        "containers are SIGKILLed behind the daemon's back, every other one after its monitor; \
         each exit has to be reported as 137",
    );
    let (daemon, scheduler) = node(SMALL_JOURNAL).await;
    let all = rounds(60, 1_000);
    let (mut done, mut before, mut wrong) = (0, None, Vec::new());
    while done < all {
        let ids: Vec<_> = (0..10).map(|n| format!("killed-{}", done + n)).collect();
        wrong.extend(start_and_kill(&daemon, &scheduler, &ids).await);
        done += 10;
        if done == 20 {
            before = Some(at_rest(&daemon));
        }
    }
    let before = before.unwrap();
    let after = at_rest(&daemon);
    println!("{before}\n{after}");
    daemon.until_nothing_is_left();
    proof.add("starts and kills", all);
    proof.add("monitors killed first", all / 2);
    proof.add("fds after the warm-up", before.fds);
    proof.add("fds at the end", after.fds);
    proof.add("zombies at the end", after.zombies);
    assert_no_rule_was_broken(&scheduler);
    wrong.extend(grown(&before, &after, &MARGINS));
    proof.conclude("s23_starts_and_kills", &wrong);
}

/// Starts these, kills them, destroys them. Returns what was reported otherwise than it was.
async fn start_and_kill(daemon: &Daemon, scheduler: &Scheduler, ids: &[String]) -> Vec<String> {
    let definition = never(daemon, SERVE);
    for id in ids {
        scheduler.create(id, &definition).unwrap();
    }
    until_all(scheduler, ids, "RUNNING").await;
    let (pids, monitors) = (daemon.pids(), monitors(daemon));
    let from = scheduler.look(|core| core.events(usize::MAX).1);
    for (n, id) in ids.iter().enumerate() {
        let pid = pids[id][0];
        if n % 2 == 0 {
            signal(monitors[&pid], "KILL");
            daemon.wait("the monitor's end", |_| {
                (!process_runs(monitors[&pid])).then_some(())
            });
        }
        signal(pid, "KILL");
    }
    until_all(scheduler, ids, "FAILED").await;
    let mut wrong = Vec::new();
    for event in scheduler.look(|core| core.events(from).0) {
        if let Event::Instance {
            instance,
            status,
            exit_code,
            ..
        } = event
            && status == "FAILED"
            && exit_code != Some(137)
        {
            wrong.push(format!("{instance} was killed: {exit_code:?}"));
        }
    }
    for id in ids {
        scheduler.destroy(id).unwrap();
    }
    until_all(scheduler, ids, "TERMINATED").await;
    wrong
}

/// Monitors by the pid of their container.
fn monitors(daemon: &Daemon) -> BTreeMap<i32, i32> {
    let lines = daemon.lines();
    let created = lines.iter().filter(|line| line["kind"] == "created");
    let number = |value: &Value| i32::try_from(value.as_i64().unwrap_or(0)).unwrap();
    created
        .map(|line| (number(&line["pid"]), number(&line["monitor"])))
        .collect()
}

/// A state as it arrived: status, reason, generation, seq.
type Seen = (String, String, u32, u64);

/// Every state that arrived since, by instance.
fn seen(scheduler: &Scheduler, from: usize) -> BTreeMap<String, BTreeSet<Seen>> {
    let mut all: BTreeMap<String, BTreeSet<Seen>> = BTreeMap::new();
    for event in scheduler.look(|core| core.events(from).0) {
        if let Event::Instance {
            instance,
            status,
            reason,
            generation,
            seq,
            ..
        } = event
        {
            let seen = (status, reason, generation, seq);
            all.entry(instance).or_default().insert(seen);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn s31_fifty_restarts_of_the_daemon_put_not_one_state_change_on_the_wire() {
    let mut proof = Proof::of(
        "a restart of the daemon is no state change on the wire",
        "SIGKILL and SIGTERM in turn, every third before it has registered; running, failed and \
         replaced instances",
    );
    let (mut daemon, scheduler) = node("").await;
    let serve = daemon.definition("web", SERVE).to_string();
    let ids: Vec<_> = (0..5).map(|n| format!("web-{n}")).collect();
    for id in &ids {
        scheduler.create(id, &serve).unwrap();
    }
    let failed = ["failed-0".to_owned()];
    scheduler
        .create("failed-0", &never(&daemon, "exit 7"))
        .unwrap();
    until_all(&scheduler, &ids, "RUNNING").await;
    until_all(&scheduler, &failed, "FAILED").await;
    let newer = daemon.definition("web", &format!("true; {SERVE}"));
    scheduler.create("web-0", &newer.to_string()).unwrap();
    let replaced = |core: &Core| {
        let web = &core.instances["web-0"];
        (web.generation == 2 && web.status == "RUNNING").then_some(())
    };
    scheduler
        .wait("web-0 replaced", SOON, replaced)
        .await
        .unwrap();
    at_rest_with(&daemon);
    let (pids, lines) = (daemon.pids(), daemon.lines().len());
    let wanted: BTreeMap<_, _> = scheduler.look(|core| {
        let of = |i: &riklet::testing::scheduler::InstanceView| {
            BTreeSet::from([(i.status.clone(), i.reason.clone(), i.generation, i.seq)])
        };
        core.instances
            .iter()
            .map(|(id, i)| (id.clone(), of(i)))
            .collect()
    });
    let first = scheduler.look(|core| core.events(usize::MAX).1);
    let began = Instant::now();
    for n in 0..rounds(50, 50) {
        let from = scheduler.look(|core| core.events(usize::MAX).1);
        if n % 2 == 0 {
            daemon.kill9();
            proof.one("SIGKILL");
        } else {
            daemon.terminate();
            proof.one("SIGTERM");
        }
        daemon.start();
        if n % 3 != 0 {
            let all = wanted.len();
            daemon.wait("every state again", |_| {
                (seen(&scheduler, from).len() == all).then_some(())
            });
            proof.one("waited until every state was there again");
        }
    }
    println!("a restart took {:?}", began.elapsed() / 50);
    daemon.wait("starts to begin", |d| {
        d.log().contains("starts begin").then_some(())
    });
    at_rest_with(&daemon);
    let mut violations = Vec::new();
    for (instance, seen) in seen(&scheduler, first) {
        if wanted.get(&instance) != Some(&seen) {
            let wanted = wanted.get(&instance);
            violations.push(format!("{instance}: {wanted:?}, but arrived: {seen:?}"));
        }
    }
    let changes = daemon.lines().split_off(lines);
    proof.add("lines written by the restarts", changes.len() as u64);
    let changes = changes.iter().filter(|line| line["state"].is_string());
    violations.extend(changes.map(|line| format!("a change: {line}")));
    if daemon.pids() != pids {
        violations.push(format!("{pids:?} became {:?}", daemon.pids()));
    }
    assert_no_rule_was_broken(&scheduler);
    proof.conclude("s31_restarts", &violations);
}

/// Until all is acknowledged and nothing is to be done.
fn at_rest_with(daemon: &Daemon) {
    daemon.wait("a link without backlog", |d| {
        let status = d.status();
        let linked = status["link"]["state"] == "registered";
        (linked && status["unacknowledged"] == 0 && d.plan().is_empty()).then_some(())
    });
}
