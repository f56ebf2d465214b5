//! The main job, against the built daemon: what the scheduler says runs, and is still running
//! after a crash, or the loss of the database.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
}

use std::net::SocketAddr;

use riklet::testing::scheduler::{Core, Event, Manners, Scheduler};
use support::daemon::{Daemon, SOON};

/// Says hello, then waits for SIGTERM.
const SERVE: &str = r#"trap "exit 0" TERM; echo hello; sleep 1000000 & wait"#;

async fn scheduler(manners: Manners) -> Scheduler {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Scheduler::start(any, manners).await.unwrap()
}

/// (instance, status name, reason) of every instance state that arrived since event `from`.
fn states(core: &Core, from: usize) -> Vec<(String, String)> {
    let (events, _) = core.events(from);
    let state = |event| match event {
        Event::Instance {
            instance, status, ..
        } => Some((instance, status)),
        _ => None,
    };
    events.into_iter().filter_map(state).collect()
}

async fn until_state(scheduler: &Scheduler, instance: &str, status: &str) {
    let what = format!("{instance} to be {status}");
    let seen = |core: &Core| (core.instances.get(instance)?.status == status).then_some(());
    scheduler.wait(&what, SOON, seen).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_placed_runs_and_what_is_destroyed_leaves_nothing() {
    let scheduler = scheduler(Manners::Kind).await;
    let mut daemon = Daemon::prepare().scheduler(&scheduler.url());
    daemon.start();
    let definition = daemon.definition("web", SERVE).to_string();
    scheduler.create("web-1", &definition).unwrap();
    until_state(&scheduler, "web-1", "RUNNING").await;
    assert_eq!(daemon.until("web-1", "Running")["source"], "scheduler");
    daemon.wait("its log", |d| (d.logs("web-1") == "hello\n").then_some(()));
    assert_eq!(daemon.pids()["web-1"].len(), 1);
    assert!(daemon.plan().is_empty(), "{:?}", daemon.plan());

    // What is looked for afterwards is there now, and is seen.
    let there = daemon.leaks().join("\n");
    for what in [
        "process ",
        "mount ",
        "netns ",
        "cgroup ",
        "state/pods/",
        "run/runc/",
    ] {
        assert!(there.contains(what), "no {what:?} in {there}");
    }

    scheduler.destroy("web-1").unwrap();
    let gone = |core: &Core| core.terminated.contains_key("web-1").then_some(());
    scheduler.wait("TERMINATED", SOON, gone).await.unwrap();
    daemon.until_nothing_is_left();
    let of = |(_, status): (String, String)| status;
    let order: Vec<_> = scheduler.look(|core| states(core, 0).into_iter().map(of).collect());
    assert_eq!(order, ["CREATING", "RUNNING", "DESTROYING", "TERMINATED"]);
    let violations = scheduler.look(|core| core.violations.clone());
    assert!(violations.is_empty(), "{violations:#?}");
}
