//! What only the real node can show: kernels, mounts, monitors that die, runtimes that hang.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path, sync::mpsc, thread, time::Duration};

use riklet::{
    model::{
        ids::ContainerId,
        line::{Exit, Intent},
        observed::Status,
        spec::WorkloadSpec,
        state::Reason,
    },
    network::netns,
    node::{Change, CreateRequest, CreatedContainer, Failure, FailureKind, Node},
    runtime::{
        layout::{container_cgroup, monitor_cgroup, netns_name},
        process::identify,
        real_node::{ImageSource, RealNode},
    },
    testing::{
        contract::{ContractNode, eventually, fresh_id, sandbox, seen, until, workload},
        real_world::{BusyboxImage, RealWorld, SNAPSHOT},
    },
};

type RealBusybox = RealNode<BusyboxImage>;

fn shell(script: &str) -> WorkloadSpec {
    let mut workload = workload();
    workload.containers[0].command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    workload
}

async fn create<I: ImageSource>(
    node: &RealNode<I>,
    id: &ContainerId,
    workload: &WorkloadSpec,
) -> Result<CreatedContainer, Failure> {
    let own_network = !workload.host_network;
    sandbox(node, &id.uid, !own_network).await;
    let intent = Intent {
        container: id.clone(),
        snapshot: SNAPSHOT.to_owned(),
        netns: own_network.then(|| netns_name(&id.uid)),
    };
    let request = CreateRequest {
        intent: &intent,
        instance: "real-1",
        workload,
        addresses: &[],
        users: None,
    };
    node.create(request).await
}

async fn running(node: &RealBusybox, workload: &WorkloadSpec) -> ContainerId {
    let id = fresh_id();
    create(node, &id, workload).await.unwrap();
    node.start(&id).await.unwrap();
    id
}

/// Everything on this machine that bears the incarnation's name.
fn traces(world: &RealWorld, id: &ContainerId) -> Vec<String> {
    let layout = world.node.layout();
    let mut found = Vec::new();
    for path in [
        layout.pod(&id.uid),
        layout.runc_dir(id),
        layout.persist(id),
        layout.exit_file(id),
        netns::path(&netns_name(&id.uid)),
    ] {
        if path.symlink_metadata().is_ok() {
            found.push(path.display().to_string());
        }
    }
    for cgroup in [container_cgroup(id), monitor_cgroup(id)] {
        if world.cgroups.exists(&cgroup) {
            found.push(cgroup);
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let of_ours = mounts.lines().filter(|l| l.contains(id.uid.as_str()));
    found.extend(of_ours.map(str::to_owned));
    found
}

async fn removed(world: &RealWorld, id: &ContainerId) {
    world.node.remove(id).await.unwrap();
    world.node.remove_sandbox(&id.uid).await.unwrap();
    assert_eq!(traces(world, id), Vec::<String>::new());
}

fn log(node: &RealBusybox, id: &ContainerId) -> String {
    fs::read_to_string(node.layout().log_file(id)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_gets_what_the_definition_says_and_no_more() {
    let world = RealWorld::open().unwrap();
    let mut workload = shell(
        "echo $GREETING; cat /proc/self/status; cat /etc/hostname /proc/net/dev; \
         mount -t tmpfs x /sys && echo mounted; echo x > /written && echo wrote; \
         cat /proc/1/oom_score_adj; exit 5",
    );
    workload.host_network = false;
    workload.containers[0].env = vec![riklet::model::spec::EnvVar {
        name: "GREETING".into(),
        value: "hello there".into(),
        ..Default::default()
    }];
    let id = running(&world.node, &workload).await;
    let ended = until(&world.node, &id, |c| c.exit.is_some()).await;
    assert_eq!(ended.exit, Some(Exit::from_code(5, false)));
    let text = log(&world.node, &id);
    for part in [
        "stdout F hello there",
        "CapEff:\t00000000800405fb",
        "CapBnd:\t00000000800405fb",
        "CapAmb:\t0000000000000000",
        "CapInh:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "real-1",
        "F wrote",
        "F 1000",
        "lo:",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(!text.contains("mounted") && !text.contains("eth0:"));
    // Nothing was written to the snapshot.
    let layout = world.node.layout();
    assert!(layout.bundle(&id).join("upper/written").exists());
    assert!(
        !layout
            .state()
            .join("snapshots")
            .join(SNAPSHOT)
            .join("rootfs/written")
            .exists()
    );
    removed(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_read_although_the_monitor_was_killed() {
    let world = RealWorld::open().unwrap();
    let id = running(&world.node, &workload()).await;
    world.node.kill_monitor(&id);
    until(&world.node, &id, |c| !c.monitor).await;
    world.node.exit(&id, 43);
    let ended = until(&world.node, &id, |c| c.process.is_none()).await;
    assert_eq!(ended.exit, Some(Exit::from_code(43, false)));

    let killed = running(&world.node, &workload()).await;
    world.node.kill_monitor(&killed);
    until(&world.node, &killed, |c| !c.monitor).await;
    world.node.kill_container(&killed);
    let ended = until(&world.node, &killed, |c| c.process.is_none()).await;
    assert_eq!(ended.exit, Some(Exit::from_code(137, false)));
    removed(&world, &id).await;
    removed(&world, &killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_finds_everything_as_it_is() {
    let world = RealWorld::open().unwrap();
    let running_id = running(&world.node, &workload()).await;
    let ended_id = running(&world.node, &workload()).await;
    let created_id = fresh_id();
    create(&world.node, &created_id, &workload()).await.unwrap();
    world.node.exit(&ended_id, 9);
    until(&world.node, &ended_id, |c| c.exit.is_some() && !c.monitor).await;
    let before = world.node.observe_all().await.unwrap();

    let again = world.restarted().unwrap();
    again.sweep_work().await.unwrap();
    assert_eq!(again.observe_all().await.unwrap(), before);
    // What it adopts it also watches: no other event source tells of this end.
    again.kill_container(&running_id);
    let ended = until(&again, &running_id, |c| c.exit.is_some()).await;
    assert_eq!(ended.exit.and_then(|e| e.signal), Some(9));
    again.start(&created_id).await.unwrap();
    for id in [running_id, ended_id, created_id] {
        again.remove(&id).await.unwrap();
        again.remove_sandbox(&id.uid).await.unwrap();
        assert_eq!(traces(&world, &id), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_container_is_seen_killed_and_removed() {
    let world = RealWorld::open().unwrap();
    let pause = |id: &ContainerId| {
        let dir = Path::new("/sys/fs/cgroup/freezer");
        let rel = world.cgroups.cgroups_path(&container_cgroup(id));
        let (file, word) = if dir.exists() {
            (dir.join(&rel[1..]).join("freezer.state"), "FROZEN")
        } else {
            let dir = world.cgroups.tracking_dir(&container_cgroup(id));
            (dir.join("cgroup.freeze"), "1")
        };
        fs::write(file, word).unwrap();
    };
    let killed = running(&world.node, &workload()).await;
    pause(&killed);
    until(&world.node, &killed, |c| c.status == Status::Paused).await;
    world.node.signal(&killed, 9).await.unwrap();
    until(&world.node, &killed, |c| c.process.is_none()).await;
    let removed_id = running(&world.node, &workload()).await;
    pause(&removed_id);
    removed(&world, &removed_id).await;
    removed(&world, &killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_state_in_every_shape_is_no_obstacle_to_a_remove() {
    let world = RealWorld::open().unwrap();
    let layout = world.node.layout().clone();
    type Deed = (&'static str, fn(&Path));
    let deeds: [Deed; 4] = [
        ("no directory", |dir| fs::remove_dir_all(dir).unwrap()),
        ("an empty directory", |dir| {
            fs::remove_dir_all(dir).unwrap();
            fs::create_dir(dir).unwrap();
        }),
        ("an empty file", |dir| {
            fs::write(dir.join("state.json"), "").unwrap()
        }),
        ("half a file", |dir| {
            let text = fs::read(dir.join("state.json")).unwrap();
            fs::write(dir.join("state.json"), &text[..text.len() / 2]).unwrap();
        }),
    ];
    for (what, deed) in deeds {
        let id = running(&world.node, &workload()).await;
        let pid = seen(&world.node, &id).await.unwrap().process.unwrap().pid;
        deed(&layout.runc_dir(&id));
        assert_eq!(
            seen(&world.node, &id).await.unwrap().status,
            Status::Broken,
            "{what}"
        );
        removed(&world, &id).await;
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_the_runtime_refuses_says_why_and_leaves_nothing_running() {
    let world = RealWorld::open().unwrap();
    let mut workload = workload();
    workload.containers[0].command = vec!["/no/such/program".into()];
    let id = fresh_id();
    let failure = create(&world.node, &id, &workload).await.unwrap_err();
    let cause = std::error::Error::source(&failure).unwrap().to_string();
    assert!(cause.contains("no such file or directory"), "{cause}");
    assert!(!world.cgroups.populated(&monitor_cgroup(&id)));
    assert!(seen(&world.node, &id).await.unwrap().process.is_none());
    removed(&world, &id).await;

    let failure = world.node.start(&id).await.unwrap_err();
    assert!(failure.retryable());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_is_of_the_kind_that_its_mend_is() {
    let world = RealWorld::open().unwrap();
    let kind = |failure: Failure| failure.kind;
    let mut workload = workload();
    let id = fresh_id();
    workload.containers.clear();
    let failure = create(&world.node, &id, &workload).await.unwrap_err();
    assert_eq!(kind(failure), FailureKind::Permanent);
    removed(&world, &id).await;

    let intent = Intent {
        container: id.clone(),
        snapshot: "sha256-gone".into(),
        netns: None,
    };
    let workload = shell("true");
    let request = CreateRequest {
        intent: &intent,
        instance: "x",
        workload: &workload,
        addresses: &[],
        users: None,
    };
    let failure = world.node.create(request).await.unwrap_err();
    assert_eq!(kind(failure), FailureKind::SnapshotMissing);
    removed(&world, &id).await;

    let mut config = world.config.clone();
    config.programs.conmon = "no-such-conmon".into();
    let without = world.with(config).unwrap();
    let failure = create(&without, &id, &workload).await.unwrap_err();
    assert_eq!(kind(failure), FailureKind::ProgramMissing);
    removed(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_hangs_is_killed_with_its_monitor_at_the_deadline() {
    let world = RealWorld::open().unwrap();
    let mut config = world.config.clone();
    let hanging = world.config.run_dir.join("hanging-runc");
    fs::write(&hanging, "#!/bin/sh\nsleep 1000 & sleep 1000\n").unwrap();
    fs::set_permissions(
        &hanging,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    config.programs.runc = hanging;
    config.deadlines.create = Duration::from_millis(300);
    config.deadlines.call = Duration::from_millis(300);
    let node = world.with(config).unwrap();
    let id = fresh_id();
    let failure = create(&node, &id, &workload()).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hung);
    assert!(!world.cgroups.populated(""));
    removed(&world, &id).await;
    // Starting, too; and a remove needs no runtime that answers: it tells once that one hung,
    // and by then nothing is left.
    let id = fresh_id();
    create(&world.node, &id, &workload()).await.unwrap();
    let failure = node.start(&id).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hung);
    let failure = node.remove(&id).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hung);
    node.remove(&id).await.unwrap();
    removed(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_out_of_memory_kill_is_told_as_one() {
    let world = RealWorld::open().unwrap();
    // Until definitions have limits, the cgroup is limited from outside.
    let id = fresh_id();
    let eat = "while [ ! -s /exit ]; do sleep 0.02; done; x=a; while true; do x=$x$x; done";
    create(&world.node, &id, &shell(eat)).await.unwrap();
    let rel = world.cgroups.cgroups_path(&container_cgroup(&id));
    let v1 = Path::new("/sys/fs/cgroup/memory").join(&rel[1..]);
    if v1.exists() {
        fs::write(v1.join("memory.limit_in_bytes"), "16777216").unwrap();
    } else {
        let dir = world.cgroups.tracking_dir(&container_cgroup(&id));
        fs::write(dir.join("memory.max"), "16777216").unwrap();
    }
    world.node.start(&id).await.unwrap();
    world.node.exit(&id, 1);
    let ended = until(&world.node, &id, |c| c.exit.is_some()).await;
    let exit = ended.exit.unwrap();
    assert_eq!((exit.oom, exit.reason), (true, Some(Reason::OOMKilled)));
    removed(&world, &id).await;
}

/// A process of nobody's; dropping it ends it.
struct Stranger(std::process::Child);

impl Stranger {
    #[allow(clippy::disallowed_methods, reason = "nobody waits for a stranger")]
    fn new() -> Self {
        let sleeping = std::process::Command::new("sleep").arg("1000000").spawn();
        Self(sleeping.unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn is_alive(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_a_stranger_with_a_recorded_pid_is_never_signalled() {
    let world = RealWorld::open().unwrap();
    let layout = world.node.layout().clone();
    let stranger = Stranger::new();
    // The stranger's own start time, and the one that was recorded.
    for its_own in [true, false] {
        let id = running(&world.node, &workload()).await;
        let state = layout.runc_dir(&id).join("state.json");
        let mut record: serde_json::Value =
            serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
        let process = seen(&world.node, &id).await.unwrap().process.unwrap();
        record["init_process_pid"] = stranger.pid().into();
        if its_own {
            let start = identify(stranger.pid()).unwrap().start_time;
            record["init_process_start"] = start.into();
        }
        fs::write(&state, record.to_string()).unwrap();
        for file in ["pid", "conmon.pid"] {
            fs::write(layout.persist(&id).join(file), stranger.pid().to_string()).unwrap();
        }
        // Its own process lives, so it isn't over; and no other is taken for it.
        let found = seen(&world.node, &id).await.unwrap();
        assert_eq!((found.status, found.process), (Status::Broken, None));
        for signal in [15, 9] {
            world.node.signal(&id, signal).await.unwrap();
        }
        removed(&world, &id).await;
        assert!(!Path::new(&format!("/proc/{}", process.pid)).exists());
        assert!(stranger.is_alive(), "a stranger was signalled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_exit_files_that_is_removed_or_replaced_is_made_and_watched_again() {
    type Deed = fn(&Path);
    let deeds: [(&str, Deed); 3] = [
        ("removed", |dir| fs::remove_dir_all(dir).unwrap()),
        ("moved away", |dir| {
            fs::rename(dir, dir.with_extension("away")).unwrap();
        }),
        ("replaced", |dir| {
            fs::rename(dir, dir.with_extension("former")).unwrap();
            fs::create_dir(dir).unwrap();
        }),
    ];
    let world = RealWorld::open().unwrap();
    let exits = world.node.layout().exits();
    for (what, deed) in deeds {
        deed(&exits);
        // That it was removed is hinted at, as a look anywhere; in the daemon a resync comes soon.
        world.node.observe_all().await.unwrap();
        assert!(exits.is_dir(), "{what}");
        let id = fresh_id();
        let hinted = async {
            loop {
                let temporary = exits.join(format!("{id}.XXXXXX"));
                fs::write(&temporary, "37").unwrap();
                fs::rename(&temporary, exits.join(id.to_string())).unwrap();
                match world.node.changed().await {
                    Change::Instance(uid) if uid == id.uid => return,
                    // The removal's own, that came after the look.
                    _ => drop(world.node.observe_all().await.unwrap()),
                }
            }
        };
        let hinted = tokio::time::timeout(Duration::from_secs(30), hinted).await;
        assert!(hinted.is_ok(), "{what}: its exit file was not hinted at");
        removed(&world, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_reboot_the_exit_that_reached_the_disk_is_still_told() {
    let world = RealWorld::open().unwrap();
    let ended_id = running(&world.node, &workload()).await;
    let lost_id = running(&world.node, &workload()).await;
    world.node.exit(&ended_id, 12);
    until(&world.node, &ended_id, |c| c.exit.is_some()).await;
    // What a power cut does: no process, no cgroup, no mount, an empty /run; the disk stays.
    world
        .cgroups
        .clear("", Duration::from_secs(5))
        .await
        .unwrap();
    let layout = world.node.layout();
    for id in [&ended_id, &lost_id] {
        riklet::runtime::bundle::overlay::unmount_layer(&layout.bundle(id)).unwrap();
        riklet::network::pins::remove_all(&layout.namespaces(&id.uid)).unwrap();
        let _ = fs::remove_file(layout.exit_file(&lost_id));
    }
    fs::remove_dir_all(layout.run()).unwrap();

    let again = world.restarted().unwrap();
    let ended = seen(&again, &ended_id).await.unwrap();
    assert_eq!(
        (ended.status, ended.exit),
        (Status::Absent, Some(Exit::from_code(12, false)))
    );
    let lost = seen(&again, &lost_id).await.unwrap();
    assert_eq!((lost.status, lost.exit), (Status::Absent, None));
    removed(&world, &ended_id).await;
    removed(&world, &lost_id).await;
}

/// Who waits for an attempt may have one of few permits: they all come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_hangs_keeps_nobody_waiting_without_end_and_leaves_nothing() {
    let world = RealWorld::open().unwrap();
    let mut config = world.config.clone();
    config.deadlines.create = Duration::from_millis(500);
    config.deadlines.call = Duration::from_millis(500);
    let impatient = world.with(config).unwrap();
    let id = fresh_id();
    sandbox(&impatient, &id.uid, true).await;
    let (hang, (hung, hangs)) = (world.image.hang.clone(), mpsc::channel());
    let (mend, mended) = mpsc::channel::<()>();
    thread::spawn(move || {
        let _hung = hang.lock().unwrap();
        hung.send(()).unwrap();
        mended.recv()
    });
    hangs.recv().unwrap();
    let workload = workload();
    for _ in 0..2 {
        let made = create(&impatient, &id, &workload);
        let failure = tokio::time::timeout(Duration::from_secs(10), made).await;
        let failure = failure.unwrap().unwrap_err();
        assert!(failure.retryable(), "{failure:?}");
        let told = riklet::error_chain::one_line(&failure);
        assert!(told.contains("may hang"), "{told}");
    }
    let gone = tokio::time::timeout(Duration::from_secs(10), impatient.remove(&id)).await;
    assert!(gone.unwrap().unwrap_err().retryable());
    mend.send(()).unwrap();
    // What was begun comes to its end, and goes.
    let looked = || async { impatient.remove(&id).await.ok() };
    eventually(looked).await.unwrap();
    removed(&world, &id).await;
}
