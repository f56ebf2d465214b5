//! What a node's pods may have left, by the kernel's own lists and the machine's own programs:
//! whatever bears one of their uids, the node's directory, its subnet or one of its chains' names.

use std::{collections::BTreeSet, fs, process::Command};

use sha2::{Digest as _, Sha512};

use crate::support::daemon::Daemon;

/// Each trace begins with one of these.
pub const KINDS: [&str; 8] = [
    "file", "rule", "mount", "cgroup", "address", "process", "veth", "netns",
];

/// Traces of a node whose pods are all gone, while its daemon still runs.
pub fn left(daemon: &Daemon) -> Vec<String> {
    let node = fs::read_to_string(daemon.run().join("owner")).unwrap();
    let node = node.trim();
    let uids: BTreeSet<String> = daemon
        .lines()
        .iter()
        .filter_map(|line| Some(line["uid"].as_str()?.to_owned()))
        .collect();
    assert!(!uids.is_empty(), "the journal names no uid");
    let mut found = files(&uids);
    found.extend(rules(node, &uids));
    found.extend(mounts(daemon, &uids));
    found.extend(cgroups(node));
    found.extend(addresses(daemon));
    found.extend(processes(daemon, &uids));
    found.extend(lines(
        "veth",
        &["ip", "-o", "link", "show", "master", &format!("rk-{node}")],
    ));
    let netns = lines("netns", &["ip", "netns"]).into_iter();
    found.extend(netns.filter(|line| names_one(line, &uids)));
    found
}

fn names_one(text: &str, uids: &BTreeSet<String>) -> bool {
    uids.iter().any(|uid| text.contains(uid.as_str()))
}

/// Each line that a program prints, which has to succeed.
fn lines(what: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| format!("{what}: {line}")).collect()
}

/// Whatever is called by a uid where things of the kernel's and of all processes lie.
fn files(uids: &BTreeSet<String>) -> Vec<String> {
    let mut find = Command::new("find");
    find.args(["/run", "/var/lib", "/dev/shm", "/sys/fs/cgroup"]);
    find.args([
        "-regextype",
        "egrep",
        "-regex",
        ".*/[^/]*[0-9a-hjkmnp-tv-z]{10}[^/]*",
    ]);
    // Its exit code tells also of what went away meanwhile.
    let output = find.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let named = text.lines().filter(|path| names_one(path, uids));
    named.map(|path| format!("file: {path}")).collect()
}

/// Rules and chains that name the node's network, a pod, an address of its subnet, or the chain
/// that CNI calls by one of its pods.
fn rules(node: &str, uids: &BTreeSet<String>) -> Vec<String> {
    let network = format!("riklet-{node}");
    let bridge = format!("rk-{node}");
    let subnet = lines("", &["ip", "-o", "-4", "addr", "show", "dev", &bridge]);
    let subnet = subnet.first().and_then(|line| {
        let address = line.split_whitespace().skip_while(|word| *word != "inet");
        let address = address.into_iter().nth(1)?.rsplit_once('.')?.0.to_owned();
        Some(format!("{address}."))
    });
    let subnet = subnet.unwrap_or_else(|| panic!("{bridge} has no address"));
    let chains = uids.iter().map(|uid| {
        let hash = Sha512::digest(format!("{network}{uid}").as_bytes());
        data_encoding::HEXLOWER.encode(&hash[..10])
    });
    let chains: Vec<String> = chains.collect();
    let saved = lines("rule", &["iptables-save"]).into_iter();
    saved
        .filter(|line| {
            let named = [network.as_str(), &bridge, &subnet];
            let hashed = chains.iter().any(|hash| line.contains(hash.as_str()));
            hashed || names_one(line, uids) || named.iter().any(|name| line.contains(name))
        })
        .collect()
}

/// Mounts below the node's directory, and what any other mount says of a pod.
fn mounts(daemon: &Daemon, uids: &BTreeSet<String>) -> Vec<String> {
    let below = format!("{}/", daemon.dir().display());
    let info = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = info.lines().filter(|line| {
        let point = line.split(' ').nth(4).unwrap_or("");
        point.starts_with(&below) || names_one(line, uids)
    });
    ours.map(|line| format!("mount: {line}")).collect()
}

/// Groups below the node's `pods`, in any hierarchy.
fn cgroups(node: &str) -> Vec<String> {
    let mut find = Command::new("find");
    find.args(["/sys/fs/cgroup", "-mindepth", "1", "-type", "d", "-path"]);
    find.arg(format!("*/riklet-{node}/pods/*"));
    let output = find.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|path| format!("cgroup: {path}")).collect()
}

/// Files of host-local besides the two of its own.
fn addresses(daemon: &Daemon) -> Vec<String> {
    let cni = daemon.run().join("cni");
    let files = lines("address", &["find", cni.to_str().unwrap(), "-type", "f"]).into_iter();
    files
        .filter(|path| !path.ends_with("/lock") && !path.ends_with("/last_reserved_ip.0"))
        .collect()
}

/// A process as /proc shows it.
struct Process {
    parent: i32,
    is_zombie: bool,
    line: String,
    groups: String,
}

impl Process {
    /// None of it where it has just ended.
    fn of(pid: i32) -> Option<Self> {
        let read = |file: &str| {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\0', " ")
        };
        let status = read("status");
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        };
        Some(Self {
            parent: field("PPid:")?.parse().ok()?,
            is_zombie: field("State:")? == "Z",
            line: read("cmdline"),
            groups: read("cgroup"),
        })
    }
}

/// Processes besides the daemon that name the node's directory, or are in a group of a pod's.
///
/// A zombie is left only by its parent, who alone can take it away. The daemon's is ours, and so is
/// that of a process which is left itself (a monitor, a runtime, or a container's init, with
/// which everything in its pid namespace goes). But a monitor whose daemon was killed passes to
/// whoever reaps above the daemon (prctl(2), PR_SET_CHILD_SUBREAPER: the nearest ancestor that
/// does, at last the machine's init) and stays its child when the next daemon adopts it: how fast
/// that one reaps is none of ours. So of the zombies exactly those are passed over whose parent
/// stands above the daemon; a live one of its would be found by its line.
fn processes(daemon: &Daemon, uids: &BTreeSet<String>) -> Vec<String> {
    let below = format!("{}/", daemon.dir().display());
    let own = daemon.pid();
    let mut above = BTreeSet::from([1]);
    let mut next = Process::of(own).unwrap().parent;
    while next > 1 {
        above.insert(next);
        next = Process::of(next).map_or(1, |process| process.parent);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let Some(process) = Process::of(pid).filter(|_| pid != own) else {
            continue;
        };
        if process.is_zombie && above.contains(&process.parent) {
            continue;
        }
        let Process {
            parent,
            line,
            groups,
            ..
        } = &process;
        if line.contains(&below) || names_one(groups, uids) {
            found.push(format!("process: {pid} {line}, of {parent}, in {groups}"));
        }
    }
    found
}
