//! Trying again what may pass, and naming what failed.
//!
//! Owns: the few quick tries within a pull, and how a failure of skopeo or umoci becomes an
//! [`ImageError`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backoff::ExponentialBackoffBuilder;

use super::{
    error::ImageError,
    layout,
    skopeo::{Fault, SkopeoError},
    umoci,
};
use crate::runtime::process::CallError;

/// How often one request is tried within a pull; longer waits are the planner's.
const TRIES: u32 = 3;
/// The waits between those tries.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Tries again, a few times and soon, what may pass.
pub(super) async fn retried<T, F>(
    image: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ImageError>
where
    F: Future<Output = Result<T, ImageError>>,
{
    let policy = ExponentialBackoffBuilder::new()
        .with_initial_interval(FIRST_WAIT)
        .with_multiplier(3.0)
        .with_max_interval(LONGEST_WAIT)
        .with_max_elapsed_time(None)
        .build();
    let tries = AtomicU32::new(0);
    let operation = || {
        let last = tries.fetch_add(1, Ordering::Relaxed) + 1 >= TRIES;
        let attempt = attempt();
        async move {
            attempt.await.map_err(|error| match &error {
                ImageError::Unreachable { .. } if !last => backoff::Error::transient(error),
                _ => backoff::Error::permanent(error),
            })
        }
    };
    let notify = |error: ImageError, wait: Duration| {
        tracing::debug!(image, %error, ?wait, "trying again");
    };
    backoff::future::retry_notify(policy, operation, notify).await
}

pub(super) fn other_architecture(image: &str, found: String) -> ImageError {
    ImageError::OtherArchitecture {
        image: image.to_owned(),
        found,
        wanted: layout::platform(),
    }
}

pub(super) fn failed(image: &str, error: SkopeoError, limit: Duration) -> ImageError {
    let image = image.to_owned();
    let source = error.source;
    match error.fault {
        Fault::Missing => ImageError::Missing { image, source },
        Fault::Denied => ImageError::Denied { image, source },
        Fault::Untrusted => ImageError::Untrusted { image, source },
        Fault::Certificate => ImageError::Certificate { image, source },
        Fault::OtherPlatform => other_architecture(&image, "other platforms".to_owned()),
        Fault::Unusable => ImageError::Unusable {
            image,
            why: source.to_string(),
        },
        Fault::Setup => ImageError::Setup { image, source },
        Fault::DiskFull => ImageError::DiskFull { image, source },
        Fault::Program => program_missing(image, "skopeo", source),
        Fault::Hung => ImageError::Deadline { image, limit },
        Fault::Spawn => ImageError::Spawn { image, source },
        Fault::Passing => ImageError::Unreachable { image, source },
    }
}

pub(super) fn unpack_failed(image: &str, error: CallError, limit: Duration) -> ImageError {
    let image = image.to_owned();
    match &error {
        CallError::Deadline { .. } => ImageError::Deadline { image, limit },
        CallError::Missing { .. } => program_missing(image, "umoci", Arc::new(error)),
        CallError::Exit { .. } if umoci::disk_full(&error) => ImageError::DiskFull {
            image,
            source: Arc::new(error),
        },
        CallError::Exit { .. } => ImageError::Unpack {
            image,
            source: Arc::new(error),
        },
        _ => ImageError::Spawn {
            image,
            source: Arc::new(error),
        },
    }
}

fn program_missing(image: String, program: &str, source: Arc<CallError>) -> ImageError {
    ImageError::ProgramMissing {
        image,
        program: program.to_owned(),
        source,
    }
}
