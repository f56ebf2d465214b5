//! S01 of exit files: a damaged one is never taken for another exit.

use std::fs;

use serde_json::{Value, json};

use super::{
    kinds::{KINDS, Kind, damage},
    world::node,
};
use crate::support::daemon::{Daemon, process_runs, signal};

/// Exits with 37 when it is told to.
const JOB: &str = r#"trap "exit 37" USR1; echo ran; sleep 1000000 & wait"#;

struct Job {
    instance: String,
    kind: Kind,
    /// Is the copy on tmpfs damaged, too?
    both: bool,
    uid: String,
    pid: i32,
}

/// One copy damaged in every way; both in those after which nothing of them can be read.
fn jobs(node: &Daemon) -> Vec<Job> {
    let legible = [Kind::Truncated, Kind::Flipped];
    let one = KINDS.iter().map(|kind| (*kind, false));
    let both = KINDS.iter().map(|kind| (*kind, true));
    let both = both.filter(|(kind, _)| !legible.contains(kind));
    let cases: Vec<_> = one
        .chain(both)
        .filter(|(kind, _)| *kind != Kind::Old)
        .collect();
    for (n, _) in cases.iter().enumerate() {
        let mut definition = node.definition(&format!("job-{n}"), JOB);
        definition["spec"]["restartPolicy"] = json!("Never");
        node.apply(&definition);
    }
    let job = |(n, (kind, both)): (usize, (Kind, bool))| {
        let instance = format!("job-{n}@cli");
        let row = node.until(&instance, "Running");
        let pid = row["containers"][0]["pid"].as_i64().unwrap();
        Job {
            uid: row["uid"].as_str().unwrap().to_owned(),
            pid: i32::try_from(pid).unwrap(),
            instance,
            kind,
            both,
        }
    };
    cases.into_iter().enumerate().map(job).collect()
}

#[test]
fn s01_a_damaged_exit_file_is_never_taken_for_another_exit() {
    let mut node = node();
    node.start();
    let jobs = jobs(&node);
    node.wait("all to listen", |d| {
        let listens = |job: &Job| d.logs(&job.instance).contains("ran");
        jobs.iter().all(listens).then_some(())
    });
    node.kill9();
    let aside = node.dir().join("aside");
    for (n, job) in jobs.iter().enumerate() {
        signal(job.pid, "USR1");
        let id = format!("{}-0-1", job.uid);
        let kept = node.state().join("exits").join(&id);
        let fast = node.run().join("p").join(&id).join("exit");
        node.wait("its exit file", |_| {
            let ended = !process_runs(job.pid) && kept.is_file() && fast.is_file();
            ended.then_some(())
        });
        let to = aside.join(n.to_string());
        fs::create_dir_all(&to).unwrap();
        damage(&kept, job.kind, &to, &to, 11);
        if job.both {
            let to = to.join("fast");
            fs::create_dir_all(&to).unwrap();
            damage(&fast, job.kind, &to, &to, 11);
        }
    }
    node.start();
    for job in &jobs {
        let row = node.wait(&format!("the end of {}", job.instance), |d| {
            let row = d.row(&job.instance)?;
            (row["containers"][0]["state"] == "exited").then_some(row)
        });
        let code = &row["containers"][0]["exit_code"];
        let legible = [Kind::Truncated, Kind::Flipped].contains(&job.kind);
        let holds = match (job.both, legible) {
            (true, _) => *code == Value::Null,
            (false, true) => *code == Value::Null || *code == 37,
            (false, false) => *code == 37,
        };
        assert!(holds, "{:?}, both: {}: {row}", job.kind, job.both);
    }
    for job in &jobs {
        node.ok(&["delete", &job.instance]);
    }
    node.until_nothing_is_left();
}
