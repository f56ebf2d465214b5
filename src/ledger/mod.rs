//! The ledger: journal, fold and store behind one value.
//!
//! Why: "recorded" has to mean the same for everybody. Owns: the order of things (a line is
//! written and folded, then durable, then given to the store), receipts, what is admitted on a
//! full disk, and what a start makes of what it finds. In: events. Out: [`Recorded`], looks at
//! the [`Fold`]. Must never happen here: a receipt for what is not durable, or a wait for the store
//! by anybody who doesn't ask for it.
//!
//! *Written* ([`Book::record`] returned): the line is in the kernel and survives SIGKILL.
//! *Durable* ([`Book::durable`] returned `Ok`): it survives a power cut. *Stored*
//! ([`Book::stored`] returned): durable, and sled has it, or is off. Sled is given nothing that
//! isn't durable: so it is never ahead of a journal whose disk kept its word.
//!
//! When an fdatasync fails, nothing of that file after the last one that returned counts any
//! more: those lines are *withdrawn*, their receipts fail, the fold is that of the durable lines
//! again (as after a power cut), and [`Ledger::lapses`] changes, so that the reconciler looks
//! at everything anew. Their seqs are not used again.

mod admission;
mod belief;
mod core;
mod doubt;
pub mod lock;
pub mod offline;
mod open;
mod opening;
mod recovery;
mod syncer;

use std::{
    sync::{Arc, MutexGuard},
    thread::JoinHandle,
};

use tokio::sync::watch;

use self::core::{Core, Shared};
pub use self::{
    admission::{Admission, admission},
    doubt::{Doubt, doubt},
    lock::{DirLock, LockError},
    opening::{Ahead, OpenError, OpenOptions, Opening, StoreOpening},
};
use crate::{
    book::{Book, BookError, Recorded},
    journal::{Damage, DiskCounts, Identity},
    model::{
        fold::Fold,
        ids::Seq,
        line::{Event, Moment},
    },
    store::StoreState,
};

/// How the ledger is, for `status` and for degraded modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why the journal can't be written, if it can't.
    pub read_only: Option<String>,
    /// Are only lines admitted that end something?
    pub disk_full: bool,
    /// Bytes of its own that the journal has left; none where that can't be known.
    pub reserve_left: Option<u64>,
    /// Bytes that are free on the journal's filesystem; none where it can't be asked.
    pub free: Option<u64>,
    /// Bytes that the next segment will want to own.
    pub next_segment: u64,
    /// The store.
    pub store: StoreState,
    /// The last written line.
    pub written: Seq,
    /// The last durable line.
    pub durable: Seq,
}

/// The handle. Clones are the same ledger; when the last is dropped its threads end without a
/// last sync (as after a kill): [`Ledger::close`] is the orderly end.
#[derive(Debug, Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
    // After `shared` in order: joins the thread that uses it.
    _syncer: Arc<Syncer>,
}

#[derive(Debug)]
struct Syncer {
    shared: Arc<Shared>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Syncer {
    fn stop(&self) {
        self.shared.stop();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            thread.join().ok();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop();
        self.shared.drop_store();
    }
}

impl Ledger {
    /// Opens the ledger of a state directory, whose lock the caller holds.
    ///
    /// # Errors
    /// The journal is of a newer riklet (exit 78), or the directory can't be used at all.
    /// Nothing that can be rebuilt is an error: see [`Opening`].
    pub fn open(options: OpenOptions) -> Result<(Self, Opening), OpenError> {
        let (shared, opening) = open::open(options)?;
        let shared = Arc::new(shared);
        Shared::attach(&shared);
        let syncing = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal-sync".to_owned())
            .spawn(move || syncer::run(&syncing))
            .map_err(|source| OpenError::Io {
                what: "the journal's thread can't be started".to_owned(),
                source,
            })?;
        let syncer = Syncer {
            shared: Arc::clone(&shared),
            thread: std::sync::Mutex::new(Some(thread)),
        };
        let ledger = Self {
            shared,
            _syncer: Arc::new(syncer),
        };
        Ok((ledger, opening))
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core()
    }

    /// Counts failed syncs. When it changes, what was written and not durable was withdrawn and
    /// the fold went back: everything has to be looked at anew.
    #[must_use]
    pub fn lapses(&self) -> watch::Receiver<u64> {
        self.shared.lapses.subscribe()
    }

    /// Whose ledger it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.core().writer.identity().clone()
    }

    /// What was asked of the journal's disk so far.
    #[must_use]
    pub fn counters(&self) -> DiskCounts {
        self.shared.disk.counts()
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Tries to get out of trouble: a read-only journal, a reserve that runs low. Costs nothing
    /// when there is none; call it on a timer. May block for some fsyncs.
    #[must_use]
    pub fn heal(&self) -> Health {
        self.shared.heal();
        self.health()
    }

    /// Why the journal could not be written for a while, if that is over: told once, so that it
    /// can be written down.
    #[must_use]
    pub fn take_healed(&self) -> Option<String> {
        self.core().healed.take()
    }

    /// Takes a snapshot soon, and removes what need not be kept any more.
    pub fn snapshot_soon(&self) {
        self.shared.snapshot_soon();
    }

    /// Takes a snapshot of what is durable, here and now. Blocks for some fsyncs.
    ///
    /// # Errors
    /// It can't be written.
    pub fn snapshot_now(&self) -> std::io::Result<()> {
        let gate = self.shared.gate();
        let done = syncer::snapshot(&self.shared, self.core());
        drop(gate);
        done
    }

    /// The orderly end: everything written is made durable, the store flushed and synced, the
    /// threads ended. Later calls fail. Blocks.
    ///
    /// # Errors
    /// What is written can't be made durable.
    pub fn close(&self) -> Result<(), BookError> {
        let done = self.shared.sync_now();
        self._syncer.stop();
        self.shared.close_store();
        done
    }
}

impl Book for Ledger {
    fn record(&self, event: Event) -> Result<Recorded, BookError> {
        self.shared.record(event)
    }

    fn record_all(&self, events: Vec<Event>) -> Result<Vec<Recorded>, BookError> {
        self.shared.record_all(events)
    }

    fn writable(&self) -> Result<(), BookError> {
        self.shared.writable()
    }

    async fn durable(&self, seq: Seq) -> Result<(), BookError> {
        let mut progress = self.shared.progress.subscribe();
        self.shared.want(seq)?;
        let outcome = progress
            .wait_for(|p| p.outcome(seq).is_some())
            .await
            .map_err(|_| BookError::Closed)?
            .outcome(seq);
        outcome.unwrap_or(Err(BookError::Closed))
    }

    fn durable_seq(&self) -> Seq {
        self.core().writer.synced().seq
    }

    fn written(&self) -> watch::Receiver<Seq> {
        self.shared.written.subscribe()
    }

    async fn stored(&self, seq: Seq) {
        // The store is given what is durable.
        if self.durable(seq).await.is_err() {
            return;
        }
        if let Some(mut state) = self.shared.store_state() {
            state
                .wait_for(|s| s.applied >= seq || s.off.is_some())
                .await
                .ok();
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.core().fold)
    }

    fn now(&self) -> Moment {
        self.shared.clock.now()
    }
}

#[cfg(test)]
mod tests;
