//! A child with somebody who listens and speaks while it runs.

use std::{fs::File, process::ExitStatus, process::Stdio};

use super::{Call, CallError, SWEEP, Spawner, capture::Capture, command, lease::Lease, sys};
use crate::runtime::{cgroup::CgroupError, reaper::Exit};

/// The child's ends of its streams.
#[derive(Debug)]
pub struct Ends {
    /// What it reads.
    pub stdin: File,
    /// Where it writes.
    pub stdout: File,
    /// Where it writes.
    pub stderr: File,
}

/// A running child. Dropping it ends everything it has spawned.
pub struct Attended {
    pid: i32,
    exit: Exit,
    /// What it wrote to its fd 3.
    words: Capture,
    lease: Lease,
}

impl Spawner {
    /// Starts a program that runs until it ends or is dropped: its deadline is the caller's
    /// matter. It has a file as fd 3, for words that are to be kept apart. Blocks for the
    /// milliseconds of fork and exec.
    ///
    /// # Errors
    /// It can't be run, or its cgroup can't be made.
    pub fn attend(&self, call: &Call, ends: Ends) -> Result<Attended, CallError> {
        let name = call.name();
        let failed = |e| CallError::spawning(&name, &call.program, call.cwd.as_ref(), e);
        let in_cgroup = |source| CallError::Cgroup {
            call: name.clone(),
            source,
        };
        let lease = self.lease().map_err(in_cgroup)?;
        let words = Capture::new(call.keep).map_err(failed)?;
        let mut command = command(&call.program, &call.args, &call.env, call.cwd.as_ref());
        command
            .stdin(Stdio::from(ends.stdin))
            .stdout(Stdio::from(ends.stdout))
            .stderr(Stdio::from(ends.stderr));
        let entry = sys::Entry {
            cgroup: Some(self.0.cgroups.procs_fd(lease.rel()).map_err(in_cgroup)?),
            // A duplicate takes the lowest free number: see `detach`.
            third: Some(words.end().map_err(failed)?.into()),
            oom_score_adj: call.oom_score_adj,
            unshare: call.unshare,
        };
        sys::enter_before_exec(&mut command, entry);
        let (pid, exit) = self.spawn(&mut command).map_err(failed)?;
        Ok(Attended {
            pid,
            exit,
            words,
            lease,
        })
    }
}

impl Attended {
    /// Its pid; of a stranger once it has ended.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its exit status, once it has ended; none if nobody can know. Cancel-safe.
    pub async fn exited(&mut self) -> Option<ExitStatus> {
        self.exit.wait().await
    }

    /// Ends it with everything it has spawned, and returns what it wrote to its fd 3.
    ///
    /// # Errors
    /// Something of it outlives SIGKILL.
    pub async fn end(mut self) -> Result<Vec<u8>, CgroupError> {
        self.lease.sweep(SWEEP).await?;
        Ok(self.words.read())
    }
}
