use super::*;
use crate::{
    journal::{disk::Disk, walk::tests::Pages},
    model::ids::NodeUid,
};

fn put(dir: &Path, pages: &Pages) {
    std::fs::write(dir.join(segment::file_name(pages.first)), &pages.bytes).unwrap();
}

/// Three segments: lines 1 to 3, 4 to 6, 7 to 9.
fn three() -> (tempfile::TempDir, [Pages; 3]) {
    let dir = tempfile::tempdir().unwrap();
    let one = Pages::start().lines(2);
    let two = one.follow().lines(2);
    let three = two.follow().lines(2);
    let all = [one, two, three];
    all.iter().for_each(|pages| put(dir.path(), pages));
    (dir, all)
}

fn snapshot(dir: &Path, seq: Seq, sum: Sum) {
    let fold = Fold {
        seq,
        ..load(dir, 0, Some(seq)).unwrap().fold
    };
    let snapshot = Snapshot {
        seq,
        sum,
        at: jiff::Timestamp::UNIX_EPOCH,
        identity: Identity {
            node: NodeUid::from_entropy(1),
            journal: "0f".repeat(16),
        },
        fold,
    };
    snapshot::write(&Disk::real(), dir, &snapshot).unwrap();
}

fn seqs(dir: &Path, range: RangeInclusive<Seq>) -> Vec<Seq> {
    let lines = lines(dir, range).unwrap();
    lines.map(|line| line.unwrap().seq).collect()
}

#[test]
fn no_journal_is_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    for dir in [dir.path().to_owned(), dir.path().join("nowhere")] {
        let loaded = load(&dir, 0, None).unwrap();
        assert!(loaded.is_empty() && loaded.identity.is_none());
        assert!(loaded.damage.is_empty() && loaded.tail.is_none());
        assert_eq!(loaded.tip, (0, Sum::START));
        assert_eq!(seqs(&dir, 0..=Seq::MAX), Vec::<Seq>::new());
    }
}

#[test]
fn the_newest_whole_snapshot_is_read_and_only_what_follows_it() {
    let (dir, [one, two, _]) = three();
    let whole = load(dir.path(), 0, None).unwrap();
    snapshot(dir.path(), 3, one.sum);
    snapshot(dir.path(), 6, two.sum);
    let loaded = load(dir.path(), 0, None).unwrap();
    assert_eq!(loaded.base, 6);
    assert_eq!(loaded.fold, whole.fold);
    assert_eq!(loaded.lines.len(), 3);
    assert!(loaded.damage.is_empty());
    // A snapshot of later lines is no help for an earlier state.
    let earlier = load(dir.path(), 0, Some(5)).unwrap();
    assert_eq!((earlier.base, earlier.fold.seq), (3, 5));
}

#[test]
fn a_corrupted_snapshot_is_told_of_and_costs_nothing() {
    let (dir, [one, two, _]) = three();
    let whole = load(dir.path(), 0, None).unwrap().fold;
    snapshot(dir.path(), 3, one.sum);
    snapshot(dir.path(), 6, two.sum);
    for bad in [6, 3] {
        let path = dir.path().join(snapshot::file_name(bad));
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let loaded = load(dir.path(), 0, None).unwrap();
        assert_eq!(loaded.base, bad - 3, "the one before, or none");
        assert_eq!(loaded.fold, whole);
        assert!(!loaded.damage.is_empty());
        assert!(loaded.damage.iter().all(|d| !d.in_doubt()));
        assert!(loaded.damage[0].file.contains(&format!("{:020}", 6)));
    }
}

#[test]
fn history_is_read_by_range() {
    let (dir, [_, two, _]) = three();
    assert_eq!(seqs(dir.path(), 0..=Seq::MAX), (1..=9).collect::<Vec<_>>());
    assert_eq!(seqs(dir.path(), 3..=4), [3, 4]);
    assert_eq!(seqs(dir.path(), 8..=8), [8]);
    assert_eq!(seqs(dir.path(), 10..=20), Vec::<Seq>::new());
    // What a later header leaves out is not history either.
    let kept = Pages::after(4, Pages::start().lines(2).sum, 0).lines(1);
    put(dir.path(), &Pages::after(7, kept.sum, kept.len()).lines(2));
    assert!(two.len() > kept.len());
    assert_eq!(seqs(dir.path(), 4..=7), [4, 5, 7]);
}

#[test]
fn a_segment_that_cannot_be_read_is_damage_and_no_error() {
    let (dir, _) = three();
    let path = dir.path().join(segment::file_name(4));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let loaded = load(dir.path(), 0, None).unwrap();
    let damage: Vec<_> = loaded.damage.iter().map(|d| (d.first, d.last)).collect();
    assert_eq!(damage, [(4, Some(6))]);
    assert!(loaded.damage[0].in_doubt());
    assert_eq!(loaded.fold.seq, 9);
}

#[test]
fn a_segment_that_went_away_while_it_was_read_is_an_error_of_that_try() {
    let (dir, _) = three();
    let mut segments = Segments::new(dir.path(), [1, 4, 7], Walk::new(None), 0);
    assert!(segments.step().unwrap().is_some());
    // The second was read along with the first, for its header; the third is gone.
    std::fs::remove_file(dir.path().join(segment::file_name(7))).unwrap();
    assert!(segments.step().is_ok());
    let gone = segments.step().unwrap_err();
    assert!(
        matches!(gone, ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    );
}

#[test]
fn bad_bytes_below_what_others_know_to_be_durable_are_no_tail() {
    let (dir, [_, _, last]) = three();
    put(dir.path(), &last.spoil(8));
    let loaded = load(dir.path(), 0, None).unwrap();
    assert!(loaded.damage.is_empty() && loaded.tail.is_some());
    assert_eq!(loaded.tip.0, 7);
    let loaded = load(dir.path(), 8, None).unwrap();
    assert!(loaded.tail.is_none());
    assert_eq!(loaded.damage[0].first, 8);
    assert_eq!(loaded.fold.seq, 9);
}

#[test]
fn segments_that_are_removed_while_lines_are_read_are_left_out_and_no_damage() {
    for gone in 1..=3_usize {
        let (dir, pages) = three();
        let mut lines = lines(dir.path(), 0..=Seq::MAX).unwrap();
        for pages in &pages[..gone] {
            std::fs::remove_file(dir.path().join(segment::file_name(pages.first))).unwrap();
        }
        let read: Vec<Seq> = lines.by_ref().map(|line| line.unwrap().seq).collect();
        let left: Vec<Seq> = pages
            .get(gone)
            .map_or(vec![], |next| (next.first..=9).collect());
        assert_eq!(read, left);
        assert!(lines.walk().damage.is_empty(), "{:?}", lines.walk().damage);
    }
}
