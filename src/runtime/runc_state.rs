//! What runc knows of a container, read from its own files.
//!
//! Why: an observation forks nothing; `runc list` costs 17 ms for 60 containers and hangs when
//! one of them does. Owns: the few fields of `<root>/<id>/state.json` that riklet reads (runc 1.0
//! to 1.3 have them), and what they mean together with `exec.fifo`, procfs and the freezer. In: a
//! directory. Out: a [`RuncState`]. Must never happen here: a write, a fork, or trust in a pid
//! without its start time.

use std::{fs, io, path::Path};

use serde::Deserialize;

use crate::model::line::ProcessId;

use super::{bundle::config_json, process::alive};

/// What runc's directory says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuncState {
    /// There is no directory.
    Absent,
    /// It is there and can't be understood: no state.json, or half of one, or garbage.
    Broken,
    /// runc knows it.
    Known {
        /// Its init process as it was when runc made it.
        process: ProcessId,
        /// Does that very process live (a zombie doesn't)?
        alive: bool,
        /// Does it still wait to be started?
        waiting: bool,
        /// Whose node's container it is, by its annotation.
        node: Option<String>,
    },
}

#[derive(Deserialize)]
struct StateFile {
    init_process_pid: i32,
    init_process_start: u64,
    #[serde(default)]
    config: Option<ConfigPart>,
}

#[derive(Deserialize)]
struct ConfigPart {
    /// runc keeps annotations as `name=value` labels.
    #[serde(default)]
    labels: Option<Vec<String>>,
}

/// Reads runc's directory of one container.
///
/// # Errors
/// The directory can't be looked at at all; "not there" is [`RuncState::Absent`].
pub fn read(dir: &Path) -> io::Result<RuncState> {
    let text = match fs::read(dir.join("state.json")) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Ok(if dir.try_exists()? {
                RuncState::Broken
            } else {
                RuncState::Absent
            });
        }
        // Something else than a file.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(RuncState::Broken);
        }
        Err(e) => return Err(e),
    };
    let Ok(file) = serde_json::from_slice::<StateFile>(&text) else {
        return Ok(RuncState::Broken);
    };
    if file.init_process_pid <= 0 {
        return Ok(RuncState::Broken);
    }
    let process = ProcessId {
        pid: file.init_process_pid,
        start_time: file.init_process_start,
    };
    let node = label(&file, config_json::NODE);
    // The order matters: a process that is started and ends between two looks must not be taken
    // for one that waits and is dead.
    let fifo = dir.join("exec.fifo").try_exists().unwrap_or(false);
    let waiting = fifo && !has_begun(process.pid);
    Ok(RuncState::Known {
        process,
        alive: alive(process),
        waiting,
        node,
    })
}

fn label(file: &StateFile, wanted: &str) -> Option<String> {
    let labels = file.config.as_ref()?.labels.as_ref()?;
    labels.iter().find_map(|label| {
        let (name, value) = label.split_once('=')?;
        (name == wanted).then(|| value.to_owned())
    })
}

/// The instance that the container's annotations name, as the runtime has kept them.
#[must_use]
pub fn instance(dir: &Path) -> Option<String> {
    let text = fs::read(dir.join("state.json")).ok()?;
    label(&serde_json::from_slice(&text).ok()?, config_json::INSTANCE)
}

/// Has the init become the container's own program? A `runc start` that is killed in that moment
/// leaves the fifo, and runc itself would wait at it for ever; the init bears runc's own name until
/// it execs.
fn has_begun(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| !name.starts_with("runc:["))
}

#[cfg(test)]
mod tests;
