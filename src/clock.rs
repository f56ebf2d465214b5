//! The clock: the one place that reads wall time, boot time and the boot id.
//!
//! Why: wall time steps, so delays are compared by CLOCK_BOOTTIME within one boot, and a value
//! that can be set by hand lets tests decide what time it is. Owns: what "now" is. Out:
//! [`Moment`]s. Must never happen here: a decision about time.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;

use crate::model::line::Moment;

/// Where the kernel tells its boot id.
pub const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// Why no clock can be had.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// The boot id can't be read.
    #[error("the boot id can't be read from {path}")]
    BootId {
        /// Where it was looked for.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file that should hold the boot id is empty.
    #[error("{path} holds no boot id")]
    NoBootId {
        /// Where it was looked for.
        path: PathBuf,
    },
}

/// Tells what time it is. A clone tells the same time.
#[derive(Debug, Clone)]
pub struct Clock(Inner);

#[derive(Debug, Clone)]
enum Inner {
    System {
        boot: Arc<str>,
    },
    #[cfg(any(test, feature = "testing"))]
    Manual(Arc<std::sync::Mutex<Moment>>),
}

impl Clock {
    /// The kernel's clocks, with the boot id from [`BOOT_ID_PATH`].
    ///
    /// # Errors
    /// The boot id can't be read.
    pub fn system() -> Result<Self, ClockError> {
        Self::system_with_boot_id(Path::new(BOOT_ID_PATH))
    }

    /// The kernel's clocks, with the boot id from another file (a test's, a container's).
    ///
    /// # Errors
    /// The boot id can't be read.
    pub fn system_with_boot_id(path: &Path) -> Result<Self, ClockError> {
        let text = std::fs::read_to_string(path).map_err(|source| ClockError::BootId {
            path: path.to_owned(),
            source,
        })?;
        match text.trim() {
            "" => Err(ClockError::NoBootId {
                path: path.to_owned(),
            }),
            id => Ok(Self(Inner::System { boot: id.into() })),
        }
    }

    /// Now, by both clocks; wall time is cut to milliseconds.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            Inner::System { boot } => Moment {
                at: wall(),
                up: boot_time_ms(),
                boot: boot.as_ref().to_owned(),
            },
            #[cfg(any(test, feature = "testing"))]
            Inner::Manual(moment) => lock(moment).clone(),
        }
    }
}

#[allow(clippy::disallowed_methods)] // The one place that reads wall time.
fn wall() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

fn boot_time_ms() -> u64 {
    // The call can only fail for a clock id that the kernel doesn't know; this one is from 2011.
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
        .ok()
        .and_then(|t| {
            let ms = t.tv_sec() * 1_000 + t.tv_nsec() / 1_000_000;
            u64::try_from(ms).ok()
        })
        .unwrap_or_default()
}

#[cfg(any(test, feature = "testing"))]
fn lock(moment: &std::sync::Mutex<Moment>) -> std::sync::MutexGuard<'_, Moment> {
    moment
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Setting a clock by hand. On a system clock each of these does nothing.
#[cfg(any(test, feature = "testing"))]
impl Clock {
    /// A clock that stands still until it is told otherwise.
    #[must_use]
    pub fn manual(at: Timestamp, up: u64, boot: &str) -> Self {
        Self(Inner::Manual(Arc::new(std::sync::Mutex::new(Moment {
            at,
            up,
            boot: boot.to_owned(),
        }))))
    }

    /// Time passes, by both clocks.
    pub fn advance(&self, by: std::time::Duration) {
        if let Inner::Manual(moment) = &self.0 {
            let mut moment = lock(moment);
            moment.up += u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            moment.at = moment.at.checked_add(by).unwrap_or(Timestamp::MAX);
        }
    }

    /// Wall time steps; boot time doesn't.
    pub fn step_wall(&self, by: jiff::SignedDuration) {
        if let Inner::Manual(moment) = &self.0 {
            let mut moment = lock(moment);
            moment.at = moment.at.checked_add(by).unwrap_or(moment.at);
        }
    }

    /// The node has rebooted: another boot id, boot time from 0.
    pub fn reboot(&self, boot: &str) {
        if let Inner::Manual(moment) = &self.0 {
            let mut moment = lock(moment);
            boot.clone_into(&mut moment.boot);
            moment.up = 0;
        }
    }
}

#[cfg(test)]
mod tests;
