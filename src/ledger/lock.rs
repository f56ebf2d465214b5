//! One owner: a lock on a directory, with its holder's pid in it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{model::ids::NodeUid, runtime::bundle::config_json};

/// Why a directory isn't ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A daemon has it.
    #[error("{} is in use by {}; stop that daemon first", dir.display(), holder(*pid))]
    Held {
        /// The directory.
        dir: PathBuf,
        /// The holder's pid, as it wrote it.
        pid: Option<i32>,
    },
    /// It belongs to another node uid.
    #[error(
        "{} belongs to the node {owner}, this is {node}; use another directory, or remove it once \
         nothing of that node runs",
        dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who asked.
        node: NodeUid,
    },
    /// The lock file can't be used.
    #[error("{} can't be used as a lock: remove what is there", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or("another process".to_owned(), |pid| format!("pid {pid}"))
}

/// How long a killed holder may take to let go: its main thread is dead at once, its lock goes
/// with the last of its threads, and with a child that it was just making, which holds the lock
/// until it becomes another program (joining a cgroup may take it a second on a busy machine).
const DYING: Duration = Duration::from_secs(10);

/// Who wrote itself into the lock file.
fn holder_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Is there no living process of this pid, or only what is left of one (state Z or X, proc(5))?
fn is_dying(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('Z' | 'X'))
}

/// Opens the lock file itself: the pid must never be written over what a link leads to.
fn open_lock(path: &Path) -> io::Result<File> {
    if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
        std::fs::remove_file(path)?;
    }
    // std opens with O_CLOEXEC: no child keeps the lock.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
}

/// Does the runtime's own state below a run directory name this node as a container's owner?
fn has_containers_of(run_dir: &Path, node: &NodeUid) -> bool {
    let mark = format!("{}={node}\"", config_json::NODE);
    let Ok(entries) = std::fs::read_dir(run_dir.join("runc")) else {
        return false;
    };
    entries.filter_map(Result::ok).any(|entry| {
        let state = std::fs::read_to_string(entry.path().join("state.json"));
        state.is_ok_and(|text| text.contains(&mark))
    })
}

/// Whose run directory it is, if its file `owner` says so.
#[must_use]
pub fn owner(run_dir: &Path) -> Option<NodeUid> {
    let text = std::fs::read_to_string(run_dir.join("owner")).ok()?;
    text.trim().parse().ok()
}

/// The pid of the daemon that has a directory locked, without taking the lock: the pid that is
/// written there, if such a process lives and has this very file open.
#[must_use]
pub fn held_by(dir: &Path) -> Option<i32> {
    let mut file = File::open(dir.join("lock")).ok()?;
    let pid = holder_pid(&mut file).filter(|pid| !is_dying(*pid))?;
    let lock = file.metadata().ok()?;
    // The pid may be ours by now, and having looked isn't having it.
    drop(file);
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut open = open.filter_map(|fd| std::fs::metadata(fd.ok()?.path()).ok());
    open.any(|file| (file.dev(), file.ino()) == (lock.dev(), lock.ino()))
        .then_some(pid)
}

/// A locked directory, until this is dropped or the process ends. Not inherited by children.
#[derive(Debug)]
pub struct DirLock {
    dir: PathBuf,
    _file: File,
}

impl DirLock {
    /// Locks `<dir>/lock` and writes our pid into it.
    ///
    /// # Errors
    /// Somebody else has it, or the file can't be used.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        Self::take_within(dir, DYING)
    }

    /// The same; a holder that no longer lives gets so long to let go.
    fn take_within(dir: &Path, patience: Duration) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = open_lock(&path).map_err(failed)?;
        let patience = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let pid = holder_pid(&mut file);
                    if pid.is_some_and(is_dying) && Instant::now() < patience {
                        std::thread::sleep(Duration::from_millis(5));
                        continue;
                    }
                    let dir = dir.to_owned();
                    return Err(LockError::Held { dir, pid });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        let pid = format!("{}\n", std::process::id());
        // A full disk must not stop a start: the pid is for a person.
        if let Err(error) = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()))
        {
            tracing::warn!(%error, "the pid can't be written into the lock file");
        }
        Ok(Self {
            dir: dir.to_owned(),
            _file: file,
        })
    }

    /// Makes the (run) directory this node's, or checks that it is: its file `owner` names the
    /// node uid. One that names nobody is damaged, and so is one that names another node where
    /// this node's containers lie.
    ///
    /// # Errors
    /// It is another node's, or the file can't be used.
    pub fn claim(&self, node: &NodeUid) -> Result<(), LockError> {
        let path = self.dir.join("owner");
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        match owner(&self.dir) {
            Some(owner) if owner == *node => Ok(()),
            Some(owner) if !has_containers_of(&self.dir, node) => Err(LockError::Foreign {
                dir: self.dir.clone(),
                owner: owner.to_string(),
                node: node.clone(),
            }),
            // Absent, cut short or damaged. Never through a link.
            _ => {
                if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
                    std::fs::remove_file(&path).map_err(failed)?;
                }
                std::fs::write(&path, format!("{node}\n")).map_err(failed)
            }
        }
    }
}

#[cfg(test)]
mod tests;
