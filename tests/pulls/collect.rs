//! Room for images: what nothing uses goes, and nothing else.

use std::{collections::BTreeSet, fs, time::Duration};

use riklet::{
    image::{Fullness, Images, Step, inventory},
    node::ReadyImage,
};

use crate::{
    Ground, LONG_AGO, Mounted, is_whole,
    support::{
        image::Image,
        registry::{Registry, StallingRegistry, Trickle, wait_for},
    },
};

/// An image whose tree has so many MiB more than others'.
fn pull_big(
    ground: &Ground,
    images: &Images,
    registry: &Registry,
    mark: &str,
    mib: usize,
) -> ReadyImage {
    let image = registry.image(&format!("{mark}:1"));
    let bytes: Vec<u8> = mark.bytes().cycle().take(mib << 20).collect();
    Image::marked(mark)
        .file("big", &bytes)
        .push(ground.dir.path(), &image);
    ground.ensure(images, &image).unwrap()
}

fn instant(ground: &Ground) -> Images {
    let mut config = ground.config();
    config.settles = LONG_AGO;
    ground.open(config)
}

#[test]
fn a_full_disk_is_cleared_from_the_longest_unused_on_until_it_is_low() {
    let (ground, registry) = (Ground::new(), Registry::start());
    fs::create_dir(ground.snapshots()).unwrap();
    let disk = Mounted::tmpfs(&ground.snapshots(), "size=100m");
    let images = instant(&ground);
    let mut ready = Vec::new();
    for mark in ["a", "b", "c", "d"] {
        ready.push(pull_big(&ground, &images, &registry, mark, 20));
    }
    assert!(Fullness::of(&ground.snapshots()).unwrap().percent() >= 80);
    // The first is in use, the second was used a moment ago (by whole seconds).
    wait_for("a second to pass", || {
        let idle = |n: usize| {
            let snapshot = &ready[n].snapshot;
            let all = images.list().into_iter();
            all.filter(|v| v.snapshot == *snapshot)
                .map(|v| v.idle)
                .next()
        };
        (idle(3)? > Duration::from_millis(1_100)).then_some(())
    });
    assert!(images.has(&ready[1].snapshot));
    let in_use = BTreeSet::from([ready[0].snapshot.clone()]);
    let used = in_use.clone();
    let gone = ground
        .run(images.reclaim(move || used.clone(), LONG_AGO, 75))
        .unwrap();
    assert_eq!(gone.snapshots, [ready[2].snapshot.clone()], "{gone:?}");
    assert!(gone.tree_bytes > 20 << 20, "{gone:?}");
    assert!(images.fullness().unwrap().percent() <= 75);
    // Further down: then what was used last goes, too, and what is in use never does.
    let gone = ground
        .run(images.reclaim(move || in_use.clone(), LONG_AGO, 1))
        .unwrap();
    assert_eq!(gone.snapshots.len(), 2, "{gone:?}");
    is_whole(&images, &ready[0], "a");
    assert_eq!(ground.claimed(), [ready[0].snapshot.clone()]);
    drop(disk);
}

#[test]
fn what_a_container_runs_from_stays_though_nothing_knows_of_it() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let images = instant(&ground);
    let image = registry.image("app:1");
    Image::marked("a").push(ground.dir.path(), &image);
    let ready = ground.ensure(&images, &image).unwrap();
    let at = |name: &str| {
        let dir = ground.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    };
    let (rootfs, upper, work) = (at("rootfs"), at("upper"), at("work"));
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        images.rootfs(&ready.snapshot).display(),
        upper.display(),
        work.display()
    );
    let mount = Mounted::overlay(&rootfs, &options);
    let none = || ground.run(images.collect(BTreeSet::new, LONG_AGO)).unwrap();
    assert_eq!(none().snapshots, Vec::<String>::new());
    is_whole(&images, &ready, "a");
    drop(mount);
    assert_eq!(none().snapshots, std::slice::from_ref(&ready.snapshot));
}

#[test]
fn use_that_begins_during_a_collection_is_seen() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let images = instant(&ground);
    let image = registry.image("app:1");
    Image::marked("a").push(ground.dir.path(), &image);
    let ready = ground.ensure(&images, &image).unwrap();
    // Unused when it is decided, used when it would go.
    let (asked, own) = (
        std::sync::atomic::AtomicUsize::new(0),
        ready.snapshot.clone(),
    );
    let in_use = move || {
        let times = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let used = (times >= 2).then(|| own.clone());
        used.into_iter().collect::<BTreeSet<_>>()
    };
    let gone = ground.run(images.collect(in_use, LONG_AGO)).unwrap();
    assert_eq!(gone.snapshots, Vec::<String>::new());
    is_whole(&images, &ready, "a");
}

#[test]
fn what_lies_there_is_counted_once_and_by_its_newest_name() {
    let (ground, registry) = (Ground::new(), Registry::start());
    let images = ground.images();
    let image = registry.image("app");
    let digest = Image::marked("a").push(ground.dir.path(), &image);
    ground.ensure(&images, &image).unwrap();
    let other = pull_big(&ground, &images, &registry, "other", 1);
    Image::marked("b").push(ground.dir.path(), &image);
    let newer = ground.ensure(&images, &image).unwrap();

    let found = inventory(&ground.snapshots()).unwrap();
    assert_eq!(found.snapshots.len(), 3);
    let of = |snapshot: &str| {
        found
            .snapshots
            .iter()
            .find(|s| s.snapshot == snapshot)
            .unwrap()
    };
    let named = |s: &riklet::image::Stored| s.names.clone();
    assert_eq!(named(of(&newer.snapshot)), [registry.image("app:latest")]);
    assert_eq!(named(of(&other.snapshot)), [registry.image("other:1")]);
    let moved_on = found
        .snapshots
        .iter()
        .find(|s| s.digest.as_deref() == Some(&digest));
    let by_digest = registry.image(&format!("app@{digest}"));
    assert_eq!(named(moved_on.unwrap()), [by_digest]);
    assert!(of(&other.snapshot).bytes >= of(&newer.snapshot).bytes + (1 << 20));
    // busybox's layer is in all three, and lies there once.
    let each: u64 = found.snapshots.iter().map(|s| s.blob_bytes).sum();
    assert!(found.blob_bytes < each, "{} of {each}", found.blob_bytes);
    assert_eq!(
        inventory(&ground.dir.path().join("nowhere"))
            .unwrap()
            .snapshots,
        []
    );
}

#[test]
fn a_pull_says_how_far_it_is() {
    let ground = Ground::new();
    let layout = ground.dir.path().join("layout");
    Image::marked("a").write(&layout);
    let pace = Duration::from_millis(5);
    let slow = StallingRegistry::start(&layout, Trickle::Layers, 100_000, pace);
    let images = ground.images();
    let image = slow.image("app:1");
    ground.run(async {
        let pull = images.ensure(crate::wish(&image, None));
        let seen = async {
            loop {
                tokio::task::yield_now().await;
                let progress = images.progress();
                let begun = progress.iter().find(|p| p.bytes > 10);
                if let Some(begun) = begun {
                    break begun.clone();
                }
            }
        };
        let seen = tokio::select! { _ = pull => panic!("it can't be had"), seen = seen => seen };
        assert_eq!((seen.step, seen.layers), (Step::Fetching, Some((0, 2))));
        assert!(
            seen.image.starts_with(&slow.image("app:1@sha256:")),
            "{}",
            seen.image
        );
    });
    ground.nothing_at_work();
    wait_for("the board to be empty", || {
        images.progress().is_empty().then_some(())
    });
}
