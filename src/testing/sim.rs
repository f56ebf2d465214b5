//! Crash simulation: the daemon's core over a simulated node, scheduler, clock and disk.
//!
//! Exists to kill a daemon at every point there is, and to look whether the next one keeps every
//! promise. The core is the real one: intake, reconciler (turns, planner, executor), fold,
//! outbox, agenda. Simulated are what it stands on: a [`Book`](crate::book::Book) whose disk
//! forgets at a power cut what was not synced, a [`Node`](crate::node::Node) whose processes die
//! with it, a scheduler that loses batches, and clocks. One thread, no real time, and chance by a
//! seed: the same seed tells the same story.
//!
//! ```text
//!  Happening ─▶ Sim ─▶ Daemon (tasks, stepped in a drawn order) ─▶ SimBook, SimNode, wire
//!                        ▲                                              │ every point
//!                        └── dropped: its death ◀── Trap ◀──────────────┤
//!                                                   Judge ◀─────────────┘ every effect
//! ```
//!
//! Must never happen here: a check that asks the code under test for the answer.

mod book;
mod daemon;
mod dice;
mod ground;
mod happening;
mod judge;
mod node;
mod report;
mod rest;
pub mod scenario;
mod scheduler;
mod shape;
mod task_list;
pub mod theme;
mod trap;
mod walk;
mod wanted;

use std::collections::{BTreeMap, VecDeque};

use self::{daemon::Daemon, ground::Ground, node::SimNode};
pub use self::{
    happening::Happening,
    scheduler::Loss,
    shape::Shape,
    trap::{ACTIONS, Death, Hits, KINDS, Point, Side},
    walk::walk,
};
use crate::testing::fake_node::FakeNode;

/// So many steps without time passing are more than any happening needs.
const MAX_STEPS: u64 = 20_000;

/// How a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was broken; each a sentence.
    pub violations: Vec<String>,
    /// Where the daemon died, how often.
    pub hits: Hits,
    /// Deaths of each kind, also where nothing was under way.
    pub deaths: BTreeMap<Death, u64>,
    /// Points passed.
    pub points: u64,
    /// Lines in the journal at the end.
    pub lines: u64,
    /// States that arrived at the scheduler for the first time.
    pub states: u64,
    /// Simulated time, in ms.
    pub simulated: u64,
    /// What happened, if that was asked for.
    pub story: Vec<String>,
}

/// What the clients of one local instance were told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// What was asked for last; none: that it be gone.
    pub(crate) wanted: Option<String>,
    /// Was that accepted?
    pub(crate) accepted: bool,
    ticket: u64,
}

/// A simulation.
pub struct Sim {
    ground: Ground,
    fake: FakeNode,
    daemon: Option<Daemon>,
    /// The next traps, each set when the daemon before it has died.
    traps: VecDeque<(u64, Death)>,
    deaths: BTreeMap<Death, u64>,
    /// Does anything happen that isn't asked for (time while the daemon is dead, lost hints)?
    wild: bool,
    told: std::sync::Arc<std::sync::Mutex<BTreeMap<String, Told>>>,
    tickets: u64,
}

impl Sim {
    /// A node with a daemon and a scheduler that it can reach.
    #[must_use]
    pub fn new(seed: u64, with_story: bool) -> Self {
        daemon::begin_names();
        let (ground, fake) = (Ground::new(seed, with_story), FakeNode::default());
        ground.state().scheduler.link = true;
        let mut this = Self {
            ground,
            fake,
            daemon: None,
            traps: VecDeque::new(),
            deaths: BTreeMap::new(),
            wild: false,
            told: std::sync::Arc::default(),
            tickets: 0,
        };
        this.start();
        this
    }

    /// The daemon dies at the point after so many more, and the next one, counted from its own
    /// start, at the next of these.
    pub fn set_traps(&mut self, traps: impl IntoIterator<Item = (u64, Death)>) {
        self.traps = traps.into_iter().collect();
        self.set_next_trap();
    }

    fn set_next_trap(&mut self) {
        if let Some((points, death)) = self.traps.pop_front() {
            self.ground.state().trap.set(points, death);
        }
    }

    fn start(&mut self) {
        let node = SimNode {
            fake: self.fake.clone(),
            ground: self.ground.clone(),
        };
        let mut daemon = Daemon::start(&self.ground, node);
        daemon.careless = self.wild;
        self.daemon = Some(daemon);
    }

    fn is_dead(&self) -> bool {
        self.ground.state().trap.is_dead()
    }

    /// Everything that can go on does so, at most so many steps. Dead daemons are followed by
    /// others.
    pub(crate) fn pump(&mut self, limit: u64) {
        let mut steps = 0;
        while steps < limit {
            let Some(daemon) = &mut self.daemon else {
                return;
            };
            let went_on = daemon.step();
            if self.is_dead() {
                self.bury();
                self.start_again();
            } else if !went_on {
                return;
            }
            steps += 1;
        }
        if limit == MAX_STEPS {
            self.ground
                .state()
                .broken("it never comes to rest: something spins");
            self.daemon = None;
        }
    }

    fn settle(&mut self) {
        self.pump(MAX_STEPS);
    }

    /// The daemon is gone, and its machine too if that is how it died.
    fn bury(&mut self) {
        self.daemon = None;
        let Some(death) = self.ground.state().trap.take() else {
            return;
        };
        *self.deaths.entry(death).or_default() += 1;
        let kept = self.ground.lines_left(death);
        let mut state = self.ground.state();
        let lost = state.disk.lines.len() - kept;
        state.tell(|_| format!("the daemon is dead ({death:?}), {lost} lines are lost"));
        state.disk.reopen(kept);
        judge::reopened(&mut state);
        state.scheduler.lose();
        state.timers.clear();
        let mut removals = std::mem::take(&mut state.judge.removals);
        drop(state);
        if death == Death::Power {
            let node = SimNode {
                fake: self.fake.clone(),
                ground: self.ground.clone(),
            };
            node.power_cut(&mut removals);
            let mut state = self.ground.state();
            let off = state.dice.within(1_000, 60_000);
            state.clocks.advance(off);
            state.clocks.boot += 1;
            state.clocks.up = state.dice.within(500, 4_000);
        } else {
            self.ground.state().judge.removals = removals;
        }
    }

    /// Another daemon takes over; it may die while it does.
    fn start_again(&mut self) {
        if self.wild {
            self.while_dead();
        }
        self.set_next_trap();
        self.start();
        while self.is_dead() {
            self.bury();
            self.set_next_trap();
            self.start();
        }
    }

    /// Nobody looks for a while.
    fn while_dead(&mut self) {
        let (long, which, what) = {
            let mut state = self.ground.state();
            let dice = &mut state.dice;
            (dice.below(6), dice.below(8), dice.below(6))
        };
        let ms = [0, 0, 0, 50, 3_000, 40_000][long];
        self.ground.state().clocks.advance(ms);
        match what {
            0 => self.exit(which, 0),
            1 => self.exit(which, 1),
            2 => self.kill_monitor(which),
            _ => {}
        }
    }

    /// Time passes, and what becomes due happens.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.ground.state().clocks.truth + ms;
        let mut resyncs = 4;
        loop {
            self.settle();
            let (truth, up) = {
                let state = self.ground.state();
                (state.clocks.truth, state.clocks.up)
            };
            if truth >= end {
                return;
            }
            let due = self.daemon.as_ref().and_then(|d| d.next_due(resyncs > 0));
            let wait = due.map_or(u64::MAX, |due| due.saturating_sub(up).max(1));
            let mut state = self.ground.state();
            state.clocks.advance(wait.min(end - truth));
            state.ring();
            resyncs -= u8::from(resyncs > 0 && wait >= 1_000);
        }
    }

    /// Ends the simulation: everything is mended, comes to rest, and is looked over.
    #[must_use]
    pub fn conclude(mut self) -> Outcome {
        self.traps.clear();
        self.ground.state().trap.disarm();
        self.rest();
        let mut state = self.ground.state();
        Outcome {
            violations: std::mem::take(&mut state.judge.violations),
            hits: std::mem::take(&mut state.trap.hits),
            deaths: self.deaths.clone(),
            points: state.trap.passed,
            lines: state.disk.fold.seq,
            states: state.scheduler.arrived,
            simulated: state.clocks.truth,
            story: state.story.take().unwrap_or_default(),
        }
    }

    /// Points passed so far.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.ground.state().trap.passed
    }
}
