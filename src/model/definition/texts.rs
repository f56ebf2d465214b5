//! Texts to values: JSON and YAML, of any number of documents.
//!
//! Owns: what the two readers may use of time and memory. Must never happen here: a text that
//! grows (anchors, aliases), one that is nested without end, a quote from it in a message.

mod unique;

use serde::de::DeserializeOwned;
use serde_json::Value;

use self::unique::Unique;
use super::Strictness;

/// The most documents of one text.
const MAX_DOCUMENTS: usize = 256;

/// The most bytes of all scalars of a text, those of aliases counted again for each.
const MAX_SCALARS: usize = 1024 * 1024;

/// What a text may make the YAML reader do; a definition without aliases is far below.
fn yaml_options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 100_000,
            max_aliases: 1_000,
            max_anchors: 500,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: MAX_SCALARS,
            max_depth: 48,
            max_documents: MAX_DOCUMENTS,
            max_nodes: 40_000,
            max_total_scalar_bytes: MAX_SCALARS,
            max_merge_keys: 20,
        },
        // `defaultMode: 0400` is octal to Kubernetes' YAML 1.1.
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    options.alias_limits = serde_saphyr::alias_limits! {
        max_total_replayed_events: 10_000,
        max_replay_stack_depth: 16,
        max_alias_expansions_per_anchor: 1_000,
    };
    options
}

/// The documents of a text; empty ones are left out.
///
/// # Errors
/// Why it can't be read, with the place, without a word of it.
pub(super) fn documents(text: &str, strictness: Strictness) -> Result<Vec<Value>, String> {
    // A byte order mark, as editors of another system leave it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let json = text.trim_start().starts_with('{') && !text.contains("\n---");
    let found = match strictness {
        Strictness::Lenient => json_documents::<Value>(text),
        Strictness::Strict if json => json_documents::<Unique>(text),
        Strictness::Strict => yaml_documents(text),
    };
    Ok(found?.into_iter().map(plain).collect())
}

/// Kubernetes' lists of one kind as any list; what is in them may go without its kind.
fn plain(mut document: Value) -> Value {
    let kind = document.get("kind").and_then(Value::as_str);
    let of = match kind {
        Some("PodList") => "Pod",
        Some("ConfigMapList") => "ConfigMap",
        Some("SecretList") => "Secret",
        _ => return document,
    };
    if let Some(items) = document.get_mut("items").and_then(Value::as_array_mut) {
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.entry("kind").or_insert_with(|| of.into());
            item.entry("apiVersion").or_insert_with(|| "v1".into());
        }
    }
    if let Some(kind) = document.get_mut("kind") {
        *kind = "List".into();
    }
    document
}

fn yaml_documents(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, yaml_options())
        .map_err(|e| {
            // Its message may quote the text, which may hold secrets: what it is about and the
            // place must do.
            let at = e.location().map(|at| (at.line(), at.column()));
            let place = at.map_or(String::new(), |(line, column)| {
                format!("see line {line} column {column}")
            });
            let line = at.and_then(|(line, _)| usize::try_from(line).ok()?.checked_sub(1));
            let line = line.and_then(|line| text.lines().nth(line));
            format!("{}: {place}", complaint(&e, line.unwrap_or_default()))
        })?;
    Ok(documents.into_iter().filter(|d| !d.is_null()).collect())
}

/// What is wrong with YAML, and where that is known what is to be done about it.
fn complaint(error: &serde_saphyr::Error, line: &str) -> &'static str {
    use serde_saphyr::Error;
    let indent = &line[..line.len() - line.trim_start().len()];
    match error.without_snippet() {
        Error::AliasError { error, .. } => complaint(error, line),
        Error::DuplicateMappingKey { .. } => "has a field twice, of which one has to go",
        Error::NonFiniteFloat { .. } => "has a number that is none",
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "nests too deep or holds more than is read of a text"
        }
        _ if indent.contains('\t') => "is neither JSON nor YAML, which isn't indented by tabs",
        _ if line.contains("{{") => "is neither JSON nor YAML but a template; render it first",
        _ => "is neither JSON nor YAML",
    }
}

fn json_documents<T: DeserializeOwned + Into<Value>>(text: &str) -> Result<Vec<Value>, String> {
    // serde_json's message says what and where, and quotes nothing of the text; it stops at 128
    // levels.
    let wrong = |e: serde_json::Error| match e.is_data() {
        true => format!("can't be told: {e}"),
        false => format!("is not JSON: {e}"),
    };
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<T>() {
        found.push(value.map_err(wrong)?.into());
        if found.len() > MAX_DOCUMENTS {
            return Err(format!("holds more than {MAX_DOCUMENTS} documents"));
        }
    }
    if found.is_empty() {
        // For its message.
        serde_json::from_str::<Value>(text).map_err(wrong)?;
    }
    Ok(found)
}
