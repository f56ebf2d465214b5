//! The churn: whole pods (network, host port, init container, volumes, probe) come, are replaced
//! and go while the daemon is SIGKILLed; what is left afterwards is said by `riklet leaks` and by
//! a look that has none of riklet's code.
//!
//! Each kill comes after a drawn kind of line was seen in the journal, some of them while the
//! daemon still starts. `RIKLET_SEED=n` draws another churn.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that says what it counted and asks the machine by its own programs; clippy \
              knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    #[allow(dead_code, reason = "a part of it is used")]
    pub mod proof;
}
mod churned {
    pub mod foreign;
    pub mod traces;
}
mod gale {
    #[allow(dead_code, reason = "a part of it is used")]
    pub(crate) mod draw;
}

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use churned::{foreign::Foreign, traces};
use gale::draw::Draw;
use serde_json::{Value, json};
use support::{
    daemon::Daemon,
    proof::{Proof, rounds},
};

const SEED: u64 = 20_261_123;

/// How many pods there are at most at a time.
const SLOTS: usize = 4;

/// After what the daemon is killed: a line of one of these kinds.
const LINES: [&str; 11] = [
    "accepted",
    "destroy_accepted",
    "sandbox_intended",
    "sandbox_ready",
    "attempt_intended",
    "created",
    "started",
    "exited",
    "stop_requested",
    "step_removed",
    "removed",
];

/// A drawn line that doesn't come within so long is waited for no longer, and the kill comes then.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Within so long everything is gone once its destroy was asked for.
const EMPTY: Duration = Duration::from_secs(60);

const WAITS: &str = "trap 'exit 0' TERM; while :; do sleep 1000000 & wait; done";

fn seed() -> u64 {
    let asked = std::env::var("RIKLET_SEED").ok();
    asked.and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}

/// A port of the node that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Everything at once that a sandbox and its containers leave traces by.
fn pod(daemon: &Daemon, name: &str, generation: u64) -> Value {
    let map = format!("{name}-settings");
    let mounts = json!([
        { "name": "disk", "mountPath": "/disk" },
        { "name": "memory", "mountPath": "/memory" },
        { "name": "config", "mountPath": "/config", "readOnly": true },
    ]);
    let container = |called: &str, script: &str| {
        let env = json!([
            { "name": "SCRIPT", "value": script },
            { "name": "GENERATION", "value": generation.to_string() },
        ]);
        json!({ "name": called, "image": daemon.image(), "env": env, "volumeMounts": mounts })
    };
    let init = container(
        "init",
        "cp /config/word /disk/word && echo quick >/memory/word",
    );
    let serve = format!("cat /disk/word /memory/word; httpd -p 8080 -h /disk; {WAITS}");
    let mut serve = container("serve", &serve);
    serve["ports"] = json!([{ "hostPort": free_port(), "containerPort": 8080 }]);
    serve["livenessProbe"] = json!({
        "exec": { "command": ["cat", "/disk/word"] }, "periodSeconds": 1, "timeoutSeconds": 30,
    });
    let beside = container("beside", WAITS);
    let volumes = json!([
        { "name": "disk", "emptyDir": {} },
        { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
        { "name": "config", "configMap": { "name": map } },
    ]);
    // Every other one has ids of its own.
    let shares = name.ends_with(['0', '2', '4', '6', '8']);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "hostUsers": shares,
            "terminationGracePeriodSeconds": 1, "volumes": volumes,
            "initContainers": [init], "containers": [serve, beside],
        },
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": map },
        "data": { "word": "kept\n" },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [map, pod] })
}

struct Churn {
    daemon: Daemon,
    draw: Draw,
    /// The name of each slot's pod, where there is one.
    pods: [Option<String>; SLOTS],
    made: u64,
    proof: Proof,
}

impl Churn {
    /// Each slot's pod comes, goes, is replaced, or stays.
    fn change(&mut self) {
        for slot in 0..SLOTS {
            match self.pods[slot].take() {
                None => {
                    let name = format!("pod-{}", self.made);
                    self.made += 1;
                    self.daemon.apply(&pod(&self.daemon, &name, 1));
                    self.proof.one("pods applied");
                    self.pods[slot] = Some(name);
                }
                Some(name) if self.draw.percent(50) => {
                    self.daemon.ok(&["delete", &name]);
                    self.proof.one("pods deleted");
                }
                Some(name) => {
                    if self.draw.percent(30) {
                        self.made += 1;
                        self.daemon.apply(&pod(&self.daemon, &name, self.made));
                        self.proof.one("pods replaced");
                    }
                    self.pods[slot] = Some(name);
                }
            }
        }
    }

    /// Changes what is wanted, and kills the daemon once one more line of a drawn kind is written.
    fn change_and_kill(&mut self) {
        let kind = *self.draw.one_of(&LINES).unwrap();
        let of_kind = |daemon: &Daemon| {
            let lines = daemon.lines();
            lines.iter().filter(|line| line["kind"] == kind).count()
        };
        let before = of_kind(&self.daemon);
        self.change();
        let began = Instant::now();
        let came = self.daemon.wait(kind, |d| {
            let came = of_kind(d) > before;
            (came || began.elapsed() > PATIENCE).then_some(came)
        });
        self.daemon.kill9();
        let after = if came { kind } else { "nothing drawn" };
        self.proof.one(format!("kills after {after}"));
        self.proof.one("kills");
    }

    /// Kills a daemon that was just spawned, a drawn time after.
    fn kill_a_start(&mut self) {
        let after = Duration::from_millis(self.draw.below(400));
        self.daemon.spawn();
        let began = Instant::now();
        self.daemon.wait("the moment of a kill", |_| {
            (began.elapsed() >= after).then_some(())
        });
        self.daemon.kill9();
        self.proof.one("kills while it starts");
        self.proof.one("kills");
    }

    fn empty(&mut self) {
        for row in self.daemon.ps() {
            // It may be on its way out by an earlier delete.
            let instance = row["instance"].as_str().unwrap();
            self.daemon
                .cli(&["delete", instance.trim_end_matches("@cli")]);
        }
        let began = Instant::now();
        self.daemon.wait_within(EMPTY, "every pod to be gone", |d| {
            d.ps().is_empty().then_some(())
        });
        self.proof
            .add("ms until empty", began.elapsed().as_millis() as u64);
    }
}

#[test]
fn s16_after_a_churn_of_whole_pods_under_sigkill_nothing_is_left_and_foreign_things_stand() {
    let foreign = Foreign::make();
    let mut daemon = Daemon::prepare().network("");
    daemon.start();
    let seed = seed();
    let mut churn = Churn {
        daemon,
        draw: Draw::from(seed),
        pods: [const { None }; SLOTS],
        made: 0,
        proof: Proof::of(
            "After crashes and destroys of whole pods nothing of them is left, and what is \
             others' stands",
            format!(
                "pods with network, host port, init container, volumes and probe come and go; \
                 SIGKILL to the daemon after a drawn line or within its start; then `riklet \
                 leaks` and a look without riklet's code; seed {seed}"
            ),
        ),
    };
    churn.change();
    let first = churn.pods[0].clone().unwrap();
    churn.daemon.until(&format!("{first}@cli"), "Running");
    // The last look would see what it looks for: it sees all of that of a pod that runs.
    let seen = traces::left(&churn.daemon);
    for kind in traces::KINDS {
        let sees = seen.iter().any(|trace| trace.starts_with(kind));
        assert!(sees, "no {kind}: {seen:#?}");
    }
    for round in 0..rounds(8, 120) {
        churn.change_and_kill();
        if round % 4 == 3 {
            churn.kill_a_start();
        }
        churn.daemon.start();
    }
    churn.empty();
    let Churn {
        daemon, mut proof, ..
    } = churn;
    daemon.until_nothing_is_left();
    let run = daemon.run();
    let said = daemon.cli(&["leaks", "-o", "json", "--run-dir", run.to_str().unwrap()]);
    let mut violations = Vec::new();
    if said.code != 0 || said.json()["leaks"] != json!([]) {
        violations.push(format!("riklet leaks: {said:?}"));
    }
    for kind in ["sandbox_ready", "started", "probed", "removed"] {
        let lines = daemon.lines();
        let number = lines.iter().filter(|line| line["kind"] == kind).count();
        proof.add(format!("lines: {kind}"), number as u64);
    }
    violations.extend(traces::left(&daemon));
    violations.extend(foreign.harm());
    proof.conclude("s16_churn_of_whole_pods", &violations);
}
