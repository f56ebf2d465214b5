//! Reading a journal, without a lock, beside a writer or without one.
//!
//! Owns: which snapshot and which segments are read, and starting over when they change under
//! the reader. Out: [`Loaded`], or lines one by one. Must never happen here: a write, a lock,
//! or an error for damage (that is a value).

use std::{
    collections::VecDeque,
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{
    Identity,
    damage::{Damage, DamageKind, Tail},
    frame::Sum,
    scan::{Placed, counted_before, scan},
    segment,
    snapshot::{self, Snapshot, SnapshotError},
    walk::{Counted, End, Newer, Walk},
};
use crate::model::{fold::Fold, ids::Seq, line::Line};

/// Why a journal can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A newer riklet wrote it: exit 78.
    #[error(
        "the journal was written by a newer riklet ({0}); start that one again, or give this one \
         an export of it (`riklet state export`)"
    )]
    Newer(#[from] Newer),
    /// The directory or a file can't be read at all.
    #[error("the journal can't be read at {path}")]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Files came and went while it was read, every time.
    #[error("the journal in {0} changed each time that it was read; try again")]
    Restless(PathBuf),
}

/// Goes through segments, one a step.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    names: VecDeque<Seq>,
    carried: Option<io::Result<Vec<u8>>>,
    known: Seq,
    /// What was learnt so far.
    pub walk: Walk,
}

impl Segments {
    /// Over the segments with these names; `known` is a seq known to have been durable.
    #[must_use]
    pub fn new(dir: &Path, names: impl IntoIterator<Item = Seq>, walk: Walk, known: Seq) -> Self {
        Self {
            dir: dir.to_owned(),
            names: names.into_iter().collect(),
            carried: None,
            known,
            walk,
        }
    }

    /// Goes on with the next segment as if nothing had been before it; what is known stays known.
    fn begin_anew(&mut self) {
        let before = self.names.front().map(|first| (first - 1, Sum::START));
        let mut walk = Walk::new(before);
        walk.identity = self.walk.identity.take();
        walk.damage = std::mem::take(&mut self.walk.damage);
        self.walk = walk;
    }

    fn fetch(&self, first: Seq) -> io::Result<Vec<u8>> {
        segment::read_file(&self.dir.join(segment::file_name(first)))
    }

    /// The lines of the next segment that count; none after the last.
    ///
    /// # Errors
    /// A newer riklet wrote it, or it went away.
    pub fn step(&mut self) -> Result<Option<Vec<Placed>>, ReadError> {
        let Some(first) = self.names.pop_front() else {
            return Ok(None);
        };
        let bytes = match self.carried.take() {
            Some(bytes) => bytes,
            None => self.fetch(first),
        };
        let counted = match self.names.front() {
            None => Counted::Last(self.known),
            Some(next) => {
                let next = self.fetch(*next);
                let counted = next.as_ref().ok().and_then(|b| counted_before(b));
                self.carried = Some(next);
                counted.map_or(Counted::All, Counted::Exactly)
            }
        };
        match bytes {
            Ok(bytes) => Ok(Some(self.walk.segment(first, scan(&bytes), counted)?)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(ReadError::Io {
                path: self.dir.join(segment::file_name(first)),
                source,
            }),
            Err(error) => {
                self.walk
                    .unreadable(first, format!("it can't be read: {error}"));
                Ok(Some(Vec::new()))
            }
        }
    }
}

/// A journal as it was found.
#[derive(Debug)]
pub struct Loaded {
    /// Whose it is; none if nothing in it says so.
    pub identity: Option<Identity>,
    /// Seq of the snapshot that was read from, 0 for none.
    pub base: Seq,
    /// Everything that is known, up to and with the last line that counts.
    pub fold: Fold,
    /// The lines after `base` that are in the fold.
    pub lines: Vec<Line>,
    /// Seq and sum that the next line follows.
    pub tip: (Seq, Sum),
    /// Where the last segment ends.
    pub end: Option<End>,
    /// The highest seq that any file is named after: above it a new segment is never in the way.
    pub highest_name: Seq,
    /// How many segments were read.
    pub segments: usize,
    /// What is damaged in what was read.
    pub damage: Vec<Damage>,
    /// What is ignored at the end.
    pub tail: Option<Tail>,
}

impl Loaded {
    /// Was there no journal at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.highest_name == 0
    }
}

/// Reads a journal: the newest snapshot that is whole, then the segments.
///
/// `known` is a seq that is known from elsewhere to have been durable (0 for none): bad bytes at
/// or below it are damage, not a tail. `up_to` leaves later lines out.
///
/// # Errors
/// A newer riklet wrote it, or it can't be read at all. Damage is no error.
pub fn load(dir: &Path, known: Seq, up_to: Option<Seq>) -> Result<Loaded, ReadError> {
    for _ in 0..8 {
        let before = listing(dir)?;
        match load_once(dir, &before, known, up_to) {
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            // A writer beside us may have removed or begun files while we read.
            Ok(loaded) if !loaded.damage.is_empty() && listing(dir)? != before => {}
            done => return done,
        }
    }
    Err(ReadError::Restless(dir.to_owned()))
}

type Listing = (Vec<Seq>, Vec<Seq>);

fn listing(dir: &Path) -> Result<Listing, ReadError> {
    let both = || Ok((snapshot::list(dir)?, segment::list(dir)?));
    both().map_err(|source| ReadError::Io {
        path: dir.to_owned(),
        source,
    })
}

fn load_once(
    dir: &Path,
    (snapshots, segments): &Listing,
    known: Seq,
    up_to: Option<Seq>,
) -> Result<Loaded, ReadError> {
    let up_to = up_to.unwrap_or(Seq::MAX);
    let (snapshot, mut damage) = newest_snapshot(dir, snapshots, up_to)?;
    let base = snapshot.as_ref().map(|s| (s.seq, s.sum));
    let base_seq = base.map_or(0, |(seq, _)| seq);
    // From the last segment that begins at or below the line after the base.
    let from = segments.partition_point(|first| *first <= base_seq + 1);
    let names = segments[from.saturating_sub(1)..].iter().copied();
    let mut walked = Segments::new(dir, names, Walk::new(base), known.max(base_seq));
    let mut identity = snapshot.as_ref().map(|s| s.identity.clone());
    let mut fold = snapshot.map(|s| s.fold).unwrap_or_default();
    let mut lines = Vec::new();
    let mut read = 0;
    while let Some(placed) = walked.step()? {
        read += 1;
        for Placed { line, .. } in placed {
            if line.seq > base_seq && line.seq <= up_to {
                fold.apply(&line);
                lines.push(line);
            }
        }
    }
    let mut walk = walked.walk;
    walk.cover(base_seq);
    damage.append(&mut walk.damage);
    identity = walk.identity.take().or(identity);
    let highest = [snapshots.last(), segments.last()];
    Ok(Loaded {
        identity,
        base: base_seq,
        fold,
        lines,
        tip: walk.tip(),
        end: walk.end,
        highest_name: highest.into_iter().flatten().copied().max().unwrap_or(0),
        segments: read,
        damage,
        tail: walk.tail,
    })
}

fn newest_snapshot(
    dir: &Path,
    seqs: &[Seq],
    up_to: Seq,
) -> Result<(Option<Snapshot>, Vec<Damage>), ReadError> {
    let mut damage = Vec::new();
    for seq in seqs.iter().rev().copied().filter(|seq| *seq <= up_to) {
        match snapshot::read(dir, seq) {
            Ok(snapshot) => return Ok((Some(snapshot), damage)),
            Err(error @ SnapshotError::Newer(_)) => {
                return Err(ReadError::Newer(Newer {
                    file: snapshot::file_name(seq),
                    detail: error.to_string(),
                }));
            }
            Err(SnapshotError::Read(source)) if source.kind() == io::ErrorKind::NotFound => {
                let path = dir.join(snapshot::file_name(seq));
                return Err(ReadError::Io { path, source });
            }
            Err(error) => damage.push(bad_snapshot(seq, &error)),
        }
    }
    Ok((None, damage))
}

/// The damage that a bad snapshot is. By itself it loses no line: there is another one, or the
/// segments from the first.
pub(super) fn bad_snapshot(seq: Seq, error: &SnapshotError) -> Damage {
    Damage {
        file: snapshot::file_name(seq),
        offset: 0,
        bytes: 0,
        kind: DamageKind::Snapshot {
            why: error.to_string(),
        },
        first: seq + 1,
        last: Some(seq),
        covered: true,
    }
}

/// The lines of a journal that count and are still there, in order.
#[derive(Debug)]
pub struct Lines {
    segments: Segments,
    range: RangeInclusive<Seq>,
    ready: VecDeque<Placed>,
    ended: bool,
}

impl Lines {
    /// What was learnt so far, damage among it.
    #[must_use]
    pub fn walk(&self) -> &Walk {
        &self.segments.walk
    }
}

impl Iterator for Lines {
    type Item = Result<Line, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(placed) = self.ready.pop_front() {
                if self.range.contains(&placed.line.seq) {
                    return Some(Ok(placed.line));
                }
            }
            if self.ended {
                return None;
            }
            match self.segments.step() {
                Ok(Some(placed)) => self.ready = placed.into(),
                Ok(None) => self.ended = true,
                // A writer beside us has removed it: it is no part of what is still there.
                Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    self.segments.begin_anew();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// The lines with a seq in `range`.
///
/// # Errors
/// The directory can't be read.
pub fn lines(dir: &Path, range: RangeInclusive<Seq>) -> Result<Lines, ReadError> {
    let (_, segments) = listing(dir)?;
    let from = segments.partition_point(|first| first <= range.start());
    let to = segments.partition_point(|first| first <= range.end());
    let names: Vec<Seq> = segments[from.saturating_sub(1)..]
        .iter()
        .copied()
        // One more than is asked for: its header says what of the last one counts.
        .take((to + 1).saturating_sub(from.saturating_sub(1)))
        .collect();
    // What lies before the first one that is read isn't asked for.
    let before = names.first().map(|first| (first - 1, Sum::START));
    Ok(Lines {
        segments: Segments::new(dir, names, Walk::new(before), 0),
        range,
        ready: VecDeque::new(),
        ended: false,
    })
}

#[cfg(test)]
mod tests;
