//! The storm: daemon, monitors, runc, skopeo and umoci are killed by the hundred while workloads
//! come, go, end and are replaced; and what is true afterwards is said by no code of riklet's.
//!
//! Each kill comes 0 to 30 ms after a drawn kind of line was seen in the journal or a drawn kind
//! of child was seen in the node's cgroups. `RIKLET_SEED=n` draws another storm.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that says what it measured, and runs its own workloads' program; clippy knows \
              only #[test] functions as such"
)]

mod support {
    pub(crate) mod daemon;
    pub(crate) mod gauge;
    pub(crate) mod image;
    pub(crate) mod leaks;
    #[allow(dead_code, unreachable_pub, reason = "a part of it is used")]
    pub(crate) mod proof;
    pub(crate) mod registry;
    pub(crate) mod witness;
}

mod gale {
    pub(crate) mod churn;
    pub(crate) mod draw;
    pub(crate) mod prey;
    pub(crate) mod tail;
    pub(crate) mod truth;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use gale::{
    churn::{Churn, Sort},
    draw::Draw,
    prey::{self, CHILDREN, Prey},
    tail::Tail,
    truth::{Truth, Wire},
};
use riklet::testing::scheduler::{Manners, Scheduler};
use support::{
    daemon::{Daemon, SOON},
    gauge::{Margins, Settling, Weight, grown, weigh},
    image::Image,
    proof::{Proof, rounds},
    registry::{self, Registry},
    witness::{self, Witness},
};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What a storm may add to what the daemon weighs.
const MARGINS: Margins = Margins {
    segments: None,
    journal: 3 * MIB,
    store: 8 * MIB,
};

const SEED: u64 = 20_261_122;

/// Kinds of lines after which is killed.
const LINES: [&str; 14] = [
    "accepted",
    "replaced",
    "destroy_accepted",
    "image_ready",
    "attempt_intended",
    "created",
    "started",
    "exited",
    "stop_requested",
    "step_removed",
    "removed",
    "acknowledged",
    "daemon_started",
    "image_failed",
];

/// A trigger that doesn't come within so long is drawn again.
const PATIENCE: Duration = Duration::from_secs(4);

/// Bounds of the journal, small, so that segments and snapshots come and go in the storm.
const SETTINGS: &str = "[journal]\nsegment = \"64KiB\"\nhistory_size = \"512KiB\"\n\
                        history_always = \"256KiB\"";

fn seed() -> u64 {
    let asked = std::env::var("RIKLET_SEED").ok();
    asked.and_then(|seed| seed.parse().ok()).unwrap_or(SEED)
}

/// After what is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Line(&'static str),
    Child(&'static str),
    /// The daemon's own start.
    Spawn,
}

impl Trigger {
    fn name(self) -> String {
        match self {
            Self::Line(kind) => format!("line {kind}"),
            Self::Child(kind) => format!("child {kind}"),
            Self::Spawn => "start of the daemon".to_owned(),
        }
    }
}

/// What was seen at one look.
#[derive(Default)]
struct Look {
    lines: BTreeSet<String>,
    began: Vec<Prey>,
    now: BTreeSet<Prey>,
}

struct Storm<'a> {
    daemon: &'a mut Daemon,
    churn: Churn<'a>,
    wire: Wire<'a>,
    tail: Tail,
    tree: PathBuf,
    draw: Draw,
    before: BTreeSet<Prey>,
    changed: Instant,
    /// The daemon is dead until then.
    dead_until: Option<Instant>,
    spawned: Option<Instant>,
    kills: BTreeMap<(String, String), u64>,
    misses: u64,
    /// Containers whose monitor was killed.
    unwatched: BTreeSet<String>,
    violations: Vec<String>,
}

impl Storm<'_> {
    /// Looks at everything, changes what is wanted when it is time, and starts a dead daemon
    /// when it is time.
    fn look(&mut self) -> Look {
        if self.changed.elapsed() > Duration::from_millis(120) {
            self.changed = Instant::now();
            self.churn.change();
            self.violations.extend(prey::doubles(&self.tree));
            self.wire.news();
        }
        if self.dead_until.is_some_and(|at| Instant::now() >= at) {
            self.dead_until = None;
            self.daemon.spawn();
            self.spawned = Some(Instant::now());
        }
        if self.dead_until.is_none() && !self.daemon.alive() {
            let text = format!("the daemon ended by itself: {}", self.daemon.log_tail());
            self.violations.push(text);
            self.daemon.reap();
            self.daemon.spawn();
        }
        let news = self.tail.news();
        let kind = |line: &serde_json::Value| line["kind"].as_str().unwrap_or("").to_owned();
        let now = prey::at_work(&self.tree);
        let began = now.difference(&self.before).cloned().collect();
        self.before.clone_from(&now);
        Look {
            lines: news.iter().map(kind).collect(),
            began,
            now,
        }
    }

    /// A pause between two looks; the processors are needed by what is looked at.
    fn pause() {
        thread::sleep(Duration::from_millis(1));
    }

    /// Draws after what this victim is killed.
    fn trigger(&mut self, victim: &'static str) -> Trigger {
        let child = *self.draw.one_of(&CHILDREN).unwrap();
        let line = *self.draw.one_of(&LINES).unwrap();
        let line_first = self.draw.percent(65);
        match victim {
            "daemon" if self.draw.percent(7) => Trigger::Spawn,
            "daemon" | "conmon" if line_first => Trigger::Line(line),
            "daemon" => Trigger::Child(child),
            // Short-lived: 30 ms after most lines there is none, and so it is drawn again.
            _ if self.draw.percent(35) => Trigger::Line(line),
            _ => Trigger::Child(victim),
        }
    }

    /// Kills one `victim` after a drawn trigger; draws until one was there to be killed.
    fn strike(&mut self, victim: &'static str) {
        let limit = Instant::now() + Duration::from_secs(90);
        loop {
            let trigger = self.trigger(victim);
            let delay = Duration::from_millis(self.draw.below(31));
            if let Some(first) = self.until(trigger)
                && self.kill(victim, delay, first)
            {
                let entry = (victim.to_owned(), trigger.name());
                *self.kills.entry(entry).or_default() += 1;
                return;
            }
            self.misses += 1;
            assert!(Instant::now() < limit, "no {victim} to kill for 90 s");
        }
    }

    /// Waits for the trigger; gives the child that it was, if it was one.
    fn until(&mut self, trigger: Trigger) -> Option<Option<Prey>> {
        let limit = Instant::now() + PATIENCE;
        if trigger == Trigger::Spawn {
            self.kill_daemon(Duration::ZERO);
        }
        while Instant::now() < limit {
            let look = self.look();
            match trigger {
                Trigger::Line(kind) if look.lines.contains(kind) => return Some(None),
                Trigger::Child(kind) => {
                    if let Some(prey) = look.began.into_iter().find(|prey| prey.kind == kind) {
                        return Some(Some(prey));
                    }
                }
                Trigger::Spawn if self.dead_until.is_none() => return Some(None),
                Trigger::Line(_) | Trigger::Spawn => {}
            }
            Self::pause();
        }
        None
    }

    fn kill(&mut self, victim: &'static str, delay: Duration, first: Option<Prey>) -> bool {
        let at = Instant::now() + delay;
        let mut now = BTreeSet::new();
        while Instant::now() < at {
            now = self.look().now;
            Self::pause();
        }
        if victim == "daemon" {
            if self.dead_until.is_some() {
                return false;
            }
            let dead = if self.draw.percent(30) {
                self.draw.below(600)
            } else {
                0
            };
            self.kill_daemon(Duration::from_millis(dead));
            return true;
        }
        if now.is_empty() {
            now = self.look().now;
        }
        let of_kind = now.into_iter().filter(|prey| prey.kind == victim);
        let others: Vec<_> = of_kind.collect();
        let first = first.filter(|prey| prey.kind == victim);
        let Some(prey) = first.or_else(|| self.draw.one_of(&others).cloned()) else {
            return false;
        };
        if !prey.kill() {
            return false;
        }
        if victim == "conmon" {
            self.unwatched.insert(prey.container());
        }
        true
    }

    fn kill_daemon(&mut self, dead: Duration) {
        if self.dead_until.is_none() {
            self.daemon.kill9();
            self.spawned = None;
        }
        self.dead_until = Some(Instant::now() + dead);
    }
}

/// Who is killed, in a drawn order: the daemon two times in five, the others alike.
fn victims(kills: u64, draw: &mut Draw) -> Vec<&'static str> {
    let others = kills * 3 / 20;
    let mut all: Vec<_> = CHILDREN
        .iter()
        .flat_map(|kind| (0..others).map(|_| *kind))
        .collect();
    all.resize(usize::try_from(kills).unwrap(), "daemon");
    draw.shuffle(&mut all);
    all
}

/// A daemon that has just started and has nothing to do, weighed.
fn weigh_at_rest(daemon: &mut Daemon) -> Weight {
    daemon.restart();
    daemon.wait_within(2 * SOON, "a link without backlog", |d| {
        let status = d.status();
        let linked = status["link"]["state"] == "registered";
        (linked && status["unacknowledged"] == 0 && d.plan().is_empty()).then_some(())
    });
    daemon.wait("starts to begin", |d| {
        d.log().contains("starts begin").then_some(())
    });
    let mut settling = Settling::new();
    daemon.wait("a weight that stands", |d| {
        settling.look(weigh(d.pid(), &d.state()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn storm_nothing_is_lost_doubled_or_left_when_everything_is_killed() {
    let (seed, kills) = (seed(), rounds(40, 200));
    println!("seed {seed}; again: RIKLET_SEED={seed} cargo test --features testing --test storm");
    let mut proof = Proof::of(
        "kills of the daemon and of everything that it runs lose nothing, double nothing, leave \
         nothing",
        format!(
            "SIGKILL 0 to 30 ms after a drawn line or child, under churn with a real registry; \
             truth from locks and connections of the workloads, cgroups, /proc; seed {seed}"
        ),
    );
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let scheduler = Scheduler::start(any, Manners::Kind).await.unwrap();
    let registry = Registry::start();
    let mut daemon = Daemon::prepare()
        .scheduler(&scheduler.url())
        .config(SETTINGS)
        .env("RIKLET_IMAGES__INSECURE_REGISTRIES", &registry.address());
    let holder = witness::holder(daemon.dir());
    let base = Image::default().program("holder", &holder);
    base.push(daemon.dir(), &registry.image("storm:base"));
    let witness = Witness::start(&daemon.node(), &daemon.dir().join("witness.log"));
    let mut churn = Churn::new(&scheduler, &witness, &registry, seed ^ 1);
    daemon.start();

    let tail = Tail::of(&daemon.state());
    let before = warm_up(&mut daemon, &mut churn, &scheduler).await;
    let mut storm = Storm {
        churn,
        wire: Wire::of(&scheduler),
        tail,
        tree: PathBuf::new(),
        draw: Draw::from(seed),
        before: BTreeSet::new(),
        changed: Instant::now(),
        dead_until: None,
        spawned: None,
        kills: BTreeMap::new(),
        misses: 0,
        unwatched: BTreeSet::new(),
        violations: Vec::new(),
        daemon: &mut daemon,
    };
    storm.tail.news();
    storm.tree = prey::tree(&storm.tail.node().unwrap());
    let began = Instant::now();
    let order = victims(kills, &mut storm.draw);
    for victim in order {
        storm.strike(victim);
    }
    println!("{kills} kills in {:?}", began.elapsed());
    let converged = Instant::now();
    calm(&mut storm, &witness, &scheduler);
    println!("converged after {:?}", converged.elapsed());

    let mut truth = Truth {
        tail: &storm.tail,
        churn: &storm.churn,
        unwatched: &storm.unwatched,
        runs: witness.runs(),
        violations: std::mem::take(&mut storm.violations),
    };
    truth.violations.extend(witness.violations());
    truth.violations.extend(storm.tail.violations.clone());
    truth
        .violations
        .extend(scheduler.look(|core| core.violations.clone()));
    truth.judge_runs(&mut proof);
    truth.judge_wire(&storm.wire);
    let mut violations = truth.violations;

    // Every instance goes, and with it everything.
    storm.churn.destroy_all(|_| true);
    let (churn, tail) = (&storm.churn, &mut storm.tail);
    let daemon = &storm.daemon;
    daemon.wait_within(3 * SOON, "everything to be gone", |_| {
        tail.news();
        let missing = gale::truth::missing(churn, tail, &witness, &scheduler);
        missing.is_empty().then_some(())
    });
    storm.daemon.until_nothing_is_left();
    println!(
        "at the end: {}",
        weigh(storm.daemon.pid(), &storm.daemon.state())
    );
    let after = weigh_at_rest(storm.daemon);
    println!("before: {before}\nafter:  {after}");
    violations.extend(grown(&before, &after, &MARGINS));
    let verified = storm.daemon.ok(&["state", "verify"]);
    println!("{}", verified.out);
    report(&storm, &mut proof);
    proof.add("KiB of memory before", before.memory / KIB);
    proof.add("KiB of memory after", after.memory / KIB);
    proof.add("fds before", before.fds);
    proof.add("fds after", after.fds);
    proof.add("KiB of journal after", after.journal / KIB);
    proof.add("segments after", after.segments);
    proof.add("KiB of store after", after.store / KIB);
    if !violations.is_empty() {
        violations.push(format!(
            "again: RIKLET_SEED={seed} cargo test --features testing --test storm"
        ));
    }
    proof.conclude("storm", &violations);
}

/// One of each sort through its whole life, and what the daemon weighs after it.
async fn warm_up(daemon: &mut Daemon, churn: &mut Churn<'_>, scheduler: &Scheduler) -> Weight {
    let sorts = [Sort::Service, Sort::Apart, Sort::Once(0), Sort::Retried];
    for sort in sorts {
        let image = churn.image();
        churn.create_one(sort, image);
    }
    let settled = |core: &riklet::testing::scheduler::Core| {
        let left: Vec<_> = core.instances.values().collect();
        (left.len() == 2 && left.iter().all(|i| i.status == "RUNNING")).then_some(())
    };
    scheduler
        .wait("the warm-up", 2 * SOON, settled)
        .await
        .unwrap();
    churn.destroy_all(|_| true);
    let gone = |core: &riklet::testing::scheduler::Core| core.instances.is_empty().then_some(());
    scheduler.wait("its end", SOON, gone).await.unwrap();
    weigh_at_rest(daemon)
}

/// The wind falls: nothing is killed or changed any more, and what is wanted comes true.
fn calm(storm: &mut Storm<'_>, witness: &Witness, scheduler: &Scheduler) {
    if storm.dead_until.take().is_some() {
        storm.daemon.spawn();
    }
    storm.churn.destroy_all(|sort| sort == Sort::Crasher);
    // Longer than any backoff that a few kills of one instance can lead to.
    let limit = Duration::from_secs(200);
    let (tail, wire, churn) = (&mut storm.tail, &mut storm.wire, &storm.churn);
    let began = Instant::now();
    loop {
        tail.news();
        wire.news();
        let missing = gale::truth::missing(churn, tail, witness, scheduler);
        if missing.is_empty() {
            break;
        }
        if began.elapsed() > limit {
            let plan = storm.daemon.cli(&["plan", "-o", "json"]).out;
            panic!(
                "not within {limit:?}: {missing:#?}\nplan: {plan}\n{}",
                storm.daemon.log_tail()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    storm
        .daemon
        .wait_within(2 * SOON, "an empty plan and no backlog", |d| {
            tail.news();
            wire.news();
            let status = d.cli(&["status", "-o", "json"]);
            let done = status.code == 0 && status.json()["unacknowledged"] == 0;
            (done && d.plan().is_empty()).then_some(())
        });
    tail.news();
    wire.news();
    let tree = &storm.tree;
    storm
        .violations
        .extend(gale::truth::monitors(tree, &storm.unwatched, tail));
}

/// The histogram, printed and counted.
fn report(storm: &Storm<'_>, proof: &mut Proof) {
    println!(
        "kills, by victim and by what they came after ({} misses):",
        storm.misses
    );
    let mut by_victim: BTreeMap<&str, u64> = BTreeMap::new();
    for ((victim, trigger), count) in &storm.kills {
        println!("{count:>5}  {victim:<8} {trigger}");
        *by_victim.entry(victim).or_default() += count;
    }
    for (victim, count) in &by_victim {
        proof.add(format!("kills of {victim}"), *count);
        assert!(*count >= 5, "{count} kills of {victim}");
    }
    assert_eq!(by_victim.len(), 5, "{by_victim:?}");
    for (what, count) in &storm.churn.counts {
        proof.add(what.clone(), *count);
    }
    proof.add("lines of the journal", storm.tail.lines.len() as u64);
}

/// A workload's process without any container.
fn copy_of(program: &std::path::Path, witness: &Witness, instance: &str) -> std::process::Child {
    std::process::Command::new(program)
        .env("WITNESS", witness.name())
        .env("INSTANCE", instance)
        .env("GEN", "1")
        .spawn()
        .unwrap()
}

#[test]
fn the_witness_sees_a_second_copy_and_not_one_that_follows_a_dead_one() {
    let dir = tempfile::tempdir().unwrap();
    witness::holder(dir.path());
    let program = dir.path().join("holder");
    let name = format!("{}", dir.path().display());
    let witness = Witness::start(&name, &dir.path().join("witness.log"));
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        registry::wait_for(what, || holds().then_some(()));
    };
    // One after the other, as soon as the kernel has let go of the former: no violation.
    for n in 0..20 {
        let mut child = copy_of(&program, &witness, "web");
        until("a call", &|| witness.runs().len() == n + 1);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(witness.violations(), Vec::<String>::new());
    let mut children = [0, 1].map(|n| {
        let child = copy_of(&program, &witness, "web");
        until("a call", &|| {
            witness.runs().len() == 21 + n && witness.runs()[20].holds
        });
        child
    });
    until("both violations", &|| witness.violations().len() == 2);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let seen = witness.violations().join("\n");
    assert!(seen.contains("two living copies of web"), "{seen}");
    assert!(seen.contains("the lock of web is taken"), "{seen}");
}
