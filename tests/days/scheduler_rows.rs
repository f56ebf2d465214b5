//! The scheduler says something strange, or is not there.

use serde_json::json;

use super::{
    table::{Row, Seen, matches},
    world::{RUNS, World},
};

/// A container that only SIGKILL ends; its grace is 1 s.
const STAYS: &str = "trap '' TERM; while :; do sleep 1 & wait; done";

pub const ROWS: &[Row] = &[
    Row {
        input: "destroy of an unknown id",
        wire: "",
        code: 3,
        line: "riklet: there is no instance \"nobody\" (see `riklet ps`)",
        modes: "",
        case: unknown_destroy,
    },
    Row {
        input: "create of a live id, equal",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "twin@cli unchanged",
        modes: "",
        case: equal_create,
    },
    Row {
        input: "create of a live id, other",
        wire: "CREATING > RUNNING > CREATING Replacing > CREATING > RUNNING",
        code: 0,
        line: "twin is Running: every container runs",
        modes: "",
        case: other_create,
    },
    Row {
        input: "create while it is being destroyed",
        wire: "CREATING > RUNNING > DESTROYING > TERMINATED > CREATING > RUNNING",
        code: 0,
        line: "again is Running: every container runs",
        modes: "",
        case: create_while_destroyed,
    },
    Row {
        input: "action 7 for a live id",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "seven is Running: every container runs",
        modes: "",
        case: action_seven,
    },
    Row {
        input: "action 7 for an unknown id",
        wire: "FAILED Unsupported",
        code: 0,
        line: "seven is Failed (Unsupported): action 7 is neither CREATE (0) nor DESTROY (1)",
        modes: "",
        case: |w| {
            w.send_raw("seven", "", 7);
            w.until_wire("seven", "FAILED *");
            w.seen("seven", &["explain", "seven"])
        },
    },
    Row {
        input: "scheduler goes away",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "lonely is Running: every container runs",
        modes: "SchedulerLost (left)",
        case: scheduler_away,
    },
    Row {
        input: "scheduler absent at the start",
        wire: "",
        code: 0,
        line: "lonely@cli created",
        modes: "SchedulerLost",
        case: scheduler_absent,
    },
    Row {
        input: "scheduler dies in mid-stream",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "storm is Running: every container runs",
        modes: "SchedulerLost (left)",
        case: dies_mid_stream,
    },
    Row {
        input: "scheduler answers AlreadyExists",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "taken is Running: every container runs",
        modes: "SchedulerLost (left)",
        case: already_exists,
    },
];

fn unknown_destroy(w: &mut World) -> Seen {
    w.send_raw("nobody", "", 1);
    w.barrier();
    // It is counted, and shown.
    let notes = w.node.status()["notes"].to_string();
    assert!(
        notes.contains("1 destroy of ids that are not known here"),
        "{notes}"
    );
    w.seen("nobody", &["delete", "nobody"])
}

fn equal_create(w: &mut World) -> Seen {
    let definition = w.definition("twin", RUNS).to_string();
    w.create("twin", &definition);
    w.until_wire("twin", "*RUNNING");
    w.node.apply(&w.definition("twin", RUNS));
    w.node.until("twin@cli", "Running");
    let before = w.node.pids();
    w.create("twin", &definition);
    w.barrier();
    let seen = w.seen_applying("twin", &definition);
    assert_eq!(w.node.pids(), before);
    seen
}

fn other_create(w: &mut World) -> Seen {
    w.create("twin", &w.definition("twin", RUNS).to_string());
    w.until_wire("twin", "*RUNNING");
    let before = w.node.pids();
    w.create(
        "twin",
        &w.definition("twin", &format!("true; {RUNS}")).to_string(),
    );
    w.until_wire("twin", "*Replacing > CREATING > RUNNING");
    assert_ne!(w.node.pids()["twin"], before["twin"]);
    assert_eq!(w.node.row("twin").unwrap()["generation"], json!(2));
    w.seen("twin", &["explain", "twin"])
}

fn create_while_destroyed(w: &mut World) -> Seen {
    let uid = |w: &World| w.node.row("again").map(|row| row["uid"].to_string());
    w.create("again", &w.definition("again", STAYS).to_string());
    w.until_wire("again", "*RUNNING");
    let former = uid(w);
    w.scheduler.destroy("again").unwrap();
    w.until_wire("again", "*DESTROYING");
    // The controller forgets the id with its TERMINATED, so it is sent past it.
    w.send_raw("again", &w.definition("again", RUNS).to_string(), 0);
    w.until_wire("again", "*TERMINATED > CREATING > RUNNING");
    assert_ne!(uid(w), former);
    w.seen("again", &["explain", "again"])
}

fn action_seven(w: &mut World) -> Seen {
    w.create("seven", &w.definition("seven", RUNS).to_string());
    w.until_wire("seven", "*RUNNING");
    let before = w.node.pids();
    w.scheduler.send_raw(&w.node.node(), "seven", "", 7);
    w.barrier();
    assert_eq!(w.node.pids(), before);
    let refused = w.node.status()["refused"].to_string();
    assert!(refused.contains("action 7 is neither CREATE (0) nor DESTROY (1)"));
    w.seen("seven", &["explain", "seven"])
}

fn until_link(w: &World, state: &str) {
    w.node.wait(&format!("the link to be {state}"), |node| {
        let status = node.status();
        let lost = |d: &serde_json::Value| d["mode"] == "SchedulerLost";
        let shown = status["degraded"].as_array().unwrap().iter().any(lost);
        (status["link"]["state"] == state && shown == (state == "lost")).then_some(())
    });
}

fn scheduler_away(w: &mut World) -> Seen {
    w.create("lonely", &w.definition("lonely", RUNS).to_string());
    w.until_wire("lonely", "*RUNNING");
    w.scheduler.die();
    until_link(w, "lost");
    w.node
        .wait("the link's line to say why it is lost", |node| {
            let said = node.ok(&["status"]).out;
            let mut lines = said.lines();
            let line = lines.find(|line| line.starts_with("Scheduler"))?.to_owned();
            let why = "Scheduler*lost at http://127.0.0.1:*, for *: *onnection refused*";
            matches(why, &line).then_some(())
        });
    w.revive();
    until_link(w, "registered");
    w.barrier();
    w.seen("lonely", &["explain", "lonely"])
}

fn scheduler_absent(w: &mut World) -> Seen {
    w.node.terminate();
    w.scheduler.die();
    w.node.start();
    until_link(w, "lost");
    let definition = w.definition("lonely", RUNS).to_string();
    let seen = w.seen_applying("lonely", &definition);
    w.node.until("lonely@cli", "Running");
    w.revive();
    until_link(w, "registered");
    seen
}

fn dies_mid_stream(w: &mut World) -> Seen {
    w.scheduler.fault(|faults| faults.dies_at_status = Some(1));
    w.create("storm", &w.definition("storm", RUNS).to_string());
    w.node.wait("the link to have been lost", |_| {
        w.modes().contains("SchedulerLost").then_some(())
    });
    w.until_wire("storm", "*RUNNING");
    until_link(w, "registered");
    w.seen("storm", &["explain", "storm"])
}

fn already_exists(w: &mut World) -> Seen {
    w.create("taken", &w.definition("taken", RUNS).to_string());
    w.until_wire("taken", "*RUNNING");
    w.scheduler.fault(|faults| faults.names_taken = 2);
    w.scheduler.cut();
    w.node.wait("the name to be said to be taken", |node| {
        let why = node.status()["link"]["error"].to_string();
        why.contains("already has a node named").then_some(())
    });
    until_link(w, "registered");
    w.barrier();
    w.seen("taken", &["explain", "taken"])
}
