//! Walks with a theme: one scenario of the field, at times that chance draws.

use super::{Happening, Outcome, Sim, dice::Dice, shape::Shape, trap::Death};

const ALWAYS: usize = 0;
const ON_FAILURE: usize = 1;
const NEVER: usize = 2;

fn create(id: u8, policy: usize, tag: u32) -> Happening {
    Happening::Create {
        id,
        local: false,
        policy,
        containers: 1,
        tag,
    }
}

fn death(dice: &mut Dice) -> Death {
    dice.pick(&Death::ALL).unwrap_or(Death::Process)
}

fn happen(sim: &mut Sim, happening: &Happening) {
    sim.happen(happening);
    sim.come_to_rest();
}

/// A job of each kind, one of the scheduler's that is away, completes; then the daemon dies
/// twenty times, by process and by power, some of that while it recovers.
#[must_use]
pub fn completed_work(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut sim = Sim::new(dice.draw(), false);
    happen(&mut sim, &create(0, NEVER, 0));
    happen(&mut sim, &create(1, ON_FAILURE, 1));
    let local = Happening::Create {
        id: 2,
        local: true,
        policy: NEVER,
        containers: 1,
        tag: 0,
    };
    happen(&mut sim, &local);
    let away = dice.one_in(2);
    if away {
        happen(&mut sim, &Happening::Link(false));
    }
    sim.set_traps((0..6).map(|_| (dice.draw() % 40, death(&mut dice))));
    for _ in 0..3 {
        happen(&mut sim, &Happening::Exit { which: 0, code: 0 });
    }
    for _ in 0..20 {
        happen(&mut sim, &Happening::Die(death(&mut dice)));
        let ms = dice.within(0, 20_000);
        happen(&mut sim, &Happening::Pass { ms });
    }
    sim.conclude()
}

/// Pods with init containers and sidecars complete in part or whole; then the daemon dies twenty
/// times, and what is left of them goes on in between.
#[must_use]
pub fn completed_pods(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut sim = Sim::new(dice.draw(), false);
    for (id, policy) in [(0, NEVER), (1, ON_FAILURE), (2, ALWAYS)] {
        let pod = Happening::Pod {
            id,
            policy,
            shape: dice.pick(&[Shape::Job, Shape::Inits]).unwrap_or(Shape::Job),
            tag: 0,
        };
        happen(&mut sim, &pod);
    }
    sim.set_traps((0..6).map(|_| (dice.draw() % 60, death(&mut dice))));
    for _ in 0..20 {
        for _ in 0..dice.below(3) {
            let which = dice.below(8);
            let code = i32::from(dice.one_in(4));
            happen(&mut sim, &Happening::Exit { which, code });
        }
        happen(&mut sim, &Happening::Die(death(&mut dice)));
        let ms = dice.within(0, 20_000);
        happen(&mut sim, &Happening::Pass { ms });
    }
    sim.conclude()
}

/// Volumes outgrow their limits, are within them again, and their instances are replaced and
/// destroyed; daemons die all the while.
#[must_use]
pub fn evictions(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut sim = Sim::new(dice.draw(), false);
    sim.set_traps((0..6).map(|_| (dice.draw() % 120, death(&mut dice))));
    for tag in 0..8 {
        let id = u8::try_from(dice.below(2)).unwrap_or(0);
        let pod = Happening::Pod {
            id,
            policy: [ALWAYS, ON_FAILURE, NEVER][dice.below(3)],
            shape: dice
                .pick(&[Shape::Bounded, Shape::Job])
                .unwrap_or(Shape::Bounded),
            tag: tag / 2,
        };
        happen(&mut sim, &pod);
        let bytes = dice.pick(&[0, 1_024, 1_025, 1 << 20]).unwrap_or(0);
        sim.happen(&Happening::Fills(bytes));
        sim.happen(&Happening::Stubborn(dice.one_in(3)));
        for _ in 0..dice.below(3) {
            let (which, code) = (dice.below(4), i32::from(dice.one_in(2)));
            happen(&mut sim, &Happening::Exit { which, code });
            let ms = dice.within(0, 15_000);
            happen(&mut sim, &Happening::Pass { ms });
        }
        match dice.below(4) {
            0 => happen(&mut sim, &Happening::Die(death(&mut dice))),
            1 => happen(&mut sim, &Happening::Destroy { id, local: false }),
            2 => sim.happen(&Happening::Steps(dice.draw() % 30)),
            _ => {}
        }
    }
    sim.conclude()
}

/// Wall time steps while things are created, back off, and are stopped.
#[must_use]
pub fn clock_steps(seed: u64) -> Outcome {
    const STEPS: [i64; 3] = [-3_600_000, 31_536_000_000, -40_000];
    let mut dice = Dice::new(seed);
    let mut sim = Sim::new(dice.draw(), false);
    let step = |sim: &mut Sim, dice: &mut Dice| {
        sim.happen(&Happening::Steps(dice.draw() % 30));
        let ms = dice.pick(&STEPS).unwrap_or(0);
        sim.happen(&Happening::Wall { ms });
    };
    sim.happen(&Happening::Stubborn(true));
    sim.happen(&create(0, ALWAYS, 0));
    step(&mut sim, &mut dice);
    sim.come_to_rest();
    for _ in 0..4 {
        sim.happen(&Happening::Exit { which: 0, code: 1 });
        step(&mut sim, &mut dice);
        let ms = dice.within(1_000, 30_000);
        happen(&mut sim, &Happening::Pass { ms });
        if dice.one_in(4) {
            happen(&mut sim, &Happening::Die(death(&mut dice)));
        }
    }
    sim.happen(&Happening::Destroy {
        id: 0,
        local: false,
    });
    step(&mut sim, &mut dice);
    let ms = dice.within(1_000, 6_000);
    happen(&mut sim, &Happening::Pass { ms });
    step(&mut sim, &mut dice);
    happen(&mut sim, &create(1, ALWAYS, 1));
    sim.conclude()
}

/// The scheduler is away for ten minutes in which everything changes and daemons die.
#[must_use]
pub fn scheduler_away(seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let mut sim = Sim::new(dice.draw(), false);
    for (id, policy) in [(0, ALWAYS), (1, ON_FAILURE), (2, ALWAYS), (3, NEVER)] {
        happen(&mut sim, &create(id, policy, 0));
    }
    happen(&mut sim, &Happening::Link(false));
    sim.set_traps((0..4).map(|_| (dice.draw() % 200, death(&mut dice))));
    let mut left = 600_000;
    while left > 0 {
        let ms = dice.within(1_000, 40_000).min(left);
        left -= ms;
        happen(&mut sim, &Happening::Pass { ms });
        let (which, code) = (dice.below(4), i32::from(dice.one_in(3)));
        happen(&mut sim, &Happening::Exit { which, code });
        if dice.one_in(8) {
            // The scheduler goes on wanting things of a node that it can't reach.
            let id = u8::try_from(dice.below(3)).unwrap_or(0);
            happen(&mut sim, &Happening::Destroy { id, local: false });
        }
    }
    happen(&mut sim, &Happening::Link(true));
    sim.conclude()
}
