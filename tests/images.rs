//! Images, against a real docker-registry, skopeo and umoci: what is asked for is there, whole, or
//! not there at all; and nothing of a failed pull stays.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends there"
)]

mod pulls {
    mod access;
    mod collect;
}
mod support {
    pub mod image;
    #[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
    pub mod proof;
    pub mod registry;
}

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use riklet::{
    image::{ImageError, Images, ImagesConfig},
    model::spec::ContainerSpec,
    node::{FailureKind, ImageWish, ReadyImage},
    runtime::{
        cgroup::Cgroups,
        process::{Spawner, WORK},
        reaper::Reaper,
    },
};
use support::{
    image::Image,
    proof::Proof,
    registry::{Registry, StallingRegistry, Trickle, dead_address, wait_for},
};
use tokio::{runtime::Runtime, time::timeout};

const BOUND: Duration = Duration::from_secs(30);
const LONG_AGO: Duration = Duration::ZERO;

/// A state directory, and a cgroup parent of its own, which is gone in the end.
struct Ground {
    dir: tempfile::TempDir,
    cgroups: Cgroups,
    spawner: Spawner,
    runtime: Option<Runtime>,
}

impl Ground {
    fn new() -> Self {
        static DRAWN: AtomicUsize = AtomicUsize::new(0);
        let n = DRAWN.fetch_add(1, Ordering::SeqCst);
        Self::with_parent(&format!("/riklet-i{}x{n}", std::process::id()))
    }

    fn with_parent(parent: &str) -> Self {
        let cgroups = Cgroups::detect(parent).unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            spawner: Spawner::new(Reaper::start().unwrap(), cgroups.clone()),
            cgroups,
            runtime: Some(Runtime::new().unwrap()),
        }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let bounded = async { timeout(BOUND, work).await.expect("in time") };
        self.runtime.as_ref().unwrap().block_on(bounded)
    }

    fn snapshots(&self) -> PathBuf {
        self.dir.path().join("snapshots")
    }

    fn config(&self) -> ImagesConfig {
        ImagesConfig::new(self.snapshots())
    }

    fn open(&self, config: ImagesConfig) -> Images {
        Images::open(config, &self.spawner).unwrap()
    }

    fn images(&self) -> Images {
        self.open(self.config())
    }

    fn ensure(&self, images: &Images, image: &str) -> Result<ReadyImage, ImageError> {
        self.run(images.ensure(wish(image, None)))
    }

    /// Every image that the directory claims to hold.
    fn claimed(&self) -> Vec<String> {
        names(&self.snapshots(), |n| n.starts_with("sha256-"))
    }

    /// Waits until no process and no temporary file of a pull is there.
    fn nothing_at_work(&self) {
        wait_for("the processes of a pull to end", || {
            (!self.cgroups.populated(WORK) && self.cgroups.children(WORK).is_empty()).then_some(())
        });
        wait_for("the files of a pull to go", || {
            let left = names(&self.snapshots(), |n| n.starts_with(".tmp-"));
            left.is_empty().then_some(())
        });
    }

    /// What a daemon does at its start before it opens the images.
    fn clear_work(&self) {
        self.run(self.cgroups.clear(WORK, BOUND)).unwrap();
    }

    /// A script in place of a program. `$real` runs the real one, `hang` says where it is and
    /// stays there.
    fn wrapper(&self, name: &str, script: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{name}-{}", script.len()));
        let head = format!(
            "#!/bin/sh\nreal=/usr/bin/{name}\nhang() {{ : > {}/$1; sleep 600; }}\n",
            self.dir.path().display()
        );
        fs::write(&path, head + script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn wait_for_stage(&self, stage: &str) {
        let path = self.dir.path().join(stage);
        wait_for(stage, || path.exists().then_some(()));
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let runtime = self.runtime.take().unwrap();
        let cleared = runtime.block_on(self.cgroups.clear("", BOUND));
        runtime.shutdown_timeout(Duration::from_secs(5));
        assert!(std::thread::panicking() || cleared.is_ok(), "{cleared:?}");
    }
}

/// The wish of a definition that says nothing of its pull policy.
fn wish<'a>(image: &'a str, pinned: Option<&'a str>) -> ImageWish<'a> {
    let container = ContainerSpec {
        image: image.to_owned(),
        ..ContainerSpec::default()
    };
    let policy = container.pull_policy();
    ImageWish {
        image,
        pinned,
        policy,
    }
}

fn names(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let all = entries.map(|e| e.file_name().into_string().unwrap());
    let mut found: Vec<_> = all.filter(|n| wanted(n)).collect();
    found.sort();
    found
}

/// The snapshot is the image with that mark, and all of it is there.
fn is_whole(images: &Images, ready: &ReadyImage, mark: &str) {
    let rootfs = images.rootfs(&ready.snapshot);
    assert_eq!(fs::read_to_string(rootfs.join("mark")).unwrap(), mark);
    assert_eq!(
        fs::read_link(rootfs.join("bin/sh")).unwrap(),
        Path::new("busybox")
    );
    let (busybox, real) = (rootfs.join("bin/busybox"), Path::new("/bin/busybox"));
    assert_eq!(fs::read(busybox).unwrap(), fs::read(real).unwrap());
    assert_eq!(
        rootfs.metadata().unwrap().permissions().mode() & 0o7777,
        0o755
    );
    assert_eq!(
        rootfs.join("tmp").metadata().unwrap().permissions().mode() & 0o7777,
        0o1777
    );
    assert!(images.has(&ready.snapshot));
}

fn requests(registry: &Registry) -> usize {
    registry.hits("GET", "") + registry.hits("HEAD", "")
}

#[test]
fn an_image_is_pulled_by_tag_and_by_digest_and_is_one_snapshot() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let digest = Image::marked("a").push(ground.dir.path(), &registry.image("app:1"));
    let images = ground.images();
    let by_tag = ground.ensure(&images, &registry.image("app:1")).unwrap();
    assert_eq!(by_tag.digest, digest);
    is_whole(&images, &by_tag, "a");
    let config = images.config(&by_tag.snapshot).unwrap();
    let cmd = config
        .config()
        .as_ref()
        .unwrap()
        .cmd()
        .as_ref()
        .unwrap()
        .clone();
    assert_eq!(cmd, ["/bin/sh"]);

    let exact = registry.image(&format!("app@{digest}"));
    assert_eq!(ground.ensure(&images, &exact).unwrap(), by_tag);
    // By digest first, in an empty directory, and with both.
    let other = Ground::new();
    let both = registry.image(&format!("app:gone@{digest}"));
    let images = other.images();
    let by_digest = other.ensure(&images, &both).unwrap();
    assert_eq!(by_digest, by_tag);
    is_whole(&images, &by_digest, "a");
    other.nothing_at_work();
    ground.nothing_at_work();
}

#[test]
fn what_is_there_is_used_without_the_network() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let image = registry.image("app:1");
    Image::marked("a").push(ground.dir.path(), &image);
    let images = ground.images();
    let ready = ground.ensure(&images, &image).unwrap();
    let before = requests(&registry);
    assert_eq!(ground.ensure(&images, &image).unwrap(), ready);
    let pinned = ground.run(images.ensure(wish(&registry.image("app"), Some(&ready.digest))));
    assert_eq!(pinned.unwrap(), ready);
    // Also by the next daemon, with the registry gone.
    assert_eq!(requests(&registry), before);
    drop(registry);
    let images = ground.images();
    assert_eq!(ground.ensure(&images, &image).unwrap(), ready);
    let began = Instant::now();
    const ROUNDS: u32 = 1000;
    for _ in 0..ROUNDS {
        ground
            .run(images.ensure(wish(&image, Some(&ready.digest))))
            .unwrap();
    }
    let each = began.elapsed() / ROUNDS;
    assert!(each < Duration::from_micros(100), "{each:?}");
}

#[test]
fn latest_is_asked_for_again_and_a_recorded_digest_never_is() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let image = registry.image("app");
    Image::marked("a").push(ground.dir.path(), &image);
    let images = ground.images();
    let old = ground.ensure(&images, &image).unwrap();
    Image::marked("b").push(ground.dir.path(), &image);
    let new = ground.ensure(&images, &image).unwrap();
    is_whole(&images, &new, "b");
    assert_eq!(
        ground
            .run(images.ensure(wish(&image, Some(&old.digest))))
            .unwrap(),
        old
    );
    is_whole(&images, &old, "a");
    drop(registry);
    let error = ground.ensure(&images, &image).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Transient);
    assert_eq!(
        ground
            .run(images.ensure(wish(&image, Some(&new.digest))))
            .unwrap(),
        new
    );
}

#[test]
fn what_can_never_be_had_is_permanent_and_says_why() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let dir = ground.dir.path();
    Image::marked("a").push(dir, &registry.image("app:1"));
    let other = Image::marked("s").architecture("s390x");
    let other = other.push(dir, &registry.image("app:s390x"));
    let images = ground.images();
    let permanent = |image: &str, says: &str| {
        let error = ground.ensure(&images, image).unwrap_err();
        assert_eq!(error.kind(), FailureKind::Permanent, "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
        let failure = riklet::node::Failure::from(error);
        assert!(!failure.retryable() && failure.tried.contains(says));
    };
    permanent(&registry.image("app:nope"), "check its name and tag");
    permanent(&registry.image("nope:1"), "check its name and tag");
    permanent(&registry.image("app:s390x"), "built for linux/s390x");
    permanent(
        &registry.image(&format!("app@sha256:{}", "0".repeat(64))),
        "check its name",
    );
    permanent("oci:/nowhere/at/all:img", "check its name");
    permanent("[::1]:5000/app:1", "can't be used");
    permanent("Bad/IMAGE:1", "can't read the image reference");
    // By digest nobody asks for the platform first; it is seen before unpacking.
    permanent(
        &registry.image(&format!("app@{other}")),
        "built for linux/s390x",
    );
    assert_eq!(ground.claimed(), Vec::<String>::new());
    ground.nothing_at_work();
}

#[test]
fn credentials_open_what_is_closed_without_them() {
    let (ground, registry) = (Ground::new(), Registry::with_password());
    let dir = ground.dir.path();
    let image = registry.image("app:1");
    let auth = data_encoding::BASE64.encode(b"riklet:secret");
    let mut auths = serde_json::Map::new();
    auths.insert(registry.address(), serde_json::json!({ "auth": auth }));
    let authfile = dir.join("auth.json");
    let text = serde_json::json!({ "auths": auths }).to_string();
    fs::write(&authfile, text).unwrap();
    Image::marked("a").write(&dir.join("layout"));
    support::image::run(&[
        "skopeo".as_ref(),
        "copy".as_ref(),
        "--quiet".as_ref(),
        "--dest-tls-verify=false".as_ref(),
        "--dest-creds=riklet:secret".as_ref(),
        format!("oci:{}:img", dir.join("layout").display()).as_ref(),
        format!("docker://{image}").as_ref(),
    ]);
    let error = ground.ensure(&ground.images(), &image).unwrap_err();
    assert!(matches!(error, ImageError::Denied { .. }), "{error:?}");
    let mut config = ground.config();
    config.skopeo.authfile = Some(authfile);
    let images = ground.open(config);
    is_whole(&images, &ground.ensure(&images, &image).unwrap(), "a");
}

#[test]
fn a_registry_that_is_down_may_come_back() {
    let ground = Ground::new();
    let images = ground.images();
    let image = format!("{}/app:1", dead_address());
    let error = ground.ensure(&images, &image).unwrap_err();
    assert!(matches!(error, ImageError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.kind(), FailureKind::Transient);
    ground.nothing_at_work();
}

#[test]
fn a_program_that_is_missing_is_said_to_be() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let image = registry.image("app:1");
    Image::marked("a").push(ground.dir.path(), &image);
    let mut config = ground.config();
    config.umoci = "/nowhere/umoci".into();
    let error = ground.ensure(&ground.open(config), &image).unwrap_err();
    assert_eq!(error.kind(), FailureKind::ProgramMissing, "{error:?}");
    ground.nothing_at_work();
}

#[test]
fn s26_a_stalled_pull_is_killed_at_its_limit_and_leaves_nothing() {
    for trickle in [Trickle::Layers, Trickle::Manifest] {
        let ground = Ground::new();
        let layout = ground.dir.path().join("layout");
        Image::marked("a").write(&layout);
        let pace = Duration::from_millis(100);
        let registry = StallingRegistry::start(&layout, trickle, 5, pace);
        let mut config = ground.config();
        config.stall = Duration::from_secs(1);
        let images = ground.open(config);
        let began = Instant::now();
        let error = ground
            .ensure(&images, &registry.image("app:1"))
            .unwrap_err();
        let took = began.elapsed();
        assert_eq!(error.kind(), FailureKind::Hung, "{error:?}");
        assert!(registry.trickled() >= 5, "the registry was asked");
        assert!(took < Duration::from_secs(4), "{took:?}");
        ground.nothing_at_work();
        assert_eq!(ground.claimed(), Vec::<String>::new());
    }
}

#[test]
fn s26_a_pull_ends_when_nobody_waits_for_it_any_more() {
    let ground = Ground::new();
    let layout = ground.dir.path().join("layout");
    Image::marked("a").write(&layout);
    let slow = StallingRegistry::start(&layout, Trickle::Layers, 10, Duration::from_millis(10));
    let images = ground.images();
    let image = slow.image("app:1");
    ground.run(async {
        let mut first = Box::pin(images.ensure(wish(&image, None)));
        let mut second = Box::pin(images.ensure(wish(&image, None)));
        let both = async { tokio::join!(&mut first, &mut second) };
        assert!(timeout(Duration::ZERO, both).await.is_err());
        let trickles = async {
            while slow.trickled() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { _ = &mut first => panic!("it can't be had"), () = trickles => {} }
        drop(first);
        // The other one still waits.
        assert!(ground.cgroups.populated(WORK));
        let began = Instant::now();
        drop(second);
        assert!(
            began.elapsed() < Duration::from_millis(100),
            "a destroy doesn't wait"
        );
    });
    ground.nothing_at_work();
    assert_eq!(ground.claimed(), Vec::<String>::new());
}

#[test]
fn a_pull_that_is_too_slow_is_killed_at_its_deadline() {
    let ground = Ground::new();
    let layout = ground.dir.path().join("layout");
    Image::marked("a").write(&layout);
    let pace = Duration::from_millis(20);
    let slow = StallingRegistry::start(&layout, Trickle::Layers, 100_000, pace);
    let mut config = ground.config();
    config.deadline = Duration::from_secs(1);
    let images = ground.open(config);
    let began = Instant::now();
    let error = ground.ensure(&images, &slow.image("app:1")).unwrap_err();
    assert!(matches!(error, ImageError::Deadline { .. }), "{error:?}");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    ground.nothing_at_work();
}

#[test]
fn s28_ten_parallel_pulls_of_different_tags_are_all_there() {
    let mut proof = Proof::of(
        "Parallel pulls of one repository are all there",
        "ten pulls of different tags at once, from a real docker-registry; then again without it",
    );
    let (ground, registry) = (Ground::new(), Registry::start());
    let marks: Vec<String> = (0..10).map(|n| format!("mark {n}")).collect();
    for (n, mark) in marks.iter().enumerate() {
        Image::marked(mark).push(ground.dir.path(), &registry.image(&format!("app:t{n}")));
    }
    let images = ground.images();
    let tags: Vec<String> = (0..10)
        .map(|n| registry.image(&format!("app:t{n}")))
        .collect();
    let runtime = ground.runtime.as_ref().unwrap();
    let pulls: Vec<_> = tags
        .iter()
        .map(|tag| {
            let (images, tag) = (images.clone(), tag.clone());
            runtime.spawn(async move { images.ensure(wish(&tag, None)).await })
        })
        .collect();
    for (pull, mark) in pulls.into_iter().zip(&marks) {
        let ready = ground.run(pull).unwrap().unwrap();
        is_whole(&images, &ready, mark);
    }
    ground.nothing_at_work();
    assert_eq!(ground.claimed().len(), 10);
    // And they are still there, by their tags, for the next daemon.
    let images = ground.images();
    drop(registry);
    for (tag, mark) in tags.iter().zip(&marks) {
        is_whole(&images, &ground.ensure(&images, tag).unwrap(), mark);
        proof.one("images whole");
    }
    proof.conclude("s28_parallel_pulls", &[]);
}

#[test]
fn ten_waiters_make_one_pull() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let image = registry.image("app:1");
    let digest = Image::marked("a").push(ground.dir.path(), &image);
    let images = ground.images();
    let before = registry.hits("GET", "/manifests/");
    let runtime = ground.runtime.as_ref().unwrap();
    let pulls: Vec<_> = (0..10)
        .map(|_| {
            let (images, image) = (images.clone(), image.clone());
            runtime.spawn(async move { images.ensure(wish(&image, None)).await })
        })
        .collect();
    for pull in pulls {
        assert_eq!(ground.run(pull).unwrap().unwrap().digest, digest);
    }
    // One by the inspect, one by the copy.
    assert_eq!(registry.hits("GET", "/manifests/") - before, 2);
}

/// The pull is given up at each stage.
#[test]
fn s27_a_pull_given_up_at_any_stage_leaves_no_image() {
    let registry = Registry::start();
    let stages = [
        (
            "copy begun",
            "skopeo",
            r#"case "$*" in *" copy "*) hang stage;; esac; exec $real "$@""#,
        ),
        (
            "copied",
            "skopeo",
            r#"$real "$@"; case "$*" in *" copy "*) hang stage;; esac"#,
        ),
        (
            "half unpacked",
            "umoci",
            r#"mkdir -p "$5/bin"; : > "$5/bin/half"; hang stage"#,
        ),
        ("unpacked", "umoci", r#"$real "$@"; hang stage"#),
    ];
    for (n, (stage, program, script)) in stages.into_iter().enumerate() {
        let ground = Ground::new();
        let image = registry.image(&format!("app{n}:1"));
        Image::marked(stage).push(ground.dir.path(), &image);
        let mut config = ground.config();
        let wrapper = ground.wrapper(program, script);
        match program {
            "skopeo" => config.skopeo.program = wrapper,
            _ => config.umoci = wrapper,
        }
        let images = ground.open(config);
        let pull = {
            let (images, image) = (images.clone(), image.clone());
            let runtime = ground.runtime.as_ref().unwrap();
            runtime.spawn(async move { images.ensure(wish(&image, None)).await })
        };
        ground.wait_for_stage("stage");
        pull.abort();
        ground.nothing_at_work();
        assert_eq!(ground.claimed(), Vec::<String>::new(), "{stage}");
        // And it can be had afterwards.
        let images = ground.images();
        is_whole(&images, &ground.ensure(&images, &image).unwrap(), stage);
    }
}

/// skopeo and umoci are killed at each stage, and the daemon lives.
#[test]
fn s27_a_killed_skopeo_or_umoci_leaves_no_image_and_the_next_pull_is_whole() {
    let mut proof = Proof::of(
        "A partial image is never used: skopeo or umoci die",
        "SIGKILL to the program before, within and after its work, then a pull with the real one",
    );
    let registry = Registry::start();
    let stages = [
        ("skopeo", r#"kill -9 $$"#),
        (
            "skopeo",
            r#"case "$*" in *" copy "*) kill -9 $$;; esac; exec $real "$@""#,
        ),
        // Its files are there in part: cut to half of what it wrote.
        (
            "skopeo",
            r#"$real "$@" || exit; case "$*" in *" copy "*)
                for word; do case $word in oci:*) dir=${word#oci:}; dir=${dir%:*};; esac; done
                echo '{"schemaVersion": 2, "mani' >"$dir/index.json"; kill -9 $$;; esac"#,
        ),
        (
            "skopeo",
            r#"$real "$@" || exit; case "$*" in *" copy "*) kill -9 $$;; esac"#,
        ),
        ("umoci", r#"kill -9 $$"#),
        (
            "umoci",
            r#"mkdir -p "$5/bin"; : > "$5/bin/half"; kill -9 $$"#,
        ),
        (
            "umoci",
            r#"$real "$@" || exit; rm "$5/bin/busybox"; kill -9 $$"#,
        ),
        ("umoci", r#"$real "$@" || exit; kill -9 $$"#),
    ];
    for (n, (program, script)) in stages.into_iter().enumerate() {
        let ground = Ground::new();
        let (image, mark) = (registry.image(&format!("d{n}:1")), format!("stage {n}"));
        Image::marked(&mark).push(ground.dir.path(), &image);
        let mut config = ground.config();
        let wrapper = ground.wrapper(program, script);
        match program {
            "skopeo" => config.skopeo.program = wrapper,
            _ => config.umoci = wrapper,
        }
        let error = ground.ensure(&ground.open(config), &image).unwrap_err();
        assert_ne!(error.kind(), FailureKind::Permanent, "{script}: {error:?}");
        ground.nothing_at_work();
        assert_eq!(ground.claimed(), Vec::<String>::new(), "{script}");
        let images = ground.images();
        is_whole(&images, &ground.ensure(&images, &image).unwrap(), &mark);
        proof.one(format!("kills of {program}"));
    }
    proof.conclude("s27_killed_programs", &[]);
}

/// A blob that a power cut or a bad disk spoilt is fetched again.
#[test]
fn s27_a_bad_blob_is_fetched_again() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let images = ground.images();
    Image::marked("a").push(ground.dir.path(), &registry.image("app:1"));
    Image::marked("b").push(ground.dir.path(), &registry.image("app:2"));
    ground.ensure(&images, &registry.image("app:1")).unwrap();
    // The layer with busybox is shared by both, so the second pull finds it there.
    let blobs = ground.snapshots().join(".blobs/sha256");
    for blob in names(&blobs, |_| true) {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(blobs.join(blob))
            .unwrap();
        file.set_len(100).unwrap();
    }
    let ready = ground.ensure(&images, &registry.image("app:2")).unwrap();
    is_whole(&images, &ready, "b");
    ground.nothing_at_work();
}

#[test]
fn zstd_layers_and_local_files_are_taken() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let dir = ground.dir.path();
    let layout = dir.join("layout");
    Image::marked("a").write(&layout);
    let zstd = dir.join("zstd");
    let skopeo = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
        support::image::run(&words)
    };
    let from = format!("oci:{}:img", layout.display());
    let to = format!("dir:{}", zstd.display());
    let tar = format!("docker-archive:{}", dir.join("saved.tar").display());
    let compress = ["--dest-compress", "--dest-compress-format", "zstd"];
    let copy = ["skopeo", "copy", "--quiet"];
    skopeo(&[&copy[..], &compress, &[from.as_str(), to.as_str()]].concat());
    skopeo(&[&copy[..], &[from.as_str(), tar.as_str()]].concat());
    let target = format!("docker://{}", registry.image("zstd:1"));
    let plain = ["--dest-tls-verify=false", "--dest-compress-format", "zstd"];
    skopeo(&[&copy[..], &plain, &[to.as_str(), target.as_str()]].concat());

    let images = ground.images();
    for image in [registry.image("zstd:1"), to, tar, from.clone()] {
        let ready = ground.ensure(&images, &image).unwrap();
        is_whole(&images, &ready, "a");
        assert_eq!(
            ground
                .run(images.ensure(wish(&image, Some(&ready.digest))))
                .unwrap(),
            ready
        );
    }
    // A recorded digest isn't had from a file that holds another one.
    fs::remove_dir_all(&layout).unwrap();
    Image::marked("b").write(&layout);
    let ready = ground.ensure(&images, &from).unwrap();
    is_whole(&images, &ready, "b");
    let pin = format!("sha256:{}", "0".repeat(64));
    let error = ground
        .run(images.ensure(wish(&from, Some(&pin))))
        .unwrap_err();
    assert!(matches!(error, ImageError::Changed { .. }), "{error:?}");
}

#[test]
fn of_a_list_the_image_for_this_node_is_taken() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let dir = ground.dir.path();
    let ours = Image::default().architecture;
    let mut entries = Vec::new();
    for architecture in [ours.as_str(), "s390x"] {
        let target = registry.image(&format!("app:{architecture}"));
        let digest = Image::marked(architecture)
            .architecture(architecture)
            .push(dir, &target);
        let size = registry.manifest_size("app", &digest);
        entries.push((digest, size, architecture));
    }
    let entries: Vec<_> = entries
        .iter()
        .map(|(d, s, a)| (d.as_str(), *s, *a))
        .collect();
    let list = registry.put_list("app", "both", &entries);
    let foreign = registry.put_list("app", "foreign", &entries[1..]);
    let images = ground.images();
    let ready = ground.ensure(&images, &registry.image("app:both")).unwrap();
    assert_eq!(ready.digest, list, "the list is what is pinned");
    is_whole(&images, &ready, &ours);
    let single = ground
        .ensure(&images, &registry.image(&format!("app:{ours}")))
        .unwrap();
    assert_eq!(single.snapshot, ready.snapshot);
    assert_ne!(single.digest, ready.digest);
    let exact = registry.image(&format!("app@{foreign}"));
    for image in [registry.image("app:foreign"), exact] {
        let error = ground.ensure(&images, &image).unwrap_err();
        assert!(
            matches!(error, ImageError::OtherArchitecture { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let registry = Registry::start();
    // Too small for the blobs; large enough for them but not for the tree.
    for size in ["size=600k", "size=2m"] {
        let ground = Ground::new();
        let image = registry.image("app:1");
        Image::marked("a").push(ground.dir.path(), &image);
        fs::create_dir(ground.snapshots()).unwrap();
        let disk = Mounted::tmpfs(&ground.snapshots(), size);
        let images = ground.images();
        let error = ground.ensure(&images, &image).unwrap_err();
        assert_eq!(error.kind(), FailureKind::DiskFull, "{size}: {error:?}");
        ground.nothing_at_work();
        assert_eq!(ground.claimed(), Vec::<String>::new());
        drop(disk);
    }
}

struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, size: &str) -> Self {
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("riklet-test"), at, Some("tmpfs"), none, Some(size)).unwrap();
        Self(at.to_owned())
    }

    fn overlay(at: &Path, options: &str) -> Self {
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("overlay"), at, Some("overlay"), none, Some(options)).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn a_collection_takes_only_what_nobody_uses() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let mut config = ground.config();
    config.settles = LONG_AGO;
    let images = ground.open(config);
    let mut ready = Vec::new();
    for mark in ["a", "b"] {
        let image = registry.image(&format!("{mark}:1"));
        Image::marked(mark).push(ground.dir.path(), &image);
        ready.push(ground.ensure(&images, &image).unwrap());
    }
    let in_use = BTreeSet::from([ready[0].snapshot.clone()]);
    let using = |used: &BTreeSet<String>| {
        let used = used.clone();
        move || used.clone()
    };
    let young = ground.run(images.collect(using(&in_use), BOUND)).unwrap();
    assert_eq!(young.snapshots, Vec::<String>::new());
    let old = ground
        .run(images.collect(using(&in_use), LONG_AGO))
        .unwrap();
    assert_eq!(old.snapshots, [ready[1].snapshot.clone()]);
    assert!(old.blob_bytes > 0);
    is_whole(&images, &ready[0], "a");
    assert!(!images.has(&ready[1].snapshot));
    let missing = images.config(&ready[1].snapshot).unwrap_err();
    assert_eq!(missing.kind(), FailureKind::SnapshotMissing);
    assert_eq!(ground.claimed(), [ready[0].snapshot.clone()]);
    // What was collected can be had again, and one that was removed by hand is.
    let again = ground.ensure(&images, &registry.image("b:1")).unwrap();
    is_whole(&images, &again, "b");
    fs::remove_dir_all(ground.snapshots().join(&again.snapshot)).unwrap();
    let again = ground.ensure(&images, &registry.image("b:1")).unwrap();
    is_whole(&images, &again, "b");
}

/// The pull that is killed in [`s27_a_killed_daemon_leaves_no_partial_image`].
#[test]
#[ignore = "run by another test, as a process of its own"]
fn child_pulls() {
    let var = |name: &str| std::env::var(name).unwrap();
    let cgroups = Cgroups::detect(&var("RIKLET_TEST_PARENT")).unwrap();
    let spawner = Spawner::new(Reaper::start().unwrap(), cgroups);
    let mut config = ImagesConfig::new(var("RIKLET_TEST_SNAPSHOTS"));
    config.skopeo.program = var("RIKLET_TEST_SKOPEO").into();
    config.umoci = var("RIKLET_TEST_UMOCI").into();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let images = Images::open(config, &spawner).unwrap();
        images
            .ensure(wish(&var("RIKLET_TEST_IMAGE"), None))
            .await
            .unwrap();
    });
}

/// A layer need not have entries for the directories of its files.
#[test]
fn the_daemons_umask_is_not_the_images() {
    let (registry, parent) = (
        Registry::start(),
        format!("/riklet-u{}", std::process::id()),
    );
    let ground = Ground::with_parent(&parent);
    let image = registry.image("app:1");
    let deep = Image::marked("a").file("implied/deep/file", b"");
    deep.push(ground.dir.path(), &image);
    let own = std::env::current_exe().unwrap();
    let env = |name: &str, value: &str| format!("RIKLET_TEST_{name}={value}");
    support::image::run(&[
        "/bin/sh".as_ref(),
        "-c".as_ref(),
        r#"umask 077; exec "$@""#.as_ref(),
        "sh".as_ref(),
        "env".as_ref(),
        env("PARENT", &parent).as_ref(),
        env("SNAPSHOTS", ground.snapshots().to_str().unwrap()).as_ref(),
        env("IMAGE", &image).as_ref(),
        env("SKOPEO", "skopeo").as_ref(),
        env("UMOCI", "umoci").as_ref(),
        own.as_os_str(),
        "--ignored".as_ref(),
        "--exact".as_ref(),
        "child_pulls".as_ref(),
    ]);
    let images = ground.images();
    let ready = ground.ensure(&images, &image).unwrap();
    is_whole(&images, &ready, "a");
    for implied in ["implied", "implied/deep"] {
        let metadata = images.rootfs(&ready.snapshot).join(implied).metadata();
        assert_eq!(
            metadata.unwrap().permissions().mode() & 0o777,
            0o755,
            "{implied}"
        );
    }
}

/// Where the daemon is killed.
enum Kill {
    /// Before the `.1`th call of this system call on the publishing thread, by strace.
    At(&'static str, u32),
    /// By this script in place of skopeo; `$PPID` is the daemon.
    InSkopeo(&'static str),
    /// By this script in place of umoci.
    InUmoci(&'static str),
}

impl Kill {
    /// Pulls in a process of its own that is killed there.
    fn pull(&self, ground: &Ground, parent: &str, image: &str) {
        let mut words: Vec<String> = vec!["env".into()];
        let mut env = |name: &str, value: &str| words.push(format!("RIKLET_TEST_{name}={value}"));
        env("PARENT", parent);
        env("SNAPSHOTS", ground.snapshots().to_str().unwrap());
        env("IMAGE", image);
        let (mut skopeo, mut umoci) = ("skopeo".into(), "umoci".into());
        match self {
            Self::InSkopeo(script) => skopeo = ground.wrapper("skopeo", script),
            Self::InUmoci(script) => umoci = ground.wrapper("umoci", script),
            Self::At(..) => {}
        }
        env("SKOPEO", skopeo.to_str().unwrap());
        env("UMOCI", umoci.to_str().unwrap());
        if let Self::At(call, when) = self {
            let inject = format!("inject={call}:signal=KILL:when={when}");
            let strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e"];
            words.extend(strace.map(ToOwned::to_owned));
            words.extend([format!("trace={call}"), "-e".to_owned(), inject]);
            if *call == "fsync" {
                // Only that of the snapshot directory; skopeo has its own.
                let snapshots = ground.snapshots().display().to_string();
                words.extend(["-P".to_owned(), snapshots]);
            }
        }
        words.push(std::env::current_exe().unwrap().display().to_string());
        words.extend(["--ignored", "--exact", "child_pulls"].map(ToOwned::to_owned));
        // What the killed one leaves running holds its output; so that is no pipe of ours.
        let script = r#""$@" >/dev/null 2>&1; [ $? = 137 ] || echo "it was not killed""#;
        let shell = ["/bin/sh", "-c", script, "sh"].map(ToOwned::to_owned);
        let all: Vec<String> = shell.into_iter().chain(words).collect();
        let all: Vec<_> = all.iter().map(AsRef::as_ref).collect();
        let said = support::image::run(&all);
        assert!(!said.contains("it was not killed"), "{all:?}");
    }
}

/// SIGKILL to the daemon at each step from the first copied byte to the last rename.
/// Afterwards, as a daemon starts: either the whole image or none.
#[test]
fn s27_a_killed_daemon_leaves_no_partial_image() {
    let mut proof = Proof::of(
        "A partial image is never used: the daemon dies",
        "SIGKILL at each step from the first copied byte to the last rename, then a start and the \
         same pull",
    );
    let registry = Registry::start();
    let steps = [
        (
            Kill::InSkopeo(r#"case "$*" in *" copy "*) kill -9 $PPID;; esac; $real "$@""#),
            false,
        ),
        (
            Kill::InSkopeo(
                r#"$real "$@"; case "$*" in *" copy "*) kill -9 $PPID; sleep 600;; esac"#,
            ),
            false,
        ),
        (Kill::At("symlink", 1), false),
        (Kill::InUmoci(r#"kill -9 $PPID; $real "$@""#), false),
        (
            Kill::InUmoci(r#": > "$5/half"; kill -9 $PPID; sleep 600"#),
            false,
        ),
        (
            Kill::InUmoci(r#"$real "$@"; kill -9 $PPID; sleep 600"#),
            false,
        ),
        (Kill::At("syncfs", 1), false),
        (Kill::At("rename", 1), false),
        (Kill::At("rename", 2), false),
        (Kill::At("fsync", 1), true),
        (Kill::At("rename", 3), true),
    ];
    for (n, (kill, whole)) in steps.into_iter().enumerate() {
        let parent = format!("/riklet-k{}x{n}", std::process::id());
        let ground = Ground::with_parent(&parent);
        let (image, mark) = (registry.image(&format!("k{n}:1")), format!("step {n}"));
        Image::marked(&mark).push(ground.dir.path(), &image);
        kill.pull(&ground, &parent, &image);
        ground.clear_work();
        let images = ground.images();
        ground.nothing_at_work();
        let known: Vec<_> = images.list().into_iter().map(|v| v.snapshot).collect();
        assert_eq!(
            known,
            ground.claimed(),
            "{mark}: every name that is there is an image"
        );
        assert_eq!(known.len(), usize::from(whole), "{mark}");
        for snapshot in known {
            let digest = String::new();
            is_whole(&images, &ReadyImage { digest, snapshot }, &mark);
        }
        is_whole(&images, &ground.ensure(&images, &image).unwrap(), &mark);
        proof.one("kills of the daemon");
    }
    proof.conclude("s27_killed_daemon", &[]);
}
