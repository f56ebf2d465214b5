//! Makes what is wanted true: one loop, many inputs, one turn per instance at a time.
//!
//! Owns: when an instance is looked at. In: wakes (instructions, the link), the node's hints,
//! timers, and a resync. Out: turns, each of which plans and executes ([`turn`]). Must never
//! happen here: a decision (that is [`plan`](crate::plan)'s), two turns of one instance at once,
//! or one instance waiting for another's hung call. This file only waits and spawns; what follows
//! from an event is in [`rounds`], which the simulation of crashes drives without a runtime.
//!
//! Guarantees: wakes of an instance collapse; an event costs O(that instance); a hint that is
//! lost is made up for by the next resync. Assumptions: observing is cheap and forks nothing.

mod context;
mod executor;
mod queue;
mod rounds;
mod survey;
mod turn;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::rounds::{Ended, Rounds, work};
pub use self::{
    context::Context,
    survey::{look_first, plans},
};
#[cfg(any(test, feature = "testing"))]
pub(crate) use self::{context::Side, turn::plan_of};
use crate::{book::Book, model::ids::Uid, node::Node};

/// How long running turns may go on when the daemon stops; a turn that is cut is resumed by the
/// next daemon like one that was killed.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// A reason to look at something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// An instruction about this incarnation was accepted: what it does now may be stale.
    Instructed(Uid),
    /// Something about this incarnation may be due (its states were acknowledged).
    Look(Uid),
    /// Something about every incarnation may be due (drained, uncordoned).
    Everything,
    /// Starts need not wait for the scheduler any longer.
    LiftHold,
}

/// Where wakes go; clones share it.
#[derive(Debug, Clone)]
pub struct Waker(mpsc::UnboundedSender<Wake>);

impl Waker {
    /// A waker and what it wakes.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Wake>) {
        let (sender, wakes) = mpsc::unbounded_channel();
        (Self(sender), wakes)
    }

    /// Wakes. After the reconciler has ended this does nothing.
    pub fn wake(&self, wake: Wake) {
        // The receiver is gone only when the daemon stops; the next one looks at everything.
        let _ = self.0.send(wake);
    }
}

/// The loop.
pub struct Reconciler<N, B> {
    rounds: Rounds<N, B>,
    wakes: mpsc::UnboundedReceiver<Wake>,
    resync: Duration,
    turns: JoinSet<Ended>,
    /// Whose turn a task is, for one that dies can't tell.
    tasks: HashMap<tokio::task::Id, Uid>,
}

impl<N: Node, B: Book> Reconciler<N, B> {
    /// A reconciler and what wakes it. Starts of incarnations that are known now wait for
    /// [`Wake::LiftHold`], for a destroy of one may be on its way.
    pub fn new(context: Context<N, B>, resync: Duration) -> (Self, Waker) {
        let (waker, wakes) = Waker::new();
        let this = Self {
            rounds: Rounds::new(context),
            wakes,
            resync,
            turns: JoinSet::new(),
            tasks: HashMap::new(),
        };
        (this, waker)
    }

    /// What turns share, for `plan` to be asked from outside.
    #[must_use]
    pub fn context(&self) -> Arc<Context<N, B>> {
        Arc::clone(self.rounds.context())
    }

    /// Runs until `stop`. Containers are left as they are.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut resync = tokio::time::interval(self.resync);
        resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let context = self.context();
        loop {
            let due = self.rounds.next_due().map(|up| self.instant(up));
            let reason = tokio::select! {
                () = stop.cancelled() => break,
                Some(wake) = self.wakes.recv() => self.rounds.on_wake(wake),
                change = context.node.changed() => self.rounds.on_change(change),
                Some(end) = self.turns.join_next_with_id() => self.on_end(end),
                () = at(due) => self.rounds.on_due(),
                _ = resync.tick() => self.rounds.on_resync(),
            };
            tracing::trace!(reason, "turn of the reconciler's loop");
            self.start_ready();
        }
        let rest = async { while self.turns.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_WITHIN, rest).await.is_err() {
            tracing::warn!("some turns did not end in time; the next daemon resumes them");
        }
        self.turns.abort_all();
    }

    fn instant(&self, up: u64) -> Instant {
        let now = self.rounds.context().book.now().up;
        Instant::now() + Duration::from_millis(up.saturating_sub(now))
    }

    fn on_end(
        &mut self,
        end: Result<(tokio::task::Id, Ended), tokio::task::JoinError>,
    ) -> &'static str {
        match end {
            Ok((task, ended)) => {
                self.tasks.remove(&task);
                self.rounds.on_end(ended)
            }
            Err(error) => {
                tracing::error!(%error, "a turn died");
                let whose = self.tasks.remove(&error.id());
                self.rounds.on_death(whose.as_ref())
            }
        }
    }

    fn start_ready(&mut self) {
        while let Some(job) = self.rounds.next_job() {
            let whose = job.uid().cloned();
            let task = self.turns.spawn(work(self.context(), job));
            if let Some(uid) = whose {
                self.tasks.insert(task.id(), uid);
            }
        }
    }
}

/// Waits until `due`, or for ever.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Told to a turn whose instance got a new instruction.
#[derive(Debug, Clone, Default)]
pub struct Superseded {
    flag: Arc<AtomicBool>,
    told: Arc<tokio::sync::Notify>,
}

impl Superseded {
    /// Tells the turn.
    pub fn tell(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.told.notify_one();
    }

    /// Has it been told?
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Waits until it is told.
    pub async fn wait(&self) {
        while !self.is_told() {
            self.told.notified().await;
        }
    }
}

#[cfg(test)]
mod tests;
