//! docs/recovery.md is true: a daemon is put into each degraded mode, shows what the page says
//! that it shows, and every command of the page's section is run there.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod days {
    #[allow(dead_code, reason = "a part of it is used")]
    pub mod programs;
}
mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    #[allow(dead_code, reason = "a part of it is used")]
    pub mod proof;
}

use std::{fs, path::Path, process::Command};

use days::programs::{BAD_DAY, Programs};
use serde_json::json;
use support::{
    daemon::{Daemon, Said, process_runs},
    proof::Proof,
};

/// What `web` of every section runs.
const SERVE: &str = r#"trap "exit 0" TERM; echo hello; sleep 1000000 & wait"#;

/// A section of the page.
struct Section {
    mode: String,
    /// What `status` shows, with `…` for what differs from case to case.
    shown: Vec<String>,
    /// Its commands, each with the exit code that the page says, 0 if it says none.
    commands: Vec<(String, i32)>,
}

/// The page's sections whose title is one word.
fn sections() -> Vec<Section> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/recovery.md");
    let page = fs::read_to_string(page).unwrap();
    let mut sections: Vec<Section> = Vec::new();
    let mut fence = None;
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ")
            && fence.is_none()
        {
            sections.push(Section {
                mode: title.to_owned(),
                shown: Vec::new(),
                commands: Vec::new(),
            });
        } else if let Some(kind) = line.strip_prefix("```") {
            fence = fence.is_none().then_some(kind);
        } else if let (Some(kind), Some(section)) = (fence, sections.last_mut()) {
            match kind {
                "text" => section.shown.push(line.to_owned()),
                "sh" => section.commands.push(command(line)),
                _ => {}
            }
        }
    }
    assert!(fence.is_none(), "a fence that never ends");
    sections.retain(|section| !section.mode.contains(' '));
    sections
}

/// A line of a fence: `riklet state verify   # exits with 1: …`.
fn command(line: &str) -> (String, i32) {
    let (command, remark) = line.split_once(" # ").unwrap_or((line, ""));
    let code = remark.strip_prefix("exits with ");
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect();
    let code = code.map(|rest| -> String { digits(rest) });
    (
        command.trim().to_owned(),
        code.map_or(0, |code| code.parse().unwrap()),
    )
}

fn section(mode: &str) -> Section {
    let mut sections = sections().into_iter();
    let found = sections.find(|section| section.mode == mode);
    found.unwrap_or_else(|| panic!("docs/recovery.md has no section {mode}"))
}

/// Runs a command of the page, with this node's paths in place of the installed ones.
fn run(daemon: &Daemon, command: &str) -> Said {
    let text = command
        .replace("/var/lib/riklet", daemon.state().to_str().unwrap())
        .replace("/run/riklet", daemon.run().to_str().unwrap());
    let riklet = Path::new(env!("CARGO_BIN_EXE_riklet"));
    let path = format!(
        "{}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin",
        riklet.parent().unwrap().display()
    );
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &text]).env_clear().env("PATH", path);
    shell.env("RIKLET_STATE_DIR", daemon.state());
    shell.env("RIKLET_SOCKET", daemon.run().join("riklet.sock"));
    shell.env("RIKLET_CONFIG", daemon.dir().join("riklet.toml"));
    daemon.finish(shell)
}

/// Do the pieces of this, which `…` separates, stand in the text in this order?
fn shows(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('…').all(|piece| {
        let found = rest.find(piece.trim());
        found.is_some_and(|at| {
            rest = &rest[at + piece.trim().len()..];
            true
        })
    })
}

fn shown_modes(daemon: &Daemon) -> Vec<String> {
    let status = daemon.status();
    let modes = status["degraded"].as_array().unwrap().iter();
    let name = |mode: &serde_json::Value| mode["mode"].as_str().unwrap().to_owned();
    modes.map(name).collect()
}

/// Waits until the mode is on, and lives its section: what it shows, and its commands, which are
/// good for a running instance `web`, too.
fn live(daemon: &Daemon, mode: &str, proof: &mut Proof) {
    let section = section(mode);
    daemon.wait(&format!("{mode} to be shown"), |d| {
        shown_modes(d).iter().any(|m| m == mode).then_some(())
    });
    let status = daemon.ok(&["status"]).out;
    println!("{status}");
    for word in ["meanwhile: ", "mend: "] {
        assert!(status.contains(word), "{mode}: no {word:?} in\n{status}");
    }
    assert!(!section.shown.is_empty(), "{mode}: what does status show?");
    for shown in &section.shown {
        let shown = shown.replace("/var/lib/riklet", daemon.state().to_str().unwrap());
        assert!(shows(&status, &shown), "{mode}: no {shown:?} in\n{status}");
    }
    assert!(!section.commands.is_empty(), "{mode}: what can one do?");
    for (command, code) in &section.commands {
        let said = run(daemon, command);
        println!("$ {command}\n{}{}", said.out, said.err);
        assert_eq!(said.code, *code, "{mode}: {command}: {said:#?}");
        proof.one("commands run");
    }
    proof.one("modes entered and shown");
}

/// It is left by itself, or by what the page says.
fn left(daemon: &Daemon, mode: &str, proof: &mut Proof) {
    daemon.wait(&format!("{mode} to be left"), |d| {
        (!shown_modes(d).iter().any(|m| m == mode)).then_some(())
    });
    proof.one("modes left");
}

/// A node with one instance that runs, and its pid.
fn node(prepared: Daemon) -> (Daemon, i32) {
    let mut daemon = prepared;
    daemon.start();
    daemon.apply(&daemon.definition("web", SERVE));
    daemon.until("web@cli", "Running");
    let pid = daemon.pids()["web@cli"][0];
    (daemon, pid)
}

fn proof() -> Proof {
    Proof::of(
        "docs/recovery.md is true",
        "a daemon in each degraded mode shows what the page says, and each of its commands is run",
    )
}

#[test]
fn store_rebuilt_is_shown_once_and_as_the_page_says() {
    let mut proof = proof();
    let (mut daemon, pid) = node(Daemon::prepare());
    daemon.kill9();
    fs::remove_dir_all(daemon.state().join("db")).unwrap();
    daemon.start();
    live(&daemon, "StoreRebuilt", &mut proof);
    daemon.restart();
    left(&daemon, "StoreRebuilt", &mut proof);
    assert_eq!(daemon.pids()["web@cli"], [pid]);
    proof.conclude("recovery_store_rebuilt", &[]);
}

#[test]
fn store_off_is_as_the_page_says() {
    let mut proof = proof();
    let (mut daemon, pid) = node(Daemon::prepare());
    daemon.kill9();
    let db = daemon.state().join("db");
    daemon.write_protect(&db);
    daemon.start();
    live(&daemon, "StoreOff", &mut proof);
    assert_eq!(daemon.pids()["web@cli"], [pid]);
    daemon.unmount(&db);
    daemon.restart();
    left(&daemon, "StoreOff", &mut proof);
    proof.conclude("recovery_store_off", &[]);
}

#[test]
fn journal_damaged_is_as_the_page_says() {
    let mut proof = proof();
    let (mut daemon, pid) = node(Daemon::prepare());
    daemon.kill9();
    let journal = daemon.state().join("journal");
    let mut segments: Vec<_> = fs::read_dir(journal)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    segments.sort();
    let text = fs::read_to_string(&segments[0]).unwrap();
    // What was accepted was durable before the client heard of it: damage, not a tail.
    let at = text.find("\"definition\"").expect("an accepted line");
    let mut bytes = fs::read(&segments[0]).unwrap();
    bytes[at + 20] ^= 1;
    fs::write(&segments[0], bytes).unwrap();
    daemon.start();
    live(&daemon, "JournalDamaged", &mut proof);
    left(&daemon, "JournalDamaged", &mut proof);
    assert_eq!(daemon.pids()["web@cli"], [pid]);
    proof.conclude("recovery_journal_damaged", &[]);
}

#[test]
fn journal_lost_is_as_the_page_says() {
    let mut proof = proof();
    let (mut daemon, pid) = node(Daemon::prepare());
    daemon.kill9();
    fs::remove_dir_all(daemon.state().join("journal")).unwrap();
    daemon.start();
    live(&daemon, "JournalLost", &mut proof);
    assert_eq!(daemon.pids()["web@cli"], [pid]);
    daemon.restart();
    left(&daemon, "JournalLost", &mut proof);
    proof.conclude("recovery_journal_lost", &[]);
}

#[test]
fn journal_read_only_is_as_the_page_says() {
    let mut proof = proof();
    let (daemon, pid) = node(Daemon::prepare());
    let journal = daemon.state().join("journal");
    // What a filesystem that the kernel made read-only is like: no write to any file of it.
    daemon.freeze(&journal);
    let refused = daemon.cli(&["delete", "web"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    live(&daemon, "JournalReadOnly", &mut proof);
    assert!(process_runs(pid));
    daemon.wait("a second try, by itself", |d| {
        (d.log().matches("the journal is read-only").count() >= 2).then_some(())
    });
    daemon.thaw(&journal);
    left(&daemon, "JournalReadOnly", &mut proof);
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();
    let lines = daemon.lines();
    let told = |kind: &str| {
        let mut lines = lines.iter().filter(|l| l["kind"] == kind);
        lines.any(|l| l["mode"] == "JournalReadOnly")
    };
    assert!(
        told("degraded_entered") && told("degraded_left"),
        "said afterwards"
    );
    proof.conclude("recovery_journal_read_only", &[]);
}

/// Writes until the disk is full.
fn fill(file: &Path) {
    let mut file = fs::File::create(file).unwrap();
    let block = vec![0; 64 << 10];
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
}

#[test]
fn disk_full_is_as_the_page_says() {
    let mut proof = proof();
    let mut daemon = Daemon::prepare();
    let pods = daemon.state().join("pods");
    fs::create_dir(&pods).unwrap();
    daemon.mount(&["-t", "tmpfs", "-o", "size=1m", "riklet-test"], &pods);
    let (daemon, pid) = node(daemon);
    let ballast = pods.join("somebody-elses");
    fill(&ballast);
    daemon.apply(&daemon.definition("stuck", SERVE));
    live(&daemon, "DiskFull", &mut proof);
    // The journal's own space is looked at every 5 s, and is no reason to leave it.
    daemon.wait("a second try to start it", |d| {
        let failed = d
            .lines()
            .into_iter()
            .filter(|l| l["kind"] == "sandbox_failed" || l["kind"] == "start_failed");
        (failed.count() == 2).then_some(())
    });
    assert!(process_runs(pid));
    fs::remove_file(ballast).unwrap();
    daemon.until("stuck@cli", "Running");
    left(&daemon, "DiskFull", &mut proof);
    let changes = daemon
        .lines()
        .into_iter()
        .filter(|l| l["mode"] == "DiskFull");
    assert_eq!(changes.count(), 2, "entered once and left once");
    proof.conclude("recovery_disk_full", &[]);
}

#[test]
fn unclaimed_is_as_the_page_says() {
    let mut proof = proof();
    let (mut daemon, pid) = node(Daemon::prepare());
    daemon.kill9();
    for dir in ["journal", "db"] {
        fs::remove_dir_all(daemon.state().join(dir)).unwrap();
    }
    daemon.start();
    assert!(process_runs(pid));
    live(&daemon, "Unclaimed", &mut proof);
    left(&daemon, "Unclaimed", &mut proof);
    assert!(!process_runs(pid));
    proof.conclude("recovery_unclaimed", &[]);
}

#[test]
fn runtime_hung_and_runtime_missing_are_as_the_page_says() {
    let mut proof = proof();
    let daemon = Daemon::prepare();
    let programs = Programs::write(&daemon.dir().join("bin"), &daemon.state());
    let daemon = daemon
        .config("[deadlines]\nruntime = \"2s\"\n")
        .config(&programs.config());
    let (daemon, pid) = node(daemon);
    programs.hide("runc", true);
    daemon.apply(&daemon.definition("stuck", SERVE));
    live(&daemon, "RuntimeMissing", &mut proof);
    programs.hide("runc", false);
    daemon.until("stuck@cli", "Running");
    left(&daemon, "RuntimeMissing", &mut proof);
    daemon.ok(&["delete", "stuck"]);
    daemon.wait("it to be gone", |d| {
        d.row("stuck@cli").is_none().then_some(())
    });

    let mut hangs = daemon.definition("stuck", SERVE);
    let env = hangs["spec"]["containers"][0]["env"].as_array_mut();
    env.unwrap()
        .push(json!({ "name": BAD_DAY, "value": "hangs" }));
    daemon.apply(&hangs);
    live(&daemon, "RuntimeHung", &mut proof);
    assert_eq!(daemon.pids()["web@cli"], [pid]);
    proof.conclude("recovery_runtime", &[]);
}

#[test]
fn network_missing_is_as_the_page_says() {
    let mut proof = proof();
    let daemon = Daemon::prepare();
    let dir = daemon.dir().join("plugins");
    fs::create_dir(&dir).unwrap();
    let (daemon, pid) = node(daemon.network(&format!("bin_dirs = [{dir:?}]\n")));
    live(&daemon, "NetworkMissing", &mut proof);
    for plugin in ["bridge", "host-local", "portmap"] {
        let from = Path::new("/usr/lib/cni").join(plugin);
        std::os::unix::fs::symlink(from, dir.join(plugin)).unwrap();
    }
    left(&daemon, "NetworkMissing", &mut proof);
    assert_eq!(daemon.pids()["web@cli"], [pid]);
    proof.conclude("recovery_network_missing", &[]);
}

#[test]
fn scheduler_lost_is_as_the_page_says() {
    let mut proof = proof();
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (daemon, pid) = node(Daemon::prepare().scheduler(&format!("http://{address}")));
    live(&daemon, "SchedulerLost", &mut proof);
    assert_eq!(daemon.pids()["web@cli"], [pid]);
    proof.conclude("recovery_scheduler_lost", &[]);
}

#[test]
fn manifests_unreadable_is_as_the_page_says() {
    let mut proof = proof();
    let (daemon, pid) = node(Daemon::prepare());
    let dir = daemon.dir().join("manifests");
    let static_pod = daemon.definition("static", SERVE).to_string();
    fs::write(dir.join("static.json"), static_pod).unwrap();
    daemon.until("static@manifest", "Running");
    let static_pid = daemon.pids()["static@manifest"][0];
    let aside = daemon.dir().join("aside");
    fs::rename(&dir, &aside).unwrap();
    live(&daemon, "ManifestsUnreadable", &mut proof);
    assert!(process_runs(pid) && process_runs(static_pid));
    fs::rename(&aside, &dir).unwrap();
    left(&daemon, "ManifestsUnreadable", &mut proof);
    assert!(process_runs(pid) && process_runs(static_pid));
    proof.conclude("recovery_manifests_unreadable", &[]);
}
