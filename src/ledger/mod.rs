//! The ledger: journal, fold and store behind one value.
//!
//! Why: "recorded" has to mean the same for everybody. Owns: the order of things (a line is
//! written, then folded, then given to the store), receipts, what is admitted on a full disk,
//! and what a start makes of what it finds. In: events. Out: [`Recorded`], looks at the
//! [`Fold`]. Must never happen here: a receipt for what is not durable, or a wait for the store
//! by anybody who doesn't ask for it.
//!
//! *Written* ([`Ledger::record`] returned): the line is in the kernel and survives SIGKILL.
//! *Durable* ([`Ledger::durable`] returned `Ok`): it survives a power cut. *Stored*
//! ([`Ledger::stored`] returned): sled has it, or is off.
//!
//! When an fdatasync fails, nothing of that file after the last one that returned counts any
//! more: those lines are *withdrawn*, their receipts fail, the fold is that of the durable lines
//! again (as after a power cut), and [`Ledger::lapses`] changes, so that the reconciler looks
//! at everything anew. Their seqs are not used again.

mod admission;
mod belief;
mod core;
pub mod lock;
pub mod offline;
mod open;
mod opening;
mod recovery;
mod syncer;

use std::{
    path::PathBuf,
    sync::{Arc, MutexGuard},
    thread::JoinHandle,
};

use tokio::sync::watch;

use self::core::{Core, Shared};
pub use self::{
    admission::{Admission, admission},
    lock::{DirLock, LockError},
    opening::{Ahead, OpenError, OpenOptions, Opening, StoreOpening},
};
use crate::{
    journal::{DiskCounts, Identity},
    model::{fold::Fold, ids::Seq, line::Event, state::StateReport},
    store::StoreState,
};

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its line's number.
    pub seq: Seq,
    /// The reported state that it resulted in, if that is news.
    pub state: Option<StateReport>,
}

/// Why an event is not recorded, or not durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// The journal's reserve is nearly used up: only lines that end something are admitted.
    #[error(
        "the disk is full: {left} bytes are left for the journal, which are kept for stopping \
         and removing; free space on the state directory's filesystem"
    )]
    DiskFull {
        /// Bytes of its own that the journal has left.
        left: u64,
    },
    /// The journal can't be written.
    #[error("the journal can't be written ({why}); mend the disk of {}", dir.display())]
    ReadOnly {
        /// Where it lies.
        dir: PathBuf,
        /// The cause.
        why: String,
    },
    /// The line was written and then lost by a failed sync: it doesn't count.
    #[error("line {seq} was withdrawn: the disk did not take it ({why})")]
    Withdrawn {
        /// Its number.
        seq: Seq,
        /// The cause.
        why: String,
    },
    /// No line with this number was written.
    #[error("no line {seq} was written; the last is {last}")]
    NoSuchLine {
        /// What was asked for.
        seq: Seq,
        /// The last line's number.
        last: Seq,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

/// How the ledger is, for `status` and for degraded modes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Why the journal can't be written, if it can't.
    pub read_only: Option<String>,
    /// Are only lines admitted that end something?
    pub disk_full: bool,
    /// Bytes of its own that the journal has left; none where that can't be known.
    pub reserve_left: Option<u64>,
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

    /// Records an event. On return its line is written (it survives SIGKILL) and folded.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn record(&self, event: Event) -> Result<Recorded, RecordError> {
        self.shared.record(event)
    }

    /// Waits until everything up to `seq` survives a power cut. Those who wait at the same time
    /// share one fdatasync.
    ///
    /// # Errors
    /// The line was withdrawn, or never was.
    pub async fn durable(&self, seq: Seq) -> Result<(), RecordError> {
        let mut progress = self.shared.progress.subscribe();
        self.shared.want(seq)?;
        let outcome = progress
            .wait_for(|p| p.outcome(seq).is_some())
            .await
            .map_err(|_| RecordError::Closed)?
            .outcome(seq);
        outcome.unwrap_or(Err(RecordError::Closed))
    }

    /// Waits until the store has everything up to `seq` in a committed transaction, or is off.
    pub async fn stored(&self, seq: Seq) {
        if let Some(mut state) = self.shared.store_state() {
            state
                .wait_for(|s| s.applied >= seq || s.off.is_some())
                .await
                .ok();
        }
    }

    /// Looks at what is known. Keep it short: nothing is recorded meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.core().fold)
    }

    /// The last written seq, to be watched.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<Seq> {
        self.shared.written.subscribe()
    }

    /// The last durable seq.
    #[must_use]
    pub fn durable_seq(&self) -> Seq {
        self.core().writer.synced().seq
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

    /// Takes a snapshot soon, and removes what need not be kept any more.
    pub fn snapshot_soon(&self) {
        self.shared.snapshot_soon();
    }

    /// The orderly end: everything written is made durable, the store flushed and synced, the
    /// threads ended. Later calls fail. Blocks.
    ///
    /// # Errors
    /// What is written can't be made durable.
    pub fn close(&self) -> Result<(), RecordError> {
        let done = self.shared.sync_now();
        self._syncer.stop();
        self.shared.close_store();
        done
    }
}

#[cfg(test)]
mod tests;
