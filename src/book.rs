//! The seam to what is written down: what the loops need of the journal and its fold.
//!
//! Owns: the verbs, what each promises, and why it may fail. The real one (`ledger::Ledger`) and
//! the one in memory (`testing::MemoryBook`) implement it. Must never happen behind it: a decision.

use std::{future::Future, path::PathBuf};

use tokio::sync::watch;

use crate::model::{
    fold::Fold,
    ids::Seq,
    line::{Event, Moment},
    state::StateReport,
};

/// A line that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its number.
    pub seq: Seq,
    /// The reported state that resulted from it, if it changed.
    pub state: Option<StateReport>,
}

/// Why an event is not recorded, or its line not durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BookError {
    /// The disk is full: only lines that end something are taken.
    #[error(
        "the disk is full: {left} bytes are left for the journal, which are kept for stopping \
         and removing; free space on the state directory's filesystem"
    )]
    DiskFull {
        /// Bytes of its own that the journal has left.
        left: u64,
    },
    /// The journal can't be written.
    #[error(
        "the journal can't be written ({why}), so nothing is accepted and nothing is stopped; \
         mend the disk of {}", dir.display()
    )]
    ReadOnly {
        /// Where it lies.
        dir: PathBuf,
        /// The last failure, in one line.
        why: String,
    },
    /// The line was written and then lost by a failed sync: it doesn't count.
    #[error("line {seq} was withdrawn: the disk did not take it ({why})")]
    Withdrawn {
        /// Its number.
        seq: Seq,
        /// The cause, in one line.
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
    /// The book was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Where events are written and known.
pub trait Book: Clone + Send + Sync + 'static {
    /// Writes an event's line and folds it. On return it survives this process's death; to
    /// survive the machine's, await [`Book::durable`].
    ///
    /// # Errors
    /// The disk is full or can't be written; then nothing was recorded.
    fn record(&self, event: Event) -> Result<Recorded, BookError>;

    /// The same for several events, in order; whoever watches what is written is told once, after
    /// the last, so that those who then want it durable share one sync.
    ///
    /// # Errors
    /// One of them can't be written; those before it are.
    fn record_all(&self, events: Vec<Event>) -> Result<Vec<Recorded>, BookError> {
        events.into_iter().map(|event| self.record(event)).collect()
    }

    /// Can anything be written now? Where nothing can, nothing is done either: what can't be
    /// written down is not begun, stopped or removed.
    ///
    /// # Errors
    /// Why not.
    fn writable(&self) -> Result<(), BookError> {
        Ok(())
    }

    /// Waits until every line up to `seq` survives a power cut. Those who wait at the same time
    /// share one sync.
    ///
    /// # Errors
    /// The line was withdrawn, or never was.
    fn durable(&self, seq: Seq) -> impl Future<Output = Result<(), BookError>> + Send;

    /// The last durable line's number.
    fn durable_seq(&self) -> Seq;

    /// The last written line's number, to be watched.
    fn written(&self) -> watch::Receiver<Seq>;

    /// Waits until the store has every line up to `seq` in a committed transaction, or is off.
    fn stored(&self, seq: Seq) -> impl Future<Output = ()> + Send;

    /// Looks at what is known. Keep it short: nothing is recorded meanwhile.
    fn read<T>(&self, look: impl FnOnce(&Fold) -> T) -> T;

    /// The clocks that lines are stamped with.
    fn now(&self) -> Moment;
}
