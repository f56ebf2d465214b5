//! Restart: from the exit of a process until its successor runs, for 50 first restarts.
#![allow(clippy::unwrap_used, reason = "a bench ends at what it can't do")]

mod support;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use riklet::{clock::Clock, testing::scheduler::Core};
use support::{
    LIMIT, World, block_on,
    figures::{Figures, verdict},
    names,
};

const SAMPLES: usize = 50;

/// When the container wrote its first word, by its monitor's stamp in the log.
fn first_word(log: &Path) -> jiff::Timestamp {
    let until = Instant::now() + LIMIT;
    loop {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some((line, _)) = text.split_once('\n') {
            return line.split(' ').next().unwrap().parse().unwrap();
        }
        assert!(Instant::now() < until, "{} stays empty", log.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn main() {
    block_on(async {
        let world = World::open().await;
        let clock = Clock::system().unwrap();
        let ids = names("restart", SAMPLES);
        world.place(&ids).await;
        let shown: Vec<_> = ids.iter().map(|id| world.shown(id)).collect();
        let (mut runs, mut reported) = (Figures::default(), Figures::default());
        for (id, shown) in ids.iter().zip(shown) {
            let pid = shown["containers"][0]["pid"].as_i64().unwrap();
            let before = world.scheduler.look(|core| core.instances[id].seq);
            let (began, at) = (Instant::now(), clock.now().at);
            kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
            let again = |core: &Core| {
                let seen = &core.instances[id];
                (seen.status == "RUNNING" && seen.seq > before).then_some(())
            };
            world
                .scheduler
                .wait("Running again", LIMIT, again)
                .await
                .unwrap();
            reported.add(began.elapsed().as_secs_f64() * 1e3);
            let uid = shown["uid"].as_str().unwrap();
            let word = first_word(&world.dir.join(format!("state/logs/{uid}/0-2.log")));
            runs.add((word.as_nanosecond() - at.as_nanosecond()) as f64 / 1e6);
        }
        world.assert_well_behaved();
        runs.print("exit to the successor's first word", "ms");
        reported.print("exit to Running at the scheduler", "ms");
        verdict("exit to running again, median", runs.median(), 150.0, "ms");
        verdict("exit to reported, median", reported.median(), 150.0, "ms");
    });
}
