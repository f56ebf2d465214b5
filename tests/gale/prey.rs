//! The processes that a node has at work, found by its cgroups, and killed without mistaking one
//! for another: by a pidfd that was opened before its cgroup was looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What is killed besides the daemon.
pub(crate) const CHILDREN: [&str; 4] = ["conmon", "runc", "skopeo", "umoci"];

/// A process of the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prey {
    /// Which of [`CHILDREN`].
    pub(crate) kind: &'static str,
    pub(crate) pid: i32,
    /// The cgroup that it was seen in.
    group: PathBuf,
}

impl Prey {
    /// The container whose monitor this is, by its cgroup's name.
    pub(crate) fn container(&self) -> String {
        let name = self.group.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// SIGKILL; false if it was gone before, or has become something else.
    pub(crate) fn kill(&self) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return false;
        };
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else {
            return false;
        };
        // What the pidfd holds can't change any more, so it is judged now.
        let still = pids(&self.group).contains(&self.pid) && kind(self.pid) == Some(self.kind);
        still && !ended(self.pid) && pidfd_send_signal(&held, Signal::KILL).is_ok()
    }
}

fn ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// The node's tree in the hierarchy by which riklet tracks: cgroup2 where there is one.
pub(crate) fn tree(node: &str) -> PathBuf {
    let name = format!("riklet-{node}");
    let places = ["unified", "", "systemd"];
    let trees = places.map(|place| Path::new("/sys/fs/cgroup").join(place).join(&name));
    let there = trees.iter().find(|tree| tree.is_dir());
    there.unwrap_or(&trees[0]).clone()
}

/// Everything at work now: calls and monitors.
pub(crate) fn at_work(tree: &Path) -> BTreeSet<Prey> {
    let groups = ["work", "monitors"].map(|name| children(&tree.join(name)));
    let mut found = BTreeSet::new();
    for group in groups.into_iter().flatten() {
        for pid in pids(&group) {
            if let Some(kind) = kind(pid) {
                let group = group.clone();
                found.insert(Prey { kind, pid, group });
            }
        }
    }
    found
}

fn pids(group: &Path) -> Vec<i32> {
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    procs.lines().filter_map(|pid| pid.parse().ok()).collect()
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.is_dir()).collect()
}

/// Which of them a process is, by the name that it was called by.
fn kind(pid: i32) -> Option<&'static str> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|b| *b == 0).next()?;
    let first = String::from_utf8_lossy(first);
    let name = first.rsplit('/').next()?;
    CHILDREN.into_iter().find(|kind| *kind == name)
}

/// Containers that live side by side though they are attempts of one: by their cgroups, each
/// looked at again after the other, for one may end and the next begin between two looks.
pub(crate) fn doubles(tree: &Path) -> Vec<String> {
    let mut doubles = Vec::new();
    for incarnation in children(&tree.join("pods")) {
        let mut alive: BTreeMap<String, PathBuf> = BTreeMap::new();
        for attempt in children(&incarnation) {
            let name = attempt.file_name().unwrap_or_default().to_string_lossy();
            let (n, _) = name.split_once('-').unwrap_or((&name, ""));
            if pids(&attempt).iter().all(|pid| ended(*pid)) {
                continue;
            }
            if let Some(former) = alive.insert(n.to_owned(), attempt.clone()) {
                let both = [&former, &attempt, &former].map(|group| {
                    let living = pids(group).into_iter().find(|pid| !ended(*pid));
                    living.map(|pid| (group.clone(), pid))
                });
                if both.iter().all(Option::is_some) {
                    doubles.push(format!("two living attempts: {both:?}"));
                }
            }
        }
    }
    doubles
}
