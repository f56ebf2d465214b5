//! Which cgroup hierarchies this machine has, read from `/proc/self/mountinfo`.
//!
//! Pure: in comes the text, out comes a [`Layout`].

use std::path::{Path, PathBuf};

/// Controllers that a v1 mount's options may name; any other option is not a controller.
const CONTROLLERS: [&str; 14] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "debug",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "misc",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// How cgroups are set up on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// v1 hierarchies only.
    V1,
    /// v1 hierarchies with the controllers, and a cgroup2 mount beside them.
    Hybrid,
    /// cgroup2 only.
    V2,
}

/// A mounted v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its controllers; empty for a named one.
    pub controllers: Vec<String>,
    /// Its name, `systemd` for `name=systemd`.
    pub name: Option<String>,
}

/// The hierarchies of a machine, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The cgroup2 mount.
    pub v2: Option<PathBuf>,
    /// The v1 hierarchies, in the order they were mounted.
    pub v1: Vec<Hierarchy>,
}

impl Layout {
    /// Reads `/proc/self/mountinfo` (proc(5)). Lines that can't be read are skipped; a hierarchy
    /// mounted twice counts where it was mounted first.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut layout = Self::default();
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else {
                continue;
            };
            let Some(mount) = before.split(' ').nth(4).map(unescape) else {
                continue;
            };
            let mut after = after.split(' ');
            let (kind, options) = (after.next().unwrap_or(""), after.nth(1).unwrap_or(""));
            match kind {
                "cgroup2" if layout.v2.is_none() => layout.v2 = Some(mount),
                "cgroup" => layout.add_v1(mount, options),
                _ => {}
            }
        }
        layout
    }

    fn add_v1(&mut self, mount: PathBuf, options: &str) {
        let options = || options.split(',');
        let hierarchy = Hierarchy {
            mount,
            controllers: options()
                .filter(|o| CONTROLLERS.contains(o))
                .map(str::to_owned)
                .collect(),
            name: options().find_map(|o| o.strip_prefix("name=").map(str::to_owned)),
        };
        let known = self
            .v1
            .iter()
            .any(|h| h.controllers == hierarchy.controllers && h.name == hierarchy.name);
        if !known && (hierarchy.name.is_some() || !hierarchy.controllers.is_empty()) {
            self.v1.push(hierarchy);
        }
    }

    /// Its version; none without any hierarchy.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        match (&self.v2, self.v1.is_empty()) {
            (Some(_), true) => Some(Version::V2),
            (Some(_), false) => Some(Version::Hybrid),
            (None, false) => Some(Version::V1),
            (None, true) => None,
        }
    }

    /// The hierarchy by which processes are followed: cgroup2 where there is one, for it alone
    /// has `cgroup.kill` and `populated`; else `name=systemd`, which has no controller and so
    /// changes nothing for a process in it; else any.
    #[must_use]
    pub fn tracking(&self) -> Option<&Path> {
        self.v2.as_deref().or_else(|| {
            let v1 = || self.v1.iter();
            v1().find(|h| h.name.as_deref() == Some("systemd"))
                .or_else(|| v1().find(|h| h.controllers.iter().any(|c| c == "pids")))
                .or_else(|| v1().next())
                .map(|h| h.mount.as_path())
        })
    }

    /// Where a controller's v1 hierarchy is mounted.
    #[must_use]
    pub fn v1_with(&self, controller: &str) -> Option<&Path> {
        self.v1
            .iter()
            .find(|h| h.controllers.iter().any(|c| c == controller))
            .map(|h| h.mount.as_path())
    }

    /// All mounts, the one for tracking first.
    #[must_use]
    pub fn mounts(&self) -> Vec<&Path> {
        let tracking = self.tracking();
        let all = self
            .v2
            .iter()
            .map(PathBuf::as_path)
            .chain(self.v1.iter().map(|h| h.mount.as_path()));
        tracking
            .into_iter()
            .chain(all.filter(|m| Some(*m) != tracking))
            .collect()
    }
}

/// A path as mountinfo writes it: space, tab, newline and backslash are `\` and three octal digits.
pub(crate) fn unescape(field: &str) -> PathBuf {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = (byte == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok());
        match octal {
            Some(code) => {
                out.push(code);
                rest = &tail[3..];
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests;
