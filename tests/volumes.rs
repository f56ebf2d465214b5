//! Volumes on the real kernel: what containers share, and what no trick of theirs reaches.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/pod.rs"]
mod pod;

use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
};

use nix::mount::{MsFlags, mount};
use pod::{create, pod, ran, ran_alone, removed, says, shell};
use riklet::{
    model::{
        ids::ContainerId,
        spec::{
            ContainerSpec, FileText, HostPathKind, InlineFile, Volume, VolumeMount, VolumeSource,
            WorkloadSpec,
        },
    },
    node::{FailureKind, Node},
    runtime::{tree, volumes},
    testing::{
        contract::fresh_id,
        real_world::{RealWorld, SNAPSHOT},
    },
};

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

fn inline(name: &str, secret: bool) -> Volume {
    let file = |path: &str, mode, text: &str| InlineFile {
        path: path.into(),
        mode,
        text: FileText::Text(text.into()),
    };
    let files = vec![
        file("app.conf", 0o644, "answer = 42\n"),
        file("keys/private", 0o400, "hunter2\n"),
    ];
    volume(name, VolumeSource::Inline { files, secret })
}

fn at(volume: &str, path: &str, sub_path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        volume: volume.into(),
        path: path.into(),
        read_only,
        sub_path: sub_path.into(),
    }
}

fn with(container: ContainerSpec, mounts: Vec<VolumeMount>, volumes: Vec<Volume>) -> WorkloadSpec {
    let mut workload = pod([ContainerSpec {
        mounts,
        ..container
    }]);
    workload.volumes = volumes;
    workload
}

/// A directory of the node, outside of everything that riklet has, with a file to keep.
fn outside(world: &RealWorld) -> PathBuf {
    let dir = world.config.run_dir.parent().unwrap().join("outside");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("kept"), "kept\n").unwrap();
    dir
}

fn kept(outside: &Path) {
    assert_eq!(fs::read(outside.join("kept")).unwrap(), b"kept\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_of_a_pod_share_its_volumes_and_keep_them_between_attempts() {
    let world = RealWorld::open().unwrap();
    let both = vec![
        at("disk", "/disk", "", false),
        at("memory", "/memory", "deep/er", false),
    ];
    let look = vec![at("disk", "/a", "", true), at("memory", "/b", "", true)];
    let mut first = shell("echo one >> /disk/f; echo two >> /memory/f; id -u");
    first.security.run_as_user = Some(1000);
    first.mounts = both;
    let mut second = shell("cat /a/f /b/deep/er/f; echo no > /a/x || echo no > /b/x || echo ro");
    second.mounts = look;
    let mut workload = pod([first, second]);
    workload.volumes = vec![empty("disk", false), empty("memory", true)];
    workload.security.fs_group = Some(4321);
    let id = fresh_id();
    let (exit, said) = ran(&world, &id, &workload).await;
    assert_eq!(exit.code, Some(0), "{said}");
    world.node.remove(&id).await.unwrap();
    let again = ContainerId {
        attempt: 2,
        ..id.clone()
    };
    ran(&world, &again, &workload).await;
    let other = ContainerId { n: 1, ..id.clone() };
    let (_, said) = ran(&world, &other, &workload).await;
    says(&said, &["F one", "F two", "F ro"]);
    assert_eq!(said.matches("F one").count(), 2);
    let file = volumes::place(world.node.layout(), &id.uid, 0).join("f");
    assert_eq!(fs::metadata(file).unwrap().gid(), 4321);
    for id in [again, other] {
        world.node.remove(&id).await.unwrap();
    }
    removed(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_files_are_there_to_read_and_nobodys_to_change() {
    let world = RealWorld::open().unwrap();
    let script = "cat /c/app.conf /s/keys/private /etc/app.conf; \
                  echo x > /c/app.conf || echo x > /s/new || echo x > /etc/app.conf || echo ro; \
                  busybox stat -c %a /s/keys/private; busybox stat -f -c %T /s";
    let mounts = vec![
        at("config", "/c", "", false),
        at("secret", "/s", "", false),
        at("config", "/etc/app.conf", "app.conf", false),
    ];
    let workload = with(
        shell(script),
        mounts,
        vec![inline("config", false), inline("secret", true)],
    );
    let (_, said) = ran_alone(&world, &workload).await;
    says(
        &said,
        &["answer = 42", "hunter2", "F ro", "F 400", "F tmpfs"],
    );
    assert_eq!(said.matches("answer = 42").count(), 2);
    // A path in it that isn't there is not made.
    let missing = vec![at("config", "/c", "none", false)];
    let workload = with(shell("true"), missing, vec![inline("config", false)]);
    let id = fresh_id();
    create(&world.node, &id, &workload).await.unwrap_err();
    removed(&world, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_path_is_the_nodes_and_outlives_everything() {
    let world = RealWorld::open().unwrap();
    let outside = outside(&world);
    let script = "cat /h/kept /one; echo new > /h/sub/new; echo x > /r/x || echo ro; true";
    let mounts = vec![
        at("dir", "/h", "", false),
        at("dir", "/r", "sub", true),
        at("dir", "/one", "kept", true),
    ];
    let workload = with(shell(script), mounts, vec![host_path("dir", &outside)]);
    let (exit, said) = ran_alone(&world, &workload).await;
    assert_eq!(exit.code, Some(0), "{said}");
    says(&said, &["kept", "F ro"]);
    assert!(outside.join("sub/new").exists() && !outside.join("sub/x").exists());
    kept(&outside);

    // What is mounted below it is seen too, and is no more to be written than the rest.
    let none = None::<&str>;
    let below = outside.join("sub");
    mount(Some("x"), &below, Some("tmpfs"), MsFlags::empty(), none).unwrap();
    fs::write(below.join("deep"), "deep\n").unwrap();
    let mounts = vec![at("dir", "/h", "", true)];
    let script = "cat /h/sub/deep; echo x > /h/sub/x || echo ro";
    let workload = with(shell(script), mounts, vec![host_path("dir", &outside)]);
    let (_, said) = ran_alone(&world, &workload).await;
    let untouched = below.join("deep").exists() && !below.join("x").exists();
    tree::unmount_below(&below).unwrap();
    says(&said, &["deep", "F ro"]);
    assert!(untouched);
    kept(&outside);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_leads_a_host_path_into_riklets_own_directories() {
    let world = RealWorld::open().unwrap();
    let outside = outside(&world);
    symlink(world.node.layout().pods(), outside.join("pods")).unwrap();
    let above = world.config.run_dir.parent().unwrap();
    for (place, sub_path) in [
        (world.config.state_dir.join("pods"), ""),
        (outside.join("pods"), ""),
        (above.to_owned(), "run"),
        (above.to_owned(), "outside/pods"),
    ] {
        let mounts = vec![at("own", "/own", sub_path, true)];
        let workload = with(shell("true"), mounts, vec![host_path("own", &place)]);
        let id = fresh_id();
        let refused = create(&world.node, &id, &workload).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Permanent, "{place:?} {sub_path}");
        removed(&world, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_in_a_volume_leads_a_mount_out_of_it() {
    let world = RealWorld::open().unwrap();
    let outside = outside(&world);
    let plant = with(
        shell(&format!(
            "busybox ln -s {0} /v/absolute; busybox ln -s /proc/1/root/etc /v/magic; \
             busybox ln -s ../../../../../../../../.. /v/up; busybox ln -s inside /v/fine; \
             busybox mkdir /v/inside",
            outside.display()
        )),
        vec![at("v", "/v", "", false)],
        vec![empty("v", false)],
    );
    let id = fresh_id();
    ran(&world, &id, &plant).await;
    world.node.remove(&id).await.unwrap();
    let mut attempt = 2;
    for bad in [
        "absolute",
        "absolute/sub",
        "magic",
        "up",
        "up/etc",
        "../v",
        "fine/../../x",
    ] {
        let led = with(
            shell("true"),
            vec![at("v", "/v", bad, false)],
            plant.volumes.clone(),
        );
        let next = ContainerId {
            attempt,
            ..id.clone()
        };
        let refused = create(&world.node, &next, &led).await.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Permanent, "{bad}");
        world.node.remove(&next).await.unwrap();
        attempt += 1;
    }
    let fine = with(
        shell("echo x > /v/x"),
        vec![at("v", "/v", "fine", false)],
        plant.volumes,
    );
    let next = ContainerId {
        attempt,
        ..id.clone()
    };
    ran(&world, &next, &fine).await;
    let place = volumes::place(world.node.layout(), &id.uid, 0);
    assert!(place.join("inside/x").exists());
    world.node.remove(&next).await.unwrap();
    removed(&world, &id).await;
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 2);
    kept(&outside);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_in_an_image_leads_a_mount_out_of_its_root() {
    let world = RealWorld::open().unwrap();
    let outside = outside(&world);
    let snapshots = world.node.layout().state().join("snapshots");
    let root = snapshots.join(SNAPSHOT).join("rootfs");
    symlink("/etc", root.join("data")).unwrap();
    symlink(&outside, root.join("far")).unwrap();
    symlink("../../../../../../../..", root.join("up")).unwrap();
    let mounts = vec![
        at("v", "/data", "", false),
        at("v", "/far/made", "", false),
        at("v", "/up/riklet-test-made", "", false),
    ];
    let script = "echo x > /etc/x; test -e /etc/x && test -e /riklet-test-made/x && echo inside";
    let workload = with(shell(script), mounts, vec![empty("v", false)]);
    let (_, said) = ran_alone(&world, &workload).await;
    says(&said, &["F inside"]);
    assert!(!outside.join("made").exists() && !Path::new("/riklet-test-made").exists());
    assert!(!Path::new("/etc/x").exists());
    kept(&outside);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_leftover_of_any_depth_is_removed() {
    let world = RealWorld::open().unwrap();
    // Past PATH_MAX, in its volume and in its own root.
    let script = format!(
        "p=$(busybox yes {} | busybox head -n 38 | busybox tr '\\n' /); \
         for at in /v /; do cd $at && busybox mkdir -p $p && cd $p && \
         busybox mkdir -p $p || exit 1; done",
        "d".repeat(100)
    );
    let workload = with(
        shell(&script),
        vec![at("v", "/v", "", false)],
        vec![empty("v", false)],
    );
    let (exit, said) = ran_alone(&world, &workload).await;
    assert_eq!(exit.code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s16_volumes_are_removed_from_every_state_a_crash_leaves_them_in() {
    let world = RealWorld::open().unwrap();
    let outside = outside(&world);
    let layout = world.node.layout().clone();
    let mounts = vec![
        at("host", "/h", "", false),
        at("host", "/s", "sub", false),
        at("memory", "/m", "sub", false),
    ];
    let volumes = vec![
        host_path("host", &outside),
        empty("memory", true),
        inline("s", true),
    ];
    let workload = with(shell("sleep 100"), mounts, volumes);
    type Crash = (&'static str, fn(&Path));
    let crashes: [Crash; 4] = [
        ("whole", |_| {}),
        ("a reboot", |pod| tree::unmount_below(pod).unwrap()),
        ("no config.json", |pod| {
            fs::remove_file(pod.join("0-1/config.json")).unwrap()
        }),
        ("mounted twice", |pod| {
            let (a, none) = (pod.join("0-1/mounts/0"), None::<&str>);
            mount(
                Some(&a),
                &pod.join("0-1/mounts/1"),
                none,
                MsFlags::MS_BIND,
                none,
            )
            .unwrap();
            mount(
                Some(&a),
                &pod.join("volumes/2"),
                none,
                MsFlags::MS_BIND,
                none,
            )
            .unwrap();
        }),
    ];
    for (what, crash) in crashes {
        let id = fresh_id();
        create(&world.node, &id, &workload).await.unwrap();
        assert!(
            tree::mounts_below(&layout.pod(&id.uid)).unwrap().len() >= 5,
            "{what}"
        );
        crash(&layout.pod(&id.uid));
        let again = world.restarted().unwrap();
        again.remove(&id).await.unwrap();
        removed(&world, &id).await;
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 2, "{what}");
        kept(&outside);
    }
}
