//! Kills, flipped bits, readers beside the writer, newer writers.

use std::{collections::BTreeSet, path::PathBuf};

use proptest::prelude::*;

use super::*;
use crate::journal::{Sizes, frame, read};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn last_segment(journal: &Path) -> PathBuf {
    let first = *segment::list(journal).unwrap().last().unwrap();
    journal.join(segment::file_name(first))
}

/// A state directory with two segments, and the last durable seq with the bytes of its segment
/// up to it.
fn two_segments() -> (tempfile::TempDir, u64, usize) {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    ledger.record(accepted(1)).unwrap();
    drop(ledger);
    let (ledger, _) = open(dir.path());
    ledger.record(accepted(2)).unwrap();
    let durable = ledger.record(intended(2, 1)).unwrap().seq;
    block(ledger.durable(durable)).unwrap();
    let journal = dir.path().join("journal");
    let bytes = usize::try_from(last_segment(&journal).metadata().unwrap().len()).unwrap();
    ledger.record(accepted(3)).unwrap();
    ledger.record(accepted(4)).unwrap();
    drop(ledger);
    (dir, durable, bytes)
}

#[test]
fn a_kill_at_any_byte_loses_no_receipted_line() {
    let (dir, durable, durable_bytes) = two_segments();
    let journal = dir.path().join("journal");
    let whole = std::fs::read(last_segment(&journal)).unwrap();
    let copied = tempfile::tempdir().unwrap();
    let to = copied.path().join("journal");
    copy(&journal, &to);
    let mut reopened = BTreeSet::new();
    for cut in durable_bytes..=whole.len() {
        std::fs::write(last_segment(&to), &whole[..cut]).unwrap();
        let loaded = read::load(&to, 0, None).unwrap();
        assert!(
            loaded.damage.is_empty(),
            "cut at {cut}: {:?}",
            loaded.damage
        );
        assert!(loaded.fold.seq >= durable, "cut at {cut}");
        assert!(loaded.fold.instances.contains_key(&uid(2)));
        // And a start goes on behind it, once for each number of whole lines, and beside.
        let lines = whole[..cut].iter().filter(|b| **b == b'\n').count();
        if reopened.insert((lines, whole[cut - 1] == b'\n')) {
            let again = tempfile::tempdir().unwrap();
            copy(&to, &again.path().join("journal"));
            let (ledger, opening) = open(again.path());
            assert!(opening.damage.is_empty());
            let seq = ledger.record(accepted(77)).unwrap().seq;
            block(ledger.durable(seq)).unwrap();
            drop(ledger);
            assert!(offline::verify(again.path()).unwrap().is_sound());
            let found = offline::load(again.path()).unwrap().fold;
            assert!(found.instances.contains_key(&uid(77)) && found.seq == seq);
        }
    }
    assert!(reopened.len() >= 5);
}

#[test]
fn a_flipped_bit_in_any_byte_is_found_and_costs_at_most_its_line() {
    let (dir, _, _) = two_segments();
    let journal = dir.path().join("journal");
    let instances = offline::load(dir.path()).unwrap().fold.instances.len();
    let names = segment::list(&journal).unwrap();
    for first in &names {
        let path = journal.join(segment::file_name(*first));
        let whole = std::fs::read(&path).unwrap();
        let is_last = Some(first) == names.last();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bytes).unwrap();
            let verdict = offline::verify(dir.path()).unwrap();
            // Bad bytes that no receipt is known for are an ignored tail.
            let found = !verdict.is_sound() || (is_last && verdict.tail.is_some());
            assert!(found, "{first}: a flip at byte {at} is not found");
            for damage in &verdict.damage {
                let (from, to) = (damage.offset, damage.offset + damage.bytes.max(1));
                let at = u64::try_from(at).unwrap();
                assert!(
                    damage.file == segment::file_name(*first) && from <= at && at < to,
                    "flip at {at} of {first}: located at {damage}"
                );
            }
            let loaded = read::load(&journal, 0, None).unwrap();
            if verdict.tail.is_none() {
                // A flipped newline makes one line of two.
                assert!(loaded.fold.instances.len() + 2 >= instances);
            }
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(offline::verify(dir.path()).unwrap().is_sound());
}

#[test]
fn a_flipped_bit_below_what_the_store_has_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    for n in 0..5 {
        ledger.record(accepted(n)).unwrap();
    }
    let before = pieces(&ledger);
    ledger.close().unwrap();
    drop(ledger);
    let path = last_segment(&dir.path().join("journal"));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    for start in 0..3 {
        let (ledger, opening) = open(dir.path());
        assert_eq!(before[1..], pieces(&ledger)[1..], "start {start}");
        assert!(
            opening.damage.iter().all(|d| !d.in_doubt()),
            "{:?}",
            opening.damage
        );
        if start == 0 {
            assert_eq!(opening.damage.len(), 1);
            assert_eq!(opening.degraded()[0].0, DegradedMode::JournalDamaged);
        }
        ledger.close().unwrap();
    }
    // The bad bytes are still there, and still told of.
    let verdict = offline::verify(dir.path()).unwrap();
    assert!(verdict.damage.iter().any(|d| d.covered && d.bytes > 0));
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (ledger, _) = open(dir.path());
    assert_eq!(
        before[1..],
        pieces(&ledger)[1..],
        "the journal alone knows it now"
    );
}

#[test]
fn without_the_store_a_damaged_line_is_in_doubt_and_the_others_hold() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    for n in 0..5 {
        let seq = ledger.record(accepted(n)).unwrap().seq;
        block(ledger.durable(seq)).unwrap();
    }
    drop(ledger);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let path = last_segment(&dir.path().join("journal"));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"web-2\"", "\"wob-2\"")).unwrap();
    let (ledger, opening) = open(dir.path());
    assert_eq!(opening.damage.len(), 1);
    let damage = &opening.damage[0];
    // Header 1, then one line for each instance.
    assert_eq!((damage.first, damage.last), (4, Some(4)));
    assert!(damage.in_doubt());
    assert_eq!(ledger.read(|f| f.instances.len()), 4);
}

#[test]
fn a_segment_out_of_the_middle_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..3 {
        let (ledger, _) = open(dir.path());
        ledger.record(accepted(n)).unwrap();
        ledger.close().unwrap();
    }
    let journal = dir.path().join("journal");
    let middle = segment::list(&journal).unwrap()[1];
    std::fs::remove_file(journal.join(segment::file_name(middle))).unwrap();
    let verdict = offline::verify(dir.path()).unwrap();
    assert_eq!(verdict.damage.len(), 1);
    assert_eq!(
        (verdict.damage[0].first, verdict.damage[0].last),
        (3, Some(4))
    );
}

#[test]
fn readers_beside_a_writer_never_see_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path());
    options.sizes = Sizes {
        segment: 8 * 1024,
        reserve: 64 * 1024,
        floor: 4 * 1024,
        history_bytes: 32 * 1024,
        history_always: 8 * 1024,
        ..Sizes::default()
    };
    let (ledger, _) = Ledger::open(options).unwrap();
    let path = dir.path().to_owned();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = std::sync::Arc::clone(&done);
    let reader = std::thread::spawn(move || {
        let (mut last, mut rounds) = (0, 0);
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let found = offline::load(&path).unwrap();
            assert!(found.damage.is_empty(), "{:?}", found.damage);
            assert!(found.seq >= last, "time runs backwards");
            last = found.seq;
            rounds += 1;
        }
        rounds
    });
    for n in 0..400 {
        ledger.record(accepted_sized(n, 500)).unwrap();
        let seq = ledger.record(Event::Removed { uid: uid(n) }).unwrap().seq;
        if n % 8 == 0 {
            block(ledger.durable(seq)).unwrap();
        }
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
}

/// Appends a line that this riklet doesn't write, as a newer one would.
fn append_foreign(dir: &Path, body: &str) {
    let path = last_segment(&dir.join("journal"));
    let bytes = std::fs::read(&path).unwrap();
    let last = bytes[..bytes.len() - 1]
        .rsplit(|b| *b == b'\n')
        .next()
        .unwrap();
    let (_, prev) = frame::split(last).unwrap();
    let sum = prev.next(body.as_bytes());
    let mut all = bytes.clone();
    all.extend_from_slice(format!("{body},\"sum\":\"{sum}\"}}\n").as_bytes());
    std::fs::write(&path, all).unwrap();
}

#[test]
fn a_kind_of_line_that_is_unknown_stops_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    ledger.close().unwrap();
    drop(ledger);
    append_foreign(
        dir.path(),
        r#"{"seq":2,"at":"2026-01-01T00:00:00Z","up":1,"boot":"b","kind":"teleported""#,
    );
    let error = Ledger::open(options(dir.path())).unwrap_err();
    assert!(error.is_newer(), "{error}");
    assert!(error.to_string().contains("teleported"), "{error}");
    assert!(offline::load(dir.path()).is_err());
}

#[test]
fn unknown_fields_are_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    ledger.close().unwrap();
    drop(ledger);
    append_foreign(
        dir.path(),
        r#"{"seq":2,"at":"2026-01-01T00:00:00Z","up":1,"boot":"b","kind":"drained","mood":"fine""#,
    );
    let (ledger, opening) = open(dir.path());
    assert!(opening.damage.is_empty());
    assert!(ledger.read(|f| f.node.drained));
}

#[test]
fn a_journal_that_needs_a_newer_reader_stops_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    ledger.close().unwrap();
    drop(ledger);
    let path = last_segment(&dir.path().join("journal"));
    let text = std::fs::read_to_string(&path).unwrap();
    let header = text.lines().next().unwrap();
    let (body, _) = frame::split(header.as_bytes()).unwrap();
    let body = std::str::from_utf8(body)
        .unwrap()
        .replace("\"min_reader\":1", "\"min_reader\":2");
    let sum = crate::journal::Sum::START.next(body.as_bytes());
    std::fs::write(&path, format!("{body},\"sum\":\"{sum}\"}}\n")).unwrap();
    assert!(Ledger::open(options(dir.path())).unwrap_err().is_newer());
}

#[test]
fn lines_and_past_states_can_be_read() {
    let (dir, _, _) = two_segments();
    let all: Vec<_> = offline::lines(dir.path(), 0..=u64::MAX)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let seqs: Vec<u64> = all.iter().map(|l| l.seq).collect();
    assert_eq!(seqs, (1..=7).collect::<Vec<_>>());
    let some: Vec<u64> = offline::lines(dir.path(), 4..=5)
        .unwrap()
        .map(|l| l.unwrap().seq)
        .collect();
    assert_eq!(some, vec![4, 5]);
    let past = offline::load_at(dir.path(), 4).unwrap();
    assert_eq!((past.seq, past.fold.instances.len()), (4, 2));
}

#[derive(Debug, Clone)]
enum Step {
    Record(Event),
    Durable,
    FailSync,
    Tear(usize),
    Kill,
    LoseStore,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6_u64).prop_map(|n| Step::Record(accepted(n))),
        3 => (0..6_u64, 1..4_u32).prop_map(|(n, a)| Step::Record(intended(n, a))),
        2 => (0..6_u64).prop_map(|n| Step::Record(Event::Removed { uid: uid(n) })),
        4 => Just(Step::Durable),
        1 => Just(Step::FailSync),
        1 => (0..200_usize).prop_map(Step::Tear),
        2 => Just(Step::Kill),
        1 => Just(Step::LoseStore),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_fold_after_a_start_is_the_fold_before(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let start = || {
            let (disk, script) = Disk::scripted();
            let mut options = options(dir.path());
            options.disk = disk;
            let (ledger, opening) = Ledger::open(options).unwrap();
            assert!(opening.damage.is_empty(), "{:?}", opening.damage);
            (ledger, script)
        };
        let (mut ledger, mut script) = start();
        for step in steps {
            match step {
                Step::Record(event) => drop(ledger.record(event).unwrap()),
                Step::Durable => {
                    let seq = ledger.read(|f| f.seq);
                    block(ledger.durable(seq)).unwrap();
                }
                Step::FailSync => {
                    let seq = ledger.record(accepted(9)).unwrap().seq;
                    script.fail(Op::Fdatasync, 0, 1, nix::libc::EIO);
                    assert!(block(ledger.durable(seq)).is_err());
                    // Receipts fail at once; this waits for the segment after.
                    assert_eq!(ledger.health().read_only, None);
                }
                Step::Tear(bytes) => script.tear_next_append(bytes),
                Step::Kill | Step::LoseStore => {
                    let before = pieces(&ledger);
                    drop(ledger);
                    if matches!(step, Step::LoseStore) {
                        std::fs::remove_dir_all(dir.path().join("db")).unwrap();
                    }
                    (ledger, script) = start();
                    prop_assert_eq!(&before[1..], &pieces(&ledger)[1..]);
                }
            }
        }
        drop(ledger);
        let verdict = offline::verify(dir.path()).unwrap();
        prop_assert!(verdict.is_sound(), "{:?}", verdict.damage);
    }
}

#[test]
fn a_snapshot_corrupted_at_start_changes_nothing_that_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let (ledger, _) = open(dir.path());
    for n in 0..2 {
        ledger.record(accepted(n)).unwrap();
        let seq = ledger.read(|f| f.seq);
        block(ledger.durable(seq)).unwrap();
        ledger.snapshot_soon();
        let limit = std::time::Instant::now() + Duration::from_secs(20);
        while crate::journal::snapshot::list(&journal).unwrap().last() != Some(&seq) {
            assert!(std::time::Instant::now() < limit, "no snapshot is taken");
            std::thread::yield_now();
        }
    }
    let before = pieces(&ledger);
    ledger.close().unwrap();
    drop(ledger);
    // The newest, then both; with the store and without it.
    let seqs = crate::journal::snapshot::list(&journal).unwrap();
    assert_eq!(seqs.len(), 2);
    for seq in seqs.into_iter().rev() {
        let path = journal.join(crate::journal::snapshot::file_name(seq));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        for with_store in [true, false] {
            if !with_store {
                std::fs::remove_dir_all(dir.path().join("db")).unwrap();
            }
            let (ledger, opening) = open(dir.path());
            assert_eq!(before[1..], pieces(&ledger)[1..]);
            assert!(opening.damage.iter().all(|d| !d.in_doubt()));
            let told = opening.degraded();
            let damaged =
                |(mode, _): &(DegradedMode, String)| *mode == DegradedMode::JournalDamaged;
            assert!(told.iter().any(damaged), "{told:?}");
            ledger.close().unwrap();
        }
    }
}
