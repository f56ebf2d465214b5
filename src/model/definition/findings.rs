//! What is wrong with a definition, and what of it has no effect: each with its path.
//!
//! Owns: paths, the two lists and their bounds. Must never happen here: giving up at the first
//! fault; a person mends a definition in one go.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    Strictness, Warning,
    fields::{Field, Treatment},
};
use crate::model::state::Reason;

/// Faults and warnings listed at most; further ones are counted. A hostile text could hold tens
/// of thousands, and each list is kept in the journal.
const MAX_LISTED: usize = 32;

/// How deep a definition may nest: real ones need 8.
const MAX_DEPTH: usize = 32;

/// A path longer than this is cut; a hostile key may be 256 KiB long.
const MAX_PATH: usize = 256;

/// The lists that grow while a definition is read.
#[derive(Debug)]
pub(super) struct Findings {
    strictness: Strictness,
    /// Something is wrong rather than only unsupported.
    invalid: bool,
    faults: Vec<Warning>,
    more_faults: usize,
    warnings: Vec<Warning>,
    more_warnings: usize,
}

fn list(items: &mut Vec<Warning>, more: &mut usize, path: &str, message: String) {
    if items.len() < MAX_LISTED {
        items.push(Warning {
            path: path.to_owned(),
            message,
        });
    } else {
        *more += 1;
    }
}

fn closed(mut items: Vec<Warning>, more: usize) -> Vec<Warning> {
    if more > 0 {
        items.push(Warning {
            path: super::WHOLE.to_owned(),
            message: format!("{more} more of this kind"),
        });
    }
    items
}

impl Findings {
    pub(super) fn new(strictness: Strictness) -> Self {
        Self {
            strictness,
            invalid: false,
            faults: Vec::new(),
            more_faults: 0,
            warnings: Vec::new(),
            more_warnings: 0,
        }
    }

    /// The definition is wrong here.
    pub(super) fn fault(&mut self, path: &str, message: impl Into<String>) {
        self.invalid = true;
        list(
            &mut self.faults,
            &mut self.more_faults,
            path,
            message.into(),
        );
    }

    /// The definition asks for what riklet doesn't do, and running it without would be another
    /// workload: refused however lenient.
    pub(super) fn unsupported(&mut self, path: &str, message: impl Into<String>) {
        list(
            &mut self.faults,
            &mut self.more_faults,
            path,
            message.into(),
        );
    }

    /// Something that a person should know of, and that stops nothing.
    pub(super) fn warn(&mut self, path: &str, message: impl Into<String>) {
        list(
            &mut self.warnings,
            &mut self.more_warnings,
            path,
            message.into(),
        );
    }

    /// A field that the table doesn't know: refused where a person can mend it.
    pub(super) fn unknown(&mut self, path: &str) {
        match self.strictness {
            Strictness::Strict => self.fault(path, "is not a known field"),
            Strictness::Lenient => self.warn(path, "is not a known field; it is ignored"),
        }
    }

    /// A field that the table knows and that isn't read.
    pub(super) fn unread(&mut self, path: &str, field: &Field) {
        let why = field.says;
        match (field.treatment, self.strictness) {
            (Treatment::Supported | Treatment::Silent, _) => {}
            (Treatment::Ignored, _) => self.warn(path, format!("is ignored: {why}")),
            (Treatment::Refused, Strictness::Lenient) => {
                self.warn(
                    path,
                    format!("is not supported by this riklet; it is ignored: {why}"),
                );
            }
            (Treatment::Refused | Treatment::Never, _) => {
                self.unsupported(path, format!("is not supported by this riklet: {why}"));
            }
        }
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    pub(super) fn into_faults(self) -> (Reason, Vec<Warning>) {
        let reason = if self.invalid {
            Reason::InvalidDefinition
        } else {
            Reason::Unsupported
        };
        (reason, closed(self.faults, self.more_faults))
    }

    pub(super) fn into_warnings(self) -> Vec<Warning> {
        closed(self.warnings, self.more_warnings)
    }

    /// Looks at the whole value for what may be nowhere: too much nesting, NUL characters. False
    /// if it nests too deep to be walked any further.
    pub(super) fn check_everywhere(&mut self, value: &Value, path: &str, depth: usize) -> bool {
        if depth > MAX_DEPTH {
            self.fault(path, format!("nests deeper than {MAX_DEPTH} levels"));
            return false;
        }
        match value {
            Value::String(text) if text.contains('\0') => {
                self.fault(path, "must not contain a NUL character");
                true
            }
            Value::Array(items) => items
                .iter()
                .enumerate()
                .all(|(i, item)| self.check_everywhere(item, &indexed(path, i), depth + 1)),
            Value::Object(map) => map.iter().all(|(key, item)| {
                let path = joined(path, key);
                if key.contains('\0') {
                    self.fault(&path, "a field's name must not contain a NUL character");
                }
                self.check_everywhere(item, &path, depth + 1)
            }),
            _ => true,
        }
    }
}

/// `<path>.<key>`, with a key that isn't a plain word escaped and cut.
pub(super) fn joined(path: &str, key: &str) -> String {
    let mut out = match path {
        "" | super::WHOLE => String::new(),
        path => format!("{path}."),
    };
    for c in key.chars().take(64) {
        match c {
            c if c.is_control() => {
                let _ = write!(out, "{}", c.escape_default());
            }
            c => out.push(c),
        }
    }
    if key.chars().nth(64).is_some() {
        out.push('…');
    }
    cut(out)
}

/// `<path>[<i>]`.
pub(super) fn indexed(path: &str, i: usize) -> String {
    cut(format!("{path}[{i}]"))
}

fn cut(mut path: String) -> String {
    if path.len() > MAX_PATH {
        path.truncate(path.floor_char_boundary(MAX_PATH));
        path.push('…');
    }
    path
}
