//! Where everything of a container lies, in one place.
//!
//! Why: create, observe and remove must agree on every name, or something leaks. Owns: the names
//! below the state directory, the run directory and the cgroup parent. In: drawn names. Out:
//! paths. Must never happen here: a text from outside in a path, or any IO.
//!
//! ```text
//! <state>/pods/<uid>/                 the sandbox; it is the mark that netns rk-<uid> is ours
//! <state>/pods/<uid>/sandbox.json     what the sandbox was made of, in which boot, how far
//! <state>/pods/<uid>/volumes/<i>      a volume, by its position in the definition
//! <state>/pods/<uid>/<n>-<attempt>/   bundle: config.json rootfs upper work hosts hostname …
//! <state>/exits/<container id>        exit file, on disk
//! <state>/logs/<uid>/<n>-<attempt>.log     what it writes now; rotated parts are .log.1, .log.2 …
//! <state>/pods/<uid>/<n>-<attempt>/lower   with ids of its own: the snapshot as they see it
//! <run>/ns/<uid>/{ipc,uts,user}       the sandbox's namespaces but the network's (bind mounts)
//! <run>/ns/<uid>/shm                  the sandbox's /dev/shm (tmpfs)
//! <run>/roots/<container id>/rootfs   with ids of its own: its rootfs, where its root can get
//! <run>/cni/<network>/                the addresses that the node's own network has given away
//! <run>/runc/<container id>/          runc's own state (runc --root <run>/runc)
//! <run>/p/<container id>/             conmon: sync file, pidfiles, second exit file, oom mark
//! cgroups: work/<call>  monitors/<container id>  pods/<uid>/<n>-<attempt>
//! ```

use std::path::{Path, PathBuf};

use crate::model::ids::{Attempt, ContainerId, Position, Uid};

/// The names below one state directory and one run directory.
#[derive(Debug, Clone)]
pub struct Layout {
    state: PathBuf,
    run: PathBuf,
}

/// The name of an attempt within its incarnation: `<n>-<attempt>`.
#[must_use]
pub fn attempt_name(id: &ContainerId) -> String {
    format!("{}-{}", id.n, id.attempt)
}

/// The container that `<n>-<attempt>` names within `uid`; none if it isn't such a name.
#[must_use]
pub fn parse_attempt(uid: &Uid, name: &str) -> Option<ContainerId> {
    format!("{uid}-{name}").parse().ok()
}

/// Which part of an attempt's log a file is, in the order in which they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogPart {
    /// Put aside as the so-manieth, from 1.
    Rotated(u64),
    /// What a monitor is just opening; it becomes the live one by a rename.
    Opening,
    /// What is being written.
    Live,
}

/// What a file in a directory of logs is, by its name; none if it isn't a container's log.
#[must_use]
pub fn parse_log(name: &str) -> Option<(Position, Attempt, LogPart)> {
    let (of, rest) = name.split_once(".log")?;
    let (n, attempt) = of.split_once('-')?;
    let part = match rest {
        "" => LogPart::Live,
        ".tmp" => LogPart::Opening,
        rest => LogPart::Rotated(rest.strip_prefix('.')?.parse().ok()?),
    };
    // Other spellings of a number are other names.
    let (n, attempt) = (n.parse().ok()?, attempt.parse().ok()?);
    let spelled = match part {
        LogPart::Rotated(k) => format!("{n}-{attempt}.log.{k}"),
        _ => format!("{n}-{attempt}.log{rest}"),
    };
    (spelled == name).then_some((n, attempt, part))
}

/// The network namespace of an incarnation, `rk-<uid>`.
#[must_use]
pub fn netns_name(uid: &Uid) -> String {
    format!("rk-{uid}")
}

/// The cgroup of an incarnation, below the parent.
#[must_use]
pub fn pod_cgroup(uid: &Uid) -> String {
    format!("pods/{uid}")
}

/// The cgroup of a container, below the parent.
#[must_use]
pub fn container_cgroup(id: &ContainerId) -> String {
    format!("pods/{}/{}", id.uid, attempt_name(id))
}

/// The cgroup of a container's monitor, below the parent.
#[must_use]
pub fn monitor_cgroup(id: &ContainerId) -> String {
    format!("monitors/{id}")
}

impl Layout {
    /// The names below `state` and `run`; both absolute, for they get into config.json and
    /// command lines of children with another working directory.
    #[must_use]
    pub fn new(state: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            run: run.into(),
        }
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The run directory.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// All sandboxes.
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.state.join("pods")
    }

    /// One sandbox.
    #[must_use]
    pub fn pod(&self, uid: &Uid) -> PathBuf {
        self.pods().join(uid.as_str())
    }

    /// What a sandbox was made of, in which boot, and how far.
    #[must_use]
    pub fn sandbox_file(&self, uid: &Uid) -> PathBuf {
        self.pod(uid).join("sandbox.json")
    }

    /// All sandboxes' namespaces and shared memory; the network's are in `/run/netns`.
    #[must_use]
    pub fn all_namespaces(&self) -> PathBuf {
        self.run.join("ns")
    }

    /// A sandbox's namespaces and shared memory.
    #[must_use]
    pub fn namespaces(&self, uid: &Uid) -> PathBuf {
        self.all_namespaces().join(uid.as_str())
    }

    /// The IPC namespace that a sandbox's containers join; not made where they share the node's.
    #[must_use]
    pub fn ipc_namespace(&self, uid: &Uid) -> PathBuf {
        self.namespaces(uid).join("ipc")
    }

    /// The UTS namespace that a sandbox's containers join; its hostname is set.
    #[must_use]
    pub fn uts_namespace(&self, uid: &Uid) -> PathBuf {
        self.namespaces(uid).join("uts")
    }

    /// The user namespace that a sandbox's containers join; not made where their users are the
    /// node's. It owns the sandbox's other namespaces.
    #[must_use]
    pub fn user_namespace(&self, uid: &Uid) -> PathBuf {
        self.namespaces(uid).join("user")
    }

    /// The `/dev/shm` of a sandbox's containers, a tmpfs; not made where they share the node's
    /// IPC: then it is the node's own.
    #[must_use]
    pub fn shm(&self, uid: &Uid) -> PathBuf {
        self.namespaces(uid).join("shm")
    }

    /// Where host-local keeps the addresses of the node's own network: gone with a reboot.
    #[must_use]
    pub fn addresses(&self) -> PathBuf {
        self.run.join("cni")
    }

    /// The network that riklet made up itself.
    #[must_use]
    pub fn own_network(&self) -> PathBuf {
        self.state.join("network").join("riklet.conflist")
    }

    /// Where the node's own seccomp profiles lie, for definitions that name one.
    #[must_use]
    pub fn profiles(&self) -> PathBuf {
        self.state.join("seccomp")
    }

    /// An incarnation's volumes.
    #[must_use]
    pub fn volumes(&self, uid: &Uid) -> PathBuf {
        self.pod(uid).join("volumes")
    }

    /// A container's bundle.
    #[must_use]
    pub fn bundle(&self, id: &ContainerId) -> PathBuf {
        self.pod(&id.uid).join(attempt_name(id))
    }

    /// What containers with ids of their own have as their root. The root inside is nobody on the
    /// node, and has to get there by the path: so it may be passed by everybody, and read by none.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.run.join("roots")
    }

    /// What is a container's root, if it has ids of its own: open to the root inside alone.
    #[must_use]
    pub fn root(&self, id: &ContainerId) -> PathBuf {
        self.roots().join(id.to_string())
    }

    /// All exit files on disk.
    #[must_use]
    pub fn exits(&self) -> PathBuf {
        self.state.join("exits")
    }

    /// A container's exit file on disk.
    #[must_use]
    pub fn exit_file(&self, id: &ContainerId) -> PathBuf {
        self.exits().join(id.to_string())
    }

    /// All logs.
    #[must_use]
    pub fn all_logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// An incarnation's logs.
    #[must_use]
    pub fn logs(&self, uid: &Uid) -> PathBuf {
        self.all_logs().join(uid.as_str())
    }

    /// A container's log.
    #[must_use]
    pub fn log_file(&self, id: &ContainerId) -> PathBuf {
        self.logs(&id.uid).join(format!("{}.log", attempt_name(id)))
    }

    /// A part of a container's log that was put aside.
    #[must_use]
    pub fn rotated_log(&self, id: &ContainerId, part: u64) -> PathBuf {
        let name = format!("{}.log.{part}", attempt_name(id));
        self.logs(&id.uid).join(name)
    }

    /// What runc gets as `--root`.
    #[must_use]
    pub fn runc_root(&self) -> PathBuf {
        self.run.join("runc")
    }

    /// runc's own directory of a container.
    #[must_use]
    pub fn runc_dir(&self, id: &ContainerId) -> PathBuf {
        self.runc_root().join(id.to_string())
    }

    /// All monitors' directories.
    #[must_use]
    pub fn persists(&self) -> PathBuf {
        self.run.join("p")
    }

    /// A monitor's directory.
    #[must_use]
    pub fn persist(&self, id: &ContainerId) -> PathBuf {
        self.persists().join(id.to_string())
    }
}
