//! Random walks: anything happens in any order, and daemons die anywhere, twice in a row too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Happening, Outcome, Sim, dice::Dice, scheduler::Loss, shape::Shape, trap::Death};
use crate::{
    node::FailureKind,
    testing::fake_node::{Fault, Script, Verb},
};

/// Faults that a runtime's verb may meet.
const FAULTS: [Fault; 6] = [
    Fault::Before(FailureKind::Transient),
    Fault::After(FailureKind::Transient),
    Fault::Before(FailureKind::Permanent),
    Fault::After(FailureKind::Hung),
    Fault::Before(FailureKind::ProgramMissing),
    Fault::Before(FailureKind::DiskFull),
];

/// Every verb.
const VERBS: [Verb; 7] = [
    Verb::Image,
    Verb::Sandbox,
    Verb::Create,
    Verb::Start,
    Verb::Signal,
    Verb::Remove,
    Verb::RemoveSandbox,
];

/// So many ids there are of each source; few, so that happenings meet.
const IDS: u64 = 2;

fn small(dice: &mut Dice, n: u64) -> u8 {
    u8::try_from(dice.draw() % n).unwrap_or(0)
}

fn create(dice: &mut Dice) -> Happening {
    Happening::Create {
        id: small(dice, IDS),
        local: dice.one_in(4),
        policy: dice.below(3),
        containers: 1 + dice.below(2),
        tag: u32::from(small(dice, 2)),
    }
}

fn pod(dice: &mut Dice) -> Happening {
    Happening::Pod {
        id: small(dice, IDS),
        policy: dice.below(3),
        shape: dice.pick(&Shape::ANY).unwrap_or(Shape::Inits),
        tag: u32::from(small(dice, 2)),
    }
}

fn script(dice: &mut Dice) -> Happening {
    let word = dice.pick(&["up", "live", "ready", "post", "pre"]);
    let all = [
        None,
        None,
        Some(Script::Fails),
        Some(Script::Hangs),
        Some(Script::CantBeTried),
    ];
    Happening::Script(word.unwrap_or("live"), dice.pick(&all).flatten())
}

fn time(dice: &mut Dice) -> Happening {
    let ms = match dice.below(6) {
        0 => dice.within(1, 900),
        1 | 2 => dice.within(1_000, 12_000),
        3 | 4 => dice.within(9_000, 90_000),
        _ => dice.within(100_000, 900_000),
    };
    Happening::Pass { ms }
}

fn wall(dice: &mut Dice) -> Happening {
    let steps = [-3_600_000, 31_536_000_000, -40_000];
    Happening::Wall {
        ms: dice.pick(&steps).unwrap_or(0),
    }
}

fn damage(dice: &mut Dice) -> Happening {
    let which = dice.below(6);
    match dice.below(6) {
        5 => Happening::LoseSandbox { which },
        0 | 1 => Happening::KillMonitor { which },
        2 => Happening::Break { which },
        3 => Happening::Pause { which },
        _ => Happening::Vanish { which },
    }
}

fn mood(dice: &mut Dice) -> Happening {
    let on = dice.one_in(2);
    match dice.below(5) {
        0 => Happening::NoImages(on),
        1 => Happening::Stubborn(on),
        2 => Happening::SlowMonitors(on),
        3 => Happening::SnapshotsLost,
        _ => Happening::Lose(if on { Loss::Batch } else { Loss::Answer }),
    }
}

fn fault(dice: &mut Dice) -> Happening {
    let verb = dice.pick(&VERBS).unwrap_or(VERBS[0]);
    Happening::Fault(verb, dice.pick(&FAULTS).unwrap_or(FAULTS[0]))
}

fn order(dice: &mut Dice) -> Happening {
    match dice.below(8) {
        0 => Happening::Drain,
        1 | 2 => Happening::Uncordon,
        3 => Happening::Leave,
        4 => Happening::Return,
        5 => Happening::Garbage {
            id: small(dice, IDS),
        },
        6 => Happening::End { node: false },
        _ => Happening::End { node: true },
    }
}

fn happening(dice: &mut Dice) -> Happening {
    match dice.below(32) {
        0..5 => create(dice),
        5..8 => pod(dice),
        8..12 => Happening::Destroy {
            id: small(dice, IDS),
            local: dice.one_in(4),
        },
        12..18 => Happening::Exit {
            which: dice.below(6),
            code: i32::from(small(dice, 2)),
        },
        18..22 => time(dice),
        22 | 23 => damage(dice),
        24 if dice.one_in(2) => script(dice),
        24 => mood(dice),
        25 => wall(dice),
        26 | 27 => fault(dice),
        28 => order(dice),
        29 | 30 => Happening::Link(!dice.one_in(3)),
        _ => Happening::Die(draw_death(dice)),
    }
}

fn draw_death(dice: &mut Dice) -> Death {
    if dice.one_in(2) {
        Death::Power
    } else {
        Death::Process
    }
}

fn run(seed: u64, with_story: bool) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut sim = Sim::new(dice.draw(), with_story);
    sim.wild = true;
    let mut traps = Vec::new();
    // The next ones are near each other: death while it recovers from death.
    let mut within = 160;
    for _ in 0..dice.below(7) {
        traps.push((dice.draw() % within, draw_death(&mut dice)));
        within = [12, 60, 240][dice.below(3)];
    }
    sim.set_traps(traps);
    for _ in 0..8 + dice.below(20) {
        let next = happening(&mut dice);
        sim.happen(&next);
        match dice.below(3) {
            0 => sim.happen(&Happening::Steps(dice.draw() % 16)),
            _ => sim.come_to_rest(),
        }
    }
    sim.conclude()
}

/// One walk: the same seed walks the same way. A panic is a violation like any other.
#[must_use]
pub fn walk(seed: u64, with_story: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run(seed, with_story))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Outcome {
            violations: vec![format!("it panicked: {}", said.unwrap_or_default())],
            ..Outcome::default()
        }
    })
}
