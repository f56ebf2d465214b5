//! Evictions, against the built daemon: an emptyDir on the disk that outgrows its sizeLimit ends
//! its instance, for good and whatever dies meanwhile, and nobody else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod story;
}

use riklet::testing::scheduler::Manners;
use serde_json::{Value, json};
use support::{
    daemon::{Daemon, process_runs},
    story::{
        Seen, assert_no_rule_was_broken, scheduler, seen, story, until_state, until_terminated,
    },
};

/// Looks are made so often that nobody waits for one.
const LOOKS: &str = "[evictions]\nlook_every = '100ms'";

/// Says that it was asked to end, and ends.
const ENDS: &str = "trap 'echo SIGTERM came; exit 0' TERM";

/// Waits for its turn to write.
const WAITS: &str = "while [ ! -e /data/go ]; do sleep 0.05; done";

/// Writes 3 MiB of what no file system makes smaller, and says how that went.
const WRITES: &str = "dd if=/dev/urandom of=/data/big bs=1024k count=3 2>&1 && echo wrote";

const SLEEPS: &str = "sleep 1000000 & wait";

/// A Pod whose containers, by their scripts, share the volume `data`.
fn pod(daemon: &Daemon, name: &str, volume: Value, scripts: &[&str]) -> Value {
    let container = |(n, script): (usize, &&str)| {
        json!({
            "name": format!("c{n}"), "image": daemon.image(),
            "env": [{ "name": "SCRIPT", "value": script }],
            "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 20,
            "volumes": [{ "name": "data", "emptyDir": volume }],
            "containers": scripts.iter().enumerate().map(container).collect::<Vec<_>>(),
        },
    })
}

fn until_evicted(daemon: &Daemon, instance: &str) -> Value {
    daemon.wait(&format!("{instance} to be evicted and ended"), |d| {
        let row = d.row(instance)?;
        assert_ne!(row["reason"], "Error", "{row}");
        let ended = |c: &Value| c["pid"].is_null();
        let over = row["containers"].as_array()?.iter().all(ended);
        (row["state"] == "Failed" && row["reason"] == "Evicted" && over).then_some(row)
    })
}

fn kinds(daemon: &Daemon, uid: &str, kind: &str) -> usize {
    let about = |line: &Value| {
        let of = line["container"].as_str().unwrap_or_default();
        line["kind"] == kind && (line["uid"] == uid || of.starts_with(uid))
    };
    daemon.lines().iter().filter(|line| about(line)).count()
}

fn go(daemon: &Daemon, instance: &str) {
    daemon.ok(&[
        "exec",
        instance,
        "-c",
        "c0",
        "--",
        "/bin/sh",
        "-c",
        "echo > /data/go",
    ]);
}

#[test]
fn a_volume_past_its_size_limit_evicts_its_instance_and_nobody_else() {
    let mut daemon = Daemon::prepare().config(LOOKS);
    daemon.start();
    let limit = json!({ "sizeLimit": "1Mi" });
    let writer = format!("{ENDS}; {WAITS}; {WRITES}; {SLEEPS}");
    let beside = format!("{ENDS}; {SLEEPS}");
    let modest = "dd if=/dev/urandom of=/data/little bs=1k count=256 2>&1; busybox truncate -s 1G /data/sparse";
    let modest = format!("{ENDS}; {modest}; {WAITS}; {WRITES}; {SLEEPS}");
    let greedy = pod(&daemon, "greedy", limit.clone(), &[&writer, &beside]);
    daemon.apply(&greedy);
    daemon.apply(&pod(&daemon, "modest", limit.clone(), &[&modest]));
    daemon.apply(&pod(&daemon, "unbounded", json!({}), &[&writer]));
    let memory = json!({ "medium": "Memory", "sizeLimit": "1Mi" });
    daemon.apply(&pod(
        &daemon,
        "memory",
        memory,
        &[&format!("{ENDS}; {WAITS}; {WRITES}; {SLEEPS}")],
    ));
    for name in ["greedy@cli", "modest@cli", "unbounded@cli", "memory@cli"] {
        daemon.until(name, "Running");
    }
    go(&daemon, "memory");
    daemon.wait("the kernel to bound what lies in memory", |d| {
        d.logs("memory").contains("No space left").then_some(())
    });
    go(&daemon, "unbounded");
    daemon.wait("3 MiB", |d| {
        d.logs("unbounded").contains("wrote").then_some(())
    });

    go(&daemon, "greedy");
    let row = until_evicted(&daemon, "greedy@cli");
    let uid = row["uid"].as_str().unwrap().to_owned();
    assert_eq!(row["restarts"], 0, "{row}");
    for container in row["containers"].as_array().unwrap() {
        assert_eq!(container["state"], "exited", "{row}");
        assert_eq!(container["reason"], "Evicted", "{row}");
    }
    let described = daemon.ok(&["describe", "greedy", "-o", "json"]).json();
    let message = described["message"].as_str().unwrap();
    for part in ["\"data\"", "sizeLimit is 1048576"] {
        assert!(message.contains(part), "{message}");
    }
    let explained = daemon.ok(&["explain", "greedy"]).out;
    assert!(explained.contains("it is evicted: emptyDir"), "{explained}");
    for container in ["c0", "c1"] {
        let log = daemon.ok(&["logs", "greedy", container]).out;
        assert!(
            log.contains("SIGTERM came"),
            "{container} had its grace: {log}"
        );
    }
    daemon.wait("its volumes to be given back", |d| {
        (!d.state().join("pods").join(&uid).exists()).then_some(())
    });
    assert!(daemon.plan().is_empty(), "{:?}", daemon.plan());
    for name in ["modest@cli", "unbounded@cli", "memory@cli"] {
        assert_eq!(daemon.row(name).unwrap()["state"], "Running", "{name}");
    }
    // The same again changes nothing, more room does.
    daemon.apply(&greedy);
    assert_eq!(daemon.row("greedy@cli").unwrap()["reason"], "Evicted");
    daemon.apply(&pod(
        &daemon,
        "greedy",
        json!({ "sizeLimit": "16Mi" }),
        &[&writer, &beside],
    ));
    let again = daemon.until("greedy@cli", "Running");
    assert_eq!(
        (again["uid"].as_str(), again["generation"].as_i64()),
        (Some(&*uid), Some(2))
    );
    assert_eq!(kinds(&daemon, &uid, "evicted"), 1);
    // Who was within its limit was looked at all the same.
    go(&daemon, "modest");
    until_evicted(&daemon, "modest@cli");
    for name in ["greedy", "modest", "unbounded", "memory"] {
        daemon.ok(&["delete", name]);
    }
    daemon.until_nothing_is_left();
}

#[test]
fn a_daemon_killed_right_after_the_verdict_leaves_nothing_that_starts_again() {
    let mut daemon = Daemon::prepare().config(LOOKS);
    daemon.start();
    // Both take their time, so that they outlive the daemon that asks them to end.
    let slow = "trap 'sleep 2; exit 0' TERM";
    let writer = format!("{slow}; {WAITS}; {WRITES}; {SLEEPS}");
    let beside = format!("{slow}; {SLEEPS}");
    let limit = json!({ "sizeLimit": "1Mi" });
    daemon.apply(&pod(&daemon, "greedy", limit, &[&writer, &beside]));
    let row = daemon.until("greedy@cli", "Running");
    let uid = row["uid"].as_str().unwrap().to_owned();
    let pid = i32::try_from(row["containers"][0]["pid"].as_i64().unwrap()).unwrap();
    go(&daemon, "greedy");
    daemon.wait("the verdict's line", |d| {
        (kinds(d, &uid, "evicted") == 1).then_some(())
    });
    daemon.kill9();
    assert!(process_runs(pid), "the daemon died first");
    let before = kinds(&daemon, &uid, "attempt_intended");
    for _ in 0..2 {
        daemon.start();
        until_evicted(&daemon, "greedy@cli");
        daemon.wait("its volumes to be given back", |d| {
            (!d.state().join("pods").join(&uid).exists()).then_some(())
        });
        assert!(!process_runs(pid));
        assert!(daemon.plan().is_empty(), "{:?}", daemon.plan());
        daemon.kill9();
    }
    daemon.start();
    assert_eq!(daemon.row("greedy@cli").unwrap()["reason"], "Evicted");
    assert_eq!(kinds(&daemon, &uid, "attempt_intended"), before);
    assert_eq!(kinds(&daemon, &uid, "evicted"), 1);
    daemon.ok(&["delete", "greedy"]);
    daemon.until_nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_is_told_that_its_instance_was_evicted_and_its_destroy_ends_it() {
    let scheduler = scheduler(Manners::Kind).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url()).config(LOOKS);
    daemon.start();
    let script = format!("{ENDS}; {WRITES}; {SLEEPS}");
    let limit = json!({ "sizeLimit": "1Mi" });
    let definition = pod(&daemon, "greedy", limit, &[&script]).to_string();
    scheduler.create("greedy-1", &definition).unwrap();
    until_state(&scheduler, "greedy-1", "FAILED").await;
    until_evicted(&daemon, "greedy-1");
    // It says the same once more, as after a lost link.
    scheduler.create("greedy-1", &definition).unwrap();
    scheduler.destroy("greedy-1").unwrap();
    until_terminated(&scheduler, "greedy-1").await;
    daemon.until_nothing_is_left();
    let failed = |s: &Seen| s.status == "FAILED";
    let failed: Vec<Seen> =
        scheduler.look(|core| seen(core, 0).into_iter().filter(failed).collect());
    assert!(failed.iter().all(|s| s.reason == "Evicted"), "{failed:?}");
    let told = story(&scheduler, "greedy-1");
    assert_eq!(told.last().map(String::as_str), Some("TERMINATED"));
    let after = told.iter().skip_while(|status| *status != "FAILED");
    assert!(
        after.clone().all(|s| s != "RUNNING" && s != "CREATING"),
        "{told:?}"
    );
    assert_no_rule_was_broken(&scheduler);
}
