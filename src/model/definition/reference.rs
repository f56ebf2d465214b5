//! Values that stand elsewhere: `fieldRef`, `resourceFieldRef`, keys of documents.

use super::{
    quantity::{Unit, quantity},
    reader::{Fields, Findings},
    sources::{Content, Kind, Known, named},
    tables::{FIELD_REF, KEY_REF, RESOURCE_FIELD_REF},
};
use crate::model::spec::{EnvSource, Resource};

/// Where a value is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A variable of the container at this position.
    Variable { container: usize },
    /// A file of a volume.
    File,
}

/// What a reference stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This, as it stands in the definition.
    Known(String),
    /// Something that is known only on the node.
    Later(EnvSource),
}

/// Reads a `fieldRef`.
pub(super) fn field_ref(
    fields: &Fields<'_>,
    place: Place,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<Meaning> {
    let reference = fields.object("fieldRef", &FIELD_REF, findings)?;
    let at = reference.at("fieldPath");
    let path = reference.required("fieldPath", findings)?;
    let meaning = meaning(path, place, known);
    if meaning.is_none() {
        findings.fault(
            &at,
            match place {
                Place::Variable { .. } => {
                    "must be metadata.name, metadata.namespace, metadata.uid, \
                     metadata.labels['KEY'], metadata.annotations['KEY'], spec.nodeName, \
                     spec.serviceAccountName, status.hostIP or status.podIP"
                }
                Place::File => {
                    "must be metadata.name, metadata.namespace, metadata.uid, metadata.labels or \
                     metadata.annotations, or one of these with ['KEY']"
                }
            },
        );
    }
    if let Some(Meaning::Known(text)) = &meaning
        && !known.takes(text.len(), &at, findings)
    {
        return None;
    }
    meaning
}

fn meaning(path: &str, place: Place, known: &Known<'_>) -> Option<Meaning> {
    let variable = matches!(place, Place::Variable { .. });
    let text = |text: &str| Some(Meaning::Known(text.to_owned()));
    match path {
        "metadata.name" => return Some(Meaning::Later(EnvSource::Name)),
        "metadata.uid" => return Some(Meaning::Later(EnvSource::Uid)),
        "metadata.namespace" => return text(known.namespace),
        "metadata.labels" if !variable => return text(&listed(&known.labels)),
        "metadata.annotations" if !variable => return text(&listed(&known.annotations)),
        "spec.nodeName" if variable => return Some(Meaning::Later(EnvSource::NodeName)),
        "spec.serviceAccountName" if variable => return text(known.account),
        "status.hostIP" | "status.hostIPs" if variable => {
            return Some(Meaning::Later(EnvSource::HostIp));
        }
        "status.podIP" | "status.podIPs" if variable => {
            return Some(Meaning::Later(EnvSource::PodIp));
        }
        _ => {}
    }
    let (marks, rest) = match path.strip_prefix("metadata.labels['") {
        Some(rest) => (&known.labels, rest),
        None => (
            &known.annotations,
            path.strip_prefix("metadata.annotations['")?,
        ),
    };
    let key = rest.strip_suffix("']").filter(|key| !key.is_empty())?;
    // A key that isn't there is an empty text to Kubernetes.
    let found = marks.iter().find(|(name, _)| *name == key);
    text(found.map_or("", |(_, value)| value))
}

/// `key="value"` lines, quoted as Kubernetes does.
fn listed(marks: &[(&str, &str)]) -> String {
    let lines: Vec<String> = marks
        .iter()
        .map(|(key, value)| {
            let quoted = serde_json::Value::from(*value).to_string();
            format!("{key}={quoted}")
        })
        .collect();
    lines.join("\n")
}

/// Reads a `resourceFieldRef`.
pub(super) fn resource_field_ref(
    fields: &Fields<'_>,
    place: Place,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<EnvSource> {
    let reference = fields.object("resourceFieldRef", &RESOURCE_FIELD_REF, findings)?;
    let words = [
        ("limits.cpu", (Resource::Cpu, true)),
        ("limits.memory", (Resource::Memory, true)),
        ("requests.cpu", (Resource::Cpu, false)),
        ("requests.memory", (Resource::Memory, false)),
    ];
    reference.required("resource", findings)?;
    let found = reference.one_of("resource", &words, findings);
    let container = of_container(&reference, place, known, findings);
    let (resource, limit) = found?;
    let divisor = divisor(&reference, resource, findings)?;
    Some(EnvSource::Resource {
        container: u16::try_from(container?).ok()?,
        resource,
        limit,
        divisor,
    })
}

fn of_container(
    reference: &Fields<'_>,
    place: Place,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<usize> {
    let name = match place {
        Place::Variable { container } => match reference.string("containerName", findings) {
            None | Some("") => return Some(container),
            Some(name) => name,
        },
        Place::File => reference.required("containerName", findings)?,
    };
    let found = known.containers.iter().position(|known| *known == name);
    if found.is_none() {
        findings.fault(&reference.at("containerName"), "names no container");
    }
    found
}

fn divisor(reference: &Fields<'_>, resource: Resource, findings: &mut Findings) -> Option<u64> {
    let (unit, one) = match resource {
        Resource::Cpu => (Unit::Milli, 1000),
        Resource::Memory => (Unit::One, 1),
    };
    let Some(value) = reference.get("divisor") else {
        return Some(one);
    };
    match quantity(value, unit) {
        // Kubernetes' default too.
        Ok(amount) if amount.value == 0 => Some(one),
        Ok(amount) if amount.exact => Some(amount.value),
        Ok(_) => {
            findings.fault(&reference.at("divisor"), "is finer than what it divides");
            None
        }
        Err(message) => {
            findings.fault(&reference.at("divisor"), message);
            None
        }
    }
}

/// Reads a `configMapKeyRef` or `secretKeyRef`: the text of the key, or nothing if that is
/// allowed.
pub(super) fn key_ref(
    fields: &Fields<'_>,
    field: &'static str,
    kind: Kind,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<String> {
    let reference = fields.object(field, &KEY_REF, findings)?;
    let optional = reference.boolean("optional", findings) == Some(true);
    let name = named(&reference, "name", findings);
    let key = reference.required("key", findings);
    let (name, key) = (name?, key?);
    let Some(document) = known.document(kind, name) else {
        if !optional {
            findings.fault(&reference.at("name"), missing(kind));
        }
        return None;
    };
    match document.get(key) {
        Some(Content::Text(text)) if text.contains('\0') => {
            findings.fault(&reference.at("key"), "stands for a text with a NUL");
            None
        }
        Some(Content::Text(text)) => known
            .takes(text.len(), &reference.path, findings)
            .then(|| text.clone()),
        Some(Content::Bytes(_)) => {
            findings.fault(&reference.at("key"), "stands for bytes that are no text");
            None
        }
        None if optional => None,
        None => {
            findings.fault(
                &reference.at("key"),
                format!("is no key of that {}", kind.word()),
            );
            None
        }
    }
}

/// What is said of a document that isn't there.
pub(super) fn missing(kind: Kind) -> String {
    format!(
        "names no {} that was given; put its document beside the Pod",
        kind.word()
    )
}
