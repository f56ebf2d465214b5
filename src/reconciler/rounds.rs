//! What follows from each event of the loop: who is looked at, and which work begins.
//!
//! Owns: the [`Queue`], and which turns and surveys are to be begun. In: wakes, hints, timers,
//! ends of work. Out: [`Job`]s. Must never happen here: waiting or spawning (the loop's, or the
//! simulation's).

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Wake,
    context::Context,
    queue::{Queue, Ready},
    survey,
    turn::{TurnEnd, run_turn},
};
use crate::{
    book::Book,
    model::ids::Uid,
    node::{Change, Node},
};

/// Work to be begun.
pub(crate) enum Job {
    /// One instance's turn.
    Turn(Ready),
    /// A look at everything; it is work like any other, so that a slow disk holds up nobody.
    Survey,
}

impl Job {
    /// Whose turn it is, if it is one.
    pub(crate) fn uid(&self) -> Option<&Uid> {
        match self {
            Self::Turn(ready) => Some(&ready.uid),
            Self::Survey => None,
        }
    }
}

/// What work ended with.
pub(crate) enum Ended {
    /// A turn.
    Turn(Uid, TurnEnd),
    /// A survey, with those for which something is due.
    Survey(Vec<Uid>),
}

/// Does a job.
pub(crate) async fn work<N: Node, B: Book>(context: Arc<Context<N, B>>, job: Job) -> Ended {
    match job {
        Job::Turn(Ready { uid, superseded }) => {
            let end = run_turn(&context, &uid, &superseded).await;
            Ended::Turn(uid, end)
        }
        Job::Survey => Ended::Survey(survey::differing(&context).await),
    }
}

/// The loop's bookkeeping.
pub(crate) struct Rounds<N, B> {
    context: Arc<Context<N, B>>,
    queue: Queue,
    survey_due: bool,
}

impl<N: Node, B: Book> Rounds<N, B> {
    /// Nothing is due yet. Starts of incarnations that are known now wait for
    /// [`Wake::LiftHold`].
    pub(crate) fn new(context: Context<N, B>) -> Self {
        let known = context
            .book
            .read(|fold| fold.instances.keys().cloned().collect());
        context.hold(known);
        Self {
            context: Arc::new(context),
            queue: Queue::default(),
            survey_due: false,
        }
    }

    pub(crate) fn context(&self) -> &Arc<Context<N, B>> {
        &self.context
    }

    pub(crate) fn on_wake(&mut self, wake: Wake) -> &'static str {
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

    pub(crate) fn on_change(&mut self, change: Change) -> &'static str {
        match change {
            Change::Instance(uid) => self.queue.push(uid, false),
            Change::Anywhere => return self.on_resync(),
        }
        "change"
    }

    pub(crate) fn on_due(&mut self) -> &'static str {
        self.queue.take_due(self.context.book.now().up);
        "due"
    }

    pub(crate) fn on_resync(&mut self) -> &'static str {
        self.survey_due |= self.queue.begin_survey();
        "resync"
    }

    pub(crate) fn on_end(&mut self, ended: Ended) -> &'static str {
        match ended {
            Ended::Turn(uid, end) => {
                for other in end.also {
                    self.queue.push(other, false);
                }
                let now = self.context.book.now().up;
                self.queue.end(&uid, now, end.wake_up, end.failed);
                "turn ended"
            }
            Ended::Survey(found) => {
                self.queue.end_survey();
                for uid in found {
                    self.queue.push(uid, false);
                }
                "survey ended"
            }
        }
    }

    /// Work died: a defect, which must not hold up its instance for ever.
    pub(crate) fn on_death(&mut self, whose: Option<&Uid>) -> &'static str {
        match whose {
            Some(uid) => {
                let now = self.context.book.now().up;
                self.queue.end(uid, now, None, true);
            }
            None => self.queue.end_survey(),
        }
        "work died"
    }

    /// When the next timer is due, in CLOCK_BOOTTIME ms.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.queue.next_due()
    }

    /// The next work to begin.
    pub(crate) fn next_job(&mut self) -> Option<Job> {
        if std::mem::take(&mut self.survey_due) {
            return Some(Job::Survey);
        }
        self.queue.pop().map(Job::Turn)
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
}
