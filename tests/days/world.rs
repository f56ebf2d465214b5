//! What all rows share: one node with its bystanders, a scheduler, a registry, and the looks at
//! them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use riklet::testing::scheduler::{Event, Manners, Place, Scheduler};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{programs::Programs, table::Seen};
use crate::support::{
    daemon::{Daemon, SOON},
    image::Image,
    registry::Registry,
};

/// A call of the runtime, and a pull without progress, have so long.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// The script of a container that runs until it is told to stop.
pub const RUNS: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait; done";

/// An instance that no row may touch.
#[derive(Debug, PartialEq)]
struct Bystander {
    id: &'static str,
    uid: String,
    pids: Vec<i64>,
    last_seq: u64,
    wire_seq: u64,
}

/// What was there when a row began.
#[derive(Default)]
struct Begin {
    event: usize,
    seq: u64,
    violations: usize,
}

/// One node and its surroundings.
pub struct World {
    // First, so that it is torn down while scheduler and registry are still there.
    pub node: Daemon,
    pub scheduler: Scheduler,
    pub programs: Programs,
    pub registry: Registry,
    runtime: Runtime,
    bystanders: Vec<Bystander>,
    begin: Begin,
    /// Ids that only the node was told of, so that the controller doesn't know their states.
    raw: BTreeSet<String>,
    barriers: u32,
}

impl World {
    /// A registered node with three bystanders that run.
    pub fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let anywhere = ([127, 0, 0, 1], 0).into();
        let scheduler = runtime.block_on(Scheduler::start(anywhere, Manners::Kind));
        let scheduler = scheduler.unwrap();
        let node = Daemon::prepare().scheduler(&scheduler.url());
        let programs = Programs::write(&node.dir().join("bin"), &node.state());
        let deadlines = format!("[deadlines]\nruntime = {DEADLINE:?}\nstall = {DEADLINE:?}\n");
        let deadlines = deadlines.replace("2s", "\"2s\"");
        let node = node.config(&deadlines).config(&programs.config());
        let registry = Registry::start();
        let scratch = node.dir().join("pushed");
        Image::default().push(&scratch, &registry.image("busybox:1"));
        let other = Image::default().architecture("s390x");
        other.push(&scratch, &registry.image("other:1"));
        let mut world = Self {
            node,
            scheduler,
            programs,
            registry,
            runtime,
            bystanders: Vec::new(),
            begin: Begin::default(),
            raw: BTreeSet::new(),
            barriers: 0,
        };
        world.node.start();
        world.begin_life();
        world
    }

    fn begin_life(&mut self) {
        let mut pair = self.definition("by-pair", RUNS);
        let mut second = pair["spec"]["containers"][0].clone();
        second["name"] = json!("second");
        pair["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .push(second);
        self.create("by-pair", &pair.to_string());
        self.create("by-one", &self.definition("by-one", RUNS).to_string());
        self.node.apply(&self.definition("by-cli", RUNS));
        for id in ["by-pair", "by-one", "by-cli@cli"] {
            self.node.until(id, "Running");
        }
        self.until_acknowledged();
        self.bystanders = self.bystanders_now();
        assert_eq!(self.bystanders.len(), 3);
    }

    /// The scheduler listens again.
    pub fn revive(&mut self) {
        self.runtime.block_on(self.scheduler.revive()).unwrap();
    }

    /// A definition of one container with this script.
    pub fn definition(&self, name: &str, script: &str) -> Value {
        self.node.definition(name, script)
    }

    /// A definition whose container's `runc` has that kind of bad day.
    pub fn ill_fated(&self, name: &str, day: &str) -> String {
        let mut definition = self.definition(name, RUNS);
        let env = definition["spec"]["containers"][0]["env"].as_array_mut();
        env.unwrap()
            .push(json!({ "name": super::programs::BAD_DAY, "value": day }));
        definition.to_string()
    }

    /// A definition of one container of this image.
    pub fn of_image(&self, name: &str, image: &str) -> String {
        let mut definition = self.definition(name, RUNS);
        definition["spec"]["containers"][0]["image"] = json!(image);
        definition.to_string()
    }

    /// The scheduler wants an instance.
    pub fn create(&self, id: &str, definition: &str) {
        self.scheduler.create(id, definition).unwrap();
    }

    /// The node is told something that the controller knows nothing of.
    pub fn send_raw(&mut self, id: &str, definition: &str, action: i32) {
        self.raw.insert(id.to_owned());
        self.scheduler
            .send_raw(&self.node.node(), id, definition, action);
    }

    /// Returns once the node has taken everything that was sent before.
    pub fn barrier(&mut self) {
        self.barriers += 1;
        let id = format!("-barrier-{}", self.barriers);
        self.send_raw(&id, "", 0);
        self.node.wait("the barrier", |node| {
            let refused = node.status()["refused"].clone();
            let is_it = |r: &Value| r["instance"] == *id;
            refused.as_array().unwrap().iter().any(is_it).then_some(())
        });
    }

    /// The states on the wire of an instance since the row began, each with its reason; the
    /// same once more, with other metrics, is no news.
    pub fn wire(&self, id: &str) -> String {
        let (events, _) = self.scheduler.look(|core| core.events(self.begin.event));
        let mut states: Vec<String> = Vec::new();
        for event in events {
            if let Event::Instance {
                instance,
                status,
                reason,
                ..
            } = event
                && instance == id
            {
                let state = format!("{status} {reason}").trim().to_owned();
                if states.last() != Some(&state) {
                    states.push(state);
                }
            }
        }
        states.join(" > ")
    }

    /// Waits until the wire of an instance matches.
    pub fn until_wire(&self, id: &str, pattern: &str) {
        let began = Instant::now();
        while !super::table::matches(pattern, &self.wire(id)) {
            let (late, wire) = (began.elapsed() > PATIENCE, self.wire(id));
            assert!(!late, "the wire of {id} is {wire:?}, and not {pattern:?}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// What the row's last state said in a sentence.
    pub fn wire_message(&self, id: &str) -> String {
        let metrics = self
            .scheduler
            .look(|core| core.instances.get(id).map(|i| i.metrics.clone()));
        let metrics = metrics.unwrap_or_default();
        metrics["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Looks at an instance, by this client command.
    pub fn seen(&self, id: &str, args: &[&str]) -> Seen {
        let said = self.node.cli(args);
        let text = if said.err.is_empty() {
            &said.out
        } else {
            &said.err
        };
        Seen {
            wire: self.wire(id),
            command: args[0].to_owned(),
            code: said.code,
            line: text.lines().next().unwrap_or_default().to_owned(),
            modes: self.modes(),
        }
    }

    /// Applies a text from a file, and looks at an instance.
    pub fn seen_applying(&self, id: &str, text: &str) -> Seen {
        let file = self.node.dir().join("said/applied.json");
        fs::write(&file, text).unwrap();
        self.seen(id, &["apply", "-f", file.to_str().unwrap()])
    }

    /// A daemon that is to end by itself, with these directories.
    pub fn seen_running(&self, state: &Path, run: &Path, socket: &Path) -> Seen {
        let mut command = Command::new("/usr/bin/timeout");
        command.args(["20", env!("CARGO_BIN_EXE_riklet"), "run", "--standalone"]);
        command.arg("--state-dir").arg(state);
        command.arg("--run-dir").arg(run);
        command.args(["--log-level", "error"]);
        command.arg("--socket").arg(socket);
        let said = command.output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr);
        Seen {
            wire: String::new(),
            command: "run".to_owned(),
            code: said.status.code().unwrap_or(-1),
            line: text.lines().next().unwrap_or_default().to_owned(),
            modes: self.modes(),
        }
    }

    /// Degraded modes that were entered since the row began, or are on; of the ones that are not
    /// on any more that is said.
    pub fn modes(&self) -> String {
        let degraded = self.node.status()["degraded"].clone();
        let on: BTreeSet<String> = degraded
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["mode"].as_str().unwrap().to_owned())
            .collect();
        let lines = self.node.lines();
        let entered = lines
            .iter()
            .filter(|l| l["kind"] == "degraded_entered" && l["seq"].as_u64() > Some(self.begin.seq))
            .map(|l| l["mode"].as_str().unwrap().to_owned());
        let all: BTreeSet<String> = entered.chain(on.iter().cloned()).collect();
        let named = |mode: &String| match on.contains(mode) {
            true => mode.clone(),
            false => format!("{mode} (left)"),
        };
        all.iter().map(named).collect::<Vec<_>>().join(", ")
    }

    /// Processes in the node's `work` cgroups.
    pub fn work(&self) -> Vec<String> {
        let node = self.node.status()["node_uid"].as_str().unwrap().to_owned();
        let mut found = Vec::new();
        for top in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            let work = PathBuf::from(format!("{top}/riklet-{node}/work"));
            let groups = fs::read_dir(&work).into_iter().flatten().flatten();
            for group in groups.map(|g| g.path()).chain([work]) {
                let procs = fs::read_to_string(group.join("cgroup.procs"));
                found.extend(procs.unwrap_or_default().lines().map(str::to_owned));
            }
        }
        found
    }

    /// Remembers where a row begins.
    pub fn begin(&mut self) {
        let (_, event) = self.scheduler.look(|core| core.events(usize::MAX));
        let seq = self.node.status()["seq"]["written"].as_u64().unwrap();
        let violations = self.scheduler.look(|core| core.violations.len());
        self.begin = Begin {
            event,
            seq,
            violations,
        };
    }

    /// Clears away what a row left, and says what of it was wrong: rules of the wire that were
    /// broken, something that is left on the machine, a bystander that was touched.
    pub fn end(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        self.destroy_others();
        self.until_acknowledged();
        if let Some(left) = self.left() {
            faults.push(format!("left: {left:#?}"));
        }
        let now = self.bystanders_now();
        if now != self.bystanders {
            faults.push(format!(
                "a bystander was touched: {now:?}, {:?}",
                self.bystanders
            ));
            self.bystanders = now;
        }
        let violations = self
            .scheduler
            .look(|core| core.violations[self.begin.violations..].to_vec());
        let known = |violation: &String| {
            let unknown =
                |id: &String| violation.ends_with(&format!("for {id:?}, which is not known"));
            self.raw.iter().any(unknown)
        };
        faults.extend(violations.into_iter().filter(|v| !known(v)));
        self.raw.clear();
        faults
    }

    fn destroy_others(&mut self) {
        let is_bystander = |id: &str| self.bystanders.iter().any(|b| b.id == id);
        let mut asked = BTreeSet::new();
        self.node.wait("all but the bystanders to be gone", |node| {
            let rows = node.ps();
            let others: Vec<_> = rows
                .iter()
                .map(|row| (row["instance"].as_str().unwrap(), row))
                .filter(|(id, _)| !is_bystander(id))
                .collect();
            for (id, row) in &others {
                if row["state"] == "Destroying" || !asked.insert(row["uid"].to_string()) {
                    continue;
                }
                if row["source"] != "scheduler" {
                    node.ok(&["delete", id]);
                } else if self.scheduler.destroy(id).is_err() {
                    self.scheduler.send_raw(&node.node(), id, "", 1);
                }
            }
            others.is_empty().then_some(())
        });
        // What the node never had the scheduler forgets at once.
        let others = self.scheduler.look(|core| {
            let nowhere = core
                .instances
                .iter()
                .filter(|(_, i)| i.place == Place::Nowhere);
            nowhere.map(|(id, _)| id.clone()).collect::<Vec<_>>()
        });
        for id in others {
            let _ = self.scheduler.destroy(&id);
        }
    }

    fn until_acknowledged(&self) {
        self.node.wait("every state to be acknowledged", |node| {
            let status = node.status();
            (status["unacknowledged"] == 0).then_some(())
        });
    }

    /// What is left on the machine besides the bystanders, if it doesn't go soon.
    fn left(&self) -> Option<Vec<String>> {
        let began = Instant::now();
        loop {
            let mut left = self.node.leaks();
            left.retain(|l| !self.bystanders.iter().any(|b| l.contains(&b.uid)));
            if left.is_empty() {
                return None;
            }
            if began.elapsed() > SOON / 6 {
                return Some(left);
            }
            std::thread::park_timeout(Duration::from_millis(40));
        }
    }

    fn bystanders_now(&self) -> Vec<Bystander> {
        let look = |id: &'static str| {
            let said = self.node.cli(&["describe", id, "-o", "json"]);
            let seen = (said.code == 0).then(|| said.json())?;
            let pid = |c: &Value| c["pid"].as_i64();
            let seq =
                |core: &riklet::testing::scheduler::Core| core.instances.get(id).map(|i| i.seq);
            Some(Bystander {
                id,
                uid: seen["uid"].as_str()?.to_owned(),
                pids: seen["containers"]
                    .as_array()?
                    .iter()
                    .filter_map(pid)
                    .collect(),
                last_seq: seen["last_seq"].as_u64()?,
                wire_seq: self.scheduler.look(seq).unwrap_or(0),
            })
        };
        ["by-pair", "by-one", "by-cli@cli"]
            .into_iter()
            .filter_map(look)
            .collect()
    }
}
