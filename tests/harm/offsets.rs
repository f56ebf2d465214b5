//! A small journal damaged at every offset, over the real ledger's own files.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
};

use riklet::{
    book::Book as _,
    clock::Clock,
    journal::{Damage, read},
    ledger::{Ledger, OpenOptions, offline},
    model::{
        fold::Fold,
        ids::{InstanceId, Seq, Source},
        line::{Event, Intent},
        spec::RestartPolicy,
    },
    testing::builders::{container_id, uid, workload},
};

use super::kinds::copy_dir;
use crate::{
    below, seed,
    support::proof::{Proof, rounds},
};

/// How a place is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wound {
    Flip(u8),
    Cut,
    Zeros,
}

fn wounded(whole: &[u8], at: usize, wound: Wound) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    match wound {
        Wound::Flip(bit) => bytes[at] ^= 1 << bit,
        Wound::Cut => bytes.truncate(at),
        Wound::Zeros => bytes[at..(at + 512).min(whole.len())].fill(0),
    }
    bytes
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

fn open(dir: &Path) -> (Ledger, riklet::ledger::Opening) {
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH, 1_000, "boot-1");
    let mut options = OpenOptions::new(dir, clock);
    options.store.open_limit = std::time::Duration::from_secs(20);
    Ledger::open(options).unwrap()
}

fn accepted(n: u64) -> Event {
    Event::Accepted {
        uid: uid(n),
        instance: InstanceId::from_wire(&format!("web-{n}")).unwrap(),
        source: Source::Scheduler,
        definition: format!("definition {n}"),
        spec: Box::new(workload(1, RestartPolicy::Always)),
        warnings: Vec::new(),
    }
}

fn intended(n: u64) -> Event {
    Event::AttemptIntended {
        uid: uid(n),
        intent: Intent {
            container: container_id(&uid(n), 0, 1),
            snapshot: "sha256-00".to_owned(),
            netns: None,
        },
    }
}

/// A small journal.
struct Small {
    dir: tempfile::TempDir,
    /// The last receipted line; the store has it, too.
    last: Seq,
    fold: Fold,
    segments: Vec<PathBuf>,
}

/// Two segments, a snapshot within the second, lines before and after it; every line receipted.
fn small() -> Small {
    let dir = tempfile::Builder::new()
        .prefix(&format!("riklet-test-{}-", std::process::id()))
        .tempdir_in("/tmp")
        .unwrap();
    let write = |ledger: &Ledger, from: u64, to: u64| {
        for n in from..to {
            ledger.record(accepted(n)).unwrap();
            let seq = ledger.record(intended(n)).unwrap().seq;
            block(ledger.durable(seq)).unwrap();
            block(ledger.stored(seq));
        }
    };
    let (ledger, _) = open(dir.path());
    write(&ledger, 0, 6);
    ledger.close().unwrap();
    drop(ledger);
    let (ledger, _) = open(dir.path());
    write(&ledger, 6, 10);
    ledger.snapshot_soon();
    let journal = dir.path().join("journal");
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&journal)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        names
    };
    let is_snapshot = |path: &PathBuf| path.to_str().unwrap().contains("/snapshot-");
    while !names().iter().any(is_snapshot) {
        std::thread::yield_now();
    }
    write(&ledger, 10, 14);
    let last = ledger.read(|fold| fold.seq);
    ledger.close().unwrap();
    drop(ledger);
    let fold = offline::load(dir.path()).unwrap().fold;
    let segments = names().into_iter().filter(|path| !is_snapshot(path));
    Small {
        last,
        fold,
        segments: segments.collect(),
        dir,
    }
}

fn says_lost(damage: &[Damage], seq: Seq) -> bool {
    damage
        .iter()
        .any(|d| d.first <= seq && d.last.is_none_or(|last| seq <= last))
}

/// What is wrong with reading the journal, of which every line up to `known` is known to be
/// receipted: a line that is missing without a word.
fn silent_losses(journal: &Path, known: Seq, small: &Small) -> Vec<String> {
    let loaded = read::load(journal, known, None).unwrap();
    let mut faults = Vec::new();
    let there: Vec<Seq> = loaded.lines.iter().map(|line| line.seq).collect();
    // What the end lacks is told by the seq that the store has (`Opening::ahead`).
    let known_or_all = if known == 0 { Seq::MAX } else { known };
    let end = loaded.tip.0.min(known_or_all);
    for seq in loaded.base + 1..=end {
        if !there.contains(&seq) && !says_lost(&loaded.damage, seq) {
            faults.push(format!("line {seq} is lost without a word"));
        }
    }
    let whole = loaded.fold.pieces() == small.fold.pieces();
    let told = !loaded.damage.is_empty() || loaded.tip.0 < known;
    if known > 0 && !whole && !told {
        faults.push("the state differs without a word".to_owned());
    }
    if known == 0 && !whole && !told && loaded.tail.is_none() && loaded.tip.0 == small.last {
        faults.push("the state differs without a word, by the journal alone".to_owned());
    }
    faults
}

/// What a start over it does wrong.
fn start_faults(dir: &Path, damaged: &Path, small: &Small) -> Vec<String> {
    let before = fs::read(damaged).unwrap();
    let (ledger, opening) = open(dir);
    let mut faults = Vec::new();
    if ledger.read(|fold| fold.pieces()[1..] != small.fold.pieces()[1..]) {
        faults.push("the store had it all, and the state differs".to_owned());
    }
    if opening.doubted > 0 {
        faults.push("the store had it all, and instances are in doubt".to_owned());
    }
    let seq = ledger.record(accepted(99)).unwrap().seq;
    if seq <= small.last {
        faults.push(format!("seq {seq} is used again"));
    }
    block(ledger.durable(seq)).unwrap();
    drop(ledger);
    if fs::read(damaged).unwrap() != before {
        faults.push("a start changed its bytes".to_owned());
    }
    faults
}

#[test]
fn s01_a_journal_damaged_at_every_offset_loses_nothing_without_a_word() {
    let small = small();
    let mut proof = Proof::of(
        "A journal damaged anywhere opens, loses no receipted line without saying which, and \
         keeps its bytes",
        format!(
            "each byte (in the short form: a drawn part of them) of a journal of two segments and \
             a snapshot: a bit flipped, cut off there, 512 bytes zeroed; read with and without what the store knows, with and without its \
             snapshot; started over a sample with the store (seed {})",
            seed()
        ),
    );
    let mut violations = Vec::new();
    let (with, without) = (copied(&small, false), copied(&small, true));
    let mut dice = seed();
    let per_file = usize::try_from(rounds(25, 1_500)).unwrap();
    for path in &small.segments {
        let name = path.file_name().unwrap();
        let whole = fs::read(path).unwrap();
        for at in places(&whole, &mut dice) {
            let bit = u8::try_from(crate::draw(&mut dice) % 8).unwrap();
            for wound in [Wound::Flip(bit), Wound::Cut, Wound::Zeros] {
                proof.one("places read");
                let bytes = wounded(&whole, at, wound);
                for dir in [&with, &without] {
                    let journal = dir.path().join("journal");
                    fs::write(journal.join(name), &bytes).unwrap();
                    for known in [small.last, 0] {
                        let faults = silent_losses(&journal, known, &small);
                        violations.extend(faults.into_iter().map(|fault| {
                            format!("{name:?} {wound:?} at {at}, known {known}: {fault}")
                        }));
                    }
                }
                if bytes != whole && offline::verify(with.path()).unwrap().is_sound() {
                    let told = offline::verify(with.path()).unwrap().tail.is_some();
                    let at_end = small.segments.last() == Some(path);
                    if !(at_end && (told || wound == Wound::Cut)) {
                        violations.push(format!("{name:?} {wound:?} at {at}: verify is content"));
                    }
                }
            }
        }
        for dir in [&with, &without] {
            fs::write(dir.path().join("journal").join(name), &whole).unwrap();
        }
        for _ in 0..per_file {
            let at = below(&mut dice, whole.len());
            let bit = u8::try_from(crate::draw(&mut dice) % 8).unwrap();
            let wound = [Wound::Flip(bit), Wound::Cut, Wound::Zeros][below(&mut dice, 3)];
            let dir = copied(&small, below(&mut dice, 2) == 1);
            let damaged = dir.path().join("journal").join(name);
            fs::write(&damaged, wounded(&whole, at, wound)).unwrap();
            proof.one("starts");
            let faults = start_faults(dir.path(), &damaged, &small);
            violations.extend(
                faults
                    .into_iter()
                    .map(|fault| format!("{name:?} {wound:?} at {at}: {fault}")),
            );
        }
    }
    violations.extend(last_line(&small, &mut proof));
    violations.truncate(20);
    proof.conclude("damage_at_every_offset", &violations);
}

/// Every byte in the long form; in the short one the ends of every line, and drawn ones between.
fn places(whole: &[u8], dice: &mut u64) -> Vec<usize> {
    let step = usize::try_from(rounds(61, 1)).unwrap();
    let near_an_end =
        |at: usize| whole[at.saturating_sub(1)..(at + 2).min(whole.len())].contains(&b'\n');
    let mut drawn = |at: &usize| step == 1 || near_an_end(*at) || below(dice, step) == 0;
    (0..whole.len()).filter(|at| drawn(at)).collect()
}

/// Every single bit of the last receipted line: reported as damage, not cut.
fn last_line(small: &Small, proof: &mut Proof) -> Vec<String> {
    let path = small.segments.last().unwrap();
    let name = path.file_name().unwrap();
    let whole = fs::read(path).unwrap();
    let from = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n');
    let from = from.unwrap() + 1;
    let dir = copied(small, false);
    let journal = dir.path().join("journal");
    let mut violations = Vec::new();
    let step = usize::try_from(rounds(5, 1)).unwrap();
    for at in from..whole.len() {
        // All bits in the long form; in the short one some of every byte.
        for bit in (0..8).filter(|bit| (at + usize::from(*bit)) % step == 0) {
            proof.one("bits of the last receipted line");
            fs::write(journal.join(name), wounded(&whole, at, Wound::Flip(bit))).unwrap();
            let loaded = read::load(&journal, small.last, None).unwrap();
            let told = loaded
                .damage
                .iter()
                .any(|d| d.file == name.to_str().unwrap());
            if !told || loaded.tail.is_some() {
                violations.push(format!("bit {bit} of byte {at}: {:?}", loaded.tail));
            }
        }
    }
    // The same bytes of which nobody ever had a receipt: an ignored tail, no damage.
    let unreceipted = small.last - 1;
    for at in from..whole.len() {
        proof.one("places of an unreceipted line");
        fs::write(journal.join(name), wounded(&whole, at, Wound::Cut)).unwrap();
        let loaded = read::load(&journal, unreceipted, None).unwrap();
        if !loaded.damage.is_empty() || (at > from && loaded.tail.is_none()) {
            violations.push(format!("cut at {at}: {:?}", loaded.damage));
        }
    }
    violations
}

/// A copy of it, with the store, and with its snapshot or without.
fn copied(small: &Small, without_snapshot: bool) -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix(&format!("riklet-test-{}-", std::process::id()))
        .tempdir_in("/tmp")
        .unwrap();
    for name in ["journal", "db"] {
        copy_dir(&small.dir.path().join(name), &dir.path().join(name));
    }
    if without_snapshot {
        for entry in fs::read_dir(dir.path().join("journal")).unwrap() {
            let path = entry.unwrap().path();
            if path.to_str().unwrap().contains("/snapshot-") {
                fs::remove_file(path).unwrap();
            }
        }
    }
    dir
}
