//! Checking everything that is there, for `riklet state verify`.
//!
//! Owns: sums, seq continuity, the chain of segments, and whether snapshots are whole and were
//! taken of the lines that are there. Must never happen here: a write.

use std::{collections::BTreeMap, io, path::Path};

use super::{
    damage::{Damage, DamageKind, Tail},
    frame::Sum,
    read::{ReadError, Segments, bad_snapshot},
    segment,
    snapshot::{self, SnapshotError},
    walk::{Newer, Walk},
};
use crate::model::ids::Seq;

/// What was found.
#[derive(Debug)]
pub struct Verdict {
    /// How many segments were read.
    pub segments: usize,
    /// How many snapshots.
    pub snapshots: usize,
    /// How many lines count.
    pub lines: u64,
    /// Seq of the first line that is there, 0 for none.
    pub first: Seq,
    /// Seq of the last line that counts.
    pub last: Seq,
    /// The last seq that the journal itself shows to have been durable.
    pub durable: Seq,
    /// What is damaged, in order.
    pub damage: Vec<Damage>,
    /// Bytes at the end that don't count; a daemon that writes just now leaves such.
    pub tail: Option<Tail>,
}

impl Verdict {
    /// Is everything as it was written?
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Walks everything. With a daemon alive this judges nothing after the last whole line, for that
/// is being written.
///
/// `known` is a seq known from elsewhere to have been durable, 0 for none.
///
/// # Errors
/// A newer riklet wrote it, or it can't be read at all.
pub fn verify(dir: &Path, known: Seq) -> Result<Verdict, ReadError> {
    for _ in 0..8 {
        let before = segment::list(dir).map_err(|source| io_error(dir, source))?;
        match verify_once(dir, &before, known) {
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Ok(verdict)
                if !verdict.is_sound() && segment::list(dir).is_ok_and(|now| now != before) => {}
            done => return done,
        }
    }
    Err(ReadError::Restless(dir.to_owned()))
}

fn io_error(dir: &Path, source: io::Error) -> ReadError {
    ReadError::Io {
        path: dir.to_owned(),
        source,
    }
}

fn verify_once(dir: &Path, names: &[Seq], known: Seq) -> Result<Verdict, ReadError> {
    let mut damage = Vec::new();
    let seqs = snapshot::list(dir).map_err(|source| io_error(dir, source))?;
    let mut whole: BTreeMap<Seq, Sum> = BTreeMap::new();
    for seq in &seqs {
        match snapshot::read(dir, *seq) {
            Ok(snapshot) => {
                whole.insert(*seq, snapshot.sum);
            }
            Err(error @ SnapshotError::Newer(_)) => {
                return Err(ReadError::Newer(Newer {
                    file: snapshot::file_name(*seq),
                    detail: error.to_string(),
                }));
            }
            Err(SnapshotError::Read(source)) if source.kind() == io::ErrorKind::NotFound => {
                return Err(io_error(dir, source));
            }
            Err(error) => damage.push(bad_snapshot(*seq, &error)),
        }
    }
    let newest = whole.keys().next_back().copied().unwrap_or(0);
    // Segments below the older snapshot may have been removed.
    let oldest = names.first().copied().unwrap_or(1);
    let removed = whole.keys().any(|seq| oldest <= seq + 1);
    let base = removed.then_some((oldest.saturating_sub(1), Sum::START));
    let mut walked = Segments::new(
        dir,
        names.iter().copied(),
        Walk::new(base),
        known.max(newest),
    );
    let (mut lines, mut first) = (0, 0);
    while let Some(placed) = walked.step()? {
        for line in &placed {
            lines += 1;
            first = if first == 0 { line.line.seq } else { first };
            if whole
                .get(&line.line.seq)
                .is_some_and(|sum| *sum != line.sum)
            {
                damage.push(disagreeing_snapshot(line.line.seq));
            }
        }
    }
    let mut walk = walked.walk;
    if !names.is_empty() && newest > walk.last {
        walk.end_damage_at(newest);
    }
    walk.cover(newest);
    damage.append(&mut walk.damage);
    Ok(Verdict {
        segments: names.len(),
        snapshots: seqs.len(),
        lines,
        first,
        last: walk.last,
        durable: walk.durable,
        damage,
        tail: walk.tail,
    })
}

fn disagreeing_snapshot(seq: Seq) -> Damage {
    Damage {
        file: snapshot::file_name(seq),
        offset: 0,
        bytes: 0,
        kind: DamageKind::Snapshot {
            why: format!("it was not taken of line {seq} as that stands in the journal"),
        },
        first: seq + 1,
        last: Some(seq),
        covered: true,
    }
}

#[cfg(test)]
mod tests;
