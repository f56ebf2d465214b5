//! What a container may do and use, on the real kernel: users, rights, limits, last words.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/pod.rs"]
mod pod;

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use pod::{create, pod, ran, ran_alone, removed, says, shell};
use riklet::{
    model::{
        spec::{
            EnvSource, EnvVar, MessagePolicy, Resource, Seccomp, Volume, VolumeMount, VolumeSource,
        },
        state::Reason,
    },
    node::{FailureKind, Node},
    testing::{
        contract::fresh_id,
        real_world::{RealWorld, SNAPSHOT},
    },
};

const MIB: u64 = 1 << 20;

/// Asks for 128 MiB at once, and touches them.
const GREEDY: &str = "busybox dd if=/dev/zero of=/dev/null bs=128M count=1";

fn rootfs(world: &RealWorld) -> PathBuf {
    let snapshots = world.node.layout().state().join("snapshots");
    snapshots.join(SNAPSHOT).join("rootfs")
}

/// A file of a v1 controller, or of cgroup2, below this node's parent.
fn cgroup_file(world: &RealWorld, rel: &str, controller: &str, v1: &str, v2: &str) -> String {
    let path = world.cgroups.cgroups_path(rel);
    let v1 = PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}/{v1}"));
    let v2 = world.cgroups.tracking_dir(rel).join(v2);
    let path = if v1.exists() { v1 } else { v2 };
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_told_where_it_runs_and_has_the_terminal_it_asks_for() {
    let world = RealWorld::open().unwrap();
    let mut plain = shell("busybox env; busybox readlink /proc/self/fd/0");
    let from = |name: &str, source| EnvVar {
        name: name.into(),
        from: Some(source),
        ..EnvVar::default()
    };
    let memory = EnvSource::Resource {
        container: 0,
        resource: Resource::Memory,
        limit: true,
        divisor: MIB,
    };
    plain.env = vec![
        from("NAME", EnvSource::Name),
        from("NODE", EnvSource::NodeName),
        from("ADDRESS", EnvSource::PodIp),
        from("MIB", memory),
    ];
    plain.resources.limits.memory = Some(64 * MIB);
    let mut terminal = shell("test -t 0 && test -t 1 && echo terminal");
    terminal.tty = true;
    terminal.stdin = true;
    let mut piped = shell("busybox readlink /proc/self/fd/0");
    piped.stdin = true;
    let (_, said) = ran_alone(&world, &pod([plain])).await;
    says(
        &said,
        &[
            "NAME=web-1\n",
            "NODE=real-node\n",
            "ADDRESS=10.9.8.7\n",
            "MIB=64\n",
            "/dev/null",
        ],
    );
    says(
        &ran_alone(&world, &pod([terminal])).await.1,
        &["F terminal"],
    );
    says(&ran_alone(&world, &pod([piped])).await.1, &["F pipe:"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_by_number_is_that_number_and_root_is_refused_where_it_may_not_be() {
    let world = RealWorld::open().unwrap();
    // An image whose user is called like another's number.
    fs::write(
        rootfs(&world).join("etc/passwd"),
        "1000:x:0:0:root:/root:/bin/sh\nuser:x:1000:100:u:/home/u:/bin/sh\n",
    )
    .unwrap();
    fs::write(rootfs(&world).join("etc/group"), "extra:x:55:user\n").unwrap();
    let mut container = shell("id; echo $HOME; cat /proc/self/status");
    container.security.run_as_user = Some(1000);
    container.security.run_as_non_root = true;
    let mut workload = pod([container]);
    workload.security.supplemental_groups = vec![77];
    workload.security.fs_group = Some(88);
    let (_, said) = ran_alone(&world, &workload).await;
    says(
        &said,
        &[
            "uid=1000(user) gid=100",
            "Groups:\t55 77 88",
            "F /home/u",
            "CapEff:\t0000000000000000",
        ],
    );
    workload.containers[0].security.run_as_group = Some(200);
    says(
        &ran_alone(&world, &workload).await.1,
        &["uid=1000(user) gid=200"],
    );

    workload.containers[0].security.run_as_user = None;
    let id = fresh_id();
    let refused = create(&world.node, &id, &workload).await.unwrap_err();
    assert_eq!(refused.kind, FailureKind::Permanent);
    let why = refused.source.unwrap().to_string();
    assert!(why.contains("would run as root"), "{why}");
    removed(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_what_the_definition_asks_for_by_name() {
    let world = RealWorld::open().unwrap();
    let mut container = shell(
        "cat /proc/self/status; echo x > /x || echo refused; \
         busybox mknod /dev/shm/n c 1 3 || echo unmade",
    );
    container.security.drop = vec!["ALL".into()];
    container.security.add = vec!["NET_RAW".into()];
    container.security.read_only_root = true;
    let (_, said) = ran_alone(&world, &pod([container.clone()])).await;
    says(
        &said,
        &[
            "CapBnd:\t0000000000002000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "F refused",
            "F unmade",
        ],
    );
    container.security.allow_privilege_escalation = Some(true);
    container.security.seccomp = Seccomp::Unconfined;
    let mut workload = pod([container]);
    workload.security.sysctls = vec![
        ("net.ipv4.ip_forward".into(), "0".into()),
        ("kernel.shmmax".into(), "12345678".into()),
    ];
    workload.containers[0].command[2] =
        "cat /proc/self/status /proc/sys/kernel/shmmax; echo 1 > /proc/sys/kernel/shmmax".into();
    let (_, said) = ran_alone(&world, &workload).await;
    says(
        &said,
        &[
            "NoNewPrivs:\t0",
            "Seccomp:\t0",
            "F 12345678",
            "Read-only file system",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_a_container_makes_is_no_way_to_the_node() {
    let world = RealWorld::open().unwrap();
    let mut container = shell(
        "for at in /v /tmp; do busybox mkdir -p $at; busybox mknod $at/mem c 1 1 && echo made; \
         cat $at/mem > /dev/null && echo READ; done; true",
    );
    container.security.add = vec!["MKNOD".into(), "SYS_RAWIO".into()];
    container.mounts = vec![VolumeMount {
        volume: "v".into(),
        path: "/v".into(),
        read_only: false,
        sub_path: String::new(),
    }];
    let mut workload = pod([container]);
    workload.volumes = vec![Volume {
        name: "v".into(),
        source: VolumeSource::Empty {
            memory: false,
            size_limit: None,
        },
    }];
    let (exit, said) = ran_alone(&world, &workload).await;
    assert_eq!(exit.code, Some(0));
    says(&said, &["F made"]);
    assert!(!said.contains("READ"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_container_has_the_nodes_devices_and_shares_what_it_asks_for() {
    let world = RealWorld::open().unwrap();
    let mut container = shell(
        "cat /proc/self/status; test -w /proc/sys/kernel/shmmax && echo writable; \
         test -c /dev/mem && echo mem; busybox readlink /proc/self/ns/pid; busybox readlink /proc/self/ns/ipc; \
         busybox mount -t tmpfs x /mnt 2>/dev/null || busybox mkdir /mnt; \
         busybox mount -t tmpfs x /mnt && echo mounted",
    );
    container.security.privileged = true;
    let mut workload = pod([container]);
    workload.host_pid = true;
    workload.host_ipc = true;
    let (_, said) = ran_alone(&world, &workload).await;
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let bounds = fs::read_to_string("/proc/self/status").unwrap();
    let bounds = bounds.lines().find(|l| l.starts_with("CapBnd")).unwrap();
    says(
        &said,
        &[
            &bounds.replace("CapBnd", "CapEff"),
            "NoNewPrivs:\t0",
            "Seccomp:\t0",
            "F writable",
            "F mounted",
            own("pid").to_str().unwrap(),
            own("ipc").to_str().unwrap(),
        ],
    );
    assert_eq!(said.contains("F mem"), PathBuf::from("/dev/mem").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_requests_are_the_kernels() {
    let world = RealWorld::open().unwrap();
    let mut container = shell("cat /proc/self/oom_score_adj");
    container.resources.limits.cpu_milli = Some(250);
    container.resources.limits.memory = Some(64 * MIB);
    container.resources.requests = container.resources.limits;
    let mut second = container.clone();
    second.name = "second".into();
    let workload = pod([container, second]);
    let id = fresh_id();
    let (_, said) = ran(&world, &id, &workload).await;
    // Lowering it takes a right that this machine may not give.
    assert!(said.contains("F -997") || said.contains("F 0"), "{said}");
    let own = format!("pods/{}/0-1", id.uid);
    let above = format!("pods/{}", id.uid);
    for (rel, memory, shares, quota) in [(&own, 64, 256, 25_000), (&above, 128, 512, 50_000)] {
        let bytes = cgroup_file(&world, rel, "memory", "memory.limit_in_bytes", "memory.max");
        assert_eq!(bytes, (memory * MIB).to_string(), "{rel}");
        if PathBuf::from("/sys/fs/cgroup/cpu").exists() {
            let file = |name: &str| cgroup_file(&world, rel, "cpu", name, name);
            assert_eq!(file("cpu.shares"), shares.to_string(), "{rel}");
            assert_eq!(file("cpu.cfs_quota_us"), quota.to_string(), "{rel}");
        }
    }
    removed(&world, &id).await;
    let said = ran_alone(&world, &pod([shell("cat /proc/self/oom_score_adj")]))
        .await
        .1;
    says(&said, &["F 1000"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s21_a_kill_for_memory_is_told_whoever_was_killed() {
    let world = RealWorld::open().unwrap();
    let limited = |script: String| {
        let mut container = shell(&script);
        container.resources.limits.memory = Some(32 * MIB);
        pod([container])
    };
    let (main, _) = ran_alone(&world, &limited(format!("exec {GREEDY}"))).await;
    assert_eq!((main.code, main.signal), (Some(137), Some(9)));
    assert_eq!((main.oom, main.reason), (true, Some(Reason::OOMKilled)));
    // A child was killed, and the container failed by itself.
    let (child, _) = ran_alone(&world, &limited(format!("{GREEDY}; exit 3"))).await;
    assert_eq!((child.code, child.oom), (Some(3), true));
    assert_eq!(child.reason, Some(Reason::OOMKilled));
    // A child was killed, and the container is well all the same.
    let (well, _) = ran_alone(&world, &limited(format!("{GREEDY}; exit 0"))).await;
    assert_eq!((well.code, well.oom, well.reason), (Some(0), true, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_containers_together_have_no_more_memory_than_their_limits() {
    let world = RealWorld::open().unwrap();
    // Its own limit would let it, the incarnation's not: half of it is an init container's.
    let mut container = shell(&format!("{GREEDY}; exit 3"));
    container.resources.limits.memory = Some(32 * MIB);
    let workload = pod([container]);
    let id = fresh_id();
    create(&world.node, &id, &workload).await.unwrap();
    let own = world.cgroups.cgroups_path(&format!("pods/{}/0-1", id.uid));
    for file in ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"] {
        let path = format!("/sys/fs/cgroup/memory{own}/{file}");
        if PathBuf::from(&path).exists() {
            fs::write(path, (512 * MIB).to_string()).unwrap();
        }
    }
    world.node.start(&id).await.unwrap();
    let ended = riklet::testing::contract::until(&world.node, &id, |c| c.exit.is_some()).await;
    let exit = ended.exit.unwrap();
    assert_eq!((exit.code, exit.reason), (Some(3), Some(Reason::OOMKilled)));
    removed(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_words_are_kept_and_lead_nowhere() {
    let world = RealWorld::open().unwrap();
    let (exit, _) = ran_alone(&world, &pod([shell("echo done > /dev/termination-log")])).await;
    assert_eq!(exit.message.as_deref(), Some("done\n"));

    // It can neither be replaced by a link nor grow past what is read of it.
    let mut hostile = shell(
        "busybox rm -f /etc/why; busybox ln -sf /etc/shadow /etc/why; \
         busybox dd if=/dev/zero bs=1M count=2 | busybox tr '\\0' x > /etc/why; exit 1",
    );
    hostile.termination_message_path = Some("/etc/why".into());
    let (exit, _) = ran_alone(&world, &pod([hostile])).await;
    assert_eq!(exit.message, Some("x".repeat(4096)));

    let mut silent = shell("echo first; echo last >&2; exit 1");
    silent.termination_message_policy = MessagePolicy::FallbackToLogsOnError;
    let (exit, _) = ran_alone(&world, &pod([silent.clone()])).await;
    assert_eq!(exit.message.as_deref(), Some("first\nlast"));
    silent.command[2] = "echo fine".into();
    let (exit, _) = ran_alone(&world, &pod([silent])).await;
    assert_eq!(exit.message, None);

    // An image whose path leads out: the file is made inside.
    let root = rootfs(&world);
    symlink("/../../../../../../../../etc", root.join("out")).unwrap();
    let mut led = shell("echo in > /etc/riklet-test-words; exit 1");
    led.termination_message_path = Some("/out/riklet-test-words".into());
    let (exit, _) = ran_alone(&world, &pod([led])).await;
    assert_eq!(exit.message.as_deref(), Some("in\n"));
    assert!(!PathBuf::from("/etc/riklet-test-words").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cant_be_had_is_refused_for_good_with_its_reason() {
    let world = RealWorld::open().unwrap();
    let mut profile = pod([shell("true")]);
    fs::create_dir_all(world.node.layout().profiles()).unwrap();
    fs::write(world.node.layout().profiles().join("bad"), "{").unwrap();
    profile.containers[0].security.seccomp = Seccomp::Localhost("bad".into());
    let mut node_wide = pod([shell("true")]);
    node_wide.host_network = true;
    node_wide.security.sysctls = vec![("net.core.somaxconn".into(), "1".into())];
    let mut unknown = pod([shell("true")]);
    unknown.containers[0].security.add = vec!["FLY".into()];
    for (workload, word) in [
        (profile, "system calls"),
        (node_wide, "config.json"),
        (unknown, "FLY"),
    ] {
        let id = fresh_id();
        let refused = create(&world.node, &id, &workload).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Permanent, "{word}");
        let why = refused.source.unwrap().to_string();
        assert!(why.contains(word), "{word}: {why}");
        removed(&world, &id).await;
    }
}
