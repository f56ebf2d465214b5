//! Why a call to the scheduler failed: one enum per operation.

use std::{error::Error, fmt, path::PathBuf, time::Duration};

/// Why no connection could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The configured address or TLS settings can't be right.
    #[error("the scheduler's address {url:?} can't be used: {reason}")]
    Address {
        /// As it was configured.
        url: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// A TLS file can't be read.
    #[error("cannot read {path:?} for TLS to the scheduler")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The TLS files were read and don't fit.
    #[error("the TLS settings for the scheduler at {url} are refused")]
    Tls {
        /// Where to.
        url: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// Nobody there, or a TLS handshake that failed.
    #[error("cannot connect to the scheduler at {url}")]
    Refused {
        /// Where to.
        url: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// Neither an answer nor a refusal.
    #[error("the scheduler at {url} did not answer within {limit:?}")]
    Silent {
        /// Where to.
        url: String,
        /// How long was waited.
        limit: Duration,
    },
}

/// Why a Register stream ended, or never began.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The scheduler has a node of this name; the node's own former link, mostly.
    #[error(
        "the scheduler already has a node named {node:?}: its former link has not ended there \
         yet, or another node has the same name (see --node-name)"
    )]
    NameTaken {
        /// The name.
        node: String,
    },
    /// No response headers in time.
    #[error("the scheduler did not answer Register within {limit:?}")]
    Silent {
        /// How long was waited.
        limit: Duration,
    },
    /// Ended by an error: the scheduler's own or the connection's.
    #[error("the link to the scheduler ended ({code})")]
    Failed {
        /// gRPC's word for it.
        code: tonic::Code,
        /// What it said.
        source: Said,
    },
    /// Ended in order.
    #[error("the scheduler ended the Register stream")]
    Ended,
}

impl RegisterError {
    pub(super) fn of(node: &str, status: tonic::Status) -> Self {
        match status.code() {
            tonic::Code::AlreadyExists => Self::NameTaken {
                node: node.to_owned(),
            },
            code => Self::Failed {
                code,
                source: Said::new(status),
            },
        }
    }
}

/// Why a batch of statuses was not acknowledged. It may have arrived all the same.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The stream did not end in time.
    #[error("the scheduler did not acknowledge {count} statuses within {limit:?}")]
    Silent {
        /// How many there were.
        count: usize,
        /// How long was waited.
        limit: Duration,
    },
    /// Ended by an error: the scheduler's own or the connection's.
    #[error("the scheduler did not take {count} statuses ({code})")]
    Failed {
        /// How many there were.
        count: usize,
        /// gRPC's word for it.
        code: tonic::Code,
        /// What it said.
        source: Said,
    },
}

/// A gRPC status as a cause: its message, and what lies below; a [`tonic::Status`] itself prints
/// its code and metadata too.
#[derive(Debug)]
pub struct Said(Box<tonic::Status>);

impl Said {
    pub(super) fn new(status: tonic::Status) -> Self {
        Self(Box::new(status))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message())
    }
}

impl Error for Said {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
