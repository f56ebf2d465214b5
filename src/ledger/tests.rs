use std::{path::Path, time::Duration};

use jiff::Timestamp;

use super::*;
use crate::{
    clock::Clock,
    journal::{Disk, disk::Op, segment},
    model::{
        ids::{InstanceId, Source, Uid},
        line::{DegradedMode, Intent},
        spec::{ContainerSpec, WorkloadSpec},
    },
    store::Why,
};

pub(super) fn clock() -> Clock {
    Clock::manual(
        Timestamp::from_second(1_700_000_000).unwrap(),
        1_000,
        "boot-1",
    )
}

pub(super) fn options(dir: &Path) -> OpenOptions {
    let mut options = OpenOptions::new(dir, clock());
    // A loaded machine may be slower than the 1 s of production.
    options.store.open_limit = Duration::from_secs(20);
    options
}

pub(super) fn open(dir: &Path) -> (Ledger, Opening) {
    Ledger::open(options(dir)).unwrap()
}

pub(super) fn uid(n: u64) -> Uid {
    Uid::from_entropy(n)
}

pub(super) fn accepted(n: u64) -> Event {
    accepted_sized(n, 20)
}

pub(super) fn accepted_sized(n: u64, bytes: usize) -> Event {
    Event::Accepted {
        uid: uid(n),
        instance: InstanceId::from_wire(&format!("web-{n}")).unwrap(),
        source: Source::Scheduler,
        definition: "d".repeat(bytes),
        spec: Box::new(WorkloadSpec {
            name: "web".to_owned(),
            containers: vec![ContainerSpec {
                name: "c".to_owned(),
                image: "busybox".to_owned(),
                ..ContainerSpec::default()
            }],
            ..WorkloadSpec::default()
        }),
        warnings: vec![],
    }
}

pub(super) fn intended(n: u64, attempt: u32) -> Event {
    Event::AttemptIntended {
        uid: uid(n),
        intent: Intent {
            container: format!("{}-0-{attempt}", uid(n)).parse().unwrap(),
            snapshot: "sha256-00".to_owned(),
            netns: None,
        },
    }
}

pub(super) fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(30), future)
                .await
                .expect("within 30 s")
        })
}

fn pieces(ledger: &Ledger) -> Vec<(crate::model::fold::Piece, String)> {
    ledger.read(Fold::pieces)
}

#[test]
fn what_was_recorded_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, opening) = open(dir.path());
    assert_eq!(opening.store, StoreOpening::Fresh);
    assert!(opening.new_journal && opening.degraded().is_empty());
    let recorded = ledger.record(accepted(1)).unwrap();
    assert!(recorded.state.is_some());
    block(ledger.durable(recorded.seq)).unwrap();
    block(ledger.stored(recorded.seq));
    let before = pieces(&ledger);
    drop(ledger);
    let (ledger, opening) = open(dir.path());
    assert_eq!(
        opening.store,
        StoreOpening::Loaded {
            applied: recorded.seq
        }
    );
    assert!(opening.damage.is_empty() && opening.degraded().is_empty());
    let after = pieces(&ledger);
    assert_eq!(before.len(), after.len());
    assert_eq!(before[1..], after[1..]);
}

#[test]
fn without_the_store_the_same_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    for n in 0..20 {
        ledger.record(accepted(n)).unwrap();
    }
    let before = pieces(&ledger);
    ledger.close().unwrap();
    drop(ledger);
    std::fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (ledger, opening) = open(dir.path());
    assert!(matches!(
        opening.store,
        StoreOpening::Rebuilt {
            why: Why::Missing,
            ..
        }
    ));
    assert_eq!(opening.degraded()[0].0, DegradedMode::StoreRebuilt);
    assert_eq!(before[1..], pieces(&ledger)[1..]);
}

#[test]
fn those_who_wait_at_the_same_time_share_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let before = ledger.counters().fdatasyncs;
    block(async {
        let mut waits = tokio::task::JoinSet::new();
        for n in 0..100 {
            let seq = ledger.record(accepted(n)).unwrap().seq;
            let ledger = ledger.clone();
            waits.spawn(async move { ledger.durable(seq).await });
        }
        while let Some(done) = waits.join_next().await {
            done.unwrap().unwrap();
        }
    });
    let syncs = ledger.counters().fdatasyncs - before;
    assert!((1..100).contains(&syncs), "{syncs} syncs for 100 waits");
}

#[test]
fn lines_that_are_recorded_together_are_told_of_once_and_share_one_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let mut written = ledger.written();
    written.mark_unchanged();
    let before = ledger.counters().fdatasyncs;
    // Whoever waits for the first as soon as it is told of one.
    let waiting = ledger.clone();
    let first = ledger.read(|fold| fold.seq) + 1;
    let watcher = std::thread::spawn(move || {
        block(async {
            written.changed().await.unwrap();
            waiting.durable(first).await.unwrap();
            *written.borrow_and_update()
        })
    });
    let recorded = ledger.record_all(vec![accepted(1), accepted(2)]).unwrap();
    let seqs: Vec<_> = recorded.iter().map(|r| r.seq).collect();
    assert_eq!(seqs, [first, first + 1]);
    assert_eq!(watcher.join().unwrap(), first + 1);
    block(ledger.durable(first + 1)).unwrap();
    assert_eq!(ledger.counters().fdatasyncs - before, 1);
}

#[test]
fn nothing_is_synced_unless_somebody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let before = ledger.counters();
    for n in 0..10 {
        ledger.record(accepted(n)).unwrap();
    }
    let mut written = ledger.written();
    let last = ledger.read(|f| f.seq);
    block(written.wait_for(|seq| *seq == last)).unwrap();
    let after = ledger.counters();
    assert_eq!(after.fdatasyncs, before.fdatasyncs);
    assert_eq!(after.dir_fsyncs, before.dir_fsyncs);
}

#[test]
fn after_a_failed_sync_receipts_fail_and_the_journal_goes_on_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, script) = Disk::scripted();
    let mut options = options(dir.path());
    options.disk = disk;
    let (ledger, _) = Ledger::open(options).unwrap();
    let kept = ledger.record(accepted(1)).unwrap().seq;
    block(ledger.durable(kept)).unwrap();
    let lapses = ledger.lapses();
    let lost = ledger.record(accepted(2)).unwrap().seq;
    script.fail(Op::Fdatasync, 0, 1, nix::libc::EIO);
    assert!(matches!(
        block(ledger.durable(lost)),
        Err(BookError::Withdrawn { .. })
    ));
    assert_eq!(*lapses.borrow(), 1);
    assert!(
        ledger.read(|f| f.instances.contains_key(&uid(1)) && !f.instances.contains_key(&uid(2)))
    );
    let next = ledger.record(accepted(3)).unwrap().seq;
    assert!(next > lost, "a withdrawn seq is never used again");
    block(ledger.durable(next)).unwrap();
    assert!(
        block(ledger.durable(lost)).is_err(),
        "later receipts don't bring it back"
    );
    assert_eq!(ledger.health().read_only, None);
    block(ledger.stored(next));
    let before = pieces(&ledger);
    drop(ledger);
    let (ledger, opening) = open(dir.path());
    assert_eq!(opening.damage, vec![]);
    assert!(matches!(opening.store, StoreOpening::Loaded { .. }));
    assert_eq!(before[1..], pieces(&ledger)[1..]);
    assert!(offline::verify(dir.path()).unwrap().is_sound());
}

#[test]
fn a_torn_write_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, script) = Disk::scripted();
    let mut options = options(dir.path());
    options.disk = disk;
    let (ledger, _) = Ledger::open(options).unwrap();
    ledger.record(accepted(1)).unwrap();
    script.tear_next_append(30);
    let seq = ledger.record(accepted(2)).unwrap().seq;
    block(ledger.durable(seq)).unwrap();
    drop(ledger);
    assert_eq!(segment::list(&dir.path().join("journal")).unwrap().len(), 2);
    let verdict = offline::verify(dir.path()).unwrap();
    assert!(verdict.is_sound(), "{:?}", verdict.damage);
    let found = offline::load(dir.path()).unwrap();
    assert_eq!(found.fold.instances.len(), 2);
}

#[test]
fn a_journal_that_cannot_be_written_says_so_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, script) = Disk::scripted();
    let mut options = options(dir.path());
    options.disk = disk;
    let (ledger, _) = Ledger::open(options).unwrap();
    let seq = ledger.record(accepted(1)).unwrap().seq;
    script.fail(Op::Append, 0, 1_000, nix::libc::EIO);
    assert!(matches!(
        ledger.record(accepted(2)),
        Err(BookError::ReadOnly { .. })
    ));
    assert!(ledger.health().read_only.is_some());
    // What was written before is made durable all the same.
    block(ledger.durable(seq)).unwrap();
    script.heal();
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while ledger.heal().read_only.is_some() {
        assert!(std::time::Instant::now() < limit, "it never heals");
        std::thread::yield_now();
    }
    ledger.record(accepted(3)).unwrap();
    drop(ledger);
    let (ledger, opening) = open(dir.path());
    assert!(opening.damage.is_empty());
    assert_eq!(ledger.read(|f| f.instances.len()), 2);
}

mod attacks;
mod doubts;
mod full;
mod power;
mod stores;
