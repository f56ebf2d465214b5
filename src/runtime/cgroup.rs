//! The cgroup tree below this node's parent: made, watched, emptied, measured, removed.
//!
//! Why: a cgroup is the one name for "all processes of this container" (or of this call) that
//! no fork, setsid or double fork escapes. Owns: detection of v1, hybrid and v2; the tree below
//! the parent. In: paths relative to the parent, built of uids and numbers only. Out: pids,
//! populated or not, [`Usage`]. By files only, never by forking. Must never happen here: touching
//! a cgroup outside the parent.
//!
//! ```text
//! <parent>/work/<call>                one short-lived call: tracking hierarchy only
//! <parent>/monitors/<container id>    one conmon: tracking hierarchy only
//! <parent>/pods/<uid>/<n>-<attempt>   one container: runc makes it, in every hierarchy
//! ```
//!
//! The *tracking* hierarchy is cgroup2 where there is one, also in hybrid. runc 1.1.5 joins it in
//! hybrid mode too (measured), but an older runc doesn't, and a container that may write its
//! cgroups may leave it. So what is empty in the tracking hierarchy is looked up in all the
//! others before it is called empty.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

mod claim;
mod kill;
pub mod layout;
mod limit;
pub mod usage;

pub use layout::{Layout, Version};
pub use usage::Usage;

use crate::model::ids::{ContainerId, Uid};

/// Where a container's cgroup is, relative to the parent: `pods/<uid>/<n>-<attempt>`.
#[must_use]
pub fn of_container(id: &ContainerId) -> String {
    format!("pods/{}/{}-{}", id.uid, id.n, id.attempt)
}

/// Where the cgroups of an incarnation's containers are: `pods/<uid>`.
#[must_use]
pub fn of_incarnation(uid: &Uid) -> String {
    format!("pods/{uid}")
}

/// Where a container's monitor is: `monitors/<container id>`.
#[must_use]
pub fn of_monitor(id: &ContainerId) -> String {
    format!("monitors/{id}")
}

/// Why something could not be done to a cgroup.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No hierarchy is mounted.
    #[error("find a mounted cgroup hierarchy: none in /proc/self/mountinfo; mount cgroup2")]
    NoHierarchy,
    /// The parent isn't an absolute path of plain names.
    #[error("use {0:?} as the cgroup parent: it must be an absolute path without '..'")]
    Parent(String),
    /// A file of the tree could not be used.
    #[error("{what} {}", path.display())]
    Io {
        /// What was tried: "create cgroup", "open".
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another daemon has this node's uid, and with it this tree.
    #[error(
        "use the cgroup {0}: another riklet with this node's uid does; if one state directory is a \
         copy of the other, start only one of them"
    )]
    InUse(String),
    /// riklet itself is in there.
    #[error("kill everything in cgroup {0}: riklet itself runs in it")]
    Own(String),
    /// Processes outlive SIGKILL, most likely in uninterruptible sleep on a dead disk or mount.
    #[error("empty cgroup {rel}: pids {pids:?} outlived SIGKILL for {waited_ms} ms")]
    Unkillable {
        /// The cgroup, relative to the parent.
        rel: String,
        /// Who is left.
        pids: Vec<i32>,
        /// How long it was waited for.
        waited_ms: u128,
    },
}

/// This node's cgroups. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cgroups(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    version: Version,
    tracking: PathBuf,
    parent: String,
}

impl Cgroups {
    /// Finds the hierarchies. `parent` is absolute in each of them, `/riklet-<node uid>`; nothing
    /// is created.
    ///
    /// # Errors
    /// No hierarchy is mounted, mountinfo can't be read, or the parent is no plain absolute path.
    pub fn detect(parent: &str) -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(|e| io_error("read", path, e))?;
        Self::from_layout(Layout::parse(&text), parent)
    }

    /// The same, on hierarchies that are already known.
    ///
    /// # Errors
    /// As [`Cgroups::detect`].
    pub fn from_layout(layout: Layout, parent: &str) -> Result<Self, CgroupError> {
        let plain = parent.len() > 1
            && parent.starts_with('/')
            && Path::new(parent)
                .components()
                .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
        if !plain {
            return Err(CgroupError::Parent(parent.to_owned()));
        }
        let version = layout.version().ok_or(CgroupError::NoHierarchy)?;
        let tracking = layout
            .tracking()
            .ok_or(CgroupError::NoHierarchy)?
            .to_owned();
        Ok(Self(Arc::new(Inner {
            layout,
            version,
            tracking,
            parent: parent.trim_end_matches('/').to_owned(),
        })))
    }

    /// How cgroups are set up here.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// What runc's `cgroupsPath` says for `rel`: `<parent>/<rel>`.
    #[must_use]
    pub fn cgroups_path(&self, rel: &str) -> String {
        format!("{}/{rel}", self.0.parent)
    }

    /// The directory of `rel` in the tracking hierarchy; it need not exist.
    #[must_use]
    pub fn tracking_dir(&self, rel: &str) -> PathBuf {
        self.dir(&self.0.tracking, rel)
    }

    /// Makes `rel` in the tracking hierarchy, with all its parents. Existing is fine.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn create(&self, rel: &str) -> Result<(), CgroupError> {
        let dir = self.tracking_dir(rel);
        fs::create_dir_all(&dir).map_err(|e| io_error("create cgroup", &dir, e))
    }

    /// Makes `rel` in the tracking hierarchy; `false` if it was there already.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn create_new(&self, rel: &str) -> Result<bool, CgroupError> {
        let dir = self.tracking_dir(rel);
        if let Some(above) = dir.parent() {
            fs::create_dir_all(above).map_err(|e| io_error("create cgroup", above, e))?;
        }
        match fs::create_dir(&dir) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(io_error("create cgroup", &dir, e)),
        }
    }

    /// `cgroup.procs` of `rel` in the tracking hierarchy, open for writing, close-on-exec: a
    /// child writes "0" to it before it execs.
    ///
    /// # Errors
    /// It doesn't exist or can't be opened.
    pub fn procs_fd(&self, rel: &str) -> Result<OwnedFd, CgroupError> {
        let path = self.tracking_dir(rel).join("cgroup.procs");
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .map(OwnedFd::from)
            .map_err(|e| io_error("open", &path, e))
    }

    /// Does a process live in `rel` or below it, in any hierarchy? Not found = no.
    #[must_use]
    pub fn populated(&self, rel: &str) -> bool {
        // The tracking hierarchy comes first, so that a running container costs one read.
        self.dirs(rel).any(|(dir, v2)| {
            if v2 {
                fs::read_to_string(dir.join("cgroup.events"))
                    .is_ok_and(|text| text.lines().any(|l| l == "populated 1"))
            } else {
                !pids_below(&dir).is_empty()
            }
        })
    }

    /// The pids in `rel` and below it, in any hierarchy, sorted, each once. Processes outside
    /// our pid namespace are left out.
    #[must_use]
    pub fn pids(&self, rel: &str) -> Vec<i32> {
        let mut all: Vec<i32> = self
            .dirs(rel)
            .flat_map(|(dir, _)| pids_below(&dir))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Does this process live in `rel` or below it, in any hierarchy? One read, by its pid.
    #[must_use]
    pub fn holds(&self, rel: &str, pid: i32) -> bool {
        let path = self.cgroups_path(rel);
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        text.lines().any(|line| {
            // `<n>:<controllers>:<path>`; the path may begin above our own view of the tree.
            let at = line.splitn(3, ':').nth(2).unwrap_or_default();
            let rest = at.split_once(path.as_str()).map(|(_, rest)| rest);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ' ']))
        })
    }

    /// Does `rel` exist in any hierarchy?
    #[must_use]
    pub fn exists(&self, rel: &str) -> bool {
        self.dirs(rel).next().is_some()
    }

    /// The names of the cgroups directly below `rel`, in any hierarchy, sorted, each once. Not
    /// found = none.
    #[must_use]
    pub fn children(&self, rel: &str) -> Vec<String> {
        let mut names: Vec<String> = self
            .dirs(rel)
            .flat_map(|(dir, _)| directories(&dir))
            .filter_map(|d| Some(d.file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Removes `rel` with everything below it, in every hierarchy. Not found = ok.
    ///
    /// # Errors
    /// A process still lives in it: kill first.
    pub fn remove(&self, rel: &str) -> Result<(), CgroupError> {
        // All hierarchies are tried, whatever the first says: one busy one mustn't keep the rest.
        let mut first = Ok(());
        for (dir, _) in self.dirs(rel) {
            let one = remove_tree(&dir);
            if first.is_ok() {
                first = one;
            }
        }
        first
    }

    /// Is `rel` frozen (`runc pause`), by either freezer?
    #[must_use]
    pub fn frozen(&self, rel: &str) -> bool {
        let says = |dir: &Path, file: &str, is: &[&str]| {
            fs::read_to_string(dir.join(file)).is_ok_and(|text| is.contains(&text.trim()))
        };
        self.dirs(rel).any(|(dir, v2)| {
            if v2 {
                says(&dir, "cgroup.freeze", &["1"])
            } else {
                says(&dir, "freezer.state", &["FROZEN", "FREEZING"])
            }
        })
    }

    /// Thaws `rel` and everything below it. Best effort: what isn't there needs no thawing.
    pub fn thaw(&self, rel: &str) {
        for (dir, v2) in self.dirs(rel) {
            let (file, word) = if v2 {
                ("cgroup.freeze", "0")
            } else {
                ("freezer.state", "THAWED")
            };
            walk(&dir, &mut |d| {
                let path = d.join(file);
                // A v1 hierarchy without the freezer hasn't the file; never create one.
                if path.exists() {
                    let _ = fs::write(path, word);
                }
            });
        }
    }

    /// What `rel` has used so far; none if no hierarchy has it.
    #[must_use]
    pub fn usage(&self, rel: &str) -> Option<Usage> {
        usage::read(&self.0.layout, |mount| self.dir(mount, rel))
    }

    /// How often the kernel killed something in `rel` for its memory limit. Read it before runc
    /// deletes the container: the count goes with the cgroup. Not found = 0.
    #[must_use]
    pub fn oom_kills(&self, rel: &str) -> u64 {
        usage::oom_kills(&self.0.layout, |mount| self.dir(mount, rel))
    }

    /// `rel` where it exists, the tracking hierarchy first; `true` = cgroup2.
    fn dirs<'a>(&'a self, rel: &'a str) -> impl Iterator<Item = (PathBuf, bool)> + 'a {
        let v2 = self.0.layout.v2.as_deref();
        self.0
            .layout
            .mounts()
            .into_iter()
            .map(move |mount| (self.dir(mount, rel), Some(mount) == v2))
            .filter(|(dir, _)| dir.is_dir())
    }

    /// Only plain names go into the path: no `rel` leads out of the parent.
    fn dir(&self, mount: &Path, rel: &str) -> PathBuf {
        let plain = |path: &str| -> PathBuf {
            Path::new(path)
                .components()
                .filter(|c| matches!(c, Component::Normal(_)))
                .collect()
        };
        mount.join(plain(&self.0.parent)).join(plain(rel))
    }
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> CgroupError {
    CgroupError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect()
}

/// Calls `visit` on every cgroup below `dir`, deepest first, then on `dir`.
fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    for below in directories(dir) {
        walk(&below, visit);
    }
    visit(dir);
}

/// The pids in `dir` and below. A pid of 0 is a process outside our pid namespace.
fn pids_below(dir: &Path) -> Vec<i32> {
    let mut pids: Vec<i32> = Vec::new();
    walk(dir, &mut |d| {
        if let Ok(text) = fs::read_to_string(d.join("cgroup.procs")) {
            pids.extend(
                text.lines()
                    .filter_map(|l| l.parse().ok())
                    .filter(|p: &i32| *p > 0),
            );
        }
    });
    pids
}

fn remove_tree(dir: &Path) -> Result<(), CgroupError> {
    let mut result = Ok(());
    walk(dir, &mut |d| match fs::remove_dir(d) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) if result.is_ok() => result = Err(io_error("remove cgroup", d, e)),
        Err(_) => {}
    });
    result
}

#[cfg(test)]
mod tests;
