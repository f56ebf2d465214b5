//! Footprint: memory at rest with 50 instances, after 1,000 starts and destroys, and what an
//! idle minute costs.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench ends at what it can't do, and runs programs"
)]

mod support;

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{
    World, block_on,
    figures::{Figures, say, verdict},
    names,
};

const INSTANCES: usize = 50;
/// How long memory settles before it is looked at.
const SETTLES: Duration = Duration::from_secs(5);
/// The system calls of which an idle daemon makes none.
const FORBIDDEN: [&str; 6] = ["fork", "vfork", "clone", "execve", "fsync", "fdatasync"];

/// How long idleness is looked at.
fn minute() -> Duration {
    let asked = std::env::var("BENCH_IDLE_SECONDS").ok();
    Duration::from_secs(asked.and_then(|n| n.parse().ok()).unwrap_or(60))
}

fn cycles() -> usize {
    let asked = std::env::var("BENCH_CYCLES").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(20)
}

async fn rest(world: &World, when: &str) -> f64 {
    tokio::time::sleep(SETTLES).await;
    let resident = world.daemon.resident();
    let (all, heap) = (resident.all as f64 / 1e3, resident.anonymous as f64 / 1e3);
    say(format_args!(
        "{when:<44} {all:.1} MB resident, {heap:.1} MB of it its own; {} threads",
        resident.threads
    ));
    all
}

/// What strace counts of the forbidden calls in a minute, and of starts of threads; none if
/// there is no strace.
async fn traced(world: &World) -> Option<(Vec<String>, usize)> {
    let log = world.dir.join("strace.log");
    // The samples of the disks show that the trace is alive: without them it proves nothing.
    let trace = format!("--trace={},clone3,statfs", FORBIDDEN.join(","));
    let mut strace = Command::new("strace")
        .args(["-f", "-q", "-o"])
        .arg(&log)
        .args([&trace, "-p", &world.daemon.pid().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    tokio::time::sleep(minute()).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(strace.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    strace.wait().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let (alive, lines): (Vec<_>, Vec<_>) = text
        .lines()
        .filter(|l| l.contains('('))
        .partition(|l| l.contains("statfs"));
    assert!(!alive.is_empty(), "strace saw nothing at all");
    let (threads, rest): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|l| l.contains("CLONE_THREAD"));
    Some((rest.into_iter().map(str::to_owned).collect(), threads.len()))
}

fn main() {
    block_on(async {
        let world = World::open().await;
        rest(&world, "at rest, nothing runs").await;
        let ids = names("first", INSTANCES);
        world.place(&ids).await;
        let first = rest(&world, "at rest, 50 instances").await;

        let cpu = world.daemon.cpu();
        tokio::time::sleep(minute()).await;
        let idle = (world.daemon.cpu() - cpu).as_secs_f64() / minute().as_secs_f64() * 100.0;
        match traced(&world).await {
            Some((calls, threads)) => {
                for call in calls.iter().take(20) {
                    say(format_args!("   {call}"));
                }
                let n = calls.len();
                say(format_args!(
                    "=> forks and syncs in an idle minute: {n} (threads: {threads})"
                ));
            }
            None => say("=> forks and syncs in an idle minute: unknown, there is no strace"),
        }
        world.destroy(&ids).await;

        let (mut starts, mut ends) = (Figures::default(), Figures::default());
        let began = Instant::now();
        for cycle in 0..cycles() {
            let ids = names(&format!("c{cycle}"), INSTANCES);
            starts.add(world.place(&ids).await.as_secs_f64() * 1e3);
            ends.add(world.destroy(&ids).await.as_secs_f64() * 1e3);
        }
        let count = cycles() * INSTANCES;
        say(format_args!(
            "{count} starts and destroys in {:.0} s",
            began.elapsed().as_secs_f64()
        ));
        starts.print("50 starts", "ms");
        ends.print("50 destroys", "ms");
        rest(&world, "after them, nothing runs").await;
        world.place(&names("last", INSTANCES)).await;
        let last = rest(&world, "after them, 50 instances").await;
        world.assert_well_behaved();
        verdict("resident, 50 instances", first, 25.0, "MB");
        verdict("resident, 50 instances, after the rest", last, 25.0, "MB");
        verdict("idle processor time", idle, 0.5, "% of a core");
    });
}
