//! Reading a definition (RIK's JSON, a Kubernetes v1 Pod) into a [`WorkloadSpec`].
//!
//! Owns: which fields there are, their limits and defaults. In: the text as it came from a
//! source. Out: the model and what was ignored, or every fault at once, each with its path. Must
//! never happen here: a panic, whatever the text, or a value of the text in a message, for any
//! value may be a secret.

mod container;
pub mod documents;
mod env;
pub mod fields;
mod files;
mod findings;
mod lifecycle;
mod names;
mod page;
mod pod;
mod ports;
mod quantity;
mod reader;
mod reference;
mod resources;
mod security;
mod sources;
mod tables;
mod texts;
mod volumes;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{spec::WorkloadSpec, state::Reason};
use documents::Kind;
pub use page::{REGENERATE, page};
use reader::Findings;
use sources::Known;
pub use tables::OBJECTS;

/// The longest definition, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most containers of one workload.
pub const MAX_CONTAINERS: usize = 64;

/// Seconds between SIGTERM and SIGKILL where a definition doesn't say.
pub const DEFAULT_GRACE_SECONDS: u32 = 30;

/// A week: a longer grace is a mistake in its unit.
const MAX_GRACE_SECONDS: u64 = 7 * 24 * 3600;

/// The path of the definition itself.
const WHOLE: &str = "definition";

/// A field of a definition that riklet knows of and doesn't act on, or doesn't know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The field's path: `spec.containers[0].foo`.
    pub path: String,
    /// What is done about it, in a sentence.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.message)
    }
}

/// What becomes of a field that has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// A fault: manifests and the command line, where a person can mend it. YAML is read too.
    Strict,
    /// A warning: the scheduler, which may know more than this riklet. JSON only.
    Lenient,
}

/// A definition that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Its model.
    pub spec: WorkloadSpec,
    /// What of it has no effect.
    pub warnings: Vec<Warning>,
}

/// Why a definition can't be taken: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.faults))]
pub struct DefinitionError {
    /// InvalidDefinition, or Unsupported where nothing else is wrong.
    pub reason: Reason,
    /// Each fault with its path; at least one.
    pub faults: Vec<Warning>,
}

fn listed(faults: &[Warning]) -> String {
    let texts: Vec<String> = faults.iter().map(Warning::to_string).collect();
    texts.join("; ")
}

impl DefinitionError {
    fn one(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidDefinition,
            faults: vec![Warning {
                path: WHOLE.to_owned(),
                message: message.into(),
            }],
        }
    }
}

/// Reads a definition.
///
/// # Errors
/// Every fault there is, each with its path.
pub fn parse(text: &str, strictness: Strictness) -> Result<Parsed, DefinitionError> {
    if text.len() > MAX_BYTES {
        return Err(DefinitionError::one(format!(
            "has {} bytes, the limit is {MAX_BYTES}",
            text.len()
        )));
    }
    let documents = texts::documents(text, strictness).map_err(DefinitionError::one)?;
    let mut findings = Findings::new(strictness);
    let spec = if documents
        .iter()
        .all(|document| findings.check_everywhere(document, WHOLE, 0))
    {
        workload(&documents, strictness, &mut findings)
    } else {
        None
    };
    match spec {
        Some(spec) if !findings.has_faults() => Ok(Parsed {
            spec,
            warnings: findings.into_warnings(),
        }),
        _ => {
            let (reason, faults) = findings.into_faults();
            Err(DefinitionError { reason, faults })
        }
    }
}

/// The one Pod among the documents, with what it refers to.
fn workload(
    documents: &[Value],
    strictness: Strictness,
    findings: &mut Findings,
) -> Option<WorkloadSpec> {
    let mut known = Known::default();
    let mut pods = Vec::new();
    for document in documents::flat(documents, findings) {
        match documents::kind(document) {
            Kind::Referred(kind) => known.add(kind, document, findings),
            // What isn't any kind is read as a Pod, which says what is missing.
            _ => pods.push(document),
        }
    }
    match pods.as_slice() {
        [] => {
            findings.fault(WHOLE, "has no Pod");
            None
        }
        [pod] => pod::workload(pod, known, strictness, findings),
        more => {
            let message = format!(
                "has {} Pods; each needs a definition of its own",
                more.len()
            );
            findings.fault(WHOLE, message);
            None
        }
    }
}

#[cfg(test)]
mod tests;
