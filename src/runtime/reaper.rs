//! The one reaper: every child's exit status is read here, once, and handed to who waits for it.
//!
//! Why: riklet is a *child subreaper*. Monitors fork themselves away from us, and a killed
//! monitor leaves its container behind; both become our children then, and only we can read how
//! they end. Two readers of exit statuses would steal from each other, so there is one, on a
//! thread of its own, which needs no async runtime and no SIGCHLD handler (signals coalesce).
//!
//! Owns: `waitid(P_ALL)`. In: pids to wait for. Out: exit statuses. Must never happen in this
//! process: `std::process::Child::wait`, `Command::output`, tokio's `Child`: they would race with
//! the reaper and get ECHILD.
//!
//! **No status is lost.** A child may end before anyone knows its pid. So spawn-and-register
//! holds `gate` for reading, and the reaper holds it for writing while it takes statuses: it never
//! sees a child that is not registered yet. It also never takes a child that failed to exec, for
//! which `Command::spawn` waits by itself (and panics if someone else has taken it).
//!
//! **No sleep, no poll.** The thread blocks in `waitid(…, WNOWAIT)`, outside the gate. When there
//! are no children at all it waits for the next spawn. An orphan can't arrive meanwhile: the chain
//! of its ancestors leads through a child of ours, which is there until after the orphan became
//! ours.

use std::{
    collections::{HashMap, VecDeque},
    io,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock},
    thread,
};

use nix::{libc, sys::prctl};
use tokio::sync::oneshot;

use super::process::{identify, sys};
use crate::model::line::ProcessId;

/// How many statuses of processes that nobody waited for are kept, for one who asks late: the
/// parent of a monitor ends before the monitor's pid can be read from its file.
const KEPT_ORPHANS: usize = 1024;

/// Reads the exit status of every child of this process. Cheap to clone.
#[derive(Clone)]
pub struct Reaper(Arc<Shared>);

struct Shared {
    /// Read: a child is being spawned. Write: statuses are being taken.
    gate: RwLock<()>,
    desk: Mutex<Desk>,
    /// Children spawned so far; the reaper waits for a change of it when it has none.
    births: Mutex<u64>,
    born: Condvar,
}

#[derive(Default)]
struct Desk {
    /// Our own children, by pid. A pid can't be drawn anew before its status was taken here.
    children: HashMap<i32, oneshot::Sender<ExitStatus>>,
    /// Who waits for a process that isn't, or not yet, our child.
    orphans: Vec<(ProcessId, oneshot::Sender<ExitStatus>)>,
    /// The newest statuses nobody waited for.
    late: VecDeque<(ProcessId, ExitStatus)>,
}

/// The exit of one process, to be awaited.
#[derive(Debug)]
pub struct Exit(oneshot::Receiver<ExitStatus>);

impl Exit {
    /// Waits for it. None only if the reaper gave up, which it does only as the process ends.
    /// Cancel-safe: may be awaited again.
    pub async fn wait(&mut self) -> Option<ExitStatus> {
        (&mut self.0).await.ok()
    }
}

impl Reaper {
    /// Makes this process a child subreaper and starts its one reaper; later calls return the
    /// same one.
    ///
    /// # Errors
    /// The kernel refused the subreaper or the thread.
    pub fn start() -> io::Result<Self> {
        static ONE: Mutex<Option<Reaper>> = Mutex::new(None);
        let mut one = lock(&ONE);
        if let Some(reaper) = &*one {
            return Ok(reaper.clone());
        }
        prctl::set_child_subreaper(true)?;
        let reaper = Self(Arc::new(Shared {
            gate: RwLock::new(()),
            desk: Mutex::default(),
            births: Mutex::new(0),
            born: Condvar::new(),
        }));
        let shared = Arc::clone(&reaper.0);
        thread::Builder::new()
            .name("reaper".to_owned())
            .spawn(move || shared.run())?;
        *one = Some(reaper.clone());
        Ok(reaper)
    }

    /// Runs `spawn`, which makes a child and returns its pid, and registers the child before its
    /// status can be taken.
    pub(super) fn register(
        &self,
        spawn: impl FnOnce() -> io::Result<i32>,
    ) -> io::Result<(i32, Exit)> {
        let shared = &self.0;
        let gate = shared.gate.read().unwrap_or_else(PoisonError::into_inner);
        let pid = spawn()?;
        let (tell, told) = oneshot::channel();
        lock(&shared.desk).children.insert(pid, tell);
        drop(gate);
        *lock(&shared.births) += 1;
        shared.born.notify_all();
        Ok((pid, Exit(told)))
    }

    /// Waits for a process that was not spawned by us: a monitor (whose parent was), or a
    /// container whose monitor may die. It resolves if the process ends *as our child*, also if
    /// that was a moment ago. While its own parent lives it is that parent who reads the status:
    /// wait for its pidfd as well.
    #[must_use]
    pub fn watch_orphan(&self, process: ProcessId) -> Exit {
        let (tell, told) = oneshot::channel();
        let mut desk = lock(&self.0.desk);
        desk.orphans.retain(|(_, waiting)| !waiting.is_closed());
        match desk.late.iter().position(|(p, _)| *p == process) {
            Some(at) => {
                if let Some((_, status)) = desk.late.remove(at) {
                    let _ = tell.send(status);
                }
            }
            None => desk.orphans.push((process, tell)),
        }
        Exit(told)
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let births = *lock(&self.births);
            match sys::next_exited(sys::Wait::Block) {
                Ok(_) => self.reap(),
                Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
                Err(e) => {
                    if e.raw_os_error() != Some(libc::ECHILD) {
                        tracing::error!(error = %e, "wait for any child");
                    }
                    let mut now = lock(&self.births);
                    while *now == births {
                        now = self.born.wait(now).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            }
        }
    }

    /// Takes the status of every child that has ended.
    fn reap(&self) {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        while let Ok(Some(pid)) = sys::next_exited(sys::Wait::Look) {
            // While it is a zombie its start time can still be read: pid and start time are
            // its name for those who watch orphans.
            let process = identify(pid).ok();
            match sys::take_status(pid) {
                Ok(raw) => lock(&self.desk).deliver(pid, process, ExitStatus::from_raw(raw)),
                Err(e) => {
                    tracing::error!(pid, error = %e, "take the exit status of a child");
                    break;
                }
            }
        }
    }
}

impl Desk {
    fn deliver(&mut self, pid: i32, process: Option<ProcessId>, status: ExitStatus) {
        if let Some(tell) = self.children.remove(&pid) {
            let _ = tell.send(status);
            return;
        }
        let Some(process) = process else {
            return;
        };
        let mut heard = false;
        let waiting = std::mem::take(&mut self.orphans);
        for (wanted, tell) in waiting {
            if wanted == process {
                heard |= tell.send(status).is_ok();
            } else {
                self.orphans.push((wanted, tell));
            }
        }
        if !heard {
            self.late.push_back((process, status));
            if self.late.len() > KEPT_ORPHANS {
                self.late.pop_front();
            }
        }
    }
}

/// Nothing that is done under these locks can leave them half-changed, so a poisoned one is as
/// good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
