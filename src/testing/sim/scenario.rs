//! Short stories that together pass every point, to die at each of them in turn.

mod pods;

use super::{Death, Happening, Outcome, Point, Side, Sim, scheduler::Loss};
use crate::{
    node::FailureKind,
    testing::fake_node::{Fault, Verb},
};

/// A story with its name.
pub struct Scenario {
    /// What it is about.
    pub name: &'static str,
    /// What happens; after each everything comes to rest.
    pub happenings: &'static [Happening],
}

const ALWAYS: usize = 0;
const ON_FAILURE: usize = 1;
const NEVER: usize = 2;

const fn create(id: u8, policy: usize, tag: u32) -> Happening {
    Happening::Create {
        id,
        local: false,
        policy,
        containers: 1,
        tag,
    }
}

const fn local(id: u8, policy: usize, tag: u32) -> Happening {
    Happening::Create {
        id,
        local: true,
        policy,
        containers: 1,
        tag,
    }
}

const fn destroy(id: u8) -> Happening {
    Happening::Destroy { id, local: false }
}

const fn exit(code: i32) -> Happening {
    Happening::Exit { which: 0, code }
}

const fn pass(ms: u64) -> Happening {
    Happening::Pass { ms }
}

const BOOTED: Happening = Happening::Die(Death::Power);
const TRANSIENT: Fault = Fault::Before(FailureKind::Transient);

/// Of what an instance may meet.
const OF_INSTANCES: &[(&str, &[Happening])] = &[
    (
        "placed and destroyed",
        &[create(0, ALWAYS, 0), pass(2_000), destroy(0)],
    ),
    (
        "several containers",
        &[Happening::Create {
            id: 0,
            local: false,
            policy: ALWAYS,
            containers: 3,
            tag: 0,
        }],
    ),
    (
        "of a person",
        &[
            local(0, ALWAYS, 0),
            local(0, ALWAYS, 1),
            Happening::Destroy { id: 0, local: true },
            local(0, ALWAYS, 0),
        ],
    ),
    (
        "no image, then one",
        &[
            Happening::NoImages(true),
            create(0, ALWAYS, 0),
            pass(15_000),
            Happening::NoImages(false),
            pass(60_000),
        ],
    ),
    (
        "restarts",
        &[create(0, ALWAYS, 0), exit(1), pass(1_000), exit(0)],
    ),
    (
        "backs off",
        &[
            create(0, ALWAYS, 0),
            exit(1),
            exit(1),
            pass(4_000),
            pass(7_000),
            exit(1),
            pass(21_000),
        ],
    ),
    (
        "replaced",
        &[create(0, ALWAYS, 0), create(0, ALWAYS, 1), pass(8_000)],
    ),
    (
        "destroyed with a stubborn process",
        &[
            Happening::Stubborn(true),
            create(0, ALWAYS, 0),
            destroy(0),
            pass(3_000),
            pass(5_000),
            pass(5_000),
        ],
    ),
    (
        "created while being destroyed",
        &[
            Happening::Stubborn(true),
            create(0, ALWAYS, 0),
            destroy(0),
            create(0, ALWAYS, 1),
            pass(9_000),
            pass(9_000),
        ],
    ),
    (
        "created again",
        &[
            create(0, ALWAYS, 0),
            destroy(0),
            create(0, ALWAYS, 0),
            destroy(0),
        ],
    ),
    (
        "refused",
        &[
            Happening::Garbage { id: 0 },
            destroy(0),
            create(0, ALWAYS, 0),
            Happening::Garbage { id: 0 },
        ],
    ),
    (
        "completes (Never)",
        &[create(0, NEVER, 0), exit(0), pass(2_000)],
    ),
    (
        "fails (Never)",
        &[create(0, NEVER, 0), exit(3), pass(2_000), destroy(0)],
    ),
    (
        "completes (OnFailure)",
        &[
            create(0, ON_FAILURE, 0),
            exit(1),
            pass(1_000),
            exit(0),
            pass(2_000),
        ],
    ),
    (
        "completes, of a person",
        &[local(0, ON_FAILURE, 0), exit(0), pass(2_000)],
    ),
];

/// Of what a node may meet.
const OF_THE_NODE: &[(&str, &[Happening])] = &[
    (
        "drained and uncordoned",
        &[
            create(0, ALWAYS, 0),
            Happening::Drain,
            pass(1_000),
            Happening::Uncordon,
        ],
    ),
    (
        "rebooted",
        &[
            create(0, ALWAYS, 0),
            local(1, NEVER, 1),
            BOOTED,
            pass(5_000),
        ],
    ),
    (
        "rebooted while it backs off",
        &[
            create(0, ALWAYS, 0),
            exit(1),
            exit(1),
            pass(2_000),
            BOOTED,
            pass(9_000),
        ],
    ),
    (
        "ended in order",
        &[
            create(0, ALWAYS, 0),
            Happening::End { node: false },
            pass(5_000),
        ],
    ),
    (
        "the node stops in order",
        &[
            create(0, ALWAYS, 0),
            local(1, ON_FAILURE, 0),
            Happening::End { node: true },
            pass(9_000),
        ],
    ),
    (
        "exits while nobody looks",
        &[
            create(0, ALWAYS, 0),
            Happening::Leave,
            exit(5),
            pass(100),
            Happening::Return,
            pass(5_000),
        ],
    ),
    (
        "created, and that is not written",
        &[
            Happening::DieAt(Point::Verb(Verb::Create), Side::After, Death::Process),
            create(0, NEVER, 0),
            exit(3),
            pass(5_000),
        ],
    ),
    (
        "started, and that is not written",
        &[
            Happening::DieAt(Point::Verb(Verb::Start), Side::After, Death::Process),
            create(0, ALWAYS, 0),
            pass(5_000),
        ],
    ),
    (
        "stop recorded, and no signal sent",
        &[
            create(0, ALWAYS, 0),
            Happening::DieAt(Point::Line("stop_requested"), Side::After, Death::Process),
            destroy(0),
            pass(9_000),
        ],
    ),
    (
        "intended, then replaced",
        &[
            Happening::DieAt(Point::Line("attempt_intended"), Side::After, Death::Process),
            create(0, ALWAYS, 0),
            create(0, ALWAYS, 1),
            pass(5_000),
        ],
    ),
    (
        "its monitor is lost",
        &[
            create(0, ALWAYS, 0),
            Happening::KillMonitor { which: 0 },
            pass(1_000),
            exit(4),
            pass(2_000),
        ],
    ),
    (
        "a monitor tells late",
        &[
            Happening::SlowMonitors(true),
            create(0, ALWAYS, 0),
            exit(4),
            pass(2_000),
        ],
    ),
    (
        "the runtime's state is lost",
        &[
            create(0, ALWAYS, 0),
            Happening::Break { which: 0 },
            pass(11_000),
        ],
    ),
    (
        "frozen and destroyed",
        &[
            create(0, ALWAYS, 0),
            Happening::Pause { which: 0 },
            destroy(0),
            pass(9_000),
        ],
    ),
    (
        "a create fails, a start fails, calls hang",
        &[
            Happening::Fault(Verb::Create, TRANSIENT),
            Happening::Fault(Verb::Start, TRANSIENT),
            Happening::Fault(Verb::Remove, Fault::After(FailureKind::Hung)),
            create(0, ALWAYS, 0),
            pass(70_000),
        ],
    ),
    (
        "the runtime is not there, then it is",
        &[
            Happening::Fault(Verb::Create, Fault::Before(FailureKind::ProgramMissing)),
            Happening::Fault(Verb::Sandbox, TRANSIENT),
            create(0, ALWAYS, 0),
            pass(15_000),
        ],
    ),
    (
        "a snapshot is lost",
        &[
            create(0, ALWAYS, 0),
            Happening::SnapshotsLost,
            exit(1),
            pass(1_000),
        ],
    ),
    (
        "batches and answers are lost",
        &[
            Happening::Lose(Loss::Batch),
            Happening::Lose(Loss::Answer),
            create(0, NEVER, 0),
            Happening::Lose(Loss::Answer),
            Happening::Lose(Loss::Answer),
            exit(0),
            pass(3_000),
        ],
    ),
    (
        "the scheduler goes and comes",
        &[
            create(0, ALWAYS, 0),
            Happening::Link(false),
            exit(1),
            pass(2_000),
            Happening::Link(true),
            pass(2_000),
        ],
    ),
];

/// Every scenario.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let all = OF_INSTANCES.iter().chain(OF_THE_NODE).chain(pods::OF_PODS);
    all.map(|(name, happenings)| Scenario { name, happenings })
        .collect()
}

impl Scenario {
    /// Tells the story, with daemons that die where the traps say. The second is how many points
    /// it has until its end begins.
    #[must_use]
    pub fn run(&self, traps: &[(u64, Death)], with_story: bool) -> (Outcome, u64) {
        let mut sim = Sim::new(1, with_story);
        sim.set_traps(traps.iter().copied());
        for happening in self.happenings {
            sim.happen(happening);
            sim.come_to_rest();
        }
        let points = sim.points();
        (sim.conclude(), points)
    }
}
