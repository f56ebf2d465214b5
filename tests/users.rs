//! `hostUsers: false` as an operator sees it: the real daemon, its journal, its death, its network.

#![allow(
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
    pub mod strace;
}

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};
use support::{
    daemon::{Daemon, process_runs},
    strace::Strace,
};

const WAITS: &str = "echo up; trap 'exit 0' TERM; while :; do sleep 1000000 & wait; done";

/// A definition of a pod with ids of its own.
fn own(daemon: &Daemon, name: &str, script: &str) -> Value {
    let mut definition = daemon.definition(name, script);
    definition["spec"]["hostUsers"] = json!(false);
    definition
}

fn pid(daemon: &Daemon, name: &str) -> i32 {
    let row = daemon.until(&format!("{name}@cli"), "Running");
    let pid = row["containers"][0]["pid"].as_i64().unwrap();
    i32::try_from(pid).unwrap()
}

/// The first id on the node of what a process has, and how many.
fn ids(pid: i32) -> (u64, u64) {
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    let words: Vec<u64> = map.split_whitespace().map(|w| w.parse().unwrap()).collect();
    assert_eq!((words.len(), words[0]), (3, 0), "{map}");
    (words[1], words[2])
}

fn all_gone(daemon: &Daemon) {
    for row in daemon.ps() {
        let instance = row["instance"].as_str().unwrap();
        // It may be on its way out.
        daemon.cli(&["delete", instance.trim_end_matches("@cli")]);
    }
    daemon.wait("all to be gone", |d| d.ps().is_empty().then_some(()));
}

#[test]
fn two_pods_have_ids_of_their_own_and_keep_them_and_their_processes_when_the_daemon_dies() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    for name in ["one", "two"] {
        daemon.apply(&own(&daemon, name, WAITS));
    }
    daemon.apply(&daemon.definition("shares", WAITS));
    let pids = [pid(&daemon, "one"), pid(&daemon, "two")];
    let had = pids.map(ids);
    assert_ne!(had[0], had[1]);
    for (first, count) in had {
        assert!(
            first >= 65_536 && first.is_multiple_of(65_536) && count == 65_536,
            "{had:?}"
        );
    }
    assert_eq!(ids(pid(&daemon, "shares")).0, 0);
    // Written before it is used, and told.
    let intended: BTreeSet<u64> = daemon
        .lines()
        .iter()
        .filter(|line| line["kind"] == "sandbox_intended")
        .filter_map(|line| line["users"].as_u64())
        .collect();
    assert_eq!(intended, had.iter().map(|(first, _)| *first).collect());
    let told = daemon.ok(&["explain", "one"]).out;
    assert!(told.contains(&format!("ids {} to", had[0].0)), "{told}");
    daemon.kill9();
    assert!(pids.iter().all(|pid| process_runs(*pid)));
    daemon.start();
    assert_eq!([pid(&daemon, "one"), pid(&daemon, "two")], pids);
    let inside = daemon.ok(&[
        "exec",
        "one",
        "--",
        "/bin/sh",
        "-c",
        "id -u; cat /proc/self/uid_map",
    ]);
    let words: Vec<_> = inside.out.split_whitespace().collect();
    assert_eq!(words, ["0", "0", &had[0].0.to_string(), "65536"]);
    let terminal = daemon.ok(&["exec", "-t", "one", "--", "/bin/sh", "-c", "busybox tty"]);
    assert!(terminal.out.starts_with("/dev/pts/"), "{terminal:?}");
    assert_eq!(daemon.plan(), Vec::<Value>::new());
    // By its mounts alone it is seen that its image is in use.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = format!("{}/", daemon.state().join("pods").display());
    let lowers = mounts.lines().filter(|line| line.contains("/lower "));
    let mapped: Vec<_> = lowers.filter(|line| line.contains(&below)).collect();
    let lines = daemon.lines();
    let snapshot = lines
        .iter()
        .find_map(|line| line["snapshot"].as_str())
        .unwrap();
    assert_eq!(mapped.len(), 2, "{mounts}");
    assert!(
        riklet::image::gc::mounted(&mapped.join("\n")).contains(snapshot),
        "{mapped:?}"
    );
    // A later one has neither's; the next generation has its own again.
    daemon.apply(&own(&daemon, "three", WAITS));
    let third = ids(pid(&daemon, "three"));
    assert!(!had.contains(&third), "{third:?}");
    daemon.apply(&own(&daemon, "two", &format!("echo anew; {WAITS}")));
    daemon.wait("the next generation", |d| {
        d.logs("two@cli").contains("anew").then_some(())
    });
    assert_eq!(ids(pid(&daemon, "two")), had[1]);
    all_gone(&daemon);
    daemon.until_nothing_is_left();
}

#[test]
fn a_daemon_killed_amid_the_making_makes_it_later_and_leaves_nothing() {
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let lines = |d: &Daemon, kind: &str| {
        let all = d.lines();
        all.iter().filter(|line| line["kind"] == kind).count()
    };
    let after = [
        "sandbox_intended",
        "sandbox_ready",
        "attempt_intended",
        "created",
        "started",
    ];
    for (n, kind) in after.iter().cycle().take(15).enumerate() {
        let before = lines(&daemon, kind);
        let name = format!("pod-{n}");
        daemon.apply(&own(&daemon, &name, WAITS));
        daemon.wait(kind, |d| (lines(d, kind) > before).then_some(()));
        daemon.kill9();
        daemon.start();
        // One of three is deleted while it is made again.
        if n % 3 != 0 {
            let (first, _) = ids(pid(&daemon, &name));
            assert!(first >= 65_536, "{first}");
        }
        daemon.ok(&["delete", &name]);
    }
    all_gone(&daemon);
    daemon.until_nothing_is_left();
}

/// Everything of which there are mounts.
fn with_volumes(daemon: &Daemon, name: &str) -> Value {
    let mut definition = own(daemon, name, &format!("touch /disk/f /memory/f; {WAITS}"));
    definition["spec"]["containers"][0]["volumeMounts"] = json!([
        { "name": "disk", "mountPath": "/disk" }, { "name": "memory", "mountPath": "/memory" },
    ]);
    definition["spec"]["volumes"] = json!([
        { "name": "disk", "emptyDir": {} },
        { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
    ]);
    definition["spec"]["terminationGracePeriodSeconds"] = json!(1);
    definition
}

#[test]
fn a_daemon_killed_at_any_of_its_mounts_leaves_nothing() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    let mut killed = 0;
    let steps = [
        ("mount", 1..=3),
        ("move_mount", 1..=3),
        ("setns", 1..=1),
        ("umount2", 1..=2),
    ];
    for (call, whens) in steps {
        for when in whens {
            let name = format!("{}-{when}", call.replace('_', "-"));
            let is_removal = call == "umount2";
            if is_removal {
                daemon.apply(&with_volumes(&daemon, &name));
                pid(&daemon, &name);
            }
            // A thread's own count: which of them it is that dies is left to chance, too.
            let fault = format!("{call}:signal=KILL:when={when}");
            let strace = Strace::inject(daemon.pid(), &daemon.dir().join("said"), &[&fault]);
            // Its answer may be lost.
            if is_removal {
                daemon.cli(&["delete", &name]);
            } else {
                let file = daemon.dir().join("said/killed.json");
                fs::write(&file, with_volumes(&daemon, &name).to_string()).unwrap();
                daemon.cli(&["apply", "-f", file.to_str().unwrap()]);
            }
            let dead = daemon.wait(&fault, |d| match d.alive() {
                false => Some(true),
                // It came through, or a runtime was killed instead.
                true => {
                    let said = d.cli(&["ps", "-o", "json"]);
                    let rows = (said.code == 0).then(|| said.json())?;
                    let mut rows = rows.as_array()?.iter();
                    let row = rows.find(|row| row["instance"] == format!("{name}@cli"));
                    let over = match row {
                        None => is_removal,
                        Some(row) => row["state"] == "Running" || row["state"] == "Failed",
                    };
                    over.then_some(false)
                }
            });
            match dead {
                true => strace.abandon(),
                false => drop(strace),
            }
            println!("{fault}: {dead}");
            killed += usize::from(dead);
            daemon.kill9();
            daemon.start();
            if !is_removal {
                assert!(ids(pid(&daemon, &name)).0 >= 65_536);
                daemon.ok(&["delete", &name]);
            }
        }
    }
    assert!(killed >= 6, "{killed} kills");
    all_gone(&daemon);
    daemon.until_nothing_is_left();
}

fn get(address: SocketAddr) -> Option<String> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said.split("\r\n\r\n").nth(1)?.trim().to_owned())
}

#[test]
fn a_pod_with_ids_of_its_own_has_an_address_and_its_probes_reach_it() {
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let serve = "mkdir -p /www && hostname >/www/index.html && exec httpd -f -p 8080 -h /www";
    let mut definition = own(&daemon, "server", serve);
    let container = &mut definition["spec"]["containers"][0];
    container["readinessProbe"] =
        json!({ "httpGet": { "port": 8080 }, "periodSeconds": 1, "timeoutSeconds": 10 });
    container["livenessProbe"] = json!({
        "exec": { "command": ["/bin/sh", "-c", "test $(id -u) = 0"] },
        "periodSeconds": 1, "timeoutSeconds": 30,
    });
    daemon.apply(&definition);
    let row = daemon.until("server@cli", "Running");
    let address: SocketAddr = format!("{}:8080", row["ip"].as_str().unwrap())
        .parse()
        .unwrap();
    assert_eq!(get(address).as_deref(), Some("server"));
    assert_eq!(row["restarts"], 0);
    daemon.restart();
    let again = daemon.until("server@cli", "Running");
    assert_eq!(again["ip"], row["ip"]);
    assert_eq!(again["containers"][0]["pid"], row["containers"][0]["pid"]);
    assert_eq!(get(address).as_deref(), Some("server"));
    all_gone(&daemon);
    daemon.until_nothing_is_left();
}
