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
    living_stat(process).is_some()
}

/// Has this very process ended, and nobody has taken its status yet?
#[must_use]
pub fn unreaped(process: ProcessId) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", process.pid)) else {
        return false;
    };
    let ended = after_name(&stat).is_some_and(|rest| rest.starts_with('Z'));
    ended && start_time(&stat) == Some(process.start_time)
}

/// Is this very process on its way out, and not a zombie yet? It has left its cgroups by then.
#[must_use]
pub fn ending(process: ProcessId) -> bool {
    let flags = living_stat(process).and_then(|stat| field(&stat, 9));
    flags.is_some_and(|flags| flags & PF_EXITING != 0)
}

/// Of whom a process descends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    /// Its parent's pid; 0 if that is outside our pid namespace.
    pub parent: i32,
    /// Its session: the pid of the process that began it.
    pub session: i32,
}

/// Of whom the process that has this pid now descends; none if there is none, or only a zombie.
#[must_use]
pub fn kin(pid: i32) -> Option<Kin> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    if after_name(&stat)?.starts_with(['Z', 'X']) {
        return None;
    }
    let number = |at| i32::try_from(field(&stat, at)?).ok();
    Some(Kin {
        parent: number(4)?,
        session: number(6)?,
    })
}

/// `include/linux/sched.h`; field 9 of stat shows it.
const PF_EXITING: u64 = 0x4;

fn living_stat(process: ProcessId) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).ok()?;
    let state = after_name(&stat)?.chars().next();
    let same = start_time(&stat) == Some(process.start_time);
    (same && !matches!(state, Some('Z' | 'X'))).then_some(stat)
}

fn start_time(stat: &str) -> Option<u64> {
    field(stat, 22)
}

/// A field by its number in proc(5), from 3 on; the name, field 2, may hold blanks and
/// parentheses.
fn field(stat: &str, number: usize) -> Option<u64> {
    after_name(stat)?.split(' ').nth(number - 3)?.parse().ok()
}

fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests;
