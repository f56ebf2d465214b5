//! What is asked for is wrong, strange, or both.

use serde_json::json;

use super::{
    table::{Row, Seen},
    world::{RUNS, World},
};

pub const ROWS: &[Row] = &[
    Row {
        input: "a definition that can't be parsed",
        wire: "FAILED InvalidDefinition",
        code: 1,
        line: "riklet: *applied.json: definition is not JSON: EOF while parsing*line 1 column*",
        modes: "",
        case: |w| refused(w, "{\"kind\": \"Pod\", "),
    },
    Row {
        input: "kind: Function",
        wire: "FAILED Unsupported",
        code: 1,
        line: "riklet: *applied.json: kind is Function, which needs a virtual machine; riklet runs only \"Pod\"",
        modes: "",
        case: |w| of_kind(w, "Function"),
    },
    Row {
        input: "an unknown kind",
        wire: "FAILED Unsupported",
        code: 1,
        line: "riklet: *applied.json: kind is Deployment, which a node doesn't run: write its Pod template as a Pod",
        modes: "",
        case: |w| of_kind(w, "Deployment"),
    },
    Row {
        input: "id ../x",
        wire: "",
        code: 1,
        line: "riklet: *applied.json: name is not a name: an instance id has only letters, digits, '.', '_' and '-', this one has '/'",
        modes: "",
        case: |w| illegal_id(w, "../x"),
    },
    Row {
        input: "id of no characters",
        wire: "",
        code: 1,
        line: "riklet: *applied.json: name is not a name: an instance id must not be empty",
        modes: "",
        case: |w| illegal_id(w, ""),
    },
    Row {
        input: "id of 300 characters",
        wire: "",
        code: 1,
        line: "riklet: *applied.json: name is not a name: an instance id has at most 128 characters, this one has 300",
        modes: "",
        case: |w| illegal_id(w, &"x".repeat(300)),
    },
    Row {
        input: "id with a NUL",
        wire: "",
        code: 1,
        line: "riklet: *applied.json: name must not contain a NUL character*",
        modes: "",
        case: |w| illegal_id(w, "a\0b"),
    },
    Row {
        input: "id tasks",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "tasks is Running: every container runs",
        modes: "",
        case: |w| legal_id(w, "tasks"),
    },
    Row {
        input: "id cgroup.procs",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "cgroup.procs is Running: every container runs",
        modes: "",
        case: |w| legal_id(w, "cgroup.procs"),
    },
    Row {
        input: "id and container name that concatenate alike",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "I am aa",
        modes: "",
        case: alike,
    },
    Row {
        input: "a 10 MiB definition",
        wire: "FAILED InvalidDefinition",
        code: 1,
        line: "riklet: *applied.json: the definition has more than 262144 bytes, which is the limit",
        modes: "",
        case: too_big,
    },
    Row {
        input: "explicit nulls",
        wire: "CREATING > RUNNING",
        code: 0,
        line: "nulls is Running: every container runs",
        modes: "",
        case: explicit_nulls,
    },
];

fn refused(w: &mut World, text: &str) -> Seen {
    w.create("refused", text);
    w.until_wire("refused", "FAILED *");
    assert!(!w.wire_message("refused").is_empty());
    w.seen_applying("refused", text)
}

fn of_kind(w: &mut World, kind: &str) -> Seen {
    let mut definition = w.definition("refused", RUNS);
    definition["kind"] = json!(kind);
    refused(w, &definition.to_string())
}

fn illegal_id(w: &mut World, id: &str) -> Seen {
    let mut definition = w.definition("hostile", RUNS);
    w.send_raw(id, &definition.to_string(), 0);
    w.send_raw(id, "", 1);
    w.barrier();
    let status = w.node.status();
    let mut refused = status["refused"].as_array().unwrap().iter();
    let shown: String = id.chars().take(128).collect();
    assert!(refused.any(|r| r["instance"] == *shown), "{status}");
    // No program can be given a NUL.
    if !id.contains('\0') {
        assert_eq!(w.node.cli(&["describe", "--", id]).code, 3);
    }
    definition["name"] = json!(id);
    w.seen_applying(id, &definition.to_string())
}

fn legal_id(w: &mut World, id: &str) -> Seen {
    w.create(id, &w.definition(id, RUNS).to_string());
    w.until_wire(id, "*RUNNING");
    w.seen(id, &["explain", id])
}

fn alike(w: &mut World) -> Seen {
    for (id, container) in [("aa-bb", "cc"), ("aa", "bb-cc")] {
        let mut definition = w.definition("x", &format!("echo I am {id}; {RUNS}"));
        definition["spec"]["containers"][0]["name"] = json!(container);
        w.create(id, &definition.to_string());
    }
    for id in ["aa-bb", "aa"] {
        w.until_wire(id, "*RUNNING");
    }
    let pids = w.node.pids();
    assert_ne!(pids["aa-bb"], pids["aa"]);
    w.node.wait("both to have spoken", |node| {
        let said = |id| !node.logs(id).is_empty();
        (said("aa") && said("aa-bb")).then_some(())
    });
    assert_eq!(w.node.logs("aa-bb"), "I am aa-bb\n");
    w.scheduler.destroy("aa-bb").unwrap();
    w.until_wire("aa-bb", "*TERMINATED");
    assert_eq!(w.node.pids()["aa"], pids["aa"]);
    w.seen("aa", &["logs", "aa"])
}

fn too_big(w: &mut World) -> Seen {
    let mut definition = w.definition("big", RUNS);
    definition["spec"]["containers"][0]["env"][0]["value"] = json!("x".repeat(10 << 20));
    let node = w.node.node();
    let registrations = |w: &World| w.scheduler.look(|core| core.nodes[&node].registrations);
    let before = registrations(w);
    let text = definition.to_string();
    w.create("big", &text);
    w.until_wire("big", "FAILED *");
    let message = w.wire_message("big");
    assert!(message.ends_with("bytes, the limit is 262144"), "{message}");
    assert_eq!(registrations(w), before, "the link was lost");
    w.seen_applying("big", &text)
}

fn explicit_nulls(w: &mut World) -> Seen {
    let definition = w.definition("nulls", RUNS).to_string();
    let mut definition: serde_json::Value =
        serde_json::from_str(&riklet::testing::scheduler::reserialised(&definition).unwrap())
            .unwrap();
    for field in [
        "restartPolicy",
        "hostname",
        "volumes",
        "terminationGracePeriodSeconds",
    ] {
        definition["spec"][field] = json!(null);
    }
    for field in ["command", "args", "workingDir", "resources", "tty"] {
        definition["spec"]["containers"][0][field] = json!(null);
    }
    w.create("nulls", &definition.to_string());
    w.until_wire("nulls", "*RUNNING");
    w.seen("nulls", &["explain", "nulls"])
}
