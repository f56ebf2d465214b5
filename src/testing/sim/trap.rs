//! Where the simulated daemon dies.
//!
//! Owns: the points at which it may, how often each was passed and died at. A daemon that died
//! does nothing any more: [`Trap::pass`] stays true until the next one takes over, and whoever
//! hears that has no effect.

use std::{collections::BTreeMap, fmt};

use crate::{model::line::Event, plan::Action, testing::fake_node::Verb};

/// How a daemon dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Death {
    /// SIGKILL: what is written stays, and so does the node.
    Process,
    /// The machine loses power: what is durable stays, with a beginning of the rest.
    Power,
}

impl Death {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Process, Self::Power];
}

/// What a daemon is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// An action of the plan, by its name.
    Action(&'static str),
    /// Writing a line, by its kind.
    Line(&'static str),
    /// A verb of the node.
    Verb(Verb),
    /// Waiting for a sync.
    Durable,
    /// Sending a batch to the scheduler.
    Send,
}

/// Where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Nothing of it is done.
    Before,
    /// It is under way.
    Middle,
    /// It is done, and nobody has been told.
    After,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(name) => write!(f, "action {name}"),
            Self::Line(kind) => write!(f, "line {kind}"),
            Self::Verb(verb) => write!(f, "verb {verb:?}"),
            Self::Durable => f.write_str("sync"),
            Self::Send => f.write_str("send"),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Middle => "amid",
            Self::After => "after",
        })
    }
}

/// How often the daemon died where.
pub type Hits = BTreeMap<(Point, Side, Death), u64>;

/// The name of every variant of [`Action`].
pub const ACTIONS: [&str; 14] = [
    "pull-image",
    "create-sandbox",
    "create",
    "start",
    "record-started",
    "record-monitor-lost",
    "record-exit",
    "request-stop",
    "terminate",
    "kill",
    "remove",
    "remove-sandbox",
    "record-removed",
    "record-created",
];

/// An action's place in [`ACTIONS`]. A new variant doesn't compile until it has one, and then
/// the test of crash points fails until a scenario dies there.
#[must_use]
pub(super) fn place_of_action(action: &Action) -> usize {
    match action {
        Action::PullImage { .. } => 0,
        Action::CreateSandbox => 1,
        Action::Create { .. } => 2,
        Action::Start { .. } => 3,
        Action::RecordStarted { .. } => 4,
        Action::RecordMonitorLost { .. } => 5,
        Action::RecordExit { .. } => 6,
        Action::RequestStop { .. } => 7,
        Action::Terminate { .. } => 8,
        Action::Kill { .. } => 9,
        Action::Remove { .. } => 10,
        Action::RemoveSandbox => 11,
        Action::RecordRemoved => 12,
        Action::RecordCreated { .. } => 13,
    }
}

/// Every kind of line that the daemon itself writes. `segment_header` and `segment_sealed` are
/// the writer's own: deaths there are those of the ledger on a disk (`ledger::tests::power`, and
/// `tests/power.rs` on a real one).
pub const KINDS: [&str; 31] = [
    "boot",
    "daemon_started",
    "daemon_stopped",
    "node_stopping",
    "accepted",
    "replaced",
    "queued",
    "destroy_accepted",
    "refused",
    "image_ready",
    "image_failed",
    "attempt_intended",
    "created",
    "started",
    "start_failed",
    "exited",
    "stop_requested",
    "step_removed",
    "removed",
    "monitor_lost",
    "drained",
    "uncordoned",
    "acknowledged",
    "degraded_entered",
    "degraded_left",
    "sandbox_intended",
    "sandbox_ready",
    "sandbox_failed",
    "probed",
    "hook_done",
    "evicted",
];

/// A kind's place in [`KINDS`]; none for the writer's own. A new kind doesn't compile until it
/// is placed.
#[must_use]
pub(super) fn place_of_kind(event: &Event) -> Option<usize> {
    Some(match event {
        Event::SegmentHeader { .. } | Event::SegmentSealed {} => return None,
        // Of damage and of what is unclaimed, which no crash leads to: tests/damage.rs, and
        // reconciler::tests for deaths while something is disowned.
        Event::Doubted { .. } | Event::Settled { .. } | Event::Disowned { .. } => return None,
        Event::Boot {} => 0,
        Event::DaemonStarted { .. } => 1,
        Event::DaemonStopped {} => 2,
        Event::NodeStopping {} => 3,
        Event::Accepted { .. } => 4,
        Event::Replaced { .. } => 5,
        Event::Queued { .. } => 6,
        Event::DestroyAccepted { .. } => 7,
        Event::Refused { .. } => 8,
        Event::ImageReady { .. } => 9,
        Event::ImageFailed { .. } => 10,
        Event::AttemptIntended { .. } => 11,
        Event::Created { .. } => 12,
        Event::Started { .. } => 13,
        Event::StartFailed { .. } => 14,
        Event::Exited { .. } => 15,
        Event::StopRequested { .. } => 16,
        Event::StepRemoved { .. } => 17,
        Event::Removed { .. } => 18,
        Event::MonitorLost { .. } => 19,
        Event::Drained {} => 20,
        Event::Uncordoned {} => 21,
        Event::Acknowledged { .. } => 22,
        Event::DegradedEntered { .. } => 23,
        Event::DegradedLeft { .. } => 24,
        Event::SandboxIntended { .. } => 25,
        Event::SandboxReady { .. } => 26,
        Event::SandboxFailed { .. } => 27,
        Event::Probed { .. } => 28,
        Event::HookDone { .. } => 29,
        Event::Evicted { .. } => 30,
    })
}

/// Kills the daemon at a point that is counted from when it was set.
#[derive(Debug, Default)]
pub(super) struct Trap {
    set: Option<(u64, Death)>,
    /// The next time this is passed.
    named: Option<(Point, Side, Death)>,
    dead: Option<Death>,
    /// Points passed by all daemons so far.
    pub(super) passed: u64,
    pub(super) hits: Hits,
}

impl Trap {
    /// The daemon dies at the point after `points` more.
    pub(super) fn set(&mut self, points: u64, death: Death) {
        self.set = Some((points, death));
    }

    /// The daemon dies the next time it passes this.
    pub(super) fn set_at(&mut self, point: Point, side: Side, death: Death) {
        self.named = Some((point, side, death));
    }

    pub(super) fn disarm(&mut self) {
        self.set = None;
        self.named = None;
    }

    /// Passes a point. True: the daemon is dead, and whatever it does has no effect. The second
    /// is true if it died right here.
    pub(super) fn pass(&mut self, point: Point, side: Side) -> (bool, bool) {
        if self.dead.is_some() {
            return (true, false);
        }
        self.passed += 1;
        let named = self.named.filter(|(p, s, _)| (*p, *s) == (point, side));
        let death = match (&mut self.set, named) {
            (Some((0, death)), _) => *death,
            (Some((left, _)), None) => {
                *left -= 1;
                return (false, false);
            }
            (_, Some((_, _, death))) => {
                self.named = None;
                self.die(death);
                return (true, true);
            }
            (None, None) => return (false, false),
        };
        *self.hits.entry((point, side, death)).or_default() += 1;
        self.set = None;
        self.die(death);
        (true, true)
    }

    fn die(&mut self, death: Death) {
        self.dead = Some(death);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// Kills it here and now.
    pub(super) fn kill(&mut self, death: Death) {
        self.dead.get_or_insert(death);
    }

    /// How it died; from here the next daemon lives.
    pub(super) fn take(&mut self) -> Option<Death> {
        self.dead.take()
    }
}
