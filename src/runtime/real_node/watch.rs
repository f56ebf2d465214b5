//! Hints that something changed: exit files, ends of processes.
//!
//! Owns: the watch on the exit directory, a pidfd for every container and monitor that was seen,
//! and the exits that the reaper reads of containers whose monitor died. In: processes to follow.
//! Out: hints, at most one for each incarnation at a time, so they never pile up. Must never
//! happen here: a conclusion; who is hinted looks.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::RemoveKind};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{OrphanExits, lock};
use crate::{
    model::{
        ids::{ContainerId, Uid},
        line::{Exit, ProcessId},
    },
    node::Change,
    runtime::{
        bundle::make_private_directory,
        process::{alive, unreaped},
        reaper::{Exit as Reaped, Reaper},
    },
};

/// How long the reaper is waited for once a container is reaped by whomever: if it was us, it has
/// the status within milliseconds; if it was the monitor, never.
const REAPED_WITHIN: Duration = Duration::from_millis(300);

/// How long a look waits for the reaper. It may be a while: spawning holds it up, and a monitor
/// that dies hands its ended container on to us only then.
const LOOK_WAITS: Duration = Duration::from_secs(3);

/// Which of a container's two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    Container,
    Monitor,
}

/// Hints that were not fetched yet.
#[derive(Default)]
struct Hints {
    waiting: Mutex<(bool, BTreeSet<Uid>)>,
    bell: Notify,
    /// Was the directory of exit files removed? The one that is there now may have its inode.
    exits_removed: AtomicBool,
}

impl Hints {
    fn at(&self, uid: Uid) {
        lock(&self.waiting).1.insert(uid);
        self.bell.notify_one();
    }

    fn anywhere(&self) {
        lock(&self.waiting).0 = true;
        self.bell.notify_one();
    }

    fn take(&self) -> Option<Change> {
        let mut waiting = lock(&self.waiting);
        if std::mem::take(&mut waiting.0) {
            waiting.1.clear();
            return Some(Change::Anywhere);
        }
        waiting.1.pop_first().map(Change::Instance)
    }
}

/// Who is followed; the receiver closes when the follower is done.
type Followed = Mutex<HashMap<(ContainerId, Role), watch::Receiver<()>>>;

pub(super) struct Watch {
    hints: Arc<Hints>,
    exits: OrphanExits,
    followed: Followed,
    reaper: Reaper,
    /// Ends the followers with the node.
    stop: CancellationToken,
    _stop: DropGuard,
    exit_files: ExitFiles,
}

/// The watch on the directory of exit files, which somebody may remove or put another in place of.
struct ExitFiles {
    dir: PathBuf,
    /// Dropping it ends the watch.
    watched: Mutex<Option<Watched>>,
}

/// A watcher and the directory that it watches, by device and inode.
struct Watched {
    _watcher: RecommendedWatcher,
    directory: (u64, u64),
}

/// Which directory is there now; none if there is none.
fn directory_at(path: &Path) -> Option<(u64, u64)> {
    let there = fs::symlink_metadata(path).ok()?;
    there.is_dir().then(|| (there.dev(), there.ino()))
}

impl ExitFiles {
    /// Makes the directory be there and be watched: inotify follows an inode, not a name, and
    /// says nothing more once that is gone. Two looks at it, where nothing happened.
    fn ensure(&self, hints: &Arc<Hints>) {
        let mut watched = lock(&self.watched);
        let there = directory_at(&self.dir);
        let same = there.is_some() && watched.as_ref().map(|w| w.directory) == there;
        if !hints.exits_removed.swap(false, Ordering::SeqCst) && same {
            return;
        }
        match watch_anew(&self.dir, hints.clone()) {
            Ok(anew) => {
                if watched.replace(anew).is_some() {
                    let dir = self.dir.display();
                    tracing::warn!(%dir, "the directory of exit files was removed or replaced; it is watched again");
                }
            }
            Err(error) => {
                *watched = None;
                let dir = self.dir.display();
                tracing::warn!(%error, %dir, "the exit files can't be watched; pidfds and the resync must do");
            }
        }
    }
}

/// Watches the directory that is there now, or the one that is made here; a second look finds out
/// whether that was the same.
fn watch_anew(dir: &Path, hints: Arc<Hints>) -> notify::Result<Watched> {
    make_private_directory(dir)?;
    let watcher = watch_exits(dir, hints)?;
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    Ok(Watched {
        _watcher: watcher,
        directory: directory_at(dir).ok_or_else(gone)?,
    })
}

/// What one event in the exit directory says: conmon renames a temporary file to the id.
fn on_exits(hints: &Hints, event: notify::Result<Event>) {
    match event {
        Ok(event) if event.need_rescan() => hints.anywhere(),
        // inotify says nothing more of a directory that is gone: a look anywhere makes it anew.
        Ok(event) if event.kind == EventKind::Remove(RemoveKind::Folder) => {
            hints.exits_removed.store(true, Ordering::SeqCst);
            hints.anywhere();
        }
        // Reads, and the removals that are our own.
        Ok(event) if event.kind.is_access() || event.kind.is_remove() => {}
        Ok(event) => {
            let names = event.paths.iter().filter_map(|p| p.file_name()?.to_str());
            for id in names.filter_map(|name| name.parse::<ContainerId>().ok()) {
                hints.at(id.uid);
            }
        }
        Err(error) => {
            tracing::warn!(%error, "watch the exit files");
            hints.anywhere();
        }
    }
}

fn watch_exits(dir: &Path, hints: Arc<Hints>) -> notify::Result<RecommendedWatcher> {
    // Runs on notify's own thread; a hint is a lock and a bell.
    let mut watcher = notify::recommended_watcher(move |event| on_exits(&hints, event))?;
    watcher.watch(dir, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// An exit as the kernel gives it to a parent.
fn exit_of(status: ExitStatus) -> Exit {
    let signal = status.signal();
    let code = status.code().or(signal.map(|signal| 128 + signal));
    let mut exit = code.map_or_else(Exit::default, |code| Exit::from_code(code, false));
    exit.signal = signal;
    exit
}

fn open(process: ProcessId) -> Option<OwnedFd> {
    let pid = Pid::from_raw(process.pid)?;
    let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    // Asked while the pidfd holds: then it is this process's.
    alive(process).then_some(fd)
}

/// Waits until a process has ended; one that is gone already has.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for types that may lie about their fd; OwnedFd doesn't"
)]
async fn ended(process: ProcessId) {
    if let Some(fd) = open(process)
        && let Ok(fd) = AsyncFd::with_interest(fd, Interest::READABLE)
    {
        let _ = fd.readable().await;
    }
}

/// The status of a process that has ended, if it is us who reap it. As long as nobody has, it may
/// still be us: a monitor that hangs and is killed leaves it to us.
async fn status_of(process: ProcessId, orphan: &mut Reaped) -> Option<ExitStatus> {
    loop {
        let zombie = unreaped(process);
        match timeout(REAPED_WITHIN, orphan.wait()).await {
            Ok(status) => return status,
            Err(_) if zombie => {}
            Err(_) => return None,
        }
    }
}

impl Watch {
    /// Watches the exit directory; without it (no inotify left) processes still hint.
    pub(super) fn new(exits: PathBuf, reaper: Reaper) -> Self {
        let hints = Arc::new(Hints::default());
        let exit_files = ExitFiles {
            dir: exits,
            watched: Mutex::default(),
        };
        exit_files.ensure(&hints);
        let stop = CancellationToken::new();
        Self {
            hints,
            exits: OrphanExits::default(),
            followed: Mutex::default(),
            reaper,
            _stop: stop.clone().drop_guard(),
            stop,
            exit_files,
        }
    }

    /// Before everything is looked at: what happens after that look is hinted at. Blocks for a
    /// few reads.
    pub(super) fn ensure_exit_files(&self) {
        self.exit_files.ensure(&self.hints);
    }

    pub(super) async fn changed(&self) -> Change {
        loop {
            // `notify_one` keeps a permit, so a hint between the two lines rings too.
            if let Some(change) = self.hints.take() {
                // More may be waiting for the next call.
                return change;
            }
            self.hints.bell.notified().await;
        }
    }

    /// Is the monitor followed already?
    pub(super) fn follows_monitor(&self, id: &ContainerId) -> bool {
        lock(&self.followed).contains_key(&(id.clone(), Role::Monitor))
    }

    /// Hints when a monitor ends: then its exit file is there, or never will be.
    pub(super) fn follow_monitor(&self, id: &ContainerId, process: ProcessId) {
        self.follow(id, Role::Monitor, process);
    }

    /// Hints when a container's init ends, and keeps its exit if it ended as our child.
    pub(super) fn follow_container(&self, id: &ContainerId, process: ProcessId) {
        self.follow(id, Role::Container, process);
    }

    fn follow(&self, id: &ContainerId, role: Role, process: ProcessId) {
        let mut followed = lock(&self.followed);
        let key = (id.clone(), role);
        if followed.contains_key(&key) {
            return;
        }
        let (busy, done) = watch::channel(());
        followed.insert(key, done);
        drop(followed);
        let orphan = (role == Role::Container).then(|| self.reaper.watch_orphan(process));
        let (hints, exits, stop) = (self.hints.clone(), self.exits.clone(), self.stop.clone());
        let id = id.clone();
        let follower = async move {
            ended(process).await;
            if let Some(mut orphan) = orphan {
                hints.at(id.uid.clone());
                if let Some(status) = status_of(process, &mut orphan).await {
                    lock(&exits).insert(id.clone(), exit_of(status));
                }
            }
            drop(busy);
            hints.at(id.uid);
        };
        tokio::spawn(stop.run_until_cancelled_owned(follower));
    }

    /// The exit that the reaper read, waiting for it a moment if the container has just ended.
    pub(super) async fn orphans_exit(&self, id: &ContainerId, oom: bool) -> Option<Exit> {
        let follower = lock(&self.followed)
            .get(&(id.clone(), Role::Container))
            .cloned();
        if let Some(mut done) = follower {
            // It closes when the follower has the status or has given up.
            let _ = timeout(LOOK_WAITS, done.changed()).await;
        }
        let exit = lock(&self.exits).get(id).cloned()?;
        Some(match exit.code {
            Some(code) if oom => Exit::from_code(code, true),
            _ => exit,
        })
    }

    /// Drops what is known of a removed attempt.
    pub(super) fn forget(&self, id: &ContainerId) {
        lock(&self.exits).remove(id);
        let mut followed = lock(&self.followed);
        for role in [Role::Container, Role::Monitor] {
            followed.remove(&(id.clone(), role));
        }
    }
}

#[cfg(test)]
mod tests;
