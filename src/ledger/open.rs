//! What a start makes of what it finds.
//!
//! Owns: which of store and journal is believed, and where the journal goes on. Out: a ledger
//! that can be written to (or says why not), and [`Opening`], from which the agent records
//! degraded modes. Must never happen here: refusing to start over what can be rebuilt.

use std::{
    collections::BTreeSet,
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Condvar, Mutex},
};

use tokio::sync::watch;

use super::core::{Core, Progress, Shared, chain};
use crate::{
    clock::Clock,
    journal::{
        Damage, Disk, Identity, Sizes, Tail,
        read::{self, Loaded, ReadError},
        segment::{self, Live},
        writer::{Point, Writer},
    },
    model::{
        fold::{Fold, Piece},
        ids::{NodeUid, Seq},
        line::DegradedMode,
    },
    store::{Content, Opened, Store, StoreOptions, Why},
};

/// So many segments without a snapshot are enough to take one at start-up.
const SEGMENTS_WITHOUT_SNAPSHOT: usize = 16;

/// How a ledger is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The state directory; the caller holds its lock.
    pub state_dir: PathBuf,
    /// The clock.
    pub clock: Clock,
    /// The journal's disk.
    pub disk: Disk,
    /// How big things get.
    pub sizes: Sizes,
    /// How the store is opened.
    pub store: StoreOptions,
}

impl OpenOptions {
    /// The defaults for a state directory.
    #[must_use]
    pub fn new(state_dir: &Path, clock: Clock) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            disk: Disk::real(),
            sizes: Sizes::default(),
            store: StoreOptions::new(&state_dir.join("db"), clock.clone()),
            clock,
        }
    }
}

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal can't be read; [`OpenError::is_newer`] tells exit 78 from the rest.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The state directory can't be used.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

impl OpenError {
    /// Was the journal written by a newer riklet (exit 78, containers untouched)?
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Read(ReadError::Newer(_)))
    }
}

/// The store was ahead: the journal's end was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// The journal's last line.
    pub journal: Seq,
    /// What the store had.
    pub store: Seq,
}

/// What became of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOpening {
    /// It was read, and the journal agrees.
    Loaded {
        /// The seq up to which it was.
        applied: Seq,
    },
    /// There was no ledger at all before.
    Fresh,
    /// It is being filled from the journal.
    Rebuilt {
        /// Why.
        why: Why,
        /// Where the former one lies.
        quarantined: Option<PathBuf>,
    },
    /// It can't be used now.
    Off {
        /// Why.
        why: String,
    },
}

/// What a start found, for the agent to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The journal's owner.
    pub node: NodeUid,
    /// Was a new journal begun?
    pub new_journal: bool,
    /// The store.
    pub store: StoreOpening,
    /// Set if the store knew more than the journal.
    pub ahead: Option<Ahead>,
    /// What of the journal is damaged. Those that are [`Damage::in_doubt`] concern lines that
    /// nobody has: instances may have changed by them.
    pub damage: Vec<Damage>,
    /// What is ignored at the journal's end.
    pub tail: Option<Tail>,
    /// What was lost, if the former journal is gone while other things are there.
    pub journal_lost: Option<String>,
    /// Why the journal can't be written, if it can't.
    pub read_only: Option<String>,
    /// Is the disk too full for a new segment?
    pub disk_full: bool,
    /// Does the node run under another boot id than it was last recorded? Then a `boot` line is
    /// the first to be recorded.
    pub boot_changed: bool,
    /// The seq that the fold had before this daemon's first line.
    pub replayed_to: Seq,
}

impl Opening {
    /// The degraded modes to enter, with what exactly.
    #[must_use]
    pub fn degraded(&self) -> Vec<(DegradedMode, String)> {
        let mut modes = Vec::new();
        match &self.store {
            StoreOpening::Loaded { .. } | StoreOpening::Fresh => {}
            StoreOpening::Rebuilt { why, quarantined } => {
                let aside = quarantined.as_ref();
                let aside =
                    aside.map_or(String::new(), |p| format!("; it lies in {}", p.display()));
                modes.push((DegradedMode::StoreRebuilt, format!("{why}{aside}")));
            }
            StoreOpening::Off { why } => modes.push((DegradedMode::StoreOff, why.clone())),
        }
        if let Some(first) = self.damage.first() {
            let more = match self.damage.len() {
                1 => String::new(),
                n => format!(" (and {} more, see `riklet state verify`)", n - 1),
            };
            modes.push((DegradedMode::JournalDamaged, format!("{first}{more}")));
        } else if let Some(Ahead { journal, store }) = self.ahead {
            let detail = format!("it ends at line {journal}; up to {store} came from the store");
            modes.push((DegradedMode::JournalDamaged, detail));
        }
        if let Some(what) = &self.journal_lost {
            modes.push((DegradedMode::JournalLost, what.clone()));
        }
        if let Some(why) = &self.read_only {
            modes.push((DegradedMode::JournalReadOnly, why.clone()));
        }
        if self.disk_full {
            let detail = "there is no room for a new segment of the journal".to_owned();
            modes.push((DegradedMode::DiskFull, detail));
        }
        modes
    }
}

/// What is known after reading, and where the journal goes on.
struct Found {
    fold: Fold,
    identity: Option<Identity>,
    tip: Seq,
    /// What the next header continues from.
    from: Point,
    /// What the store lacks; none for everything.
    dirty: Option<BTreeSet<Piece>>,
    /// The fold is in no file of the journal yet.
    snapshot_due: bool,
    store: StoreOpening,
    ahead: Option<Ahead>,
}

pub(super) fn open(options: OpenOptions) -> Result<(Shared, Opening), OpenError> {
    let dir = options.state_dir.join("journal");
    let had_pods = has_entries(&options.state_dir.join("pods"));
    make_dirs(&options.state_dir, &dir)?;
    let (store, opened) = Store::open(options.store.clone()).map_err(|source| OpenError::Io {
        what: "the store's thread can't be started".to_owned(),
        source,
    })?;
    let (opened, mut loaded) = read_both(&dir, &store, opened)?;
    let had_store = !matches!(
        &opened,
        Opened::Rebuilt {
            why: Why::Missing,
            ..
        }
    );
    let found = believe(&store, opened, &mut loaded);
    let new_journal = loaded.identity.is_none();
    let journal_lost = journal_lost(&loaded, had_store, had_pods);
    let identity = match found.identity.clone() {
        Some(identity) => identity,
        None => draw_identity()?,
    };
    let mut opening = Opening {
        node: identity.node.clone(),
        new_journal,
        store: found.store.clone(),
        ahead: found.ahead,
        damage: std::mem::take(&mut loaded.damage),
        tail: loaded.tail.take(),
        journal_lost,
        read_only: None,
        disk_full: false,
        boot_changed: !found.fold.node.boot.is_empty()
            && found.fold.node.boot != options.clock.now().boot,
        replayed_to: found.fold.seq,
    };
    if new_journal && !had_store && opening.journal_lost.is_none() {
        opening.store = StoreOpening::Fresh;
    }
    let shared = assemble(&options, dir, found, identity, &loaded, store, &mut opening);
    Ok((shared, opening))
}

fn make_dirs(state_dir: &Path, journal: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path| {
        let what = format!("the directory {} can't be made", path.display());
        move |source| OpenError::Io { what, source }
    };
    if !state_dir.exists() {
        std::fs::create_dir_all(state_dir).map_err(failed(state_dir))?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(state_dir, mode).map_err(failed(state_dir))?;
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(journal)
        .map_err(failed(journal))
}

fn has_entries(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// Reads store and journal. A store of another journal is set aside.
fn read_both(dir: &Path, store: &Store, opened: Opened) -> Result<(Opened, Loaded), OpenError> {
    let known = match &opened {
        Opened::Loaded(content) => content.applied,
        _ => 0,
    };
    let loaded = read::load(dir, known, None)?;
    let foreign = match (&opened, &loaded.identity) {
        (Opened::Loaded(content), Some(identity)) => {
            content.owner.1 != identity.journal || content.owner.0 != identity.node.as_str()
        }
        _ => false,
    };
    if !foreign {
        return Ok((opened, loaded));
    }
    let why = Why::Disagrees("it belongs to another journal".to_owned());
    let quarantined = store.quarantine(why.clone());
    // What it said of durability says nothing of this journal.
    Ok((
        Opened::Rebuilt { why, quarantined },
        read::load(dir, 0, None)?,
    ))
}

/// Decides what is known.
fn believe(store: &Store, opened: Opened, loaded: &mut Loaded) -> Found {
    match opened {
        Opened::Loaded(content) => believe_store(store, *content, loaded),
        Opened::Rebuilt { why, quarantined } => {
            from_journal(loaded, StoreOpening::Rebuilt { why, quarantined })
        }
        Opened::Off { why } => from_journal(loaded, StoreOpening::Off { why }),
    }
}

fn from_journal(loaded: &mut Loaded, store: StoreOpening) -> Found {
    let (seq, sum) = loaded.tip;
    let mut fold = std::mem::take(&mut loaded.fold);
    // The tip may lie behind the last line: what is between was withdrawn or is damaged.
    fold.seq = fold.seq.max(seq);
    Found {
        identity: loaded.identity.clone(),
        tip: seq.max(loaded.highest_name),
        from: Point {
            seq,
            sum,
            bytes: loaded.end.map_or(0, |end| end.bytes),
        },
        fold,
        dirty: None,
        snapshot_due: false,
        store,
        ahead: None,
    }
}

fn believe_store(store: &Store, content: Content, loaded: &mut Loaded) -> Found {
    let applied = content.applied;
    let Some((mut fold, owner)) = whole_fold(&content) else {
        return distrust(store, loaded, "a piece of it can't be read");
    };
    let told = StoreOpening::Loaded { applied };
    if applied > loaded.tip.0 {
        return go_on_from_store(fold, owner, applied, loaded, told);
    }
    if applied < loaded.base {
        // It was off for a while; what it lacks may be in no segment any more.
        return from_journal(loaded, told);
    }
    let mut dirty = BTreeSet::new();
    for line in loaded.lines.iter().filter(|line| line.seq > applied) {
        dirty.extend(fold.apply(line));
    }
    fold.seq = loaded.fold.seq;
    let doubt = loaded.damage.iter().any(Damage::in_doubt);
    if !doubt && fold.pieces() != loaded.fold.pieces() {
        return distrust(
            store,
            loaded,
            "it is not what the journal's lines add up to",
        );
    }
    for damage in &mut loaded.damage {
        damage.covered |= damage.last.is_some_and(|last| last <= applied);
    }
    // The store knows what damaged lines said: from now on a snapshot does, too.
    let snapshot_due = doubt;
    let mut found = from_journal(loaded, told);
    found.fold = fold;
    found.dirty = Some(dirty);
    found.snapshot_due = snapshot_due;
    found
}

fn distrust(store: &Store, loaded: &mut Loaded, how: &str) -> Found {
    let why = Why::Disagrees(how.to_owned());
    let quarantined = store.quarantine(why.clone());
    from_journal(loaded, StoreOpening::Rebuilt { why, quarantined })
}

/// The journal's end, or all of it, was lost, and the store has it.
fn go_on_from_store(
    fold: Fold,
    owner: Identity,
    applied: Seq,
    loaded: &mut Loaded,
    told: StoreOpening,
) -> Found {
    let journal = loaded.tip.0;
    for damage in &mut loaded.damage {
        damage.last = damage.last.or(Some(applied));
        damage.covered |= damage.last.is_some_and(|last| last <= applied);
    }
    // Not the sum of the last line there is: readers shall see that lines are missing.
    let gap = format!("the store went on at {applied} after {journal}");
    let sum = loaded.tip.1.next(gap.as_bytes());
    let lost_all = loaded.identity.is_none();
    let mut found = from_journal(loaded, told);
    found.from.seq = applied;
    found.from.sum = sum;
    found.tip = found.tip.max(applied);
    found.fold = fold;
    found.identity = found.identity.or(Some(owner));
    found.dirty = Some(BTreeSet::new());
    found.snapshot_due = true;
    found.ahead = (!lost_all).then_some(Ahead {
        journal,
        store: applied,
    });
    found
}

/// The store's fold and owner; none if a part of it can't be read.
fn whole_fold(content: &Content) -> Option<(Fold, Identity)> {
    let mut pieces = Vec::with_capacity(content.pieces.len());
    for (name, text) in &content.pieces {
        pieces.push((name.parse::<Piece>().ok()?, text.clone()));
    }
    let (fold, errors) = Fold::from_pieces(content.applied, pieces);
    if let Some(error) = errors.first() {
        tracing::warn!(%error, "a piece of the store can't be read");
        return None;
    }
    let identity = Identity {
        node: content.owner.0.parse().ok()?,
        journal: content.owner.1.clone(),
    };
    Some((fold, identity))
}

fn journal_lost(loaded: &Loaded, had_store: bool, had_pods: bool) -> Option<String> {
    if loaded.identity.is_some() {
        return None;
    }
    if !loaded.is_empty() {
        return Some("nothing in the former journal can be read".to_owned());
    }
    match (had_store, had_pods) {
        (true, _) => Some("the journal is gone; the state comes from the store".to_owned()),
        (false, true) => Some("journal and store are gone; containers may be left".to_owned()),
        (false, false) => None,
    }
}

fn draw_identity() -> Result<Identity, OpenError> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| OpenError::Io {
        what: "a node uid can't be drawn".to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    let mut entropy = [0; 8];
    entropy.copy_from_slice(&bytes[..8]);
    Ok(Identity {
        node: NodeUid::from_entropy(u64::from_le_bytes(entropy)),
        journal: data_encoding::HEXLOWER.encode(&bytes[8..]),
    })
}

/// Puts the ledger together and begins this daemon's segment.
fn assemble(
    options: &OpenOptions,
    dir: PathBuf,
    mut found: Found,
    identity: Identity,
    loaded: &Loaded,
    store: Store,
    opening: &mut Opening,
) -> Shared {
    let synced = sync_former(&options.disk, &dir, loaded);
    found.snapshot_due |= !synced;
    let writer = Writer::new(
        options.disk.clone(),
        &dir,
        options.sizes.clone(),
        identity,
        found.from,
        found.tip,
    );
    let all_dirty = found.dirty.is_none();
    let core = Core {
        writer,
        durable_fold: found.fold.clone(),
        fold: found.fold,
        pending: std::collections::VecDeque::new(),
        dirty: found.dirty.unwrap_or_default(),
        all_dirty,
        wanted: 0,
        snapshot_wanted: loaded.segments >= SEGMENTS_WITHOUT_SNAPSHOT
            || loaded
                .end
                .is_some_and(|end| end.bytes >= options.sizes.segment),
        snapshot_due: found.snapshot_due,
        rotate_after: None,
        trouble: None,
        stop: false,
        closed: false,
    };
    let shared = Shared {
        progress: watch::Sender::new(Progress {
            durable: found.from.seq,
            ..Progress::default()
        }),
        written: watch::Sender::new(core.writer.tip()),
        lapses: watch::Sender::new(0),
        core: Mutex::new(core),
        gate: Mutex::new(()),
        work: Condvar::new(),
        store: Mutex::new(Some(store)),
        clock: options.clock.clone(),
        disk: options.disk.clone(),
        sizes: options.sizes.clone(),
        dir,
    };
    first_segment(&shared, loaded, opening);
    shared
}

/// What was read is believed from now on, so it has to be durable; a kill may have come before
/// its sync. False if that can't be had.
fn sync_former(disk: &Disk, dir: &Path, loaded: &Loaded) -> bool {
    let Some(end) = loaded.end else { return true };
    let path = dir.join(segment::file_name(end.first));
    let done = std::fs::File::open(path).and_then(|file| disk.fdatasync(&file));
    if let Err(error) = &done {
        tracing::error!(%error, "the former segment can't be made durable");
    }
    done.is_ok()
}

fn first_segment(shared: &Shared, loaded: &Loaded, opening: &mut Opening) {
    let mut core = shared.core();
    shared.recover(&mut core);
    if core.trouble.as_ref().is_some_and(|t| t.full) {
        opening.disk_full = true;
        if !core.snapshot_due && resume(shared, &mut core, loaded) {
            core.trouble = None;
        }
    }
    opening.read_only = core.trouble.as_ref().map(|t| t.why.clone());
    if let Some(end) = loaded.end
        && core
            .writer
            .live_first()
            .is_some_and(|live| live != end.first)
    {
        let path = shared.dir.join(segment::file_name(end.first));
        if let Err(error) = segment::release_reserve(&path) {
            tracing::warn!(
                error = chain(&error),
                "an ended segment's space can't be given back"
            );
        }
    }
}

/// The disk is too full for a new segment: goes on in the former one, which owns space, if
/// nothing stands behind its last line.
fn resume(shared: &Shared, core: &mut Core, loaded: &Loaded) -> bool {
    let Some(end) = loaded.end else { return false };
    let whole = end.bytes == end.len && !end.sealed && loaded.tail.is_none();
    if !whole || core.writer.tip() != core.writer.synced().seq {
        return false;
    }
    let path = shared.dir.join(segment::file_name(end.first));
    let (Ok(file), Ok(owned)) = (shared.disk.open_append(&path), segment::owned(&path)) else {
        return false;
    };
    core.writer.resume(Live {
        file: std::sync::Arc::new(file),
        first: end.first,
        len: end.bytes,
        reserved: Some(owned),
    });
    true
}
