//! What plugins answer.

use std::net::IpAddr;

use serde_json::Value;

/// The most of a plugin's words that get into an error.
const WORDS: usize = 500;

/// A result is an object with a version.
pub(super) fn result(stdout: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(stdout).ok()?;
    value.get("cniVersion")?.is_string().then_some(value)
}

/// Code and message of an error answer, in one line.
pub(super) fn error(stdout: &[u8]) -> Option<(u64, String)> {
    let value: Value = serde_json::from_slice(stdout).ok()?;
    let code = value.get("code")?.as_u64()?;
    let said = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").trim();
    let both = match (said("msg"), said("details")) {
        (msg, "") => msg.to_owned(),
        (msg, details) => format!("{msg}: {details}"),
    };
    let line = both.split_whitespace().collect::<Vec<_>>().join(" ");
    Some((code, line.chars().take(WORDS).collect()))
}

/// The addresses that a result gives to the inside, in its order.
#[must_use]
pub fn addresses(result: &Value) -> Vec<IpAddr> {
    let inside = |ip: &Value| {
        let Some(index) = ip.get("interface").and_then(Value::as_u64) else {
            return true;
        };
        let interfaces = result.get("interfaces").and_then(Value::as_array);
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        interfaces
            .and_then(|all| all.get(index)?.get("sandbox")?.as_str())
            .is_some_and(|sandbox| !sandbox.is_empty())
    };
    let ips = result.get("ips").and_then(Value::as_array);
    ips.into_iter()
        .flatten()
        .filter(|ip| inside(ip))
        .filter_map(|ip| ip.get("address")?.as_str()?.split('/').next()?.parse().ok())
        .collect()
}
