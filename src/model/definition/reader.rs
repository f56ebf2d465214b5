//! Walking a JSON value field by field, knowing at every step where one is.
//!
//! Owns: paths, the list of faults, which fields were looked at. Must never happen here: giving
//! up at the first fault; a person mends a definition in one go.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::{Map, Value};

use super::{Strictness, Warning};
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

    /// A field that has no effect: refused where a person can mend it, else a warning.
    pub(super) fn without_effect(&mut self, path: &str, known: bool) {
        let (what, then) = match known {
            true => ("is not supported by this riklet", "it is ignored"),
            false => ("is not a known field", "it is ignored"),
        };
        match self.strictness {
            Strictness::Strict if known => self.unsupported(path, what),
            Strictness::Strict => self.fault(path, what),
            Strictness::Lenient => list(
                &mut self.warnings,
                &mut self.more_warnings,
                path,
                format!("{what}; {then}"),
            ),
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

/// What a JSON value is called in a message.
fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An object that is being read; every field that nobody asks for is found by [`Self::finish`].
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) path: String,
    map: &'a Map<String, Value>,
    asked: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    /// The value as an object.
    pub(super) fn of(value: &'a Value, path: &str, findings: &mut Findings) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self {
                path: path.to_owned(),
                map,
                asked: BTreeSet::new(),
            }),
            other => {
                findings.fault(path, format!("must be an object, not {}", named(other)));
                None
            }
        }
    }

    pub(super) fn at(&self, field: &str) -> String {
        joined(&self.path, field)
    }

    /// Is every field of it null?
    pub(super) fn blank(&self) -> bool {
        self.map.values().all(Value::is_null)
    }

    /// The field's value; an explicit null is the same as no field.
    pub(super) fn get(&mut self, field: &'static str) -> Option<&'a Value> {
        self.asked.insert(field);
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// Takes the field note of, whatever is in it.
    pub(super) fn pass(&mut self, fields: &[&'static str]) {
        self.asked.extend(fields);
    }

    /// A field that riklet knows and doesn't act on: fine where it says nothing, or only what
    /// happens anyway.
    pub(super) fn no_effect(
        &mut self,
        fields: &[(&'static str, &[&str])],
        findings: &mut Findings,
    ) {
        for (field, anyway) in fields {
            let silent = match self.get(field) {
                None | Some(Value::Bool(false)) => true,
                Some(Value::Array(items)) => items.is_empty(),
                Some(Value::Object(map)) => map.is_empty(),
                Some(Value::String(text)) => text.is_empty() || anyway.contains(&text.as_str()),
                Some(_) => false,
            };
            if !silent {
                findings.without_effect(&self.at(field), true);
            }
        }
    }

    pub(super) fn string(
        &mut self,
        field: &'static str,
        findings: &mut Findings,
    ) -> Option<&'a str> {
        let value = self.get(field)?;
        text(value, &self.at(field), findings)
    }

    pub(super) fn boolean(&mut self, field: &'static str, findings: &mut Findings) -> bool {
        match self.get(field) {
            None => false,
            Some(Value::Bool(value)) => *value,
            Some(other) => {
                let message = format!("must be true or false, not {}", named(other));
                findings.fault(&self.at(field), message);
                false
            }
        }
    }

    /// A whole number within `range`.
    pub(super) fn number(
        &mut self,
        field: &'static str,
        range: std::ops::RangeInclusive<u64>,
        findings: &mut Findings,
    ) -> Option<u64> {
        let value = self.get(field)?;
        let number = value.as_u64().filter(|n| range.contains(n));
        if number.is_none() {
            let (from, to) = range.into_inner();
            findings.fault(
                &self.at(field),
                format!("must be a whole number from {from} to {to}"),
            );
        }
        number
    }

    /// A list; nothing is an empty one.
    pub(super) fn list(&mut self, field: &'static str, findings: &mut Findings) -> &'a [Value] {
        match self.get(field) {
            None => &[],
            Some(Value::Array(items)) => items,
            Some(other) => {
                let message = format!("must be a list, not {}", named(other));
                findings.fault(&self.at(field), message);
                &[]
            }
        }
    }

    /// Lists the fields that nobody asked for. Nulls say nothing, so they aren't listed.
    pub(super) fn finish(self, findings: &mut Findings) {
        for (key, value) in self.map {
            if !value.is_null() && !self.asked.contains(key.as_str()) {
                findings.without_effect(&joined(&self.path, key), false);
            }
        }
    }
}

/// The value as a string.
pub(super) fn text<'a>(value: &'a Value, path: &str, findings: &mut Findings) -> Option<&'a str> {
    match value {
        Value::String(text) => Some(text),
        other => {
            let mend = match other {
                Value::Bool(_) | Value::Number(_) => "; put it in quotes",
                _ => "",
            };
            findings.fault(
                path,
                format!("must be a string, not {}{mend}", named(other)),
            );
            None
        }
    }
}
