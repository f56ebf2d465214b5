//! The tour of examples/workloads/: each is started on a real node, and does what its row says.

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
}

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;
use support::daemon::Daemon;

/// The tour on a node: its files with the local image, in a directory of their own.
struct Tour {
    daemon: Daemon,
}

impl Tour {
    fn begin() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let tour = Self {
            daemon: Daemon::prepare(),
        };
        fs::create_dir(tour.files()).unwrap();
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/workloads");
        for entry in fs::read_dir(examples).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "md") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = text
                .replace("busybox:1.36", &tour.daemon.image())
                .replace("hostPort: 8080", &format!("hostPort: {port}"))
                .replace("/var/tmp/riklet-example", tour.node_dir().to_str().unwrap());
            fs::write(tour.files().join(path.file_name().unwrap()), text).unwrap();
        }
        tour
    }

    fn files(&self) -> PathBuf {
        self.daemon.dir().join("workloads")
    }

    /// What volumes.yaml mounts of the node.
    fn node_dir(&self) -> PathBuf {
        self.daemon.dir().join("of-the-node")
    }

    fn logs(&self, args: &[&str]) -> String {
        let mut words = vec!["logs"];
        words.extend(args);
        self.daemon.cli(&words).out
    }

    /// Waits until a log has a line with this.
    fn says(&self, args: &[&str], text: &str) {
        self.daemon
            .wait(&format!("logs {args:?} to say {text:?}"), |_| {
                self.logs(args).contains(text).then_some(())
            });
    }

    fn row(&self, name: &str) -> Value {
        let row = self.daemon.row(&format!("{name}@cli"));
        row.unwrap_or_else(|| panic!("no row of {name}: {}", self.daemon.ok(&["ps"]).out))
    }

    fn until(&self, name: &str, state: &str, reason: Option<&str>) -> Value {
        let what = format!("{name} to be {state} {reason:?}");
        self.daemon.wait(&what, |_| {
            let row = self.row(name);
            let is = row["state"] == state && reason.is_none_or(|r| row["reason"] == r);
            is.then_some(row)
        })
    }
}

fn container<'a>(row: &'a Value, name: &str) -> &'a Value {
    let mut containers = row["containers"].as_array().unwrap().iter();
    containers.find(|c| c["name"] == name).expect("a container")
}

#[test]
fn every_example_of_the_tour_does_what_its_row_says() {
    let mut tour = Tour::begin();
    tour.daemon.start();
    let dir = tour.files();
    let applied = tour.daemon.ok(&["apply", "-f", dir.to_str().unwrap()]).out;
    let names: BTreeSet<&str> = STEPS.iter().map(|(name, _)| *name).collect();
    assert_eq!(applied.lines().count(), names.len(), "{applied}");
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        assert!(
            applied.contains(&format!("{name}@cli created")),
            "{applied}"
        );
        println!("{name}");
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| step(&tour)));
        if done.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "not as their rows say: {failed:?}");
    for name in names {
        if tour.daemon.row(&format!("{name}@cli")).is_some() {
            tour.daemon.ok(&["delete", &format!("{name}@cli")]);
        }
    }
    tour.daemon.until_nothing_is_left();
    let starts = fs::read_to_string(tour.node_dir().join("starts"));
    assert!(starts.is_ok(), "the node's own directory stays");
}

/// What there is to see of an example, by its name.
type Step = (&'static str, fn(&Tour));

/// Every example.
const STEPS: &[Step] = &[
    ("hello", |tour| {
        tour.until("hello", "Running", None);
        tour.says(&["hello"], "hello, line 2");
    }),
    ("env", |tour| {
        tour.says(&["env"], "Good day, node");
        let shown = tour.daemon.ok(&["describe", "env"]).out;
        assert!(!shown.contains("Good day"), "{shown}");
    }),
    ("once", |tour| {
        tour.until("once", "Terminated", Some("Completed"));
        assert_eq!(tour.logs(&["once"]), "done, once and for all\n");
    }),
    ("job", |tour| {
        tour.until("job", "Terminated", Some("Completed"));
        let shown = tour.daemon.ok(&["describe", "job"]).out;
        assert!(shown.contains("counted to 10"), "{shown}");
    }),
    ("crasher", |tour| {
        tour.daemon.wait("crasher to have been restarted", |_| {
            (tour.row("crasher")["restarts"].as_u64()? >= 1).then_some(())
        });
        let shown = tour.daemon.ok(&["explain", "crasher"]).out;
        assert!(shown.contains("37"), "{shown}");
    }),
    ("two-containers", |tour| {
        tour.says(&["two-containers", "visitor"], "hello, neighbour");
    }),
    ("three", |tour| {
        tour.says(&["three", "visitor"], "one on triplet");
        tour.says(&["three", "visitor"], "two on triplet");
    }),
    ("static", static_manifest),
    ("init", init),
    ("sidecar", sidecar),
    ("oom", |tour| {
        let row = tour.until("oom", "Failed", Some("OOMKilled"));
        assert_eq!(container(&row, "greedy")["exit_code"], 137);
    }),
    ("volumes", volumes),
    ("secure", |tour| {
        tour.says(&["secure"], "the volume can");
        let log = tour.logs(&["secure"]);
        for said in [
            "I am user 1000 of groups 3000 2000",
            "0000000000000000",
            "root can't be",
        ] {
            assert!(log.contains(said), "no {said:?} in\n{log}");
        }
    }),
    ("users", users),
    ("hooks", hooks),
    ("web", |tour| {
        tour.until("web", "Running", None);
    }),
    ("web-probes", web_with_probes),
];

fn static_manifest(tour: &Tour) {
    tour.until("static", "Running", None);
    let manifest = tour.daemon.dir().join("manifests/static.yaml");
    fs::copy(tour.files().join("static.yaml"), &manifest).unwrap();
    tour.daemon.until("static@manifest", "Running");
    fs::remove_file(manifest).unwrap();
    tour.daemon.wait("static@manifest to be gone", |d| {
        d.row("static@manifest").is_none().then_some(())
    });
    assert_eq!(tour.row("static")["state"], "Running", "the other source's");
}

fn init(tour: &Tour) {
    let row = tour.until("init", "Running", None);
    assert_eq!(container(&row, "first")["exit_code"], 0);
    assert_eq!(container(&row, "second")["exit_code"], 0);
    tour.says(&["init", "web"], "the first was here\nand then the second");
}

fn sidecar(tour: &Tour) {
    tour.until("sidecar", "Terminated", Some("Completed"));
    let log = tour.logs(&["sidecar", "reader"]);
    assert_eq!(log, "step 1\nstep 2\nstep 3\n");
}

fn volumes(tour: &Tour) {
    tour.says(&["volumes"], "the settings can't be written");
    let log = tour.logs(&["volumes"]);
    let first = "Good day: <h1>from a ConfigMap</h1>, a token of 14 bytes";
    for said in [first, "started 1 times on this node"] {
        assert!(log.contains(said), "no {said:?} in\n{log}");
    }
}

fn users(tour: &Tour) {
    let row = tour.until("users", "Running", None);
    tour.says(&["users"], "/data/file");
    let log = tour.logs(&["users"]);
    assert!(log.contains("inside I am user 0"), "{log}");
    let file: Vec<_> = log.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(file[2..4], ["0", "0"], "{log}");
    let pid = container(&row, "shell")["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t"));
    let uid = uid.unwrap().split('\t').next().unwrap();
    assert!(uid.parse::<u32>().unwrap() >= 65_536, "{status}");
    assert!(log.contains(uid), "{uid} in {log}");
}

/// Its log goes with it, so somebody has to follow it.
fn hooks(tour: &Tour) {
    tour.says(&["hooks"], "postStart was here");
    let file = tour.daemon.dir().join("said/hooks.log");
    let mut follow = Command::new(env!("CARGO_BIN_EXE_riklet"));
    follow.args(["logs", "-f", "hooks"]).env_clear();
    follow.env("RIKLET_STATE_DIR", tour.daemon.state());
    follow.env("RIKLET_SOCKET", tour.daemon.run().join("riklet.sock"));
    follow.stdin(Stdio::null()).stderr(Stdio::null());
    let mut follow = follow
        .stdout(fs::File::create(&file).unwrap())
        .spawn()
        .unwrap();
    let has = |text: &str| fs::read_to_string(&file).is_ok_and(|log| log.contains(text));
    let wait = |text: &str| {
        let what = format!("the followed log to say {text:?}");
        tour.daemon.wait(&what, |_| has(text).then_some(()));
    };
    wait("postStart was here");
    tour.daemon.ok(&["delete", "hooks"]);
    wait("preStop was here");
    wait("SIGTERM came");
    let log = fs::read_to_string(&file).unwrap();
    assert!(log.find("preStop") < log.find("SIGTERM"), "{log}");
    let _ = follow.kill();
    let _ = follow.wait();
}

/// A server that hangs: it is there, and answers no more.
fn web_with_probes(tour: &Tour) {
    let row = tour.until("web-probes", "Running", None);
    let pid = row["containers"][0]["pid"].as_i64().unwrap();
    let stop = Command::new("/bin/kill")
        .args(["-STOP", &pid.to_string()])
        .status();
    assert!(stop.unwrap().success());
    tour.daemon.wait("it to be restarted", |_| {
        (tour.row("web-probes")["restarts"] == 1).then_some(())
    });
    let again = tour.until("web-probes", "Running", None);
    assert_eq!(again["uid"], row["uid"]);
    assert_eq!(again["generation"], row["generation"]);
    assert_ne!(again["containers"][0]["pid"], pid);
    let shown = tour.daemon.ok(&["explain", "web-probes"]).out;
    assert!(shown.contains("ProbeFailed"), "{shown}");
}
