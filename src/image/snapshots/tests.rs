use std::os::unix::fs::PermissionsExt;

use super::{super::layout, *};

const REFERENCE: &str = "h.io/app:1";

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn contents(mark: &str) -> Contents {
    let [os, architecture]: [String; 2] = layout::platform()
        .split('/')
        .map(ToOwned::to_owned)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let config = serde_json::json!({
        "os": os, "architecture": architecture, "author": mark,
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let config_bytes = config.to_string().into_bytes();
    Contents {
        manifest: digest("manifest"),
        config: Digest::of(&config_bytes),
        parsed: layout::parse_config(&config_bytes).unwrap(),
        config_bytes,
        blobs: vec![digest("layer")],
    }
}

struct Ground {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/snapshots");
        Self { _dir: dir, path }
    }

    fn open(&self) -> Snapshots {
        Snapshots::open(&self.path).unwrap()
    }

    fn put(&self, snapshots: &Snapshots, mark: &str) -> ReadyImage {
        let staging = snapshots.stage().unwrap();
        staging.fresh_rootfs().unwrap();
        fs::write(staging.rootfs().join("mark"), mark).unwrap();
        let ready = snapshots.publish(&staging, &contents(mark), REFERENCE, &digest(mark));
        staging.remove().unwrap();
        ready.unwrap()
    }

    fn names(&self, start: &str) -> usize {
        let entries = fs::read_dir(&self.path).unwrap().flatten();
        let all = entries.map(|e| e.file_name().into_string().unwrap());
        all.filter(|n| n.starts_with(start)).count()
    }
}

#[test]
fn what_is_published_is_found_by_the_next_daemon_and_only_root_may_look() {
    let ground = Ground::new();
    let snapshots = ground.open();
    let ready = ground.put(&snapshots, "a");
    for snapshots in [snapshots, ground.open()] {
        assert_eq!(snapshots.by_digest(&digest("a")), Some(ready.clone()));
        assert_eq!(snapshots.by_name(REFERENCE), Some(ready.clone()));
        let config = snapshots.config(&ready.snapshot).unwrap();
        assert_eq!(config.author().as_deref(), Some("a"));
        assert!(snapshots.rootfs(&ready.snapshot).join("mark").exists());
    }
    let mode = ground.path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_directory_that_cannot_prove_its_name_is_no_image_and_stays() {
    let ground = Ground::new();
    let ready = ground.put(&ground.open(), "a");
    let dir = ground.path.join(&ready.snapshot);
    let damages: [&dyn Fn(); 3] = [
        &|| fs::write(dir.join(CONFIG), "{}").unwrap(),
        &|| fs::remove_file(dir.join(CONFIG)).unwrap(),
        &|| fs::rename(dir.join(ROOTFS), dir.join("elsewhere")).unwrap(),
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        damage();
        let snapshots = ground.open();
        assert!(!snapshots.has(&ready.snapshot));
        assert_eq!(snapshots.by_digest(&digest("a")), None);
        assert!(dir.exists(), "something may run from it");
        // The next pull of the same image puts it aside.
        assert_eq!(ground.put(&snapshots, "a"), ready);
        assert_eq!(ground.names(DAMAGED), n + 1);
        let used = BTreeSet::from([ready.snapshot.clone()]);
        snapshots.remove_damaged(&used).unwrap();
        assert_eq!(ground.names(DAMAGED), n + 1);
    }
    ground.open().remove_damaged(&BTreeSet::new()).unwrap();
    assert_eq!(ground.names(DAMAGED), 0);
}

#[test]
fn a_lost_record_costs_the_names_and_not_the_image() {
    let ground = Ground::new();
    let ready = ground.put(&ground.open(), "a");
    let record = ground.path.join(&ready.snapshot).join(RECORD);
    for spoilt in ["", "{", "[]", r#"{"digests":["sha256:1"]}"#] {
        fs::write(&record, spoilt).unwrap();
        let snapshots = ground.open();
        assert!(snapshots.has(&ready.snapshot));
        assert_eq!(snapshots.by_name(REFERENCE), None);
        snapshots
            .name(&ready.snapshot, REFERENCE, &digest("a"))
            .unwrap();
        assert_eq!(ground.open().by_name(REFERENCE), Some(ready.clone()));
    }
}

#[test]
fn a_tag_that_moved_leads_to_the_newest_also_after_a_restart() {
    let ground = Ground::new();
    let snapshots = ground.open();
    let a = ground.put(&snapshots, "a");
    let b = ground.put(&snapshots, "b");
    assert_eq!(snapshots.by_name(REFERENCE), Some(b.clone()));
    assert_eq!(ground.open().by_name(REFERENCE), Some(b));
    assert_eq!(snapshots.by_digest(&digest("a")), Some(a.clone()));
    // And back.
    let snapshots = ground.open();
    snapshots
        .name(&a.snapshot, REFERENCE, &digest("a"))
        .unwrap();
    assert_eq!(ground.open().by_name(REFERENCE), Some(a));
}

#[test]
fn one_image_by_two_digests_is_one_snapshot() {
    let ground = Ground::new();
    let snapshots = ground.open();
    let by_manifest = ground.put(&snapshots, "a");
    let by_list = snapshots.name(&by_manifest.snapshot, "h.io/app:2", &digest("list"));
    assert_eq!(by_list.unwrap().snapshot, by_manifest.snapshot);
    assert_eq!(
        ground.open().by_digest(&digest("a")),
        Some(by_manifest.clone())
    );
    assert!(ground.open().by_digest(&digest("list")).is_some());
    assert_eq!(ground.put(&snapshots, "a"), by_manifest);
    assert_eq!(ground.names(PREFIX), 1);
}

#[test]
fn what_killed_pulls_left_goes_at_the_start() {
    let ground = Ground::new();
    let snapshots = ground.open();
    snapshots.stage().unwrap().fresh_rootfs().unwrap();
    fs::create_dir(ground.path.join(".gone-sha256-x.1-1")).unwrap();
    assert_eq!(ground.names(STAGING) + ground.names(GONE), 2);
    ground.open();
    assert_eq!(ground.names(STAGING) + ground.names(GONE), 0);
}

#[test]
fn a_staging_directory_that_is_gone_does_not_come_back() {
    let ground = Ground::new();
    let staging = ground.open().stage().unwrap();
    staging.remove().unwrap();
    assert!(staging.fresh_layout().is_err() && staging.fresh_rootfs().is_err());
    assert_eq!(ground.names(STAGING), 0);
}
