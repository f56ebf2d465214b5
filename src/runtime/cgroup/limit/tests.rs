#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::runtime::cgroup::Layout;

const LIMITS: PodLimits = PodLimits {
    shares: 512,
    cpu_milli: Some(1500),
    memory: Some(64 << 20),
};

fn cgroups(mountinfo: &str) -> Cgroups {
    Cgroups::from_layout(Layout::parse(mountinfo), "/riklet-x").unwrap()
}

#[test]
fn a_pod_has_its_limits_in_every_hierarchy_of_v1() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    let mountinfo = format!(
        "30 25 0:26 / {root}/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
         31 25 0:27 / {root}/memory rw shared:9 - cgroup cgroup rw,memory\n\
         32 25 0:28 / {root}/unified rw shared:9 - cgroup2 cgroup2 rw\n"
    );
    let cgroups = cgroups(&mountinfo);
    cgroups.limit("pods/u", &LIMITS).unwrap();
    let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
    assert_eq!(read("cpu/riklet-x/pods/u/cpu.shares"), "512");
    assert_eq!(read("cpu/riklet-x/pods/u/cpu.cfs_quota_us"), "150000");
    assert_eq!(read("cpu/riklet-x/pods/u/cpu.cfs_period_us"), "100000");
    assert_eq!(
        read("memory/riklet-x/pods/u/memory.limit_in_bytes"),
        "67108864"
    );
    assert!(!cgroups.counts_swap());
    fs::write(dir.path().join("memory/memory.memsw.limit_in_bytes"), "").unwrap();
    assert!(cgroups.counts_swap());
}

#[test]
fn a_pod_has_its_limits_in_v2() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    let cgroups = cgroups(&format!(
        "30 25 0:26 / {root} rw shared:9 - cgroup2 cgroup2 rw\n"
    ));
    cgroups.limit("pods/u", &LIMITS).unwrap();
    let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
    assert_eq!(read("riklet-x/pods/u/cpu.weight"), "20");
    assert_eq!(read("riklet-x/pods/u/cpu.max"), "150000 100000");
    assert_eq!(read("riklet-x/pods/u/memory.max"), "67108864");
    for above in ["", "riklet-x/", "riklet-x/pods/"] {
        assert_eq!(read(&format!("{above}cgroup.subtree_control")), "+memory");
    }
    assert!(
        !dir.path()
            .join("riklet-x/pods/u/cgroup.subtree_control")
            .exists()
    );
    assert!(!cgroups.counts_swap());
}
