//! The safe defaults of every container: what it may do, see and reach.
//!
//! Owns: capabilities, mounts, masked and read-only paths, namespaces, limits. In: nothing but a
//! few switches. Out: values of the OCI runtime spec with *every* field set, for `oci_spec`'s own
//! defaults are another runtime's (ambient capabilities, 1024 files, a read-only root). Must never
//! happen here: a default that a definition could loosen without being asked for by name.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilities, LinuxDeviceCgroup, LinuxIdMapping,
    LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, LinuxPids, LinuxResources, Mount,
    PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
};

use crate::model::users::{COUNT, IdRange};

/// The most processes and threads a container may have.
pub const PIDS_LIMIT: i64 = 2048;

/// What PATH is where neither image nor definition says.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The 11 capabilities that podman keeps.
pub const CAPABILITIES: [Capability; 11] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::NetBindService,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

/// Hidden altogether: what tells of or reaches into the node's kernel and devices.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// Readable only: writing there would change the node.
const READONLY: [&str; 6] = [
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Capabilities of a process of user `uid`: `most` at most, and for another user than root none
/// that act; never ambient or inheritable ones.
#[must_use]
pub fn capabilities(uid: u32, most: &[Capability]) -> LinuxCapabilities {
    let all: Capabilities = most.iter().copied().collect();
    let acting = if uid == 0 {
        all.clone()
    } else {
        Capabilities::new()
    };
    let mut set = LinuxCapabilities::default();
    set.set_bounding(Some(all))
        .set_effective(Some(acting.clone()))
        .set_permitted(Some(acting))
        .set_inheritable(Some(Capabilities::new()))
        .set_ambient(Some(Capabilities::new()));
    set
}

/// Open files: 1024 for programs that walk all descriptors, up to 524288 for those that ask, and
/// never more than the daemon's own `most`, for raising that takes a right that it may lack.
#[must_use]
pub fn rlimits(most: Option<u64>) -> Vec<PosixRlimit> {
    let hard = most.unwrap_or(u64::MAX).min(524_288);
    // Every field has a default, so the builder can't refuse.
    PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(hard.min(1024))
        .hard(hard)
        .build()
        .into_iter()
        .collect()
}

/// No device but those that every runtime makes (null, zero, full, random, urandom, tty, pts):
/// the first rule denies all, runc appends its own. `every`: all devices.
#[must_use]
pub fn resources(every: bool) -> LinuxResources {
    let mut none = LinuxDeviceCgroup::default();
    none.set_allow(every)
        .set_typ(None)
        .set_major(None)
        .set_minor(None)
        .set_access(Some("rwm".to_owned()));
    let mut pids = LinuxPids::default();
    pids.set_limit(PIDS_LIMIT);
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(vec![none])).set_pids(Some(pids));
    resources
}

/// Namespaces that are joined by path; none of them: the node's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// The network's.
    pub net: Option<PathBuf>,
    /// System V IPC, POSIX queues, and with it the shared memory at [`Joined::shm`].
    pub ipc: Option<PathBuf>,
    /// Hostname and domain name.
    pub uts: Option<PathBuf>,
    /// What lies at `/dev/shm`: a tmpfs of the sandbox.
    pub shm: Option<PathBuf>,
    /// Ids of its own, and the user namespace that has them and owns the others.
    pub users: Option<(PathBuf, IdRange)>,
}

/// The sandbox's network, IPC, UTS and user namespaces, and own ones of every other kind but
/// time.
#[must_use]
pub fn namespaces(joined: &Joined) -> Vec<LinuxNamespace> {
    let namespace = |typ, path: Option<PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(typ).set_path(path);
        namespace
    };
    let own = [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Cgroup,
    ];
    let users = joined.users.as_ref().map(|(path, _)| path.clone());
    let shared = [
        (LinuxNamespaceType::User, &users),
        (LinuxNamespaceType::Ipc, &joined.ipc),
        (LinuxNamespaceType::Uts, &joined.uts),
        (LinuxNamespaceType::Network, &joined.net),
    ];
    let shared = shared
        .into_iter()
        .filter(|(_, path)| path.is_some())
        .map(|(typ, path)| namespace(typ, path.clone()));
    let own = own.into_iter().map(|typ| namespace(typ, None));
    own.chain(shared).collect()
}

/// Which ids inside are which on the node; none where they are the same.
#[must_use]
pub fn id_mappings(joined: &Joined) -> Option<Vec<LinuxIdMapping>> {
    let (_, ids) = joined.users.as_ref()?;
    // Every field has a default, so the builder can't refuse.
    let mapping = LinuxIdMappingBuilder::default()
        .container_id(0_u32)
        .host_id(ids.first())
        .size(COUNT)
        .build();
    Some(mapping.into_iter().collect())
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(target.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}

/// The kernel's file systems that a program expects; `shm` is what lies at `/dev/shm`.
#[must_use]
pub fn mounts(shm: &Path) -> Vec<Mount> {
    let ro = ["nosuid", "noexec", "nodev", "ro"];
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        shared_memory(shm),
        mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        ),
        mount("/sys", "sysfs", "sysfs", &ro),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"],
        ),
    ]
}

/// The kernel's files to write too, for a container that is privileged.
pub fn make_writable(mounts: &mut [Mount]) {
    for mount in mounts
        .iter_mut()
        .filter(|m| m.destination().starts_with("/sys"))
    {
        if let Some(options) = mount.options_mut() {
            options.retain(|option| option != "ro");
        }
    }
}

/// The memory that a sandbox's containers share, or the node's.
fn shared_memory(shm: &Path) -> Mount {
    let options = ["bind", "rprivate", "nosuid", "noexec", "nodev"];
    let mut mount = mount("/dev/shm", "bind", "", &options);
    mount.set_source(Some(shm.to_owned()));
    mount
}

/// A file of the host, seen at `target`; `more` options beside the usual ones.
#[must_use]
pub fn bind_file(source: &Path, target: &str, more: &[&str]) -> Mount {
    let usual = ["bind", "rprivate", "nosuid", "nodev"];
    let options: Vec<_> = usual.iter().chain(more).copied().collect();
    bind(source, target, &options)
}

/// Something of the host, seen at `target`.
#[must_use]
pub fn bind(source: &Path, target: &str, options: &[&str]) -> Mount {
    let mut mount = mount(target, "bind", "", options);
    mount.set_source(Some(source.to_owned()));
    mount
}

/// Paths hidden from containers.
#[must_use]
pub fn masked_paths() -> Vec<String> {
    MASKED.iter().map(|p| (*p).to_owned()).collect()
}

/// Paths that containers may only read.
#[must_use]
pub fn readonly_paths() -> Vec<String> {
    READONLY.iter().map(|p| (*p).to_owned()).collect()
}
