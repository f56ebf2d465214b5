//! The records of a state directory without its daemon, or beside it: no lock, no write.
//!
//! Why: `riklet state …`, `explain` and `logs` work with the daemon alive or dead. Out: values;
//! the journal alone is read, for sled can't be opened beside a daemon. Must never happen here:
//! a change of any file.

use std::{ops::RangeInclusive, path::Path};

use crate::{
    journal::{
        Damage, Identity, Tail,
        read::{self, Lines, ReadError},
        verify::{self, Verdict},
    },
    model::{fold::Fold, ids::Seq},
};

/// Everything that a journal says.
#[derive(Debug)]
pub struct Snapshot {
    /// What is known.
    pub fold: Fold,
    /// Seq of the last line in it.
    pub seq: Seq,
    /// Whose journal it is; none if there is none.
    pub identity: Option<Identity>,
    /// What is damaged in what was read.
    pub damage: Vec<Damage>,
    /// What is ignored at the end.
    pub tail: Option<Tail>,
}

/// Reads what is known.
///
/// # Errors
/// The journal is of a newer riklet (exit 78), or can't be read at all.
pub fn load(state_dir: &Path) -> Result<Snapshot, ReadError> {
    load_until(state_dir, None)
}

/// Reads what was known when `seq` was the last line, as far as history reaches back.
///
/// # Errors
/// As [`load`].
pub fn load_at(state_dir: &Path, seq: Seq) -> Result<Snapshot, ReadError> {
    load_until(state_dir, Some(seq))
}

fn load_until(state_dir: &Path, up_to: Option<Seq>) -> Result<Snapshot, ReadError> {
    let loaded = read::load(&state_dir.join("journal"), 0, up_to)?;
    Ok(Snapshot {
        seq: loaded.fold.seq,
        fold: loaded.fold,
        identity: loaded.identity,
        damage: loaded.damage,
        tail: loaded.tail,
    })
}

/// The lines with a seq in `range` that are still there, in order.
///
/// # Errors
/// The directory can't be read.
pub fn lines(state_dir: &Path, range: RangeInclusive<Seq>) -> Result<Lines, ReadError> {
    read::lines(&state_dir.join("journal"), range)
}

/// Checks everything that is there.
///
/// # Errors
/// As [`load`].
pub fn verify(state_dir: &Path) -> Result<Verdict, ReadError> {
    verify::verify(&state_dir.join("journal"), 0)
}
