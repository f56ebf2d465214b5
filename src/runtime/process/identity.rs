//! Naming a process so that it can't be mistaken for a later one with the same pid.

use std::{fs, io};

use crate::model::line::ProcessId;

/// Looks up the start time of the process that has this pid now.
///
/// # Errors
/// There is none (NotFound), or procfs can't be read.
pub fn identify(pid: i32) -> io::Result<ProcessId> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| {
        // A process that ends while its file is being read.
        if e.raw_os_error() == Some(nix::libc::ESRCH) {
            io::ErrorKind::NotFound.into()
        } else {
            e
        }
    })?;
    let start_time = start_time(&stat)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has no start time")))?;
    Ok(ProcessId { pid, start_time })
}

/// Does this very process live? A zombie doesn't.
#[must_use]
pub fn alive(process: ProcessId) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", process.pid)) else {
        return false;
    };
    start_time(&stat) == Some(process.start_time)
        && !matches!(
            after_name(&stat).and_then(|s| s.chars().next()),
            Some('Z' | 'X')
        )
}

/// Field 22; the name, field 2, may hold blanks and parentheses.
fn start_time(stat: &str) -> Option<u64> {
    after_name(stat)?.split(' ').nth(22 - 3)?.parse().ok()
}

fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests;
