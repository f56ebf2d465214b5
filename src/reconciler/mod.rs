//! Makes what is wanted true: one loop, many inputs, one turn per instance at a time.
//!
//! Owns: when an instance is looked at. In: wakes (instructions, the link), the node's hints,
//! timers, and a resync. Out: turns, each of which plans and executes ([`turn`]). Must never
//! happen here: a decision (that is [`plan`](crate::plan)'s), two turns of one instance at once,
//! or one instance waiting for another's hung call.
//!
//! Guarantees: wakes of an instance collapse; an event costs O(that instance); a hint that is
//! lost is made up for by the next resync. Assumptions: observing is cheap and forks nothing.

mod context;
mod executor;
mod queue;
mod survey;
mod turn;

use std::{
    collections::{BTreeSet, HashMap},
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

pub use self::{
    context::Context,
    survey::{look_first, plans},
};
use self::{
    queue::{Queue, Ready},
    turn::{TurnEnd, run_turn},
};
use crate::{
    book::Book,
    model::ids::Uid,
    node::{Change, Node},
};

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
    /// Wakes. After the reconciler has ended this does nothing.
    pub fn wake(&self, wake: Wake) {
        // The receiver is gone only when the daemon stops; the next one looks at everything.
        let _ = self.0.send(wake);
    }
}

/// The loop.
pub struct Reconciler<N, B> {
    context: Arc<Context<N, B>>,
    wakes: mpsc::UnboundedReceiver<Wake>,
    resync: Duration,
    queue: Queue,
    turns: JoinSet<Ended>,
    /// Whose turn a task is, for one that dies can't tell.
    tasks: HashMap<tokio::task::Id, Uid>,
}

/// What a task of the loop ended with.
enum Ended {
    Turn(Uid, TurnEnd),
    Survey(Vec<Uid>),
}

impl<N: Node, B: Book> Reconciler<N, B> {
    /// A reconciler and what wakes it. Starts of incarnations that are known now wait for
    /// [`Wake::LiftHold`], for a destroy of one may be on its way.
    pub fn new(context: Context<N, B>, resync: Duration) -> (Self, Waker) {
        let (sender, wakes) = mpsc::unbounded_channel();
        let known = context
            .book
            .read(|fold| fold.instances.keys().cloned().collect());
        context.hold(known);
        let this = Self {
            context: Arc::new(context),
            wakes,
            resync,
            queue: Queue::default(),
            turns: JoinSet::new(),
            tasks: HashMap::new(),
        };
        (this, Waker(sender))
    }

    /// What turns share, for `plan` to be asked from outside.
    #[must_use]
    pub fn context(&self) -> Arc<Context<N, B>> {
        Arc::clone(&self.context)
    }

    /// Runs until `stop`. Containers are left as they are.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut resync = tokio::time::interval(self.resync);
        resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = self.queue.next_due().map(|up| self.instant(up));
            let reason = tokio::select! {
                () = stop.cancelled() => break,
                Some(wake) = self.wakes.recv() => self.on_wake(wake),
                change = self.context.node.changed() => self.on_change(change),
                Some(end) = self.turns.join_next_with_id() => self.on_turn_end(end),
                () = at(due) => self.on_due(),
                _ = resync.tick() => self.on_resync(),
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
        let now = self.context.book.now().up;
        Instant::now() + Duration::from_millis(up.saturating_sub(now))
    }

    fn on_wake(&mut self, wake: Wake) -> &'static str {
        match wake {
            Wake::Instructed(uid) => self.queue.push(uid, true),
            Wake::Look(uid) => self.queue.push(uid, false),
            Wake::Everything => self.push_all(),
            Wake::LiftHold => {
                self.context.hold(BTreeSet::new());
                self.push_all();
            }
        }
        "wake"
    }

    fn on_change(&mut self, change: Change) -> &'static str {
        match change {
            Change::Instance(uid) => self.queue.push(uid, false),
            Change::Anywhere => return self.on_resync(),
        }
        "change"
    }

    fn on_due(&mut self) -> &'static str {
        self.queue.take_due(self.context.book.now().up);
        "due"
    }

    /// A survey is a turn like any other, so that a slow disk holds up nobody.
    fn on_resync(&mut self) -> &'static str {
        let context = Arc::clone(&self.context);
        if self.queue.begin_survey() {
            self.turns
                .spawn(async move { Ended::Survey(survey::differing(&context).await) });
        }
        "resync"
    }

    fn push_all(&mut self) {
        let all: Vec<Uid> = self
            .context
            .book
            .read(|fold| fold.instances.keys().cloned().collect());
        for uid in all {
            self.queue.push(uid, false);
        }
    }

    fn on_turn_end(
        &mut self,
        end: Result<(tokio::task::Id, Ended), tokio::task::JoinError>,
    ) -> &'static str {
        let now = self.context.book.now().up;
        match end {
            Ok((task, Ended::Turn(uid, end))) => {
                self.tasks.remove(&task);
                for other in end.also {
                    self.queue.push(other, false);
                }
                self.queue.end(&uid, now, end.wake_up, end.failed);
            }
            Ok((_, Ended::Survey(found))) => {
                self.queue.end_survey();
                for uid in found {
                    self.queue.push(uid, false);
                }
            }
            // A panic is a defect; it must not hold up the instance for ever.
            Err(error) => {
                tracing::error!(%error, "a turn died");
                match self.tasks.remove(&error.id()) {
                    Some(uid) => self.queue.end(&uid, now, None, true),
                    None => self.queue.end_survey(),
                }
            }
        }
        "turn ended"
    }

    fn start_ready(&mut self) {
        while let Some(Ready { uid, superseded }) = self.queue.pop() {
            let (context, whose) = (Arc::clone(&self.context), uid.clone());
            let task = self.turns.spawn(async move {
                let end = run_turn(&context, &uid, &superseded).await;
                Ended::Turn(uid, end)
            });
            self.tasks.insert(task.id(), whose);
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
