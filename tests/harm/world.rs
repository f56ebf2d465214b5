//! A node with three running instances, its journal in several segments with snapshots, and a
//! copy of its files from an hour ago (by what happened since, not by the clock).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::kinds::{copy_dir, remove};
use crate::support::daemon::{Daemon, process_runs};

/// Says hello, then waits for SIGTERM.
pub const SERVE: &str = r#"trap "exit 0" TERM; echo hello; sleep 1000000 & wait"#;

/// Says something ten times a second: it is seen to go on.
pub const TICK: &str = r#"trap "exit 0" TERM; while :; do echo tick; usleep 100000; done"#;

/// What of the state dir a daemon rewrites: put back whole after each case.
const STATE: [&str; 2] = ["journal", "db"];

/// The node.
pub struct World {
    pub node: Daemon,
    /// Pids of everything that runs, by instance, with their start times.
    pub running: BTreeMap<String, (i32, String)>,
    /// Uids by instance.
    pub uids: BTreeMap<String, String>,
}

/// Field 22 of `/proc/<pid>/stat`: with it a pid names one process for ever.
pub fn start_time(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19).map(str::to_owned)
}

/// A node that looks at everything once a second.
pub fn node() -> Daemon {
    Daemon::prepare().config("resync = \"1s\"")
}

/// Applies a definition and waits until it runs.
pub fn run(node: &Daemon, name: &str, script: &str) -> Value {
    node.apply(&node.definition(name, script));
    node.until(&format!("{name}@cli"), "Running")
}

impl World {
    /// Three instances that run, and files to be damaged.
    pub fn new() -> Self {
        let mut node = node();
        node.start();
        run(&node, "web", SERVE);
        node.restart();
        let old = node.dir().join("hour-old");
        for name in STATE {
            copy_dir(&node.state().join(name), &old.join(name));
        }
        run(&node, "db", SERVE);
        snapshot(&node, 1);
        node.restart();
        run(&node, "ticker", TICK);
        snapshot(&node, 2);
        node.restart();
        let mut world = Self {
            node,
            running: BTreeMap::new(),
            uids: BTreeMap::new(),
        };
        world.learn();
        // In order, so that every line has its receipt and is in the store.
        world.node.terminate();
        world.keep();
        world
    }

    fn aside(&self, name: &str) -> PathBuf {
        let dir = self.node.dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// Takes who runs for who shall run.
    pub fn learn(&mut self) {
        for row in self.node.ps() {
            let instance = row["instance"].as_str().unwrap().to_owned();
            let uid = row["uid"].as_str().unwrap().to_owned();
            let pid = i32::try_from(row["containers"][0]["pid"].as_i64().unwrap()).unwrap();
            let began = start_time(pid).unwrap();
            self.running.insert(instance.clone(), (pid, began));
            self.uids.insert(instance, uid);
        }
    }

    /// Keeps a copy of what a start changes.
    pub fn keep(&self) {
        let kept = self.aside("pristine");
        for name in STATE {
            copy_dir(&self.node.state().join(name), &kept.join(name));
        }
    }

    /// With the daemon dead, everything that a start changed is as it was.
    pub fn heal(&mut self) {
        if self.node.started() {
            self.node.kill9();
        }
        let (kept, state) = (self.aside("pristine"), self.node.state());
        for name in STATE {
            copy_dir(&kept.join(name), &state.join(name));
        }
        for entry in fs::read_dir(&state).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().contains(".bad-") {
                remove(&entry.path()).unwrap();
            }
        }
    }

    /// An older copy of a file below the state dir, if there is one.
    pub fn old(&self, path: &Path) -> PathBuf {
        let name = path.strip_prefix(self.node.state()).unwrap_or(path);
        self.node.dir().join("hour-old").join(name)
    }

    /// What isn't as it should be with those that run: the very processes of before, nothing to
    /// do, and the ticker goes on.
    pub fn faults(&self) -> Vec<String> {
        let faults = self.process_faults();
        self.ticks(1);
        faults
    }

    /// The same without the ticker.
    pub fn process_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (instance, (pid, began)) in &self.running {
            if !process_runs(*pid) || start_time(*pid).as_ref() != Some(began) {
                faults.push(format!("{instance}: pid {pid} is gone"));
            }
        }
        faults.extend(self.row_faults());
        let nothing_to_do = |d: &Daemon| d.plan().is_empty().then_some(());
        self.node.wait("nothing to do", nothing_to_do);
        faults
    }

    /// The ticker goes on for so many ticks, ten a second.
    fn ticks(&self, many: usize) {
        let count = || {
            let text = fs::read_to_string(self.ticker_log()).unwrap_or_default();
            text.matches("tick").count()
        };
        let before = count();
        let on = |_: &Daemon| (count() >= before + many).then_some(());
        self.node.wait("the ticker to go on", on);
    }

    /// Time for several looks at everything.
    pub fn let_time_pass(&self) {
        self.ticks(30);
    }

    fn row_faults(&self) -> Vec<String> {
        let rows = self.node.ps();
        let mut faults = Vec::new();
        if rows.len() != self.running.len() {
            faults.push(format!("{} rows in ps: {rows:?}", rows.len()));
        }
        for row in &rows {
            let instance = row["instance"].as_str().unwrap();
            let pid = row["containers"][0]["pid"].as_i64();
            let known = self.running.get(instance).map(|(pid, _)| i64::from(*pid));
            if row["state"] != "Running" || pid != known || pid.is_none() {
                faults.push(format!("ps says {row}"));
            }
            if row["reason"] == "InDoubt" {
                faults.push(format!("{instance} is in doubt, and one file was damaged"));
            }
        }
        faults
    }

    fn ticker_log(&self) -> PathBuf {
        let uid = &self.uids["ticker@cli"];
        self.node.state().join(format!("logs/{uid}/0-1.log"))
    }

    /// The degraded modes that `status` shows.
    pub fn modes(&self) -> BTreeMap<String, String> {
        modes(&self.node)
    }
}

/// The degraded modes that `status` shows.
pub fn modes(node: &Daemon) -> BTreeMap<String, String> {
    let status = node.status();
    let modes = status["degraded"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    modes
        .map(|mode| (text(&mode["mode"]), text(&mode["detail"])))
        .collect()
}

/// Has a snapshot taken; then there are so many.
pub fn snapshot(node: &Daemon, many: usize) {
    node.ok(&["state", "repair", "--accept"]);
    node.wait("a snapshot", |d| {
        let entries = fs::read_dir(d.state().join("journal")).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        (names.filter(|n| n.starts_with("snapshot-")).count() >= many).then_some(())
    });
}
