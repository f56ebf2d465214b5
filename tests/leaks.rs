//! `riklet leaks`: names what is there and shouldn't be, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
}

use std::{collections::BTreeSet, fs, path::PathBuf};

use support::daemon::{Daemon, Said};

const WAITS: &str = "trap 'exit 0' TERM; while :; do sleep 1000000 & wait; done";

fn leaks(daemon: &Daemon) -> Said {
    let run = daemon.run();
    daemon.cli(&["leaks", "-o", "json", "--run-dir", run.to_str().unwrap()])
}

/// Kinds and names of what was found.
fn found(said: &Said) -> BTreeSet<(String, String)> {
    let view = said.json();
    let leaks = view["leaks"].as_array().unwrap().iter();
    leaks
        .map(|leak| {
            assert!(!leak["why"].as_str().unwrap().is_empty());
            assert!(!leak["mend"].as_str().unwrap().is_empty());
            let text = |key: &str| leak[key].as_str().unwrap().to_owned();
            (text("kind"), text("what"))
        })
        .collect()
}

#[test]
fn what_runs_is_no_leak_and_what_is_left_over_is_named() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    daemon.apply(&daemon.definition("former", WAITS));
    let former = daemon.until("former@cli", "Running");
    daemon.apply(&daemon.definition("web", WAITS));
    let web = daemon.until("web@cli", "Running");
    daemon.ok(&["delete", "former"]);
    daemon.wait("its end", |d| d.row("former@cli").is_none().then_some(()));
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");
    // The run directory is found by the socket, too.
    let text = daemon.ok(&["leaks"]).out;
    assert_eq!(text, "no leaks\n");
    daemon.kill9();
    let none = leaks(&daemon);
    assert_eq!((none.code, found(&none).len()), (0, 0), "{none:?}");

    let uid = |row: &serde_json::Value| row["uid"].as_str().unwrap().to_owned();
    let (former, web) = (uid(&former), uid(&web));
    let (state, run) = (daemon.state(), daemon.run());
    let planted: Vec<(&str, PathBuf)> = vec![
        ("runtime", run.join(format!("runc/{former}-0-1"))),
        ("monitor", run.join(format!("p/{web}-0-7"))),
        ("exit", state.join(format!("exits/{former}-0-1"))),
        ("bundle", state.join(format!("pods/{web}/0-7"))),
        ("sandbox", state.join(format!("pods/{former}"))),
        ("namespaces", run.join(format!("ns/{former}"))),
        ("log", state.join("logs/0000000000")),
    ];
    for (_, path) in &planted {
        fs::create_dir_all(path).unwrap();
    }
    let netns = format!("rk-{former}");
    riklet::network::netns::create(&netns).unwrap();
    // Somebody else's, by the looks of it.
    let foreign = format!("rk-foreign{}", std::process::id());
    riklet::network::netns::create(&foreign).unwrap();
    let node = fs::read_to_string(run.join("owner")).unwrap();
    let cgroups = riklet::runtime::cgroup::Cgroups::detect(&format!("/riklet-{}", node.trim()));
    let cgroups = cgroups.unwrap();
    cgroups.create(&format!("pods/{web}/0-7")).unwrap();
    let at = state.join(format!("pods/{former}"));
    daemon.mount(&["-t", "tmpfs", "tmpfs"], &at);

    let said = leaks(&daemon);
    riklet::network::netns::delete(&foreign).unwrap();
    assert_eq!(said.code, 1, "{said:?}");
    let mut wanted: BTreeSet<(String, String)> = planted
        .iter()
        .map(|(kind, path)| ((*kind).to_owned(), path.display().to_string()))
        .collect();
    for (kind, what) in [
        ("netns", format!("/run/netns/{netns}")),
        ("cgroup", cgroups.cgroups_path(&format!("pods/{web}/0-7"))),
        ("mount", at.display().to_string()),
    ] {
        wanted.insert((kind.to_owned(), what));
    }
    assert_eq!(found(&said), wanted);

    daemon.unmount(&at);
    cgroups.remove(&format!("pods/{web}/0-7")).unwrap();
    riklet::network::netns::delete(&netns).unwrap();
    for (_, path) in &planted {
        fs::remove_dir_all(path).unwrap();
    }
    daemon.start();
    assert_eq!(leaks(&daemon).code, 0);
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();
    assert_eq!(leaks(&daemon).code, 0);
}
