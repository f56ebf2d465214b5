//! What a container reads from and writes to, given to its user.
//!
//! Why: images open them anew (`/dev/stdout` is a link to `/proc/self/fd/1`, and logs are links to
//! that), which takes a right to the monitor's pipe. runc gives that to the container's user, but
//! from within a user namespace it can't, for there the pipe is nobody's. Owns: that. Must never
//! happen here: another file than a pipe getting another owner.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, chown},
    path::Path,
};

use serde::Deserialize;

#[derive(Deserialize)]
struct Config {
    process: Process,
    linux: Linux,
}

#[derive(Deserialize)]
struct Process {
    user: User,
}

#[derive(Deserialize)]
struct User {
    uid: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Linux {
    #[serde(default)]
    uid_mappings: Vec<Mapping>,
}

#[derive(Deserialize)]
struct Mapping {
    #[serde(rename = "hostID")]
    host_id: u32,
}

/// Who a container's user is on the node, if it has ids of its own.
fn owner(config: &[u8]) -> io::Result<Option<u32>> {
    let config: Config = serde_json::from_slice(config)?;
    let mapping = config.linux.uid_mappings.first();
    Ok(mapping.and_then(|m| m.host_id.checked_add(config.process.user.uid)))
}

/// Gives the pipes that the container's first process has as its input and outputs to its user,
/// where it has ids of its own. Before it is started; doing it again changes nothing.
///
/// # Errors
/// config.json can't be read, or the kernel refuses it.
pub fn hand_over(bundle: &Path, pid: i32) -> io::Result<()> {
    // Most have the node's ids, and no such directory.
    if !bundle.join("lower").try_exists()? {
        return Ok(());
    }
    let Some(owner) = owner(&fs::read(bundle.join("config.json"))?)? else {
        return Ok(());
    };
    for n in 0..3 {
        let of_process = format!("/proc/{pid}/fd/{n}");
        let given = match fs::metadata(&of_process) {
            Ok(meta) if meta.file_type().is_fifo() => chown(&of_process, Some(owner), None),
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        };
        match given {
            // It has closed it, or has ended.
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
