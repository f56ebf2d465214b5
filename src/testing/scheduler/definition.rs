//! What the real controller makes of a definition before a node sees it.

use serde_json::{Value, json};

/// A definition as the real controller hands it on: parsed, what it doesn't know dropped, what
/// is missing an explicit null.
///
/// # Errors
/// The text is no JSON object; the real one refuses it at its own door.
pub fn reserialised(text: &str) -> Result<String, String> {
    let known = |value: &Value, keys: &[&str]| -> serde_json::Map<String, Value> {
        let get = |key: &str| value.get(key).cloned().unwrap_or(Value::Null);
        keys.iter()
            .map(|key| ((*key).to_owned(), get(key)))
            .collect()
    };
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if !value.is_object() {
        return Err("a definition is an object".to_owned());
    }
    let port = |port: &Value| match port {
        Value::Null => Value::Null,
        port => Value::Object(known(port, &["port", "target_port", "protocol", "type"])),
    };
    let container = |container: &Value| {
        let mut made = known(container, &["name", "image", "env", "ports"]);
        let ports = match made.get("ports") {
            Some(Value::Array(list)) => Value::Array(list.iter().map(port).collect()),
            Some(one) => port(one),
            None => Value::Null,
        };
        made.insert("ports".to_owned(), ports);
        Value::Object(made)
    };
    let mut made = known(&value, &["apiVersion", "kind", "name", "replicas"]);
    let containers = match value.pointer("/spec/containers") {
        Some(Value::Array(list)) => Value::Array(list.iter().map(container).collect()),
        _ => Value::Null,
    };
    made.insert("spec".to_owned(), json!({ "containers": containers }));
    Ok(Value::Object(made).to_string())
}
