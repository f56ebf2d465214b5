//! The command line, as people and scripts meet it: the built program, its output, its exit codes.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use riklet::{
    api::{self, Applied, Deleted, Desk, DeskError, Drained, ExecAsk, Outcome},
    book::Book,
    clock::Clock,
    ledger::{Ledger, OpenOptions},
    model::{
        ids::{Source, Uid},
        line::{Event, Exit, Intent, ProcessId},
        spec::{EnvVar, RestartPolicy},
        state::Reason,
    },
    runtime::exec::Session,
    testing::builders::{container_id, uid, workload},
    view::{
        self, DescribeView, Found, ImageRow, LinkState, LinkView, Live, PlanView, Pruned, PsRow,
        PullView, Pulling, RepairView, Secrets, StatusView,
    },
};
use tokio_util::sync::CancellationToken;

/// Runs the program with these arguments, without this machine's settings.
fn riklet(args: &[&str]) -> Output {
    riklet_with(args, &[], "")
}

#[allow(clippy::disallowed_methods)] // The program itself is what is tested.
fn riklet_with(args: &[&str], env: &[(&str, &str)], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_riklet"))
        .args(args)
        .env_clear()
        .envs(std::env::var("PATH").map(|path| ("PATH", path)))
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    // It may have ended without reading.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// stderr, which has to be one line.
fn one_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with("riklet: "), "{text}");
    text.trim_end().to_owned()
}

/// A state directory with the journal of a small node.
struct State {
    dir: tempfile::TempDir,
    ledger: Ledger,
}

impl State {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system().unwrap();
        let (ledger, _) = Ledger::open(OpenOptions::new(dir.path(), clock)).unwrap();
        Self { dir, ledger }
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    fn accept(&self, uid: &Uid, id: &str, source: Source, containers: usize) {
        let mut spec = workload(containers, RestartPolicy::Always);
        spec.containers[0].env.push(EnvVar {
            name: "PASSWORD".into(),
            value: "hunter2".into(),
            ..EnvVar::default()
        });
        self.record(Event::Accepted {
            uid: uid.clone(),
            instance: id.parse().unwrap(),
            source,
            definition: "password: hunter2".into(),
            spec: Box::new(spec),
            warnings: Vec::new(),
        });
    }

    fn start(&self, uid: &Uid, attempt: u32) {
        let container = container_id(uid, 0, attempt);
        let process = ProcessId {
            pid: 4242,
            start_time: 7,
        };
        self.record(Event::AttemptIntended {
            uid: uid.clone(),
            intent: Intent {
                container: container.clone(),
                snapshot: "sha256-0123".into(),
                netns: None,
            },
        });
        self.record(Event::Created {
            container: container.clone(),
            process,
            monitor: None,
        });
        self.record(Event::Started {
            container,
            process,
            adopted: false,
        });
    }

    fn exit(&self, uid: &Uid, attempt: u32, code: i32) {
        self.record(Event::Exited {
            container: container_id(uid, 0, attempt),
            exit: Exit::from_code(code, false),
            next_up: Some(u64::MAX / 2),
            backoff: 2,
        });
    }

    fn record(&self, event: Event) {
        self.ledger.record(event).unwrap();
    }

    fn log(&self, uid: &Uid, name: &str, text: &str) {
        let dir = self.dir.path().join("logs").join(uid.as_str());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }

    /// Runs a command on this state, of which no daemon lives.
    fn riklet(&self, args: &[&str]) -> Output {
        let socket = self.dir.path().join("none.sock");
        let mut all = args.to_vec();
        all.extend(["--state-dir", self.path()]);
        let socket = socket.to_str().unwrap();
        all.extend(["--socket", socket]);
        riklet(&all)
    }
}

fn crash_looping() -> (State, Uid) {
    let (state, a) = (State::new(), uid(1));
    state.accept(&a, "web@cli", Source::Cli, 1);
    state.start(&a, 1);
    state.exit(&a, 1, 3);
    (state, a)
}

#[test]
fn the_main_help_shows_every_command_in_its_group() {
    let output = riklet(&["--help"]);
    assert_eq!(code(&output), 0);
    insta::assert_snapshot!(out(&output), @r"
    The node agent of a RIK cluster: makes what should run true, and keeps it true

    Usage: riklet <COMMAND>

    Node:
      run         Run the node agent
      status      Show the node, its link and what is degraded
      images      List, pull and prune images
      drain       Stop every instance until `uncordon`, also across a reboot
      uncordon    Run every instance again
      doctor      Check whether this machine can be a node

    Instances:
      ps          List instances
      describe    Show everything about an instance
      apply       Run a definition
      delete      Destroy an instance
      logs        Print what a container wrote
      exec        Run a command in a container

    Why:
      plan        Show what would be done now, and why
      explain     Tell why an instance is as it is
      events      Print what happened, as it happened
      leaks       Show what is on the node and shouldn't be
      state       Read the records themselves

    Other:
      config      Check or print the settings
      completion  Print a completion script for a shell
      help        Print help of a command

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Examples:
      riklet run --scheduler http://scheduler:4995   be a node of a cluster
      riklet run --standalone                        be a node of one's own
      riklet apply -f web.json                       run a definition
      riklet ps                                      see what runs
      riklet explain web                             see why it is as it is
    ");
}

#[test]
fn usage_errors_exit_with_2() {
    for args in [
        &["frobnicate"][..],
        &["ps", "-o", "xml"],
        &["describe"],
        &["run", "--standalone", "--scheduler", "http://x"],
        &["run"],
        &["run", "--scheduler", "ftp://x"],
        &["logs", "-f", "-p", "web"],
    ] {
        let output = riklet_with(args, &[("RIKLET_CONFIG", "/dev/null")], "");
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(code(&riklet(&[])), 2);
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("riklet.toml");
    fs::write(&file, "node_name = 'a'\n[image]\npolicy = '/x'\n").unwrap();
    let file = file.to_str().unwrap();
    for args in [
        &["config", "check", "--config", file][..],
        &["run", "--standalone", "--config", file],
    ] {
        let output = riklet(args);
        assert_eq!(code(&output), 2);
        assert!(one_line(&output).contains("unknown key image in "));
    }
    let output = riklet_with(&["config", "check"], &[("RIKLET_NODENAME", "x")], "");
    assert_eq!(code(&output), 2);
    assert!(one_line(&output).ends_with("RIKLET_NODENAME (did you mean node_name?)"));
}

#[test]
fn printed_settings_say_where_each_came_from_and_can_be_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("riklet.toml");
    fs::write(&file, "scheduler = 'rik:4995'\n[images]\npolicy = '/p'\n").unwrap();
    let args = ["config", "print", "--config", file.to_str().unwrap()];
    let output = riklet_with(&args, &[("RIKLET_NODE_NAME", "n1")], "");
    assert_eq!(code(&output), 0);
    let text = out(&output);
    let origin = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap();
        line.rsplit_once("# ").unwrap().1.to_owned()
    };
    assert_eq!(origin("node_name"), "RIKLET_NODE_NAME");
    assert_eq!(origin("scheduler = "), file.to_str().unwrap());
    assert_eq!(origin("resync"), "default");
    let again = dir.path().join("again.toml");
    fs::write(&again, &text).unwrap();
    let output = riklet(&["config", "check", "--config", again.to_str().unwrap()]);
    assert_eq!(code(&output), 0, "{}", one_line(&output));
}

#[test]
fn a_dead_daemon_is_exit_4_in_one_line_with_the_mend() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("riklet.sock");
    // Left behind by a daemon that was killed.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let definition = dir.path().join("web.json");
    fs::write(&definition, GOOD).unwrap();
    for args in [
        &["ps"][..],
        &["status"],
        &["plan"],
        &["describe", "web"],
        &["delete", "web"],
        &["drain"],
        &["uncordon"],
        &["apply", "-f", definition.to_str().unwrap()],
    ] {
        let mut args = args.to_vec();
        args.extend(["--socket", socket.to_str().unwrap()]);
        let output = riklet(&args);
        assert_eq!(code(&output), 4, "{args:?}");
        let line = one_line(&output);
        assert!(line.contains("riklet.sock"), "{line}");
        assert!(line.contains("is `riklet run` up?"), "{line}");
        assert_eq!(out(&output), "");
    }
}

const GOOD: &str = r#"{"apiVersion":"v0","kind":"pods","name":"web","spec":
    {"containers":[{"name":"a","image":"b"}]}}"#;

#[test]
fn a_dry_run_checks_a_definition_without_a_daemon() {
    let output = riklet_with(&["apply", "--dry-run", "-f", "-"], &[], GOOD);
    assert_eq!(code(&output), 0);
    let said = out(&output);
    let (first, model) = said.split_once('\n').unwrap();
    assert_eq!(first, "web@cli is valid: 1 container (dry run)");
    assert!(model.contains("  name: web\n"), "{model}");

    let bad = r#"{"kind":"Pod","name":"web","spec":{"containers":[{"name":"a","foo":1}]}}"#;
    let output = riklet_with(&["apply", "--dry-run", "-f", "-"], &[], bad);
    assert_eq!(code(&output), 1);
    assert_eq!(
        one_line(&output),
        "riklet: the definition on stdin: spec.containers[0].foo is not a known field; \
         spec.containers[0].image is missing"
    );
    let output = riklet(&["apply", "--dry-run", "-f", "/nonexistent.json"]);
    assert_eq!(code(&output), 1);
    assert!(one_line(&output).contains("cannot read /nonexistent.json: "));
}

#[test]
fn of_several_files_every_fault_is_told_at_once_and_nothing_is_applied() {
    let dir = tempfile::tempdir().unwrap();
    let pod = |name: &str, field: &str| {
        format!("{{kind: Pod, name: {name}, spec: {{containers: [{{name: a, {field}: i}}]}}}}\n")
    };
    let write = |file: &str, text: String| std::fs::write(dir.path().join(file), text).unwrap();
    write(
        "a.yaml",
        format!("---\n{}---\n{}", pod("one", "image"), pod("two", "imago")),
    );
    write("b.yml", format!("# a comment\n{}", pod("three", "imago")));
    write(".c.yaml", "an editor's: [".to_owned());
    write("README", "a page".to_owned());
    let place = dir.path().to_str().unwrap();
    let socket = dir.path().join("nobody.sock");
    let args = ["apply", "-f", place, "--socket", socket.to_str().unwrap()];
    let output = riklet(&args);
    assert_eq!(code(&output), 1);
    let line = one_line(&output);
    for fault in ["a.yaml: ", "b.yml: "] {
        assert!(line.contains(fault), "{line}");
    }
    assert_eq!(
        line.matches("imago is not a known field").count(),
        2,
        "{line}"
    );
    let dry = riklet(&["apply", "--dry-run", "-f", place]);
    assert_eq!(code(&dry), 1);
    assert_eq!(one_line(&dry).matches("imago").count(), 2, "{dry:?}");
    write(
        "a.yaml",
        format!("---\n{}---\n{}", pod("one", "image"), pod("two", "image")),
    );
    write("b.yml", format!("---\n{}", pod("one", "image")));
    let twice = one_line(&riklet(&args));
    assert!(
        twice.contains("b.yml: there are two Pods of the name one"),
        "{twice}"
    );
    write("b.yml", format!("---\n{}", pod("three", "image")));
    assert_eq!(code(&riklet(&args)), 4, "now it is asked for");
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let none = riklet(&["apply", "-f", empty.to_str().unwrap()]);
    assert!(one_line(&none).contains("has no .yaml, .yml or .json file"));
}

#[test]
fn explain_tells_the_story_with_the_daemon_dead() {
    let (state, _) = crash_looping();
    let output = state.riklet(&["explain", "web"]);
    assert_eq!(code(&output), 0, "{}", one_line(&output));
    let text = out(&output);
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("web@cli is Failed (CrashLoopBackOff): "),
        "{text}"
    );
    assert!(first.contains("exited with 3"), "{text}");
    assert!(text.contains("container c0 (attempt 1) started, pid 4242  => Running  ["));
    assert!(!text.contains("hunter2"));
    let output = state.riklet(&["explain", "nope"]);
    assert_eq!(code(&output), 3);
    one_line(&output);
}

#[test]
fn state_commands_work_with_the_daemon_dead_and_hide_secrets() {
    let (state, a) = crash_looping();
    let ls = out(&state.riklet(&["state", "ls"]));
    assert!(ls.contains(&format!("instance/{a}")), "{ls}");
    for args in [
        &["state", "export"][..],
        &["state", "get", "web"],
        &["state", "log", "-o", "json"],
        &["state", "log"],
        &["events", "-o", "yaml"],
        &["events"],
    ] {
        let output = state.riklet(args);
        assert_eq!(code(&output), 0, "{args:?}");
        assert!(!out(&output).contains("hunter2"), "{args:?}");
        assert!(!output.stdout.is_empty());
    }
    let export = out(&state.riklet(&["state", "export", "--show-secrets"]));
    assert!(export.contains("hunter2"));
    let export: serde_json::Value = serde_json::from_str(&export).unwrap();
    assert_eq!(export["seq"], *state.ledger.written().borrow());

    let verify = state.riklet(&["state", "verify", "-o", "json"]);
    assert_eq!(code(&verify), 0);
    let verdict: serde_json::Value = serde_json::from_str(&out(&verify)).unwrap();
    assert_eq!(verdict["sound"], true);
    assert_eq!(verdict["last"], export["seq"]);

    let output = riklet(&["state", "ls", "--state-dir", "/nonexistent"]);
    assert_eq!(code(&output), 1);
    assert!(one_line(&output).ends_with("give the node's --state-dir"));
}

#[test]
fn the_log_of_one_instance_has_only_its_lines_and_the_last_ones_where_asked() {
    let (state, _) = crash_looping();
    state.accept(&uid(2), "other", Source::Scheduler, 1);
    let all = out(&state.riklet(&["state", "log", "-o", "json"]));
    let seqs: Vec<u64> = all
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].clone())
        .map(|seq| seq.as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let of_web = out(&state.riklet(&["events", "web"]));
    assert!(of_web.lines().count() >= 3 && !of_web.contains("other"));
    let last = out(&state.riklet(&["events", "--tail", "1"]));
    assert!(
        last.contains("other") && last.lines().count() == 1,
        "{last}"
    );
}

#[test]
fn logs_are_joined_and_read_with_the_daemon_dead() {
    let (state, a) = crash_looping();
    let output = state.riklet(&["logs", "web"]);
    assert_eq!(code(&output), 1);
    assert!(one_line(&output).contains("container c0 of web has no log yet"));

    let line = |tag: &str, text: &str| format!("2026-11-22T15:00:00+00:00 stdout {tag} {text}\n");
    let second = [line("P", "one "), line("F", "line"), line("F", "two")].concat();
    state.log(&a, "0-1.log", &line("F", "former"));
    state.log(&a, "0-2.log", &second);
    assert_eq!(out(&state.riklet(&["logs", "web"])), "one line\ntwo\n");
    assert_eq!(out(&state.riklet(&["logs", "web", "--tail", "1"])), "two\n");
    assert_eq!(out(&state.riklet(&["logs", "-p", "web@cli"])), "former\n");
    assert_eq!(
        out(&state.riklet(&["logs", a.as_str(), "c0"])),
        "one line\ntwo\n"
    );
    assert_eq!(code(&state.riklet(&["logs", "web", "nope"])), 3);
    assert_eq!(code(&state.riklet(&["logs", "nope"])), 3);
    assert_eq!(code(&state.riklet(&["logs", "web", "--since", "soon"])), 2);

    let b = uid(2);
    state.accept(&b, "pair", Source::Scheduler, 2);
    let output = state.riklet(&["logs", "pair"]);
    assert_eq!(code(&output), 2);
    assert!(one_line(&output).ends_with("say which of c0, c1"));
}

/// A command that goes on; it is killed when this is dropped.
struct Following {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Following {
    #[allow(clippy::disallowed_methods)] // The program itself is what is tested.
    fn new(state: &State, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_riklet"))
            .args(args)
            .args(["--state-dir", state.path()])
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(stdout).map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn next(&self) -> String {
        let bound = std::time::Duration::from_secs(20);
        self.lines.recv_timeout(bound).unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn following_shows_what_comes_also_of_the_next_attempt() {
    let (state, a) = crash_looping();
    let line = |text: &str| format!("2026-11-22T15:00:00+00:00 stdout F {text}\n");
    state.log(&a, "0-1.log", &[line("a"), line("b")].concat());
    let logs = Following::new(&state, &["logs", "-f", "--tail", "1", "web"]);
    assert_eq!(logs.next(), "b");
    state.log(&a, "0-1.log", &[line("a"), line("b"), line("c")].concat());
    assert_eq!(logs.next(), "c");
    state.log(&a, "0-2.log", &line("d"));
    assert_eq!(logs.next(), "d");

    let events = Following::new(&state, &["events", "-f", "--tail", "0"]);
    // Its first look may be before or after this line, so more follow until one is seen.
    for attempt in 2.. {
        state.record(Event::DegradedEntered {
            mode: riklet::model::line::DegradedMode::DiskFull,
            detail: format!("look {attempt}"),
        });
        let bound = std::time::Duration::from_millis(200);
        if let Ok(line) = events.lines.recv_timeout(bound) {
            assert!(line.contains("DiskFull began: look "), "{line}");
            break;
        }
        assert!(attempt < 100);
    }
}

#[test]
fn completion_scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = riklet(&["completion", shell]);
        assert_eq!(code(&output), 0);
        assert!(out(&output).contains("uncordon"), "{shell}");
    }
}

/// A desk over a ledger, without any node.
struct Books {
    ledger: Ledger,
}

fn live() -> Live {
    Live {
        node_name: "n1".into(),
        version: "0.1.0".into(),
        link: LinkView {
            scheduler: Some("http://rik:4995".into()),
            state: LinkState::Registered,
            ..LinkView::default()
        },
        ..Live::default()
    }
}

impl Desk for Books {
    async fn status(&self) -> Result<StatusView, DeskError> {
        Ok(self.ledger.read(|fold| view::status(fold, &live())))
    }

    async fn ps(&self) -> Result<Vec<PsRow>, DeskError> {
        Ok(self.ledger.read(|fold| view::ps(fold, &live())))
    }

    async fn describe(&self, id: &str, secrets: Secrets) -> Result<DescribeView, DeskError> {
        self.ledger.read(|fold| match view::find(fold, id)? {
            Found::Live(record) => Ok(view::describe(fold, record, &live(), secrets)),
            Found::Gone(id, _) => Err(view::FindError::NotFound(id.to_string()).into()),
        })
    }

    async fn plan(&self, _: Option<&str>) -> Result<PlanView, DeskError> {
        Ok(PlanView::default())
    }

    async fn apply(&self, _: &str) -> Result<Applied, DeskError> {
        Ok(Applied {
            instance: "web@cli".into(),
            uid: "0123456789".into(),
            outcome: Outcome::Replaced,
            generation: 2,
            warnings: Vec::new(),
        })
    }

    async fn delete(&self, _: &str, _: bool) -> Result<Deleted, DeskError> {
        Err(DeskError::Refused {
            reason: Reason::Forbidden,
            message: "web belongs to the scheduler: use --force".into(),
        })
    }

    async fn drain(&self) -> Result<Drained, DeskError> {
        Ok(Drained {
            drained: true,
            already: false,
        })
    }

    async fn uncordon(&self) -> Result<Drained, DeskError> {
        Ok(Drained {
            drained: false,
            already: true,
        })
    }

    async fn images(&self) -> Result<Vec<ImageRow>, DeskError> {
        Ok(Vec::new())
    }

    async fn pull_image(
        &self,
        _: &str,
        _: tokio::sync::mpsc::Sender<PullView>,
    ) -> Result<Pulling, DeskError> {
        Err(DeskError::Busy("a test"))
    }

    async fn prune_images(&self, _: bool) -> Result<Pruned, DeskError> {
        Ok(Pruned::default())
    }

    async fn exec(&self, ask: ExecAsk) -> Result<Session, DeskError> {
        Err(DeskError::Unfit(format!("{} runs nothing", ask.instance)))
    }

    async fn repair(&self, _: bool) -> Result<RepairView, DeskError> {
        Ok(self.ledger.read(|fold| view::repair(fold, &live())))
    }
}

/// Serves the desk while `ask` runs commands against its socket.
fn with_daemon(state: &State, ask: impl FnOnce(&dyn Fn(&[&str]) -> Output)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let socket = state.dir.path().join("riklet.sock");
    let end = CancellationToken::new();
    let desk = Arc::new(Books {
        ledger: state.ledger.clone(),
    });
    let bound = runtime.block_on(async { api::bind(&socket).unwrap() });
    let task = runtime.spawn(api::serve(bound, desk, end.clone()));
    let run = |args: &[&str]| with_socket(&socket, args);
    ask(&run);
    end.cancel();
    runtime.block_on(task).unwrap().unwrap();
}

fn with_socket(socket: &Path, args: &[&str]) -> Output {
    let mut all = args.to_vec();
    all.extend(["--socket", socket.to_str().unwrap()]);
    riklet_with(&all, &[], GOOD)
}

#[test]
fn tables_are_aligned_and_documents_have_the_promised_shape() {
    let (state, a) = crash_looping();
    state.accept(&uid(2), "a-rather-long-name", Source::Scheduler, 2);
    with_daemon(&state, |riklet| {
        let table = out(&riklet(&["ps"]));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        for column in ["READY", "STATE", "RESTARTS", "SOURCE", "AGE"] {
            let at = lines[0].find(column).unwrap();
            for line in &lines {
                assert_eq!(&line[at - 2..at], "  ", "{table}");
                assert_ne!(&line[at..=at], " ", "{table}");
            }
        }
        assert!(lines.iter().all(|line| !line.ends_with(' ')));
        assert!(lines[2].contains("Failed (CrashLoopBackOff)"), "{table}");
        assert!(out(&riklet(&["ps", "-o", "wide"])).contains(a.as_str()));

        let rows: Vec<PsRow> = serde_json::from_str(&out(&riklet(&["ps", "-o", "json"]))).unwrap();
        assert_eq!(rows[1].instance, "web@cli");
        assert_eq!(rows[1].containers[0].exit_code, Some(3));
        let yaml: Vec<PsRow> =
            serde_saphyr::from_str(&out(&riklet(&["ps", "-o", "yaml"]))).unwrap();
        assert_eq!(yaml, rows);
    });
}

#[test]
fn a_live_daemon_is_asked_and_its_refusals_are_one_line() {
    let (state, _) = crash_looping();
    with_daemon(&state, |riklet| {
        let described = out(&riklet(&["describe", "web"]));
        assert!(described.contains("PASSWORD=***"), "{described}");
        assert!(described.contains("attempt 1: code 3 at "), "{described}");
        let shown = out(&riklet(&["describe", "web", "--show-secrets"]));
        assert!(shown.contains("PASSWORD=hunter2"));
        assert_eq!(code(&riklet(&["describe", "nope"])), 3);

        let status = out(&riklet(&["status"]));
        assert!(status.contains("registered at http://rik:4995"), "{status}");
        assert!(status.contains("1, 1 failed"), "{status}");
        assert_eq!(out(&riklet(&["plan"])), "nothing to do\n");
        let plan = out(&riklet(&["plan", "-o", "json"]));
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        assert_eq!(plan, serde_json::json!({"instances": []}));

        let applied = riklet(&["apply", "-f", "-"]);
        assert_eq!(out(&applied), "web@cli replaced\n");
        let refused = riklet(&["delete", "web"]);
        assert_eq!(code(&refused), 1);
        assert_eq!(
            one_line(&refused),
            "riklet: Forbidden: web belongs to the scheduler: use --force"
        );
        assert!(out(&riklet(&["drain"])).starts_with("the node is drained"));
        assert_eq!(out(&riklet(&["uncordon"])), "the node was not drained\n");
    });
}

#[test]
fn doctor_names_every_check_and_what_would_mend_it() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let env = [
        ("RIKLET_PROGRAMS__UMOCI", "/nonexistent/umoci"),
        ("RIKLET_RUN_DIR", run.to_str().unwrap()),
    ];
    let socket = dir.path().join("none.sock");
    let args = ["doctor", "-o", "json", "--socket", socket.to_str().unwrap()];
    let output = riklet_with(&args, &env, "");
    assert_eq!(code(&output), 1);
    let checks: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let umoci = checks
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["check"] == "umoci")
        .unwrap();
    assert_eq!(umoci["result"], "fail");
    assert_eq!(umoci["mend"], "install umoci, or set programs.umoci");
    // Where the root of a container with ids of its own can't get to (0700).
    let users = checks.as_array().unwrap().iter();
    let users = users
        .clone()
        .find(|c| c["check"] == "user namespaces")
        .unwrap();
    let found = users["found"].as_str().unwrap();
    assert_eq!(users["result"], "warn");
    assert!(found.contains(dir.path().to_str().unwrap()), "{users}");
    for check in checks.as_array().unwrap() {
        let well = check["result"] == "ok";
        assert_eq!(well, check["mend"] == "", "{check}");
    }
}
