//! Texts of several documents: which Pods they hold, and what each of them refers to.
//!
//! Owns: kinds of documents; how a definition is put together of a Pod and the ConfigMaps and
//! Secrets that it names. Pure: who reads the files hands them in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    MAX_BYTES, Strictness, Warning,
    reader::{Fields, Findings},
    sources,
    tables::LIST,
    texts,
};

/// One Pod of the files, or what is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The name of its file, as it was given.
    pub file: String,
    /// The Pod's name; none where it can't be told.
    pub name: Option<String>,
    /// The definition, for [`parse`](super::parse), which says what is wrong with the Pod itself;
    /// empty if there are faults.
    pub definition: String,
    /// Why there is no definition.
    pub faults: Vec<Warning>,
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A workload: a Pod, or what the parser of Pods refuses by its kind.
    Pod,
    /// Something that Pods refer to.
    Referred(sources::Kind),
    /// Something else.
    Other,
}

pub(super) fn kind(document: &Value) -> Kind {
    match document.get("kind").and_then(Value::as_str) {
        Some("ConfigMap") => Kind::Referred(sources::Kind::ConfigMap),
        Some("Secret") => Kind::Referred(sources::Kind::Secret),
        Some(word)
            if ["pod", "pods", "function", "functions"]
                .iter()
                .any(|pod| word.eq_ignore_ascii_case(pod)) =>
        {
            Kind::Pod
        }
        _ => Kind::Other,
    }
}

/// Kinds that hold a Pod's template.
const TEMPLATES: &[&str] = &[
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "PodTemplate",
];

/// Kubernetes' further kinds that people write beside Pods.
const OTHERS: &[&str] = &[
    "Service",
    "Ingress",
    "Namespace",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "StorageClass",
    "NetworkPolicy",
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "Endpoints",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "LimitRange",
    "ResourceQuota",
    "Node",
    "CustomResourceDefinition",
    "Gateway",
    "HTTPRoute",
    "PriorityClass",
    "RuntimeClass",
];

/// Why a kind isn't run. Names the kind only if it is one of Kubernetes', so not any text.
pub(super) fn refusal(kind: &str) -> String {
    if TEMPLATES.contains(&kind) {
        return format!("is {kind}, which a node doesn't run: write its Pod template as a Pod");
    }
    if OTHERS.contains(&kind) {
        return format!("is {kind}, which a node has no use for: leave it out");
    }
    "is not a kind that riklet runs; it must be \"Pod\"".to_owned()
}

/// The documents, with the items of lists in their place.
pub(super) fn flat<'a>(documents: &'a [Value], findings: &mut Findings) -> Vec<&'a Value> {
    let mut found = Vec::new();
    for document in documents {
        if document.get("kind").and_then(Value::as_str) == Some("List") {
            let list = Fields::of(document, super::WHOLE, &LIST, findings);
            found.extend(list.map_or(&[][..], |list| list.list("items", findings)));
        } else {
            found.push(document);
        }
    }
    found
}

/// A document with the place it was found at.
struct Placed {
    file: usize,
    /// Counted from 1, and of how many.
    place: Option<usize>,
    value: Value,
}

impl Placed {
    fn path(&self, field: &str) -> String {
        match self.place {
            Some(n) => format!("document {n}: {field}"),
            None => field.to_owned(),
        }
    }
}

/// Puts together the definition of each Pod of some files, which are `(name, text)`. What a Pod
/// refers to may stand in any of them.
///
/// A file without a Pod gives nothing; one that can't be read gives its faults.
#[must_use]
pub fn split(files: &[(String, String)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut all = Vec::new();
    for (n, (name, text)) in files.iter().enumerate() {
        match placed(n, text) {
            Ok(documents) => all.extend(documents),
            Err(faults) => pieces.push((n, failed(name, faults))),
        }
    }
    let (referred, twice) = referred(&all);
    for (i, document) in all.iter().enumerate() {
        let file = &files[document.file].0;
        if let Some(first) = twice.get(&i) {
            let message = format!("is there already in {}", files[*first].0);
            let fault = fault(&document.path("metadata.name"), message);
            pieces.push((document.file, failed(file, vec![fault])));
        }
        match kind(&document.value) {
            Kind::Pod => pieces.push((document.file, composed(file, document, &referred, &all))),
            Kind::Referred(_) => {}
            Kind::Other => {
                let why = match document.value.get("kind") {
                    None => "is missing; it must be Pod, ConfigMap, Secret or List".to_owned(),
                    Some(kind) => refusal(kind.as_str().unwrap_or_default()),
                };
                let fault = fault(&document.path("kind"), why);
                pieces.push((document.file, failed(file, vec![fault])));
            }
        }
    }
    // By file; within one in the order of its documents.
    pieces.sort_by_key(|(file, _)| *file);
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

fn fault(path: &str, message: impl Into<String>) -> Warning {
    Warning {
        path: path.to_owned(),
        message: message.into(),
    }
}

fn failed(file: &str, faults: Vec<Warning>) -> Piece {
    Piece {
        file: file.to_owned(),
        name: None,
        definition: String::new(),
        faults,
    }
}

fn placed(file: usize, text: &str) -> Result<Vec<Placed>, Vec<Warning>> {
    let whole = |message: String| vec![fault(super::WHOLE, message)];
    if text.len() > MAX_BYTES {
        let message = format!("has {} bytes, the limit is {MAX_BYTES}", text.len());
        return Err(whole(message));
    }
    let documents = texts::documents(text, Strictness::Strict).map_err(whole)?;
    let mut findings = Findings::new(Strictness::Strict);
    for document in &documents {
        if !findings.check_everywhere(document, super::WHOLE, 0) {
            break;
        }
    }
    if findings.has_faults() {
        return Err(findings.into_faults().1);
    }
    let found = flat(&documents, &mut findings);
    if findings.has_faults() {
        return Err(findings.into_faults().1);
    }
    let many = found.len() > 1;
    Ok(found
        .into_iter()
        .enumerate()
        .map(|(i, value)| Placed {
            file,
            place: many.then_some(i + 1),
            value: value.clone(),
        })
        .collect())
}

type Referred = BTreeMap<(sources::Kind, String), usize>;

/// What can be referred to, by its position; and which positions are a second one, after which
/// file.
fn referred(all: &[Placed]) -> (Referred, BTreeMap<usize, usize>) {
    let mut found = Referred::new();
    let mut twice = BTreeMap::new();
    for (i, document) in all.iter().enumerate() {
        let name = document.value.pointer("/metadata/name");
        if let (Kind::Referred(kind), Some(name)) =
            (kind(&document.value), name.and_then(Value::as_str))
        {
            match found.get(&(kind, name.to_owned())) {
                Some(first) => {
                    twice.insert(i, all[*first].file);
                }
                None => {
                    found.insert((kind, name.to_owned()), i);
                }
            }
        }
    }
    (found, twice)
}

/// The definition of a Pod: it alone, or a list of it and what it names.
fn composed(file: &str, pod: &Placed, referred: &Referred, all: &[Placed]) -> Piece {
    let name = [pod.value.get("name"), pod.value.pointer("/metadata/name")];
    let name = name.into_iter().flatten().find_map(Value::as_str);
    let mut named = BTreeSet::new();
    names(&pod.value, &mut named);
    let needed: Vec<&Value> = named
        .iter()
        .filter_map(|name| referred.get(name))
        .map(|i| &all[*i].value)
        .collect();
    let definition = match needed.is_empty() {
        true => pod.value.to_string(),
        false => {
            let mut items = vec![&pod.value];
            items.extend(needed);
            json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
        }
    };
    if definition.len() > MAX_BYTES {
        let message = format!(
            "has {} bytes with what it refers to, the limit is {MAX_BYTES}",
            definition.len()
        );
        return failed(file, vec![fault(&pod.path("spec"), message)]);
    }
    Piece {
        file: file.to_owned(),
        name: name.map(str::to_owned),
        definition,
        faults: Vec::new(),
    }
}

/// What a Pod may refer to, by the fields that do it.
fn names(value: &Value, found: &mut BTreeSet<(sources::Kind, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let kind = match key.as_str() {
                    "configMap" | "configMapRef" | "configMapKeyRef" => {
                        Some(sources::Kind::ConfigMap)
                    }
                    "secret" | "secretRef" | "secretKeyRef" => Some(sources::Kind::Secret),
                    _ => None,
                };
                let name = ["name", "secretName"].iter().find_map(|n| value.get(n));
                if let (Some(kind), Some(name)) = (kind, name.and_then(Value::as_str)) {
                    found.insert((kind, name.to_owned()));
                }
                names(value, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
