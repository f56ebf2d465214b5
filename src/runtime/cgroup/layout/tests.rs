use super::*;

/// Recorded on the development machine (Debian 12 guest, kernel 6.18).
const HYBRID: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

/// As systemd of Debian 9 mounts it: joint hierarchies, optional fields, a named one with xattr.
const V1: &str = "\
25 19 0:21 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:7 - tmpfs tmpfs ro,mode=755
26 25 0:22 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:8 - cgroup cgroup rw,xattr,release_agent=/lib/systemd/systemd-cgroups-agent,name=systemd
29 25 0:25 / /sys/fs/cgroup/net_cls,net_prio rw,relatime shared:12 - cgroup cgroup rw,net_cls,net_prio
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:13 - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 / /sys/fs/cgroup/memory rw,relatime shared:14 - cgroup cgroup rw,memory
99 25 0:27 /docker/abc /mnt/again rw,relatime shared:14 - cgroup cgroup rw,memory
";

/// As systemd of Debian 12 mounts it.
const V2: &str = "\
24 30 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";

#[test]
fn hybrid_tracks_by_cgroup2_and_knows_every_controller() {
    let layout = Layout::parse(HYBRID);
    assert_eq!(layout.version(), Some(Version::Hybrid));
    assert_eq!(layout.tracking(), Some(Path::new("/sys/fs/cgroup/unified")));
    assert_eq!(
        layout.v1_with("memory"),
        Some(Path::new("/sys/fs/cgroup/memory"))
    );
    assert_eq!(layout.v1.len(), 7);
    let mounts = layout.mounts();
    assert_eq!(mounts.len(), 8);
    assert_eq!(mounts[0], Path::new("/sys/fs/cgroup/unified"));
}

#[test]
fn v1_tracks_by_the_named_hierarchy_and_a_second_mount_is_not_a_second_hierarchy() {
    let layout = Layout::parse(V1);
    assert_eq!(layout.version(), Some(Version::V1));
    assert_eq!(layout.tracking(), Some(Path::new("/sys/fs/cgroup/systemd")));
    assert_eq!(
        layout.v1_with("cpuacct"),
        Some(Path::new("/sys/fs/cgroup/cpu,cpuacct"))
    );
    assert_eq!(
        layout.v1_with("memory"),
        Some(Path::new("/sys/fs/cgroup/memory"))
    );
    assert_eq!(layout.mounts().len(), 4);
}

#[test]
fn v2_has_one_mount() {
    let layout = Layout::parse(V2);
    assert_eq!(layout.version(), Some(Version::V2));
    assert_eq!(layout.mounts(), [Path::new("/sys/fs/cgroup")]);
    assert_eq!(layout.v1_with("memory"), None);
}

#[test]
fn without_cgroups_there_is_no_version() {
    assert_eq!(Layout::parse("").version(), None);
    assert_eq!(Layout::parse("nonsense\n1 2 - cgroup\n").tracking(), None);
}

#[test]
fn a_mount_point_with_a_space_is_read_whole() {
    let layout = Layout::parse("1 2 0:1 / /a\\040b\\134 rw - cgroup2 cgroup2 rw\n");
    assert_eq!(layout.tracking(), Some(Path::new("/a b\\")));
}

#[test]
fn a_v1_machine_without_a_named_hierarchy_tracks_by_pids() {
    let layout = Layout::parse(
        "1 2 0:1 / /c/cpu rw - cgroup cgroup rw,cpu\n1 2 0:2 / /c/pids rw - cgroup cgroup rw,pids\n",
    );
    assert_eq!(layout.tracking(), Some(Path::new("/c/pids")));
}
