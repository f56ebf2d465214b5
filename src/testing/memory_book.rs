//! A book in memory, with a clock that a test turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::{
    book::{Book, BookError, Recorded},
    model::{
        fold::Fold,
        ids::Seq,
        line::{Event, Line, Moment},
    },
    testing::builders::moment_in,
};

/// What is written and known.
#[derive(Debug)]
pub struct Pages {
    /// What is known.
    pub fold: Fold,
    /// Every line.
    pub lines: Vec<Line>,
    /// CLOCK_BOOTTIME ms.
    pub up: u64,
    /// The boot's id.
    pub boot: String,
    /// Last durable seq.
    pub durable: Seq,
    /// How often durability was awaited when it wasn't there yet.
    pub syncs: u32,
}

/// A book in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBook {
    pages: Arc<Mutex<Pages>>,
}

impl Default for MemoryBook {
    fn default() -> Self {
        let (fold, boot) = (Fold::default(), "boot-1".to_owned());
        let pages = Pages {
            fold,
            lines: Vec::new(),
            up: 1_000,
            boot,
            durable: 0,
            syncs: 0,
        };
        Self {
            pages: Arc::new(Mutex::new(pages)),
        }
    }
}

impl MemoryBook {
    /// What is written and known, to look at and to change.
    pub fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass.
    pub fn advance(&self, ms: u64) {
        self.pages().up += ms;
    }

    /// The machine comes up anew.
    pub fn reboot(&self, boot: &str) {
        {
            let mut pages = self.pages();
            pages.up = 500;
            boot.clone_into(&mut pages.boot);
        }
        // Memory can't fail.
        let _ = self.record(Event::Boot {});
    }
}

impl Book for MemoryBook {
    fn record(&self, event: Event) -> Result<Recorded, BookError> {
        let mut pages = self.pages();
        let moment = moment_in(&pages.boot, pages.up);
        let state = pages.fold.effect(&event, &moment);
        let seq = pages.fold.seq + 1;
        let line = Line {
            seq,
            moment,
            event,
            state: state.clone(),
            durable: None,
        };
        pages.fold.apply(&line);
        pages.lines.push(line);
        Ok(Recorded { seq, state })
    }

    async fn durable(&self, seq: Seq) -> Result<(), BookError> {
        let mut pages = self.pages();
        if pages.durable < seq {
            pages.durable = pages.fold.seq;
            pages.syncs += 1;
        }
        Ok(())
    }

    fn durable_seq(&self) -> Seq {
        self.pages().durable
    }

    fn written(&self) -> watch::Receiver<Seq> {
        // Nobody watches this book: its tests look themselves.
        watch::channel(self.pages().fold.seq).1
    }

    async fn stored(&self, _: Seq) {}

    fn read<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.pages().fold)
    }

    fn now(&self) -> Moment {
        let pages = self.pages();
        moment_in(&pages.boot, pages.up)
    }
}
