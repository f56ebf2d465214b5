//! Walking a JSON value field by field, knowing at every step where one is.
//!
//! Owns: asking the table what a field means. Must never happen here: reading a field that the
//! table doesn't have as supported.

use serde_json::{Map, Value};

use super::fields::{Field, Object, Treatment};
pub(super) use super::findings::{Findings, indexed, joined};

/// What a JSON value is called in a message.
pub(super) fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// An object that is being read. What its table doesn't have as supported can't be read.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) path: String,
    map: &'a Map<String, Value>,
    table: &'static Object,
}

impl<'a> Fields<'a> {
    /// The value as an object of that table; the fields of it that won't be read go to the
    /// findings.
    pub(super) fn of(
        value: &'a Value,
        path: &str,
        table: &'static Object,
        findings: &mut Findings,
    ) -> Option<Self> {
        let map = object(value, path, findings)?;
        for (key, value) in map {
            // A null says nothing.
            if value.is_null() {
                continue;
            }
            match table.field(key) {
                None => findings.unknown(&joined(path, key)),
                Some(field) if says_nothing(value, field) => {}
                Some(field) => findings.unread(&joined(path, key), field),
            }
        }
        Some(Self {
            path: path.to_owned(),
            map,
            table,
        })
    }

    pub(super) fn at(&self, field: &str) -> String {
        joined(&self.path, field)
    }

    /// Is every field of it null?
    pub(super) fn blank(&self) -> bool {
        self.map.values().all(Value::is_null)
    }

    /// The field's value; an explicit null is the same as no field.
    pub(super) fn get(&self, field: &'static str) -> Option<&'a Value> {
        let known = self.table.field(field);
        known.filter(|known| known.treatment == Treatment::Supported)?;
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// The field's value as an object, of that table.
    pub(super) fn object(
        &self,
        field: &'static str,
        table: &'static Object,
        findings: &mut Findings,
    ) -> Option<Self> {
        Fields::of(self.get(field)?, &self.at(field), table, findings)
    }

    /// The items of a list that are objects, of that table.
    pub(super) fn objects(
        &self,
        field: &'static str,
        table: &'static Object,
        findings: &mut Findings,
    ) -> Vec<Self> {
        let at = self.at(field);
        let items = self.list(field, findings).iter().enumerate();
        items
            .filter_map(|(i, item)| Fields::of(item, &indexed(&at, i), table, findings))
            .collect()
    }

    /// Which one of some fields is given.
    pub(super) fn exactly_one(
        &self,
        fields: &[&'static str],
        findings: &mut Findings,
    ) -> Option<&'static str> {
        let mut given = fields.iter().filter(|field| self.get(field).is_some());
        let (one, more) = (given.next(), given.next());
        if more.is_some() || (one.is_none() && !self.refuses()) {
            let message = format!("must have exactly one of {}", fields.join(", "));
            findings.fault(&self.path, message);
        }
        one.filter(|_| more.is_none()).copied()
    }

    /// Is a field given that was refused from any source?
    pub(super) fn refuses(&self) -> bool {
        let never = |field: &Field| field.treatment == Treatment::Never;
        let mut given = self.map.iter().filter(|(_, value)| !value.is_null());
        given.any(|(key, _)| self.table.field(key).is_some_and(never))
    }

    /// Is a field given that the table doesn't know?
    pub(super) fn unknown(&self) -> bool {
        let mut given = self.map.iter().filter(|(_, value)| !value.is_null());
        given.any(|(key, _)| self.table.field(key).is_none())
    }

    /// A text that has to be there.
    pub(super) fn required(&self, field: &'static str, findings: &mut Findings) -> Option<&'a str> {
        if self.get(field).is_none() {
            findings.fault(&self.at(field), "is missing");
        }
        self.string(field, findings)
    }

    /// A list of texts, with the path of each.
    pub(super) fn texts(
        &self,
        field: &'static str,
        findings: &mut Findings,
    ) -> Vec<(String, &'a str)> {
        let at = self.at(field);
        let items = self.list(field, findings).iter().enumerate();
        items
            .filter_map(|(i, item)| {
                let path = indexed(&at, i);
                text(item, &path, findings).map(|text| (path, text))
            })
            .collect()
    }

    /// The texts of an object whose keys are free, by key, with the path of each.
    pub(super) fn map(
        &self,
        field: &'static str,
        findings: &mut Findings,
    ) -> Vec<(&'a str, String, &'a str)> {
        let at = self.at(field);
        let Some(map) = self
            .get(field)
            .and_then(|value| object(value, &at, findings))
        else {
            return Vec::new();
        };
        let texts = map.iter().filter(|(_, value)| !value.is_null());
        texts
            .filter_map(|(key, value)| {
                let path = joined(&at, key);
                text(value, &path, findings).map(|text| (key.as_str(), path, text))
            })
            .collect()
    }

    pub(super) fn string(&self, field: &'static str, findings: &mut Findings) -> Option<&'a str> {
        let value = self.get(field)?;
        text(value, &self.at(field), findings)
    }

    pub(super) fn boolean(&self, field: &'static str, findings: &mut Findings) -> Option<bool> {
        match self.get(field)? {
            Value::Bool(value) => Some(*value),
            other => {
                let message = format!("must be true or false, not {}", named(other));
                findings.fault(&self.at(field), message);
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn one_of<T: Copy>(
        &self,
        field: &'static str,
        words: &[(&str, T)],
        findings: &mut Findings,
    ) -> Option<T> {
        let word = self.string(field, findings)?;
        if word.is_empty() && !words.iter().any(|(w, _)| w.is_empty()) {
            // To Kubernetes the same as no field.
            return None;
        }
        let found = words.iter().find(|(w, _)| *w == word);
        if found.is_none() {
            let known: Vec<&str> = words
                .iter()
                .map(|(w, _)| if w.is_empty() { "\"\"" } else { w })
                .collect();
            findings.fault(&self.at(field), format!("must be {}", known.join(" or ")));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A whole number within `range`.
    pub(super) fn number(
        &self,
        field: &'static str,
        range: std::ops::RangeInclusive<u64>,
        findings: &mut Findings,
    ) -> Option<u64> {
        let value = self.get(field)?;
        let number = whole(value).filter(|n| range.contains(n));
        if number.is_none() {
            let (from, to) = range.into_inner();
            let but = match value {
                Value::Number(_) => String::new(),
                Value::String(_) => ", not a string; take it out of its quotes".to_owned(),
                other => format!(", not {}", named(other)),
            };
            let message = format!("must be a whole number from {from} to {to}{but}");
            findings.fault(&self.at(field), message);
        }
        number
    }

    /// A list; nothing is an empty one.
    pub(super) fn list(&self, field: &'static str, findings: &mut Findings) -> &'a [Value] {
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
}

/// A whole number, however it is written: `80.0` and `8e1` are 80, as they are to Kubernetes.
fn whole(value: &Value) -> Option<u64> {
    let float = || {
        let number = value.as_f64().filter(|n| n.fract() == 0.0)?;
        format!("{number:.0}").parse().ok()
    };
    value.as_u64().or_else(float)
}

fn object<'a>(
    value: &'a Value,
    path: &str,
    findings: &mut Findings,
) -> Option<&'a Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        other => {
            findings.fault(path, format!("must be an object, not {}", named(other)));
            None
        }
    }
}

/// Does a value ask for nothing, or only for what happens anyway?
fn says_nothing(value: &Value, field: &Field) -> bool {
    let (anyway, treatment) = (field.anyway, field.treatment);
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => anyway.contains(&"true"),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty() && treatment != Treatment::Never,
        Value::String(text) => text.is_empty() || anyway.contains(&text.as_str()),
        Value::Number(number) => anyway.contains(&number.to_string().as_str()),
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
