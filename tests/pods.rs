//! Scenarios S06 to S09 with whole pods: init containers, sidecars, several main ones, a network of
//! their own. (tests/scenarios.rs and tests/adoption.rs have them with one container.)

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    #[allow(dead_code, reason = "each test file uses its own part")]
    pub mod proof;
}
mod survival {
    pub mod gates;
    pub mod machine;
    pub mod node;
}

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use serde_json::{Value, json};
use support::{
    daemon::process_runs,
    leaks,
    proof::{Proof, rounds},
};
use survival::node::Node;

/// Says that it ran and waits; exits with 0 at SIGTERM and SIGUSR2, with 37 at SIGUSR1.
const OBEY: &str = "trap 'exit 0' TERM USR2; trap 'exit 37' USR1; echo ran; while :; do sleep 1000000 & wait; done";

/// A container by its name and script.
fn container(node: &Node, name: &str, script: &str) -> Value {
    let env = [json!({ "name": "SCRIPT", "value": script })];
    json!({ "name": name, "image": node.daemon.image(), "env": env })
}

fn sidecar(node: &Node, name: &str, script: &str) -> Value {
    let mut container = container(node, name, script);
    container["restartPolicy"] = json!("Always");
    container
}

fn pod(name: &str, policy: &str, inits: &[Value], mains: &[Value]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "restartPolicy": policy, "terminationGracePeriodSeconds": 2,
            "initContainers": inits, "containers": mains,
        },
    })
}

/// Waits until the instance is in this state, by this reason.
fn until(node: &Node, id: &str, state: &str, reason: Option<&str>) {
    node.daemon
        .wait(&format!("{id} to be {state} {reason:?}"), |d| {
            let row = d.row(id)?;
            let is = row["state"] == state && reason.is_none_or(|r| row["reason"] == r);
            is.then_some(())
        });
}

/// How often each attempt of an instance's containers said that it ran, by `<n>-<attempt>`.
fn ran(node: &Node, id: &str) -> Vec<(String, usize)> {
    let uid = node.attempt(id, 1);
    let dir = node
        .daemon
        .state()
        .join("logs")
        .join(uid.split('-').next().unwrap());
    let files = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let counted = files.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let count = fs::read_to_string(&path).unwrap().matches("F ran").count();
        (name, count)
    });
    let mut ran: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
    ran.sort();
    ran
}

/// Everything that runs in the instance's cgroups, as the kernel has it.
fn processes(node: &Node, id: &str) -> BTreeSet<i32> {
    let uid = node.attempt(id, 1);
    let uid = uid.split('-').next().unwrap();
    let mut found = BTreeSet::new();
    for top in fs::read_dir("/sys/fs/cgroup").unwrap() {
        let top = top.unwrap().path().join(format!("riklet-{}", node.uid()));
        for group in fs::read_dir(top.join("pods").join(uid))
            .into_iter()
            .flatten()
        {
            let procs = fs::read_to_string(group.unwrap().path().join("cgroup.procs"));
            let pids = procs.unwrap_or_default();
            found.extend(pids.lines().map(|pid| pid.parse::<i32>().unwrap()));
        }
    }
    found
}

#[test]
fn s06_a_pods_completed_work_has_run_once_after_twenty_crashes_and_reboots() {
    let each = rounds(10, 40);
    let mut proof = Proof::of(
        "A pod's completed work is not run again, its init containers neither",
        "pods with an init container and a network that completed, failed, or were cut off by the \
         first reboot; SIGKILLs of the daemon and reboots by turns",
    );
    let mut node = Node::networked_on_a_machine();
    let init = |node: &Node| [container(node, "init", "echo ran")];
    let fails = |node: &Node| [container(node, "init", "echo ran; exit 3")];
    let main = |node: &Node, script: &str| [container(node, "main", script)];
    let pods = [
        pod("done", "Never", &init(&node), &main(&node, "echo ran")),
        pod(
            "retried",
            "OnFailure",
            &init(&node),
            &main(&node, "echo ran"),
        ),
        pod(
            "failed",
            "Never",
            &init(&node),
            &main(&node, "echo ran; exit 3"),
        ),
        pod("stuck", "Never", &fails(&node), &main(&node, "echo ran")),
        pod("cut", "Never", &init(&node), &main(&node, OBEY)),
    ];
    for pod in &pods {
        node.daemon.apply(pod);
    }
    let ends = |node: &Node, rebooted: bool| {
        until(node, "done@cli", "Terminated", Some("Completed"));
        until(node, "retried@cli", "Terminated", Some("Completed"));
        until(node, "failed@cli", "Failed", Some("Error"));
        until(node, "stuck@cli", "Failed", Some("Error"));
        match rebooted {
            true => until(node, "cut@cli", "Failed", Some("NodeRebooted")),
            false => until(node, "cut@cli", "Running", None),
        }
    };
    ends(&node, false);
    let mark = node.last_seq();
    for n in 0..each {
        node.daemon.restart();
        node.until_starts_begin();
        ends(&node, n > 0);
        proof.one("SIGKILLs of the daemon");
        node.daemon.kill9();
        node.power_cut(n % 3 == 2);
        node.boot(None);
        node.daemon.start();
        node.until_starts_begin();
        ends(&node, true);
        proof.one("reboots");
    }
    node.daemon
        .wait("nothing to do", |d| d.plan().is_empty().then_some(()));
    let mut violations = Vec::new();
    for (id, both) in [
        ("done@cli", true),
        ("retried@cli", true),
        ("failed@cli", true),
        ("stuck@cli", false),
        ("cut@cli", true),
    ] {
        proof.one("pods");
        let again = node.intended(id, mark);
        if !again.is_empty() {
            violations.push(format!("{id} was begun again: {again:?}"));
        }
        let ran = ran(&node, id);
        let once = ran
            .iter()
            .all(|(name, count)| name.ends_with("-1") && *count == 1);
        if !once || ran.len() != 1 + usize::from(both) {
            violations.push(format!("{id} ran {ran:?}"));
        }
    }
    for pod in &pods {
        node.daemon
            .ok(&["delete", pod["metadata"]["name"].as_str().unwrap()]);
    }
    node.end();
    proof.conclude("s06_completed_pods", &violations);
}

/// Pods that are to be destroyed, with what would come next in each if it weren't.
struct Doomed {
    /// Its init container runs.
    begins: String,
    /// Its init container has ended: the main one would start.
    between: String,
    /// Its main container has ended: it would start again.
    exited: String,
    /// It runs, a sidecar beside it.
    runs: String,
}

impl Doomed {
    fn all(&self) -> [&String; 4] {
        [&self.begins, &self.between, &self.exited, &self.runs]
    }

    fn place(node: &mut Node) -> Self {
        let place = |node: &mut Node, what: &str, init: &str| {
            let id = node.name(what);
            let inits = [container(node, "init", init), sidecar(node, "beside", OBEY)];
            let mains = [container(node, "main", OBEY)];
            let definition = pod("pod", "Always", &inits, &mains);
            node.scheduler.create(&id, &definition.to_string()).unwrap();
            id
        };
        let this = Self {
            begins: place(node, "begins", OBEY),
            between: place(node, "between", OBEY),
            exited: place(node, "exited", "echo ran"),
            runs: place(node, "runs", "echo ran"),
        };
        for id in [&this.exited, &this.runs] {
            node.until_wire(id, "RUNNING");
        }
        for id in [&this.begins, &this.between] {
            node.pid_of(id, "init");
            // It has set its traps once it has said so.
            node.daemon.wait("its init container to say so", |_| {
                (!ran(node, id).is_empty()).then_some(())
            });
        }
        node.daemon.wait("the main container to say so", |_| {
            (ran(node, &this.exited).len() == 3).then_some(())
        });
        node.settle();
        this
    }
}

#[test]
fn s07_a_pods_destroy_that_waited_is_applied_before_any_container_starts() {
    let mut node = Node::networked();
    // The scheduler is there when the daemon comes back, or comes later.
    for scheduler_dies in [false, true] {
        let doomed = Doomed::place(&mut node);
        let ends = [
            (node.pid_of(&doomed.between, "init"), "USR2"),
            (node.pid_of(&doomed.exited, "main"), "USR1"),
        ];
        node.daemon.kill9();
        for (pid, how) in ends {
            node.kill(pid, how);
        }
        if scheduler_dies {
            node.scheduler.die();
        }
        let mark = node.last_seq();
        for id in doomed.all() {
            node.scheduler.destroy(id).unwrap();
        }
        node.daemon.start();
        if scheduler_dies {
            node.daemon.wait("a try to connect", |d| {
                d.status()["link"]["error"].is_string().then_some(())
            });
            // Seen, and its start held back.
            until(&node, &doomed.exited, "Failed", None);
            node.revive();
        }
        for id in doomed.all() {
            node.until_wire(id, "TERMINATED");
            let begun = node.intended(id, mark);
            assert!(
                begun.is_empty(),
                "{id}: {begun:?} although its destroy waited"
            );
            let states = node.arrived(id, 0);
            let terminated = states.iter().filter(|s| s.0 == "TERMINATED");
            assert_eq!(terminated.count(), 1, "{states:?}");
        }
        node.daemon.until_nothing_is_left();
    }
    node.end();
}

#[test]
fn s08_a_pods_destroy_after_a_crash_ends_every_process_and_frees_the_host_port() {
    let mut node = Node::networked();
    let port = {
        let free = TcpListener::bind("0.0.0.0:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let answers = |port: u16| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    };
    let deaf = "trap '' TERM HUP INT;";
    let brood = format!(
        "trap 'exit 0' TERM\n\
         /bin/busybox setsid sh -c \"{deaf} (httpd -f -p 8080 &)\" &\n\
         (sh -c \"{deaf} (sh -c 'sleep 1000001' &)\" &)\n\
         sleep 1000000 & wait"
    );
    let brood_aside = format!("(sh -c \"{deaf} (sh -c 'sleep 1000002' &)\" &)\n{OBEY}");
    for monitors_die in [false, true] {
        let id = node.name("brood");
        let inits = [
            container(&node, "init", "echo ran"),
            sidecar(&node, "beside", &brood_aside),
        ];
        let mut server = container(&node, "server", &brood);
        server["ports"] = json!([{ "hostPort": port, "containerPort": 8080 }]);
        let mains = [server, container(&node, "other", &brood_aside)];
        let definition = pod("pod", "Always", &inits, &mains);
        node.scheduler.create(&id, &definition.to_string()).unwrap();
        node.until_wire(&id, "RUNNING");
        node.daemon
            .wait("its port", |_| answers(port).then_some(()));
        // Of each: the shell, its sleep and two that are on their own.
        let all = node.daemon.wait("its children", |_| {
            Some(processes(&node, &id)).filter(|all| all.len() >= 10)
        });
        let inits = ["beside", "server", "other"].map(|name| node.pid_of(&id, name));
        let names = node.daemon.row(&id).unwrap();
        let names = names["containers"].as_array().unwrap().iter();
        let names: Vec<_> = names
            .filter(|c| c["pid"].is_i64())
            .map(|c| c["id"].as_str().unwrap().to_owned())
            .collect();
        node.daemon.kill9();
        if monitors_die {
            names.iter().for_each(|name| node.kill_monitor(name));
        }
        node.daemon.start();
        let adopted = ["beside", "server", "other"].map(|name| node.pid_of(&id, name));
        assert_eq!(adopted, inits);
        node.scheduler.destroy(&id).unwrap();
        node.until_wire(&id, "TERMINATED");
        let left: Vec<_> = all.iter().filter(|pid| process_runs(**pid)).collect();
        assert!(left.is_empty(), "{left:?} of {all:?} still run");
        assert!(!answers(port), "its port still leads somewhere");
        node.daemon.until_nothing_is_left();
    }
    // Somebody else can have the port.
    TcpListener::bind(("0.0.0.0", port)).unwrap();
    node.end();
}

#[test]
fn s09_a_pod_has_one_container_a_position_one_sandbox_and_one_address_wherever_the_daemon_dies() {
    let mut node = Node::networked();
    // At each first attempt: the runtime has made it and the monitor says so; or the runtime is
    // never done.
    let told =
        "case $id in *-1) runc \"$@\"; touch \"$here/came.$id\"; wait_for go.$id; exit 0 ;; esac\n";
    let never = "case $id in *-1) runc \"$@\"; touch \"$here/came.$id\"; wait_for never ;; esac\n";
    for (what, text, proven) in [("told", told, true), ("never", never, false)] {
        let id = node.name(what);
        let inits = [
            container(&node, "init", "echo ran"),
            sidecar(&node, "beside", OBEY),
        ];
        let mains = ["main", "other"].map(|name| container(&node, name, OBEY));
        let definition = pod("pod", "Never", &inits, &mains).to_string();
        node.gates.say("create", text);
        node.scheduler.create(&id, &definition).unwrap();
        let mut killed = BTreeSet::new();
        while killed.len() < 4 {
            let container = node.daemon.wait("the runtime to have made one more", |_| {
                let names = node.intended(&id, 0).into_iter().map(|(n, attempt)| {
                    let first = node.attempt(&id, attempt);
                    format!("{}-{n}-{attempt}", first.split('-').next().unwrap())
                });
                let new = |name: &String| {
                    !killed.contains(name) && node.gates.has(&format!("came.{name}"))
                };
                names.into_iter().find(new)
            });
            node.daemon.kill9();
            assert_eq!(node.lines(&container, "created").len(), 0);
            if proven {
                // The monitor's word, as if the daemon had died a little later.
                node.gates.open(&format!("go.{container}"));
                let word = node.persist(&container).join("sync");
                node.daemon.wait("the monitor's word", |_| {
                    let word = fs::read_to_string(&word);
                    word.is_ok_and(|text| text.contains('\n')).then_some(())
                });
            }
            killed.insert(container);
            node.daemon.start();
        }
        node.until_wire(&id, "RUNNING");
        node.daemon.wait("each to say that it ran", |_| {
            (ran(&node, &id).len() == 4).then_some(())
        });
        let ran = ran(&node, &id);
        let positions: BTreeSet<_> = ran.iter().map(|(name, _)| name.split('-').next()).collect();
        assert_eq!(positions.len(), 4, "{ran:?}");
        assert!(ran.iter().all(|(_, count)| *count == 1), "{ran:?}");
        let attempt = if proven { "-1" } else { "-2" };
        assert!(
            ran.iter().all(|(name, _)| name.ends_with(attempt)),
            "{ran:?}"
        );
        assert_eq!(node.living(&id), 3);
        let uid = node.attempt(&id, 1);
        let uid = uid.split('-').next().unwrap();
        let lines = node.daemon.lines();
        let made = lines
            .iter()
            .filter(|l| l["kind"] == "sandbox_intended" && l["uid"] == uid);
        assert_eq!(made.count(), 1);
        let address = node.daemon.row(&id).unwrap()["ip"]
            .as_str()
            .unwrap()
            .to_owned();
        let held = leaks::addresses(&node.daemon.run());
        assert_eq!(held, [format!("address {address}")]);
        node.scheduler.destroy(&id).unwrap();
        node.until_wire(&id, "TERMINATED");
        node.daemon.until_nothing_is_left();
    }
    node.end();
}
