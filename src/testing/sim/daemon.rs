//! One simulated daemon: the real intake, reconciler, outbox and agenda, stepped by hand.
//!
//! Everything that the real one spawns is a task here; which of those that can go on does so is
//! drawn. Dropping the daemon drops every task where it stands: that is its death.

mod errands;
mod looks;

use std::{future::Future, sync::Arc, task};

use tokio::sync::{mpsc, watch};

use super::{
    book::SimBook,
    ground::Ground,
    judge,
    node::SimNode,
    report,
    task_list::{Outcome, Task},
    trap::{ACTIONS, Point, Side, place_of_action},
};
use crate::{
    agent::{ground::record_start, outbox::Outboxes, tend::show},
    book::Book,
    evictions::LookRounds,
    image::reference::TransportPolicy,
    intake::{Intake, Verdict},
    ledger::{Opening, StoreOpening},
    model::{
        ids::{NodeUid, Seq, Uid},
        instruction::Instruction,
        line::{DegradedMode, Event},
    },
    plan::Action,
    probes::{Bell, ErrandRounds},
    reconciler::{self, Context, Rounds, Wake, Waker, work},
};

/// How often everything is looked at, in ms.
const RESYNC_MS: u64 = 10_000;

/// How often volumes with a limit are looked at, in ms.
const LOOK_MS: u64 = 10_000;

/// How long starts wait without a link, in ms, and after it came.
const HOLD_MS: (u64, u64) = (3_000, 1_000);

/// One in so many hints is lost.
const HINTS_LOST: u64 = 24;

/// A daemon that lives.
pub(super) struct Daemon {
    ground: Ground,
    pub(super) node: SimNode,
    book: SimBook,
    intake: Arc<Intake<SimBook>>,
    rounds: Rounds<SimNode, SimBook>,
    errands: ErrandRounds<SimBook>,
    bell: Bell,
    looks: LookRounds<SimBook>,
    looks_bell: Bell,
    wakes: mpsc::UnboundedReceiver<Wake>,
    outboxes: Arc<Outboxes<SimBook>>,
    tasks: Vec<Task>,
    /// How many instructions of the scheduler's came.
    arrivals: watch::Sender<u64>,
    hold_until: Option<u64>,
    resync_at: u64,
    linked: bool,
    /// Are hints lost?
    pub(super) careless: bool,
}

thread_local! {
    static NEXT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The next incarnations of this thread get the same names again.
pub(super) fn begin_names() {
    NEXT.set(0);
}

fn draw() -> Uid {
    let n = NEXT.get() + 1;
    NEXT.set(n);
    // Their order is not that in which they come.
    Uid::from_entropy(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn opening(book: &SimBook) -> Opening {
    let (boot, seq) = book.read(|fold| (fold.node.boot.clone(), fold.seq));
    Opening {
        node: NodeUid::from_entropy(1),
        new_journal: seq == 0,
        store: StoreOpening::Loaded { applied: seq },
        ahead: None,
        damage: Vec::new(),
        tail: None,
        journal_lost: None,
        doubted: 0,
        read_only: None,
        disk_full: false,
        boot_changed: !boot.is_empty() && boot != book.now().boot,
        replayed_to: seq,
    }
}

fn witness(ground: &Ground) -> impl Fn(&Action, reconciler::Side) + Send + Sync + 'static {
    let ground = ground.clone();
    move |action, side| {
        let point = Point::Action(ACTIONS[place_of_action(action)]);
        let mut state = ground.state();
        let side = match side {
            reconciler::Side::Before => Side::Before,
            reconciler::Side::After => Side::After,
        };
        if side == Side::Before && !state.trap.is_dead() {
            state.tell(|_| format!(" does {action}"));
        }
        state.pass(point, side);
    }
}

impl Daemon {
    /// A daemon takes over, by the real one's order of start. It may die in that.
    pub(super) fn start(ground: &Ground, node: SimNode) -> Self {
        let book = SimBook(ground.clone());
        // A dead one's lines are refused; nobody hears of it.
        let _ = record_start(&book, &opening(&book));
        let transports = TransportPolicy::default();
        let intake = Arc::new(Intake::new(book.clone(), transports, draw));
        let within = Arc::clone(&intake);
        let mut context = Context::new(Arc::new(node.clone()), book.clone(), within, 4);
        let (bell, looks_bell) = (context.bell(), context.bell());
        context.witness = Some(Box::new(witness(ground)));
        let mut rounds = Rounds::new(context);
        rounds.on_resync();
        let (waker, wakes) = Waker::new();
        let up = book.now().up;
        let arrivals = watch::Sender::new(0);
        let mut this = Self {
            outboxes: Arc::new(Outboxes::new(book.clone(), waker, arrivals.subscribe())),
            arrivals,
            ground: ground.clone(),
            node,
            intake,
            rounds,
            errands: ErrandRounds::new(book.clone()),
            bell,
            looks: LookRounds::new(book.clone(), LOOK_MS),
            looks_bell,
            book,
            wakes,
            tasks: Vec::new(),
            hold_until: Some(up + HOLD_MS.0),
            resync_at: up + RESYNC_MS,
            linked: false,
            careless: false,
        };
        let intake = Arc::clone(&this.intake);
        this.spawn(false, async move {
            let begun = intake.begin_waiting().await.unwrap_or_default();
            Outcome::Wake(begun.into_iter().map(Wake::Look).collect())
        });
        this
    }

    fn spawn(&mut self, of_link: bool, future: impl Future<Output = Outcome> + Send + 'static) {
        self.tasks.push(Task::new(of_link, future));
    }

    /// A client asks, and `told` hears if it is told that this is accepted.
    pub(super) fn submit(
        &mut self,
        instruction: &Instruction,
        told: impl FnOnce() + Send + 'static,
    ) {
        let Ok((verdict, seq)) = self.intake.take(instruction) else {
            return;
        };
        self.settle(verdict, seq, told);
    }

    /// Whoever asked waits until the answer holds.
    fn settle(&mut self, verdict: Verdict, seq: Option<Seq>, told: impl FnOnce() + Send + 'static) {
        let (intake, ground) = (Arc::clone(&self.intake), self.ground.clone());
        self.spawn(false, async move {
            if intake.settle(seq).await.is_err() {
                return Outcome::Nothing;
            }
            if let Some(seq) = seq {
                judge::accepted(&mut ground.state(), seq);
            }
            told();
            match verdict {
                Verdict::Accepted { uid, .. } => Outcome::Wake(vec![Wake::Instructed(uid)]),
                _ => Outcome::Nothing,
            }
        });
    }

    /// A person drains or uncordons; `told` hears when that is accepted.
    pub(super) fn cordon(&mut self, drained: bool, told: impl FnOnce() + Send + 'static) {
        let intake = Arc::clone(&self.intake);
        self.spawn(false, async move {
            match intake.cordon(drained).await {
                Ok(news) => {
                    told();
                    Outcome::Wake(news.then_some(Wake::Everything).into_iter().collect())
                }
                Err(_) => Outcome::Nothing,
            }
        });
    }

    /// An instruction of the scheduler's comes: judged in order, then settled beside the next.
    fn take(&mut self, instruction: &Instruction) {
        self.ground.state().tell(|_| {
            let (id, ask) = (&instruction.instance, &instruction.ask);
            format!("the scheduler says {ask:?} of {id}")
        });
        self.arrivals.send_modify(|n| *n += 1);
        // Only what is accepted is waited for.
        if let Ok((verdict @ Verdict::Accepted { .. }, seq)) = self.intake.take(instruction) {
            self.settle(verdict, seq, || ());
        }
    }

    /// The link is as the scheduler is.
    fn follow_link(&mut self) {
        let reachable = self.ground.state().scheduler.link;
        if reachable == self.linked {
            return;
        }
        self.linked = reachable;
        let lost = (!reachable).then(|| "simulated".to_owned());
        show(&self.book, DegradedMode::SchedulerLost, lost, false);
        if !reachable {
            self.ground.state().scheduler.lose();
            self.tasks.retain(|task| !task.of_link);
            return;
        }
        self.ground.state().scheduler.register();
        if self.hold_until.is_some() {
            self.hold_until = Some(self.book.now().up + HOLD_MS.1);
        }
        let reporting = report::serve(self.ground.clone(), Arc::clone(&self.outboxes));
        self.spawn(true, async move {
            reporting.await;
            Outcome::Nothing
        });
    }

    /// Takes what has come in, and begins what is due.
    fn feed(&mut self) {
        self.follow_link();
        while let Ok(wake) = self.wakes.try_recv() {
            self.rounds.on_wake(wake);
        }
        while let Some(change) = self.node.fake.next_change() {
            let lost = self.careless && self.ground.state().dice.one_in(HINTS_LOST);
            if !lost {
                self.rounds.on_change(change);
            }
        }
        let up = self.book.now().up;
        if self.hold_until.is_some_and(|due| due <= up) {
            self.hold_until = None;
            self.rounds.on_wake(Wake::LiftHold);
        }
        if self.rounds.next_due().is_some_and(|due| due <= up) {
            self.rounds.on_due();
        }
        if self.resync_at <= up {
            self.resync_at = up + RESYNC_MS;
            self.rounds.on_resync();
        }
        self.feed_errands(up);
        self.feed_looks(up);
        while let Some(job) = self.rounds.next_job() {
            let context = Arc::clone(self.rounds.context());
            self.spawn(
                false,
                async move { Outcome::Worked(work(context, job).await) },
            );
        }
    }

    /// One step of whatever can go on. False: nothing can, until time passes.
    pub(super) fn step(&mut self) -> bool {
        self.feed();
        let mut ready: Vec<usize> = Vec::new();
        for (n, task) in self.tasks.iter().enumerate() {
            if task.can_go_on() {
                ready.push(n);
            }
        }
        let (comes, syncs, drawn) = {
            let mut state = self.ground.state();
            let comes = usize::from(!state.scheduler.inbox.is_empty());
            let disk = &state.disk;
            let syncs = usize::from(disk.syncing.is_some() || disk.wanted > disk.durable);
            let all = ready.len() + comes + syncs;
            if all == 0 {
                return false;
            }
            (comes, syncs, state.dice.below(all))
        };
        if let Some(task) = ready.get(drawn) {
            self.poll(*task);
        } else if comes == 1 && drawn == ready.len() {
            let next = self.ground.state().scheduler.inbox.pop_front();
            next.iter().for_each(|instruction| self.take(instruction));
        } else if syncs == 1 {
            self.sync();
        }
        true
    }

    fn poll(&mut self, at: usize) {
        let Some(outcome) = self.tasks.get_mut(at).and_then(Task::poll) else {
            return;
        };
        drop(self.tasks.remove(at));
        match outcome {
            Outcome::Worked(ended) => {
                self.rounds.on_end(ended);
            }
            Outcome::Errand(id, told) => {
                if let Some(uid) = self.errands.on_end(&id, told) {
                    self.rounds.on_wake(Wake::Look(uid));
                }
            }
            Outcome::Looked(look, measured) => self.looked(&look, measured),
            Outcome::Wake(wakes) => {
                for wake in wakes {
                    self.rounds.on_wake(wake);
                }
            }
            Outcome::Nothing => {}
        }
    }

    /// A sync begins, or ends: what was written meanwhile waits for the next one.
    fn sync(&mut self) {
        let mut state = self.ground.state();
        match state.disk.syncing.take() {
            None => state.disk.syncing = Some(state.disk.fold.seq),
            Some(seq) => {
                state.disk.durable = seq.max(state.disk.durable);
                state.disk.syncs += 1;
                state.tell(|_| format!("  durable up to line {seq}"));
                let waiting = std::mem::take(&mut state.disk.waiting);
                waiting.into_iter().for_each(task::Waker::wake);
            }
        }
    }

    /// When something is due by itself, in CLOCK_BOOTTIME ms.
    pub(super) fn next_due(&self, with_resync: bool) -> Option<u64> {
        let timers = self.ground.state().timers.iter().map(|(due, _)| *due).min();
        let resync = with_resync.then_some(self.resync_at);
        let errands = self.errands.next_due();
        let all = [
            timers,
            self.hold_until,
            self.rounds.next_due(),
            errands,
            self.looks.next_due(),
            resync,
        ];
        all.into_iter().flatten().min()
    }

    /// Everything is looked at.
    pub(super) fn survey(&mut self) {
        self.rounds.on_resync();
    }

    /// What turns share.
    pub(super) fn context(&self) -> &Context<SimNode, SimBook> {
        self.rounds.context()
    }

    /// Ends in order: what is under way is cut, and everything written is durable.
    pub(super) fn end(mut self, node_stops: bool) {
        self.tasks.clear();
        if node_stops {
            let _ = self.book.record(Event::NodeStopping {});
        }
        let _ = self.book.record(Event::DaemonStopped {});
        let mut state = self.ground.state();
        if !state.trap.is_dead() {
            state.disk.durable = state.disk.fold.seq;
        }
    }
}
