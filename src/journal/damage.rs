//! What is wrong with a journal, and where.

use std::fmt;

use crate::model::ids::Seq;

/// What kind of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DamageKind {
    /// Bytes that are no line, or not the line that was written.
    Bytes {
        /// What is wrong with the first of them.
        why: String,
    },
    /// The segment ends before the next one says it does.
    Truncated,
    /// Lines are gone: the next header doesn't continue from the last line that is there.
    Missing,
    /// A whole line stands where it doesn't belong.
    Misplaced,
    /// The file can't be read.
    Unreadable {
        /// Why not.
        why: String,
    },
    /// A snapshot is damaged or disagrees with the lines.
    Snapshot {
        /// How.
        why: String,
    },
}

/// One damaged place. It is reported and never removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file's name within `journal/`.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// How many bytes; 0 where something is missing.
    pub bytes: u64,
    /// What.
    pub kind: DamageKind,
    /// The first line that is lost by it.
    pub first: Seq,
    /// The last one; none if nothing readable follows. Below `first`: no line is lost.
    pub last: Option<Seq>,
    /// Does the base that was read from (a snapshot, the store) contain the lost lines? Then the
    /// state is whole and only history is lost.
    pub covered: bool,
}

impl Damage {
    /// Is any line lost by it?
    #[must_use]
    pub fn loses_lines(&self) -> bool {
        self.last.is_none_or(|last| last >= self.first)
    }

    /// Does it leave the state in doubt: lines are lost that no base contains?
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        !self.covered && self.loses_lines()
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.file, self.offset)?;
        if self.bytes > 0 {
            write!(f, " ({} bytes)", self.bytes)?;
        }
        f.write_str(": ")?;
        match &self.kind {
            DamageKind::Bytes { why } => f.write_str(why)?,
            DamageKind::Truncated => f.write_str("the segment is shorter than it was")?,
            DamageKind::Missing => f.write_str("lines before it are missing")?,
            DamageKind::Misplaced => f.write_str("a line stands where it does not belong")?,
            DamageKind::Unreadable { why } | DamageKind::Snapshot { why } => f.write_str(why)?,
        }
        match self.last {
            Some(last) if last < self.first => Ok(()),
            Some(last) if last == self.first => write!(f, "; line {last} is lost"),
            Some(last) => write!(f, "; lines {} to {last} are lost", self.first),
            None => write!(f, "; lines from {} on are lost", self.first),
        }?;
        if self.covered && self.loses_lines() {
            f.write_str(" from the history, not from the state")?;
        }
        Ok(())
    }
}

/// Bytes at the journal's end that no receipt was given for, and that don't count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The file's name within `journal/`.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at byte {}: {} bytes that no receipt was given for are ignored",
            self.file, self.offset, self.bytes
        )
    }
}
