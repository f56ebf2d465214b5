//! An error as one line: what was tried, the cause, the cause's cause.
//!
//! Owns: how errors are printed. In: any error. Out: a line. Must never happen here: a line
//! break, or the same words twice, for many errors repeat their cause in their message.

use std::{error::Error, fmt::Write as _};

/// A chain is cut after so many causes; some library may have made a circle.
const MAX_CAUSES: usize = 16;

/// The error and its causes in one line: `cannot start: no such file: …`.
#[must_use]
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    for _ in 0..MAX_CAUSES {
        let Some(error) = next else { break };
        let text = flat(&error.to_string());
        if line.is_empty() {
            line = text;
        } else if !text.is_empty() && !line.contains(&text) {
            let _ = write!(line, ": {text}");
        }
        next = error.source();
    }
    line
}

/// The text without line breaks and other control characters: it may come from a foreign tool.
fn flat(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_control())
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect();
    words.join("; ")
}

#[cfg(test)]
mod tests;
