//! conmon, one per container: its parent, its log's writer, and the witness of its exit.
//!
//! Owns: how conmon is driven so that neither our death nor its own loses more than it must:
//!
//! - its "sync pipe" is a regular file, for a pipe whose reader died kills it, and leaves the
//!   container created and unwatched;
//! - it gets no start pipe, for an end-of-file there counts as "go";
//! - it is in the cgroup `monitors/<id>` before it execs, so that a create in flight can be ended;
//! - it exits into two files, one on tmpfs (survives a full disk), one on disk (survives a
//!   reboot).
//!
//! In: a bundle. Out: the container's pid, and later its exit. Must never happen here: a second
//! monitor for one id, or `conmon -e` (it overwrites the container's exit file).

mod ctl;

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    bundle::make_private_directory,
    layout::{Layout, monitor_cgroup},
    process::{CallError, Detached, Spawner},
    runc::{Runc, last_error},
};
use crate::model::{ids::ContainerId, line::Exit};

pub(super) use self::ctl::{Ctl, command_waits, rests};

/// The first and the longest pause between two looks at the sync file. A create takes 20 to 90
/// ms, so looking costs at most a few reads and delays it by 4 ms at worst.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(4);

/// The most of a sync file that is read; runc's words are in it.
const MAX_SYNC: usize = 64 * 1024;

/// Why a monitor didn't bring its container to "created".
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// A file or directory for it couldn't be made.
    #[error("can't make {path:?} for the monitor")]
    Prepare {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It couldn't be run.
    #[error("can't run the monitor")]
    Spawn {
        /// Why.
        source: CallError,
    },
    /// The runtime that it is to run can't be run.
    #[error("can't run the runtime")]
    Runtime {
        /// Why.
        source: CallError,
    },
    /// The runtime refused to create the container.
    #[error("the runtime can't create the container: {message}")]
    Refused {
        /// The runtime's own words.
        message: String,
    },
    /// It ended without saying how the create went.
    #[error("the monitor ended before the container was created: {message}")]
    Vanished {
        /// What it wrote last.
        message: String,
    },
    /// It took too long; it may still be at it.
    #[error("the container was not created within {deadline:?}")]
    Deadline {
        /// The time it had.
        deadline: Duration,
    },
}

/// What the sync file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncWord {
    /// Created: the pid of the container's init.
    Created(i32),
    /// Refused, with the runtime's words.
    Refused(String),
}

#[derive(Deserialize)]
struct SyncLine {
    data: i32,
    #[serde(default)]
    message: Option<String>,
}

/// Reads the first whole line of a sync file; none until there is one.
#[must_use]
pub fn parse_sync(text: &str) -> Option<SyncWord> {
    let (line, _) = text.split_once('\n')?;
    Some(match serde_json::from_str::<SyncLine>(line) {
        Ok(SyncLine { data, .. }) if data > 0 => SyncWord::Created(data),
        Ok(SyncLine { message, .. }) => {
            SyncWord::Refused(last_error(message.as_deref().unwrap_or("")))
        }
        Err(_) => SyncWord::Refused(format!("the monitor wrote {line:?}")),
    })
}

/// Reads a sync file; a missing one says nothing.
#[must_use]
pub fn read_sync(persist: &Path) -> Option<SyncWord> {
    let mut text = fs::read(persist.join("sync")).ok()?;
    text.truncate(MAX_SYNC);
    parse_sync(&String::from_utf8_lossy(&text))
}

/// Reads a pid of a pidfile; a missing or half-written one has none.
#[must_use]
pub fn read_pid(path: &Path) -> Option<i32> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// The code in an exit file: conmon writes it without a newline. After a power cut the file is
/// there and empty, and then nothing is known.
#[must_use]
pub fn parse_exit(text: &str) -> Option<i32> {
    text.trim()
        .parse()
        .ok()
        .filter(|code| (0..=255).contains(code))
}

/// How a container ended, as its monitor wrote it down. An exit file that says nothing is an
/// exit of which nothing is known; no exit file at all is none. `oom_kills` is the cgroup's own
/// count, for conmon's mark is only there on some kernels.
#[must_use]
pub fn read_exit(layout: &Layout, id: &ContainerId, oom_kills: u64) -> Option<Exit> {
    let persist = layout.persist(id);
    let read = |path: PathBuf| match fs::read(&path) {
        Ok(bytes) => Some(parse_exit(&String::from_utf8_lossy(&bytes))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        // It is there.
        Err(_) => Some(None),
    };
    let (fast, kept) = (read(persist.join("exit")), read(layout.exit_file(id)));
    let code = match (fast.flatten(), kept.flatten()) {
        // One of them is damaged, and nothing says which.
        (Some(fast), Some(kept)) if fast != kept => None,
        (Some(code), _) | (None, Some(code)) => Some(code),
        (None, None) => {
            // Is either of them there?
            fast.or(kept)?;
            None
        }
    };
    let marked = || persist.join("oom").exists() || layout.bundle(id).join("oom").exists();
    let oom = oom_kills > 0 || marked();
    Some(match code {
        Some(code) => Exit::from_code(code, oom),
        None => Exit {
            oom,
            ..Exit::default()
        },
    })
}

/// A monitor that has brought its container to "created".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Monitored {
    /// The container's init.
    pub init: i32,
    /// The monitor itself.
    pub monitor: Option<i32>,
}

/// Runs monitors. Cheap to clone.
#[derive(Clone)]
pub struct Conmon {
    program: PathBuf,
    layout: Layout,
    runc: Runc,
    spawner: Spawner,
    deadline: Duration,
}

impl Conmon {
    /// conmon at `program`; a create has `deadline`.
    #[must_use]
    pub fn new(
        program: PathBuf,
        layout: Layout,
        runc: Runc,
        spawner: Spawner,
        deadline: Duration,
    ) -> Self {
        Self {
            program,
            layout,
            runc,
            spawner,
            deadline,
        }
    }

    /// Spawns the monitor of `id` in its bundle. Blocks for the milliseconds of fork, exec and
    /// the kernel's cgroup lock; [`Conmon::created`] says how it went on. `tty`: the container has
    /// a terminal, `stdin`: its standard input stays open.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub fn spawn(&self, id: &ContainerId, tty: bool, stdin: bool) -> Result<(), MonitorError> {
        self.check_runtime()?;
        let persist = self.layout.persist(id);
        let failed = |path: &Path, source| MonitorError::Prepare {
            path: path.to_owned(),
            source,
        };
        for dir in [&persist, &self.layout.exits(), &self.layout.logs(&id.uid)] {
            make_private_directory(dir).map_err(|e| failed(dir, e))?;
        }
        let append = |name: &str| {
            let path = persist.join(name);
            let mut options = OpenOptions::new();
            // `create_new`: who finds it there is a second monitor for this id.
            options.append(true).create_new(true).mode(0o600);
            options.open(&path).map_err(|e| failed(&path, e))
        };
        let (sync, words): (File, File) = (append("sync")?, append("words")?);
        let mut detached = Detached::new(&self.program, monitor_cgroup(id));
        detached.args = self.args(id);
        let switches = [(tty, "-t"), (stdin, "-i")];
        let wanted = switches.iter().filter(|(wanted, _)| *wanted);
        detached
            .args
            .extend(wanted.map(|(_, switch)| switch.into()));
        detached.env = vec![("_OCI_SYNCPIPE".into(), "3".into())];
        detached.cwd = Some(self.layout.bundle(id));
        detached.third = Some(sync);
        detached.output = Some(words);
        // conmon's own parent process ends by itself within milliseconds; whether a monitor
        // lives is told by its cgroup.
        let child = self.spawner.detach(detached);
        child
            .map(drop)
            .map_err(|source| MonitorError::Spawn { source })
    }

    /// conmon only says that a create failed, not that there was no runtime to run.
    fn check_runtime(&self) -> Result<(), MonitorError> {
        let program = self.runc.program();
        let Err(error) = access(program, AccessFlags::X_OK) else {
            return Ok(());
        };
        let source = match error {
            Errno::ENOENT => CallError::Missing {
                program: program.clone(),
                source: error.into(),
            },
            _ => CallError::Spawn {
                call: program.display().to_string(),
                source: error.into(),
            },
        };
        Err(MonitorError::Runtime { source })
    }

    fn args(&self, id: &ContainerId) -> Vec<OsString> {
        let persist = self.layout.persist(id);
        let name: OsString = id.to_string().into();
        let mut log = OsString::from("k8s-file:");
        log.push(self.layout.log_file(id));
        let mut args: Vec<OsString> = vec!["--api-version".into(), "1".into()];
        for (option, value) in [
            ("-c", name.clone()),
            ("-u", name.clone()),
            ("-n", name),
            ("-b", self.layout.bundle(id).into()),
            ("-r", self.runc.program().into()),
            ("-P", persist.join("conmon.pid").into()),
            ("-p", persist.join("pid").into()),
            ("-l", log),
            ("--exit-dir", self.layout.exits().into()),
            ("--persist-dir", persist.into()),
            ("--log-level", "warning".into()),
        ] {
            args.push(option.into());
            args.push(value);
        }
        for arg in self.runc.global_args() {
            args.push("--runtime-arg".into());
            args.push(arg);
        }
        // The attach socket lies in the bundle, not in a place that all nodes share.
        args.extend(["--full-attach".into(), "--no-sync-log".into()]);
        args
    }

    /// Waits until the monitor of `id`, spawned by whomever, says how the create went.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub async fn created(&self, id: &ContainerId) -> Result<Monitored, MonitorError> {
        let persist = self.layout.persist(id);
        let ends = Instant::now() + self.deadline;
        let mut pause = FIRST_LOOK;
        loop {
            // Who is alive is asked *before* the file is read: what a monitor wrote, it wrote
            // before it ended.
            let alive = self.spawner.cgroups().populated(&monitor_cgroup(id));
            match read_sync(&persist) {
                Some(SyncWord::Created(init)) => {
                    let monitor = read_pid(&persist.join("conmon.pid"));
                    return Ok(Monitored { init, monitor });
                }
                Some(SyncWord::Refused(message)) => {
                    return Err(MonitorError::Refused { message });
                }
                None if !alive => {
                    let words = fs::read(persist.join("words")).unwrap_or_default();
                    return Err(MonitorError::Vanished {
                        message: last_error(&String::from_utf8_lossy(&words)),
                    });
                }
                None if Instant::now() >= ends => {
                    return Err(MonitorError::Deadline {
                        deadline: self.deadline,
                    });
                }
                None => sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }
}

#[cfg(test)]
mod tests;
