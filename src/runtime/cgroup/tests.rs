use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::runtime::{
    process::{Call, Child, Detached, Spawner, identify},
    reaper::Reaper,
};

const LIMIT: Duration = Duration::from_secs(5);

/// A cgroup parent of its own, which must be gone in the end.
struct Ground {
    cgroups: Cgroups,
    spawner: Spawner,
}

impl Ground {
    fn new(name: &str) -> Self {
        let cgroups = Cgroups::detect(&format!("/riklet-c{}{name}", std::process::id())).unwrap();
        Self::of(cgroups)
    }

    /// As on a machine without cgroup2: no `cgroup.kill`, no `populated`.
    fn v1(name: &str) -> Option<Self> {
        let mut layout = Self::layout();
        layout.v2 = None;
        let parent = format!("/riklet-c{}{name}", std::process::id());
        Some(Self::of(Cgroups::from_layout(layout, &parent).ok()?))
    }

    fn of(cgroups: Cgroups) -> Self {
        let spawner = Spawner::new(Reaper::start().unwrap(), cgroups.clone());
        Self { cgroups, spawner }
    }

    fn layout() -> Layout {
        Layout::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap())
    }

    /// A shell in the tracking cgroup `rel`, and in `rel` of those mounts too.
    fn shell(&self, rel: &str, also: &[&Path], script: &str) -> Child {
        let mut all = String::new();
        for mount in also {
            let dir = self.cgroups.dir(mount, rel);
            fs::create_dir_all(&dir).unwrap();
            all.push_str(&format!("echo 0 > {}/cgroup.procs; ", dir.display()));
        }
        let mut call = Detached::new("/bin/sh", rel);
        call.args = vec!["-c".into(), (all + script).into()];
        self.spawner.detach(call).unwrap()
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < LIMIT, "{what}");
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let began = Instant::now();
        while self.cgroups.exists("") && began.elapsed() < LIMIT {
            let _ = self.cgroups.kill_now("");
            let _ = self.cgroups.remove("");
        }
        assert!(std::thread::panicking() || !self.cgroups.exists(""));
    }
}

#[test]
fn a_parent_that_is_no_plain_absolute_path_is_refused() {
    for bad in ["", "/", "riklet", "/a/../b", "/.."] {
        let e = Cgroups::from_layout(Ground::layout(), bad).unwrap_err();
        assert!(matches!(e, CgroupError::Parent(_)), "{bad}");
    }
    let none = Cgroups::from_layout(Layout::default(), "/riklet-x").unwrap_err();
    assert!(matches!(none, CgroupError::NoHierarchy));
}

#[test]
fn no_relative_path_leads_out_of_the_parent() {
    let cgroups = Cgroups::detect("/riklet-x").unwrap();
    let parent = cgroups.tracking_dir("");
    for rel in ["../y", "/etc", "a/../../b", "./c"] {
        assert!(cgroups.tracking_dir(rel).starts_with(&parent), "{rel}");
        assert!(
            !cgroups.tracking_dir(rel).to_string_lossy().contains(".."),
            "{rel}"
        );
    }
    assert_eq!(cgroups.cgroups_path("pods/u/0-1"), "/riklet-x/pods/u/0-1");
}

#[tokio::test]
async fn what_was_never_made_is_empty_killed_and_removed() {
    let ground = Ground::new("none");
    let cgroups = &ground.cgroups;
    assert!(!cgroups.populated("pods/a") && !cgroups.exists("pods/a"));
    assert_eq!(cgroups.pids("pods/a"), [0_i32; 0]);
    assert_eq!(cgroups.children("pods"), [""; 0]);
    cgroups.kill_and_wait("pods/a", LIMIT).await.unwrap();
    cgroups.remove("pods/a").unwrap();
    assert_eq!(cgroups.usage("pods/a"), None);
}

#[tokio::test]
async fn a_living_cgroup_is_populated_and_not_removed() {
    let ground = Ground::new("busy");
    let mut child = ground.shell("pods/u/0-1", &[], "exec sleep 100");
    assert!(ground.cgroups.populated("pods/u") && ground.cgroups.populated("pods"));
    assert_eq!(ground.cgroups.pids("pods"), [child.process.pid]);
    assert_eq!(ground.cgroups.children("pods/u"), ["0-1"]);
    assert!(ground.cgroups.remove("pods/u").is_err());
    ground.cgroups.kill_and_wait("pods/u", LIMIT).await.unwrap();
    assert!(!ground.cgroups.populated("pods/u"));
    child.exit.wait().await.unwrap();
    ground.cgroups.remove("pods/u").unwrap();
    assert!(!ground.cgroups.exists("pods/u") && ground.cgroups.exists("pods"));
}

#[tokio::test]
async fn a_frozen_container_is_thawed_to_be_killed() {
    let ground = Ground::new("frozen");
    let layout = Ground::layout();
    let freezer: Vec<&Path> = layout.v1_with("freezer").into_iter().collect();
    let script = "sleep 100 & sleep 100 & wait";
    let mut child = ground.shell("pods/u/0-1", &freezer, script);
    let cgroups = &ground.cgroups;
    let all = || cgroups.pids("pods/u/0-1").len() == 3;
    ground.until("three processes", all).await;
    let (dir, file, word) = match freezer.first() {
        Some(mount) => (cgroups.dir(mount, "pods/u/0-1"), "freezer.state", "FROZEN"),
        None => (cgroups.tracking_dir("pods/u/0-1"), "cgroup.freeze", "1"),
    };
    // Frozen from above: the leaf's own state says so too.
    fs::write(dir.parent().unwrap().join(file), word).unwrap();
    ground.until("frozen", || cgroups.frozen("pods/u")).await;
    cgroups.kill_and_wait("pods/u", LIMIT).await.unwrap();
    assert_eq!(child.exit.wait().await.unwrap().code(), None);
    cgroups.remove("pods").unwrap();
    assert!(!cgroups.exists("pods"));
}

#[tokio::test]
async fn a_container_that_is_not_in_the_tracking_hierarchy_is_found_and_killed() {
    let ground = Ground::new("astray");
    let layout = Ground::layout();
    let Some(pids) = layout.v1_with("pids") else {
        return; // On v2 there is nowhere else to be.
    };
    let cgroups = &ground.cgroups;
    // It enters `other` in tracking, and `pods/u/0-1` in v1 only.
    let dir = cgroups.dir(pids, "pods/u/0-1");
    fs::create_dir_all(&dir).unwrap();
    let script = format!("echo 0 > {}/cgroup.procs; exec sleep 100", dir.display());
    let mut child = ground.shell("other", &[], &script);
    ground.until("astray", || cgroups.populated("pods/u")).await;
    assert!(!cgroups.tracking_dir("pods").exists());
    cgroups.kill_and_wait("pods/u", LIMIT).await.unwrap();
    child.exit.wait().await.unwrap();
    cgroups.remove("pods").unwrap();
}

#[tokio::test]
async fn without_cgroup_kill_a_forking_tree_is_ended_by_signals() {
    let Some(ground) = Ground::v1("v1") else {
        return; // A machine without v1.
    };
    assert_eq!(ground.cgroups.version(), Version::V1);
    // It goes on forking while it is killed.
    let script = "f() { while :; do sleep 100 & sleep 0.02; done; }; \
                  f & f & f & setsid sleep 100 & wait";
    let mut child = ground.shell("pods/u/0-1", &[], script);
    let cgroups = &ground.cgroups;
    let many = || cgroups.pids("pods/u").len() > 6;
    ground.until("a tree", many).await;
    assert!(cgroups.populated("pods/u"));
    cgroups.clear("pods/u", LIMIT).await.unwrap();
    child.exit.wait().await.unwrap();
    assert!(!cgroups.exists("pods/u"));
}

#[tokio::test]
async fn riklet_does_not_kill_itself() {
    let ground = Ground::new("own");
    ground.cgroups.create("pods/u").unwrap();
    let procs = ground.cgroups.tracking_dir("pods/u").join("cgroup.procs");
    let own = std::process::id().to_string();
    // Where we were before, in the tracking hierarchy; to go back there.
    let cgroup = fs::read_to_string("/proc/self/cgroup").unwrap();
    let before = cgroup
        .lines()
        .find_map(|l| l.strip_prefix("0::/"))
        .unwrap_or("");
    let root = ground.cgroups.0.tracking.join(before).join("cgroup.procs");
    fs::write(&procs, &own).unwrap();
    let refused = ground.cgroups.kill_now("");
    fs::write(root, &own).unwrap();
    assert!(matches!(refused, Err(CgroupError::Own(_))), "{refused:?}");
}

/// A bundle that runs busybox; `resources` as in config.json.
fn bundle(cgroups_path: &str, script: &str, resources: &serde_json::Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("rootfs/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for name in ["sh", "sleep", "tail"] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|t| json!({ "type": t }));
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["PATH=/bin"],
            "args": ["sh", "-c", script],
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] },
        ],
        "linux": {
            "namespaces": namespaces, "cgroupsPath": cgroups_path, "resources": resources,
        },
    });
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

fn runc(root: &Path, args: &[&str]) -> Call {
    Call::new("runc", LIMIT * 4)
        .arg("--root")
        .arg(root)
        .args(args.iter().copied())
        .verb(args[0])
}

#[tokio::test]
async fn a_real_container_leaves_the_calls_cgroup_is_measured_paused_killed_and_gone() {
    let ground = Ground::new("runc");
    let cgroups = &ground.cgroups;
    let rel = "pods/u/0-1";
    let resources = json!({ "memory": { "limit": 52_428_800 }, "pids": { "limit": 50 } });
    // It burns a little CPU, so that the measure has something to show.
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 100 & sleep 100 & wait";
    let bundle = bundle(&cgroups.cgroups_path(rel), script, &resources);
    let root = bundle.path().join("root");
    let id = format!("riklet-cg-{}", std::process::id());
    let run = runc(&root, &["run", "--detach", &id]).cwd(bundle.path());
    ground.spawner.call(run).await.unwrap();
    // The sweep after the call hasn't ended it: runc moved it to its own cgroup.
    let three = || cgroups.pids(rel).len() == 3;
    ground.until("three processes", three).await;
    assert!(cgroups.populated(rel));
    let usage = cgroups.usage(rel).unwrap();
    assert_eq!(usage.memory_limit, Some(52_428_800));
    assert_eq!(usage.pids, 3);
    assert!(usage.cpu_ns > 0 && usage.memory > 0, "{usage:?}");
    assert!(usage.working_set <= usage.memory && usage.oom_kills == 0);
    ground
        .spawner
        .call(runc(&root, &["pause", &id]))
        .await
        .unwrap();
    assert!(cgroups.frozen(rel));
    cgroups.kill_and_wait(rel, LIMIT).await.unwrap();
    ground
        .spawner
        .call(runc(&root, &["delete", &id]))
        .await
        .unwrap();
    assert!(!cgroups.exists(rel));
    cgroups.remove("pods/u").unwrap();
    assert!(!cgroups.exists("pods/u"));
}

#[tokio::test]
async fn a_kill_for_memory_is_counted_until_the_container_is_deleted() {
    let ground = Ground::new("oom");
    let cgroups = &ground.cgroups;
    let rel = "pods/u/0-1";
    let resources = json!({ "memory": { "limit": 16_777_216, "swap": 16_777_216 } });
    let bundle = bundle(
        &cgroups.cgroups_path(rel),
        "tail /dev/zero2; sleep 100",
        &resources,
    );
    // A device isn't needed: a file of zeroes without a newline that tail has to keep whole.
    let zero = fs::File::create(bundle.path().join("rootfs/zero")).unwrap();
    zero.set_len(1 << 30).unwrap();
    let config = bundle.path().join("config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("/dev/zero2", "-c 500000000 /zero")).unwrap();
    let root = bundle.path().join("root");
    let id = format!("riklet-oom-{}", std::process::id());
    let run = runc(&root, &["run", "--detach", &id]).cwd(bundle.path());
    ground.spawner.call(run).await.unwrap();
    ground
        .until("an oom kill", || cgroups.oom_kills(rel) >= 1)
        .await;
    assert!(cgroups.usage(rel).unwrap().oom_kills >= 1);
    cgroups.kill_and_wait(rel, LIMIT).await.unwrap();
    ground
        .spawner
        .call(runc(&root, &["delete", &id]))
        .await
        .unwrap();
    assert_eq!(cgroups.oom_kills(rel), 0);
}

/// Reads a file that another process writes, once there is something in it.
async fn text_of(ground: &Ground, path: &Path) -> String {
    let read = || fs::read_to_string(path).unwrap_or_default();
    ground
        .until("a file is written", || !read().trim().is_empty())
        .await;
    read().trim().to_owned()
}

#[tokio::test]
async fn a_containers_exit_is_read_also_after_its_monitor_was_killed() {
    let ground = Ground::new("conmon");
    let cgroups = &ground.cgroups;
    let (rel, monitor_rel) = ("pods/u/0-1", "monitors/u-0-1");
    let bundle = bundle(
        &cgroups.cgroups_path(rel),
        "trap 'exit 42' TERM; sleep 100 & wait",
        &json!({}),
    );
    let (dir, id) = (bundle.path(), format!("riklet-mon-{}", std::process::id()));
    let file = |name: &str| dir.join(name);
    let mut conmon = Detached::new("conmon", monitor_rel);
    let text = format!(
        "--api-version 1 -b {d} -c {id} -u {id} -n {id} -r /usr/sbin/runc --runtime-arg --root={d}/root \
         -P {d}/monitor.pid -p {d}/pid --persist-dir {d} --exit-dir {d} -l k8s-file:{d}/log \
         --full-attach --no-sync-log",
        d = dir.display()
    );
    conmon.args = text.split_whitespace().map(Into::into).collect();
    conmon.env = vec![("_OCI_SYNCPIPE".into(), "3".into())];
    conmon.cwd = Some(dir.to_owned());
    conmon.third = Some(fs::File::create(file("sync")).unwrap());
    let mut parent = ground.spawner.detach(conmon).unwrap();
    assert_eq!(parent.exit.wait().await.unwrap().code(), Some(0));
    let pid = |text: String| identify(text.parse().unwrap()).unwrap();
    let monitor = pid(text_of(&ground, &file("monitor.pid")).await);
    assert!(text_of(&ground, &file("sync")).await.contains("\"data\""));
    let init = pid(text_of(&ground, &file("pid")).await);
    // Each is in the cgroup that it is to be in, and in no other of ours.
    assert_eq!(cgroups.pids(monitor_rel), [monitor.pid]);
    assert_eq!(cgroups.pids(rel), [init.pid]);
    let start = runc(&file("root"), &["start", &id]);
    ground.spawner.call(start).await.unwrap();
    let reaper = ground.spawner.reaper();
    let (mut monitor_exit, mut init_exit) =
        (reaper.watch_orphan(monitor), reaper.watch_orphan(init));
    cgroups.kill_and_wait(monitor_rel, LIMIT).await.unwrap();
    assert_eq!(monitor_exit.wait().await.unwrap().code(), None);
    // The container lives on, and is our child now. Its trap has to be set before it is asked.
    assert!(cgroups.populated(rel));
    ground
        .until("asleep", || cgroups.pids(rel).len() == 2)
        .await;
    ground
        .spawner
        .call(runc(&file("root"), &["kill", &id, "TERM"]))
        .await
        .unwrap();
    let status = tokio::time::timeout(LIMIT, init_exit.wait()).await.unwrap();
    assert_eq!(status.unwrap().code(), Some(42));
    let delete = runc(&file("root"), &["delete", &id]);
    ground.spawner.call(delete).await.unwrap();
}
