//! A line and its bytes (pure).
//!
//! Why: everything that is known of damage is known from here. Owns: the framing and the sum of
//! a line. In and out: values. Must never happen here: IO, or a judgement whether bad bytes
//! matter (that is `walk`).
//!
//! ```text
//! {"seq":42,…,"sum":"0123456789abcdef"}\n
//! └── body ──┘ the sum is the first 16 hex digits of SHA-256(sum of the line before, body)
//! ```
//! The sums guard against accidents; they are no claim against forgery.

use std::{fmt, str::FromStr};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::model::{ids::Seq, line::Line};

const MARK: &[u8] = b",\"sum\":\"";
const END: &[u8] = b"\"}";
const DIGITS: usize = 16;

/// The sum of a line: 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sum([u8; DIGITS]);

impl Sum {
    /// What stands before the first line of a journal.
    pub const START: Self = Self([b'0'; DIGITS]);

    /// The sum of a body that follows a line with the sum `self`.
    #[must_use]
    pub fn next(&self, body: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(self.0).chain_update(body);
        Self::from_hash(&hash.finalize())
    }

    /// The first 16 hex digits of a hash.
    #[must_use]
    pub(crate) fn from_hash(hash: &[u8]) -> Self {
        let mut digits = [b'0'; DIGITS];
        let text = data_encoding::HEXLOWER.encode(&hash[..hash.len().min(DIGITS / 2)]);
        digits[..text.len()].copy_from_slice(text.as_bytes());
        Self(digits)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let digits: [u8; DIGITS] = bytes.try_into().ok()?;
        digits
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            .then_some(Self(digits))
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no sum.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a sum of 16 hex digits")]
pub struct NotASum(String);

impl FromStr for Sum {
    type Err = NotASum;
    fn from_str(text: &str) -> Result<Self, NotASum> {
        Self::parse(text.as_bytes()).ok_or_else(|| NotASum(text.to_owned()))
    }
}

/// What is wrong with a line's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It doesn't end as a line does.
    #[error("it does not end in a sum")]
    Shape,
    /// Its bytes are not those that its sum was made of.
    #[error("its sum is {stated}, its bytes give another")]
    Sum {
        /// What it says.
        stated: Sum,
    },
    /// The bytes are those that were written, and yet no line that this riklet knows.
    #[error("line {seq} (kind {kind:?}) is of a newer riklet: {detail}")]
    NotUnderstood {
        /// Its number, 0 if even that is unknown.
        seq: Seq,
        /// Its kind, as it stands there.
        kind: String,
        /// What the parser says.
        detail: String,
    },
}

/// A line can't be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("a line of kind {kind} can't be written as JSON")]
pub struct EncodeError {
    kind: &'static str,
    source: serde_json::Error,
}

/// The bytes of a line that follows one with the sum `prev`, and its own sum.
///
/// # Errors
/// A value in the line has no JSON form.
pub fn encode(line: &Line, prev: Sum) -> Result<(Vec<u8>, Sum), EncodeError> {
    let mut bytes = serde_json::to_vec(line).map_err(|source| EncodeError {
        kind: line.event.kind(),
        source,
    })?;
    bytes.pop(); // the closing brace: the sum comes before it
    let sum = prev.next(&bytes);
    bytes.extend_from_slice(MARK);
    bytes.extend_from_slice(&sum.0);
    bytes.extend_from_slice(END);
    bytes.push(b'\n');
    Ok((bytes, sum))
}

/// Body and stated sum of a line without its `\n`.
#[must_use]
pub fn split(chunk: &[u8]) -> Option<(&[u8], Sum)> {
    let rest = chunk.strip_suffix(END)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    Some((rest.strip_suffix(MARK)?, Sum::parse(digits)?))
}

/// The sum that broken bytes seem to state, so that the line after them can still be checked.
#[must_use]
pub fn stated_sum(chunk: &[u8]) -> Option<Sum> {
    let rest = chunk.strip_suffix(END)?;
    Sum::parse(rest.get(rest.len().checked_sub(DIGITS)?..)?)
}

/// Checks and reads a line without its `\n`, that follows one with the sum `prev`.
///
/// # Errors
/// The [`Fault`].
pub fn decode(chunk: &[u8], prev: Sum) -> Result<(Line, Sum), Fault> {
    let (body, stated) = split(chunk).ok_or(Fault::Shape)?;
    if prev.next(body) != stated {
        return Err(Fault::Sum { stated });
    }
    match serde_json::from_slice(chunk) {
        Ok(line) => Ok((line, stated)),
        Err(error) => Err(not_understood(chunk, &error)),
    }
}

/// Reads a line without checking its sum: for a header, whose sum follows what it says itself.
#[must_use]
pub fn peek(chunk: &[u8]) -> Option<Line> {
    serde_json::from_slice(chunk).ok()
}

fn not_understood(chunk: &[u8], error: &serde_json::Error) -> Fault {
    #[derive(Deserialize, Default)]
    struct Outline {
        #[serde(default)]
        seq: Seq,
        #[serde(default)]
        kind: String,
    }
    let outline: Outline = serde_json::from_slice(chunk).unwrap_or_default();
    Fault::NotUnderstood {
        seq: outline.seq,
        kind: outline.kind,
        detail: error.to_string(),
    }
}

#[cfg(test)]
mod tests;
