//! Crash simulation: the daemon's core dies at every point there is, by process and by power,
//! and the next one keeps every promise (`riklet::testing::sim` says how).
//!
//! `make replay SEED=n` tells the story of a walk.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test; clippy knows only #[test] functions as such, and support is shared"
)]

#[path = "support/proof.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod proof;

use std::{collections::BTreeMap, fs, path::Path};

use proof::Proof;
use riklet::testing::sim::{
    ACTIONS, Death, Hits, KINDS, Outcome, Point, Side,
    scenario::{Scenario, scenarios},
    theme, walk,
};

/// At most so many broken promises are told of; the first one is the one to mend.
const TOLD: usize = 8;

/// What was counted over many runs.
#[derive(Default)]
struct Counts {
    hits: Hits,
    deaths: BTreeMap<Death, u64>,
    runs: u64,
    lines: u64,
    states: u64,
    simulated_ms: u64,
    violations: Vec<String>,
}

impl Counts {
    /// Takes a run; `again` is the command that shows it.
    fn take(&mut self, outcome: Outcome, again: impl FnOnce() -> String) {
        for (at, n) in outcome.hits {
            *self.hits.entry(at).or_default() += n;
        }
        for (death, n) in outcome.deaths {
            *self.deaths.entry(death).or_default() += n;
        }
        self.runs += 1;
        self.lines += outcome.lines;
        self.states += outcome.states;
        self.simulated_ms += outcome.simulated;
        if let Some(first) = outcome.violations.first()
            && self.violations.len() < TOLD
        {
            let more = outcome.violations.len() - 1;
            let told = format!("{first} (and {more} more); see it again: {}", again());
            self.violations.push(told);
        }
    }

    fn say(&self, proof: &mut Proof) {
        proof.add("runs", self.runs);
        proof.add(
            "deaths of the process",
            self.deaths.get(&Death::Process).copied().unwrap_or(0),
        );
        proof.add(
            "power cuts",
            self.deaths.get(&Death::Power).copied().unwrap_or(0),
        );
        proof.add("lines written", self.lines);
        proof.add("states that arrived", self.states);
        proof.add("simulated hours", self.simulated_ms / 3_600_000);
    }
}

/// Every point that has to be died at, with what it is.
fn demanded() -> Vec<(Point, Side, Death)> {
    let points = ACTIONS
        .map(Point::Action)
        .into_iter()
        .chain(KINDS.map(Point::Line));
    let sides = points.flat_map(|point| [(point, Side::Before), (point, Side::After)]);
    sides
        .flat_map(|(point, side)| Death::ALL.map(|death| (point, side, death)))
        .collect()
}

fn one_by_one(scenario: &Scenario, counts: &mut Counts) {
    let (calm, points) = scenario.run(&[], false);
    counts.take(calm, || format!("STORY='{}'", scenario.name));
    for n in 0..points {
        for death in Death::ALL {
            let (outcome, _) = scenario.run(&[(n, death)], false);
            let again = || format!("STORY='{}' AT={n} DEATH={death:?} {REPLAY}", scenario.name);
            counts.take(outcome, again);
        }
    }
}

const REPLAY: &str =
    "cargo test --features testing --test simulation replayed_story -- --nocapture";

#[test]
fn dying_before_amid_and_after_every_action_and_line_breaks_no_promise() {
    let mut counts = Counts::default();
    for scenario in scenarios() {
        one_by_one(&scenario, &mut counts);
    }
    let mut proof = Proof::of(
        "A daemon that dies before or after any action or line, by SIGKILL or by a power cut, \
         loses, duplicates and leaks nothing",
        "the daemon's core over a simulated node, scheduler, clock and disk; every scenario is \
         told once for each point and each kind of death",
    );
    counts.say(&mut proof);
    for point in demanded() {
        let (what, side, death) = point;
        match counts.hits.get(&point) {
            Some(_) => proof.one("crash points demanded and died at"),
            None => counts.violations.push(format!(
                "nobody died ({death:?}) {side} {what}: a scenario is missing"
            )),
        }
    }
    proof.add(
        "crash points died at, with those inside verbs",
        counts.hits.len() as u64,
    );
    proof.conclude("simulation_crash_points", &counts.violations);
}

/// The seeds that once broke a promise.
fn regressions() -> Vec<u64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/regressions");
    let text = fs::read_to_string(path).unwrap();
    let seeds = text
        .lines()
        .filter_map(|l| l.split('#').next()?.trim().parse().ok());
    seeds.collect()
}

fn asked_for() -> Option<u64> {
    std::env::var("RIKLET_SEED").ok()?.parse().ok()
}

#[test]
fn whatever_happens_and_whenever_it_dies_every_promise_is_kept() {
    let first = 1_000_000;
    let seeds: Vec<u64> = match asked_for() {
        Some(seed) => vec![seed],
        None => {
            let fresh = first..first + proof::rounds(3_000, 120_000);
            regressions().into_iter().chain(fresh).collect()
        }
    };
    let mut counts = Counts::default();
    for seed in seeds {
        counts.take(walk(seed, false), || format!("make replay SEED={seed}"));
    }
    let mut proof = Proof::of(
        "Whatever happens in whatever order, with deaths anywhere, also in the recovery from a \
         death: nothing accepted is lost, nothing runs twice, every state arrives in order, \
         nothing is left over",
        format!("random walks by seed, from {first} on (make replay SEED=n tells one)"),
    );
    counts.say(&mut proof);
    proof.add("different crash points died at", counts.hits.len() as u64);
    proof.conclude("simulation_walks", &counts.violations);
}

/// The walks of a theme: a happening is thrown in so often that the theme is in every walk.
fn themed(name: &'static str, promise: &'static str, run: fn(u64) -> Outcome, walks: (u64, u64)) {
    let mut counts = Counts::default();
    for seed in 0..proof::rounds(walks.0, walks.1) {
        counts.take(run(seed), || format!("seed {seed} of {name}"));
    }
    let mut proof = Proof::of(
        promise,
        "by seed, over the simulated node, scheduler and clocks",
    );
    counts.say(&mut proof);
    proof.conclude(name, &counts.violations);
}

#[test]
fn s06_completed_work_runs_once_through_twenty_crashes_and_reboots() {
    themed(
        "simulation_s06",
        "Completed work (Never, OnFailure with 0) runs once through twenty crashes and reboots",
        theme::completed_work,
        (60, 2_000),
    );
}

#[test]
fn s06_completed_work_of_pods_with_init_containers_and_sidecars_runs_once() {
    themed(
        "simulation_s06_pods",
        "Completed work of pods (main containers; init containers within a sandbox) runs once \
         through twenty crashes and reboots",
        theme::completed_pods,
        (60, 2_000),
    );
}

#[test]
fn what_is_evicted_never_starts_again_wherever_the_daemon_dies() {
    themed(
        "simulation_evictions",
        "What was evicted is ended and never started again, by SIGKILL and power cuts at any point, \
         until another generation or a destroy; nothing is done by a verdict that isn't durable",
        theme::evictions,
        (60, 2_000),
    );
}

#[test]
fn s29_wall_time_that_steps_neither_stalls_nor_storms() {
    themed(
        "simulation_s29",
        "Wall time steps by -1 h, +1 year, -40 s during create, backoff and stop: nothing stalls, \
         nothing storms",
        theme::clock_steps,
        (60, 2_000),
    );
}

#[test]
fn s30_a_scheduler_that_was_away_for_ten_minutes_hears_every_state_in_order() {
    themed(
        "simulation_s30",
        "The scheduler is away for ten minutes under churn and deaths: every state arrives, in \
         order, none lost, TERMINATED once",
        theme::scheduler_away,
        (60, 2_000),
    );
}

/// `make replay SEED=n`: the story of one walk; or of a scenario, by STORY, AT and DEATH.
#[test]
fn replayed_story() {
    let outcome = match (asked_for(), std::env::var("STORY").ok()) {
        (Some(seed), _) => walk(seed, true),
        (None, Some(name)) => {
            let death = match std::env::var("DEATH").as_deref() {
                Ok("Power") => Death::Power,
                _ => Death::Process,
            };
            let at = std::env::var("AT").ok().and_then(|at| at.parse().ok());
            let traps: Vec<_> = at.map(|at: u64| (at, death)).into_iter().collect();
            let named = scenarios().into_iter().find(|s| s.name == name);
            named.unwrap().run(&traps, true).0
        }
        // Nobody asked for a story.
        (None, None) => return,
    };
    println!("{}", outcome.story.join("\n"));
    println!("broken: {:#?}", outcome.violations);
}
