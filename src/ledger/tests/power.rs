//! Power cuts, in a model: every operation of the journal's disk is on a tape, and at each of
//! them every image is opened that a cut there may leave (see `journal::disk::tape`).
//!
//! This is what stands behind each single fsync of the journal: without it some image of some
//! cut has lost a receipt, or bears the name of something whole and isn't.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::*;
use crate::{
    journal::{
        Sizes,
        disk::{
            script::Script,
            tape::{Image, Order, Tape},
        },
        read, verify,
    },
    model::line::Line,
};

/// Small, so that a few lines make a segment and a few segments make history.
fn sizes() -> Sizes {
    Sizes {
        segment: 2_500,
        reserve: 64 * 1024,
        floor: 8 * 1024,
        history_bytes: 6_000,
        history_always: 2_000,
        ..Sizes::default()
    }
}

/// A ledger on a taped disk, and what its clients were told.
struct Life {
    tape: Tape,
    script: Script,
    options: OpenOptions,
    withdrawn: BTreeSet<Seq>,
    next: u64,
}

impl Life {
    fn on(tape: Tape, root: &Path) -> Self {
        let (disk, script) = Disk::taped(tape.clone());
        let mut options = options(&root.join("state"));
        options.disk = disk;
        options.sizes = sizes();
        Self {
            tape,
            script,
            options,
            withdrawn: BTreeSet::new(),
            next: 0,
        }
    }

    fn open(&self) -> Ledger {
        Ledger::open(self.options.clone()).unwrap().0
    }

    /// One client's wait for its receipt.
    fn receipt(&mut self, ledger: &Ledger, seq: Seq) {
        match block(ledger.durable(seq)) {
            Ok(()) => self.tape.mark(seq),
            Err(BookError::Withdrawn { .. }) => drop(self.withdrawn.insert(seq)),
            Err(error) => panic!("{error}"),
        }
    }

    fn write(&mut self, ledger: &Ledger) -> Seq {
        self.next += 1;
        let recorded = match self.next % 4 {
            0 => ledger.record(Event::Removed {
                uid: uid(self.next - 2),
            }),
            3 => ledger.record(intended(self.next - 2, 1)),
            _ => ledger.record(accepted(self.next)),
        };
        recorded.unwrap().seq
    }

    /// Some lines: most with a receipt, some without.
    fn work(&mut self, ledger: &Ledger, lines: usize) {
        for n in 0..lines {
            let seq = self.write(ledger);
            if n % 3 != 1 {
                self.receipt(ledger, seq);
            }
        }
    }
}

/// Judges images by what was written and what of it was receipted.
struct Judge {
    written: BTreeMap<Seq, Line>,
    withdrawn: BTreeSet<Seq>,
    seen: HashSet<(u64, Seq)>,
    scratch: tempfile::TempDir,
    images: u64,
    receipts: u64,
    faults: Vec<String>,
}

impl Judge {
    fn new(life: &Life) -> Self {
        let mut written = BTreeMap::new();
        for line in life.tape.appends() {
            if let Ok(line) = serde_json::from_slice::<Line>(&line) {
                written.insert(line.seq, line);
            }
        }
        Self {
            written,
            withdrawn: life.withdrawn.clone(),
            seen: HashSet::new(),
            scratch: tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .unwrap(),
            images: 0,
            receipts: 0,
            faults: Vec::new(),
        }
    }

    /// Every image of every cut.
    fn all(&mut self, tape: &Tape, cuts: impl IntoIterator<Item = usize>) {
        for cut in cuts {
            let receipts = tape.marks(cut);
            let last = receipts.iter().copied().max().unwrap_or(0);
            for order in [Order::AsAsked, Order::Any] {
                for image in tape.images(cut, order) {
                    if self.seen.insert((image.fingerprint(), last)) {
                        self.images += 1;
                        self.receipts += receipts.len() as u64;
                        self.one(&image, cut, last, order);
                    }
                }
            }
        }
    }

    fn one(&mut self, image: &Image, cut: usize, last: Seq, order: Order) {
        let root = self.scratch.path().join(self.images.to_string());
        std::fs::create_dir(&root).unwrap();
        image.write(&root).unwrap();
        if let Err(fault) = self.judge(&root, last, order) {
            self.faults.push(format!("cut {cut}: {fault}"));
        } else if self.images.is_multiple_of(400) {
            go_on(&root, last);
        }
        std::fs::remove_dir_all(&root).unwrap();
    }

    fn judge(&self, root: &Path, last: Seq, order: Order) -> Result<(), String> {
        let journal = root.join("state/journal");
        let loaded = read::load(&journal, 0, None).map_err(|e| format!("unreadable: {e}"))?;
        if let Some(damage) = loaded.damage.first() {
            return Err(format!("called damaged: {damage}"));
        }
        if loaded.tip.0 < last {
            return Err(format!("ends at {}, {last} was receipted", loaded.tip.0));
        }
        for line in &loaded.lines {
            if self.written.get(&line.seq) != Some(line) {
                return Err(format!("line {} is not what was written", line.seq));
            }
        }
        // Withdrawn lines may be there until the segment after them is; then they are gone.
        let back = loaded.lines.iter().any(|l| self.withdrawn.contains(&l.seq));
        let counted = self.written.range(..=loaded.tip.0).map(|(_, line)| line);
        let mut fold = Fold::default();
        for line in counted.filter(|l| back || !self.withdrawn.contains(&l.seq)) {
            fold.apply(line);
        }
        if loaded.fold.pieces() != fold.pieces() {
            return Err("the fold is not that of the lines".to_owned());
        }
        if order == Order::AsAsked {
            let verdict = verify::verify(&journal, 0).map_err(|e| e.to_string())?;
            if let Some(damage) = verdict.damage.first() {
                return Err(format!("its history is called damaged: {damage}"));
            }
        }
        Ok(())
    }

    fn conclude(self, what: &str) {
        println!(
            "{what}: {} images, {} receipts checked, {} faults",
            self.images,
            self.receipts,
            self.faults.len()
        );
        assert!(
            self.faults.is_empty(),
            "{:#?}",
            &self.faults[..self.faults.len().min(12)]
        );
    }
}

/// A daemon starts on the image, works, is closed, and finds all of it again.
fn go_on(root: &Path, last: Seq) {
    let options = || {
        let mut options = options(&root.join("state"));
        options.sizes = sizes();
        options
    };
    let (ledger, opening) = Ledger::open(options()).unwrap();
    assert_eq!((opening.damage, opening.ahead), (vec![], None));
    let seq = ledger.record(accepted(9_999)).unwrap().seq;
    assert!(seq > last);
    block(ledger.durable(seq)).unwrap();
    let before = pieces(&ledger);
    ledger.close().unwrap();
    drop(ledger);
    let (ledger, opening) = Ledger::open(options()).unwrap();
    assert_eq!(opening.damage, vec![]);
    assert!(matches!(opening.store, StoreOpening::Loaded { .. }));
    assert_eq!(before[1..], pieces(&ledger)[1..]);
}

/// Every way in which a journal grows: several segments, snapshots and removals, a torn line, a
/// failed sync, an orderly end, a kill with lines that nobody had waited for.
fn full_life(root: &Path) -> Life {
    let mut life = Life::on(Tape::below(root), root);
    let ledger = life.open();
    life.work(&ledger, 20);
    // Lines that nobody waits for, and a torn one behind them.
    life.write(&ledger);
    life.script.tear_next_append(30);
    let seq = life.write(&ledger);
    life.receipt(&ledger, seq);
    life.work(&ledger, 6);
    // A sync that fails.
    life.script.fail(Op::Fdatasync, 0, 1, nix::libc::EIO);
    let seq = life.write(&ledger);
    life.receipt(&ledger, seq);
    life.work(&ledger, 12);
    life.write(&ledger);
    ledger.close().unwrap();
    life.tape.mark(ledger.read(|fold| fold.seq));
    drop(ledger);
    // Killed with lines that nobody has waited for; the next daemon believes them.
    let ledger = life.open();
    life.write(&ledger);
    let seq = life.write(&ledger);
    drop(ledger);
    let ledger = life.open();
    life.receipt(&ledger, seq);
    life.work(&ledger, 8);
    life
}

#[test]
fn whatever_a_power_cut_leaves_opens_and_honours_every_receipt() {
    let root = tempfile::tempdir().unwrap();
    let life = full_life(root.path());
    assert!(!life.withdrawn.is_empty());
    let mut judge = Judge::new(&life);
    let steps = life.tape.len();
    judge.all(&life.tape, 0..=steps);
    assert!(judge.images > 1_000, "{} images", judge.images);
    judge.conclude(&format!("power cuts after each of {steps} operations"));
}

/// A kill at each place where names change, a start on what was there, and a power cut.
fn kill_start_cut(full: bool, most: usize) -> (u64, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let first = full_life(root.path());
    let places = first.tape.turning_points();
    let every = places.len().div_ceil(most).max(1);
    let (mut starts, mut faults) = (0, Vec::new());
    for kill in places.into_iter().step_by(every) {
        let root = tempfile::tempdir().unwrap();
        let tape = first.tape.resumed(kill, root.path()).unwrap();
        let mut life = Life::on(tape, root.path());
        life.withdrawn.clone_from(&first.withdrawn);
        life.next = 1_000;
        if full {
            life.script
                .fail(Op::Reserve, 0, 1_000_000, nix::libc::ENOSPC);
        }
        let ledger = life.open();
        // Before the first segment there is none to go on in.
        if ledger.health().read_only.is_some() {
            continue;
        }
        starts += 1;
        let found = ledger.read(|fold| fold.seq);
        life.receipt(&ledger, found);
        let gone = ledger.record(Event::Removed { uid: uid(1) }).unwrap().seq;
        life.receipt(&ledger, gone);
        drop(ledger);
        let mut judge = Judge::new(&life);
        // Not every withdrawn line was by the time of the kill.
        judge
            .withdrawn
            .retain(|seq| *seq > found || withdrawn_by(&first, kill, *seq));
        judge.all(&life.tape, kill..=life.tape.len());
        let named = |fault| format!("kill {kill}, {fault}");
        faults.extend(judge.faults.into_iter().map(named));
    }
    (starts, faults)
}

/// Was a line's segment ended without it by then: does a later header leave it out?
fn withdrawn_by(life: &Life, kill: usize, seq: Seq) -> bool {
    let root = tempfile::tempdir().unwrap();
    life.tape.resumed(kill, root.path()).unwrap();
    let loaded = read::load(&root.path().join("state/journal"), 0, None).unwrap();
    loaded.tip.0 > seq && loaded.lines.iter().all(|line| line.seq != seq)
}

#[test]
fn a_power_cut_after_a_kill_takes_nothing_that_the_next_start_believed() {
    let (starts, faults) = kill_start_cut(false, 16);
    assert!(starts >= 12, "{starts} starts");
    assert!(faults.is_empty(), "{:#?}", &faults[..faults.len().min(12)]);
}

#[test]
fn a_power_cut_after_a_kill_and_a_start_on_a_full_disk_takes_nothing_either() {
    let (starts, faults) = kill_start_cut(true, 16);
    assert!(starts >= 6, "{starts} starts");
    assert!(faults.is_empty(), "{:#?}", &faults[..faults.len().min(12)]);
}
