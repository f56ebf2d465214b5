//! runc, conmon and skopeo have a bad day.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::{
    programs::STUBBORN_TAG,
    table::{Row, Seen},
    world::{DEADLINE, RUNS, World},
};
use crate::support::daemon::{process_runs, signal};

/// How long after its deadline a call has returned, with nothing of it left.
const AFTER_DEADLINE: Duration = Duration::from_secs(1);

pub const ROWS: &[Row] = &[
    Row {
        input: "runc missing",
        wire: "CREATING > FAILED StartError",
        code: 0,
        line: "ill is Failed (StartError): container ill: create the container *: run */bin/runc: no such program; install it or set its path in the configuration*; it is started again",
        modes: "RuntimeMissing",
        case: runc_missing,
    },
    Row {
        input: "runc fails",
        wire: "CREATING > FAILED StartError",
        code: 0,
        line: "ill is Failed (StartError): container ill: create the container *: the moon is in the wrong house; it is started again",
        modes: "",
        case: |w| {
            let definition = w.ill_fated("ill", "fails");
            ill(w, &definition)
        },
    },
    Row {
        input: "conmon killed",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "watched is Running: every container runs; the monitor of container watched is gone, so its exit code may stay unknown",
        modes: "",
        case: conmon_killed,
    },
    Row {
        input: "runc hangs when it is to delete",
        wire: "CREATING > RUNNING > DESTROYING > TERMINATED",
        code: 0,
        line: "ill is Terminated; nothing of it is left on the node",
        modes: "RuntimeHung",
        case: |w| destroyed(w, "delete-hangs"),
    },
    Row {
        input: "runc hangs",
        wire: "CREATING > FAILED StartError",
        code: 0,
        line: "ill is Failed (StartError): container ill: create the container *: the container was not created within 3s*; it is started again",
        modes: "RuntimeHung",
        case: |w| {
            let definition = w.ill_fated("ill", "hangs");
            ill(w, &definition)
        },
    },
    Row {
        input: "runc ignores SIGTERM, its grandchild holds stdout",
        wire: "CREATING > FAILED StartError",
        code: 0,
        line: "ill is Failed (StartError): container ill: start the container *: runc start: not done after 3s, killed; it is started again",
        modes: "RuntimeHung",
        case: |w| {
            let definition = w.ill_fated("ill", "stubborn");
            w.create("ill", &definition);
            ends_in_time(w, "runc", "start_failed");
            w.until_wire("ill", "*FAILED *");
            w.seen("ill", &["explain", "ill"])
        },
    },
    Row {
        input: "skopeo ignores SIGTERM, its grandchild holds stdout",
        wire: "CREATING > FAILED ImagePullBackOff",
        code: 0,
        line: "ill is Failed (ImagePullBackOff): image 127.0.0.1:*: the pull of * was killed: not done after 3s*",
        modes: "RuntimeHung",
        case: |w| {
            let image = w.registry.image(&format!("busybox:{STUBBORN_TAG}"));
            w.create("ill", &w.of_image("ill", &image));
            ends_in_time(w, "skopeo", "image_failed");
            w.until_wire("ill", "*FAILED *");
            w.seen("ill", &["explain", "ill"])
        },
    },
];

fn ill(w: &mut World, definition: &str) -> Seen {
    w.create("ill", definition);
    w.until_wire("ill", "*FAILED *");
    w.seen("ill", &["explain", "ill"])
}

fn destroyed(w: &mut World, day: &str) -> Seen {
    let definition = w.ill_fated("ill", day);
    w.create("ill", &definition);
    w.until_wire("ill", "*RUNNING");
    w.scheduler.destroy("ill").unwrap();
    w.until_wire("ill", "*TERMINATED");
    w.seen("ill", &["explain", "ill"])
}

fn runc_missing(w: &mut World) -> Seen {
    w.programs.hide("runc", true);
    let definition = w.definition("ill", RUNS).to_string();
    let seen = ill(w, &definition);
    w.programs.hide("runc", false);
    // The mode is left by the next start that succeeds.
    w.create("well", &w.definition("well", RUNS).to_string());
    w.until_wire("well", "*RUNNING");
    assert_eq!(w.modes(), "RuntimeMissing (left)");
    seen
}

fn conmon_killed(w: &mut World) -> Seen {
    w.create("watched", &w.definition("watched", RUNS).to_string());
    w.until_wire("watched", "*RUNNING");
    let before = w.node.row("watched").unwrap();
    let id = before["containers"][0]["id"].as_str().unwrap();
    let file = w.node.run().join("p").join(id).join("conmon.pid");
    let monitor = fs::read_to_string(file).unwrap();
    signal(monitor.trim().parse().unwrap(), "KILL");
    let after = w.node.wait("the monitor's loss to be seen", |node| {
        let row = node.row("watched")?;
        (row["containers"][0]["reason"] == "MonitorLost").then_some(row)
    });
    assert_eq!(
        before["containers"][0]["pid"],
        after["containers"][0]["pid"]
    );
    let seen = w.seen("watched", &["explain", "watched"]);
    // The daemon inherits what a killed monitor leaves, so the end and its code are seen.
    let pid = after["containers"][0]["pid"].as_i64().unwrap();
    signal(i32::try_from(pid).unwrap(), "KILL");
    w.until_wire(
        "watched",
        "CREATING > RUNNING > FAILED Error > CREATING > RUNNING",
    );
    let story = w.node.ok(&["explain", "watched"]).out;
    assert!(story.contains("was ended by signal 9"), "{story}");
    seen
}

/// From the start of a stubborn program: at its deadline and a second more nothing of it is left,
/// and a line says how the call ended.
fn ends_in_time(w: &World, program: &str, kind: &str) {
    let what = format!("{program} and its grandchild to run");
    let (began, pids) = w.node.wait(&what, |_| w.programs.stubborn(program));
    let due = began + DEADLINE + AFTER_DEADLINE;
    w.node.wait("the call to end", |_| {
        let empty = w.work().is_empty() && !pids.iter().any(|pid| process_runs(*pid));
        empty.then_some(())
    });
    assert!(SystemTime::now() <= due, "{program} was not ended in time");
    let line = w.node.wait("the call to return", |node| {
        node.lines().into_iter().rfind(|line| line["kind"] == kind)
    });
    let at: jiff::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
    assert!(
        at.as_millisecond() > millis(began),
        "another call's: {line}"
    );
    assert!(at.as_millisecond() <= millis(due), "late: {line}");
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
