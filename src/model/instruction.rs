//! What a source asks for, before it is accepted or refused.
//!
//! Owns: the one shape that sessions, manifests and the local API hand to the intake. In: raw
//! texts as they came. Out: the same texts. Must never happen here: judging them; the intake
//! parses id and definition, so that a refusal is recorded like everything else.

use serde::{Deserialize, Serialize};

use super::ids::Source;

/// One instruction from a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// The instance's id as it came; not yet known to be legal.
    pub instance: String,
    /// Who asks.
    pub source: Source,
    /// For what.
    pub ask: Ask,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Run this.
    Create {
        /// The definition's text as it came.
        definition: String,
    },
    /// Stop it and leave nothing of it.
    Destroy {
        /// Whoever the instance belongs to (`riklet delete --force`).
        force: bool,
    },
    /// An action that RIK's wire doesn't know.
    Unknown {
        /// Its number.
        action: i32,
    },
    /// A create whose definition is over the limit, and was therefore not kept.
    TooBig {
        /// The definition's length in bytes.
        bytes: usize,
    },
}

impl std::fmt::Debug for Ask {
    /// A definition may hold secrets, so its text is not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create { definition } => write!(f, "Create({} bytes)", definition.len()),
            Self::Destroy { force } => write!(f, "Destroy {{ force: {force} }}"),
            Self::Unknown { action } => write!(f, "Unknown {{ action: {action} }}"),
            Self::TooBig { bytes } => write!(f, "TooBig {{ bytes: {bytes} }}"),
        }
    }
}

impl Instruction {
    /// A create.
    #[must_use]
    pub fn create(
        instance: impl Into<String>,
        source: Source,
        definition: impl Into<String>,
    ) -> Self {
        Self {
            instance: instance.into(),
            source,
            ask: Ask::Create {
                definition: definition.into(),
            },
        }
    }

    /// A destroy of the source's own instance.
    #[must_use]
    pub fn destroy(instance: impl Into<String>, source: Source) -> Self {
        Self {
            instance: instance.into(),
            source,
            ask: Ask::Destroy { force: false },
        }
    }
}

#[cfg(test)]
mod tests;
