//! Reading a definition (RIK JSON) into a [`WorkloadSpec`](super::spec::WorkloadSpec).

use serde::{Deserialize, Serialize};

/// A field of a definition that riklet knows of and doesn't act on, or doesn't know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The field's path: `spec.containers[0].foo`.
    pub path: String,
    /// What is done about it, in a sentence.
    pub message: String,
}
