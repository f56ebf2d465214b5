//! The real book: the ledger with the clock it is stamped by.

use std::sync::Arc;

use crate::{
    book::{Book, BookError, Recorded},
    clock::Clock,
    ledger::{Ledger, RecordError},
    model::{
        fold::Fold,
        ids::Seq,
        line::{Event, Moment},
    },
};

/// The ledger with its clock.
#[derive(Debug, Clone)]
pub(super) struct LedgerBook {
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
}

impl Book for LedgerBook {
    fn record(&self, event: Event) -> Result<Recorded, BookError> {
        let recorded = self.ledger.record(event).map_err(refused)?;
        Ok(Recorded {
            seq: recorded.seq,
            state: recorded.state,
        })
    }

    async fn durable(&self, seq: Seq) -> Result<(), BookError> {
        self.ledger.durable(seq).await.map_err(|error| match error {
            RecordError::Withdrawn { seq, .. } => BookError::NotDurable { seq },
            other => refused(other),
        })
    }

    async fn stored(&self, seq: Seq) {
        self.ledger.stored(seq).await;
    }

    fn read<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        self.ledger.read(look)
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }
}

fn refused(error: RecordError) -> BookError {
    match error {
        RecordError::DiskFull { .. } => BookError::DiskFull,
        source => BookError::ReadOnly {
            source: Arc::new(source),
        },
    }
}
