//! The built daemon as a test drives it: started, killed, restarted, asked by its own command
//! line, and removed with everything that it made.
//!
//! Used as `mod support { pub mod daemon; pub mod image; pub mod leaks; }`. Everything lies below
//! `/tmp/riklet-test-<pid>-<random>`, by which tools/sweep.sh finds what a killed test left.
//! riklet's reaper must not be started in the same test process: it reads the exit status of
//! every child, and `Child::wait` here would never return.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is what is tested, and the reaper doesn't run here"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{image::Image, leaks};

/// Generous, for the machine may be busy; nothing waits this long when all is well.
pub const SOON: Duration = Duration::from_secs(30);

/// What a program said, and how it ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code; 128 + n if a signal ended it.
    pub code: i32,
    /// Everything on stdout.
    pub out: String,
    /// Everything on stderr.
    pub err: String,
}

impl Said {
    /// Its stdout as JSON; panics with both outputs if it isn't.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A node: its directories, and the daemon if it runs.
pub struct Daemon {
    dir: tempfile::TempDir,
    scheduler: Option<String>,
    more_config: String,
    network: String,
    env: Vec<(String, String)>,
    child: Option<Child>,
    /// How long the log was when this life of the daemon began.
    life: usize,
    calls: std::cell::Cell<u32>,
    /// In whose mount and time namespace the daemon runs; none: in the test's own.
    within: Option<i32>,
    /// What is mounted below its directories by [`mount`](Self::mount).
    mounts: Vec<PathBuf>,
    /// Where the state dir lies, if it isn't beside the run dir, and what holds that place; this
    /// is let go of once everything that lies there is gone.
    place: Option<(PathBuf, Box<dyn std::any::Any>)>,
}

impl Daemon {
    /// Directories and a local image (see [`image`](Self::image)), and nothing started yet. No
    /// scheduler: `--standalone`.
    pub fn prepare() -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("riklet-test-{}-", std::process::id()))
            .tempdir_in("/tmp")
            .unwrap();
        for name in ["state", "run", "manifests", "said"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Image::default()
            .cmd(&["/bin/sh", "-c", r#"eval "$SCRIPT""#])
            .write(&dir.path().join("image"));
        Self {
            dir,
            scheduler: None,
            more_config: String::new(),
            network: String::new(),
            env: Vec::new(),
            child: None,
            life: 0,
            calls: 0.into(),
            within: None,
            mounts: Vec::new(),
            place: None,
        }
    }

    /// Mounts something below its directories, by mount(8)'s words; unmounted at the latest when
    /// all else is gone.
    pub fn mount(&mut self, words: &[&str], at: &Path) {
        assert!(at.starts_with(self.dir()), "{}", at.display());
        let status = Command::new("mount").args(words).arg(at).status();
        assert!(status.unwrap().success(), "mount {words:?} {at:?}");
        self.mounts.push(at.to_owned());
    }

    /// Nobody can write what lies in a directory of the node, nor add to it, whoever has it open;
    /// until [`thaw`](Self::thaw). tools/sweep.sh thaws what is called `journal`.
    pub fn freeze(&self, dir: &Path) {
        attributes("+i", dir);
    }

    /// It can be written again.
    pub fn thaw(&self, dir: &Path) {
        attributes("-i", dir);
    }

    /// Makes a directory read-only for everybody, until [`unmount`](Self::unmount).
    pub fn write_protect(&mut self, at: &Path) {
        let dir = at.to_str().unwrap();
        self.mount(&["--bind", dir], at);
        let remount = ["-o", "remount,bind,ro", dir];
        let status = Command::new("mount").args(remount).status();
        assert!(status.unwrap().success(), "mount {remount:?}");
    }

    /// Unmounts it; who still uses it keeps it.
    pub fn unmount(&mut self, at: &Path) {
        let status = Command::new("umount").arg("-l").arg(at).status();
        assert!(status.unwrap().success(), "umount {at:?}");
        self.mounts.retain(|mounted| mounted != at);
    }

    /// With its state dir on a mount at `disk`, below [`dir`](Self::dir); `mount` ends it.
    pub fn on_disk(mut self, disk: &Path, mount: Box<dyn std::any::Any>) -> Self {
        fs::create_dir_all(disk.join("state")).unwrap();
        self.place = Some((disk.to_owned(), mount));
        self
    }

    /// From its next start on the daemon runs in the mount and time namespaces of this process.
    pub fn move_into(&mut self, namespaces_of: Option<i32>) {
        self.within = namespaces_of;
    }

    /// A program, where the daemon runs; its pid is that of the child.
    pub fn program(&self, path: &str) -> Command {
        let Some(pid) = self.within else {
            return Command::new(path);
        };
        let mut command = Command::new("/usr/bin/nsenter");
        command.args(["--target", &pid.to_string(), "--mount", "--time", "--"]);
        command.arg(path);
        command
    }

    /// With this scheduler.
    pub fn scheduler(mut self, url: &str) -> Self {
        self.scheduler = Some(url.to_owned());
        self
    }

    /// With more settings: TOML, tables other than `[images]` allowed.
    pub fn config(mut self, toml: &str) -> Self {
        self.more_config.push_str(toml);
        self.more_config.push('\n');
        self
    }

    /// With a network, which costs each sandbox a tenth of a second; `toml` is more of `[network]`.
    pub fn network(mut self, toml: &str) -> Self {
        self.network = format!("[network]\n{toml}");
        self
    }

    /// With a variable in the daemon's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The directory of everything.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The state dir.
    pub fn state(&self) -> PathBuf {
        let place = self.place.as_ref().map(|(disk, _)| disk.as_path());
        place.unwrap_or(self.dir()).join("state")
    }

    /// The run dir.
    pub fn run(&self) -> PathBuf {
        self.dir().join("run")
    }

    /// The name by which the scheduler knows it.
    pub fn node(&self) -> String {
        let name = self.dir().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    /// The local image; it runs its variable `SCRIPT` in a shell.
    pub fn image(&self) -> String {
        format!("oci:{}:img", self.dir().join("image").display())
    }

    /// A definition with one container that runs this shell text, by image and environment
    /// alone: so it passes the real controller, which knows nothing else.
    pub fn definition(&self, name: &str, script: &str) -> Value {
        let env = [json!({ "name": "SCRIPT", "value": script })];
        let container = json!({ "name": name, "image": self.image(), "env": env });
        json!({
            "apiVersion": "v0", "kind": "Pod", "name": name,
            "spec": { "containers": [container], "terminationGracePeriodSeconds": 1 },
        })
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&mut self) {
        self.spawn();
        let child = self.child.as_mut().unwrap();
        if let Some(ended) = child.try_wait().unwrap() {
            panic!("the daemon ended at once: {ended}\n{}", self.log_tail());
        }
        self.wait("the daemon to answer", |d| {
            assert!(d.alive(), "the daemon ended\n{}", d.log_tail());
            (d.cli(&["status"]).code == 0).then_some(())
        });
    }

    /// Starts the daemon and waits for nothing.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir().join("riklet.log"))
            .unwrap();
        self.life = usize::try_from(log.metadata().unwrap().len()).unwrap();
        let mut command = self.command();
        command.stderr(log.try_clone().unwrap()).stdout(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// The command that starts the daemon, with nothing said of its outputs.
    pub fn command(&self) -> Command {
        self.command_on(&self.state(), &self.run())
    }

    /// The same on another state dir or run dir.
    pub fn command_on(&self, state: &Path, run: &Path) -> Command {
        let config = format!(
            "{}\n{}\n[images]\nscheduler_transports = [\"docker\", \"oci\"]\n\
             local_transports = [\"docker\", \"oci\"]\n",
            self.more_config,
            match self.network.as_str() {
                "" => "[network]\nenabled = false",
                own => own,
            },
        );
        fs::write(self.dir().join("riklet.toml"), config).unwrap();
        let mut command = self.program(env!("CARGO_BIN_EXE_riklet"));
        command.arg("run").arg("--config");
        command.arg(self.dir().join("riklet.toml"));
        if self.within.is_some() {
            command.arg("--allow-private-mounts");
        }
        command.arg("--node-name").arg(self.node());
        command.arg("--state-dir").arg(state);
        command.arg("--run-dir").arg(run);
        command.arg("--socket").arg(run.join("riklet.sock"));
        let manifests = self.dir().join("manifests");
        command.arg("--manifests-dir").arg(manifests);
        match &self.scheduler {
            Some(url) => command.arg("--scheduler").arg(url),
            None => command.arg("--standalone"),
        };
        command.env_clear().env("PATH", path());
        command.env("RUST_LOG", "info,riklet=debug");
        command.envs(self.env.iter().cloned());
        // A group of its own: Ctrl-C is for the test, which ends things in order.
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Starts a daemon that is to end by itself, and returns what it said.
    pub fn run_to_end(&self) -> Said {
        self.finish(self.command())
    }

    fn socket(&self) -> PathBuf {
        self.run().join("riklet.sock")
    }

    /// The daemon's pid.
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().unwrap();
        i32::try_from(child.id()).unwrap()
    }

    /// Does it run?
    pub fn alive(&self) -> bool {
        let Some(child) = &self.child else {
            return false;
        };
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
        status.is_ok_and(|text| !text.contains("\nState:\tZ"))
    }

    /// Was it started, and not yet ended by this test? It may have ended by itself.
    pub fn started(&self) -> bool {
        self.child.is_some()
    }

    /// SIGKILL, and waits for its end.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Takes the status of a daemon that ended by itself.
    pub fn reap(&mut self) {
        let _ = self.child.take().unwrap().wait();
    }

    /// SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.end_by("TERM")
    }

    /// The same by this signal.
    pub fn end_by(&mut self, name: &str) -> ExitStatus {
        signal(self.pid(), name);
        let mut child = self.child.take().unwrap();
        ended(&mut child, SOON).unwrap_or_else(|| {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("SIG{name} didn't end it in {SOON:?}\n{}", self.log_tail())
        })
    }

    /// SIGKILL and a start.
    pub fn restart(&mut self) {
        self.kill9();
        self.start();
    }

    /// A client command to its end.
    pub fn cli(&self, args: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_riklet"));
        command.args(args).env_clear().env("PATH", path());
        command.env("RIKLET_STATE_DIR", self.state());
        command.env("RIKLET_SOCKET", self.socket());
        command.stdin(Stdio::null());
        self.finish(command)
    }

    /// A client command that has to succeed.
    pub fn ok(&self, args: &[&str]) -> Said {
        let said = self.cli(args);
        assert_eq!(said.code, 0, "riklet {args:?}: {said:?}");
        said
    }

    /// `apply` of a definition, as the operator.
    pub fn apply(&self, definition: &Value) -> Said {
        let file = self.dir().join("said/definition.json");
        fs::write(&file, definition.to_string()).unwrap();
        self.ok(&["apply", "-f", file.to_str().unwrap()])
    }

    /// Runs a command to its end.
    pub fn finish(&self, mut command: Command) -> Said {
        self.calls.set(self.calls.get() + 1);
        // Files, not pipes: whoever inherits them can't keep this waiting.
        let file = |what: &str| self.dir().join(format!("said/{}.{what}", self.calls.get()));
        let open = |what: &str| fs::File::create(file(what)).unwrap();
        command.stdout(open("out")).stderr(open("err"));
        let mut child = command.spawn().unwrap();
        let status = ended(&mut child, SOON).unwrap_or_else(|| {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} didn't end in {SOON:?}")
        });
        let read = |what: &str| {
            let text = fs::read_to_string(file(what)).unwrap();
            fs::remove_file(file(what)).unwrap();
            text
        };
        let by_signal = || 128 + status.signal().unwrap_or(0);
        Said {
            code: status.code().unwrap_or_else(by_signal),
            out: read("out"),
            err: read("err"),
        }
    }

    /// The rows of `ps`, whole.
    pub fn ps(&self) -> Vec<Value> {
        let rows = self.ok(&["ps", "-o", "json"]).json();
        rows.as_array().unwrap().clone()
    }

    /// The row of one instance.
    pub fn row(&self, instance: &str) -> Option<Value> {
        let mut rows = self.ps().into_iter();
        rows.find(|row| row["instance"] == instance)
    }

    /// Pids of the containers by instance, of those that have any.
    pub fn pids(&self) -> BTreeMap<String, Vec<i32>> {
        let of = |row: &Value| -> Vec<i32> {
            let containers = row["containers"].as_array().unwrap().iter();
            let pids = containers.filter_map(|c| c["pid"].as_i64());
            pids.map(|pid| i32::try_from(pid).unwrap()).collect()
        };
        let rows = self.ps();
        let rows = rows.iter().map(|row| {
            let instance = row["instance"].as_str().unwrap().to_owned();
            (instance, of(row))
        });
        rows.filter(|(_, pids)| !pids.is_empty()).collect()
    }

    /// `status -o json`.
    pub fn status(&self) -> Value {
        self.ok(&["status", "-o", "json"]).json()
    }

    /// `plan -o json`: the instances with something to do.
    pub fn plan(&self) -> Vec<Value> {
        let plan = self.ok(&["plan", "-o", "json"]).json();
        plan["instances"].as_array().unwrap().clone()
    }

    /// Text of an instance's log.
    pub fn logs(&self, instance: &str) -> String {
        self.ok(&["logs", instance]).out
    }

    /// Waits until the instance is in this state; returns its row.
    pub fn until(&self, instance: &str, state: &str) -> Value {
        self.wait(&format!("{instance} to be {state}"), |d| {
            d.row(instance).filter(|row| row["state"] == state)
        })
    }

    /// Waits until a look gives something; panics with the daemon's last words otherwise.
    pub fn wait<T>(&self, what: &str, look: impl FnMut(&Self) -> Option<T>) -> T {
        self.wait_within(SOON, what, look)
    }

    /// The same, within this time.
    pub fn wait_within<T>(
        &self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let began = Instant::now();
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(
                began.elapsed() < limit,
                "not within {limit:?}: {what}\n{}",
                self.log_tail()
            );
            thread::sleep(Duration::from_millis(40));
        }
    }

    /// Every whole line of every segment there is, in order, read without riklet's code.
    pub fn lines(&self) -> Vec<Value> {
        leaks::journal_lines(&self.state())
    }

    /// What of this node is left on the machine; empty once every instance is destroyed. Images
    /// and the last logs are kept on purpose.
    pub fn leaks(&self) -> Vec<String> {
        leaks::left(self.dir(), &self.state(), &self.run(), self.child_pid())
    }

    /// Waits until nothing is left.
    pub fn until_nothing_is_left(&self) {
        let began = Instant::now();
        loop {
            let left = self.leaks();
            if left.is_empty() {
                return;
            }
            let late = began.elapsed() > SOON;
            assert!(!late, "left: {left:#?}\n{}", self.log_tail());
            thread::sleep(Duration::from_millis(40));
        }
    }

    fn child_pid(&self) -> Option<i32> {
        self.child.as_ref().map(|_| self.pid())
    }

    /// What this life of the daemon logged.
    pub fn log(&self) -> String {
        let log = fs::read(self.dir().join("riklet.log")).unwrap();
        String::from_utf8_lossy(&log[self.life..]).into_owned()
    }

    /// The end of the daemon's log, former lives included.
    pub fn log_tail(&self) -> String {
        let log = fs::read(self.dir().join("riklet.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn remove_everything(&mut self) -> Vec<String> {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let journal = self.state().join("journal");
        if journal.exists() {
            let mut thaw = Command::new("chattr");
            let _ = thaw.args(["-f", "-R", "-i"]).arg(journal).output();
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/teardown.sh");
        let mut command = self.program("/bin/bash");
        command.arg(script).arg(self.state()).arg(self.run());
        command.stdin(Stdio::null());
        let said = self.finish(command);
        // What teardown.sh hasn't unmounted already.
        while let Some(at) = self.mounts.pop() {
            let _ = Command::new("umount").arg("-l").arg(at).output();
        }
        let mut left = if said.code == 0 {
            Vec::new()
        } else {
            vec![format!("teardown.sh: {said:?}")]
        };
        left.extend(leaks::outside(self.dir(), &self.state(), None));
        if let Some((disk, mount)) = self.place.take() {
            left.retain(|what| *what != format!("mount {}", disk.display()));
            drop(mount);
        }
        left
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "the end of the daemon's log, and {}:",
                self.dir().join("riklet.log").display()
            );
            eprintln!("{}", self.log_tail());
        }
        let left = self.remove_everything();
        if !left.is_empty() {
            eprintln!("teardown left: {left:#?}");
            assert!(thread::panicking(), "teardown left: {left:#?}");
        }
        if std::env::var_os("RIKLET_TEST_KEEP").is_some() {
            self.dir.disable_cleanup(true);
        }
    }
}

fn attributes(change: &str, dir: &Path) {
    let status = Command::new("chattr")
        .args(["-R", change])
        .arg(dir)
        .status();
    assert!(status.unwrap().success(), "chattr {change} {dir:?}");
}

/// Sends a signal, by name, to a process that this test started or that its daemon did.
pub fn signal(pid: i32, name: &str) {
    assert!(pid > 1, "not a process of a test: {pid}");
    let status = Command::new("/bin/kill")
        .args([&format!("-{name}"), "--", &pid.to_string()])
        .status();
    assert!(status.unwrap().success(), "kill -{name} {pid}");
}

/// Does this process run (a zombie doesn't)?
pub fn process_runs(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|text| !text.contains("\nState:\tZ"))
}

/// Waits for a child's end, at most so long.
fn ended(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}
