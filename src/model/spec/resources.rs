//! What a container may use, and what is kept for it.

use serde::{Deserialize, Serialize};

use super::is_default;

/// What there is an amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// In thousandths of a core.
    Cpu,
    /// In bytes.
    Memory,
}

/// Amounts of resources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// In thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_milli: Option<u64>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
}

/// What a container may use, and what is kept for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// What it can't go beyond.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Amounts,
    /// What is kept for it; where the definition gives only a limit, that (Kubernetes' rule,
    /// applied when the definition is read).
    #[serde(default, skip_serializing_if = "is_default")]
    pub requests: Amounts,
}
