//! What a command ends with when it doesn't succeed.

use std::{error::Error, io, process::ExitCode};

use crate::{api::ClientError, error_chain::one_line, view::FindError};

/// Why a command didn't succeed: one line, and what the process exits with.
#[derive(Debug)]
pub struct CliError {
    line: Option<String>,
    code: u8,
}

/// Failed.
const FAILED: u8 = 1;
/// The arguments or settings can't be meant so.
const USAGE: u8 = 2;
/// There is no such instance.
const NOT_FOUND: u8 = 3;
/// The daemon can't be reached.
const UNREACHABLE: u8 = 4;

impl CliError {
    fn new(code: u8, line: impl Into<String>) -> Self {
        Self {
            line: Some(line.into()),
            code,
        }
    }

    /// It failed; the error says all.
    pub(super) fn failed(error: &(dyn Error + 'static)) -> Self {
        Self::new(FAILED, one_line(error))
    }

    /// It failed; the sentence says all.
    pub(super) fn says(line: impl Into<String>) -> Self {
        Self::new(FAILED, line)
    }

    /// It failed, and the output has said why.
    pub(super) fn told() -> Self {
        Self {
            line: None,
            code: FAILED,
        }
    }

    /// The arguments or settings can't be meant so.
    pub(super) fn usage(line: impl Into<String>) -> Self {
        Self::new(USAGE, line)
    }

    /// There is no such thing.
    pub(super) fn not_found(line: impl Into<String>) -> Self {
        Self::new(NOT_FOUND, line)
    }

    /// What was run ended with this code, and has said why.
    pub(super) fn exited(code: u8) -> Self {
        Self { line: None, code }
    }

    /// The daemon ended with a code of its own.
    pub(super) fn with_code(error: &(dyn Error + 'static), code: u8) -> Self {
        Self::new(code, one_line(error))
    }

    /// Something could not be written to stdout. A reader that has seen enough (`| head`) is no
    /// error.
    pub(super) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                line: None,
                code: 0,
            };
        }
        Self::new(FAILED, format!("cannot write the output: {error}"))
    }

    /// The line for stderr, without a line break; none where there is nothing more to say.
    #[must_use]
    pub fn line(&self) -> Option<&str> {
        self.line.as_deref()
    }

    /// Can the daemon not be reached?
    pub(super) fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// What the process exits with.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let line = one_line(&error);
        match error {
            ClientError::Unreachable { source, .. } => {
                let mend = match source.kind() {
                    io::ErrorKind::PermissionDenied => "use root",
                    _ => {
                        "is `riklet run` up? (--socket says where; `explain`, `logs` and \
                         `state` work without it)"
                    }
                };
                Self::new(UNREACHABLE, format!("{line}; {mend}"))
            }
            ClientError::BrokeOff { .. } => Self::new(UNREACHABLE, line),
            ClientError::NotFound(_) => Self::new(NOT_FOUND, line),
            ClientError::Refused(_) | ClientError::Failed(_) | ClientError::Answer(_) => {
                Self::new(FAILED, line)
            }
        }
    }
}

impl From<FindError> for CliError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::NotFound(_) => Self::not_found(error.to_string()),
            FindError::Ambiguous { .. } => Self::says(error.to_string()),
        }
    }
}
