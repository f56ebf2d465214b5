//! Signals to a container's init, without a fork and never to a stranger.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{ImageSource, RealNode, failure};
use crate::{
    model::{ids::ContainerId, line::ProcessId},
    node::Failure,
    runtime::{
        conmon::read_pid,
        layout::container_cgroup,
        process::{alive, identify},
        runc::Refusal,
        runc_state::{self, RuncState},
    },
};

/// Sends a signal to exactly this process. `Ok(false)` if the signal has no name (real-time
/// ones), and then nothing was sent; a process that has ended is a success.
fn send(process: ProcessId, signal: i32) -> std::io::Result<bool> {
    let Some(signal) = Signal::from_named_raw(signal) else {
        return Ok(false);
    };
    let Some(pid) = Pid::from_raw(process.pid) else {
        return Ok(true);
    };
    // The pidfd names one process for ever; whether it is ours is asked while we hold it.
    let sent = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) if alive(process) => pidfd_send_signal(&fd, signal),
        Ok(_) => Ok(()),
        Err(e) => Err(e),
    };
    match sent {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

const SIGKILL: i32 = nix::libc::SIGKILL;

impl<I: ImageSource> RealNode<I> {
    pub(super) async fn signal_container(
        &self,
        id: &ContainerId,
        signal: i32,
    ) -> Result<(), Failure> {
        let tried = || format!("send signal {signal} to {id}");
        let failed = |e| failure::of_io(tried(), e);
        let cgroup = container_cgroup(id);
        let process = match runc_state::read(&self.layout().runc_dir(id)).map_err(failed)? {
            RuncState::Known {
                process,
                alive: true,
                ..
            } if self.cgroups().holds(&cgroup, process.pid) => Some(process),
            // A process elsewhere is somebody else's, whatever that state says of it.
            _ => self.init_by_cgroup(id),
        };
        let Some(process) = process else {
            // No init that we could name: SIGKILL ends whatever is there, others have no target.
            if signal == SIGKILL {
                self.cgroups()
                    .kill_and_wait(&cgroup, self.0.deadlines.kill)
                    .await
                    .map_err(|e| failure::of_cgroup(&tried(), e))?;
            }
            return Ok(());
        };
        if !send(process, signal).map_err(failed)? {
            match self.0.runc.kill(id, signal).await {
                Err(e) if !matches!(e.refusal(), Some(Refusal::NotFound | Refusal::Stopped)) => {
                    return Err(failure::of_runc(tried(), e));
                }
                _ => {}
            }
        }
        if signal == SIGKILL && self.cgroups().frozen(&cgroup) {
            self.cgroups().thaw(&cgroup);
        }
        Ok(())
    }

    /// The init that conmon's pidfile names, if it lives in the container's own cgroup.
    fn init_by_cgroup(&self, id: &ContainerId) -> Option<ProcessId> {
        let pid = read_pid(&self.layout().persist(id).join("pid"))?;
        let inside = self.cgroups().pids(&container_cgroup(id));
        inside.contains(&pid).then(|| identify(pid).ok())?
    }
}
