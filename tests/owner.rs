//! One owner: what belongs to a node is never touched by a second daemon.

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

use std::{fs, path::Path};

use support::daemon::{Daemon, process_runs};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_daemon_on_a_copy_of_a_state_dir_touches_nothing_of_the_one_beside_it() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    daemon.apply(&daemon.definition("web", "exec sleep 1000000"));
    daemon.until("web@cli", "Running");
    let pids = daemon.pids();

    // A backup that somebody wants to look into: another state dir and run dir, the same node.
    let (state, run) = (daemon.dir().join("copy"), daemon.dir().join("copy-run"));
    copy(&daemon.state().join("journal"), &state.join("journal"));
    let said = daemon.finish(daemon.command_on(&state, &run));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("another riklet with this node's uid"),
        "{said:?}"
    );

    assert!(pids["web@cli"].iter().all(|pid| process_runs(*pid)));
    assert_eq!(daemon.pids(), pids);
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();

    // Its own next life is not kept out.
    daemon.restart();
}
