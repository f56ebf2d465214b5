//! The desired-state store: sled, on a thread of its own.
//!
//! Why: it is where desired state lies for a fast start, and is read first; everything in it can
//! be had again from the journal, so at any doubt it is set aside and rebuilt. Owns: every use
//! of sled, its schema ([`content`]), opening it safely ([`guard`]) and the quarantine. In:
//! pieces of the fold as text, with the seq they are of. Out: the same after a restart, or why
//! not. Must never happen here: a decision waiting for it, or a panic of sled's reaching anybody.

pub mod content;
pub mod guard;
pub mod quarantine;
mod worker;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::watch;

pub use self::content::{Content, SCHEMA};
use crate::{clock::Clock, model::ids::Seq};

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Sled's directory; quarantined ones lie beside it.
    pub dir: PathBuf,
    /// Names the quarantined directories.
    pub clock: Clock,
    /// sled has so long to open.
    pub open_limit: Duration,
    /// A store that is off is tried again after so long.
    pub retry: Duration,
}

impl StoreOptions {
    /// The defaults for a directory: 1 s to open, a retry every 10 s.
    #[must_use]
    pub fn new(dir: &Path, clock: Clock) -> Self {
        Self {
            dir: dir.to_owned(),
            clock,
            open_limit: Duration::from_secs(1),
            retry: Duration::from_secs(10),
        }
    }
}

/// Why what was in the store isn't used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// There was none.
    Missing,
    /// It was begun and never filled, or everything in it was lost without an error.
    Unfinished,
    /// sled can't open or read it, or panics over it.
    Unopenable(String),
    /// sled took too long.
    TooSlow,
    /// It has another schema.
    Schema(String),
    /// Its content isn't what its hash was made of, or isn't the journal's.
    Disagrees(String),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("there was none"),
            Self::Unfinished => f.write_str("it is empty, or was never filled to the end"),
            Self::Unopenable(why) => write!(f, "sled could not open it: {why}"),
            Self::TooSlow => f.write_str("sled did not open it in time"),
            Self::Schema(what) => write!(f, "it has schema {what}, this riklet has {SCHEMA}"),
            Self::Disagrees(how) => write!(f, "it disagrees: {how}"),
        }
    }
}

/// What opening found.
#[derive(Debug)]
pub enum Opened {
    /// What was in it holds.
    Loaded(Box<Content>),
    /// It is empty now and has to be filled; what was there, if anything, is in quarantine.
    Rebuilt {
        /// Why.
        why: Why,
        /// Where the former one lies.
        quarantined: Option<PathBuf>,
    },
    /// It can't be used now; it is tried again on a timer.
    Off {
        /// Why.
        why: String,
    },
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreState {
    /// Everything up to this seq is in a committed transaction.
    pub applied: Seq,
    /// Why it is off, if it is.
    pub off: Option<String>,
}

/// What the store asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// What has changed since it last asked.
    Changes,
    /// Everything: the store is empty.
    All,
}

/// Pieces of the fold for the store.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The seq that they bring the store to.
    pub seq: Seq,
    /// Is this everything there is, so that what isn't in it goes?
    pub all: bool,
    /// Pieces by name, with their text; none for those that are gone.
    pub pieces: Vec<(String, Option<String>)>,
    /// Whose they are: node uid and journal uuid.
    pub owner: (String, String),
}

/// Where changes come from; none if there are none, or if nobody is there any more.
pub type Source = Box<dyn Fn(Want) -> Option<Changes> + Send>;

enum Op {
    Attach(Source),
    Pull,
    Quarantine(Why, mpsc::Sender<Option<PathBuf>>),
    Flush(mpsc::Sender<()>),
    Close,
}

/// The store's handle. Dropping it ends the thread and closes sled.
#[derive(Debug)]
pub struct Store {
    ops: mpsc::Sender<Op>,
    asked: Arc<AtomicBool>,
    state: watch::Receiver<StoreState>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the store on its own thread and reads it.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn open(options: StoreOptions) -> std::io::Result<(Self, Opened)> {
        let (ops, inbox) = mpsc::channel();
        let (tell, opened) = mpsc::channel();
        let (state, watched) = watch::channel(StoreState::default());
        let asked = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&asked);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker::run(options, inbox, &tell, state, &flag))?;
        let opened = opened.recv().unwrap_or_else(|_| Opened::Off {
            why: "the store's thread ended".to_owned(),
        });
        let store = Self {
            ops,
            asked,
            state: watched,
            thread: Some(thread),
        };
        Ok((store, opened))
    }

    /// From now on changes come from there.
    pub fn attach(&self, source: Source) {
        self.ops.send(Op::Attach(source)).ok();
    }

    /// There are changes. Returns at once; many calls become one transaction.
    pub fn wake(&self) {
        if !self.asked.swap(true, Ordering::AcqRel) {
            self.ops.send(Op::Pull).ok();
        }
    }

    /// How it is, to be watched.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<StoreState> {
        self.state.clone()
    }

    /// Sets what is in it aside, for it disagrees with the journal. Returns where it lies.
    #[must_use]
    pub fn quarantine(&self, why: Why) -> Option<PathBuf> {
        let (tell, done) = mpsc::channel();
        self.ops.send(Op::Quarantine(why, tell)).ok()?;
        done.recv().ok().flatten()
    }

    /// Makes everything that it was told durable, and waits for that.
    pub fn flush(&self) {
        let (tell, done) = mpsc::channel();
        if self.ops.send(Op::Flush(tell)).is_ok() {
            done.recv().ok();
        }
    }

    /// Asks for a flush without waiting.
    pub fn flush_soon(&self) {
        let (tell, _) = mpsc::channel();
        self.ops.send(Op::Flush(tell)).ok();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.ops.send(Op::Close).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
