//! Hiding values in documents that were made elsewhere: journal lines, the fold.

use serde_json::{Value, json};

use super::{HIDDEN, Secrets};
use crate::model::spec::{FileText, VolumeSource, WorkloadSpec};

/// The model, with the values of its environment and the content of its files hidden, unless
/// they are asked for.
#[must_use]
pub fn shown_spec(spec: &WorkloadSpec, secrets: Secrets) -> Value {
    let mut shown = spec.clone();
    if secrets == Secrets::Hidden {
        let containers = shown.containers.iter_mut();
        for variable in containers.flat_map(|c| c.env.iter_mut()) {
            HIDDEN.clone_into(&mut variable.value);
        }
        for volume in &mut shown.volumes {
            let VolumeSource::Inline { files, .. } = &mut volume.source else {
                continue;
            };
            for file in files {
                if let FileText::Text(text) | FileText::Base64(text) = &mut file.text {
                    HIDDEN.clone_into(text);
                }
            }
        }
    }
    // A model always serialises: its keys are texts.
    serde_json::to_value(shown).unwrap_or_else(|_| json!({}))
}

/// Hides every value of an environment, of a file and of a ConfigMap or Secret in a document:
/// there, and in definitions that are kept as text. A definition that isn't JSON is hidden whole.
pub fn hide_secrets(document: &mut Value) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(hide_secrets),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("env", value) => hide_values(value),
                    ("data" | "stringData" | "binaryData", Value::Object(keys)) => {
                        keys.values_mut().for_each(|v| *v = Value::from(HIDDEN));
                    }
                    ("files", Value::Array(files)) => files.iter_mut().for_each(hide_file),
                    ("definition", Value::String(text)) => *text = hidden_definition(text),
                    (_, value) => hide_secrets(value),
                }
            }
        }
        _ => {}
    }
}

fn hide_values(env: &mut Value) {
    match env {
        Value::Array(items) => items.iter_mut().for_each(hide_values),
        Value::Object(variable) => {
            for (key, value) in variable {
                if key != "name" {
                    *value = Value::from(HIDDEN);
                }
            }
        }
        other => *other = Value::from(HIDDEN),
    }
}

fn hide_file(file: &mut Value) {
    for field in ["text", "base64"] {
        if let Some(content) = file.get_mut(field) {
            *content = Value::from(HIDDEN);
        }
    }
}

fn hidden_definition(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(mut definition) if definition.is_object() => {
            hide_secrets(&mut definition);
            definition.to_string()
        }
        _ if text.is_empty() => String::new(),
        _ => HIDDEN.to_owned(),
    }
}
