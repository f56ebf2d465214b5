//! Ending every process of a cgroup, whatever state it is in.

use std::{
    collections::HashSet,
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{CgroupError, Cgroups, io_error, pids_below};
use crate::{
    model::line::ProcessId,
    runtime::process::{ending, identify},
};

/// The first pause between two looks: a killed process is mostly gone within it.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

impl Cgroups {
    /// Sends SIGKILL to everything in `rel` and below, in every hierarchy, once, thaws what is
    /// frozen, and doesn't wait. Not found = ok.
    ///
    /// # Errors
    /// riklet itself is in there, or a file of the tree can't be written.
    pub fn kill_now(&self, rel: &str) -> Result<(), CgroupError> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        if self.pids(rel).contains(&own) {
            return Err(CgroupError::Own(rel.to_owned()));
        }
        let mut result = Ok(());
        for (dir, v2) in self.dirs(rel) {
            let done = if v2 {
                kill_v2(&dir)
            } else {
                signal_all(&dir);
                Ok(())
            };
            if result.is_ok() {
                result = done;
            }
        }
        // A v1-frozen process doesn't die of SIGKILL until it is thawed (measured: never). The
        // kill comes first, so that nothing runs in between.
        self.thaw(rel);
        result
    }

    /// Kills everything in `rel` and below, waits until nothing lives there, and repeats both
    /// until `limit` is over. Not found = ok. The cgroup stays: see [`Cgroups::remove`].
    ///
    /// An empty cgroup is not enough: the kernel takes a process out of its cgroup early in its
    /// exit, and a container's init then still waits for the rest of its pid namespace. `runc
    /// delete` says "running" in that moment (measured). So everyone who was seen in there is
    /// waited for until it is gone or a zombie; but not one that lives on elsewhere, as a
    /// container does that runc moved out of a call's cgroup in that very moment.
    ///
    /// # Errors
    /// [`CgroupError::Unkillable`] if something outlives it, or as [`Cgroups::kill_now`].
    pub async fn kill_and_wait(&self, rel: &str, limit: Duration) -> Result<(), CgroupError> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut seen: HashSet<ProcessId> = HashSet::new();
        loop {
            let populated = self.populated(rel);
            if populated {
                seen.extend(self.pids(rel).into_iter().filter_map(|p| identify(p).ok()));
                self.kill_now(rel)?;
            }
            if !populated && !seen.iter().any(|process| ending(*process)) {
                return Ok(());
            }
            if began.elapsed() >= limit {
                return Err(CgroupError::Unkillable {
                    rel: rel.to_owned(),
                    pids: self.pids(rel),
                    waited_ms: began.elapsed().as_millis(),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// [`Cgroups::kill_and_wait`], then [`Cgroups::remove`]: nothing of `rel` is left.
    ///
    /// # Errors
    /// As those two.
    pub async fn clear(&self, rel: &str, limit: Duration) -> Result<(), CgroupError> {
        let began = Instant::now();
        loop {
            self.kill_and_wait(rel, limit.saturating_sub(began.elapsed()))
                .await?;
            // Between "empty" and rmdir a process may still have entered; and a cgroup whose
            // last process is being torn down is busy for a moment.
            match self.remove(rel) {
                Err(_) if began.elapsed() < limit => tokio::time::sleep(FIRST_PAUSE).await,
                other => return other,
            }
        }
    }
}

/// cgroup2: one write kills the whole tree, forks in flight included (kernel 5.14). Before that,
/// signals one by one.
fn kill_v2(dir: &Path) -> Result<(), CgroupError> {
    let path = dir.join("cgroup.kill");
    match fs::OpenOptions::new().write(true).open(&path) {
        Ok(mut file) => match io::Write::write_all(&mut file, b"1") {
            Ok(()) => Ok(()),
            // Removed in between: then it was empty.
            Err(e) if e.raw_os_error() == Some(nix::libc::ENODEV) => Ok(()),
            Err(e) => Err(io_error("write", &path, e)),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            signal_all(dir);
            Ok(())
        }
        Err(e) => Err(io_error("open", &path, e)),
    }
}

/// Signals what was listed a moment ago; the callers repeat it until nothing is listed. A pid
/// that ended in between can only be hit as another process if all other pids were drawn within
/// those microseconds.
fn signal_all(dir: &Path) {
    for pid in pids_below(dir) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
