use std::{path::Path, time::Duration};

use jiff::Timestamp;

use super::*;
use crate::{ledger::StoreOpening, model::line::DegradedMode};

fn start(dir: &Path) -> (Ledger, Opening) {
    let clock = Clock::manual(Timestamp::UNIX_EPOCH, 1_000, "boot-1");
    let mut options = OpenOptions::new(dir, clock);
    // A loaded machine may be slower than the 1 s of production.
    options.store.open_limit = Duration::from_secs(20);
    let (ledger, opening) = Ledger::open(options).unwrap();
    record_start(&ledger, &opening).unwrap();
    (ledger, opening)
}

fn degraded(ledger: &Ledger) -> Vec<DegradedMode> {
    ledger.read(|fold| fold.node.degraded.keys().copied().collect())
}

#[test]
fn a_rebuilt_store_is_shown_until_the_next_clean_start() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, opening) = start(dir.path());
    assert_eq!(opening.store, StoreOpening::Fresh);
    assert_eq!(degraded(&ledger), []);
    ledger.close().unwrap();
    drop(ledger);

    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (ledger, opening) = start(dir.path());
    assert_eq!(degraded(&ledger), [DegradedMode::StoreRebuilt]);
    // Every mode that a start tells of is one that a start leaves again.
    let told = opening.degraded();
    assert!(told.iter().all(|(mode, _)| Opening::JUDGES.contains(mode)));
    ledger.close().unwrap();
    drop(ledger);

    let (ledger, opening) = start(dir.path());
    assert!(matches!(opening.store, StoreOpening::Loaded { .. }));
    assert_eq!(degraded(&ledger), []);
}

#[test]
fn a_child_that_hangs_in_the_kernel_does_not_keep_the_next_daemon_from_starting() {
    let hangs = CgroupError::Unkillable {
        rel: "work".to_owned(),
        pids: vec![7],
        waited_ms: 10_000,
    };
    assert!(harmless(Err(hangs)).is_ok());
    assert!(harmless(Err(CgroupError::NoHierarchy)).is_err());
}
