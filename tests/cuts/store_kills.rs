//! Kills of the store at system calls on its own files.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use riklet::{
    book::Book,
    ledger::{Ledger, StoreOpening},
};

use super::{cut::Told, load};
use crate::support::proof::Proof;

/// Where: the system call, the first of them and the step to the next that is drawn. sled alone
/// uses pwrite64 and sync_file_range here; the first rename and fsync of a life are those of its
/// own snapshot, and so is one of the first writes.
const CALLS: [(&str, u64, u64); 5] = [
    ("pwrite64", 1, 37),
    ("rename", 1, 0),
    ("sync_file_range", 1, 53),
    ("fsync", 1, 0),
    ("write", 2, 3),
];

/// Kills, each over what the one before left, and starts in between.
pub fn run(kills: u64, proof: &mut Proof, violations: &mut Vec<String>) {
    let name = format!("riklet-test-{}-", std::process::id());
    let dir = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
    fs::create_dir(dir.path().join("disk")).unwrap();
    let among = CALLS.len() as u64;
    for n in 0..kills {
        let (call, first, step) = CALLS[usize::try_from(n % among).unwrap()];
        let when = first + n / among * step;
        let killed = child(dir.path(), call, when);
        let what = if killed {
            "kills at"
        } else {
            "lives that ended before"
        };
        proof.one(format!("{what} {call}"));
        if let Err(fault) = start(dir.path(), proof) {
            violations.push(format!("kill {n}, at {call} {when}: {fault}"));
        }
    }
}

/// A life of the load that is killed at this call; false if it ended before.
fn child(dir: &Path, call: &str, when: u64) -> bool {
    let log = File::create(dir.join("child.log")).unwrap();
    let inject = format!("inject={call}:signal=KILL:when={when}");
    let status = Command::new("strace")
        .args(["-f", "-qqq", "-o", "/dev/null", "-e"])
        .args([&format!("trace={call}"), "-e", &inject])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child_writes", "--nocapture"])
        .env(load::DIR, dir)
        .env(load::LINES, "40")
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .status()
        .unwrap();
    // strace ends as what it traced did.
    let log = || fs::read_to_string(dir.join("child.log")).unwrap();
    let code = status.code();
    assert!(matches!(code, None | Some(0 | 137)), "{status}: {}", log());
    code != Some(0)
}

fn start(dir: &Path, proof: &mut Proof) -> Result<(), String> {
    let state = load::state(&dir.join("disk"));
    let half = fs::read_dir(state.join("db")).is_ok_and(|names| {
        let names = names.map(|name| name.unwrap().file_name());
        names
            .into_iter()
            .any(|name| name.to_string_lossy().ends_with(".generating"))
    });
    if half {
        proof.one("half-written snapshots of the store that were left");
    }
    let began = Instant::now();
    let options = load::options(&state);
    let (ledger, opening) = Ledger::open(options).map_err(|e| e.to_string())?;
    if began.elapsed().as_secs() >= 20 {
        return Err(format!("a start took {:?}", began.elapsed()));
    }
    match &opening.store {
        StoreOpening::Loaded { .. } => proof.one("stores that opened"),
        StoreOpening::Rebuilt { .. } => proof.one("stores set aside and rebuilt"),
        StoreOpening::Fresh => proof.one("stores that were killed before there was any"),
        other @ StoreOpening::Off { .. } => return Err(format!("the store: {other:?}")),
    }
    if !opening.damage.is_empty() || opening.ahead.is_some() {
        return Err(format!("{opening:?}"));
    }
    let told = fs::read(load::receipts(dir)).unwrap_or_default();
    let receipts = ledger.read(|fold| Told::parse(&told).honoured(fold))?;
    proof.add("receipts honoured", receipts);
    ledger.close().map_err(|e| e.to_string())
}
