//! Every example workload, on the built daemon, comes to what its page says of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test; clippy knows only #[test] functions as such"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "what the page of the examples tells a reader to type"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
}

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use serde_json::Value;
use support::daemon::Daemon;

/// What becomes of a workload.
#[derive(Debug, PartialEq)]
enum Fate {
    Runs,
    Completes,
    IsRestarted,
}

/// (file, container, what becomes of it, text in the container's log)
const EXPECTED: &[(&str, &str, Fate, &str)] = &[
    ("hello", "hello", Fate::Runs, "hello, line 1"),
    ("web", "web", Fate::Runs, ""),
    ("once", "once", Fate::Completes, "done, once and for all"),
    ("crasher", "crasher", Fate::IsRestarted, "about to fail"),
    ("two-containers", "visitor", Fate::Runs, "hello, neighbour"),
    ("env", "env", Fate::Runs, "Good day, node"),
];

fn examples() -> PathBuf {
    let checkout = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    checkout.join("examples/workloads")
}

/// A definition, with the test's image of the same programs in place of the registry's.
fn definition(name: &str, image: &str) -> Value {
    let text = fs::read_to_string(examples().join(format!("{name}.json"))).unwrap();
    assert!(text.contains("busybox:1.36"), "{text}");
    serde_json::from_str(&text.replace("busybox:1.36", image)).unwrap()
}

#[test]
fn every_example_has_an_expectation() {
    let files = fs::read_dir(examples()).unwrap();
    let paths = files.map(|entry| entry.unwrap().path());
    let there: BTreeSet<String> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let expected: BTreeSet<String> = EXPECTED.iter().map(|row| row.0.to_owned()).collect();
    assert_eq!(there, expected);
}

#[test]
fn every_example_does_what_its_page_says() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    for (name, ..) in EXPECTED {
        daemon.apply(&definition(name, &daemon.image()));
    }
    for (name, container, fate, text) in EXPECTED {
        let instance = format!("{name}@cli");
        daemon.wait(&format!("{name} to print {text:?}"), |d| {
            let said = d.cli(&["logs", name, container]);
            (said.code == 0 && said.out.contains(text)).then_some(())
        });
        match fate {
            Fate::Runs => {
                let row = daemon.until(&instance, "Running");
                assert_eq!(row["restarts"], 0, "{row}");
            }
            Fate::Completes => daemon.wait(&format!("{name} to be over"), |d| {
                let story = d.ok(&["explain", name]).out;
                story.contains("Terminated").then_some(())
            }),
            Fate::IsRestarted => daemon.wait(&format!("{name} to be restarted"), |d| {
                let row = d.row(&instance)?;
                (row["restarts"].as_u64()? > 0).then_some(())
            }),
        }
    }
    let uid = daemon.row("web@cli").unwrap()["uid"].clone();
    let netns = format!("rk-{}", uid.as_str().unwrap());
    let page = daemon.wait("web to answer", |_| {
        let output = Command::new("ip")
            .args(["netns", "exec", &netns, "busybox", "wget", "-q", "-O", "-"])
            .arg("http://127.0.0.1:8080/")
            .output()
            .unwrap();
        (output.status.success()).then(|| String::from_utf8(output.stdout).unwrap())
    });
    assert_eq!(page, "It works.\n");
}
