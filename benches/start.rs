//! Start: 50 instances sent at once until all are Running, beside the bare loop at its best. The
//! loop joins no network, so what is held against it doesn't either; what a bridge, an address and
//! the plugins' processes cost on top is shown beside it.
#![allow(clippy::unwrap_used, reason = "a bench ends at what it can't do")]

mod support;

use support::{
    World, bare, block_on,
    figures::{Figures, say, verdict},
    names,
};

const INSTANCES: usize = 50;
const PARALLEL: [usize; 3] = [2, 4, 8];

fn rounds() -> usize {
    let asked = std::env::var("BENCH_ROUNDS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(5)
}

fn main() {
    bare::run_if_asked();
    block_on(async {
        let world = World::without_network().await;
        let networked = World::open().await;
        let (mut starts, mut ends) = (Figures::default(), Figures::default());
        let (mut joined, mut left) = (Figures::default(), Figures::default());
        let mut loops: [Figures; 3] = Default::default();
        let mut template = None;
        for round in 0..rounds() {
            let ids = names(&format!("r{round}"), INSTANCES);
            starts.add(world.place(&ids).await.as_secs_f64() * 1e3);
            let template = template.get_or_insert_with(|| {
                let shown = world.shown(&ids[0]);
                bare::template(&world, shown["uid"].as_str().unwrap())
            });
            ends.add(world.destroy(&ids).await.as_secs_f64() * 1e3);
            for (parallel, figures) in PARALLEL.iter().zip(&mut loops) {
                let took = bare::run(&world, template, INSTANCES, *parallel);
                figures.add(took.as_secs_f64() * 1e3);
            }
            joined.add(networked.place(&ids).await.as_secs_f64() * 1e3);
            left.add(networked.destroy(&ids).await.as_secs_f64() * 1e3);
        }
        world.assert_well_behaved();
        networked.assert_well_behaved();
        say(format_args!(
            "{INSTANCES} instances at once, {} rounds, interleaved",
            rounds()
        ));
        starts.print("riklet: sent to all Running", "ms");
        ends.print("riklet: destroyed to all Terminated", "ms");
        for (parallel, figures) in PARALLEL.iter().zip(&loops) {
            figures.print(&format!("bare loop, {parallel} in parallel"), "ms");
        }
        joined.print("with a network: to all Running", "ms");
        left.print("with a network: to all Terminated", "ms");
        let best = loops.iter().map(Figures::median).fold(f64::MAX, f64::min);
        verdict("start / best bare loop", starts.median() / best, 1.5, "x");
    });
}
