//! A daemon whose state dir lies on a small disk of its own, and looks at both.

use std::{collections::BTreeSet, fs, io::Write as _, path::PathBuf, time::Duration};

use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::statvfs::statvfs,
};
use serde_json::Value;

use crate::support::{
    daemon::{Daemon, SOON, Said},
    loop_disk::{self, Mounted},
};

/// Runs until it is told to stop.
pub const SERVES: &str = r#"trap "exit 0" TERM; sleep 1000000 & wait"#;

/// The same, and exits with 37 at SIGUSR1.
pub const OBEYS: &str = r#"trap "exit 0" TERM; trap "exit 37" USR1; sleep 1000000 & wait"#;

/// A node on a disk of its own.
pub struct Node {
    pub daemon: Daemon,
    disk: PathBuf,
}

impl Node {
    /// On a disk of so many MiB, standalone and started.
    pub fn on(mib: u64) -> Self {
        Self::begin(mib, Daemon::prepare())
    }

    /// The same with a scheduler.
    pub fn with_scheduler(mib: u64, url: &str) -> Self {
        Self::begin(mib, Daemon::prepare().scheduler(url))
    }

    fn begin(mib: u64, daemon: Daemon) -> Self {
        let (file, disk) = (daemon.dir().join("disk.img"), daemon.dir().join("disk"));
        loop_disk::make(&file, mib, &["-J", "size=4"]);
        let mounted = Mounted::image(&file, &disk);
        let mut daemon = daemon.on_disk(&disk, Box::new(mounted));
        daemon.start();
        Self { daemon, disk }
    }

    /// An instance that runs.
    pub fn runs(&self, name: &str, script: &str) {
        self.daemon.apply(&self.daemon.definition(name, script));
        self.daemon.until(&format!("{name}@cli"), "Running");
    }

    /// `apply` of what may be refused.
    pub fn try_apply(&self, definition: &Value) -> Said {
        let file = self.daemon.dir().join("said/definition.json");
        fs::write(&file, definition.to_string()).unwrap();
        self.daemon.cli(&["apply", "-f", file.to_str().unwrap()])
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        let stat = statvfs(&self.disk).unwrap();
        stat.blocks_available() * stat.fragment_size()
    }

    /// Somebody else's file leaves so much free, and no more.
    pub fn fill(&self, leave: u64) {
        let file = fs::File::create(self.disk.join("somebody-elses")).unwrap();
        let mut have = 0;
        // Of what is free some is needed for the file's own extents.
        while self.free() > leave + (64 << 10) {
            let more = (self.free() - leave).div_ceil(2).next_multiple_of(4096);
            let (from, len) = (i64::try_from(have).unwrap(), i64::try_from(more).unwrap());
            if fallocate(&file, FallocateFlags::empty(), from, len).is_err() {
                break;
            }
            have += more;
        }
        if leave == 0 {
            // To the last block.
            let mut rest = fs::File::create(self.disk.join("somebody-elses-too")).unwrap();
            while rest.write_all(&[7; 4096]).is_ok() {}
        }
    }

    /// That file goes.
    pub fn make_room(&self) {
        for name in ["somebody-elses", "somebody-elses-too"] {
            let _ = fs::remove_file(self.disk.join(name));
        }
    }

    /// What a daemon that died within a write leaves at the journal's end.
    pub fn write_half_a_line(&self) {
        let journal = self.daemon.state().join("journal");
        let names = fs::read_dir(journal)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let last = names
            .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
            .max();
        let mut file = fs::File::options()
            .append(true)
            .open(last.unwrap())
            .unwrap();
        file.write_all(b"{\"seq\":99999,\"at\":\"2026-").unwrap();
    }

    /// The degraded modes that `status` shows.
    pub fn modes(&self) -> BTreeSet<String> {
        let status = self.daemon.status();
        let modes = status["degraded"].as_array().unwrap().iter();
        modes
            .map(|mode| mode["mode"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until `status` shows a mode, or doesn't.
    pub fn until_mode(&self, mode: &str, on: bool) {
        let what = format!("{mode} to be {}", if on { "shown" } else { "left" });
        self.daemon
            .wait(&what, |_| (self.modes().contains(mode) == on).then_some(()));
    }

    /// Waits until an instance is in this state.
    pub fn until_within(&self, limit: Duration, instance: &str, state: &str) {
        let what = format!("{instance} to be {state}");
        self.daemon.wait_within(limit, &what, |d| {
            d.row(instance).filter(|row| row["state"] == state)
        });
    }

    /// Waits until the journal has an instance's exit with this code, and forgets former ones.
    pub fn until_exit(&self, instance: &str, code: i64) {
        let uid = self.daemon.row(instance).unwrap()["uid"].clone();
        let uid = uid.as_str().unwrap();
        self.daemon
            .wait(&format!("the exit of {instance} with {code}"), |d| {
                let lines = d.lines();
                let of = |line: &&Value| {
                    line["container"]
                        .as_str()
                        .is_some_and(|c| c.starts_with(uid))
                };
                let mut exits = lines
                    .iter()
                    .filter(|line| line["kind"] == "exited")
                    .filter(of);
                let last = exits.next_back()?;
                (last["code"] == code).then_some(())
            });
    }

    /// Waits until an instance is Failed and `describe` says that it is for want of space.
    pub fn until_failed_for_space(&self, instance: &str) {
        self.daemon.wait_within(
            SOON * 2,
            &format!("{instance} to be Failed for space"),
            |d| {
                let row = d.row(instance).filter(|row| row["state"] == "Failed")?;
                let said = d.ok(&["describe", instance]).out + &row.to_string();
                let said = said.to_lowercase();
                (said.contains("no space left") || said.contains("disk is full")).then_some(())
            },
        );
    }

    /// Waits until the journal has the mode's beginning: `status` is faster.
    pub fn until_entered(&self, mode: &str) {
        self.daemon
            .wait(&format!("{mode} to be written down"), |d| {
                place(d, "entered", mode)
            });
    }

    /// Waits until the journal has the mode's beginning, and after it its end.
    pub fn was_entered_and_left(&self, mode: &str) {
        self.daemon
            .wait(&format!("{mode} to be written down as over"), |d| {
                (place(d, "left", mode)? > place(d, "entered", mode)?).then_some(())
            });
    }

    /// `state verify` finds nothing.
    pub fn is_sound(&self) {
        self.daemon.ok(&["state", "verify"]);
    }
}

/// Where the journal has the last beginning or end of a mode.
fn place(daemon: &Daemon, what: &str, mode: &str) -> Option<usize> {
    let kind = format!("degraded_{what}");
    let is = |line: &Value| line["kind"] == kind && line["mode"] == mode;
    daemon.lines().iter().rposition(is)
}
