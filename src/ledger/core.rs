//! What the ledger's handles and threads share, and the steps they take on it.
//!
//! Owns: the order of locks (`gate`, then `core`) and what happens when the disk fails. Must
//! never happen here: a sync by anybody who doesn't hold the gate (a second one would swallow
//! the first one's error), or a line that is written and not folded.

use std::{
    collections::{BTreeSet, VecDeque},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use nix::sys::statvfs::statvfs;
use tokio::sync::watch;

use super::{Admission, Health, admission};
use crate::{
    book::{BookError, Recorded},
    clock::Clock,
    error_chain::one_line,
    journal::{
        Disk, Sizes,
        snapshot::Snapshot,
        writer::{AppendError, Writer},
    },
    model::{
        fold::{Fold, Piece},
        ids::Seq,
        line::{Event, Line},
    },
    store::{Changes, Store, StoreState, Want},
};

/// How far receipts can be given.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) durable: Seq,
    pub(super) withdrawn: Arc<Vec<(Seq, Seq)>>,
    pub(super) why: Arc<str>,
    pub(super) closed: bool,
}

impl Progress {
    /// What the receipt for `seq` says; none if that isn't known yet.
    pub(super) fn outcome(&self, seq: Seq) -> Option<Result<(), BookError>> {
        // Withdrawn first: later lines are durable above it.
        if self.withdrawn.iter().any(|(a, b)| (*a..=*b).contains(&seq)) {
            let why = self.why.as_ref().to_owned();
            return Some(Err(BookError::Withdrawn { seq, why }));
        }
        if self.durable >= seq {
            return Some(Ok(()));
        }
        self.closed.then_some(Err(BookError::Closed))
    }
}

#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: String,
    /// Is it that the disk is full?
    pub(super) full: bool,
    pub(super) tried: Option<Instant>,
}

/// Everything under the one lock.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) writer: Writer,
    /// All written lines.
    pub(super) fold: Fold,
    /// All durable lines: what is left when a sync fails.
    pub(super) durable_fold: Fold,
    /// The lines between the two.
    pub(super) pending: VecDeque<Line>,
    /// What the store hasn't got yet of what is durable.
    pub(super) dirty: BTreeSet<Piece>,
    pub(super) all_dirty: bool,
    /// The seq that the store was last given.
    pub(super) offered: Seq,
    /// Somebody waits for a receipt up to there.
    pub(super) wanted: Seq,
    pub(super) snapshot_wanted: bool,
    /// The next segment has to be preceded by a snapshot.
    pub(super) snapshot_due: bool,
    /// The journal is new: before its first segment counts, its directory's own name and that of
    /// the state directory have to be durable.
    pub(super) names_due: bool,
    /// Not before then is another segment begun.
    pub(super) rotate_after: Option<Instant>,
    pub(super) trouble: Option<Trouble>,
    /// What the last trouble was that is over and that nobody has asked for.
    pub(super) healed: Option<String>,
    pub(super) stop: bool,
    pub(super) closed: bool,
}

/// What handles and threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) core: Mutex<Core>,
    /// Held by whoever syncs or changes segments; always taken before `core`.
    pub(super) gate: Mutex<()>,
    pub(super) work: Condvar,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) written: watch::Sender<Seq>,
    pub(super) lapses: watch::Sender<u64>,
    pub(super) store: Mutex<Option<Store>>,
    pub(super) clock: Clock,
    pub(super) disk: Disk,
    pub(super) dir: PathBuf,
    pub(super) sizes: Sizes,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under the lock is a bug that has shown already; the values are still whole lines.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }

    pub(super) fn gate(&self) -> MutexGuard<'_, ()> {
        lock(&self.gate)
    }

    /// Lets the store ask for changes.
    pub(super) fn attach(this: &Arc<Self>) {
        let weak = Arc::downgrade(this);
        if let Some(store) = lock(&this.store).as_ref() {
            store.attach(Box::new(move |want| weak.upgrade()?.changes(want)));
        }
    }

    fn changes(&self, want: Want) -> Option<Changes> {
        let mut core = self.core();
        let all = want == Want::All || core.all_dirty;
        let dirty = std::mem::take(&mut core.dirty);
        core.all_dirty = false;
        // What is durable, no more: a store that knew lines which a power cut then takes would
        // speak of damage where nobody was promised anything. (A line that changes nothing is
        // applied, too: somebody may wait for that.)
        let seq = core.durable_fold.seq;
        let former = std::mem::replace(&mut core.offered, seq);
        if !all && dirty.is_empty() && former == seq {
            return None;
        }
        let identity = core.writer.identity();
        let owner = (identity.node.to_string(), identity.journal.clone());
        let pieces = if all {
            let pieces = core.durable_fold.pieces().into_iter();
            pieces
                .map(|(p, text)| (p.to_string(), Some(text)))
                .collect()
        } else {
            let pieces = dirty.into_iter();
            pieces
                .map(|p| (p.to_string(), core.durable_fold.piece(&p)))
                .collect()
        };
        Some(Changes {
            seq,
            all,
            pieces,
            owner,
        })
    }

    pub(super) fn wake_store(&self) {
        if let Some(store) = lock(&self.store).as_ref() {
            store.wake();
        }
    }

    pub(super) fn store_state(&self) -> Option<watch::Receiver<StoreState>> {
        lock(&self.store).as_ref().map(Store::state)
    }

    pub(super) fn flush_store_soon(&self) {
        if let Some(store) = lock(&self.store).as_ref() {
            store.flush_soon();
        }
    }

    pub(super) fn close_store(&self) {
        let store = lock(&self.store).take();
        if let Some(store) = store {
            store.flush();
        }
    }

    pub(super) fn drop_store(&self) {
        let store = lock(&self.store).take();
        drop(store);
    }

    /// Ends the syncer, and every wait.
    pub(super) fn stop(&self) {
        let mut core = self.core();
        core.stop = true;
        core.closed = true;
        drop(core);
        self.work.notify_all();
        self.progress.send_modify(|p| p.closed = true);
    }

    /// See `Book::record`.
    pub(super) fn record(&self, event: Event) -> Result<Recorded, BookError> {
        let recorded = self.write(event);
        self.tell();
        recorded
    }

    /// See `Book::record_all`.
    pub(super) fn record_all(&self, events: Vec<Event>) -> Result<Vec<Recorded>, BookError> {
        let recorded = events.into_iter().map(|event| self.write(event)).collect();
        self.tell();
        recorded
    }

    /// Tells those who watch what is written.
    fn tell(&self) {
        let core = self.core();
        // Under the lock, so that it never goes back; and nobody is woken by what wasn't written.
        let tip = core.writer.tip();
        self.written
            .send_if_modified(|seq| std::mem::replace(seq, tip) != tip);
        let full = core.writer.is_full();
        drop(core);
        if full {
            self.work.notify_all();
        }
    }

    fn write(&self, event: Event) -> Result<Recorded, BookError> {
        let mut event = event;
        for last_try in [false, true] {
            let mut core = self.live_core()?;
            if core.closed {
                return Err(BookError::Closed);
            }
            self.admit(&mut core, &event)?;
            let moment = self.clock.now();
            let state = core.fold.effect(&event, &moment);
            let mut line = Line {
                seq: 0,
                moment,
                event,
                state,
                durable: None,
            };
            match core.writer.append(&mut line) {
                Ok(()) => {
                    let recorded = Recorded {
                        seq: line.seq,
                        state: line.state.clone(),
                    };
                    core.take(line);
                    return Ok(recorded);
                }
                Err(error @ AppendError::Encode(_)) => {
                    return Err(self.read_only(one_line(&error)));
                }
                Err(error) if last_try => return Err(self.read_only(one_line(&error))),
                Err(error) => {
                    tracing::error!(error = one_line(&error), "a line can't be written");
                    event = line.event;
                }
            }
        }
        Err(self.read_only("no segment takes lines".to_owned()))
    }

    fn read_only(&self, why: String) -> BookError {
        BookError::ReadOnly {
            dir: self.dir.clone(),
            why,
        }
    }

    /// See `Book::writable`.
    pub(super) fn writable(&self) -> Result<(), BookError> {
        self.live_core().map(drop)
    }

    /// The core with a segment that takes lines.
    fn live_core(&self) -> Result<MutexGuard<'_, Core>, BookError> {
        let core = self.core();
        if core.writer.is_live() || core.closed {
            return Ok(core);
        }
        drop(core);
        let gate = self.gate();
        let mut core = self.core();
        self.recover(&mut core);
        drop(gate);
        match &core.trouble {
            Some(trouble) => Err(self.read_only(trouble.why.clone())),
            None => Ok(core),
        }
    }

    fn admit(&self, core: &mut Core, event: &Event) -> Result<(), BookError> {
        let Some(left) = core.writer.reserve_left().filter(|l| *l < self.sizes.floor) else {
            return Ok(());
        };
        match admission(event) {
            Admission::Always => return Ok(()),
            Admission::Refusal if left >= self.sizes.floor / 2 => return Ok(()),
            Admission::Refusal | Admission::WithSpace => {}
        }
        // A new segment may be had by now.
        self.work.notify_all();
        Err(BookError::DiskFull { left })
    }

    /// Somebody waits for a receipt.
    pub(super) fn want(&self, seq: Seq) -> Result<(), BookError> {
        let mut core = self.core();
        let last = core.writer.tip();
        if seq > last {
            return Err(BookError::NoSuchLine { seq, last });
        }
        if seq > core.writer.synced().seq && seq > core.wanted {
            core.wanted = seq;
            drop(core);
            self.work.notify_all();
        }
        Ok(())
    }

    pub(super) fn snapshot_soon(&self) {
        self.core().snapshot_wanted = true;
        self.work.notify_all();
    }

    pub(super) fn health(&self) -> Health {
        let store = self.store_state().map(|s| s.borrow().clone());
        let core = self.core();
        let reserve_left = core.writer.reserve_left();
        Health {
            read_only: match (&core.trouble, core.writer.is_live()) {
                (Some(trouble), _) => Some(trouble.why.clone()),
                (None, true) => None,
                (None, false) => Some("a segment has failed".to_owned()),
            },
            disk_full: reserve_left.is_some_and(|left| left < self.sizes.floor),
            reserve_left,
            free: statvfs(&self.dir)
                .ok()
                .map(|fs| fs.blocks_available().saturating_mul(fs.fragment_size())),
            next_segment: self.sizes.reserve,
            store: store.unwrap_or_default(),
            written: core.writer.tip(),
            durable: core.writer.synced().seq,
        }
    }
}

impl Core {
    /// Folds a line that was written.
    pub(super) fn take(&mut self, line: Line) {
        self.fold.apply(&line);
        self.pending.push_back(line);
    }

    /// A snapshot of what is durable.
    pub(super) fn snapshot(&self, at: jiff::Timestamp) -> Snapshot {
        let synced = self.writer.synced();
        let mut fold = self.durable_fold.clone();
        fold.seq = fold.seq.max(synced.seq);
        Snapshot {
            seq: fold.seq,
            sum: synced.sum,
            at,
            identity: self.writer.identity().clone(),
            fold,
        }
    }

    /// Does the live segment own too little?
    pub(super) fn low(&self, sizes: &Sizes) -> bool {
        self.writer.is_live() && self.writer.reserve_left().is_some_and(|l| l < sizes.floor)
    }
}
