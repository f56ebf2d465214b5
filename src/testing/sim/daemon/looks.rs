//! Looks at volumes of the simulated daemon.

use super::{Daemon, Outcome};
use crate::{
    evictions::{Measured, measure},
    node::Failure,
    plan::eviction::Look,
    reconciler::Wake,
};

impl Daemon {
    /// Looks that are due begin.
    pub(super) fn feed_looks(&mut self, up: u64) {
        while let Ok(uid) = self.looks_bell.try_recv() {
            self.looks.on_ring(uid);
        }
        if self.looks.next_due().is_some_and(|due| due <= up) {
            self.looks.on_due();
        }
        while let Some(look) = self.looks.next_look() {
            let node = self.node.clone();
            self.spawn(false, async move {
                let measured = measure(&node, &look).await;
                Outcome::Looked(look, measured)
            });
        }
    }

    /// A look ended.
    pub(super) fn looked(&mut self, look: &Look, measured: Result<Option<Measured>, Failure>) {
        if let Some(uid) = self.looks.on_end(look, measured) {
            self.rounds.on_wake(Wake::Instructed(uid));
        }
    }
}
