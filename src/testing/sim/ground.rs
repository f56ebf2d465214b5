//! What every part of a simulation shares: clocks, disk, chance, the trap, the judge, the story.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    dice::Dice,
    judge::Judge,
    scheduler::Scheduler,
    trap::{Death, Point, Side, Trap},
};
use crate::model::{
    fold::Fold,
    ids::Seq,
    line::{Line, Moment},
};

/// The clocks of the node, and the one that never steps.
#[derive(Debug)]
pub(super) struct Clocks {
    /// CLOCK_BOOTTIME ms.
    pub(super) up: u64,
    /// Boots so far.
    pub(super) boot: u32,
    /// Wall time in ms, which may step.
    pub(super) wall: i64,
    /// Simulated ms since the beginning, whatever happens.
    pub(super) truth: u64,
}

impl Clocks {
    pub(super) fn boot_id(&self) -> String {
        format!("boot-{}", self.boot)
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            at: Timestamp::from_millisecond(self.wall).unwrap_or_default(),
            up: self.up,
            boot: self.boot_id(),
        }
    }

    pub(super) fn advance(&mut self, ms: u64) {
        self.up += ms;
        self.truth += ms;
        self.wall += i64::try_from(ms).unwrap_or(0);
    }
}

/// The journal as the disk has it.
#[derive(Debug)]
pub(super) struct Disk {
    /// Every line; the seq of each is its place, counted from 1.
    pub(super) lines: Vec<Line>,
    /// When each was written, by the clock that never steps.
    pub(super) written_at: Vec<u64>,
    pub(super) fold: Fold,
    pub(super) durable: Seq,
    /// Somebody waits for a sync up to there.
    pub(super) wanted: Seq,
    /// The sync under way ends with this durable.
    pub(super) syncing: Option<Seq>,
    pub(super) syncs: u64,
    pub(super) waiting: Vec<Waker>,
    pub(super) written: watch::Sender<Seq>,
}

impl Disk {
    /// What is left when only the first `kept` lines are: folded anew, and durable, for the next
    /// daemon syncs what it read before it believes it.
    pub(super) fn reopen(&mut self, kept: usize) {
        self.lines.truncate(kept);
        self.written_at.truncate(kept);
        self.fold = Fold::default();
        for line in &self.lines {
            self.fold.apply(line);
        }
        self.durable = self.fold.seq;
        self.wanted = 0;
        self.syncing = None;
        self.waiting.clear();
        self.written = watch::Sender::new(self.fold.seq);
    }

    pub(super) fn line(&self, seq: Seq) -> Option<&Line> {
        self.lines.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }
}

/// Everything under the one lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) clocks: Clocks,
    pub(super) disk: Disk,
    pub(super) dice: Dice,
    pub(super) trap: Trap,
    pub(super) judge: Judge,
    pub(super) scheduler: Scheduler,
    pub(super) timers: Vec<(u64, Waker)>,
    /// The story so far, if somebody wants to read it.
    pub(super) story: Option<Vec<String>>,
}

impl State {
    /// Goes on with the story.
    pub(super) fn tell(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.story.is_some() {
            let (up, boot) = (self.clocks.up, self.clocks.boot);
            let text = format!("{:>10} ms, boot {boot}  {}", up, what(self));
            self.story.get_or_insert_default().push(text);
        }
    }

    /// A promise was broken.
    pub(super) fn broken(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.tell(|_| format!("VIOLATION {what}"));
        self.judge.violations.push(what);
    }

    /// Passes a point at which the daemon may die. True: it is dead.
    pub(super) fn pass(&mut self, point: Point, side: Side) -> bool {
        let (dead, here) = self.trap.pass(point, side);
        if here {
            self.tell(|_| format!("DEATH {side} {point}"));
        }
        dead
    }

    /// The timers that are due ring.
    pub(super) fn ring(&mut self) {
        let up = self.clocks.up;
        for (_, waker) in self.timers.extract_if(.., |(due, _)| *due <= up) {
            waker.wake();
        }
    }
}

/// The shared ground.
#[derive(Debug, Clone)]
pub(super) struct Ground(Arc<Mutex<State>>);

impl Ground {
    pub(super) fn new(seed: u64, with_story: bool) -> Self {
        let clocks = Clocks {
            up: 5_000,
            boot: 1,
            wall: 1_700_000_000_000,
            truth: 0,
        };
        let disk = Disk {
            lines: Vec::new(),
            written_at: Vec::new(),
            fold: Fold::default(),
            durable: 0,
            wanted: 0,
            syncing: None,
            syncs: 0,
            waiting: Vec::new(),
            written: watch::Sender::new(0),
        };
        Self(Arc::new(Mutex::new(State {
            clocks,
            disk,
            dice: Dice::new(seed),
            trap: Trap::default(),
            judge: Judge::default(),
            scheduler: Scheduler::default(),
            timers: Vec::new(),
            story: with_story.then(Vec::new),
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a point, and lets others come in between. Never resolves for a dead daemon.
    pub(super) async fn point(&self, point: Point, side: Side) {
        if self.state().pass(point, side) {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
    }

    /// Waits until `up`, in CLOCK_BOOTTIME ms.
    pub(super) async fn until(&self, up: u64) {
        std::future::poll_fn(|cx| {
            let mut state = self.state();
            if state.clocks.up >= up {
                return Poll::Ready(());
            }
            if up < u64::MAX {
                state.timers.push((up, cx.waker().clone()));
            }
            Poll::Pending
        })
        .await;
    }

    /// The journal's lines that a power cut leaves: the durable ones and a beginning of the rest.
    pub(super) fn lines_left(&self, death: Death) -> usize {
        let mut state = self.state();
        let all = state.disk.lines.len();
        let durable = usize::try_from(state.disk.durable).unwrap_or(all);
        match death {
            Death::Process => all,
            Death::Power => durable + state.dice.below(all - durable + 1),
        }
    }
}
