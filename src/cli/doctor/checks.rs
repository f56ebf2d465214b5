//! What the kernel and the places on disk allow.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use nix::{
    sys::{
        statfs::{OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs},
        statvfs::statvfs,
    },
    unistd::geteuid,
};

use super::Check;
use crate::{
    config::Config,
    image::{Fullness, inventory},
    network::{
        lack::{self, Lack},
        plug::NetworkConfig,
    },
    runtime::bundle::closed_above,
    view::{ImagesUse, size},
};

/// Below this no image can be unpacked; the journal keeps 8 MiB of its own.
const DISK_FAIL: u64 = 256 << 20;

/// Below this there is little room for images.
const DISK_WARN: u64 = 2 << 30;

/// Where distributions have the profile that podman and others use.
const SECCOMP_PROFILES: &[&str] = &[
    "/etc/containers/seccomp.json",
    "/usr/share/containers/seccomp.json",
];

pub(super) fn machine(config: &Config) -> Vec<Check> {
    vec![
        root(),
        cgroups(),
        overlay(&config.state_dir),
        network(),
        users(&config.run_dir),
        cni(config),
        mounts(),
        seccomp(),
    ]
}

pub(super) fn places(config: &Config) -> Vec<Check> {
    vec![
        disk(&config.state_dir),
        images(config),
        run_dir(&config.run_dir),
        socket(&config.socket),
    ]
}

fn root() -> Check {
    let uid = geteuid();
    if uid.is_root() {
        Check::ok("root", "runs as root")
    } else {
        Check::fail("root", format!("runs as user {uid}"), "use root")
    }
}

fn cgroups() -> Check {
    const NAME: &str = "cgroups";
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers");
    let hybrid = Path::new("/sys/fs/cgroup/unified/cgroup.controllers");
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    // The root cgroup has no cgroup.kill, so any child shows it.
    let kill = |dir: &str| {
        let children = fs::read_dir(dir).into_iter().flatten().flatten();
        let mut children = children
            .map(|entry| entry.path())
            .filter(|path| path.is_dir());
        children
            .next()
            .map(|child| child.join("cgroup.kill").exists())
    };
    let (mode, kill) = if unified.exists() {
        ("v2", kill("/sys/fs/cgroup"))
    } else if hybrid.exists() {
        ("v1, hybrid", kill("/sys/fs/cgroup/unified"))
    } else if v1.exists() {
        ("v1", Some(false))
    } else {
        return Check::fail(
            NAME,
            "no cgroup hierarchy is mounted at /sys/fs/cgroup",
            "mount cgroup2 there",
        );
    };
    let how = match kill {
        Some(true) => ", with cgroup.kill",
        Some(false) => ", without cgroup.kill: processes are killed one by one",
        None => "",
    };
    Check::ok(NAME, format!("{mode}{how}"))
}

fn overlay(state_dir: &Path) -> Check {
    const NAME: &str = "overlayfs";
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mend = "root filesystems will be copies: slower, and more disk";
    if !known.lines().any(|line| line.ends_with("\toverlay")) {
        return Check::warn(NAME, "the kernel has no overlayfs (yet)", mend);
    }
    let dir = existing(state_dir);
    match statfs(&dir).map(|s| s.filesystem_type()) {
        Ok(OVERLAYFS_SUPER_MAGIC) => Check::warn(
            NAME,
            format!("{} is itself on overlayfs", dir.display()),
            format!("give a --state-dir on a disk, or {mend}"),
        ),
        Ok(_) => Check::ok(NAME, format!("can lie on {}", dir.display())),
        Err(e) => Check::warn(
            NAME,
            format!("{} can't be looked at: {e}", dir.display()),
            mend,
        ),
    }
}

fn network() -> Check {
    const NAME: &str = "netns";
    if !Path::new("/proc/self/ns/net").exists() {
        return Check::fail(
            NAME,
            "the kernel has no network namespaces",
            "use a kernel with CONFIG_NET_NS",
        );
    }
    Check::ok(NAME, "network namespaces")
}

/// Linux' version from which overlayfs takes layers with other ids.
const USERS_KERNEL: (u32, u32) = (5, 19);

/// What only `hostUsers: false` needs.
fn users(run_dir: &Path) -> Check {
    const NAME: &str = "user namespaces";
    let release = nix::sys::utsname::uname();
    let release = release.map(|name| name.release().to_string_lossy().into_owned());
    let release = release.unwrap_or_default();
    let warn = |found: String, mend: &str| {
        let found = format!("no `hostUsers: false`: {found}");
        Check::warn(NAME, found, mend)
    };
    if version(&release).is_some_and(|version| version < USERS_KERNEL) {
        let found = format!("Linux {release} is older than 5.19");
        return warn(found, "use a newer kernel");
    }
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    if matches!(most.trim(), "" | "0") {
        let found = "the kernel makes no user namespaces".to_owned();
        return warn(found, "raise the sysctl user.max_user_namespaces");
    }
    let way = fs::canonicalize(existing(run_dir)).and_then(|real| closed_above(&real));
    match way {
        Ok(Some(closed)) => {
            let found = format!("{} lets not everybody pass", closed.display());
            warn(found, "`chmod o+x` it, or choose another --run-dir")
        }
        _ => Check::ok(NAME, format!("Linux {release}, {} of them", most.trim())),
    }
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What instances are connected by: plugins, configuration, iptables.
fn cni(config: &Config) -> Check {
    const NAME: &str = "network";
    let network = NetworkConfig::of(&config.network, config.deadlines.runtime);
    if !network.enabled {
        return Check::ok(NAME, "network.enabled is false: instances have only lo");
    }
    match lack::missing(&network) {
        Some(Lack::Plugin(why)) => {
            let found = format!("instances have only lo: {why}");
            let mend = "install containernetworking-plugins, or set network.enabled = false";
            return Check::warn(NAME, found, mend);
        }
        Some(Lack::List { dir, why }) => {
            let found = format!("new instances wait: {why}");
            let mend = format!(
                "mend the first *.conflist, *.conf or *.json by name in {}; or unset \
                 network.conf_dir, or set network.enabled = false",
                dir.display()
            );
            return Check::warn(NAME, found, mend);
        }
        None => {}
    }
    if super::programs::lookup(Path::new("iptables")).is_none() {
        return Check::warn(
            NAME,
            "there is no iptables, which CNI's bridge and portmap run",
            "install iptables",
        );
    }
    let whose = match &network.conf_dir {
        Some(dir) => format!("the first list in {}", dir.display()),
        None => "riklet's own bridge".to_owned(),
    };
    Check::ok(NAME, format!("CNI plugins and iptables are there; {whose}"))
}

fn mounts() -> Check {
    const NAME: &str = "mount namespace";
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt"));
    match (of("self"), of("1")) {
        (Ok(own), Ok(init)) if own == init => Check::ok(NAME, "shared with init"),
        (Ok(_), Ok(_)) => Check::fail(
            NAME,
            "private: the next riklet would not see this one's mounts",
            "start riklet outside of it (no PrivateTmp, PrivateMounts, unshare), or allow it by \
             --allow-private-mounts",
        ),
        _ => Check::warn(
            NAME,
            "can't be compared with init's",
            "see that riklet doesn't run in one of its own",
        ),
    }
}

fn seccomp() -> Check {
    const NAME: &str = "seccomp";
    if !Path::new("/proc/sys/kernel/seccomp").exists() {
        return Check::warn(
            NAME,
            "the kernel has no seccomp: containers may call everything",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        );
    }
    match SECCOMP_PROFILES
        .iter()
        .find(|path| Path::new(path).exists())
    {
        Some(path) => Check::ok(NAME, format!("profile {path}")),
        None => Check::warn(
            NAME,
            "no profile in /etc/containers or /usr/share/containers",
            "install containers-common (golang-github-containers-common on Debian)",
        ),
    }
}

/// The directory, or the nearest one above it that is there.
fn existing(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|dir| dir.exists());
    there.map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

fn disk(state_dir: &Path) -> Check {
    const NAME: &str = "disk";
    let dir = existing(state_dir);
    let mend = "free some, or give a --state-dir elsewhere";
    let Ok(stat) = statvfs(&dir) else {
        return Check::fail(NAME, format!("{} can't be looked at", dir.display()), mend);
    };
    #[allow(
        clippy::useless_conversion,
        reason = "of another width on 32 bit machines"
    )]
    let free = u64::from(stat.blocks_available()) * u64::from(stat.fragment_size());
    #[allow(clippy::useless_conversion, reason = "as above")]
    let inodes = u64::from(stat.files_available());
    let has_inodes = stat.files() > 0;
    let found = format!("{} MiB free for {}", free >> 20, state_dir.display());
    if free < DISK_FAIL {
        Check::fail(NAME, found, mend)
    } else if has_inodes && inodes < 10_000 {
        Check::fail(NAME, format!("{found}, but only {inodes} inodes"), mend)
    } else if free < DISK_WARN {
        Check::warn(NAME, found, mend)
    } else {
        Check::ok(NAME, found)
    }
}

/// What images take, and whether what nothing uses goes in time.
fn images(config: &Config) -> Check {
    const NAME: &str = "images";
    let dir = config.state_dir.join("snapshots");
    let inventory = match inventory(&dir) {
        Ok(inventory) => inventory,
        Err(e) => {
            let found = format!("{} can't be read: {e}", dir.display());
            return Check::warn(NAME, found, "use root");
        }
    };
    let taken = ImagesUse::of(&inventory, Fullness::of(&existing(&dir)).ok());
    let full = taken.full_percent.unwrap_or(0);
    let found = format!(
        "{} take {}; their filesystem is {full}% full",
        taken.images,
        size(taken.bytes)
    );
    let (high, low) = (config.images.gc_high_percent, config.images.gc_low_percent);
    if full >= high {
        let mend = format!(
            "images that nothing uses go until it is {low}% full: what is left is others'; free \
             some"
        );
        return Check::warn(NAME, found, mend);
    }
    Check::ok(
        NAME,
        format!("{found}, those that nothing uses go at {high}%"),
    )
}

fn run_dir(run_dir: &Path) -> Check {
    const NAME: &str = "run dir";
    let dir = existing(run_dir);
    let found = run_dir.display();
    match statfs(&dir).map(|s| s.filesystem_type()) {
        Ok(TMPFS_MAGIC) => Check::ok(NAME, format!("{found} is on a tmpfs")),
        _ => Check::warn(
            NAME,
            format!("{found} is not on a tmpfs: what it holds survives a reboot"),
            "give a --run-dir below /run",
        ),
    }
}

fn socket(socket: &Path) -> Check {
    const NAME: &str = "daemon";
    match UnixStream::connect(socket) {
        Ok(_) => Check::ok(NAME, format!("riklet answers at {}", socket.display())),
        Err(e) => Check::warn(
            NAME,
            format!("nobody answers at {}: {e}", socket.display()),
            "start `riklet run`",
        ),
    }
}
