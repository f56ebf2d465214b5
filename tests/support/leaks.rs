//! What a node left on this machine, found without any of riklet's code: from the kernel's own
//! lists and from the directories.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "what is left is looked for without riklet's code"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Every whole line of every segment below a state dir, in order of seq.
pub fn journal_lines(state: &Path) -> Vec<Value> {
    let mut lines: Vec<Value> = Vec::new();
    for file in children(&state.join("journal")) {
        let Ok(bytes) = fs::read(&file) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
        let parsed = whole.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.extend(parsed.filter(|line| line["seq"].is_u64() && line["kind"].is_string()));
    }
    lines.sort_by_key(|line| line["seq"].as_u64());
    lines
}

/// Everything that is left of a node whose instances are all gone: `dir` holds its state dir,
/// run dir and whatever else names it; `daemon` is the one process that may still run.
pub fn left(dir: &Path, state: &Path, run: &Path, daemon: Option<i32>) -> Vec<String> {
    let mut left = outside(dir, state, daemon);
    for empty in ["pods", "exits"] {
        left.extend(files_below(&state.join(empty)));
    }
    for empty in ["runc", "p", "ns", "roots"] {
        left.extend(files_below(&run.join(empty)));
    }
    left.extend(addresses(run));
    left
}

/// The same without the directories: processes, mounts, namespaces, cgroups with a process or of
/// a container.
pub fn outside(dir: &Path, state: &Path, daemon: Option<i32>) -> Vec<String> {
    let mut left = processes(dir, daemon);
    left.extend(mounts(dir));
    let lines = journal_lines(state);
    let all = |key: &str| -> BTreeSet<String> {
        let values = lines.iter().filter_map(|line| line[key].as_str());
        values.map(str::to_owned).collect()
    };
    left.extend(all("uid").iter().filter_map(|uid| {
        let netns = PathBuf::from(format!("/run/netns/rk-{uid}"));
        netns.exists().then(|| format!("netns {}", netns.display()))
    }));
    let cgroups = all("node");
    if state.join("network").exists() {
        let bridge = daemon.is_none();
        left.extend(cgroups.iter().flat_map(|node| network_of(node, bridge)));
    }
    left.extend(cgroups.iter().flat_map(|node| cgroups_of(node)));
    left
}

/// The same where the journal is gone, too: of this directory and this node.
pub fn of_node(dir: &Path, node: &str) -> Vec<String> {
    let mut left = processes(dir, None);
    left.extend(mounts(dir));
    left.extend(cgroups_of(node));
    left
}

/// Processes whose command line names something below `dir`.
fn processes(dir: &Path, daemon: Option<i32>) -> Vec<String> {
    let mark = format!("{}/", dir.display());
    let mut found = Vec::new();
    for process in children(Path::new("/proc")) {
        let Some(pid) = name(&process).parse::<i32>().ok() else {
            continue;
        };
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if Some(pid) != daemon && line.contains(&mark) {
            found.push(format!("process {pid}: {line}"));
        }
    }
    found
}

fn mounts(dir: &Path) -> Vec<String> {
    let mark = format!("{}/", dir.display());
    let info = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = info.lines().filter_map(|line| line.split(' ').nth(4));
    let ours = points.filter(|point| point.starts_with(&mark));
    ours.map(|point| format!("mount {point}")).collect()
}

/// Of the node's own network: rules that name it, and its bridge, which stays while the daemon
/// lives.
fn network_of(node: &str, bridge: bool) -> Vec<String> {
    let saved = std::process::Command::new("iptables-save").output();
    let saved = saved.unwrap().stdout;
    let rules = String::from_utf8_lossy(&saved);
    let mark = format!("riklet-{node}");
    let rules = rules.lines().filter(|line| line.contains(&mark));
    let mut found: Vec<_> = rules.map(|line| format!("rule {line}")).collect();
    let link = PathBuf::from(format!("/sys/class/net/rk-{node}"));
    if bridge && link.exists() {
        found.push(format!("bridge {}", link.display()));
    }
    found
}

/// Of the node's group in every hierarchy: groups with a process, and groups of containers and
/// their monitors.
fn cgroups_of(node: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut hierarchies = children(Path::new("/sys/fs/cgroup"));
    hierarchies.push("/sys/fs/cgroup".into());
    for hierarchy in hierarchies {
        let top = hierarchy.join(format!("riklet-{node}"));
        let mut waiting = vec![top.clone()];
        while let Some(group) = waiting.pop() {
            let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            let depth = group.strip_prefix(&top).unwrap().components().count();
            if !procs.is_empty() || depth >= 2 {
                let pids = procs.replace('\n', " ");
                found.push(format!("cgroup {}: {pids}", group.display()));
            }
            waiting.extend(children(&group).into_iter().filter(|path| path.is_dir()));
        }
    }
    found
}

/// Addresses that host-local has given away: it names a file by each.
pub fn addresses(run: &Path) -> Vec<String> {
    let files = children(&run.join("cni")).into_iter();
    let files = files.flat_map(|network| children(&network));
    let given = files.filter(|file| name(file).parse::<std::net::IpAddr>().is_ok());
    given
        .map(|file| format!("address {}", name(&file)))
        .collect()
}

fn files_below(dir: &Path) -> Vec<String> {
    let of = |path: &PathBuf| path.display().to_string();
    children(dir).iter().map(of).collect()
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
