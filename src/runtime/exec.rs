//! Commands that a person runs in a container, speaking with them as they run.
//!
//! Owns: their streams or terminal, how many there may be, and that none outlives the one who
//! speaks with it. In: a container and a command. Out: a [`Session`]. Must never happen here: a
//! command that goes on in the container when nobody listens any more, or a reader that makes
//! the daemon's memory grow.
//!
//! `runc exec` lives in the cgroup of its call. With a terminal it is given one end of a pty of
//! ours, and makes another pty inside between which it passes things on: it is the container's
//! own, so that no descriptor of the host's gets inside. What it starts lives in the container's
//! cgroup; see [`strays`].

mod description;
mod pump;

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, PidfdFlags, pidfd_open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tokio::{
    io::unix::AsyncFd,
    net::unix::pipe,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
};

use description::Description;
use pump::{read_pipe, read_terminal, write_pipe, write_terminal};

use super::{
    layout::{Layout, container_cgroup},
    process::{Attended, CallError, Ends, Spawner},
    runc::{Runc, exec_code, own_error},
    runc_state::{self, RuncState},
    strays::{self, Of},
};
use crate::model::ids::ContainerId;

/// So many at once.
const MOST: usize = 32;
/// So many pieces wait for a reader that is slow, each way.
const WAITING: usize = 8;
/// How long what a command has left may take to end by SIGKILL.
const KILL: Duration = Duration::from_secs(5);

/// A terminal's size, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// A terminal that a command is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Its kind, for TERM.
    pub term: String,
    /// Its size at first, if it is known.
    pub size: Option<Size>,
}

/// What a command gets while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// To read.
    Bytes(Vec<u8>),
    /// There is nothing more to read.
    End,
    /// Its terminal has another size.
    Size(Size),
}

/// What comes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// It wrote this; with a terminal, everything is here.
    Stdout(Vec<u8>),
    /// It wrote this.
    Stderr(Vec<u8>),
    /// It has ended; the last of all.
    Exit {
        /// 128 + n if signal n ended it; as a shell's if it couldn't be run.
        code: i32,
        /// Why it couldn't be run.
        why: Option<String>,
    },
}

/// A command that runs. It is ended when `output` is dropped.
#[derive(Debug)]
pub struct Session {
    /// What it gets.
    pub input: mpsc::Sender<Input>,
    /// What comes of it.
    pub output: mpsc::Receiver<Output>,
}

/// Why a command wasn't begun.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Too many run.
    #[error("{MOST} commands are being run in containers already: end one of them first")]
    TooMany,
    /// The container doesn't run.
    #[error("the container isn't running")]
    NotRunning,
    /// Its streams can't be made.
    #[error("make the streams of a command")]
    Streams(#[source] io::Error),
    /// It can't be described to the runtime.
    #[error("describe a command with a terminal by its container's config.json")]
    Description(#[source] io::Error),
    /// The runtime can't be run.
    #[error("run the runtime")]
    Runtime(#[source] CallError),
}

/// Runs commands in containers. Cheap to clone.
#[derive(Clone)]
pub struct Execs {
    spawner: Spawner,
    runc: Runc,
    layout: Layout,
    free: Arc<Semaphore>,
}

/// Our ends of a command's streams.
enum Streams {
    Terminal(Arc<AsyncFd<OwnedFd>>),
    Pipes {
        stdin: pipe::Sender,
        stdout: pipe::Receiver,
        stderr: pipe::Receiver,
    },
}

impl Execs {
    /// None runs yet.
    #[must_use]
    pub fn new(spawner: Spawner, runc: Runc, layout: Layout) -> Self {
        Self {
            spawner,
            runc,
            layout,
            free: Arc::new(Semaphore::new(MOST)),
        }
    }

    /// Runs `command` in a running container. Within a tokio runtime.
    ///
    /// # Errors
    /// It wasn't begun. That the command itself can't be run is an [`Output::Exit`].
    pub async fn start(
        &self,
        id: &ContainerId,
        terminal: Option<&Terminal>,
        command: &[String],
    ) -> Result<Session, ExecError> {
        let permit = Arc::clone(&self.free).try_acquire_owned();
        let permit = permit.map_err(|_| ExecError::TooMany)?;
        let init = match runc_state::read(&self.layout.runc_dir(id)) {
            Ok(RuncState::Known {
                process,
                alive: true,
                waiting: false,
                ..
            }) => process.pid,
            _ => return Err(ExecError::NotRunning),
        };
        let (streams, ends) = streams(terminal).map_err(ExecError::Streams)?;
        let (this, id_too) = (self.clone(), id.clone());
        let (terminal, command) = (terminal.cloned(), command.to_vec());
        let begin = move || this.begin(&id_too, terminal.as_ref(), &command, ends);
        let begun = spawn_blocking(begin).await;
        let (attended, description) =
            begun.map_err(|e| ExecError::Streams(io::Error::other(e)))??;
        let (input, inputs) = mpsc::channel(WAITING);
        let (outputs, output) = mpsc::channel(WAITING);
        let attendant = Attendant {
            execs: self.clone(),
            id: id.clone(),
            init,
            attended,
            outputs,
            _description: description,
            _permit: permit,
        };
        tokio::spawn(attendant.run(streams, inputs));
        Ok(Session { input, output })
    }

    /// Starts runc; blocks for that. What describes the command has to be kept until it ends.
    fn begin(
        &self,
        id: &ContainerId,
        terminal: Option<&Terminal>,
        command: &[String],
        ends: Ends,
    ) -> Result<(Attended, Option<Description>), ExecError> {
        let config = self.layout.bundle(id).join("config.json");
        let describe = |terminal| Description::new(&config, terminal, command);
        let description = terminal.map(describe).transpose();
        let description = description.map_err(ExecError::Description)?;
        let path = description.as_ref().map(Description::path);
        let call = self.runc.attended_exec(id, path.as_deref(), command);
        let attended = self.spawner.attend(&call, ends);
        Ok((attended.map_err(ExecError::Runtime)?, description))
    }
}

fn streams(terminal: Option<&Terminal>) -> io::Result<(Streams, Ends)> {
    let Some(terminal) = terminal else {
        let (stdin, read) = pipe_from_us()?;
        let ((out, stdout), (err, stderr)) = (pipe::pipe()?, pipe::pipe()?);
        let ends = Ends {
            stdin: read,
            stdout: out.into_blocking_fd()?.into(),
            stderr: err.into_blocking_fd()?.into(),
        };
        let streams = Streams::Pipes {
            stdin,
            stdout,
            stderr,
        };
        return Ok((streams, ends));
    };
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave: File = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?.into();
    if let Some(size) = terminal.size {
        resize(&master, size)?;
    }
    rustix::io::ioctl_fionbio(&master, true)?;
    let ends = Ends {
        stdin: slave.try_clone()?,
        stdout: slave.try_clone()?,
        stderr: slave,
    };
    Ok((Streams::Terminal(Arc::new(watched(master)?)), ends))
}

#[allow(
    deprecated,
    reason = "its successor is unsafe; an OwnedFd keeps its descriptor open for as long as it is watched"
)]
fn watched(master: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(master)
}

fn pipe_from_us() -> io::Result<(pipe::Sender, File)> {
    let (write, read) = pipe::pipe()?;
    Ok((write, read.into_blocking_fd()?.into()))
}

fn resize(master: &OwnedFd, size: Size) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(master, size)?)
}

/// Who sees to one command until nothing is left of it.
struct Attendant {
    execs: Execs,
    id: ContainerId,
    init: i32,
    attended: Attended,
    outputs: mpsc::Sender<Output>,
    /// runc reads it at some time.
    _description: Option<Description>,
    _permit: OwnedSemaphorePermit,
}

impl Attendant {
    async fn run(mut self, streams: Streams, inputs: mpsc::Receiver<Input>) {
        let (mut readers, mut writer) = (JoinSet::new(), JoinSet::new());
        let out = || self.outputs.clone();
        match streams {
            Streams::Terminal(master) => {
                readers.spawn(read_terminal(Arc::clone(&master), out()));
                // Of a process that has just ended there is none, or one that nobody minds.
                let runc = Pid::from_raw(self.attended.pid());
                let runc = runc.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                writer.spawn(write_terminal(master, inputs, runc));
            }
            Streams::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                readers.spawn(read_pipe(stdout, out(), Output::Stdout));
                readers.spawn(read_pipe(stderr, out(), Output::Stderr));
                writer.spawn(write_pipe(stdin, inputs));
            }
        }
        let status = tokio::select! {
            status = self.attended.exited() => status,
            () = self.outputs.closed() => None,
        };
        let words = self.attended.end().await;
        if status.is_none_or(|status| status.code().is_none()) {
            let (cgroups, rel) = (self.execs.spawner.cgroups(), container_cgroup(&self.id));
            let us = std::process::id().cast_signed();
            strays::end(cgroups, &rel, self.init, Of::This(us), KILL).await;
        }
        // All that it could write is in its streams now, and nobody holds their other ends.
        let outputs = self.outputs.clone();
        tokio::select! {
            () = async { while readers.join_next().await.is_some() {} } => {}
            () = outputs.closed() => {}
        }
        let words = words.unwrap_or_default();
        let _ = outputs.send(exit(status, &words)).await;
    }
}

/// What a command's end comes to: its own, or runc's that couldn't run it.
fn exit(status: Option<ExitStatus>, words: &[u8]) -> Output {
    let why = own_error(&String::from_utf8_lossy(words));
    let of = |status: ExitStatus| {
        let signal = status.signal().map(|signal| 128 + signal);
        status.code().or(signal)
    };
    let code = match &why {
        Some(why) => exec_code(why),
        None => status.and_then(of).unwrap_or(255),
    };
    Output::Exit { code, why }
}
