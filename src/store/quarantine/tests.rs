use super::*;

fn at(days: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + days * 24 * 60 * 60).unwrap()
}

fn bad_store(parent: &Path, now: Timestamp) -> PathBuf {
    let dir = parent.join("db");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("db"), "what was in it").unwrap();
    set_aside(&dir, now).unwrap().unwrap()
}

#[test]
fn what_is_set_aside_is_whole_and_out_of_the_way() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("db");
    assert_eq!(set_aside(&dir, at(0)).unwrap(), None, "there is nothing");
    let kept = bad_store(parent.path(), at(0));
    assert!(!dir.exists());
    let text = std::fs::read_to_string(kept.join("db")).unwrap();
    assert_eq!(text, "what was in it");
    // Twice within a millisecond: neither replaces the other.
    let again = bad_store(parent.path(), at(0));
    assert_ne!(kept, again);
    assert_eq!(list(&dir).unwrap(), [kept, again]);
}

#[test]
fn the_newest_two_are_kept_for_30_days() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("db");
    std::fs::create_dir(parent.path().join("db.backup")).unwrap();
    let kept: Vec<PathBuf> = (0..4)
        .map(|day| bad_store(parent.path(), at(day)))
        .collect();
    prune(&dir, at(4)).unwrap();
    assert_eq!(list(&dir).unwrap(), kept[2..]);
    prune(&dir, at(2 + 30)).unwrap();
    assert_eq!(list(&dir).unwrap(), kept[2..], "to the day");
    prune(&dir, at(3 + 30)).unwrap();
    assert_eq!(list(&dir).unwrap(), kept[3..]);
    prune(&dir, at(4 + 30)).unwrap();
    assert_eq!(list(&dir).unwrap(), Vec::<PathBuf>::new());
    // What merely begins alike is nobody's quarantine.
    assert!(parent.path().join("db.backup").exists());
}
