//! The only place that spawns.
//!
//! Why one: a child needs, before it execs, a cgroup (so that no grandchild escapes), a process
//! group, a clean environment and signal mask, and afterwards a deadline that holds and a reaper
//! that knows it. Owns: all of that. In: a [`Call`] (short-lived, awaited) or a [`Detached`]
//! (a monitor, which outlives us). Out: its output or its pid. Must never happen here: a call
//! that outlives its deadline, or that leaves a process behind.
//!
//! Every call gets the cgroup `work/<n>` of its own. It ends in one of three ways (it exits, its
//! deadline comes, the future is dropped), and each ends with the same sweep: SIGKILL to
//! everything in that cgroup, wait until it is empty, rmdir.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::fd::OwnedFd,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{
    cgroup::{CgroupError, Cgroups},
    reaper::{Exit, Reaper},
};
use crate::model::line::ProcessId;

mod ask;
mod attended;
mod call;
mod capture;
mod identity;
mod lease;
pub(in crate::runtime) mod sys;

pub use ask::{AskError, ask};
pub use attended::{Attended, Ends};
pub use call::{Call, CallError, Detached, Output};
pub use identity::{Kin, alive, ending, identify, kin, unreaped};

use capture::Capture;
use lease::Lease;

/// Where calls live, relative to the cgroup parent.
pub const WORK: &str = "work";

/// How long the sweep after a deadline is waited for; callers are promised an answer within 1 s.
const SWEEP: Duration = Duration::from_millis(800);
/// How often a running call's output is looked at for being too long.
const TRIM_EVERY: Duration = Duration::from_millis(250);

/// Spawns. Cheap to clone.
#[derive(Clone)]
pub struct Spawner(Arc<Shared>);

struct Shared {
    reaper: Reaper,
    cgroups: Cgroups,
    next: AtomicU64,
}

/// A child that runs by itself.
#[derive(Debug)]
pub struct Child {
    /// Its pid and start time.
    pub process: ProcessId,
    /// Its exit, to be awaited. Dropping it changes nothing for the child.
    pub exit: Exit,
}

/// A call on its way. Dropping it ends everything it has spawned.
struct Running {
    exit: Exit,
    stdout: Capture,
    stderr: Capture,
    lease: Lease,
}

impl Spawner {
    /// A spawner whose calls live below `work` of these cgroups.
    #[must_use]
    pub fn new(reaper: Reaper, cgroups: Cgroups) -> Self {
        Self(Arc::new(Shared {
            reaper,
            cgroups,
            next: AtomicU64::new(1),
        }))
    }

    /// The reaper behind it.
    #[must_use]
    pub fn reaper(&self) -> &Reaper {
        &self.0.reaper
    }

    /// The cgroups behind it.
    #[must_use]
    pub fn cgroups(&self) -> &Cgroups {
        &self.0.cgroups
    }

    /// Ends everything that a former daemon left in `work`: first thing after the lock, for such
    /// a child may still be creating or unpacking.
    ///
    /// # Errors
    /// Something there outlives SIGKILL for `limit`.
    pub async fn clear_work(&self, limit: Duration) -> Result<(), CgroupError> {
        self.0.cgroups.clear(WORK, limit).await
    }

    /// Runs a program to its end. It returns at the latest 1 s after the deadline, also if a
    /// grandchild in a session of its own holds the output open. Whatever it left running in its
    /// cgroup is killed, also when it succeeded. Dropping the future does the same.
    ///
    /// # Errors
    /// See [`CallError`]. An exit code other than 0 is one.
    pub async fn call(&self, call: Call) -> Result<Output, CallError> {
        let (name, deadline) = (call.name(), call.deadline);
        let ends = Instant::now() + deadline;
        let late = |stdout: Vec<u8>, stderr: Vec<u8>| CallError::Deadline {
            call: name.clone(),
            deadline,
            stdout,
            stderr,
        };
        // On a blocking thread: fork, the kernel's cgroup locks and exec take milliseconds. If
        // this future is dropped meanwhile, the result is dropped there, which ends the child.
        let this = self.clone();
        let launching = spawn_blocking(move || this.launch(&call));
        let mut running = match timeout_at(ends, launching).await {
            Err(_) => return Err(late(Vec::new(), Vec::new())),
            Ok(Ok(launched)) => launched?,
            Ok(Err(join)) => {
                return Err(CallError::Spawn {
                    call: name,
                    source: io::Error::other(join),
                });
            }
        };
        let status = running.exited_before(ends).await;
        let swept = running.lease.sweep(SWEEP).await;
        let (stdout, stderr) = (running.stdout.read(), running.stderr.read());
        if let Err(source) = swept {
            return Err(CallError::Cgroup { call: name, source });
        }
        match status {
            None => Err(late(stdout, stderr)),
            Some(status) if status.success() => Ok(Output { stdout, stderr }),
            Some(status) => Err(CallError::Exit {
                call: name,
                code: status.code(),
                signal: status.signal(),
                stdout,
                stderr,
            }),
        }
    }

    /// Starts a program that is to outlive us, in a cgroup of its own. Blocks for the
    /// milliseconds of fork and exec.
    ///
    /// # Errors
    /// It can't be run, or its cgroup can't be made.
    pub fn detach(&self, call: Detached) -> Result<Child, CallError> {
        let name = call::name(&call.program, None, &call.args);
        let cgroups = &self.0.cgroups;
        let in_cgroup = |source| CallError::Cgroup {
            call: name.clone(),
            source,
        };
        cgroups.create(&call.cgroup).map_err(in_cgroup)?;
        let procs = cgroups.procs_fd(&call.cgroup).map_err(in_cgroup)?;
        let failed = |e| CallError::spawning(&name, &call.program, call.cwd.as_ref(), e);
        let output = || match &call.output {
            Some(file) => file.try_clone().map(Stdio::from),
            None => Ok(Stdio::null()),
        };
        let mut command = command(&call.program, &call.args, &call.env, call.cwd.as_ref());
        command
            .stdout(output().map_err(failed)?)
            .stderr(output().map_err(failed)?);
        // `try_clone` takes the lowest free number from 3 up. So if 3 is free, it is the file's
        // duplicate that lies on it, and nothing else can while we spawn.
        let third = call.third.as_ref().map(File::try_clone).transpose();
        let third = third.map_err(failed)?.map(OwnedFd::from);
        let entry = sys::Entry {
            cgroup: Some(procs),
            third,
            oom_score_adj: call.oom_score_adj,
            unshare: None,
        };
        sys::enter_before_exec(&mut command, entry);
        let (pid, exit) = self.spawn(&mut command).map_err(failed)?;
        // It can't have been replaced by another process yet: only if it has ended *and* was
        // reaped is it gone, and then nobody will look for it by this name.
        let process = identify(pid).unwrap_or(ProcessId { pid, start_time: 0 });
        Ok(Child { process, exit })
    }

    fn launch(&self, call: &Call) -> Result<Running, CallError> {
        let name = call.name();
        let failed = |e| CallError::spawning(&name, &call.program, call.cwd.as_ref(), e);
        let in_cgroup = |source| CallError::Cgroup {
            call: name.clone(),
            source,
        };
        let lease = self.lease().map_err(in_cgroup)?;
        let stdout = Capture::new(call.keep).map_err(failed)?;
        let stderr = Capture::new(call.keep).map_err(failed)?;
        let mut command = command(&call.program, &call.args, &call.env, call.cwd.as_ref());
        if let Some(bytes) = &call.stdin {
            command.stdin(capture::input(bytes).map_err(failed)?);
        }
        command
            .stdout(stdout.end().map_err(failed)?)
            .stderr(stderr.end().map_err(failed)?);
        let entry = sys::Entry {
            cgroup: Some(self.0.cgroups.procs_fd(lease.rel()).map_err(in_cgroup)?),
            third: None,
            oom_score_adj: call.oom_score_adj,
            unshare: call.unshare,
        };
        sys::enter_before_exec(&mut command, entry);
        let (_pid, exit) = self.spawn(&mut command).map_err(failed)?;
        Ok(Running {
            exit,
            stdout,
            stderr,
            lease,
        })
    }

    /// A cgroup for one call that nobody else has.
    fn lease(&self) -> Result<Lease, CgroupError> {
        loop {
            let n = self.0.next.fetch_add(1, Ordering::Relaxed);
            let rel = format!("{WORK}/{n}");
            if self.0.cgroups.create_new(&rel)? {
                return Ok(Lease::new(self.0.cgroups.clone(), rel));
            }
        }
    }

    // The one spawn that clippy.toml allows. std's Child is dropped: it neither kills nor waits.
    #[allow(clippy::disallowed_methods)]
    fn spawn(&self, command: &mut Command) -> io::Result<(i32, Exit)> {
        self.0.reaper.register(|| {
            let child = command.spawn()?;
            i32::try_from(child.id()).map_err(io::Error::other)
        })
    }
}

impl Running {
    /// Its exit status, or none if it still runs at `ends`.
    async fn exited_before(&mut self, ends: Instant) -> Option<ExitStatus> {
        loop {
            let look = ends.min(Instant::now() + TRIM_EVERY);
            match timeout_at(look, self.exit.wait()).await {
                Ok(status) => return status,
                Err(_) if look >= ends => return None,
                Err(_) => {
                    self.stdout.trim();
                    self.stderr.trim();
                }
            }
        }
    }
}

/// A command with exactly this environment (NOTIFY_SOCKET and the like are never handed down),
/// in a process group of its own (a Ctrl-C at our terminal isn't meant for it), reading nothing.
fn command(
    program: &PathBuf,
    args: &[OsString],
    env: &[(OsString, OsString)],
    cwd: Option<&PathBuf>,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", call::DEFAULT_PATH)
        .envs(env.iter().map(|(k, v)| (k as &OsStr, v as &OsStr)))
        .stdin(Stdio::null())
        .process_group(0);
    if let Some(dir) = cwd {
        command.current_dir(dir);
    }
    command
}

#[cfg(test)]
mod tests;
