use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn sizes() -> Sizes {
    Sizes {
        history_age: 7 * DAY,
        history_bytes: 100,
        history_always: 20,
        ..Sizes::default()
    }
}

/// Segments of 10 bytes, first seqs 1, 11, 21 …, one a day, the newest of today.
fn segments(n: u32) -> Vec<Candidate> {
    (0..n)
        .map(|i| Candidate {
            first: Seq::from(i) * 10 + 1,
            bytes: 10,
            age: (n - 1 - i) * DAY,
        })
        .collect()
}

#[test]
fn nothing_above_the_older_snapshot_goes() {
    let old: Vec<_> = segments(30)
        .into_iter()
        .map(|s| Candidate { age: 99 * DAY, ..s })
        .collect();
    assert_eq!(expendable(&old, 0, &sizes()), Vec::<Seq>::new());
    // Lines 1 to 20 are in the snapshot; the segment from 21 on is not.
    assert_eq!(expendable(&old, 20, &sizes()), vec![1, 11]);
    assert_eq!(expendable(&old, 29, &sizes()), vec![1, 11]);
}

#[test]
fn history_is_kept_for_its_days_within_its_bytes() {
    // Ten are within both bounds but for those older than seven days.
    assert_eq!(expendable(&segments(10), 1_000, &sizes()), vec![1, 11]);
    let young: Vec<_> = segments(15)
        .into_iter()
        .map(|s| Candidate { age: DAY, ..s })
        .collect();
    assert_eq!(expendable(&young, 1_000, &sizes()), vec![1, 11, 21, 31, 41]);
}

#[test]
fn the_newest_bytes_stay_however_old() {
    let old: Vec<_> = segments(5)
        .into_iter()
        .map(|s| Candidate { age: 99 * DAY, ..s })
        .collect();
    assert_eq!(expendable(&old, 1_000, &sizes()), vec![1, 11, 21]);
}

#[test]
fn with_a_damaged_snapshot_no_segment_goes() {
    let dir = tempfile::tempdir().unwrap();
    for first in [1, 11, 21] {
        std::fs::write(dir.path().join(segment::file_name(first)), [b'x'; 50]).unwrap();
    }
    for seq in [30, 31] {
        std::fs::write(dir.path().join(snapshot::file_name(seq)), "bad").unwrap();
    }
    let sizes = Sizes {
        history_bytes: 10,
        history_always: 0,
        ..Sizes::default()
    };
    let gone = prune(
        &Disk::real(),
        dir.path(),
        &sizes,
        jiff::Timestamp::UNIX_EPOCH,
    )
    .unwrap();
    assert_eq!(gone, Vec::<Seq>::new());
    assert_eq!(segment::list(dir.path()).unwrap().len(), 3);
}
