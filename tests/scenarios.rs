//! Scenarios of the field, against the built daemon with real containers and a scheduler over
//! gRPC. Each test begins with its scenario's number; docs/scenarios.md is the list of them.
//!
//! The long form (`make prove`) counts for docs/reliability.md; bounds on time are wide here, for
//! the machine may be busy, and what was measured stands in the counts.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod days {
    #[allow(dead_code, reason = "a part of it is used")]
    pub mod programs;
}
mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    #[allow(dead_code, reason = "a part of it is used")]
    pub mod proof;
    pub mod story;
    pub mod wall_clock;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use days::programs::{BAD_DAY, Programs};
use riklet::testing::scheduler::{Core, Manners, Scheduler};
use serde_json::{Value, json};
use support::{
    daemon::{Daemon, SOON, process_runs, signal},
    proof::{Proof, rounds},
    story::{
        OBEY, SERVE, assert_no_rule_was_broken, intended_since, last_seq, lines_of_kind,
        next_event, pid, said_ran, scheduler, seen, states_since, story, terminated, uid,
        until_all, until_all_is_acknowledged, until_hold_is_lifted, until_link_is_lost,
        until_state, until_terminated, with_policy,
    },
    wall_clock::WallClock,
};

/// Both policies by which an exit with 0 completes.
const COMPLETING: [&str; 2] = ["Never", "OnFailure"];

fn ended(daemon: &Daemon, pid: i32) {
    daemon.wait("its end", |_| (!process_runs(pid)).then_some(()));
}

/// How the end of a job and the death of the daemon follow each other.
fn job_ends_and_daemon_dies(daemon: &mut Daemon, job: &str, order: usize) {
    let pid = pid(daemon, job);
    match order % 4 {
        0 => {
            signal(pid, "USR2");
            daemon.kill9();
        }
        1 => {
            daemon.kill9();
            signal(pid, "USR2");
        }
        2 => {
            signal(pid, "USR2");
            ended(daemon, pid);
            daemon.kill9();
        }
        _ => {
            signal(pid, "USR2");
            daemon.until(job, "Terminated");
            daemon.kill9();
        }
    }
    ended(daemon, pid);
}

/// With the scheduler away, so that everything that completed is still known and could be run
/// again by mistake.
#[tokio::test(flavor = "multi_thread")]
async fn s06_completed_work_has_run_once_after_twenty_crashes() {
    // Two a round: one around the end of a job, one as the next daemon takes over.
    let crashes = usize::try_from(rounds(10, 40)).unwrap();
    let mut proof = Proof::of(
        "Completed work is not run again",
        "jobs with Never and OnFailure exit with 0 before, at and after SIGKILLs of the daemon; \
         each start is killed once more when it takes over",
    );
    let mut scheduler = scheduler(Manners::Kind).await;
    let no_wait = "[restore]\nwait_for_scheduler = \"100ms\"\n";
    let mut daemon = Daemon::prepare()
        .scheduler(&scheduler.url())
        .config(no_wait);
    daemon.start();
    let jobs: Vec<String> = (0..crashes).map(|n| format!("job-{n:02}")).collect();
    for (n, job) in jobs.iter().enumerate() {
        let definition = with_policy(daemon.definition("job", OBEY), COMPLETING[n / 4 % 2]);
        scheduler.create(job, &definition).unwrap();
    }
    until_all(&scheduler, crashes, "RUNNING", 2 * SOON).await;
    until_all_is_acknowledged(&daemon);
    scheduler.die();
    until_link_is_lost(&daemon);
    let again: Vec<String> = COMPLETING.map(|policy| format!("away-{policy}@cli")).into();
    for policy in COMPLETING {
        let local = daemon.definition(&format!("away-{policy}").to_lowercase(), "echo ran");
        let definition: Value = serde_json::from_str(&with_policy(local, policy)).unwrap();
        daemon.apply(&definition);
    }
    let mut violations = Vec::new();
    for (n, job) in jobs.iter().enumerate() {
        job_ends_and_daemon_dies(&mut daemon, job, n);
        let started = lines_of_kind(&daemon, "daemon_started").len();
        daemon.spawn();
        daemon.wait("the daemon to take over", |d| {
            (lines_of_kind(d, "daemon_started").len() > started).then_some(())
        });
        daemon.kill9();
        daemon.start();
        until_hold_is_lifted(&daemon);
        daemon.until(job, "Terminated");
        proof.add("SIGKILLs of the daemon", 2);
    }
    daemon.wait("nothing to do", |d| d.plan().is_empty().then_some(()));
    for job in jobs.iter().chain(&again) {
        let job = job.to_lowercase();
        let ran = said_ran(&daemon, &job);
        proof.one("jobs");
        if ran != 1 {
            violations.push(format!("{job} ran {ran} times"));
        }
    }
    scheduler.revive().await.unwrap();
    for job in &jobs {
        until_terminated(&scheduler, job).await;
        if terminated(&scheduler, job) != 1 {
            violations.push(format!("{job} was told: {:?}", story(&scheduler, job)));
        }
    }
    daemon.until_nothing_is_left();
    assert_no_rule_was_broken(&scheduler);
    proof.conclude("s06_completed_work", &violations);
}

/// Three that are to be destroyed: one runs, one has exited and would start again at once, one
/// waits for the end of its backoff.
struct Doomed {
    ids: [String; 3],
    mark: u64,
}

impl Doomed {
    async fn make(scheduler: &Scheduler, daemon: &Daemon, name: &str) -> Self {
        let ids = ["runs", "exited", "loops"].map(|kind| format!("{kind}-{name}"));
        for id in &ids {
            let definition = daemon.definition("web", OBEY).to_string();
            scheduler.create(id, &definition).unwrap();
        }
        for id in &ids {
            until_state(scheduler, id, "RUNNING").await;
        }
        // Its first restart is at once, the next one after 10 s.
        for exits in 1..=2 {
            signal(pid(daemon, &ids[2]), "USR1");
            daemon.wait("its exit to be recorded", |d| {
                let uid = uid(d, &ids[2]);
                let exited = lines_of_kind(d, "exited").into_iter();
                let of = |l: &Value| l["container"].as_str().is_some_and(|c| c.starts_with(&uid));
                (exited.filter(of).count() == exits).then_some(())
            });
            if exits == 1 {
                daemon.until(&ids[2], "Running");
            }
        }
        until_all_is_acknowledged(daemon);
        Self { ids, mark: 0 }
    }

    /// The second one exits, with the daemon dead.
    fn exit(&self, daemon: &Daemon, pid: i32) {
        assert!(!daemon.alive());
        signal(pid, "USR1");
        ended(daemon, pid);
    }

    fn destroy(&mut self, scheduler: &Scheduler, daemon: &Daemon) {
        self.mark = last_seq(daemon);
        for id in &self.ids {
            // To a node that isn't there: the scheduler sends it when it registers.
            scheduler.destroy(id).unwrap();
        }
    }

    async fn gone(&self, scheduler: &Scheduler, daemon: &Daemon) {
        for id in &self.ids {
            until_terminated(scheduler, id).await;
            let started = intended_since(daemon, id, self.mark);
            assert_eq!(started, 0, "{id} was started although its destroy waited");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s07_a_destroy_that_waited_is_applied_before_anything_starts() {
    let mut proof = Proof::of(
        "A destroy that waited for the node is applied before anything is started again",
        "the destroy is asked for while the daemon is dead, while it has no link yet, and while \
         it reconnects; of instances that run, that exited and that wait for their backoff",
    );
    let mut scheduler = scheduler(Manners::Kind).await;
    let patient = "[restore]\nwait_for_scheduler = \"60s\"\n";
    let mut daemon = Daemon::prepare()
        .scheduler(&scheduler.url())
        .config(patient);
    daemon.start();

    let mut dead = Doomed::make(&scheduler, &daemon, "dead").await;
    let exits = pid(&daemon, &dead.ids[1]);
    daemon.kill9();
    dead.exit(&daemon, exits);
    dead.destroy(&scheduler, &daemon);
    daemon.start();
    dead.gone(&scheduler, &daemon).await;
    proof.add("instances destroyed while the daemon was dead", 3);

    let mut unlinked = Doomed::make(&scheduler, &daemon, "unlinked").await;
    let exits = pid(&daemon, &unlinked.ids[1]);
    daemon.kill9();
    unlinked.exit(&daemon, exits);
    scheduler.die();
    daemon.start();
    daemon.wait("a try to connect", |d| {
        d.status()["link"]["error"].is_string().then_some(())
    });
    unlinked.destroy(&scheduler, &daemon);
    // It has seen the exit and holds the start back.
    daemon.until(&unlinked.ids[1], "Failed");
    scheduler.revive().await.unwrap();
    unlinked.gone(&scheduler, &daemon).await;
    proof.add("instances destroyed before the link was there", 3);

    let mut reconnecting = Doomed::make(&scheduler, &daemon, "lost").await;
    scheduler.die();
    until_link_is_lost(&daemon);
    reconnecting.destroy(&scheduler, &daemon);
    scheduler.revive().await.unwrap();
    reconnecting.gone(&scheduler, &daemon).await;
    proof.add("instances destroyed while the daemon reconnected", 3);

    daemon.until_nothing_is_left();
    assert_no_rule_was_broken(&scheduler);
    proof.conclude("s07_waiting_destroy", &[]);
}

/// Pids in the cgroup of this process.
fn pids_beside(pid: i32) -> BTreeSet<i32> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let unified = unified.expect("a cgroup2 hierarchy");
    let tops = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let procs = tops.map(|top| top.join(unified).join("cgroup.procs"));
    let text = procs.iter().find_map(|path| fs::read_to_string(path).ok());
    let text = text.expect("the processes of a container's cgroup");
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// conmon of the instance's one container.
fn monitor(daemon: &Daemon, instance: &str) -> i32 {
    let row = daemon.row(instance).unwrap();
    let container = row["containers"][0]["id"].as_str().unwrap().to_owned();
    let file = daemon.run().join("p").join(container).join("conmon.pid");
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_destroy_after_a_crash_ends_every_process_and_frees_the_port() {
    let mut proof = Proof::of(
        "After a crash a destroy ends every process of the container",
        "a container with daemonised children that ignore every signal listens on a port of the \
         host; the daemon is killed, and with it the monitor or not, then comes the destroy",
    );
    let scheduler = scheduler(Manners::Kind).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    for (id, monitor_dies) in [("with-monitor", false), ("without-monitor", true)] {
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let script = format!(
            "trap 'exit 0' TERM\n\
             deaf='trap \"\" TERM HUP INT;'\n\
             /bin/busybox setsid sh -c \"$deaf (httpd -f -p 127.0.0.1:{port} &)\" &\n\
             (sh -c \"$deaf (sh -c 'sleep 1000001' &)\" &)\n\
             sleep 1000000 & wait"
        );
        let mut definition = daemon.definition("web", &script);
        definition["spec"]["hostNetwork"] = json!(true);
        scheduler.create(id, &definition.to_string()).unwrap();
        until_state(&scheduler, id, "RUNNING").await;
        daemon.wait("its port", |_| TcpStream::connect(("127.0.0.1", port)).ok());
        let main = pid(&daemon, id);
        let all = daemon.wait("its children", |_| {
            Some(pids_beside(main)).filter(|all| all.len() >= 4)
        });
        if monitor_dies {
            let monitor = monitor(&daemon, id);
            daemon.kill9();
            signal(monitor, "KILL");
        } else {
            daemon.kill9();
        }
        daemon.start();
        assert_eq!(pid(&daemon, id), main, "adopted");
        scheduler.destroy(id).unwrap();
        until_terminated(&scheduler, id).await;
        let left: Vec<i32> = all.iter().copied().filter(|p| process_runs(*p)).collect();
        assert!(left.is_empty(), "{left:?} of {all:?} still run");
        TcpListener::bind(("127.0.0.1", port)).expect("its port is free");
        proof.add("processes ended", all.len() as u64);
        proof.one("ports freed");
    }
    daemon.until_nothing_is_left();
    assert_no_rule_was_broken(&scheduler);
    proof.conclude("s08_destroy_after_crash", &[]);
}

/// Processes whose command line begins with this program.
fn processes_of(program: &Path) -> Vec<i32> {
    let program = program.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let pid = path.file_name().and_then(|n| n.to_str()?.parse().ok());
        let Some(pid) = pid else { continue };
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.split('\0').take(2).any(|word| word == program) {
            found.push(pid);
        }
    }
    found
}

fn modes(daemon: &Daemon) -> String {
    daemon.status()["degraded"].to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn s24_a_hung_runc_delays_nobody_else_and_is_killed_and_shown() {
    let mut proof = Proof::of(
        "A runtime that hangs for one container delays no other",
        "runc create never returns for one container; others are created and destroyed meanwhile",
    );
    let scheduler = scheduler(Manners::Kind).await;
    let daemon = Daemon::prepare().scheduler(&scheduler.url());
    let programs = Programs::write(&daemon.dir().join("bin"), &daemon.state());
    let runc = daemon.dir().join("bin/runc");
    let mut daemon = daemon
        .config("[deadlines]\nruntime = \"4s\"\n")
        .config(&programs.config());
    daemon.start();
    // The image is there before anything is measured.
    let well = daemon.definition("well", SERVE).to_string();
    scheduler.create("first", &well).unwrap();
    until_state(&scheduler, "first", "RUNNING").await;

    let mut ill = daemon.definition("ill", SERVE);
    let env = ill["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.push(json!({ "name": BAD_DAY, "value": "hangs" }));
    scheduler.create("ill", &ill.to_string()).unwrap();
    let hung = daemon.wait("runc to hang", |_| {
        Some(processes_of(&runc)).filter(|pids| !pids.is_empty())
    });
    let (mut start, mut stop) = (Duration::ZERO, Duration::ZERO);
    for n in 0..rounds(3, 20) {
        let id = format!("well-{n}");
        let began = Instant::now();
        scheduler.create(&id, &well).unwrap();
        until_state(&scheduler, &id, "RUNNING").await;
        start = start.max(began.elapsed());
        let began = Instant::now();
        scheduler.destroy(&id).unwrap();
        until_terminated(&scheduler, &id).await;
        stop = stop.max(began.elapsed());
        proof.one("others created and destroyed");
    }
    proof.add("slowest start of another, ms", millis(start));
    proof.add("slowest destroy of another, ms", millis(stop));
    let bound = Duration::from_secs(10);
    assert!(start < bound && stop < bound, "{start:?} {stop:?}");
    daemon.wait("the hung call to be killed", |_| {
        (!hung.iter().any(|pid| process_runs(*pid))).then_some(())
    });
    daemon.wait("the degraded mode", |d| {
        modes(d).contains("RuntimeHung").then_some(())
    });
    proof.add("hung calls killed", hung.len() as u64);
    let story = daemon.ok(&["explain", "ill"]).out;
    assert!(story.contains("not created within 4s"), "{story}");
    scheduler.destroy("ill").unwrap();
    until_terminated(&scheduler, "ill").await;
    if support::proof::long() {
        // It is shown for 330 s after the last one; in the short form a test with a clock of its
        // own covers that.
        let gone = |d: &Daemon| (!modes(d).contains("RuntimeHung")).then_some(());
        daemon.wait_within(14 * SOON, "the mode to go", gone);
        proof.one("degraded modes left by themselves");
    }
    scheduler.destroy("first").unwrap();
    until_terminated(&scheduler, "first").await;
    daemon.until_nothing_is_left();
    assert_no_rule_was_broken(&scheduler);
    proof.conclude("s24_hung_runc", &[]);
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// An hour back, a year ahead, 40 s back, from the machine's own clock; and back to it.
const STEPS: [i64; 4] = [-3_600, 365 * 86_400, -40, 0];

/// The wall clock of the node as its newest line has it, in seconds after the machine's.
fn ahead(daemon: &Daemon) -> i64 {
    let line = daemon.lines().pop().unwrap();
    let at: jiff::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
    at.as_second() - jiff::Timestamp::now().as_second()
}

/// The daemon's own readings of the wall clock are moved (see `WallClock`); nobody sets the
/// machine's.
#[tokio::test(flavor = "multi_thread")]
async fn s29_steps_of_the_wall_clock_neither_stall_nor_storm() {
    let mut proof = Proof::of(
        "Steps of the wall clock change no delay",
        "the daemon's CLOCK_REALTIME steps by -1 h, +1 year, -40 s during creates, during a \
         backoff and while idle",
    );
    let scheduler = scheduler(Manners::Kind).await;
    let daemon = Daemon::prepare().scheduler(&scheduler.url());
    let clock = WallClock::make(daemon.dir());
    let mut daemon = clock.on(daemon);
    daemon.start();
    let definition = daemon.definition("web", OBEY).to_string();
    for (n, step) in STEPS.into_iter().enumerate() {
        let id = format!("web-{n}");
        scheduler.create(&id, &definition).unwrap();
        // Between the accepted line and the start, somewhere.
        daemon.wait("its acceptance", |d| {
            let accepted = lines_of_kind(d, "accepted");
            accepted.iter().any(|l| l["instance"] == *id).then_some(())
        });
        clock.set(step);
        until_state(&scheduler, &id, "RUNNING").await;
        until_all_is_acknowledged(&daemon);
        let ahead = ahead(&daemon);
        assert!(
            (ahead - step).abs() <= 20,
            "{ahead} and not {step}: no step"
        );
        proof.one("steps during a create");
    }
    // The first restart is at once, the second waits for 10 s.
    signal(pid(&daemon, "web-0"), "USR1");
    daemon.wait("its restart", |d| {
        (intended_since(d, "web-0", 0) == 2).then_some(())
    });
    until_state(&scheduler, "web-0", "RUNNING").await;
    let (last, began) = (pid(&daemon, "web-0"), Instant::now());
    signal(last, "USR1");
    daemon.wait("its backoff", |d| {
        let row = d.row("web-0")?;
        (row["reason"] == "CrashLoopBackOff").then_some(())
    });
    let mark = last_seq(&daemon);
    for step in STEPS {
        clock.set(step);
        // Something is written at that time: an instance comes and goes.
        let id = format!("during{step}").replace('-', "m");
        scheduler.create(&id, &definition).unwrap();
        until_state(&scheduler, &id, "RUNNING").await;
        scheduler.destroy(&id).unwrap();
        until_terminated(&scheduler, &id).await;
        proof.one("steps during a backoff");
    }
    daemon.wait("its second restart", |d| {
        (intended_since(d, "web-0", 0) == 3).then_some(())
    });
    let waited = began.elapsed();
    proof.add("backoff of 10 s took, ms", millis(waited));
    let range = Duration::from_millis(9_900)..Duration::from_secs(25);
    assert!(range.contains(&waited), "it waited for {waited:?}");
    until_state(&scheduler, "web-0", "RUNNING").await;
    until_all_is_acknowledged(&daemon);
    assert_eq!(
        intended_since(&daemon, "web-0", mark),
        1,
        "one start, no storm"
    );
    for n in 1..STEPS.len() {
        assert_eq!(intended_since(&daemon, &format!("web-{n}"), 0), 1);
    }
    // And a restart of the daemon in another year than the last line's.
    clock.set(STEPS[1]);
    daemon.restart();
    clock.set(0);
    until_hold_is_lifted(&daemon);
    let pids = daemon.pids();
    daemon.restart();
    until_hold_is_lifted(&daemon);
    assert_eq!(daemon.pids(), pids);
    assert_eq!(daemon.status()["degraded"], json!([]));
    for n in 0..STEPS.len() {
        scheduler.destroy(&format!("web-{n}")).unwrap();
        until_terminated(&scheduler, &format!("web-{n}")).await;
    }
    daemon.until_nothing_is_left();
    assert_no_rule_was_broken(&scheduler);
    proof.conclude("s29_clock_steps", &[]);
}

/// Sends a signal to all of them in one go.
fn signal_all(pids: &[i32], name: &str) {
    assert!(pids.iter().all(|pid| *pid > 1), "{pids:?}");
    let mut kill = Command::new("/bin/kill");
    kill.args([&format!("-{name}"), "--"]);
    kill.args(pids.iter().map(ToString::to_string));
    assert!(kill.status().unwrap().success());
}

/// A hundred containers exit at once: how long until the scheduler has acknowledged the last one.
async fn hundred_exits(scheduler: &Scheduler, daemon: &Daemon, round: u64) -> Duration {
    const COUNT: usize = 100;
    let definition = with_policy(daemon.definition("job", OBEY), "Never");
    let id = |n: usize| format!("job-{round}-{n:03}");
    for n in 0..COUNT {
        scheduler.create(&id(n), &definition).unwrap();
    }
    until_all(scheduler, COUNT, "RUNNING", 4 * SOON).await;
    until_all_is_acknowledged(daemon);
    let pids: Vec<i32> = daemon.pids().into_values().flatten().collect();
    assert_eq!(pids.len(), COUNT);
    let from = next_event(scheduler);
    let began = Instant::now();
    signal_all(&pids, "USR1");
    let acknowledged = |core: &Core| {
        let with = core.instances.values().filter(|i| i.status == "FAILED");
        (with.filter(|i| i.acknowledged == i.seq).count() == COUNT).then_some(())
    };
    let limit = Duration::from_secs(20);
    scheduler
        .wait("every exit", limit, acknowledged)
        .await
        .unwrap();
    let took = began.elapsed();
    let states = scheduler.look(|core| seen(core, from));
    let failed = states.iter().filter(|s| s.status == "FAILED");
    let failed: BTreeMap<_, _> = failed.map(|s| (&s.instance, s.exit_code)).collect();
    assert_eq!(failed.len(), COUNT);
    assert!(failed.values().all(|code| *code == Some(37)), "{failed:?}");
    for n in 0..COUNT {
        scheduler.destroy(&id(n)).unwrap();
    }
    let gone = |core: &Core| core.instances.is_empty().then_some(());
    scheduler.wait("TERMINATED", 2 * SOON, gone).await.unwrap();
    daemon.until_nothing_is_left();
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_a_hundred_exits_within_a_second_are_all_acknowledged() {
    let mut proof = Proof::of(
        "A hundred exits at once are acknowledged within a second",
        "a hundred containers exit with 37 at one signal; the time runs until the scheduler has \
         acknowledged the last one; the fastest round counts, for the machine has other work",
    );
    let scheduler = scheduler(Manners::Kind).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    let mut times = Vec::new();
    for round in 0..rounds(1, 3) {
        times.push(hundred_exits(&scheduler, &daemon, round).await);
        proof.add("exits acknowledged", 100);
    }
    let fastest = times.iter().min().copied().unwrap();
    proof.add("fastest round, ms", millis(fastest));
    proof.add(
        "slowest round, ms",
        millis(times.into_iter().max().unwrap()),
    );
    let mut violations = Vec::new();
    if support::proof::long() && fastest > Duration::from_secs(1) {
        violations.push(format!("no round was acknowledged before {fastest:?}"));
    }
    assert_no_rule_was_broken(&scheduler);
    proof.conclude("s30_hundred_exits", &violations);
}

/// States that were written after this seq, by instance, in order.
fn written(daemon: &Daemon, since: u64) -> BTreeMap<String, Vec<(u64, String)>> {
    let accepted = lines_of_kind(daemon, "accepted");
    let names: BTreeMap<&str, &str> = accepted
        .iter()
        .map(|l| (l["uid"].as_str().unwrap(), l["instance"].as_str().unwrap()))
        .collect();
    let mut by_instance: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for line in states_since(daemon, since) {
        // Lines about a container name the incarnation by its id.
        let uid = line["uid"].as_str().or_else(|| {
            let container = line["container"].as_str()?;
            Some(container.split('-').next().unwrap())
        });
        let state = line["state"].as_str().unwrap().to_uppercase();
        let of = by_instance.entry(names[uid.unwrap()].to_owned());
        of.or_default().push((line["seq"].as_u64().unwrap(), state));
    }
    by_instance
}

/// One round of changes: everything is stopped and runs again, and one job completes.
fn churn(daemon: &Daemon, job: &str) {
    daemon.ok(&["drain"]);
    daemon.wait("the node to be drained", |d| {
        d.pids().is_empty().then_some(())
    });
    daemon.ok(&["uncordon"]);
    daemon.wait("everything to run again", |d| {
        let rows = d.ps();
        let running = |row: &Value| row["state"] == "Running" || row["state"] == "Terminated";
        rows.iter().all(running).then_some(())
    });
    signal(pid(daemon, job), "USR2");
    daemon.until(job, "Terminated");
}

#[tokio::test(flavor = "multi_thread")]
async fn s30_every_state_arrives_in_order_after_the_scheduler_was_away() {
    const SERVING: usize = 4;
    let mut proof = Proof::of(
        "No state is lost while the scheduler is away",
        "instances are stopped, restarted and completed, and the daemon is killed, while nobody \
         listens; every written state has to arrive, in order",
    );
    let mut scheduler = scheduler(Manners::Kind).await;
    let no_wait = "[restore]\nwait_for_scheduler = \"100ms\"\n";
    let mut daemon = Daemon::prepare()
        .scheduler(&scheduler.url())
        .config(no_wait);
    daemon.start();
    let away = Duration::from_secs(rounds(10, 35));
    // Few enough that no instance has more than its outbox holds.
    let jobs = usize::try_from(rounds(4, 12)).unwrap();
    let serve = daemon.definition("web", OBEY).to_string();
    for n in 0..SERVING {
        scheduler.create(&format!("web-{n}"), &serve).unwrap();
    }
    let job = with_policy(daemon.definition("job", OBEY), "OnFailure");
    for n in 0..jobs {
        scheduler.create(&format!("job-{n}"), &job).unwrap();
    }
    until_all(&scheduler, SERVING + jobs, "RUNNING", 2 * SOON).await;
    until_all_is_acknowledged(&daemon);
    let (mark, from) = (last_seq(&daemon), next_event(&scheduler));
    scheduler.die();
    until_link_is_lost(&daemon);
    let began = Instant::now();
    for n in 0..jobs {
        churn(&daemon, &format!("job-{n}"));
        proof.one("rounds of stop, start and completion");
        if n % 2 == 1 {
            daemon.restart();
            proof.one("SIGKILLs of the daemon");
        }
        // An exit, too, whose restart is at once the first time and waits for 10 s the second.
        signal(pid(&daemon, &format!("web-{}", n % SERVING)), "USR1");
    }
    daemon.wait_within(2 * away + SOON, "the time of absence", |_| {
        (began.elapsed() >= away).then_some(())
    });
    proof.add("seconds away", began.elapsed().as_secs());
    scheduler.revive().await.unwrap();
    until_all_is_acknowledged(&daemon);
    for n in 0..SERVING {
        scheduler.destroy(&format!("web-{n}")).unwrap();
        until_terminated(&scheduler, &format!("web-{n}")).await;
    }
    until_all_is_acknowledged(&daemon);
    let violations = missed(&scheduler, &daemon, (mark, from), &mut proof);
    daemon.until_nothing_is_left();
    assert_no_rule_was_broken(&scheduler);
    proof.conclude("s30_scheduler_away", &violations);
}

/// Where what arrived since then isn't what was written since then.
fn missed(
    scheduler: &Scheduler,
    daemon: &Daemon,
    (mark, from): (u64, usize),
    proof: &mut Proof,
) -> Vec<String> {
    let mut violations = Vec::new();
    let mut arrived: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for state in scheduler.look(|core| seen(core, from)) {
        if state.gap != 0 {
            violations.push(format!("states were dropped: {state:?}"));
        }
        let of = arrived.entry(state.instance).or_default();
        // The same once more is how metrics come.
        if state.seq > mark && of.last().is_none_or(|(seq, _)| *seq != state.seq) {
            of.push((state.seq, state.status));
        }
    }
    for (instance, written) in written(daemon, mark) {
        proof.add("states written and delivered", written.len() as u64);
        let arrived = arrived.remove(&instance).unwrap_or_default();
        if arrived != written {
            violations.push(format!("{instance}: {written:?} arrived as {arrived:?}"));
        }
        let last = arrived.iter().filter(|(_, s)| s == "TERMINATED").count();
        if last != 1 {
            violations.push(format!("{instance}: {last} times TERMINATED"));
        }
    }
    violations
}

#[test]
fn s37_sigterm_leaves_containers_running_and_drain_stops_them_until_uncordon() {
    let mut proof = Proof::of(
        "SIGTERM leaves containers running, drain stops them",
        "SIGTERM and a start keep the pids; drain stops, across a SIGKILL, until uncordon",
    );
    let mut daemon = Daemon::prepare();
    daemon.start();
    daemon.apply(&daemon.definition("web", SERVE));
    daemon.until("web@cli", "Running");
    let pids = daemon.pids();
    assert!(daemon.terminate().success());
    assert!(
        process_runs(pids["web@cli"][0]),
        "SIGTERM ended a container"
    );
    daemon.start();
    assert_eq!(daemon.pids(), pids);

    daemon.ok(&["drain"]);
    let drained = |d: &Daemon| {
        let row = d.row("web@cli").unwrap();
        let stopped = row["reason"] == "NodeDrained" && d.pids().is_empty();
        stopped.then_some(())
    };
    daemon.wait("the node to be drained", drained);
    assert!(!process_runs(pids["web@cli"][0]));
    assert_eq!(daemon.status()["drained"], json!(true));
    daemon.restart();
    until_hold_is_lifted(&daemon);
    daemon.wait("still drained", drained);
    assert!(daemon.plan().is_empty(), "{:?}", daemon.plan());
    daemon.ok(&["uncordon"]);
    daemon.until("web@cli", "Running");
    let again = daemon.pids();
    assert_ne!(again, pids);
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();
    proof.one("containers left by SIGTERM");
    proof.one("containers stopped by drain");
    proof.conclude("s37_sigterm_and_drain", &[]);
}
