//! What a scheduler was told, and waits on it: the wire as a test of the real daemon sees it.
//!
//! Used as `mod support { pub mod daemon; pub mod image; pub mod leaks; pub mod story; }`.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::{fs, net::SocketAddr, time::Duration};

use riklet::testing::scheduler::{Core, Event, Manners, Scheduler};
use serde_json::{Value, json};

use super::daemon::{Daemon, SOON};

/// Says hello, then waits for SIGTERM.
pub const SERVE: &str = r#"trap "exit 0" TERM; echo hello; sleep 1000000 & wait"#;

/// The same, says that it ran, and exits with 37 at SIGUSR1, with 0 at SIGUSR2.
pub const OBEY: &str =
    r#"trap "exit 0" TERM USR2; trap "exit 37" USR1; echo ran; sleep 1000000 & wait"#;

/// A scheduler on a free port.
pub async fn scheduler(manners: Manners) -> Scheduler {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Scheduler::start(any, manners).await.unwrap()
}

/// A state as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Of which instance.
    pub instance: String,
    /// The status' name.
    pub status: String,
    /// The reason, or empty.
    pub reason: String,
    /// The exit code, if one came.
    pub exit_code: Option<i32>,
    /// The state's seq.
    pub seq: u64,
    /// States dropped before it.
    pub gap: u64,
}

/// Every instance state that arrived since event `from`.
pub fn seen(core: &Core, from: usize) -> Vec<Seen> {
    let (events, _) = core.events(from);
    let state = |event| match event {
        Event::Instance {
            instance,
            status,
            reason,
            exit_code,
            seq,
            gap,
            ..
        } => Some(Seen {
            instance,
            status,
            reason,
            exit_code,
            seq,
            gap,
        }),
        _ => None,
    };
    events.into_iter().filter_map(state).collect()
}

/// The statuses of one instance, each named once where it was sent again with its metrics.
pub fn story(scheduler: &Scheduler, instance: &str) -> Vec<String> {
    let mut seen = scheduler.look(|core| seen(core, 0));
    seen.retain(|s| s.instance == instance);
    seen.dedup_by_key(|s| s.seq);
    seen.into_iter().map(|s| s.status).collect()
}

/// How often TERMINATED of an instance arrived.
pub fn terminated(scheduler: &Scheduler, instance: &str) -> usize {
    let of = |s: &Seen| s.instance == instance && s.status == "TERMINATED";
    scheduler.look(|core| seen(core, 0).into_iter().filter(of).count())
}

/// The number of the event that comes next.
pub fn next_event(scheduler: &Scheduler) -> usize {
    scheduler.look(|core| core.events(usize::MAX).1)
}

/// Waits until the scheduler has this status.
pub async fn until_state(scheduler: &Scheduler, instance: &str, status: &str) {
    let what = format!("{instance} to be {status}");
    let is = |core: &Core| (core.instances.get(instance)?.status == status).then_some(());
    scheduler.wait(&what, SOON, is).await.unwrap();
}

/// Waits until so many instances have this status.
pub async fn until_all(scheduler: &Scheduler, count: usize, status: &str, limit: Duration) {
    let what = format!("{count} {status}");
    let all = |core: &Core| {
        let with = core.instances.values().filter(|i| i.status == status);
        (with.count() == count).then_some(())
    };
    scheduler.wait(&what, limit, all).await.unwrap();
}

/// Waits for TERMINATED.
pub async fn until_terminated(scheduler: &Scheduler, instance: &str) {
    let what = format!("TERMINATED of {instance}");
    let gone = |core: &Core| core.terminated.contains_key(instance).then_some(());
    scheduler.wait(&what, SOON, gone).await.unwrap();
}

/// Waits until the scheduler has acknowledged all there is to send and the node says so.
pub fn until_all_is_acknowledged(daemon: &Daemon) {
    daemon.wait("a link without backlog", |d| {
        let status = d.status();
        let linked = status["link"]["state"] == "registered";
        (linked && status["unacknowledged"] == 0).then_some(())
    });
}

/// Waits until the node has seen that its scheduler is gone.
pub fn until_link_is_lost(daemon: &Daemon) {
    daemon.wait("the loss of the link", |d| {
        (d.status()["link"]["state"] != "registered").then_some(())
    });
}

/// Until this life of the daemon starts what it found exited: what comes after that is no longer
/// held back by anything.
pub fn until_hold_is_lifted(daemon: &Daemon) {
    daemon.wait("starts to begin", |d| {
        d.log().contains("starts begin").then_some(())
    });
}

/// No rule of the wire was broken.
pub fn assert_no_rule_was_broken(scheduler: &Scheduler) {
    let violations = scheduler.look(|core| core.violations.clone());
    assert!(violations.is_empty(), "{violations:#?}");
    assert_eq!(scheduler.look(|core| core.destroyed_back), 0);
    assert_eq!(scheduler.look(|core| core.placed_again), 0);
}

/// The one container's pid.
pub fn pid(daemon: &Daemon, instance: &str) -> i32 {
    daemon.wait(&format!("a pid of {instance}"), |d| {
        Some(*d.pids().get(instance)?.first()?)
    })
}

/// The definition with this restart policy.
pub fn with_policy(mut definition: Value, policy: &str) -> String {
    definition["spec"]["restartPolicy"] = json!(policy);
    definition.to_string()
}

/// Lines of one kind.
pub fn lines_of_kind(daemon: &Daemon, kind: &str) -> Vec<Value> {
    let mut lines = daemon.lines();
    lines.retain(|line| line["kind"] == kind);
    lines
}

/// Seq of the last line.
pub fn last_seq(daemon: &Daemon) -> u64 {
    daemon.lines().last().unwrap()["seq"].as_u64().unwrap()
}

/// Lines after this seq that carry a state.
pub fn states_since(daemon: &Daemon, seq: u64) -> Vec<Value> {
    let mut lines = daemon.lines();
    lines.retain(|line| line["seq"].as_u64() > Some(seq) && line["state"].is_string());
    lines
}

/// The instance's uid; of its last incarnation.
pub fn uid(daemon: &Daemon, instance: &str) -> String {
    let accepted = lines_of_kind(daemon, "accepted");
    let of = accepted.iter().rfind(|line| line["instance"] == instance);
    of.unwrap()["uid"].as_str().unwrap().to_owned()
}

/// Attempts of an instance's containers that were intended after this seq.
pub fn intended_since(daemon: &Daemon, instance: &str, seq: u64) -> usize {
    let uid = uid(daemon, instance);
    let mut lines = lines_of_kind(daemon, "attempt_intended");
    lines.retain(|line| line["uid"] == *uid && line["seq"].as_u64() > Some(seq));
    lines.len()
}

/// How often an instance's containers said that they ran, over the logs of all attempts.
pub fn said_ran(daemon: &Daemon, instance: &str) -> usize {
    let dir = daemon.state().join("logs").join(uid(daemon, instance));
    let files = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let ran = |path| fs::read_to_string(path).unwrap().matches("ran").count();
    files.map(ran).sum()
}
