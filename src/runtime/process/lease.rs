//! The cgroup of one call, for as long as the call lasts.

use std::time::Duration;

use tokio::runtime::Handle;

use crate::runtime::cgroup::{CgroupError, Cgroups};

/// How long a sweep in the background goes on. What outlives it is named in the log and ended by
/// the next daemon's start, which empties `work`.
const BACKGROUND: Duration = Duration::from_secs(30);

/// A cgroup that is swept in the end, whichever way the call ends.
pub(super) struct Lease {
    cgroups: Cgroups,
    rel: String,
    swept: bool,
}

impl Lease {
    pub(super) fn new(cgroups: Cgroups, rel: String) -> Self {
        Self {
            cgroups,
            rel,
            swept: false,
        }
    }

    /// Its path relative to the parent.
    pub(super) fn rel(&self) -> &str {
        &self.rel
    }

    /// Ends everything in it, waits until it is empty, removes it. What can't be done within
    /// `limit` goes on in the background.
    pub(super) async fn sweep(&mut self, limit: Duration) -> Result<(), CgroupError> {
        self.cgroups.clear(&self.rel, limit).await?;
        self.swept = true;
        Ok(())
    }
}

impl Drop for Lease {
    /// A future that is dropped (a timeout further out, a lost `select!`, a shutdown) gets no
    /// other chance to end what it has spawned. The kill is one write and done here, at once;
    /// waiting and rmdir need time, which a destructor mustn't take, so a task of its own does
    /// that. Without a runtime, or with one that is shutting down, the empty cgroup stays behind,
    /// and the next start removes it. After a crash nothing of this runs, which is why every
    /// start empties `work`.
    fn drop(&mut self) {
        if self.swept {
            return;
        }
        if let Err(e) = self.cgroups.kill_now(&self.rel) {
            tracing::warn!(cgroup = self.rel, error = %e, "end a call that was given up");
        }
        let (cgroups, rel) = (self.cgroups.clone(), std::mem::take(&mut self.rel));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if let Err(e) = cgroups.clear(&rel, BACKGROUND).await {
                    tracing::warn!(cgroup = rel, error = %e, "sweep after a call");
                }
            });
        }
    }
}
