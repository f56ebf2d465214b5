//! User namespaces on the real kernel: who is root inside and nobody on the node, whose the files
//! are, and what is said where it can't be had.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/pod.rs"]
mod pod;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::mount::{MsFlags, mount};
use pod::{create, own_users, pod, ran, ran_alone, removed, says, shell};
use riklet::{
    model::{
        ids::ContainerId,
        spec::{
            ContainerSpec, Errand, FileText, HostPathKind, InlineFile, Volume, VolumeMount,
            VolumeSource, WorkloadSpec,
        },
        users::IdRange,
    },
    node::{FailureKind, Node, SandboxRequest},
    testing::{
        contract::{fresh_id, seen, until},
        real_world::{RealWorld, SNAPSHOT},
    },
};

/// A pod of these containers with ids of its own.
fn own(containers: impl IntoIterator<Item = ContainerSpec>) -> WorkloadSpec {
    WorkloadSpec {
        host_users: false,
        ..pod(containers)
    }
}

fn volume(name: &str, source: VolumeSource) -> Volume {
    Volume {
        name: name.into(),
        source,
    }
}

fn empty(name: &str, memory: bool) -> Volume {
    let size_limit = None;
    volume(name, VolumeSource::Empty { memory, size_limit })
}

fn host_path(name: &str, path: &Path) -> Volume {
    let path = path.to_str().unwrap().to_owned();
    let kind = HostPathKind::Unchecked;
    volume(name, VolumeSource::HostPath { path, kind })
}

fn secret(name: &str) -> Volume {
    let file = InlineFile {
        path: "key".into(),
        mode: 0o400,
        text: FileText::Text("hunter2\n".into()),
    };
    let (files, secret) = (vec![file], true);
    volume(name, VolumeSource::Inline { files, secret })
}

fn at(volume: &str, path: &str, sub_path: &str) -> VolumeMount {
    VolumeMount {
        volume: volume.into(),
        path: path.into(),
        read_only: false,
        sub_path: sub_path.into(),
    }
}

/// A directory of the node, outside of everything that riklet has.
fn outside(world: &RealWorld, name: &str) -> PathBuf {
    let dir = world.config.run_dir.parent().unwrap().join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn tmpfs(at: &Path, flags: MsFlags) {
    let data = Some("size=1m,mode=755");
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, data).unwrap();
}

fn owner(path: impl AsRef<Path>) -> (u32, u32) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.gid())
}

fn ids(id: &ContainerId, workload: &WorkloadSpec) -> IdRange {
    own_users(&id.uid, workload).unwrap()
}

async fn pid(world: &RealWorld, id: &ContainerId) -> i32 {
    let container = seen(&world.node, id).await.unwrap();
    container.process.unwrap().pid
}

/// The user and group that a process is to the node.
fn on_node(pid: i32) -> (u32, u32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let first = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let word = line.unwrap().split_whitespace().next().unwrap();
        word.parse().unwrap()
    };
    (first("Uid:"), first("Gid:"))
}

#[tokio::test(flavor = "multi_thread")]
async fn root_inside_is_nobody_on_the_node_and_no_two_pods_have_an_id_in_common() {
    let world = RealWorld::open().unwrap();
    let workload = own([shell("exec sleep 1000")]);
    let (a, b) = (fresh_id(), fresh_id());
    for id in [&a, &b] {
        create(&world.node, id, &workload).await.unwrap();
        world.node.start(id).await.unwrap();
        let (pid, ids) = (pid(&world, id).await, ids(id, &workload));
        assert_eq!(on_node(pid), (ids.first(), ids.first()));
        for map in ["uid_map", "gid_map"] {
            let map = fs::read_to_string(format!("/proc/{pid}/{map}")).unwrap();
            let words: Vec<_> = map.split_whitespace().collect();
            assert_eq!(words, ["0", &ids.first().to_string(), "65536"]);
        }
        // Nothing that its root could do to the node's files, should it get out.
        let root = world.node.layout().root(id);
        assert_eq!(owner(&root).0, ids.first());
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);
    }
    assert!(!ids(&a, &workload).span().meets(ids(&b, &workload).span()));
    for id in [&a, &b] {
        removed(&world, id).await;
        assert!(!world.node.layout().root(id).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_root_inside_writes_is_roots_in_volumes_and_in_its_root_file_system() {
    let world = RealWorld::open().unwrap();
    let node_dir = outside(&world, "outside");
    fs::write(node_dir.join("theirs"), "of the node's root").unwrap();
    fs::create_dir(node_dir.join("sub")).unwrap();
    let mut container = shell(
        "id -u; for v in disk memory host deep/er; do touch /$v/made; done; \
         busybox ls -ln /disk/made /memory/made /host/made /host/theirs /deep/er/made /key/key \
            /bin/busybox /etc/passwd /etc/hosts /dev/termination-log | busybox cut -c1-35; \
         busybox ls -ldn / /etc /dev/shm | busybox cut -c1-35; \
         cat /key/key; echo '1.2.3.4 more' >> /etc/hosts && touch /made && echo all; \
         echo word > /dev/shm/word && cat /dev/shm/word; echo last > /dev/termination-log; exit 3",
    );
    container.mounts = vec![
        at("disk", "/disk", ""),
        at("memory", "/memory", ""),
        at("host", "/host", ""),
        at("host", "/deep/er", "sub"),
        at("secret", "/key", ""),
    ];
    let mut workload = own([container]);
    workload.volumes = vec![
        empty("disk", false),
        empty("memory", true),
        host_path("host", &node_dir),
        secret("secret"),
    ];
    let id = fresh_id();
    let (exit, said) = ran(&world, &id, &workload).await;
    assert_eq!(exit.code, Some(3), "{said}");
    assert_eq!(exit.message.as_deref(), Some("last\n"));
    let listed = said
        .lines()
        .filter(|line| line.contains("    1 ") || line.contains("drwx"));
    for line in listed.clone() {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[5..7], ["0", "0"], "{said}");
    }
    assert!(listed.count() >= 12, "{said}");
    says(&said, &["F 0\n", "hunter2", "F all", "F word"]);
    let layout = world.node.layout();
    let disk = layout.volumes(&id.uid).join("0/made");
    for made in [disk, node_dir.join("made"), node_dir.join("sub/made")] {
        assert_eq!(owner(&made), (0, 0), "{made:?}");
    }
    // Its own layer goes with it, and nobody else sees it: there it is what it is to the node.
    let first = ids(&id, &workload).first();
    assert_eq!(owner(layout.bundle(&id).join("upper/made")), (first, first));
    removed(&world, &id).await;
    assert_eq!(owner(node_dir.join("theirs")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_groups_sysctls_and_rights_inside_are_as_without() {
    let world = RealWorld::open().unwrap();
    let mut container = shell(
        "id -u; id -G; touch /disk/f && busybox ls -ln /disk/f; busybox grep CapEff \
         /proc/self/status; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmax; \
         busybox hostname; cat /sys/class/net/lo/address; busybox ls -d /dev/mqueue; \
         echo 1 > /proc/sys/kernel/panic || echo kept",
    );
    container.security.run_as_user = Some(1000);
    container.security.run_as_group = Some(3000);
    container.mounts = vec![at("disk", "/disk", "")];
    let mut root = shell("busybox grep CapEff /proc/self/status; chroot / true && echo chroot");
    root.name = "root".into();
    let mut workload = own([container, root]);
    workload.volumes = vec![empty("disk", false)];
    workload.security.fs_group = Some(2000);
    workload.security.supplemental_groups = vec![65_535];
    workload.security.sysctls = vec![
        ("net.core.somaxconn".into(), "77".into()),
        ("kernel.shmmax".into(), "123456".into()),
    ];
    workload.hostname = Some("inside".into());
    let id = fresh_id();
    let (_, said) = ran(&world, &id, &workload).await;
    says(
        &said,
        &[
            "F 1000\n",
            "F 3000 2000 65535\n",
            "1000     2000",
            "CapEff:\t0000000000000000",
            "F 77\n",
            "F 123456\n",
            "F inside\n",
            "F 00:00:00:00:00:00",
            "F /dev/mqueue",
            "F kept",
        ],
    );
    let other = ContainerId { n: 1, ..id.clone() };
    let (_, said) = ran(&world, &other, &workload).await;
    assert!(!said.contains("CapEff:\t0000000000000000"), "{said}");
    world.node.remove(&other).await.unwrap();
    removed(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_reached_by_exec_and_ends_by_its_memory_limit_as_any() {
    let world = RealWorld::open().unwrap();
    let id = fresh_id();
    let workload = own([shell("echo up > /up; exec sleep 1000")]);
    create(&world.node, &id, &workload).await.unwrap();
    world.node.start(&id).await.unwrap();
    let errand = |command: &str| Errand::Exec {
        command: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
    };
    let limit = Duration::from_secs(30);
    let look = errand("until test -f /up; do :; done; test $(id -u) = 0");
    let done = world.node.errand(&id, None, &look, limit).await.unwrap();
    assert!(done.ok, "{done:?}");
    let anew = errand("echo anew > /dev/stdout; exit 1");
    let done = world.node.errand(&id, None, &anew, limit).await.unwrap();
    assert!(done.message.contains("anew"), "{done:?}");
    let fails = errand("echo not here; exit 1");
    let done = world.node.errand(&id, None, &fails, limit).await.unwrap();
    assert!(!done.ok && done.message.contains("not here"), "{done:?}");
    // SIGTERM reaches it; another daemon sees it as it is.
    let again = world.restarted().unwrap();
    let there = seen(&again, &id).await.unwrap();
    assert_eq!(there.process, seen(&world.node, &id).await.unwrap().process);
    again.signal(&id, 9).await.unwrap();
    until(&world.node, &id, |c| c.exit.is_some()).await;
    removed(&world, &id).await;

    let mut greedy = shell("busybox dd if=/dev/zero of=/dev/null bs=128M count=1");
    greedy.resources.limits.memory = Some(32 << 20);
    let (exit, _) = ran_alone(&world, &own([greedy])).await;
    assert!(exit.oom, "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_output_can_be_opened_anew_and_its_terminal_is_one() {
    let world = RealWorld::open().unwrap();
    // As nginx' image has its logs: links to /dev/stdout and /dev/stderr.
    let mut plain = shell("echo out > /dev/stdout; echo err > /dev/stderr; cat /proc/self/fd/1 &");
    plain.stdin = true;
    let (_, said) = ran_alone(&world, &own([plain.clone()])).await;
    says(&said, &["stdout F out", "stderr F err"]);
    plain.security.run_as_user = Some(1000);
    let (_, said) = ran_alone(&world, &own([plain])).await;
    says(&said, &["stdout F out", "stderr F err"]);
    let mut terminal = shell("test -t 0 && test -t 1 && echo out > /dev/stdout; busybox tty");
    terminal.tty = true;
    terminal.stdin = true;
    let (_, said) = ran_alone(&world, &own([terminal])).await;
    says(&said, &["F out", "F /dev/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn procs_own_parameters_may_be_its_roots_and_never_the_nodes() {
    let world = RealWorld::open().unwrap();
    let before = fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    let mut open = shell(
        "echo 55 > /proc/sys/net/core/somaxconn && cat /proc/sys/net/core/somaxconn; \
         echo 77 > /proc/sys/kernel/panic || echo kept; busybox ls /proc/keys",
    );
    open.security.unmasked_proc = true;
    open.security.add = vec!["NET_ADMIN".into()];
    let (_, said) = ran_alone(&world, &own([open])).await;
    says(&said, &["F 55", "F kept", "/proc/keys"]);
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/panic").unwrap(),
        before
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volumes_own_mounts_and_locks_are_kept() {
    let world = RealWorld::open().unwrap();
    let dir = outside(&world, "locked");
    tmpfs(&dir, MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID);
    fs::create_dir(dir.join("below")).unwrap();
    fs::write(dir.join("script"), "#!/bin/sh\necho ran").unwrap();
    fs::set_permissions(dir.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut container = shell("touch /v/made && echo made; /v/script || echo noexec");
    container.mounts = vec![at("v", "/v", "")];
    let mut workload = own([container]);
    workload.volumes = vec![host_path("v", &dir)];
    let (_, said) = ran_alone(&world, &workload).await;
    says(&said, &["F made", "F noexec"]);
    assert_eq!(owner(dir.join("made")), (0, 0));

    // With a mount below it: that one's files are its root's, too.
    tmpfs(&dir.join("below"), MsFlags::empty());
    workload.containers[0].command[2] =
        "touch /v/made /v/below/made && busybox stat -c %u /v/below/made".into();
    let (_, said) = ran_alone(&world, &workload).await;
    says(&said, &["F 0"]);
    assert_eq!(owner(dir.join("below/made")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cant_have_other_ids_is_named_with_its_reason() {
    let world = RealWorld::open().unwrap();
    let plain = || own([shell("true")]);
    let mut on_proc = plain();
    on_proc.containers[0].mounts = vec![at("odd", "/odd", "")];
    on_proc.volumes = vec![host_path("odd", Path::new("/proc/sys/kernel"))];
    let said =
        |failure: riklet::node::Failure| (failure.kind, riklet::error_chain::one_line(&failure));

    let id = fresh_id();
    let failure = create(&world.node, &id, &on_proc).await.unwrap_err();
    let (kind, text) = said(failure);
    assert_eq!(kind, FailureKind::Transient, "the node's mounts may change");
    assert!(text.contains("\"odd\"") && text.contains("proc"), "{text}");
    removed(&world, &id).await;

    // An image's user that there isn't inside.
    let rootfs = world.node.layout().state().join("snapshots").join(SNAPSHOT);
    fs::write(
        rootfs.join("rootfs/etc/passwd"),
        "root:x:0:70000:root:/:/bin/sh\n",
    )
    .unwrap();
    let id = fresh_id();
    let (kind, text) = said(create(&world.node, &id, &plain()).await.unwrap_err());
    assert_eq!(kind, FailureKind::Permanent);
    assert!(
        text.contains("70000") && text.contains("runAsUser"),
        "{text}"
    );
    removed(&world, &id).await;
    let mut known = plain();
    known.containers[0].security.run_as_group = Some(0);
    ran_alone(&world, &known).await;

    // A directory on the way that isn't open.
    let above = world.config.run_dir.parent().unwrap();
    fs::set_permissions(above, fs::Permissions::from_mode(0o700)).unwrap();
    let id = fresh_id();
    let (kind, text) = said(create(&world.node, &id, &known).await.unwrap_err());
    assert_eq!(kind, FailureKind::Transient);
    let named = format!("{:?}", fs::canonicalize(above).unwrap());
    assert!(
        text.contains(&named) && text.contains("chmod o+x"),
        "{text}"
    );
    fs::set_permissions(above, fs::Permissions::from_mode(0o711)).unwrap();
    removed(&world, &id).await;
    ran_alone(&world, &known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_with_other_ids_is_made_anew_and_its_ids_are_known_to_be_taken() {
    let world = RealWorld::open().unwrap();
    let workload = own([shell("true")]);
    let (id, other) = (fresh_id(), fresh_id());
    let uid = &id.uid;
    let range = |k: u64| IdRange::at(65_536 * k);
    let sandbox = |users| SandboxRequest {
        uid,
        instance: "web-1@cli",
        workload: &workload,
        claim: None,
        users,
    };
    let namespace = || {
        fs::metadata(world.node.layout().user_namespace(uid))
            .unwrap()
            .ino()
    };
    world.node.ensure_sandbox(sandbox(range(9))).await.unwrap();
    let first = namespace();
    world.node.ensure_sandbox(sandbox(range(9))).await.unwrap();
    assert_eq!(namespace(), first, "it stands");
    world.node.ensure_sandbox(sandbox(range(10))).await.unwrap();
    assert_ne!(namespace(), first, "it has others");
    let taken = world.node.taken_ids(&other.uid).await.unwrap();
    assert!(taken.contains(&range(10).unwrap().span()), "{taken:?}");
    let own = world.node.taken_ids(uid).await.unwrap();
    assert!(!own.contains(&range(10).unwrap().span()), "{own:?}");
    // Without its user namespace it doesn't stand.
    riklet::network::pins::remove(&world.node.layout().user_namespace(uid)).unwrap();
    assert!(!world.node.observe(uid).await.unwrap().sandbox);
    world.node.remove_sandbox(uid).await.unwrap();
    let taken = world.node.taken_ids(&other.uid).await.unwrap();
    assert!(!taken.contains(&range(10).unwrap().span()), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_whose_bundle_is_gone_goes_at_the_next_start() {
    let world = RealWorld::open().unwrap();
    let (id, stays) = (fresh_id(), fresh_id());
    let workload = own([shell("exec sleep 1000")]);
    create(&world.node, &stays, &workload).await.unwrap();
    let root = world.node.layout().root(&id);
    fs::create_dir_all(root.join("rootfs")).unwrap();
    tmpfs(&root.join("rootfs"), MsFlags::empty());
    let again = world.restarted().unwrap();
    again.sweep_sandboxes().await.unwrap();
    assert!(!root.exists());
    assert!(world.node.layout().root(&stays).join("rootfs/bin").exists());
    removed(&world, &stays).await;
}
