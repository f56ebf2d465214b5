//! Everything on the machine that bears this node's mark; it reads, and changes nothing.

mod images;
mod network;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    model::ids::{ContainerId, NodeUid, Uid},
    runtime::{
        cgroup::{CgroupError, Cgroups},
        layout::{Layout, container_cgroup, monitor_cgroup, parse_attempt, pod_cgroup},
        process::{AskError, WORK},
    },
};

/// Where a node's things are.
pub(super) struct Ground {
    pub(super) state: PathBuf,
    pub(super) run: PathBuf,
    pub(super) node: NodeUid,
    /// Every incarnation that was ever heard of: what lies where everybody's things lie is this
    /// node's if it bears the name of one.
    pub(super) uids: BTreeSet<Uid>,
    /// Networks that they joined, and where host-local keeps the addresses of each, if it does.
    pub(super) networks: BTreeMap<String, Option<PathBuf>>,
    pub(super) life: Life,
}

/// Who may be at work on what isn't written down while it is made: pulls, calls of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Nobody: no daemon lives.
    Over,
    /// One that is just removing what the former left.
    Begins,
    /// One with this pid, which has done that.
    Lasts(i32),
}

/// Whose a thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    Incarnation(Uid),
    Attempt(ContainerId),
    /// Logs are kept for a while after their incarnation.
    Logs(Uid),
    /// Nobody's but for what runs from this snapshot, and why.
    Snapshot(String, String),
    /// Nobody's, and why.
    Nobody(&'static str),
}

/// Something that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) kind: &'static str,
    pub(super) what: String,
    pub(super) of: Of,
}

/// Why it couldn't be looked.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error("look into {}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("look at the cgroups")]
    Cgroups(#[from] CgroupError),
    #[error("look at /run/netns")]
    Namespaces(#[source] io::Error),
    #[error("look at the ports of the bridge {bridge}")]
    Ports { bridge: String, source: io::Error },
    #[error("look at the firewall: iptables-save")]
    Firewall(#[source] AskError),
    #[error("read /proc/self/mountinfo")]
    Mounts(#[source] io::Error),
}

pub(super) const STRANGE: &str = "it has no name that riklet gives";

/// Everything there is.
pub(super) fn all(ground: &Ground) -> Result<Vec<Thing>, LookError> {
    let layout = Layout::new(&ground.state, &ground.run);
    let mut found = Vec::new();
    directories(&layout, &mut found)?;
    // Within a minute after an id's next incarnation took the place of its tombstone a living
    // daemon lets go of the former one's logs.
    found.retain(|thing| match &thing.of {
        Of::Logs(uid) => ground.life == Life::Over || !ground.uids.contains(uid),
        _ => true,
    });
    let cgroups = Cgroups::detect(&format!("/riklet-{}", ground.node))?;
    let alive = in_cgroups(&cgroups, ground.life, &mut found);
    network::all(ground, &layout, &mut found)?;
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").map_err(LookError::Mounts)?;
    mounts(&layout, &mountinfo, &mut found);
    images::all(ground, &mountinfo, &mut found)?;
    processes(ground, &alive, &mut found);
    Ok(found)
}

fn names(dir: &Path) -> Result<Vec<String>, LookError> {
    let failed = |source| LookError::Directory {
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    entries
        .map(|entry| {
            Ok(entry
                .map_err(failed)?
                .file_name()
                .to_string_lossy()
                .into_owned())
        })
        .collect()
}

/// Whose what bears a container's id is; conmon's temporary exit file has more after a dot.
fn of_container(name: &str) -> Of {
    let id = name.split('.').next().unwrap_or_default().parse();
    id.map_or(Of::Nobody(STRANGE), Of::Attempt)
}

fn of_uid(name: &str) -> Of {
    name.parse().map_or(Of::Nobody(STRANGE), Of::Incarnation)
}

fn directories(layout: &Layout, found: &mut Vec<Thing>) -> Result<(), LookError> {
    let mut all = |kind, dir: PathBuf, of: fn(&str) -> Of| -> Result<(), LookError> {
        for name in names(&dir)? {
            let what = dir.join(&name).display().to_string();
            let of = of(&name);
            found.push(Thing { kind, what, of });
        }
        Ok(())
    };
    all("runtime", layout.runc_root(), of_container)?;
    all("monitor", layout.persists(), of_container)?;
    all("exit", layout.exits(), of_container)?;
    all("sandbox", layout.pods(), of_uid)?;
    all("root", layout.roots(), of_container)?;
    all("namespaces", layout.all_namespaces(), of_uid)?;
    let of_log = |name: &str| name.parse().map_or(Of::Nobody(STRANGE), Of::Logs);
    all("log", layout.all_logs(), of_log)?;
    for pod in names(&layout.pods())? {
        let Ok(uid) = pod.parse::<Uid>() else {
            continue;
        };
        for name in names(&layout.pod(&uid))? {
            // What else is there goes with the sandbox.
            if let Some(id) = parse_attempt(&uid, &name) {
                found.push(Thing {
                    kind: "bundle",
                    what: layout.bundle(&id).display().to_string(),
                    of: Of::Attempt(id),
                });
            }
        }
    }
    Ok(())
}

/// Returns the processes that live in a cgroup of this node.
fn in_cgroups(cgroups: &Cgroups, life: Life, found: &mut Vec<Thing>) -> BTreeSet<i32> {
    let mut thing = |rel: &str, of| {
        found.push(Thing {
            kind: "cgroup",
            what: cgroups.cgroups_path(rel),
            of,
        });
    };
    for name in cgroups.children("monitors") {
        match name.parse::<ContainerId>() {
            Ok(id) => thing(&monitor_cgroup(&id), Of::Attempt(id)),
            Err(_) => thing(&format!("monitors/{name}"), Of::Nobody(STRANGE)),
        }
    }
    for name in cgroups.children("pods") {
        let Ok(uid) = name.parse::<Uid>() else {
            thing(&format!("pods/{name}"), Of::Nobody(STRANGE));
            continue;
        };
        for name in cgroups.children(&pod_cgroup(&uid)) {
            match parse_attempt(&uid, &name) {
                Some(id) => thing(&container_cgroup(&id), Of::Attempt(id)),
                None => thing(&format!("{}/{name}", pod_cgroup(&uid)), Of::Nobody(STRANGE)),
            }
        }
        thing(&pod_cgroup(&uid), Of::Incarnation(uid));
    }
    // A daemon that lives is waiting for what is in there.
    if life == Life::Over {
        for name in cgroups.children(WORK) {
            let of = Of::Nobody("no daemon lives that would wait for the call");
            thing(&format!("{WORK}/{name}"), of);
        }
    }
    cgroups.pids("").into_iter().collect()
}

fn mounts(layout: &Layout, mountinfo: &str, found: &mut Vec<Thing>) {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    for point in points {
        let below = |dir: PathBuf| {
            let rest = Path::new(point).strip_prefix(dir).ok()?;
            let mut parts = rest.iter().map(|part| part.to_string_lossy().into_owned());
            Some((parts.next()?, parts.next()))
        };
        let of = if let Some((uid, inside)) = below(layout.pods()) {
            let attempt = uid.parse().ok().zip(inside);
            let attempt = attempt.and_then(|(uid, name)| parse_attempt(&uid, &name));
            attempt.map_or_else(|| of_uid(&uid), Of::Attempt)
        } else if let Some((uid, _)) = below(layout.all_namespaces()) {
            of_uid(&uid)
        } else if let Some((name, _)) = below(layout.runc_root()).or_else(|| below(layout.roots()))
        {
            of_container(&name)
        } else {
            continue;
        };
        found.push(Thing {
            kind: "mount",
            what: point.to_owned(),
            of,
        });
    }
}

/// Monitors and runtimes of this node that live in none of its cgroups.
fn processes(ground: &Ground, alive: &BTreeSet<i32>, found: &mut Vec<Thing>) {
    let mark = format!("{}/", ground.run.display());
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter(|pid| !alive.contains(pid)) {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let program = line.split(' ').next().unwrap_or_default();
        let program = program.rsplit('/').next().unwrap_or_default();
        if matches!(program, "conmon" | "runc" | "crun" | "youki") && line.contains(&mark) {
            found.push(Thing {
                kind: "process",
                what: format!("{pid} ({program})"),
                of: Of::Nobody("it works for this node and lives in none of its cgroups"),
            });
        }
    }
}
