//! The composition root. (A stub of the command line's branch: the lead's file takes its place.)

use crate::config::Config;

/// Why the daemon could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It isn't there yet.
    #[error("the agent of node {0} is not built into this riklet")]
    Missing(String),
}

impl AgentError {
    /// What the process exits with: 78 (`EX_CONFIG`) where the journal was written by a newer
    /// riklet, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        1
    }
}

/// Runs the node until it is told to stop.
///
/// # Errors
/// It could not start.
pub async fn run(config: Config) -> Result<(), AgentError> {
    Err(AgentError::Missing(config.node_name))
}
