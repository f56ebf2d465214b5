use std::path::Path;

use super::*;

fn id(n: u32, attempt: u32) -> ContainerId {
    let uid = Uid::from_entropy(7);
    format!("{uid}-{n}-{attempt}").parse().unwrap()
}

#[test]
fn the_log_of_a_removed_attempt_stays_until_the_next_one_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path(), Path::new("/nowhere"));
    fs::create_dir_all(layout.logs(&id(0, 1).uid)).unwrap();
    for made in [id(0, 1), id(0, 9), id(0, 10), id(0, 11), id(1, 1)] {
        fs::write(layout.log_file(&made), "").unwrap();
    }
    let foreign = layout.logs(&id(0, 1).uid).join("0-1.log.old");
    let rotated = |attempt| layout.rotated_log(&id(0, attempt), 20_261_122);
    for path in [&foreign, &rotated(9), &rotated(10)] {
        fs::write(path, "").unwrap();
    }
    remove_earlier(&layout, &id(0, 10)).unwrap();
    let there = |n, attempt| layout.log_file(&id(n, attempt)).exists();
    assert_eq!(
        [
            there(0, 1),
            there(0, 9),
            there(0, 10),
            there(0, 11),
            there(1, 1)
        ],
        [false, false, true, true, true]
    );
    assert_eq!([rotated(9).exists(), rotated(10).exists()], [false, true]);
    assert!(foreign.exists(), "not a log of an attempt");
}
