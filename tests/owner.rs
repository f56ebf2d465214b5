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

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

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

/// A skopeo that never ends, nor does what it has sent into a session of its own.
const ENDLESS: &str = "#!/bin/sh\n\
    setsid sleep 1000000 &\n\
    echo \"$! $$\" >\"$0.new\"\n\
    mv \"$0.new\" \"$0.pids\"\n\
    exec sleep 1000000\n";

#[test]
fn the_children_of_a_dead_daemon_are_ended_before_the_next_one_looks() {
    let daemon = Daemon::prepare();
    let skopeo = daemon.dir().join("skopeo");
    fs::write(&skopeo, ENDLESS).unwrap();
    fs::set_permissions(&skopeo, fs::Permissions::from_mode(0o755)).unwrap();
    let settings = format!("[programs]\nskopeo = {:?}", skopeo.display().to_string());
    let mut daemon = daemon.config(&settings);
    daemon.start();
    daemon.apply(&daemon.definition("web", "exec sleep 1000000"));
    let children = daemon.wait("skopeo to begin", |d| {
        let text = fs::read_to_string(d.dir().join("skopeo.pids")).ok()?;
        let pids: Vec<i32> = text
            .split_whitespace()
            .map(|p| p.parse().unwrap())
            .collect();
        Some(pids)
    });
    daemon.kill9();
    assert!(
        children.iter().all(|pid| process_runs(*pid)),
        "{children:?}"
    );
    daemon.start();
    let still = children.iter().filter(|pid| process_runs(**pid)).count();
    assert_eq!(still, 0, "of the dead daemon's children {children:?}");
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();
}
