//! Texts to values: JSON and YAML, of any number of documents.
//!
//! Owns: what the two readers may use of time and memory. Must never happen here: a text that
//! grows (anchors, aliases), one that is nested without end, a quote from it in a message.

use serde_json::Value;

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
    if json || strictness == Strictness::Lenient {
        return json_documents(text);
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, yaml_options())
        .map_err(|e| {
            // Its message may quote the text, which may hold secrets: the place must do.
            let place = e.location().map_or(String::new(), |at| {
                format!(": see line {} column {}", at.line(), at.column())
            });
            format!("is neither JSON nor YAML{place}")
        })?;
    Ok(documents.into_iter().filter(|d| !d.is_null()).collect())
}

fn json_documents(text: &str) -> Result<Vec<Value>, String> {
    // serde_json's message says what and where, and quotes nothing of the text; it stops at 128
    // levels.
    let wrong = |e: serde_json::Error| format!("is not JSON: {e}");
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter() {
        found.push(value.map_err(wrong)?);
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
