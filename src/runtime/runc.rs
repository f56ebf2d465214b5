//! runc by its command line, one typed method for each of its verbs.
//!
//! Owns: how runc is called and what its words mean. In: container ids. Out: [`RuncError`]s that
//! say *what kind* of "no" it was. Must never happen here: a retry, a decision, or a create (that
//! goes through conmon, which must be the container's parent). crun and youki take the same verbs.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::process::{Call, CallError, Output, Spawner};
use crate::model::ids::ContainerId;

/// What a runtime said when it refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It doesn't know the container.
    NotFound,
    /// It has the container already.
    Exists,
    /// The container already runs.
    Running,
    /// The container has already ended.
    Stopped,
    /// Anything else.
    Other,
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum RuncError {
    /// It ran, and said no.
    #[error("runc {verb}: {message}")]
    Refused {
        /// Which verb.
        verb: &'static str,
        /// What kind of no.
        refusal: Refusal,
        /// Its own words, the last error it wrote.
        message: String,
        /// The call as it ended.
        source: CallError,
    },
    /// It couldn't be run to its end.
    #[error("{source}")]
    Call {
        /// Which verb.
        verb: &'static str,
        /// Why.
        source: CallError,
    },
    /// What it printed isn't what it should.
    #[error("runc {verb}: its output is not the JSON it should be")]
    Output {
        /// Which verb.
        verb: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
}

impl RuncError {
    /// What kind of no it was, if it was one.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }
}

/// A container as `runc state` and `runc list` show it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// Its id, ours or not.
    pub id: String,
    /// Its init's pid; 0 if it has ended.
    #[serde(default)]
    pub pid: i32,
    /// `creating`, `created`, `running`, `paused`, `stopped`.
    pub status: String,
}

/// One line of what runc writes with `--log-format json`.
#[derive(Deserialize)]
struct LogLine {
    level: String,
    msg: String,
}

/// The last error among runc's words; where nothing is JSON, the last line.
#[must_use]
pub fn last_error(stderr: &str) -> String {
    own_error(stderr).unwrap_or_else(|| {
        let mut lines = stderr.lines().map(str::trim).filter(|l| !l.is_empty());
        lines.next_back().unwrap_or("no word of why").to_owned()
    })
}

/// The last error that runc itself wrote; none if all of these are a command's own words.
#[must_use]
pub fn own_error(stderr: &str) -> Option<String> {
    stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<LogLine>(line.trim()).ok())
        .rfind(|line| matches!(line.level.as_str(), "error" | "fatal" | "panic"))
        .map(|line| line.msg)
}

/// What kind of no a message is. The one place where riklet reads a runtime's prose, for its
/// exit code is 1 for all of them; runc 1.0 to 1.3, crun.
#[must_use]
pub fn refusal(message: &str) -> Refusal {
    let has = |part: &str| message.contains(part);
    if has("does not exist") {
        Refusal::NotFound
    } else if has("already exists") || has("container with id exists") {
        Refusal::Exists
    } else if has("already running") || has("is not stopped") {
        Refusal::Running
    } else if has("has stopped")
        || has("a stopped container")
        || has("not running")
        || has("process already finished")
    {
        Refusal::Stopped
    } else {
        Refusal::Other
    }
}

/// The runtime. Cheap to clone.
#[derive(Clone)]
pub struct Runc {
    program: PathBuf,
    root: PathBuf,
    deadline: Duration,
    spawner: Spawner,
}

impl Runc {
    /// A runtime whose state lies in `root`; each of its calls has `deadline`.
    #[must_use]
    pub fn new(program: PathBuf, root: PathBuf, deadline: Duration, spawner: Spawner) -> Self {
        Self {
            program,
            root,
            deadline,
            spawner,
        }
    }

    /// Its program.
    #[must_use]
    pub fn program(&self) -> &PathBuf {
        &self.program
    }

    /// The arguments before every verb; conmon passes the same ones.
    #[must_use]
    pub fn global_args(&self) -> Vec<OsString> {
        vec![
            "--root".into(),
            self.root.clone().into(),
            "--log-format".into(),
            "json".into(),
        ]
    }

    async fn run(&self, verb: &'static str, args: Vec<OsString>) -> Result<Vec<u8>, CallError> {
        let call = Call::new(&self.program, self.deadline)
            .args(self.global_args())
            .arg(verb)
            .args(args)
            .verb(verb);
        Ok(self.spawner.call(call).await?.stdout)
    }

    async fn on(
        &self,
        verb: &'static str,
        id: &ContainerId,
        before: &[&str],
        after: &[&str],
    ) -> Result<Vec<u8>, RuncError> {
        let mut args: Vec<OsString> = before.iter().map(Into::into).collect();
        args.push(id.to_string().into());
        args.extend(after.iter().map(OsString::from));
        self.run(verb, args).await.map_err(|source| match &source {
            CallError::Exit {
                code: Some(_),
                stderr,
                ..
            } => {
                let message = last_error(&String::from_utf8_lossy(stderr));
                RuncError::Refused {
                    verb,
                    refusal: refusal(&message),
                    message,
                    source,
                }
            }
            _ => RuncError::Call { verb, source },
        })
    }

    /// Starts a created container.
    ///
    /// # Errors
    /// `Running` and `Stopped` are refusals here; the caller knows whether they are successes.
    pub async fn start(&self, id: &ContainerId) -> Result<(), RuncError> {
        self.on("start", id, &[], &[]).await.map(drop)
    }

    /// Sends `signal` to the container's init.
    ///
    /// # Errors
    /// `NotFound` and `Stopped` are refusals here.
    pub async fn kill(&self, id: &ContainerId, signal: i32) -> Result<(), RuncError> {
        self.on("kill", id, &[], &[&signal.to_string()])
            .await
            .map(drop)
    }

    /// Thaws a paused container.
    ///
    /// # Errors
    /// It isn't paused, or isn't there.
    pub async fn resume(&self, id: &ContainerId) -> Result<(), RuncError> {
        self.on("resume", id, &[], &[]).await.map(drop)
    }

    /// Forgets a stopped container (12 ms).
    ///
    /// # Errors
    /// `NotFound` and `Running` are refusals here.
    pub async fn delete(&self, id: &ContainerId) -> Result<(), RuncError> {
        self.on("delete", id, &[], &[]).await.map(drop)
    }

    /// Forgets a container, killing what is left of it (108 ms, for it waits in steps of 100).
    ///
    /// # Errors
    /// A process that outlives SIGKILL, or a state that it can't read.
    pub async fn delete_force(&self, id: &ContainerId) -> Result<(), RuncError> {
        self.on("delete", id, &["--force"], &[]).await.map(drop)
    }

    /// What it says of one container.
    ///
    /// # Errors
    /// `NotFound` is a refusal here.
    pub async fn state(&self, id: &ContainerId) -> Result<Listed, RuncError> {
        let verb = "state";
        let text = self.on(verb, id, &[], &[]).await?;
        serde_json::from_slice(&text).map_err(|source| RuncError::Output { verb, source })
    }

    /// What it says of all containers. It fails as a whole when one state is unreadable, which
    /// is why observing doesn't use it.
    ///
    /// # Errors
    /// It can't be run, or one state is unreadable.
    pub async fn list(&self) -> Result<Vec<Listed>, RuncError> {
        let verb = "list";
        let text = self
            .run(verb, vec!["--format".into(), "json".into()])
            .await
            .map_err(|source| RuncError::Call { verb, source })?;
        // Nothing at all prints "null".
        serde_json::from_slice::<Option<Vec<Listed>>>(&text)
            .map(Option::unwrap_or_default)
            .map_err(|source| RuncError::Output { verb, source })
    }

    /// Runs `command` inside a running container to its end, within `limit`. At the limit runc is
    /// ended, and what it had put into the container isn't: see [`strays`](super::strays).
    ///
    /// # Errors
    /// As [`Spawner::call`]'s; a command that exits with another code than 0 is one.
    pub async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        limit: Duration,
    ) -> Result<Output, CallError> {
        let call = Call::new(&self.program, limit)
            .args(self.global_args())
            .args(self.exec_args(id, command))
            .verb("exec");
        self.spawner.call(call).await
    }

    fn exec_args(&self, id: &ContainerId, command: &[String]) -> Vec<OsString> {
        let mut args = vec!["exec".into(), id.to_string().into()];
        args.extend(command.iter().map(OsString::from));
        args
    }

    /// The call that runs `command` inside a running container with somebody who listens; as it is
    /// described in the file `described`, if there is one. runc's own words go to the file on
    /// fd 3, apart from the command's. Never by conmon's `-e`: that overwrites the container's
    /// exit file.
    #[must_use]
    pub fn attended_exec(
        &self,
        id: &ContainerId,
        described: Option<&Path>,
        command: &[String],
    ) -> Call {
        let call = Call::new(&self.program, self.deadline)
            .args(self.global_args())
            .args(["--log", "/proc/self/fd/3"])
            .verb("exec");
        match described {
            Some(path) => call
                .args(["exec", "--process"])
                .arg(path)
                .arg(id.to_string()),
            None => call.args(self.exec_args(id, command)),
        }
    }
}

/// The exit code of a shell whose command couldn't be run for this reason: 127 if there is none,
/// 126 otherwise. The one place where that prose is read.
#[must_use]
pub fn exec_code(message: &str) -> i32 {
    let missing = ["executable file not found", "no such file or directory"];
    if missing.iter().any(|part| message.contains(part)) {
        127
    } else {
        126
    }
}

#[cfg(test)]
mod tests;
