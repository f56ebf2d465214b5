//! A program that a client command asks: `riklet doctor`, `riklet leaks`.
//!
//! Why apart from [`Call`](super::Call): a client has no reaper, and may neither make cgroups nor
//! leave anything on a node that it only looks at. Owns: the deadline. Must never happen here: a
//! program that changes something, or a wait beyond the deadline.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::call::DEFAULT_PATH;

/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It isn't there, or can't be run.
    #[error("can't be run")]
    Run(#[source] io::Error),
    /// It hung, and was killed.
    #[error("did not end within {0:?}")]
    Deadline(Duration),
    /// It failed.
    #[error("ended with {status}: {said}")]
    Exit {
        /// How.
        status: ExitStatus,
        /// The last line of what it said.
        said: String,
    },
}

impl AskError {
    /// Is there no such program?
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Run(e) if e.kind() == io::ErrorKind::NotFound)
    }
}

/// Runs a program, a path or a name that is looked up in the default PATH, to its end; returns
/// its stdout. Blocks until it has ended, `deadline` at most.
///
/// # Errors
/// See [`AskError`].
// The one place beside `Spawner` that spawns: see above.
#[allow(clippy::disallowed_methods)]
pub fn ask(program: &Path, args: &[&str], deadline: Duration) -> Result<Vec<u8>, AskError> {
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", DEFAULT_PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(AskError::Run)?;
    // Read while it runs: a pipe holds 64 KiB. A thread that never reads to the end, because the
    // pipe went to a grandchild, ends with us.
    let heard = [child.stdout.take().map(hear), child.stderr.take().map(hear)];
    let until = Instant::now() + deadline;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => thread::sleep(LOOK),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(AskError::Deadline(deadline));
            }
        }
    };
    let [stdout, stderr] = heard.map(|said| {
        let left = until.saturating_duration_since(Instant::now()).max(LOOK);
        said.and_then(|said| said.recv_timeout(left).ok())
    });
    if !status.success() {
        let said = super::capture::last_line(&stderr.unwrap_or_default());
        return Err(AskError::Exit { status, said });
    }
    stdout.ok_or(AskError::Deadline(deadline))
}

fn hear(mut pipe: impl io::Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (tell, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut said = Vec::new();
        if pipe.by_ref().read_to_end(&mut said).is_ok() {
            let _ = tell.send(said);
        }
    });
    heard
}

#[cfg(test)]
mod tests;
