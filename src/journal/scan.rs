//! A segment's bytes, taken apart (pure).
//!
//! Owns: resynchronising after bad bytes: a line counts again once the sum before it is known.
//! Out: lines and bad bytes, in order. Must never happen here: a line whose sum doesn't hold
//! being taken for one, or a judgement whether bad bytes matter (that is `walk`).

use super::frame::{self, Fault, Sum};
use crate::model::line::{Event, Line};

/// A line and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The line.
    pub line: Line,
    /// Its sum.
    pub sum: Sum,
    /// Where it begins in its segment.
    pub offset: u64,
    /// Its bytes, with its `\n`.
    pub bytes: u64,
}

#[derive(Debug)]
pub(super) enum Found {
    Line(Box<Placed>),
    Bad { offset: u64, bytes: u64, why: Fault },
}

impl Found {
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Line(placed) => placed.offset,
            Self::Bad { offset, .. } => *offset,
        }
    }
}

/// A segment's bytes, taken apart.
#[derive(Debug)]
pub struct Scan {
    pub(super) found: Vec<Found>,
    pub(super) len: u64,
}

fn size(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Takes a segment's bytes apart. After bad bytes a line counts again once the sum before it is
/// known: as the bad line states it, or as its bytes give it.
#[must_use]
pub fn scan(bytes: &[u8]) -> Scan {
    let mut found = Vec::new();
    let mut offset = 0;
    let mut before: Vec<Sum> = Vec::new();
    for whole in bytes.split_inclusive(|b| *b == b'\n') {
        let Some(chunk) = whole.strip_suffix(b"\n") else {
            found.push(Found::Bad {
                offset,
                bytes: size(whole.len()),
                why: Fault::Shape,
            });
            break;
        };
        if offset == 0 {
            before.extend(header_continues(chunk));
        }
        match decode_after(chunk, &before) {
            Ok((line, sum)) => {
                before = vec![sum];
                found.push(Found::Line(Box::new(Placed {
                    line,
                    sum,
                    offset,
                    bytes: size(whole.len()),
                })));
            }
            Err(why) => {
                before = sums_after_bad(chunk, &before);
                found.push(Found::Bad {
                    offset,
                    bytes: size(whole.len()),
                    why,
                });
            }
        }
        offset += size(whole.len());
    }
    Scan {
        found,
        len: size(bytes.len()),
    }
}

fn decode_after(chunk: &[u8], before: &[Sum]) -> Result<(Line, Sum), Fault> {
    let mut fault = Fault::Shape;
    for prev in before {
        match frame::decode(chunk, *prev) {
            Err(other @ Fault::Sum { .. }) => fault = other,
            done => return done,
        }
    }
    if before.is_empty()
        && let Some((_, stated)) = frame::split(chunk)
    {
        fault = Fault::Sum { stated };
    }
    Err(fault)
}

fn sums_after_bad(chunk: &[u8], before: &[Sum]) -> Vec<Sum> {
    let mut sums: Vec<Sum> = frame::stated_sum(chunk).into_iter().collect();
    if let Some((body, _)) = frame::split(chunk) {
        sums.extend(before.iter().map(|prev| prev.next(body)));
    }
    sums.truncate(4);
    sums
}

/// The sum that a header says it continues from.
fn header_continues(chunk: &[u8]) -> Option<Sum> {
    #[derive(serde::Deserialize)]
    struct Outline {
        prev_sum: String,
    }
    let outline: Outline = serde_json::from_slice(chunk).ok()?;
    outline.prev_sum.parse().ok()
}

/// How many bytes of the segment before count, as a segment's (whole) header says.
#[must_use]
pub fn counted_before(bytes: &[u8]) -> Option<u64> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let chunk = &bytes[..end];
    let (line, _) = frame::decode(chunk, header_continues(chunk)?).ok()?;
    match line.event {
        Event::SegmentHeader { prev_bytes, .. } => Some(prev_bytes),
        _ => None,
    }
}
