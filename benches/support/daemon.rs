//! The daemon as a process: started, asked, looked at from outside, ended.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The program that is measured: the one that was built with the bench.
const RIKLET: &str = env!("CARGO_BIN_EXE_riklet");

/// A running daemon.
pub struct Daemon {
    child: Child,
    config: PathBuf,
}

/// What a process has resident, in kB.
#[derive(Debug, Clone, Copy)]
pub struct Resident {
    /// All of it (VmRSS).
    pub all: u64,
    /// What it shares with nobody's file: heap and stacks (RssAnon).
    pub anonymous: u64,
    /// How many threads there are.
    pub threads: u64,
}

impl Daemon {
    /// Starts one below `dir`, with a bridge of its own or without any network but `lo`; its log
    /// goes to `dir/riklet.log`.
    pub fn start(dir: &Path, scheduler: &str, network: bool) -> Self {
        let at = |name: &str| dir.join(name).display().to_string();
        fs::create_dir_all(dir.join("manifests")).unwrap();
        let config = dir.join("riklet.toml");
        let settings = format!(
            "node_name = \"bench\"\nscheduler = {scheduler:?}\nstate_dir = {:?}\nrun_dir = {:?}\n\
             manifests_dir = {:?}\nsocket = {:?}\nallow_private_mounts = true\n\
             [images]\nscheduler_transports = [\"docker\", \"oci\"]\n\
             [network]\nenabled = {network}\n",
            at("state"),
            at("run"),
            at("manifests"),
            at("run/riklet.sock"),
        );
        fs::write(&config, settings).unwrap();
        let log = File::create(dir.join("riklet.log")).unwrap();
        let child = Command::new(RIKLET)
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, config }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What a client command answers.
    pub fn ask(&self, words: &[&str]) -> String {
        let dir = self.config.parent().unwrap();
        let out = Command::new(RIKLET)
            .args(words)
            .env("RIKLET_CONFIG", &self.config)
            .arg("--state-dir")
            .arg(dir.join("state"))
            .arg("--socket")
            .arg(dir.join("run/riklet.sock"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(out.status.success(), "{words:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// What it has resident now.
    #[must_use]
    pub fn resident(&self) -> Resident {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let field = |name: &str| {
            let line = text.lines().find(|l| l.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Resident {
            all: field("VmRSS:"),
            anonymous: field("RssAnon:"),
            threads: field("Threads:"),
        }
    }

    /// The processor time that it has used so far, also by threads that have ended, without that
    /// of its children. In steps of 10 ms.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Behind the name in parentheses the third field is next: utime is the 14th, stime the 15th.
        let (_, fields) = text.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        Duration::from_millis(ticks.map(|t| t.parse::<u64>().unwrap() * 10).sum())
    }

    /// Asks it to end, and waits for that; containers go on running.
    pub fn end(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(pid, Signal::SIGTERM);
        }
        let until = Instant::now() + Duration::from_secs(20);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
