//! A container's environment.

use super::{
    reader::{Fields, Findings},
    reference::{Meaning, Place, field_ref, key_ref, missing, resource_field_ref},
    sources::{Content, Kind, Known, named},
    tables::{CONFIG_MAP_ENV, ENV, ENV_FROM, VALUE_FROM},
    words::env_name,
};
use crate::model::spec::EnvVar;

/// One argument or variable of execve(2): `MAX_ARG_STRLEN` is 131072 with its NUL.
pub(super) const MAX_ARGUMENT: usize = 131_071;

/// The variables of the container at a position: those of `envFrom`, then those of `env`.
pub(super) fn env(
    fields: &Fields<'_>,
    position: usize,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Vec<EnvVar> {
    let mut env = Vec::new();
    for entry in fields.objects("envFrom", &ENV_FROM, findings) {
        env_from(&entry, known, &mut env, findings);
    }
    for entry in fields.objects("env", &ENV, findings) {
        env.extend(variable(&entry, position, known, findings));
    }
    env
}

fn variable(
    entry: &Fields<'_>,
    position: usize,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<EnvVar> {
    let name = entry.required("name", findings).unwrap_or("_");
    if !env_name(name) {
        findings.fault(
            &entry.at("name"),
            "must have letters, digits, '_', '-' and '.', and not start with a digit",
        );
    }
    let given = entry.string("value", findings);
    let mut variable = EnvVar {
        name: name.to_owned(),
        value: given.unwrap_or_default().to_owned(),
        ..EnvVar::default()
    };
    let mut at = entry.at("value");
    if let Some(from) = entry.object("valueFrom", &VALUE_FROM, findings) {
        at.clone_from(&from.path);
        if given.is_some_and(|value| !value.is_empty()) {
            findings.fault(&from.path, "must not stand beside a value");
        }
        match value_from(&from, position, known, findings)? {
            Meaning::Known(text) => {
                variable.value = text;
                variable.literal = true;
            }
            Meaning::Later(source) => variable.from = Some(source),
        }
    }
    if name.len() + 1 + variable.value.len() > MAX_ARGUMENT {
        let message = format!("is longer than {MAX_ARGUMENT} bytes with its name");
        findings.fault(&at, message);
    }
    Some(variable)
}

/// None where there is no such variable: it is optional, or that was a fault.
fn value_from(
    from: &Fields<'_>,
    position: usize,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<Meaning> {
    let kinds = [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
    ];
    let kind = from.exactly_one(&kinds, findings)?;
    let place = Place::Variable {
        container: position,
    };
    match kind {
        "fieldRef" => field_ref(from, place, known, findings),
        "resourceFieldRef" => resource_field_ref(from, place, known, findings).map(Meaning::Later),
        "configMapKeyRef" => {
            key_ref(from, kind, Kind::ConfigMap, known, findings).map(Meaning::Known)
        }
        _ => key_ref(from, kind, Kind::Secret, known, findings).map(Meaning::Known),
    }
}

fn env_from(entry: &Fields<'_>, known: &Known<'_>, env: &mut Vec<EnvVar>, findings: &mut Findings) {
    let prefix = entry.string("prefix", findings).unwrap_or_default();
    if !prefix.is_empty() && !env_name(prefix) {
        findings.fault(
            &entry.at("prefix"),
            "must have letters, digits, '_', '-' and '.', and not start with a digit",
        );
        return;
    }
    let Some(field) = entry.exactly_one(&["configMapRef", "secretRef"], findings) else {
        return;
    };
    let kind = match field {
        "configMapRef" => Kind::ConfigMap,
        _ => Kind::Secret,
    };
    let Some(reference) = entry.object(field, &CONFIG_MAP_ENV, findings) else {
        return;
    };
    let optional = reference.boolean("optional", findings) == Some(true);
    let Some(name) = named(&reference, "name", findings) else {
        return;
    };
    let Some(document) = known.document(kind, name) else {
        if !optional {
            findings.fault(&reference.at("name"), missing(kind));
        }
        return;
    };
    for (key, content) in document {
        let name = format!("{prefix}{key}");
        let Content::Text(value) = content else {
            // Kubernetes takes only what is text (a ConfigMap's binaryData isn't looked at).
            if kind == Kind::Secret {
                let what = format!("leaves out the key {key}, whose bytes are no text");
                findings.warn(&reference.path, what);
            }
            continue;
        };
        if !env_name(&name) {
            let what = format!("leaves out the key {key}, which can't name a variable");
            findings.warn(&reference.path, what);
        } else if value.contains('\0') || name.len() + 1 + value.len() > MAX_ARGUMENT {
            let what = format!("has the key {key}, which is too long for a variable or has a NUL");
            findings.fault(&reference.path, what);
        } else if !known.takes(name.len() + value.len(), &reference.path, findings) {
            return;
        } else {
            env.push(EnvVar {
                name,
                value: value.clone(),
                literal: true,
                ..EnvVar::default()
            });
        }
    }
}
