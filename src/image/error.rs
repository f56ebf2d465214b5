//! Why an image can't be had.
//!
//! Owns: the one error of the image operations, and what each case means for the retry policy.
//! Errors are cloned, because one pull answers many waiters.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use super::reference::{Digest, ReferenceError};
use crate::node::{Failure, FailureKind};

/// A cause that many waiters share.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why an image can't be had: the message says what was tried and what mends it, the source why it
/// failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The text is no image reference.
    #[error("can't read the image reference {image:?}")]
    Reference {
        /// As it was given.
        image: String,
        /// Which rule is broken.
        source: ReferenceError,
    },
    /// There is no such image where the reference points.
    #[error("there is no image {image}: check its name and tag")]
    Missing {
        /// The canonical reference.
        image: String,
        /// skopeo's words.
        source: Cause,
    },
    /// The registry doesn't let this node have it.
    #[error("this node may not pull {image}: check its name and the credentials in auth.json")]
    Denied {
        /// The canonical reference.
        image: String,
        /// skopeo's words.
        source: Cause,
    },
    /// The trust policy doesn't let this node have it: not from there, or not without a signature.
    #[error(
        "the trust policy of this node rejects {image}: sign it by a key that policy.json names, \
         or mend that file (images.policy)"
    )]
    Untrusted {
        /// The canonical reference.
        image: String,
        /// skopeo's words.
        source: Cause,
    },
    /// The registry's certificate isn't one that this node trusts.
    #[error(
        "the registry of {image} shows a certificate that this node doesn't trust: put who signed \
         it into images.certs_dir, as <host:port>/ca.crt"
    )]
    Certificate {
        /// The canonical reference.
        image: String,
        /// skopeo's words.
        source: Cause,
    },
    /// The definition says never to pull it.
    #[error(
        "{image} isn't on this node, and its imagePullPolicy is Never: `riklet images pull` it, or \
         choose another policy"
    )]
    NeverPulled {
        /// The canonical reference.
        image: String,
    },
    /// The image is for another kind of machine.
    #[error("{image} is built for {found}, other than this node's {wanted}: use another image")]
    OtherArchitecture {
        /// The canonical reference.
        image: String,
        /// What it is built for, `os/architecture`, or "other platforms".
        found: String,
        /// What this node is.
        wanted: String,
    },
    /// What is there can't be used as an image, today or later.
    #[error("{image} can't be used: {why}")]
    Unusable {
        /// The canonical reference.
        image: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file on this node holds another image than the one that was recorded.
    #[error("{image} now holds {found}, not the recorded {pinned}: put the former file back")]
    Changed {
        /// The canonical reference.
        image: String,
        /// What is recorded.
        pinned: Digest,
        /// What is there.
        found: Digest,
    },
    /// The registry can't be reached, or broke the connection.
    #[error("can't reach the registry of {image}")]
    Unreachable {
        /// The canonical reference.
        image: String,
        /// skopeo's words.
        source: Cause,
    },
    /// skopeo's own configuration can't be read.
    #[error("can't pull {image}: mend skopeo's registries.conf, policy.json or auth.json")]
    Setup {
        /// The canonical reference.
        image: String,
        /// skopeo's words.
        source: Cause,
    },
    /// Nothing came for so long that the pull was killed.
    #[error("the pull of {image} was killed: no progress for {limit:?}")]
    Stalled {
        /// The canonical reference.
        image: String,
        /// The limit, by `deadlines.stall`.
        limit: Duration,
    },
    /// The pull took too long and was killed.
    #[error("the pull of {image} was killed: not done after {limit:?}")]
    Deadline {
        /// The canonical reference.
        image: String,
        /// The limit, by `deadlines.pull`.
        limit: Duration,
    },
    /// Unpacking failed though every blob is what its name says.
    #[error("can't unpack {image}")]
    Unpack {
        /// The canonical reference.
        image: String,
        /// umoci's words.
        source: Cause,
    },
    /// skopeo or umoci can't be run.
    #[error("can't run {program}, which {image} needs: install it, or set its path")]
    ProgramMissing {
        /// The canonical reference.
        image: String,
        /// The program.
        program: String,
        /// Why.
        source: Cause,
    },
    /// A process for it could not be made.
    #[error("can't start the programs that {image} needs")]
    Spawn {
        /// The canonical reference.
        image: String,
        /// Why.
        source: Cause,
    },
    /// No space.
    #[error("no space for {image}: free some, or run `riklet images prune`")]
    DiskFull {
        /// The canonical reference, or a path.
        image: String,
        /// Who says so.
        source: Cause,
    },
    /// The snapshot isn't there (any more).
    #[error("the snapshot {snapshot:?} isn't there; it is pulled again when it is needed")]
    NoSnapshot {
        /// Its name.
        snapshot: String,
    },
    /// A file operation below `snapshots/` failed.
    #[error("can't {tried} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// Nobody waits for the pull any more, or the daemon is ending.
    #[error("the pull of {image} was given up")]
    Cancelled {
        /// The canonical reference.
        image: String,
    },
}

impl ImageError {
    /// Tags a file operation with what it was; a full disk becomes [`ImageError::DiskFull`].
    pub(super) fn io(
        tried: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull {
                image: path.display().to_string(),
                source: Arc::new(source),
            },
            _ => Self::Io {
                tried,
                path,
                source: Arc::new(source),
            },
        }
    }

    /// What the retry policy makes of it.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Reference { .. }
            | Self::Missing { .. }
            | Self::Denied { .. }
            | Self::Untrusted { .. }
            | Self::OtherArchitecture { .. }
            | Self::Unusable { .. }
            | Self::Changed { .. } => FailureKind::Permanent,
            Self::Unreachable { .. }
            | Self::Certificate { .. }
            | Self::Setup { .. }
            | Self::Unpack { .. }
            | Self::Spawn { .. }
            | Self::Io { .. }
            | Self::Cancelled { .. } => FailureKind::Transient,
            Self::Stalled { .. } | Self::Deadline { .. } => FailureKind::Hung,
            Self::ProgramMissing { .. } => FailureKind::ProgramMissing,
            Self::DiskFull { .. } => FailureKind::DiskFull,
            Self::NoSnapshot { .. } => FailureKind::SnapshotMissing,
            Self::NeverPulled { .. } => FailureKind::ImageNeverPull,
        }
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        // The error's own message becomes the failure's, so the source is one further down.
        let tried = error.to_string();
        let kind = error.kind();
        match std::error::Error::source(&error) {
            None => Self::plain(kind, tried),
            Some(_) => Self::new(kind, tried, Below(error)),
        }
    }
}

/// The cause of an [`ImageError`], as an owned error.
#[derive(Debug)]
struct Below(ImageError);

impl Below {
    fn cause(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)
    }
}

impl std::fmt::Display for Below {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cause() {
            Some(cause) => std::fmt::Display::fmt(cause, f),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Below {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause().and_then(std::error::Error::source)
    }
}
