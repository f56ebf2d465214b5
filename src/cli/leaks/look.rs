//! Everything on the machine that bears this node's mark, by files only.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    model::ids::{ContainerId, NodeUid, Uid},
    network::netns,
    runtime::{
        cgroup::{CgroupError, Cgroups},
        layout::{Layout, container_cgroup, monitor_cgroup, parse_attempt, pod_cgroup},
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
}

/// Whose a thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Of {
    Incarnation(Uid),
    Attempt(ContainerId),
    /// Logs are kept for a while after their incarnation.
    Logs(Uid),
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
    #[error("read /proc/self/mountinfo")]
    Mounts(#[source] io::Error),
}

const STRANGE: &str = "it has no name that riklet gives";

/// Everything there is.
pub(super) fn all(ground: &Ground) -> Result<Vec<Thing>, LookError> {
    let layout = Layout::new(&ground.state, &ground.run);
    let mut found = Vec::new();
    directories(&layout, &mut found)?;
    let cgroups = Cgroups::detect(&format!("/riklet-{}", ground.node))?;
    let alive = in_cgroups(&cgroups, &mut found);
    in_namespaces(ground, &mut found)?;
    addresses(&layout, &mut found)?;
    mounts(&layout, &mut found)?;
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
fn in_cgroups(cgroups: &Cgroups, found: &mut Vec<Thing>) -> BTreeSet<i32> {
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
            if let Some(id) = parse_attempt(&uid, &name) {
                thing(&container_cgroup(&id), Of::Attempt(id));
            }
        }
        thing(&pod_cgroup(&uid), Of::Incarnation(uid));
    }
    cgroups.pids("").into_iter().collect()
}

fn in_namespaces(ground: &Ground, found: &mut Vec<Thing>) -> Result<(), LookError> {
    for name in netns::list("rk-").map_err(LookError::Namespaces)? {
        let uid = name.strip_prefix("rk-").and_then(|uid| uid.parse().ok());
        // Others may be another node's.
        if let Some(uid) = uid.filter(|uid| ground.uids.contains(uid)) {
            found.push(Thing {
                kind: "netns",
                what: netns::path(&name).display().to_string(),
                of: Of::Incarnation(uid),
            });
        }
    }
    Ok(())
}

/// host-local's files: named by the address, with the container's id in their first line.
fn addresses(layout: &Layout, found: &mut Vec<Thing>) -> Result<(), LookError> {
    for network in names(&layout.addresses())? {
        let dir = layout.addresses().join(network);
        if !dir.is_dir() {
            continue;
        }
        for name in names(&dir)? {
            if name.parse::<std::net::IpAddr>().is_err() {
                continue;
            }
            let path = dir.join(name);
            let text = fs::read_to_string(&path).unwrap_or_default();
            let owner = text.lines().next().unwrap_or_default().trim();
            let owner = owner.strip_prefix("rk-").unwrap_or(owner);
            let uid = owner.split('-').next().unwrap_or_default();
            found.push(Thing {
                kind: "address",
                what: path.display().to_string(),
                of: of_uid(uid),
            });
        }
    }
    Ok(())
}

fn mounts(layout: &Layout, found: &mut Vec<Thing>) -> Result<(), LookError> {
    let text = fs::read_to_string("/proc/self/mountinfo").map_err(LookError::Mounts)?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
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
    Ok(())
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
