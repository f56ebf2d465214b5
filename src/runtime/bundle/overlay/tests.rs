use super::*;

#[test]
fn a_layer_shows_the_snapshot_and_never_writes_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let (snapshot, bundle) = (dir.path().join("snapshot"), dir.path().join("bundle"));
    fs::create_dir(&snapshot).unwrap();
    fs::set_permissions(&snapshot, fs::Permissions::from_mode(0o751)).unwrap();
    fs::write(snapshot.join("file"), "below").unwrap();
    fs::create_dir(&bundle).unwrap();

    let rootfs = mount_layer(&snapshot, &bundle).unwrap();
    assert_eq!(fs::read_to_string(rootfs.join("file")).unwrap(), "below");
    fs::write(rootfs.join("file"), "above").unwrap();
    assert_eq!(fs::metadata(&rootfs).unwrap().mode() & 0o7777, 0o751);

    // A passer-by keeps it busy; it goes all the same.
    let busy = fs::File::open(rootfs.join("file")).unwrap();
    unmount_layer(&bundle).unwrap();
    drop(busy);
    unmount_layer(&bundle).unwrap();
    assert!(!rootfs.join("file").exists());
    assert_eq!(fs::read_to_string(snapshot.join("file")).unwrap(), "below");
    fs::remove_dir_all(&bundle).unwrap();
    unmount_layer(&bundle).unwrap();
}

#[test]
fn a_path_that_overlay_would_misread_is_refused() {
    for bad in ["a:b", "a,b", "a\\b"] {
        let dir = tempfile::tempdir().unwrap();
        let snapshot = dir.path().join(bad);
        fs::create_dir(&snapshot).unwrap();
        let error = mount_layer(&snapshot, dir.path()).unwrap_err();
        assert!(matches!(error, OverlayError::Path { .. }), "{error:?}");
        assert!(!dir.path().join("rootfs").exists());
    }
}

#[test]
fn a_missing_snapshot_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let error = mount_layer(&dir.path().join("none"), dir.path()).unwrap_err();
    assert!(matches!(error, OverlayError::SnapshotMissing { .. }));
}
