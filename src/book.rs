//! The seam to what is written down: what the loops need of the journal and its fold.
//!
//! Owns: three verbs and what each promises. The real Ledger and the
//! one in memory (`testing::MemoryBook`) implement it. Must never happen behind it: a decision.

use std::future::Future;

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

/// Why something couldn't be written down, or made durable.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// The disk is full: only lines that end something are taken.
    #[error("the disk is full, so nothing new is accepted; free space on the state directory")]
    DiskFull,
    /// The journal can't be written.
    #[error("the journal can't be written, so nothing is accepted and nothing is stopped")]
    ReadOnly {
        /// The last failure.
        #[source]
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The line was written, and the disk failed to keep it.
    #[error("line {seq} was written, and the disk failed to make it durable")]
    NotDurable {
        /// Its number.
        seq: Seq,
    },
}

/// Where events are written and known.
pub trait Book: Clone + Send + Sync + 'static {
    /// Writes an event's line and folds it. On return it survives this process's death; to
    /// survive the machine's, await [`Book::durable`].
    ///
    /// # Errors
    /// The disk is full or can't be written; then nothing changed.
    fn record(&self, event: Event) -> Result<Recorded, BookError>;

    /// Waits until every line up to `seq` survives a power cut.
    fn durable(&self, seq: Seq) -> impl Future<Output = Result<(), BookError>> + Send;

    /// Waits until the store has every line up to `seq`, or is off.
    fn stored(&self, seq: Seq) -> impl Future<Output = ()> + Send;

    /// Looks at what is known.
    fn read<T>(&self, look: impl FnOnce(&Fold) -> T) -> T;

    /// The clocks that lines are stamped with.
    fn now(&self) -> Moment;
}
