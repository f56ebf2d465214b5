//! Processes that an exec has put into a container and that nobody waits for any more.
//!
//! Why: `runc exec` itself lives in the cgroup of its call and ends with it, but what it started
//! lives in the container's cgroup and goes on. Owns: how such a process is told from the
//! container's own, and ending it. The kernel says which it is: everything that a container
//! starts descends from its init, whose pid namespace takes in orphans, so a process in the
//! container's cgroup whose parent isn't in it came from outside. Must never happen here: a
//! signal to the container's init, to its children, or to an exec that somebody still waits for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep};

use super::{
    cgroup::Cgroups,
    process::{Kin, kin},
};

/// How long to wait between two looks at processes that were sent SIGKILL.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Whose children are strays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Ours: an exec's process becomes ours, for we are a subreaper, when its `runc exec` ends.
    This(i32),
    /// Anybody's outside the container: at the start, when no exec of ours is under way.
    Anybody,
}

/// Those of the processes in a container's cgroup that are strays: the ones put there from
/// outside, what descends from them, and what is in their sessions. `sessions` are those known
/// from former looks; it grows.
fn strays(
    inside: &BTreeMap<i32, Kin>,
    init: i32,
    of: Of,
    sessions: &mut BTreeSet<i32>,
) -> BTreeSet<i32> {
    let from_outside = |kin: &Kin| match of {
        Of::This(parent) => kin.parent == parent,
        Of::Anybody => !inside.contains_key(&kin.parent),
    };
    let mut found: BTreeSet<i32> = inside
        .iter()
        .filter(|(pid, kin)| {
            **pid != init && (from_outside(kin) || sessions.contains(&kin.session))
        })
        .map(|(pid, _)| *pid)
        .collect();
    // runc makes each of them begin a session of its own; one in somebody else's is no sign.
    let leaders = found.iter().filter(|pid| inside[pid].session == **pid);
    sessions.extend(leaders);
    loop {
        let more: Vec<i32> = inside
            .iter()
            .filter(|(pid, kin)| {
                let kindred = found.contains(&kin.parent) || sessions.contains(&kin.session);
                **pid != init && !found.contains(pid) && kindred
            })
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// Ends the strays in the cgroup `rel` of a container whose init is `init`, and waits until none
/// is left, at most `limit`. Returns how many were ended.
pub(super) async fn end(cgroups: &Cgroups, rel: &str, init: i32, of: Of, limit: Duration) -> usize {
    let until = Instant::now() + limit;
    let (mut sessions, mut ended) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let inside = cgroups.pids(rel).into_iter();
        let inside: BTreeMap<i32, Kin> = inside.filter_map(|pid| Some((pid, kin(pid)?))).collect();
        let found = strays(&inside, init, of, &mut sessions);
        if found.is_empty() {
            return ended.len();
        }
        for pid in found {
            kill(cgroups, rel, pid);
            ended.insert(pid);
        }
        if Instant::now() >= until {
            tracing::warn!(cgroup = rel, "what an exec started outlives SIGKILL");
            return ended.len();
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// SIGKILL to the process that has this pid, if it lives in that cgroup.
fn kill(cgroups: &Cgroups, rel: &str, pid: i32) {
    let Some(pid) = Pid::from_raw(pid) else {
        return;
    };
    // The pidfd names one process for ever; whether it is of the container is asked while we
    // hold it.
    if let Ok(fd) = pidfd_open(pid, PidfdFlags::empty())
        && cgroups.holds(rel, pid.as_raw_nonzero().get())
    {
        let _ = pidfd_send_signal(&fd, Signal::KILL);
    }
}

#[cfg(test)]
mod tests;
