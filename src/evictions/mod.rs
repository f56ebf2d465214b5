//! Looks at how much of the disk volumes take that have a limit, and evicts.
//!
//! Why: no file system that riklet finds bounds a directory, so an emptyDir's sizeLimit is held as
//! kubelet does it, by a look now and then. Owns: when a look begins, and that each ends. In:
//! rings of the reconciler's bell (something was done at an instance), timers, ends of looks. Out:
//! lines (`evicted`), and a wake of the reconciler for each. Must never happen here: a decision
//! (what is looked at and what a look comes to is [`eviction`](crate::plan::eviction)'s, what
//! follows from the verdict is the planner's), a wait for another instance's look, or anything at
//! all on a node without such volumes. The bookkeeping is in [`rounds`], which the simulation of
//! crashes drives without a runtime.

mod rounds;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::rounds::{LookRounds, Measured, measure};
use crate::{
    book::Book,
    model::ids::Uid,
    node::{Failure, Node},
    plan::eviction::Look,
};

/// Rings for an instance at which something was done.
pub type Bell = mpsc::UnboundedReceiver<Uid>;

/// The loop.
pub struct Evictor<N, B, W> {
    node: Arc<N>,
    rounds: LookRounds<B>,
    bell: Bell,
    wake: W,
    looks: JoinSet<(Look, Result<Option<Measured>, Failure>)>,
}

impl<N: Node, B: Book, W: Fn(Uid) + Send + 'static> Evictor<N, B, W> {
    /// A loop that looks at each instance every so often; `wake` is called for each that it evicts.
    pub fn new(node: Arc<N>, book: B, every: Duration, bell: Bell, wake: W) -> Self {
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        Self {
            node,
            rounds: LookRounds::new(book, every),
            bell,
            wake,
            looks: JoinSet::new(),
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            while let Some(look) = self.rounds.next_look() {
                let node = Arc::clone(&self.node);
                self.looks.spawn(async move {
                    let measured = measure(&*node, &look).await;
                    (look, measured)
                });
            }
            let due = self.rounds.next_due().map(|up| self.instant(up));
            let reason = tokio::select! {
                () = stop.cancelled() => break,
                Some(uid) = self.bell.recv() => self.rounds.on_ring(uid),
                Some(end) = self.looks.join_next() => self.on_end(end),
                () = at(due) => self.rounds.on_due(),
            };
            tracing::trace!(reason, "turn of the evictions' loop");
        }
        self.looks.abort_all();
    }

    fn instant(&self, up: u64) -> Instant {
        let now = self.rounds.now();
        Instant::now() + Duration::from_millis(up.saturating_sub(now))
    }

    fn on_end(
        &mut self,
        end: Result<(Look, Result<Option<Measured>, Failure>), tokio::task::JoinError>,
    ) -> &'static str {
        match end {
            Ok((look, measured)) => {
                if let Some(uid) = self.rounds.on_end(&look, measured) {
                    (self.wake)(uid);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a look died");
                self.rounds.on_death();
            }
        }
        "look ended"
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
