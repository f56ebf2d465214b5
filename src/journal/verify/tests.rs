use super::*;
use crate::{
    journal::{Identity, disk::Disk, snapshot::Snapshot, walk::tests::Pages},
    model::{fold::Fold, ids::NodeUid},
};

fn put(dir: &Path, pages: &Pages) {
    std::fs::write(dir.join(segment::file_name(pages.first)), &pages.bytes).unwrap();
}

fn snapshot(dir: &Path, seq: Seq, sum: Sum) {
    let snapshot = Snapshot {
        seq,
        sum,
        at: jiff::Timestamp::UNIX_EPOCH,
        identity: Identity {
            node: NodeUid::from_entropy(1),
            journal: "0f".repeat(16),
        },
        fold: Fold {
            seq,
            ..Fold::default()
        },
    };
    snapshot::write(&Disk::real(), dir, &snapshot).unwrap();
}

#[test]
fn nothing_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let verdict = verify(dir.path(), 0).unwrap();
    assert!(verdict.is_sound());
    assert_eq!((verdict.segments, verdict.lines, verdict.last), (0, 0, 0));
}

#[test]
fn what_is_there_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let one = Pages::start().lines(2);
    let two = one.follow().lines(3);
    put(dir.path(), &one);
    put(dir.path(), &two);
    snapshot(dir.path(), 3, one.sum);
    let verdict = verify(dir.path(), 0).unwrap();
    assert!(verdict.is_sound() && verdict.tail.is_none());
    assert_eq!((verdict.segments, verdict.snapshots), (2, 1));
    assert_eq!((verdict.lines, verdict.first, verdict.last), (7, 1, 7));
    assert_eq!(verdict.durable, 3);
}

#[test]
fn history_that_was_removed_below_a_snapshot_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let one = Pages::start().lines(2);
    let two = one.follow().lines(2);
    put(dir.path(), &two);
    let verdict = verify(dir.path(), 0).unwrap();
    assert_eq!(verdict.damage.len(), 1, "nobody has lines 1 to 3");
    assert_eq!(verdict.damage[0].last, Some(3));
    snapshot(dir.path(), 3, one.sum);
    assert!(verify(dir.path(), 0).unwrap().is_sound());
}

#[test]
fn a_snapshot_that_was_not_taken_of_these_lines_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let one = Pages::start().lines(3);
    put(dir.path(), &one);
    snapshot(dir.path(), 2, one.sum);
    let verdict = verify(dir.path(), 0).unwrap();
    assert_eq!(verdict.damage.len(), 1);
    assert_eq!(verdict.damage[0].file, snapshot::file_name(2));
    assert!(!verdict.damage[0].in_doubt());
}

#[test]
fn a_corrupted_snapshot_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let one = Pages::start().lines(3);
    put(dir.path(), &one);
    snapshot(dir.path(), 4, one.sum);
    let path = dir.path().join(snapshot::file_name(4));
    std::fs::write(&path, b"{").unwrap();
    let verdict = verify(dir.path(), 0).unwrap();
    assert_eq!(verdict.damage.len(), 1);
    assert_eq!(verdict.damage[0].file, snapshot::file_name(4));
}

#[test]
fn a_writers_half_line_is_a_tail() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = Pages::start().lines(3);
    one.bytes.truncate(one.bytes.len() - 4);
    put(dir.path(), &one);
    let verdict = verify(dir.path(), 0).unwrap();
    assert!(verdict.is_sound());
    assert_eq!(verdict.tail.unwrap().offset, one.begins[3] as u64);
    // A snapshot at that line shows that it was durable.
    snapshot(dir.path(), 4, one.sum);
    let verdict = verify(dir.path(), 0).unwrap();
    assert_eq!(verdict.damage.len(), 1);
    assert_eq!(
        (verdict.damage[0].first, verdict.damage[0].last),
        (4, Some(4))
    );
    assert!(verdict.damage[0].covered, "the snapshot has it");
}
