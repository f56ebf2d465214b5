//! A full disk.

use super::*;
use crate::journal::Sizes;

fn small() -> Sizes {
    Sizes {
        segment: 64 * 1024,
        reserve: 128 * 1024,
        floor: 32 * 1024,
        ..Sizes::default()
    }
}

#[test]
fn with_little_space_left_only_what_ends_something_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, script) = Disk::scripted();
    let mut options = options(dir.path());
    options.disk = disk;
    options.sizes = small();
    let (ledger, _) = Ledger::open(options).unwrap();
    script.fail(Op::Reserve, 0, 1_000_000, nix::libc::ENOSPC);
    let mut n = 0;
    let refused = loop {
        n += 1;
        assert!(n < 1_000, "the reserve never runs low");
        match ledger.record(accepted_sized(n, 2_000)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, BookError::DiskFull { .. }), "{refused}");
    assert!(ledger.health().disk_full);
    assert!(ledger.record(intended(1, 1)).is_err());
    let destroy = Event::DestroyAccepted {
        uid: uid(1),
        source: Source::Scheduler,
    };
    let seq = ledger.record(destroy).unwrap().seq;
    block(ledger.durable(seq)).unwrap();
    ledger.record(Event::Removed { uid: uid(1) }).unwrap();
    // Space comes back: so does the rest.
    script.heal();
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while ledger.heal().disk_full {
        assert!(std::time::Instant::now() < limit, "it never heals");
        std::thread::yield_now();
    }
    ledger.record(accepted_sized(2_000, 2_000)).unwrap();
    drop(ledger);
    assert!(offline::verify(dir.path()).unwrap().is_sound());
}

#[test]
fn a_start_on_a_full_disk_goes_on_in_the_former_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    ledger.record(accepted(1)).unwrap();
    ledger.close().unwrap();
    drop(ledger);
    let (disk, script) = Disk::scripted();
    script.fail(Op::Reserve, 0, 1_000_000, nix::libc::ENOSPC);
    let mut options = options(dir.path());
    options.disk = disk;
    let (ledger, opening) = Ledger::open(options).unwrap();
    assert!(opening.disk_full && opening.read_only.is_none());
    let left = ledger.health().reserve_left.unwrap();
    assert!(
        left > 7 * 1024 * 1024,
        "{left} bytes of the former reserve are left"
    );
    let seq = ledger.record(Event::Removed { uid: uid(1) }).unwrap().seq;
    block(ledger.durable(seq)).unwrap();
    drop(ledger);
    let verdict = offline::verify(dir.path()).unwrap();
    assert!(verdict.is_sound() && verdict.segments == 1);
    assert!(offline::load(dir.path()).unwrap().fold.instances.is_empty());
}

#[test]
fn a_start_on_a_full_disk_behind_half_a_line_lives_on_what_the_former_segment_owned() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    ledger.record(accepted(1)).unwrap();
    drop(ledger);
    let journal = dir.path().join("journal");
    let first = segment::list(&journal).unwrap()[0];
    let path = journal.join(segment::file_name(first));
    let mut file = std::fs::File::options().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"{\"seq\":3,\"at\":\"20").unwrap();
    let (disk, script) = Disk::scripted();
    // Full, until the former segment lets go of what it owns.
    script.fail(Op::Reserve, 0, 1, nix::libc::ENOSPC);
    let mut options = options(dir.path());
    options.disk = disk;
    let (ledger, opening) = Ledger::open(options).unwrap();
    assert!(opening.disk_full && opening.read_only.is_none());
    assert!(segment::owned(&path).unwrap() < 64 * 1024);
    let seq = ledger.record(Event::Removed { uid: uid(1) }).unwrap().seq;
    block(ledger.durable(seq)).unwrap();
    drop(ledger);
    let verdict = offline::verify(dir.path()).unwrap();
    assert!(verdict.is_sound() && verdict.segments == 2);
}

#[test]
fn a_refusal_for_want_of_space_is_taken_from_half_of_what_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, script) = Disk::scripted();
    let mut options = options(dir.path());
    options.disk = disk;
    options.sizes = small();
    let (ledger, _) = Ledger::open(options).unwrap();
    script.fail(Op::Reserve, 0, 1_000_000, nix::libc::ENOSPC);
    let fill = |n| ledger.record(accepted_sized(n, 2_000)).is_ok();
    assert!((0..1_000).any(|n| !fill(n)), "the reserve never runs low");
    let refusal = |n: u64| Event::Refused {
        uid: Some(uid(n)),
        instance: format!("web-{n}"),
        source: Source::Scheduler,
        reason: crate::model::state::Reason::DiskFull,
        message: "m".repeat(300),
    };
    let told = (2_000..4_000).take_while(|n| ledger.record(refusal(*n)).is_ok());
    assert!((10..1_000).contains(&told.count()));
    let left = ledger.health().reserve_left.unwrap();
    assert!(
        (12 * 1024..16 * 1024).contains(&left),
        "{left} bytes are left"
    );
    ledger.record(Event::Removed { uid: uid(1) }).unwrap();
}

#[test]
fn ended_segments_give_their_space_back_and_the_live_one_owns_its() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (ledger, _) = open(dir.path());
        ledger.record(accepted(1)).unwrap();
    }
    let journal = dir.path().join("journal");
    let owned: Vec<u64> = segment::list(&journal)
        .unwrap()
        .into_iter()
        .map(|first| segment::owned(&journal.join(segment::file_name(first))).unwrap())
        .collect();
    assert_eq!(owned.len(), 3);
    assert!(owned[0] < 64 * 1024 && owned[1] < 64 * 1024, "{owned:?}");
    assert!(owned[2] >= 8 * 1024 * 1024, "{owned:?}");
}

#[test]
fn segments_are_ended_snapshots_taken_and_history_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.sizes = Sizes {
        segment: 16 * 1024,
        history_bytes: 64 * 1024,
        history_always: 32 * 1024,
        ..small()
    };
    let (ledger, _) = Ledger::open(options.clone()).unwrap();
    for n in 0..300 {
        let seq = ledger.record(accepted_sized(n, 2_000)).unwrap().seq;
        block(ledger.durable(seq)).unwrap();
        ledger.record(Event::Removed { uid: uid(n) }).unwrap();
    }
    let before = pieces(&ledger);
    ledger.close().unwrap();
    drop(ledger);
    let journal = dir.path().join("journal");
    let segments = segment::list(&journal).unwrap();
    assert!(segments[0] > 1, "the oldest went");
    assert_eq!(crate::journal::snapshot::list(&journal).unwrap().len(), 2);
    let bytes: u64 = segments
        .iter()
        .map(|s| {
            journal
                .join(segment::file_name(*s))
                .metadata()
                .unwrap()
                .len()
        })
        .sum();
    assert!(bytes < 128 * 1024, "{bytes} bytes of history");
    let verdict = offline::verify(dir.path()).unwrap();
    assert!(verdict.is_sound(), "{:?}", verdict.damage);
    let found = offline::load(dir.path()).unwrap();
    assert!(found.damage.is_empty());
    assert_eq!(found.fold.pieces(), before);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (ledger, _) = Ledger::open(options).unwrap();
    assert_eq!(before[1..], pieces(&ledger)[1..]);
}
