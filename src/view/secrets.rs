//! Hiding environment values in documents that were made elsewhere: journal lines, the fold.

use serde_json::Value;

use super::HIDDEN;

/// Hides every environment value in a document: in `env` lists, and in definitions that are kept
/// as text. A definition that isn't JSON is hidden whole.
pub fn hide_secrets(document: &mut Value) {
    match document {
        Value::Array(items) => items.iter_mut().for_each(hide_secrets),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("env", value) => hide_values(value),
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
