//! What is asked of the spawner and what it answers: values.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sched::CloneFlags;

use super::capture::last_line;
use crate::runtime::cgroup::CgroupError;

/// PATH of every child that isn't given another.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of the start of each output is kept unless asked otherwise.
const KEEP: usize = 64 * 1024;

/// A program to be run to its end.
#[derive(Debug, Clone)]
pub struct Call {
    /// A path, or a name that is looked up in PATH.
    pub program: PathBuf,
    /// Its arguments. They don't appear in errors or logs: they may hold secrets.
    pub args: Vec<OsString>,
    /// Its whole environment; PATH is added if it isn't in it.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory; ours if none.
    pub cwd: Option<PathBuf>,
    /// How long it may take, from the moment it is asked for.
    pub deadline: Duration,
    /// What it reads; nothing if none.
    pub stdin: Option<Vec<u8>>,
    /// What it is called in errors after the program's name: "create". By default its first
    /// argument that is no option.
    pub verb: Option<String>,
    /// How many bytes from the start of each output are kept, beside the last 16 KiB.
    pub keep: usize,
    /// Its `oom_score_adj`, if not ours.
    pub oom_score_adj: Option<i32>,
    /// The namespaces that it leaves for new ones before it begins; none: it is in ours.
    pub unshare: Option<CloneFlags>,
}

impl Call {
    /// A call without arguments, in an empty environment.
    pub fn new(program: impl Into<PathBuf>, deadline: Duration) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            deadline,
            stdin: None,
            verb: None,
            keep: KEEP,
            oom_score_adj: None,
            unshare: None,
        }
    }

    /// With one more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// In that working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Reading that.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Called that in errors, after the program's name.
    #[must_use]
    pub fn verb(mut self, verb: impl Into<String>) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// With that much of each output's start kept: for programs whose output is parsed.
    #[must_use]
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// With that `oom_score_adj` (needs no right if it isn't below ours).
    #[must_use]
    pub fn oom_score_adj(mut self, adj: i32) -> Self {
        self.oom_score_adj = Some(adj);
        self
    }

    /// In new namespaces of these kinds.
    #[must_use]
    pub fn unshare(mut self, namespaces: CloneFlags) -> Self {
        self.unshare = Some(namespaces);
        self
    }

    pub(super) fn name(&self) -> String {
        name(&self.program, self.verb.as_deref(), &self.args)
    }
}

/// "runc create": the program's own name and what it is asked to do.
pub(super) fn name(program: &Path, verb: Option<&str>, args: &[OsString]) -> String {
    let program = program.file_name().unwrap_or(program.as_os_str());
    let program = program.to_string_lossy();
    let first = || {
        args.iter()
            .map(|a| a.to_string_lossy())
            .find(|a| !a.starts_with('-'))
    };
    match verb.map(Into::into).or_else(first) {
        Some(verb) => format!("{program} {}", verb.chars().take(40).collect::<String>()),
        None => program.into_owned(),
    }
}

/// A program that is to outlive the daemon: a monitor.
#[derive(Debug)]
pub struct Detached {
    /// A path, or a name that is looked up in PATH.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment; PATH is added if it isn't in it.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory; ours if none.
    pub cwd: Option<PathBuf>,
    /// The cgroup it enters, relative to the parent, `monitors/<container id>`; made if missing.
    pub cgroup: String,
    /// What it finds as fd 3: a regular file, for a pipe would kill it when we die.
    pub third: Option<File>,
    /// Where its stdout and stderr go; nowhere if none. Never a pipe, for the same reason.
    pub output: Option<File>,
    /// Its `oom_score_adj`, if not ours.
    pub oom_score_adj: Option<i32>,
}

impl Detached {
    /// A detached program without arguments, in an empty environment.
    pub fn new(program: impl Into<PathBuf>, cgroup: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            cgroup: cgroup.into(),
            third: None,
            output: None,
            oom_score_adj: None,
        }
    }
}

/// What a call that succeeded wrote. Of a long output the first 64 KiB (or [`Call::keep`]) and
/// the last 16 KiB are kept, with a line between that says how much is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Why a call failed. Its message is one line: program and verb, the reason, and the last line
/// that the program wrote to stderr.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no such program.
    #[error("run {}: no such program; install it or set its path in the configuration", program.display())]
    Missing {
        /// As it was asked for.
        program: PathBuf,
        /// The kernel's word.
        source: io::Error,
    },
    /// It could not be started.
    #[error("{call}: start the program")]
    Spawn {
        /// Program and verb.
        call: String,
        /// Why.
        source: io::Error,
    },
    /// It didn't end in time. It and all it had spawned were killed, and are gone.
    #[error("{call}: not done after {deadline:?}, killed{}", said(stderr))]
    Deadline {
        /// Program and verb.
        call: String,
        /// The time it had.
        deadline: Duration,
        /// What it had written.
        stdout: Vec<u8>,
        /// What it had written.
        stderr: Vec<u8>,
    },
    /// It ended with another exit code than 0, or by a signal.
    #[error("{call}: {}{}", ended(*code, *signal), said(stderr))]
    Exit {
        /// Program and verb.
        call: String,
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// What it wrote.
        stdout: Vec<u8>,
        /// What it wrote.
        stderr: Vec<u8>,
    },
    /// Its cgroup could not be made or emptied; [`CgroupError::Unkillable`] if something of it
    /// outlives SIGKILL (it is swept on in the background).
    #[error("{call}: use its cgroup")]
    Cgroup {
        /// Program and verb.
        call: String,
        /// Why.
        source: CgroupError,
    },
}

impl CallError {
    pub(super) fn spawning(
        call: &str,
        program: &Path,
        cwd: Option<&PathBuf>,
        source: io::Error,
    ) -> Self {
        // ENOENT is also what a missing working directory gives.
        let missing = source.kind() == io::ErrorKind::NotFound && cwd.is_none_or(|d| d.is_dir());
        if missing {
            Self::Missing {
                program: program.to_owned(),
                source,
            }
        } else {
            Self::Spawn {
                call: call.to_owned(),
                source,
            }
        }
    }

    /// What the program wrote to stderr, as far as it ran.
    #[must_use]
    pub fn stderr(&self) -> &[u8] {
        match self {
            Self::Deadline { stderr, .. } | Self::Exit { stderr, .. } => stderr,
            _ => &[],
        }
    }
}

fn said(stderr: &[u8]) -> String {
    match last_line(stderr) {
        line if line.is_empty() => line,
        line => format!(": {line}"),
    }
}

fn ended(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}
