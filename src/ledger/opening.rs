//! How a ledger is opened, and what a start tells of what it found.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    clock::Clock,
    journal::{Damage, Disk, Sizes, Tail, read::ReadError},
    model::{
        ids::{NodeUid, Seq},
        line::DegradedMode,
    },
    store::{StoreOptions, Why},
};

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
    /// Whose the run directory is: taken on where journal and store are gone and their
    /// containers may be left, so that these can still be told from another node's.
    pub owner: Option<NodeUid>,
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
            owner: None,
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
    /// How many instances are in doubt, by this damage or an earlier one.
    pub doubted: usize,
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
    /// The degraded modes that a start judges: entered, or left again, by what it finds.
    pub const JUDGES: [DegradedMode; 6] = [
        DegradedMode::StoreRebuilt,
        DegradedMode::StoreOff,
        DegradedMode::JournalDamaged,
        DegradedMode::JournalLost,
        DegradedMode::JournalReadOnly,
        DegradedMode::DiskFull,
    ];

    /// What is damaged of the journal, in a sentence, or was and has left instances in doubt.
    #[must_use]
    pub fn damaged(&self) -> Option<String> {
        let what = match (self.damage.as_slice(), self.ahead) {
            ([first], _) => Some(first.to_string()),
            ([first, more @ ..], _) => {
                let n = more.len();
                Some(format!("{first} (and {n} more, see `riklet state verify`)"))
            }
            ([], Some(Ahead { journal, store })) => Some(format!(
                "it ends at line {journal}; up to {store} came from the store"
            )),
            ([], None) => None,
        };
        let doubted = match self.doubted {
            0 => return what,
            1 => "1 instance is in doubt".to_owned(),
            n => format!("{n} instances are in doubt"),
        };
        let doubted = format!("{doubted}, see `riklet state repair`");
        Some(what.map_or(doubted.clone(), |what| format!("{what}; {doubted}")))
    }

    /// The degraded modes to enter, with what exactly; all of them are in [`Self::JUDGES`].
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
        if let Some(detail) = self.damaged() {
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
