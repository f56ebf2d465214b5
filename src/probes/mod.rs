//! Does what probes and hooks ask for: one loop, each errand a task of its own.
//!
//! Owns: when an errand begins, how many run at once, and that each ends. In: rings of the
//! reconciler's bell (something was done at an instance), timers, ends of errands. Out: lines
//! (`probed` on change, `hook_done`), and a wake of the reconciler for each of them. Must never
//! happen here: a decision (when an errand is due and what its end comes to is
//! [`errands`](crate::plan::errands)'s; what follows from a verdict is the planner's), or an
//! instance waiting for another's errand. This file only waits and spawns; the bookkeeping is in
//! [`rounds`], which the simulation of crashes drives without a runtime.

mod rounds;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::rounds::{ErrandRounds, Told, judge_errand};
use crate::{
    book::Book,
    model::ids::Uid,
    node::Node,
    plan::errands::{DueErrand, ErrandId},
};

/// So much longer than its limit an errand is waited for before it is given up: the node itself
/// ends it at the limit.
const SLACK: Duration = Duration::from_secs(5);

/// Rings for an instance at which something was done.
pub type Bell = mpsc::UnboundedReceiver<Uid>;

/// The loop.
pub struct Prober<N, B, W> {
    node: Arc<N>,
    rounds: ErrandRounds<B>,
    bell: Bell,
    wake: W,
    running: JoinSet<(ErrandId, Told)>,
}

impl<N: Node, B: Book, W: Fn(Uid) + Send + 'static> Prober<N, B, W> {
    /// A loop; `wake` is called for each instance of which there is news.
    pub fn new(node: Arc<N>, book: B, bell: Bell, wake: W) -> Self {
        Self {
            node,
            rounds: ErrandRounds::new(book),
            bell,
            wake,
            running: JoinSet::new(),
        }
    }

    /// Runs until `stop`. What is under way then is done again by the next daemon.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.begin_ready();
            let due = self.rounds.next_due().map(|up| self.instant(up));
            let reason = tokio::select! {
                () = stop.cancelled() => break,
                Some(uid) = self.bell.recv() => self.rounds.on_ring(uid),
                Some(end) = self.running.join_next() => self.on_end(end),
                () = at(due) => self.rounds.on_due(),
            };
            tracing::trace!(reason, "turn of the probes' loop");
        }
        self.running.abort_all();
    }

    fn instant(&self, up: u64) -> Instant {
        let now = self.rounds.now();
        Instant::now() + Duration::from_millis(up.saturating_sub(now))
    }

    fn begin_ready(&mut self) {
        while let Some(due) = self.rounds.next_errand() {
            let node = Arc::clone(&self.node);
            self.running.spawn(async move {
                let id = due.id.clone();
                (id, go(&*node, due).await)
            });
        }
    }

    fn on_end(&mut self, end: Result<(ErrandId, Told), tokio::task::JoinError>) -> &'static str {
        match end {
            Ok((id, told)) => {
                if let Some(uid) = self.rounds.on_end(&id, told) {
                    (self.wake)(uid);
                }
            }
            Err(error) => {
                tracing::error!(%error, "an errand died");
                self.rounds.on_death();
            }
        }
        "errand ended"
    }
}

/// Does an errand, within its limit.
async fn go<N: Node>(node: &N, due: DueErrand) -> Told {
    let done = node.errand(&due.id.container, due.address, &due.errand, due.limit);
    match timeout(due.limit + SLACK, done).await {
        Ok(done) => judge_errand(&due.id, done),
        Err(_) => Told::late(due.limit),
    }
}

/// Waits until `due`, or for ever.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
