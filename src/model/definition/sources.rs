//! What a Pod may refer to: ConfigMap and Secret documents, and the Pod itself.
//!
//! Owns: their content by key, and how much of it one model may hold, for a reference is short
//! and what it stands for is not.

use std::{cell::Cell, collections::BTreeMap};

use data_encoding::BASE64;
use serde_json::Value;

use super::{
    reader::{Fields, Findings, joined},
    tables::{CONFIG_MAP_DOCUMENT, METADATA, SECRET_DOCUMENT},
    words,
};

/// The most bytes that references may stand for in one workload, each counted.
const MAX_REFERRED: usize = 1024 * 1024;

/// Which kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Text(String),
    Bytes(Vec<u8>),
}

/// One document's content.
pub(super) type Keyed = BTreeMap<String, Content>;

/// What a Pod may refer to.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// ConfigMaps and Secrets by name.
    documents: BTreeMap<(Kind, String), Keyed>,
    /// The Pod's metadata.
    pub(super) namespace: &'a str,
    pub(super) labels: Vec<(&'a str, &'a str)>,
    pub(super) annotations: Vec<(&'a str, &'a str)>,
    /// The Pod's account.
    pub(super) account: &'a str,
    /// The names of its containers, in the order of the model.
    pub(super) containers: Vec<&'a str>,
    room: Cell<usize>,
}

impl Default for Known<'_> {
    fn default() -> Self {
        Self {
            documents: BTreeMap::new(),
            namespace: "default",
            labels: Vec::new(),
            annotations: Vec::new(),
            account: "default",
            containers: Vec::new(),
            room: Cell::new(MAX_REFERRED),
        }
    }
}

impl Known<'_> {
    /// Reads a document that Pods may refer to.
    pub(super) fn add(&mut self, kind: Kind, document: &Value, findings: &mut Findings) {
        let place = document
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .map_or_else(
                || kind.word().to_owned(),
                |name| joined("", &format!("{}/{name}", kind.word())),
            );
        let table = match kind {
            Kind::ConfigMap => &CONFIG_MAP_DOCUMENT,
            Kind::Secret => &SECRET_DOCUMENT,
        };
        let Some(fields) = Fields::of(document, &place, table, findings) else {
            return;
        };
        fields.string("apiVersion", findings);
        let Some(name) = document_name(&fields, findings) else {
            return;
        };
        let keyed = content(kind, &fields, findings);
        if self
            .documents
            .insert((kind, name.to_owned()), keyed)
            .is_some()
        {
            findings.fault(&place, "is there twice");
        }
    }

    /// The content of a document.
    pub(super) fn document(&self, kind: Kind, name: &str) -> Option<&Keyed> {
        self.documents.get(&(kind, name.to_owned()))
    }

    /// Takes note of so many bytes that a reference stands for; false where it is too much.
    pub(super) fn takes(&self, bytes: usize, path: &str, findings: &mut Findings) -> bool {
        let Some(left) = self.room.get().checked_sub(bytes) else {
            findings.fault(
                path,
                format!("makes more than {MAX_REFERRED} bytes of what is referred to"),
            );
            return false;
        };
        self.room.set(left);
        true
    }
}

fn document_name<'a>(fields: &Fields<'a>, findings: &mut Findings) -> Option<&'a str> {
    if fields.get("metadata").is_none() {
        findings.fault(&fields.at("metadata"), "is missing");
    }
    let metadata = fields.object("metadata", &METADATA, findings)?;
    let name = metadata.required("name", findings)?;
    if !words::domain(name) {
        findings.fault(
            &metadata.at("name"),
            "must have 1 to 253 letters, digits, '-' and '.'",
        );
        return None;
    }
    Some(name)
}

fn content(kind: Kind, fields: &Fields<'_>, findings: &mut Findings) -> Keyed {
    let mut keyed = Keyed::new();
    let (plain, encoded) = match kind {
        Kind::ConfigMap => ("data", "binaryData"),
        Kind::Secret => ("stringData", "data"),
    };
    for (key, path, value) in entries(fields, encoded, findings) {
        // As an API server takes it: line breaks between are fine.
        let packed: String = value.split_ascii_whitespace().collect();
        match BASE64.decode(packed.as_bytes()) {
            Ok(bytes) => {
                let content = String::from_utf8(bytes)
                    .map_or_else(|e| Content::Bytes(e.into_bytes()), Content::Text);
                keyed.insert(key.to_owned(), content);
            }
            Err(_) => findings.fault(&path, "is not base64"),
        }
    }
    for (key, path, value) in entries(fields, plain, findings) {
        let former = keyed.insert(key.to_owned(), Content::Text(value.to_owned()));
        if former.is_some() && kind == Kind::ConfigMap {
            findings.fault(&path, format!("is in {encoded} too"));
        }
    }
    keyed
}

fn entries<'a>(
    fields: &Fields<'a>,
    field: &'static str,
    findings: &mut Findings,
) -> Vec<(&'a str, String, &'a str)> {
    let entries = fields.map(field, findings);
    for (key, path, _) in &entries {
        if !words::key(key) {
            findings.fault(
                path,
                "a key must have 1 to 253 letters, digits, '-', '_' and '.', not starting with '..'",
            );
        }
    }
    entries
}

/// The texts of labels and annotations.
pub(super) fn marks<'a>(
    metadata: &Fields<'a>,
    field: &'static str,
    findings: &mut Findings,
) -> Vec<(&'a str, &'a str)> {
    let mut marks: Vec<(&str, &str)> = metadata
        .map(field, findings)
        .into_iter()
        .map(|(key, _, value)| (key, value))
        .collect();
    marks.sort_unstable();
    marks
}

/// The names of the containers of a list, before they are read.
pub(super) fn names<'a>(spec: &'a Value, field: &str) -> Vec<&'a str> {
    let items = spec.get(field).and_then(Value::as_array);
    items
        .into_iter()
        .flatten()
        .map(|item| item.get("name").and_then(Value::as_str).unwrap_or_default())
        .collect()
}

/// The name of the document that is referred to.
pub(super) fn named<'a>(
    fields: &Fields<'a>,
    field: &'static str,
    findings: &mut Findings,
) -> Option<&'a str> {
    let name = fields.required(field, findings)?;
    if name.is_empty() {
        findings.fault(&fields.at(field), "must not be empty");
        return None;
    }
    Some(name)
}
