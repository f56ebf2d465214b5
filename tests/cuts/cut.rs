//! Cuts: images of a loaded disk, and what is made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use riklet::{
    book::Book,
    journal::{read, snapshot, verify},
    ledger::{Ledger, StoreOpening},
    model::{
        fold::{Fold, Piece},
        ids::Seq,
        line::Event,
    },
    testing::builders::uid,
};

use super::load::{self, PHASES};
use crate::support::{
    loop_disk::{self, Mounted},
    proof::Proof,
};

/// A start over what a power cut left has to be done by then on a quiet machine (S03); here it
/// is measured, and only a start that hangs fails.
const START_WITHIN: Duration = Duration::from_secs(20);

/// The disks, inner and outer, and who works on the inner one.
struct Ground {
    // In this order they are let go of.
    child: Child,
    _inner: Mounted,
    outer: Mounted,
    _ram: Mounted,
    dir: tempfile::TempDir,
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ground {
    fn make() -> Self {
        let name = format!("riklet-test-{}-", std::process::id());
        let dir = tempfile::Builder::new().prefix(&name).tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        // In memory: freezing the outer one costs no wait for a real disk.
        let ram = Mounted::mount(
            &["-t", "tmpfs", "-o", "size=384m", "riklet-test"],
            &at("ram"),
        );
        loop_disk::make(&at("ram/outer.img"), 96, &["-O", "^has_journal"]);
        let outer = Mounted::image(&at("ram/outer.img"), &at("outer"));
        loop_disk::make(&at("outer/inner.img"), 64, &["-J", "size=4"]);
        let inner = Mounted::image(&at("outer/inner.img"), &at("disk"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "child_writes", "--nocapture"]);
        command.env(load::DIR, dir.path()).current_dir(dir.path());
        let log = File::create(at("child.log")).unwrap();
        command.stderr(log.try_clone().unwrap()).stdout(log);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        Self {
            child,
            _inner: inner,
            outer,
            _ram: ram,
            dir,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    fn told(&self) -> u64 {
        fs::metadata(load::receipts(self.dir.path())).map_or(0, |meta| meta.len())
    }

    fn phase(&self) -> u8 {
        let mut byte = [0];
        let file = File::open(load::phase(self.dir.path())).unwrap();
        file.read_exact_at(&mut byte, 0).unwrap();
        byte[0]
    }

    /// Waits until a look is satisfied, with the child alive.
    fn until(&mut self, what: &str, mut look: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !look(self) {
            if let Some(ended) = self.child.try_wait().unwrap() {
                let log = fs::read_to_string(self.at("child.log")).unwrap();
                panic!("the load ended: {ended}\n{log}");
            }
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "not within 60 s: {what}"
            );
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// The image of the disk now, what its clients had been told before, and the phase that the
    /// journal is in: for as long as nothing gets through to the disk, it stands in the first step
    /// that needs it.
    fn cut(&self) -> (PathBuf, Told, u8) {
        let told = self.told();
        let image = self.at("ram/cut.img");
        let inner = self.at("outer/inner.img");
        let phase = self.outer.frozen(|| {
            fs::copy(inner, &image).unwrap();
            self.phase()
        });
        let mut text = fs::read(load::receipts(self.dir.path())).unwrap();
        // What the clients may be at, for all that they had been told: read after the cut.
        let later = Told::parse(&text);
        text.truncate(usize::try_from(told).unwrap());
        let mut told = Told::parse(&text);
        told.removing = later.removing;
        (image, told, phase)
    }
}

/// What clients have been told.
#[derive(Default)]
pub struct Told {
    accepted: BTreeMap<String, Seq>,
    removed: BTreeMap<String, Seq>,
    removing: BTreeSet<String>,
}

impl Told {
    /// From what they have written down.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut told = Self::default();
        for line in text.split_inclusive('\n').filter(|l| l.ends_with('\n')) {
            let mut words = line.split_whitespace();
            let (what, seq, uid) = (words.next(), words.next(), words.next());
            let (seq, uid) = (seq.unwrap().parse().unwrap(), uid.unwrap().to_owned());
            match what.unwrap() {
                "accepted" => drop(told.accepted.insert(uid, seq)),
                "removed" => drop(told.removed.insert(uid, seq)),
                _ => drop(told.removing.insert(uid)),
            }
        }
        told
    }

    /// Whoever was told that it is accepted is there until it may be removed; whoever was told
    /// that it is removed is not. How many were told, or who was told wrong.
    pub fn honoured(&self, fold: &Fold) -> Result<u64, String> {
        let there: BTreeSet<String> = fold.instances.keys().map(ToString::to_string).collect();
        for (uid, seq) in &self.accepted {
            if !self.removing.contains(uid) && !there.contains(uid) {
                return Err(format!("{uid} was accepted ({seq}) and is gone"));
            }
        }
        for (uid, seq) in &self.removed {
            if there.contains(uid) {
                return Err(format!("{uid} was removed ({seq}) and is back"));
            }
        }
        Ok((self.accepted.len() + self.removed.len()) as u64)
    }

    fn last(&self) -> Seq {
        let all = self.accepted.values().chain(self.removed.values());
        all.copied().max().unwrap_or(0)
    }
}

/// Takes the cuts and judges each.
pub fn run(cuts: u64, proof: &mut Proof, violations: &mut Vec<String>) {
    let mut ground = Ground::make();
    ground.until("the journal to have turned a few times", |g| {
        g.told() > 60_000
    });
    let mut slowest = Duration::ZERO;
    for n in 0..cuts {
        let former = ground.told();
        let some = 2_000 + (n * 7_919) % 9_000;
        ground.until("more receipts", |g| g.told() > former + some);
        // Two of three wherever it is; the third where names change.
        if n % 3 == 2 {
            let phase = 1 + u8::try_from(n / 3 % 3).unwrap();
            ground.until("the journal to be at it", |g| g.phase() == phase);
        }
        let (image, told, phase) = ground.cut();
        proof.one("cuts");
        proof.one(format!("cuts within {}", PHASES[usize::from(phase)]));
        // It has the processors while it loads, and the judge while it judges.
        ground.signal(Signal::SIGSTOP);
        let mounted = Mounted::image(&image, &ground.at("cut"));
        let mut judged = Judged {
            state: load::state(mounted.at()),
            told,
            proof,
            slowest: &mut slowest,
            image: image.clone(),
        };
        if let Err(fault) = judged.all() {
            violations.push(format!("cut {n}: {fault}"));
        }
        ground.signal(Signal::SIGCONT);
        drop(mounted);
        fs::remove_file(image).unwrap();
    }
    let ms = u64::try_from(slowest.as_millis()).unwrap();
    proof.add("slowest start over an image, ms", ms);
}

struct Judged<'a> {
    state: PathBuf,
    told: Told,
    proof: &'a mut Proof,
    slowest: &'a mut Duration,
    image: PathBuf,
}

impl Judged<'_> {
    fn all(&mut self) -> Result<(), String> {
        self.journal_alone()?;
        self.start()?;
        let verdict = verify::verify(&self.state.join("journal"), 0).map_err(|e| e.to_string())?;
        match verdict.damage.first() {
            Some(damage) => Err(format!("after a start, called damaged: {damage}")),
            None => Ok(()),
        }
    }

    /// What the lines alone say.
    fn journal_alone(&mut self) -> Result<(), String> {
        let journal = self.state.join("journal");
        let loaded = read::load(&journal, 0, None).map_err(|e| e.to_string())?;
        if let Some(damage) = loaded.damage.first() {
            return Err(format!("called damaged: {damage}"));
        }
        let lines = read::lines(&journal, 0..=Seq::MAX).map_err(|e| e.to_string())?;
        let lines: BTreeMap<Seq, _> = lines
            .map(|l| l.map(|l| (l.seq, l)))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let Some(oldest) = lines.keys().next().copied() else {
            return Err("there is no line".to_owned());
        };
        if loaded.tip.0 < self.told.last() {
            return Err(format!(
                "ends at {}, {} was receipted",
                loaded.tip.0,
                self.told.last()
            ));
        }
        for (kind, receipts) in [
            ("accepted", &self.told.accepted),
            ("removed", &self.told.removed),
        ] {
            for (uid, seq) in receipts.iter().filter(|(_, seq)| **seq >= oldest) {
                let line = lines
                    .get(seq)
                    .and_then(|line| serde_json::to_value(line).ok());
                let same = line.is_some_and(|l| l["kind"] == kind && l["uid"] == uid.as_str());
                if !same {
                    return Err(format!(
                        "line {seq} ({kind} {uid}) was receipted and isn't there"
                    ));
                }
                self.proof.one("receipts found as lines");
            }
        }
        let receipts = self.told.honoured(&loaded.fold)?;
        self.proof.add("receipts honoured", receipts);
        self.fold_is_that_of_the_lines(&journal, &loaded.fold)
    }

    /// From the older snapshot the lines lead to the same.
    fn fold_is_that_of_the_lines(&self, journal: &Path, fold: &Fold) -> Result<(), String> {
        let snapshots = snapshot::list(journal).map_err(|e| e.to_string())?;
        let [.., older, newest] = snapshots[..] else {
            return Ok(());
        };
        let base = snapshot::read(journal, older).map_err(|e| format!("snapshot {older}: {e}"))?;
        let newest = journal.join(snapshot::file_name(newest));
        let aside = newest.with_extension("aside");
        fs::rename(&newest, &aside).unwrap();
        let again = read::load(journal, 0, None).map_err(|e| e.to_string());
        fs::rename(&aside, &newest).unwrap();
        if base.seq == 0 || again?.fold.pieces() != fold.pieces() {
            return Err("from the older snapshot the lines lead elsewhere".to_owned());
        }
        Ok(())
    }

    /// A cut after an orderly end takes nothing, not even the store; and a store that is torn by
    /// hand, a page of it being zeroes, is rebuilt at most.
    fn after_an_orderly_end(&mut self, before: &[(Piece, String)]) -> Result<(), String> {
        // Nobody writes now: a copy is the image of one moment.
        let copy = self.image.with_extension("again");
        fs::copy(&self.image, &copy).unwrap();
        let mounted = Mounted::image(&copy, &self.image.with_extension("mounted"));
        let state = load::state(mounted.at());
        let opened = |state: &Path| {
            let began = Instant::now();
            let (ledger, opening) =
                Ledger::open(load::options(state)).map_err(|e| e.to_string())?;
            if ledger.read(Fold::pieces)[1..] != before[1..] || !opening.damage.is_empty() {
                return Err(format!("not what was before: {opening:?}"));
            }
            ledger.close().map_err(|e| e.to_string())?;
            Ok((opening.store, began.elapsed()))
        };
        match opened(&state)? {
            (StoreOpening::Loaded { .. }, _) => {}
            (other, _) => return Err(format!("after an orderly end and a cut: {other:?}")),
        }
        let db = File::options()
            .write(true)
            .open(state.join("db/db"))
            .unwrap();
        let pages = db.metadata().unwrap().len().div_ceil(4096);
        let page = self.told.last().wrapping_mul(0x9E37_79B9_7F4A_7C15) % pages;
        db.write_all_at(&[0; 4096], page * 4096).unwrap();
        drop(db);
        let (store, took) = opened(&state).map_err(|e| format!("over a torn store: {e}"))?;
        self.proof.one(match store {
            StoreOpening::Rebuilt { .. } => "stores torn by hand and rebuilt",
            _ => "stores torn by hand where it didn't matter",
        });
        *self.slowest = took.max(*self.slowest);
        drop(mounted);
        fs::remove_file(copy).unwrap();
        Ok(())
    }

    /// A daemon's start: store and journal; and another after it.
    fn start(&mut self) -> Result<(), String> {
        let began = Instant::now();
        let options = load::options(&self.state);
        let (ledger, opening) = Ledger::open(options.clone()).map_err(|e| e.to_string())?;
        let took = began.elapsed();
        *self.slowest = took.max(*self.slowest);
        if took > START_WITHIN {
            return Err(format!("a start took {took:?}"));
        }
        match &opening.store {
            StoreOpening::Loaded { .. } => self.proof.one("stores that opened"),
            StoreOpening::Rebuilt { .. } => self.proof.one("stores set aside and rebuilt"),
            other => return Err(format!("the store: {other:?}")),
        }
        if let Some(ahead) = opening.ahead {
            return Err(format!("the store knew more than the journal: {ahead:?}"));
        }
        if let Some(damage) = opening.damage.first() {
            return Err(format!("the start calls damaged: {damage}"));
        }
        if opening.read_only.is_some() || opening.journal_lost.is_some() {
            return Err(format!("{opening:?}"));
        }
        ledger.read(|fold| self.told.honoured(fold))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let seq = ledger
            .record(Event::Removed { uid: uid(1) })
            .map_err(|e| e.to_string())?
            .seq;
        runtime
            .block_on(ledger.durable(seq))
            .map_err(|e| e.to_string())?;
        let before = ledger.read(Fold::pieces);
        ledger.close().map_err(|e| e.to_string())?;
        drop(ledger);
        if self.proof.count("cuts") % 3 == 1 {
            self.after_an_orderly_end(&before)?;
        }
        let (ledger, opening) = Ledger::open(options).map_err(|e| e.to_string())?;
        let same = ledger.read(Fold::pieces)[1..] == before[1..];
        match opening.store {
            StoreOpening::Loaded { .. } if same => Ok(()),
            other => Err(format!("the second start (the same: {same}): {other:?}")),
        }
    }
}
