//! `riklet apply --dry-run`.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::pods;

fn dry_run(args: &[&str], text: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_riklet"))
        .args(["apply", "--dry-run", "-f", "-"])
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("riklet starts");
    let mut stdin = child.stdin.take().expect("its stdin");
    // It may end before it has read all.
    let _ = stdin.write_all(text.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("its end")
}

fn document(args: &[&str], text: &str) -> (i32, Value) {
    let output = dry_run(&[args, &["-o", "json"]].concat(), text);
    let code = output.status.code().expect("a code");
    let value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    (code, value)
}

fn pod(name: &str) -> String {
    let found = pods::files().into_iter().find(|(file, _)| file == name);
    found.expect("a pod").1
}

#[test]
fn a_dry_run_prints_the_model_of_every_pod_and_every_warning() {
    let placed = pod("local_account_and_placing_are_ignored");
    let both = format!("{placed}---\n{}", pod("liveness_exec"));
    let (code, answer) = document(&[], &both);
    assert_eq!((code, &answer["runnable"]), (0, &json!(true)));
    assert_eq!(answer["faults"], json!([]));
    let names: Vec<_> = answer["workloads"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|w| (w["name"].clone(), w["instance"].clone()))
        .collect();
    assert_eq!(
        names,
        [
            (json!("placed"), json!("placed@cli")),
            (json!("liveness-exec"), json!("liveness-exec@cli")),
        ]
    );
    let probe = &answer["workloads"][1]["spec"]["containers"][0]["probes"]["liveness"];
    assert_eq!(probe["period"], 5);
    let warnings = answer["warnings"].as_array().expect("a list");
    assert_eq!(warnings.len(), 4);
    assert!(warnings.iter().all(|w| w["workload"] == "placed"));
    assert!(warnings.iter().any(|w| w["path"] == "spec.nodeSelector"));
}

#[test]
fn a_dry_run_of_what_would_be_refused_lists_all_faults_and_ends_with_1() {
    let text = pod("everything_wrong_is_said_at_once");
    let (code, answer) = document(&[], &text);
    assert_eq!((code, &answer["runnable"]), (1, &json!(false)));
    assert_eq!(answer["faults"].as_array().expect("a list").len(), 13);
    let output = dry_run(&[], &text);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("spec.initContainers[1].volumeMounts[0].name names no volume"));
    assert_eq!(said.lines().count(), 1, "{said}");
    for nothing in ["", "---\n", "kind: ConfigMap\nmetadata: {name: a}\n"] {
        let (code, answer) = document(&[], nothing);
        assert_eq!(code, 1, "{answer}");
    }
}

#[test]
fn a_dry_run_shows_no_secret_without_being_asked() {
    let text = pod("config_map_and_secret_as_volumes");
    for args in [&[][..], &["-o", "json"], &["-o", "yaml"]] {
        let output = dry_run(args, &text);
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(said.contains("***") && !said.contains("hunter2"), "{said}");
        let output = dry_run(&[args, &["--show-secrets"]].concat(), &text);
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(said.contains("hunter2"), "{said}");
    }
}
