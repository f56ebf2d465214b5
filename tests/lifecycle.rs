//! The life of a pod on real containers, with SIGKILLs of the daemon in it: what follows what at
//! the start and at the end, and that a death of the daemon changes none of it.
//!
//! What happened when is told by the containers themselves: each appends to a story in a directory
//! of the node, with the time by CLOCK_BOOTTIME, which the journal goes by, too. They wait for
//! gates, files in the same directory; so a daemon is killed at exactly that step.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod story;
}

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use support::{
    daemon::{Daemon, process_runs},
    story::{lines_of_kind, uid, until_hold_is_lifted},
};

/// What every script begins with.
const WORDS: &str = "say() { read -r up rest </proc/uptime; echo \"$up $1\" >>/shared/story; }\n\
                     gate() { until [ -e /shared/$1 ]; do sleep 0.02; done; }\n";

/// A main container that ends when it is told to, and says so.
const SERVE: &str = "trap 'say term; exit 0' TERM; say 'main begins'; sleep 1000000 & wait";

/// One pod and the directory it tells its story in.
struct Pod {
    name: &'static str,
    dir: PathBuf,
    definition: Value,
}

/// A container of this script.
fn container(daemon: &Daemon, name: &str, script: &str) -> Value {
    let env = [json!({ "name": "SCRIPT", "value": format!("{WORDS}{script}") })];
    json!({
        "name": name, "image": daemon.image(), "env": env,
        "volumeMounts": [{ "name": "shared", "mountPath": "/shared" }],
    })
}

/// With more fields.
fn with(mut value: Value, more: Value) -> Value {
    let Value::Object(more) = more else {
        panic!("no fields: {more}");
    };
    value.as_object_mut().unwrap().extend(more);
    value
}

/// A hook of this script.
fn hook(script: &str) -> Value {
    json!({ "exec": { "command": ["/bin/sh", "-c", format!("{WORDS}{script}")] } })
}

impl Pod {
    fn new(daemon: &Daemon, name: &'static str, inits: &[Value], main: Value, spec: Value) -> Self {
        let dir = daemon.dir().join("shared").join(name);
        fs::create_dir_all(&dir).unwrap();
        let volume = json!({ "name": "shared", "hostPath": { "path": dir } });
        let all = json!({
            "initContainers": inits, "containers": [main], "volumes": [volume],
        });
        let definition = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
            "spec": with(all, spec),
        });
        Self {
            name,
            dir,
            definition,
        }
    }

    fn id(&self) -> String {
        format!("{}@cli", self.name)
    }

    fn open(&self, gate: &str) {
        fs::write(self.dir.join(gate), "").unwrap();
    }

    /// The story: when, in ms since the boot, and what.
    fn story(&self) -> Vec<(u64, String)> {
        let text = fs::read_to_string(self.dir.join("story")).unwrap_or_default();
        let line = |line: &str| {
            let (up, what) = line.split_once(' ').unwrap();
            let up: f64 = up.parse().unwrap();
            ((up * 1_000.0) as u64, what.to_owned())
        };
        text.lines().map(line).collect()
    }

    /// What was said, in order.
    fn said(&self) -> Vec<String> {
        self.story().into_iter().map(|(_, what)| what).collect()
    }

    /// When this was said the last time.
    fn last(&self, what: &str) -> u64 {
        let story = self.story();
        story.iter().rfind(|(_, said)| said == what).unwrap().0
    }

    /// Waits until this has been said so often.
    fn says(&self, daemon: &Daemon, what: &str, times: usize) {
        daemon.wait(&format!("{} to say {what:?}", self.name), |_| {
            let said = self.said().into_iter().filter(|said| said == what);
            (said.count() >= times).then_some(())
        });
    }

    /// The row of one of its containers.
    fn row(&self, daemon: &Daemon, container: &str) -> Value {
        let row = daemon.row(&self.id()).unwrap();
        let mut containers = row["containers"].as_array().unwrap().iter();
        let found = containers.find(|c| c["name"] == container);
        found
            .unwrap_or_else(|| panic!("{container} in {row}"))
            .clone()
    }

    /// Waits for the pid of one of its containers.
    fn pid(&self, daemon: &Daemon, container: &str) -> i32 {
        daemon.wait(&format!("a pid of {container}"), |d| {
            let row = self.row(d, container);
            row["pid"].as_i64().map(|pid| i32::try_from(pid).unwrap())
        })
    }

    /// Its lines of one kind about one container, by its position; `None`: of all.
    fn lines(&self, daemon: &Daemon, kind: &str, n: Option<u16>) -> Vec<Value> {
        let begin = match n {
            Some(n) => format!("{}-{n}-", uid(daemon, &self.id())),
            None => format!("{}-", uid(daemon, &self.id())),
        };
        let about = |line: &Value| {
            let container = line["container"].as_str();
            let container = container.or_else(|| line["intent"]["container"].as_str());
            container.is_some_and(|id| id.starts_with(&begin))
        };
        let mut lines = lines_of_kind(daemon, kind);
        lines.retain(about);
        lines
    }

    /// The position of a container, by its name.
    fn position(&self, daemon: &Daemon, container: &str) -> u16 {
        let id = self.row(daemon, container)["id"]
            .as_str()
            .unwrap()
            .to_owned();
        id.split('-').nth(1).unwrap().parse().unwrap()
    }

    /// How often it was written that it is in this state.
    fn states(&self, daemon: &Daemon, state: &str) -> Vec<Value> {
        let uid = uid(daemon, &self.id());
        let mut lines = daemon.lines();
        lines.retain(|line| {
            let of = line["container"].as_str().or(line["uid"].as_str());
            line["state"] == state && of.is_some_and(|id| id.starts_with(&uid))
        });
        lines
    }
}

/// A node that starts what it found exited without waiting for a scheduler.
fn node() -> Daemon {
    let mut daemon = Daemon::prepare().config("[restore]\nwait_for_scheduler = \"50ms\"\n");
    daemon.start();
    daemon
}

/// SIGKILL, something that happens while nobody looks, and a start; until it starts things again.
fn killed_while(daemon: &mut Daemon, happens: impl FnOnce(&Daemon)) {
    daemon.kill9();
    happens(daemon);
    daemon.start();
    until_hold_is_lifted(daemon);
}

fn killed(daemon: &mut Daemon) {
    killed_while(daemon, |_| ());
}

fn ended(daemon: &Daemon, pid: i32) {
    daemon.wait("its end", |_| (!process_runs(pid)).then_some(()));
}

fn gone(daemon: &Daemon, pod: &Pod) {
    daemon.wait(&format!("{} to be gone", pod.name), |d| {
        d.row(&pod.id()).is_none().then_some(())
    });
}

#[test]
fn init_containers_run_in_order_and_once_though_the_daemon_is_killed_amid_and_between_them() {
    let mut daemon = node();
    let inits = ["one", "two"].map(|name| {
        let script = format!("say '{name} begins'; gate {name}; say '{name} ends'");
        container(&daemon, name, &script)
    });
    let main = container(&daemon, "main", SERVE);
    let pod = Pod::new(&daemon, "inits", &inits, main, json!({}));
    daemon.apply(&pod.definition);
    pod.says(&daemon, "one begins", 1);
    // What runs is adopted as it is.
    let pid = pod.pid(&daemon, "one");
    killed(&mut daemon);
    assert_eq!(pod.pid(&daemon, "one"), pid);
    // It ends while nobody looks.
    killed_while(&mut daemon, |d| {
        pod.open("one");
        ended(d, pid);
    });
    pod.says(&daemon, "two begins", 1);
    let row = pod.row(&daemon, "one");
    assert_eq!(
        (&row["exit_code"], &row["restarts"]),
        (&json!(0), &json!(0))
    );
    let pid = pod.pid(&daemon, "two");
    killed(&mut daemon);
    assert_eq!(pod.pid(&daemon, "two"), pid);
    // It ends while somebody looks, who is killed as soon as it has; what was begun by then stays.
    pod.open("two");
    pod.says(&daemon, "two ends", 1);
    killed(&mut daemon);
    pod.says(&daemon, "main begins", 1);
    daemon.until(&pod.id(), "Running");
    let pid = pod.pid(&daemon, "main");
    killed(&mut daemon);
    assert_eq!(pod.pid(&daemon, "main"), pid);
    assert!(daemon.plan().is_empty(), "{:?}", daemon.plan());
    let once = [
        "one begins",
        "one ends",
        "two begins",
        "two ends",
        "main begins",
    ];
    assert_eq!(pod.said(), once);
    for container in ["one", "two", "main"] {
        let n = pod.position(&daemon, container);
        assert_eq!(
            pod.lines(&daemon, "started", Some(n)).len(),
            1,
            "{container}"
        );
    }
    daemon.ok(&["delete", pod.name]);
    gone(&daemon, &pod);
    daemon.until_nothing_is_left();
}

/// A container that ends only when it is told to, and then when its gate is open.
fn reluctant(daemon: &Daemon, name: &str) -> Value {
    let script = format!(
        "trap 'trap \"\" TERM; say \"{name} is told\"; gate {name}-goes; say \"{name} ends\"; exit 0' TERM
         say '{name} begins'; sleep 1000000 & wait"
    );
    container(daemon, name, &script)
}

/// The same as a sidecar, with more fields.
fn sidecar(daemon: &Daemon, name: &str, more: Value) -> Value {
    let sidecar = with(reluctant(daemon, name), more);
    with(sidecar, json!({ "restartPolicy": "Always" }))
}

#[test]
fn a_job_with_sidecars_starts_ends_and_completes_in_order_though_the_daemon_is_killed_at_each_step()
{
    let mut daemon = node();
    let is_up = json!({ "exec": { "command": ["/bin/test", "-e", "/shared/first-is-up"] } });
    let probe = json!({ "startupProbe": with(is_up, json!({ "periodSeconds": 1, "failureThreshold": 60 })) });
    let inits = [
        sidecar(&daemon, "first", probe),
        container(
            &daemon,
            "init",
            "say 'init begins'; gate init; say 'init ends'",
        ),
        sidecar(&daemon, "second", json!({})),
    ];
    let work = container(
        &daemon,
        "work",
        "say 'work begins'; gate work; say 'work ends'",
    );
    let spec = json!({ "restartPolicy": "Never", "terminationGracePeriodSeconds": 60 });
    let pod = Pod::new(&daemon, "job", &inits, work, spec);
    daemon.apply(&pod.definition);
    // A sidecar that hasn't come up keeps what follows it back.
    pod.says(&daemon, "first begins", 1);
    let first = pod.pid(&daemon, "first");
    let tried = |d: &Daemon| (!lines_of_kind(d, "probed").is_empty()).then_some(());
    daemon.wait("a startup probe that failed", tried);
    killed(&mut daemon);
    assert_eq!(pod.said(), ["first begins"]);
    pod.open("first-is-up");
    pod.says(&daemon, "init begins", 1);
    let init = pod.pid(&daemon, "init");
    killed_while(&mut daemon, |d| {
        assert_eq!(pod.said(), ["first begins", "init begins"]);
        pod.open("init");
        ended(d, init);
    });
    pod.says(&daemon, "work begins", 1);
    pod.says(&daemon, "second begins", 1);
    daemon.until(&pod.id(), "Running");
    assert_eq!(pod.pid(&daemon, "first"), first);
    let second = pod.pid(&daemon, "second");
    let seq = |kind: &str, container: &str| {
        let n = pod.position(&daemon, container);
        pod.lines(&daemon, kind, Some(n))[0]["seq"]
            .as_u64()
            .unwrap()
    };
    assert!(seq("started", "second") < seq("attempt_intended", "work"));
    // The work ends while nobody looks; then the sidecars are ended from the last to the first.
    let work = pod.pid(&daemon, "work");
    killed_while(&mut daemon, |d| {
        pod.open("work");
        ended(d, work);
    });
    pod.says(&daemon, "second is told", 1);
    killed(&mut daemon);
    assert_eq!(pod.pid(&daemon, "second"), second);
    assert!(!pod.said().contains(&"first is told".to_owned()));
    pod.open("second-goes");
    pod.says(&daemon, "first is told", 1);
    killed(&mut daemon);
    assert_eq!(pod.pid(&daemon, "first"), first);
    assert_eq!(pod.states(&daemon, "Terminated"), [Value::Null; 0]);
    pod.open("first-goes");
    daemon.until(&pod.id(), "Terminated");
    killed(&mut daemon);
    daemon.wait("nothing to do", |d| d.plan().is_empty().then_some(()));
    let terminated = pod.states(&daemon, "Terminated");
    assert_eq!(terminated.len(), 1, "{terminated:?}");
    assert_eq!(terminated[0]["state_reason"], "Completed");
    let mut said = pod.said();
    // These two begin at the same time.
    said.retain(|what| what != "second begins");
    let end = [
        "work ends",
        "second is told",
        "second ends",
        "first is told",
        "first ends",
    ];
    let begin = ["first begins", "init begins", "init ends", "work begins"];
    assert_eq!(said, [begin.as_slice(), &end].concat());
    for container in ["first", "init", "second", "work"] {
        let n = pod.position(&daemon, container);
        assert_eq!(
            pod.lines(&daemon, "started", Some(n)).len(),
            1,
            "{container}"
        );
    }
    daemon.ok(&["delete", pod.name]);
    gone(&daemon, &pod);
    daemon.until_nothing_is_left();
}

#[test]
fn a_destroy_ends_the_work_and_then_sidecars_in_reverse_though_the_daemon_is_killed_at_each_step() {
    let mut daemon = node();
    let inits = ["first", "second"].map(|name| sidecar(&daemon, name, json!({})));
    let main = reluctant(&daemon, "main");
    let spec = json!({ "terminationGracePeriodSeconds": 60 });
    let pod = Pod::new(&daemon, "down", &inits, main, spec);
    daemon.apply(&pod.definition);
    daemon.until(&pod.id(), "Running");
    let order = ["main", "second", "first"];
    for name in order {
        pod.says(&daemon, &format!("{name} begins"), 1);
    }
    daemon.ok(&["delete", pod.name]);
    let mut told = Vec::new();
    for name in order {
        pod.says(&daemon, &format!("{name} is told"), 1);
        told.push(format!("{name} is told"));
        killed(&mut daemon);
        let mut said = pod.said();
        said.retain(|what| !what.ends_with("begins"));
        assert_eq!(said, told, "nobody is told before those have ended");
        pod.open(&format!("{name}-goes"));
        told.push(format!("{name} ends"));
    }
    gone(&daemon, &pod);
    let mut said = pod.said();
    said.retain(|what| !what.ends_with("begins"));
    assert_eq!(said, told);
    // All have one grace, that of the first.
    let asked = pod.lines(&daemon, "stop_requested", None);
    let deadlines = asked
        .iter()
        .map(|line| line["deadline_up"].as_u64().unwrap());
    let deadlines: Vec<u64> = deadlines.collect();
    assert_eq!(deadlines, [deadlines[0]; 3]);
    daemon.until_nothing_is_left();
}

/// What the journal has of the one end that was asked for: when, until when, and when it was over.
fn end_of(daemon: &Daemon, pod: &Pod) -> (u64, u64, u64) {
    let asked = pod.lines(daemon, "stop_requested", None);
    let exited = pod.lines(daemon, "exited", None);
    assert_eq!((asked.len(), exited.len()), (1, 1), "{asked:?} {exited:?}");
    let number = |value: &Value| value.as_u64().unwrap();
    (
        number(&asked[0]["up"]),
        number(&asked[0]["deadline_up"]),
        number(&exited[0]["up"]),
    )
}

#[test]
fn a_hook_comes_before_sigterm_and_the_written_deadline_holds_though_the_daemon_is_killed_in_both()
{
    // What a busy machine adds to a moment, in ms.
    const LATE: u64 = 4_000;
    let mut daemon = node();
    let serving = |name: &'static str, main: &str, pre_stop: &str, grace: u64| {
        let lifecycle = json!({ "lifecycle": { "preStop": hook(pre_stop) } });
        let main = with(container(&daemon, "main", main), lifecycle);
        let spec = json!({ "terminationGracePeriodSeconds": grace });
        Pod::new(&daemon, name, &[], main, spec)
    };
    let calm = serving("calm", SERVE, "say 'hook begins'; say 'hook ends'", 30);
    let cut = serving(
        "cut",
        SERVE,
        "say 'hook begins'; gate go; say 'hook ends'",
        60,
    );
    let deaf = "trap 'say term' TERM; say 'main begins'; while :; do sleep 1000000 & wait; done";
    let late = serving("late", deaf, "say 'hook begins'; gate never", 6);
    for pod in [&calm, &cut, &late] {
        daemon.apply(&pod.definition);
    }
    for pod in [&calm, &cut, &late] {
        daemon.until(&pod.id(), "Running");
        pod.says(&daemon, "main begins", 1);
    }
    daemon.ok(&["delete", calm.name]);
    gone(&daemon, &calm);
    assert_eq!(
        calm.said(),
        ["main begins", "hook begins", "hook ends", "term"]
    );

    for pod in [&cut, &late] {
        daemon.ok(&["delete", pod.name]);
        pod.says(&daemon, "hook begins", 1);
    }
    killed(&mut daemon);
    // Of a hook whose end isn't written nobody knows how far it came: it is done once more.
    cut.says(&daemon, "hook begins", 2);
    assert_eq!(cut.said(), ["main begins", "hook begins", "hook begins"]);
    cut.open("go");
    gone(&daemon, &cut);
    let once = [
        "main begins",
        "hook begins",
        "hook begins",
        "hook ends",
        "term",
    ];
    assert_eq!(cut.said(), once);
    let (_, deadline, over) = end_of(&daemon, &cut);
    assert!(over < deadline, "{over} {deadline}");

    // This one's hook and process want longer than they have.
    late.says(&daemon, "term", 1);
    killed(&mut daemon);
    gone(&daemon, &late);
    let (asked, deadline, over) = end_of(&daemon, &late);
    // It is worked out a moment before it is written.
    assert!(
        (5_000..=6_000).contains(&(deadline - asked)),
        "the grace of the definition, {} ms",
        deadline - asked
    );
    // 2 s of it are left for SIGTERM.
    let (until, story) = (deadline - 2_000, late.story());
    let term = story.iter().find(|(_, said)| said == "term").unwrap().0;
    // The story's clock has two digits after the point.
    assert!(
        (until - 10..until + LATE).contains(&term),
        "{term}: {until}"
    );
    assert!(
        (deadline..deadline + LATE).contains(&over),
        "{over}: {deadline}"
    );
    assert_eq!(late.lines(&daemon, "exited", None)[0]["signal"], 9);
    daemon.until_nothing_is_left();
}

#[test]
fn running_waits_for_the_hook_after_the_start_though_the_daemon_is_killed_in_it() {
    let mut daemon = node();
    let post = "say 'hook begins'; gate go; say 'hook ends'";
    let lifecycle = json!({ "lifecycle": { "postStart": hook(post) } });
    let main = with(container(&daemon, "main", SERVE), lifecycle);
    let pod = Pod::new(&daemon, "post", &[], main, json!({}));
    daemon.apply(&pod.definition);
    pod.says(&daemon, "hook begins", 1);
    let pid = pod.pid(&daemon, "main");
    killed(&mut daemon);
    pod.says(&daemon, "hook begins", 2);
    assert_eq!(pod.pid(&daemon, "main"), pid);
    assert_eq!(daemon.row(&pod.id()).unwrap()["state"], "Creating");
    assert_eq!(pod.states(&daemon, "Running"), [Value::Null; 0]);
    pod.open("go");
    daemon.until(&pod.id(), "Running");
    let running = pod.states(&daemon, "Running");
    assert_eq!(running.len(), 1, "{running:?}");
    let up = running[0]["up"].as_u64().unwrap();
    assert!(pod.last("hook ends") <= up, "{up}: {:?}", pod.story());
    killed(&mut daemon);
    assert_eq!(pod.pid(&daemon, "main"), pid);
    let mut said = pod.said();
    said.retain(|what| what != "main begins");
    assert_eq!(
        said,
        ["hook begins", "hook begins", "hook ends"],
        "not done again"
    );
    daemon.ok(&["delete", pod.name]);
    gone(&daemon, &pod);
    daemon.until_nothing_is_left();
}

#[test]
fn ready_is_what_its_readiness_probes_say_and_init_containers_do_not_count() {
    let daemon = node();
    let is_ready = json!({ "exec": { "command": ["/bin/test", "-e", "/shared/is-ready"] } });
    let probe = json!({ "readinessProbe": with(is_ready, json!({ "periodSeconds": 1, "failureThreshold": 1 })) });
    let inits = [
        container(&daemon, "init", "say 'init ends'"),
        sidecar(&daemon, "side", json!({})),
    ];
    let work = with(
        container(&daemon, "work", "say 'work begins'; exec sleep 1000000"),
        probe,
    );
    let spec = json!({ "terminationGracePeriodSeconds": 1 });
    let pod = Pod::new(&daemon, "web", &inits, work, spec);
    daemon.apply(&pod.definition);
    let shown = |d: &Daemon, ready: &str| {
        let table = d.ok(&["ps"]).out;
        let row = table.lines().find(|line| line.starts_with(&pod.id()));
        row.is_some_and(|row| row.split_whitespace().nth(1) == Some(ready))
            .then_some(())
    };
    pod.says(&daemon, "work begins", 1);
    daemon.wait("1/2", |d| shown(d, "1/2"));
    pod.open("is-ready");
    daemon.wait("2/2", |d| shown(d, "2/2"));
    let row = daemon.row(&pod.id()).unwrap();
    let of = |name: &str| {
        let all = row["containers"].as_array().unwrap();
        let one = all.iter().find(|c| c["name"] == name).unwrap();
        (one["role"].clone(), one["ready"].clone())
    };
    // Where they say nothing new they are left out.
    assert_eq!(of("init"), (json!("init"), Value::Null));
    assert_eq!(of("side"), (json!("sidecar"), Value::Null));
    assert_eq!(of("work"), (Value::Null, Value::Null));
    fs::remove_file(pod.dir.join("is-ready")).unwrap();
    daemon.wait("1/2", |d| shown(d, "1/2"));
    let row = daemon.row(&pod.id()).unwrap();
    let work = row["containers"].as_array().unwrap().iter();
    let work = work.filter(|c| c["name"] == "work").collect::<Vec<_>>();
    assert_eq!(work[0]["ready"], json!(false));
}
