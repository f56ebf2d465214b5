//! Reading segments in order, and judging what is bad in them (pure).
//!
//! Why: start-up, readers and `verify` have to agree on what counts. Owns: resynchronising after
//! bad bytes, the chain of sums within and across segments, and the judgement *damage* or
//! *unreceipted tail*. In: bytes. Out: [`Placed`] lines, [`Damage`], [`Tail`]. Must never happen
//! here: a line whose sum doesn't hold being taken.

use super::{
    Identity,
    damage::{Damage, DamageKind, Tail},
    frame::{Fault, Sum},
    scan::{Found, Placed, Scan},
    segment,
};
use crate::model::{
    ids::Seq,
    line::{Event, FORMAT},
};

/// What was written by a riklet that this one must not read over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {detail}")]
pub struct Newer {
    /// The file's name.
    pub file: String,
    /// What is newer in it.
    pub detail: String,
}

/// What of a segment counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// So many bytes, as the next segment's header says.
    Exactly(u64),
    /// Everything: there is a next segment, and its header is damaged.
    All,
    /// It is the last: everything up to the first bad bytes that lie above the last seq known
    /// to be durable (this one, or a later one that the segment itself tells of).
    Last(Seq),
}

/// Where the journal's last segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// First seq of the segment, by its name.
    pub first: Seq,
    /// How many of its bytes count.
    pub bytes: u64,
    /// How many it has.
    pub len: u64,
    /// Was it ended in order?
    pub sealed: bool,
}

/// What was learnt on the way through the segments.
#[derive(Debug)]
pub struct Walk {
    base: Option<(Seq, Sum)>,
    begun: bool,
    /// Seq of the last line that counts.
    pub last: Seq,
    /// Its sum.
    pub sum: Sum,
    /// The last seq known to have been durable.
    pub durable: Seq,
    /// Whose journal it is, as the newest header says.
    pub identity: Option<Identity>,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// What is ignored at the end.
    pub tail: Option<Tail>,
    /// Where the last segment ends.
    pub end: Option<End>,
    // The last damage in `damage` reaches up to the next good line.
    open: bool,
}

impl Walk {
    /// Begins behind a snapshot (its seq and sum), or at the first line.
    #[must_use]
    pub fn new(base: Option<(Seq, Sum)>) -> Self {
        let (last, sum) = base.unwrap_or((0, Sum::START));
        Self {
            base,
            begun: false,
            last,
            sum,
            durable: last,
            identity: None,
            damage: Vec::new(),
            tail: None,
            end: None,
            open: false,
        }
    }

    /// Reports a segment that can't be read at all.
    pub fn unreadable(&mut self, first: Seq, why: String) {
        self.open_damage(first, 0, 0, first, DamageKind::Unreadable { why });
        self.begun = true;
    }

    /// Takes a segment; lines that count are returned.
    ///
    /// # Errors
    /// A newer riklet wrote it.
    pub fn segment(
        &mut self,
        first: Seq,
        scan: Scan,
        counted: Counted,
    ) -> Result<Vec<Placed>, Newer> {
        let limit = match counted {
            Counted::Exactly(bytes) => bytes,
            Counted::All => scan.len,
            Counted::Last(known) => self.last_limit(first, &scan, known),
        };
        let mut lines = Vec::new();
        let mut in_segment = None;
        for found in scan.found {
            if found.offset() >= limit {
                break;
            }
            match found {
                Found::Line(placed) => {
                    if self.take(first, in_segment, &placed)? {
                        in_segment = Some(placed.line.seq);
                        lines.push(*placed);
                    }
                }
                Found::Bad { why, .. } if matches!(why, Fault::NotUnderstood { .. }) => {
                    return Err(newer(first, why.to_string()));
                }
                Found::Bad { offset, bytes, why } => {
                    let lost = in_segment.map_or(first, |seq| seq + 1);
                    let why = why.to_string();
                    self.open_damage(first, offset, bytes, lost, DamageKind::Bytes { why });
                }
            }
        }
        if let Counted::Exactly(bytes) = counted
            && bytes > scan.len
        {
            let lost = in_segment.map_or(first, |seq| seq + 1);
            self.open_damage(first, scan.len, 0, lost, DamageKind::Truncated);
        }
        self.finish(first, scan.len, limit, counted, &lines);
        Ok(lines)
    }

    fn finish(&mut self, first: Seq, len: u64, limit: u64, counted: Counted, lines: &[Placed]) {
        self.begun = true;
        let bytes = limit.min(len);
        if matches!(counted, Counted::Last(_)) && bytes < len {
            self.tail = Some(Tail {
                file: segment::file_name(first),
                offset: bytes,
                bytes: len - bytes,
            });
        }
        self.end = Some(End {
            first,
            bytes,
            len,
            sealed: lines
                .last()
                .is_some_and(|p| matches!(p.line.event, Event::SegmentSealed {})),
        });
    }

    /// Up to where the last segment counts.
    fn last_limit(&self, first: Seq, scan: &Scan, known: Seq) -> u64 {
        let marks = scan.found.iter().filter_map(|found| match found {
            Found::Line(placed) => placed.line.durable,
            Found::Bad { .. } => None,
        });
        let known = marks.fold(known.max(self.durable), Seq::max);
        let mut next = first;
        for found in &scan.found {
            match found {
                Found::Line(placed) => next = placed.line.seq + 1,
                Found::Bad {
                    why: Fault::NotUnderstood { .. },
                    ..
                } => next += 1,
                Found::Bad { offset, .. } if next > known => return *offset,
                Found::Bad { .. } => {}
            }
        }
        scan.len
    }

    /// Takes a whole line; false if it stands where it doesn't belong.
    fn take(&mut self, first: Seq, before: Option<Seq>, placed: &Placed) -> Result<bool, Newer> {
        let seq = placed.line.seq;
        let header = match &placed.line.event {
            Event::SegmentHeader {
                min_reader,
                prev_sum,
                journal,
                node,
                ..
            } => {
                if *min_reader > FORMAT {
                    let detail =
                        format!("it needs reader {min_reader}, this riklet is reader {FORMAT}");
                    return Err(newer(first, detail));
                }
                self.identity = Some(Identity {
                    node: node.clone(),
                    journal: journal.clone(),
                });
                Some(prev_sum.clone())
            }
            _ => None,
        };
        let in_place = match (before, self.open) {
            (None, false) => seq == first && header.is_some(),
            (None, true) => seq >= first,
            (Some(before), false) => seq == before + 1,
            (Some(before), true) => seq > before,
        };
        if !in_place || (self.begun && seq <= self.last) {
            let lost = before.map_or(first, |b| b + 1);
            let (offset, bytes) = (placed.offset, placed.bytes);
            self.open_damage(first, offset, bytes, lost, DamageKind::Misplaced);
            return Ok(false);
        }
        if let Some(prev_sum) = header {
            self.check_chain(first, &prev_sum);
        }
        self.close_damage(seq);
        self.last = seq;
        self.sum = placed.sum;
        self.durable = self.durable.max(placed.line.durable.unwrap_or(0));
        self.check_base(first, placed);
        Ok(true)
    }

    fn check_chain(&mut self, first: Seq, prev_sum: &str) {
        if self.open {
            // The header follows damage: what is missing is part of that.
            return;
        }
        let continues = if self.begun {
            prev_sum == self.sum.to_string()
        } else {
            // What came before the first segment that is read is in the base, or was removed.
            first <= self.base.map_or(0, |(seq, _)| seq) + 1
        };
        if !continues {
            let lost = self.last + 1;
            self.open_damage(first, 0, 0, lost, DamageKind::Missing);
        }
    }

    fn check_base(&mut self, first: Seq, placed: &Placed) {
        if let Some((seq, sum)) = self.base
            && seq == placed.line.seq
            && sum != placed.sum
        {
            let why = format!("the snapshot at {seq} was not taken of this line");
            self.damage.push(Damage {
                file: segment::file_name(first),
                offset: placed.offset,
                bytes: placed.bytes,
                kind: DamageKind::Snapshot { why },
                first: seq + 1,
                last: Some(seq),
                covered: true,
            });
        }
    }

    fn open_damage(&mut self, segment: Seq, offset: u64, bytes: u64, lost: Seq, kind: DamageKind) {
        let file = segment::file_name(segment);
        if self.open
            && let Some(last) = self.damage.last_mut()
            && last.file == file
            && last.offset + last.bytes == offset
        {
            last.bytes += bytes;
            return;
        }
        self.close_damage(lost);
        self.damage.push(Damage {
            file,
            offset,
            bytes,
            kind,
            first: lost,
            last: None,
            covered: false,
        });
        self.open = true;
    }

    fn close_damage(&mut self, next_good: Seq) {
        if self.open
            && let Some(last) = self.damage.last_mut()
        {
            last.last = Some(next_good.saturating_sub(1));
        }
        self.open = false;
    }

    /// If the journal ends in damage: it reaches up to `seq`, the last line known elsewhere.
    pub fn end_damage_at(&mut self, seq: Seq) {
        if self.damage.last().is_some_and(|d| d.first <= seq) {
            self.close_damage(seq + 1);
        }
    }

    /// Marks the damage whose lines a base at `seq` contains.
    pub fn cover(&mut self, seq: Seq) {
        for damage in &mut self.damage {
            damage.covered |= damage.last.is_some_and(|last| last <= seq);
        }
    }

    /// Seq and sum that the next line follows: the last line's, or the base's where that is
    /// later.
    #[must_use]
    pub fn tip(&self) -> (Seq, Sum) {
        match self.base {
            Some((seq, sum)) if seq > self.last => (seq, sum),
            _ => (self.last, self.sum),
        }
    }
}

fn newer(first: Seq, detail: String) -> Newer {
    Newer {
        file: segment::file_name(first),
        detail,
    }
}

#[cfg(test)]
pub(super) mod tests;
