//! Probes and hooks of the simulated daemon, and when it is at rest with them.

use super::{Daemon, Outcome};
use crate::{book::Book, model::phase::Phase, node::Node, probes::judge_errand};

impl Daemon {
    /// Probes and hooks that are due begin.
    pub(super) fn feed_errands(&mut self, up: u64) {
        while let Ok(uid) = self.bell.try_recv() {
            self.errands.on_ring(uid);
        }
        if self.errands.next_due().is_some_and(|due| due <= up) {
            self.errands.on_due();
        }
        while let Some(due) = self.errands.next_errand() {
            let node = self.node.clone();
            self.spawn(false, async move {
                let id = &due.id;
                let done = node.errand(&id.container, due.address, &due.errand, due.limit);
                let told = judge_errand(id, done.await);
                Outcome::Errand(due.id, told)
            });
        }
    }

    /// Is nothing under way, nothing waiting to be sent, and nothing due by itself?
    pub(in crate::testing::sim) fn is_idle(&self) -> bool {
        let told = self
            .book
            .read(|f| f.outboxes.values().all(|o| o.entries.is_empty()));
        let working = self.tasks.iter().any(|task| !task.of_link);
        // Probes go on for ever; it is at rest once all of them pass.
        let well = self.book.read(|fold| {
            let mut all = fold.instances.values();
            all.all(|r| {
                let runs = |n: &u16| r.container(*n).is_some_and(|c| c.phase == Phase::Running);
                r.positions().filter(runs).all(|n| r.is_ready(n))
            })
        });
        let due = self.hold_until.is_some() || self.rounds.next_due().is_some();
        told && !working && !due && well && self.errands.is_idle() && self.looks.is_idle()
    }
}
