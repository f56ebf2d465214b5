use super::*;
use crate::testing::builders::{container_id, uid};

#[test]
fn an_exit_file_goes_with_what_its_monitor_had_begun_of_it_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("state"), dir.path().join("run"));
    fs::create_dir_all(layout.exits()).unwrap();
    let (id, other) = (container_id(&uid(1), 0, 1), container_id(&uid(1), 0, 11));
    let begun = |id: &ContainerId| layout.exits().join(format!("{id}.TJVHZ3"));
    for path in [
        layout.exit_file(&id),
        begun(&id),
        layout.exit_file(&other),
        begun(&other),
    ] {
        fs::write(path, "0").unwrap();
    }
    for _ in 0..2 {
        remove_exit_file(&layout, &id).unwrap();
        assert!(!layout.exit_file(&id).exists() && !begun(&id).exists());
        assert!(layout.exit_file(&other).exists() && begun(&other).exists());
    }
    fs::remove_dir_all(layout.exits()).unwrap();
    remove_exit_file(&layout, &id).unwrap();
}

#[test]
fn a_record_in_which_a_killed_runtime_left_its_mount_goes_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("record");
    fs::create_dir(&record).unwrap();
    for name in ["state.json", "runc.abc"] {
        fs::write(record.join(name), "").unwrap();
    }
    let (from, flags) = (Path::new("/bin/true"), nix::mount::MsFlags::MS_BIND);
    let none = None::<&str>;
    nix::mount::mount(Some(from), &record.join("runc.abc"), none, flags, none).unwrap();
    remove_record(&record).unwrap();
    assert!(!record.exists());
    remove_record(&record).unwrap();
}
