//! Lines that nobody has any more leave those in doubt that they may have been about.

use super::*;

fn instances(ledger: &Ledger) -> Vec<String> {
    let mut found: Vec<_> =
        ledger.read(|fold| fold.doubted().map(|r| r.instance.to_string()).collect());
    found.sort();
    found
}

/// Makes the line at `seq` unreadable.
fn wreck(dir: &Path, seq: Seq) {
    let journal = dir.join("journal");
    let head = format!("{{\"seq\":{seq},");
    for first in segment::list(&journal).unwrap() {
        let path = journal.join(segment::file_name(first));
        let text = std::fs::read_to_string(&path).unwrap();
        if let Some(at) = text.find(&head) {
            let mut bytes = text.into_bytes();
            bytes[at + head.len()..at + head.len() + 30].fill(b'#');
            std::fs::write(&path, bytes).unwrap();
            return;
        }
    }
    panic!("no line {seq}");
}

/// web-0 to web-4 with a line of the node's own between web-2 and web-3, which is wrecked; the
/// store is gone.
fn with_a_hole() -> (tempfile::TempDir, Seq) {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    for n in 0..3 {
        ledger.record(accepted(n)).unwrap();
    }
    let hole = ledger.record(Event::DaemonStopped {}).unwrap().seq;
    // A later line says that this one was durable: bad bytes there are damage, no tail.
    block(ledger.durable(hole)).unwrap();
    for n in 3..5 {
        ledger.record(accepted(n)).unwrap();
    }
    ledger.close().unwrap();
    drop(ledger);
    wreck(dir.path(), hole);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    (dir, hole)
}

#[test]
fn those_are_in_doubt_that_could_have_had_a_line_in_the_hole() {
    let (dir, hole) = with_a_hole();
    let (ledger, opening) = open(dir.path());
    assert_eq!(opening.doubted, 3);
    assert_eq!(instances(&ledger), ["web-0", "web-1", "web-2"]);
    let (mode, detail) = opening.degraded().remove(1);
    assert_eq!(mode, DegradedMode::JournalDamaged);
    assert!(detail.contains("3 instances are in doubt"), "{detail}");
    assert!(detail.contains(&format!("line {hole} is lost")), "{detail}");
}

#[test]
fn a_later_instruction_settles_what_an_instance_shall_be() {
    let (dir, _) = with_a_hole();
    let (ledger, _) = open(dir.path());
    let source = Source::Scheduler;
    ledger
        .record(Event::DestroyAccepted {
            uid: uid(0),
            source,
        })
        .unwrap();
    ledger
        .record(Event::Settled {
            uid: uid(1),
            source,
        })
        .unwrap();
    assert_eq!(instances(&ledger), ["web-2"]);
    drop(ledger);
    // Also where the hole is met anew, for the store is gone again.
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (ledger, opening) = open(dir.path());
    assert_eq!(instances(&ledger), ["web-2"]);
    assert_eq!(opening.doubted, 1);
}

#[test]
fn a_later_loss_concerns_also_those_that_an_earlier_one_does_not() {
    let (dir, _) = with_a_hole();
    let (ledger, _) = open(dir.path());
    let doubted: Vec<_> = ledger.read(|fold| fold.doubted().map(|r| r.uid.clone()).collect());
    for uid in doubted {
        let source = Source::Operator;
        ledger.record(Event::Settled { uid, source }).unwrap();
    }
    let second = ledger.record(Event::DaemonStopped {}).unwrap().seq;
    block(ledger.durable(second)).unwrap();
    ledger.record(accepted(7)).unwrap();
    ledger.close().unwrap();
    drop(ledger);
    wreck(dir.path(), second);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (_, opening) = open(dir.path());
    assert_eq!(opening.doubted, 5, "all but web-7, which began later");
}

#[test]
fn a_doubt_outlives_kills_the_store_and_snapshots_until_it_is_settled() {
    let (dir, _) = with_a_hole();
    for start in 0..4 {
        // As after SIGKILL.
        let (ledger, opening) = open(dir.path());
        assert_eq!(opening.doubted, 3, "start {start}");
        let seq = ledger.read(|fold| fold.seq);
        block(ledger.stored(seq));
        if start == 2 {
            ledger.snapshot_soon();
            let limit = std::time::Instant::now() + Duration::from_secs(20);
            let journal = dir.path().join("journal");
            while crate::journal::snapshot::list(&journal).unwrap().is_empty() {
                assert!(std::time::Instant::now() < limit, "no snapshot");
                std::thread::yield_now();
            }
        }
        drop(ledger);
        if start == 2 {
            std::fs::remove_dir_all(dir.path().join("db")).unwrap();
        }
    }
    let (ledger, _) = open(dir.path());
    assert_eq!(block(ledger.accept_damage()).unwrap().len(), 3);
    assert!(instances(&ledger).is_empty());
    ledger.snapshot_now().unwrap();
    ledger.close().unwrap();
    drop(ledger);
    let (ledger, opening) = open(dir.path());
    assert!(instances(&ledger).is_empty());
    assert_eq!(opening.damaged(), None, "what is damaged is history");
}

#[test]
fn on_a_drained_node_everything_is_in_doubt_for_what_is_lost_may_have_uncordoned_it() {
    let (dir, _) = with_a_hole();
    let fold = offline::load(dir.path()).unwrap();
    let mut drained = fold.fold.clone();
    drained.node.drained = true;
    let uids = doubt(&drained, &fold.damage).unwrap().uids;
    assert_eq!(uids.len(), 5);
    assert_eq!(doubt(&fold.fold, &fold.damage).unwrap().uids.len(), 3);
    assert_eq!(doubt(&fold.fold, &[]), None);
}

#[test]
fn what_the_store_has_is_not_in_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    ledger.record(accepted(0)).unwrap();
    let hole = ledger.record(accepted(1)).unwrap().seq;
    ledger.close().unwrap();
    drop(ledger);
    wreck(dir.path(), hole);
    let (ledger, opening) = open(dir.path());
    assert_eq!((opening.damage.len(), opening.doubted), (1, 0));
    assert_eq!(ledger.read(|fold| fold.instances.len()), 2);
}
