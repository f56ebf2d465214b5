//! A container that runs out of memory, against the built daemon.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
}

use std::{fs, path::PathBuf};

use serde_json::Value;
use support::daemon::Daemon;

const INSTANCE: &str = "greedy@cli";

/// Where the memory limit of a process' cgroup is.
fn limit_file(pid: u64) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path_of = |is: &str| {
        let mut parts = text.lines().map(|l| l.splitn(3, ':').skip(1));
        parts.find_map(|mut p| (p.next()? == is).then(|| p.next().unwrap_or("").to_owned()))
    };
    match path_of("memory") {
        Some(path) => format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").into(),
        None => {
            let path = path_of("").unwrap();
            format!("/sys/fs/cgroup{path}/memory.max").into()
        }
    }
}

fn last_exit(daemon: &Daemon) -> Value {
    let shown = daemon.ok(&["describe", INSTANCE, "-o", "json"]).json();
    shown["containers"][0]["last_exit"].clone()
}

#[test]
fn s21_an_oom_kill_stays_in_the_history_after_the_daemon_was_killed() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    // The first attempt asks for memory when it is told to, the next ones only wait.
    let script = "trap 'exit 0' TERM; while [ ! -e /go ]; do sleep 0.1; done; \
                  echo asking > /dev/termination-log; \
                  exec busybox dd if=/dev/zero of=/dev/null bs=128M count=1";
    let applied = daemon.apply(&daemon.definition("greedy", script));
    assert_eq!(applied.code, 0, "{applied:?}");
    let row = daemon.until(INSTANCE, "Running");
    let container = &row["containers"][0];
    fs::write(limit_file(container["pid"].as_u64().unwrap()), "33554432").unwrap();
    let id = container["id"].as_str().unwrap();
    let (uid, attempt) = id.split_once('-').unwrap();
    let rootfs = daemon
        .state()
        .join("pods")
        .join(uid)
        .join(attempt)
        .join("rootfs");
    fs::write(rootfs.join("go"), "").unwrap();

    let row = daemon.wait("the next attempt", |d| {
        let row = d.row(INSTANCE)?;
        (row["containers"][0]["restarts"] == 1 && row["state"] == "Running").then_some(row)
    });
    let before = last_exit(&daemon);
    assert_eq!(before["reason"], "OOMKilled", "{before}");
    assert_eq!(
        (&before["oom"], &before["code"]),
        (&true.into(), &137.into())
    );
    let recorded = daemon.lines().into_iter().map(|line| line.to_string());
    assert_eq!(
        recorded
            .filter(|line| line.contains(r#""message":"asking\n""#))
            .count(),
        1
    );
    assert_eq!(before["message"], "asking\n");

    daemon.kill9();
    daemon.start();
    assert_eq!(last_exit(&daemon), before);
    let after = daemon.until(INSTANCE, "Running");
    assert_eq!(after["containers"][0]["pid"], row["containers"][0]["pid"]);
    daemon.ok(&["delete", INSTANCE]);
    daemon.until_nothing_is_left();
}
