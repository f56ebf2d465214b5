//! Static manifests, held by a real daemon over a real directory.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
}

use std::{
    fs,
    os::{fd::AsRawFd as _, unix::fs::symlink},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::Mode,
    unistd::mkfifo,
};
use serde_json::Value;
use support::daemon::{Daemon, process_runs, signal};

const SERVE: &str = r#"trap "exit 0" TERM; echo hello; sleep 1000000 & wait"#;

fn manifests(daemon: &Daemon) -> PathBuf {
    daemon.dir().join("manifests")
}

/// The manifest of a Pod; another `version` is another workload.
fn manifest(daemon: &Daemon, name: &str, version: u32) -> String {
    let mut pod = daemon.definition(name, SERVE);
    let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    env.push(serde_json::json!({ "name": "VERSION", "value": version.to_string() }));
    pod.to_string()
}

/// Written as it should be: whole, or not there.
fn put(dir: &Path, file: &str, text: &str) {
    let hidden = dir.join(format!(".{file}.new"));
    fs::write(&hidden, text).unwrap();
    fs::rename(hidden, dir.join(file)).unwrap();
}

fn until_generation(daemon: &Daemon, instance: &str, generation: u64) {
    daemon.wait(&format!("generation {generation} of {instance}"), |d| {
        let row = d.row(instance)?;
        (row["generation"] == generation && row["state"] == "Running").then_some(())
    });
}

fn until_gone(daemon: &Daemon, instance: &str) {
    daemon.wait(&format!("{instance} to be gone"), |d| {
        d.row(instance).is_none().then_some(())
    });
}

/// Waits for a fault of this file in `status`, and returns its message.
fn fault(daemon: &Daemon, file: &str) -> String {
    daemon.wait(&format!("a fault of {file}"), |d| {
        let status = d.status();
        let mut faults = status["manifest_faults"].as_array().unwrap().iter();
        let found = faults.find(|fault| fault["file"] == file)?;
        Some(found["message"].as_str().unwrap().to_owned())
    })
}

fn is_degraded(daemon: &Daemon) -> bool {
    let status = daemon.status();
    let modes = status["degraded"].as_array().unwrap().clone();
    let is = |mode: &Value| mode["mode"] == "ManifestsUnreadable";
    modes.iter().any(is)
}

fn until_degraded(daemon: &Daemon, degraded: bool) {
    daemon.wait("ManifestsUnreadable to change", |d| {
        (is_degraded(d) == degraded).then_some(())
    });
}

#[test]
fn files_added_changed_and_removed_are_instances_added_changed_and_removed() {
    let mut daemon = Daemon::prepare();
    let dir = manifests(&daemon);
    put(&dir, "early.json", &manifest(&daemon, "early", 1));
    daemon.start();
    daemon.until("early@manifest", "Running");
    let early = daemon.pids()["early@manifest"].clone();
    put(&dir, "web.json", &manifest(&daemon, "web", 1));
    daemon.until("web@manifest", "Running");
    put(&dir, "web.json", &manifest(&daemon, "web", 2));
    until_generation(&daemon, "web@manifest", 2);

    let refused = daemon.cli(&["delete", "web"]);
    assert_eq!(refused.code, 1, "a manifest's is its file's: {refused:?}");
    daemon.apply(&daemon.definition("web", SERVE));
    daemon.until("web@cli", "Running");

    fs::remove_file(dir.join("web.json")).unwrap();
    until_gone(&daemon, "web@manifest");
    assert!(daemon.row("web@cli").is_some(), "another source's");
    daemon.ok(&["delete", "web"]);

    // Removed and added while nobody looks.
    put(&dir, "late.json", &manifest(&daemon, "late", 1));
    daemon.until("late@manifest", "Running");
    daemon.kill9();
    fs::remove_file(dir.join("late.json")).unwrap();
    put(&dir, "later.json", &manifest(&daemon, "later", 1));
    daemon.start();
    daemon.until("later@manifest", "Running");
    until_gone(&daemon, "late@manifest");
    assert_eq!(daemon.pids()["early@manifest"], early);
}

#[test]
fn a_broken_manifest_leaves_its_former_version_running_and_shows_in_status_and_ps() {
    let mut daemon = Daemon::prepare();
    let dir = manifests(&daemon);
    put(&dir, "web.json", &manifest(&daemon, "web", 1));
    daemon.start();
    daemon.until("web@manifest", "Running");
    let pid = daemon.pids()["web@manifest"][0];
    let broken = manifest(&daemon, "web", 2).replace("\"image\"", "\"imago\"");
    put(&dir, "web.json", &broken);
    let why = fault(&daemon, "web.json");
    assert!(why.contains("spec.containers[0].imago"), "{why}");
    let row = daemon.row("web.json").expect("a row of ps");
    assert_eq!(
        (&row["state"], &row["source"]),
        (&"NotTaken".into(), &"manifest".into())
    );
    assert_eq!(row["reason"], "InvalidDefinition");
    let shown = daemon.ok(&["status"]).out;
    assert!(
        shown.contains("web.json: ") && shown.contains("imago"),
        "{shown}"
    );
    assert!(
        daemon
            .ok(&["ps"])
            .out
            .contains("NotTaken (InvalidDefinition)")
    );

    mkfifo(&dir.join("fifo.yaml"), Mode::S_IRWXU).unwrap();
    assert_eq!(fault(&daemon, "fifo.yaml"), "is not a regular file");
    put(&dir, "z.json", &manifest(&daemon, "web", 3));
    let second = fault(&daemon, "z.json");
    assert!(
        second.contains("web.json has a Pod of this name already"),
        "{second}"
    );
    fs::remove_file(dir.join("z.json")).unwrap();
    daemon.restart();
    assert!(fault(&daemon, "web.json").contains("imago"));
    assert_eq!(daemon.pids()["web@manifest"], [pid]);

    fs::remove_file(dir.join("fifo.yaml")).unwrap();
    put(&dir, "web.json", &manifest(&daemon, "web", 4));
    until_generation(&daemon, "web@manifest", 2);
    daemon.wait("no fault to be left", |d| {
        let status = d.status();
        status["manifest_faults"]
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    });
    assert!(!process_runs(pid));
}

#[test]
fn a_directory_that_vanishes_destroys_nothing_and_is_followed_again_when_it_is_back() {
    let mut daemon = Daemon::prepare();
    let dir = manifests(&daemon);
    let releases = daemon.dir().join("releases");
    for (n, name) in [(1, "one"), (2, "two")] {
        let release = releases.join(n.to_string());
        fs::create_dir_all(&release).unwrap();
        put(&release, "both.json", &manifest(&daemon, "both", n));
        put(
            &release,
            &format!("{name}.json"),
            &manifest(&daemon, name, 1),
        );
    }
    put(&dir, "web.json", &manifest(&daemon, "web", 1));
    daemon.start();
    daemon.until("web@manifest", "Running");
    let pid = daemon.pids()["web@manifest"][0];
    let aside = daemon.dir().join("aside");
    fs::rename(&dir, &aside).unwrap();
    until_degraded(&daemon, true);
    daemon.restart();
    assert!(is_degraded(&daemon), "missing is not empty");
    assert_eq!(daemon.pids()["web@manifest"], [pid]);
    fs::rename(&aside, &dir).unwrap();
    until_degraded(&daemon, false);
    put(&dir, "more.json", &manifest(&daemon, "more", 1));
    daemon.until("more@manifest", "Running");

    // Removed with everything in it and made anew, as `rm -r` and `cp -r` do.
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    put(&dir, "web.json", &manifest(&daemon, "web", 1));
    until_gone(&daemon, "more@manifest");
    assert_eq!(daemon.pids()["web@manifest"], [pid]);

    // Replaced by a link that is swapped.
    fs::remove_dir_all(&dir).unwrap();
    symlink("releases/1", &dir).unwrap();
    daemon.until("one@manifest", "Running");
    let next = daemon.dir().join("next");
    symlink("releases/2", &next).unwrap();
    fs::rename(next, &dir).unwrap();
    daemon.until("two@manifest", "Running");
    until_generation(&daemon, "both@manifest", 2);
    until_gone(&daemon, "one@manifest");
    until_gone(&daemon, "web@manifest");
    assert!(!is_degraded(&daemon));
}

/// Why the directory can't be read, once that is shown.
fn until_unreadable(daemon: &Daemon, limit: Duration) -> String {
    daemon.wait_within(limit, "ManifestsUnreadable", |d| {
        let status = d.status();
        let mut modes = status["degraded"].as_array().unwrap().iter();
        let mode = modes.find(|mode| mode["mode"] == "ManifestsUnreadable")?;
        assert!(!mode["mend"].as_str().unwrap().is_empty());
        Some(mode["detail"].as_str().unwrap().to_owned())
    })
}

/// Everybody else goes on: an instance comes and goes, and what ran runs.
fn others_go_on(daemon: &Daemon, pid: i32) {
    daemon.apply(&daemon.definition("other", SERVE));
    daemon.until("other@cli", "Running");
    daemon.ok(&["delete", "other"]);
    until_gone(daemon, "other@cli");
    assert_eq!(daemon.pids()["web@manifest"], [pid]);
}

#[test]
fn a_directory_that_is_none_or_holds_too_much_destroys_nothing_and_blocks_nobody() {
    let mut daemon = Daemon::prepare();
    let dir = manifests(&daemon);
    put(&dir, "web.json", &manifest(&daemon, "web", 1));
    daemon.start();
    daemon.until("web@manifest", "Running");
    let pid = daemon.pids()["web@manifest"][0];
    let aside = daemon.dir().join("aside");
    let many = |dir: &Path| {
        fs::create_dir(dir).unwrap();
        for n in 0..10_000 {
            fs::write(dir.join(format!("{n}.yaml")), "").unwrap();
        }
    };
    let none = [
        (
            "Not a directory",
            Box::new(|dir: &Path| fs::write(dir, "no directory").unwrap()) as Box<dyn Fn(&Path)>,
        ),
        (
            "Not a directory",
            Box::new(|dir: &Path| mkfifo(dir, Mode::S_IRWXU).unwrap()),
        ),
        (
            "Too many levels of symbolic links",
            Box::new(|dir: &Path| symlink(dir, dir).unwrap()),
        ),
        ("has more than 1000 manifests", Box::new(many)),
    ];
    for (n, (why, make)) in none.into_iter().enumerate() {
        fs::rename(&dir, &aside).unwrap();
        make(&dir);
        let detail = daemon.wait("that reason", |d| {
            let detail = until_unreadable(d, Duration::from_secs(20));
            detail.contains(why).then_some(detail)
        });
        assert!(detail.contains(dir.to_str().unwrap()), "{detail}");
        if n == 0 {
            daemon.restart();
        }
        others_go_on(&daemon, pid);
        if dir.symlink_metadata().unwrap().is_dir() {
            fs::remove_dir_all(&dir).unwrap();
        } else {
            fs::remove_file(&dir).unwrap();
        }
        fs::rename(&aside, &dir).unwrap();
        until_degraded(&daemon, false);
        assert_eq!(daemon.pids()["web@manifest"], [pid]);
    }
    // One file that is too long is its own fault alone.
    put(&dir, "a.json", &"x".repeat(64 << 20));
    let why = fault(&daemon, "a.json");
    assert!(why.contains("which is the limit"), "{why}");
    put(&dir, "web.json", &manifest(&daemon, "web", 2));
    until_generation(&daemon, "web@manifest", 2);
    let rows = daemon.lines();
    let destroyed = rows
        .iter()
        .filter(|line| line["kind"] == "destroy_accepted");
    assert_eq!(destroyed.count(), 4, "the others', and no manifest's");
}

/// A mount on which everything hangs: a FUSE file system that nobody serves. It ends with this
/// value, or with this process.
struct Hanging {
    at: PathBuf,
    served: Option<fs::File>,
}

impl Hanging {
    fn mount(at: &Path) -> Self {
        let served = fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .unwrap();
        let data = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            served.as_raw_fd()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(
            Some("riklet-test"),
            at,
            Some("fuse"),
            flags,
            Some(data.as_str()),
        )
        .unwrap();
        Self {
            at: at.to_owned(),
            served: Some(served),
        }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // Whoever hangs on it is told that it is gone.
        self.served.take();
        umount2(&self.at, MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn a_directory_that_hangs_is_told_and_keeps_nobody_waiting() {
    if !Path::new("/dev/fuse").exists() {
        let may_skip = std::env::var_os("RIKLET_ALLOW_SKIP").is_some_and(|v| v == "1");
        assert!(may_skip, "there is no /dev/fuse");
        return;
    }
    let mut daemon = Daemon::prepare();
    let dir = manifests(&daemon);
    put(&dir, "web.json", &manifest(&daemon, "web", 1));
    daemon.start();
    daemon.until("web@manifest", "Running");
    let pid = daemon.pids()["web@manifest"][0];
    let hanging = Hanging::mount(&dir);
    // A start, too: its first look hangs.
    daemon.restart();
    others_go_on(&daemon, pid);
    let detail = until_unreadable(&daemon, Duration::from_secs(60));
    assert!(detail.contains("takes longer than 30s"), "{detail}");
    others_go_on(&daemon, pid);
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.log_tail());
    assert!(process_runs(pid));
    daemon.start();
    drop(hanging);
    until_degraded(&daemon, false);
    put(&dir, "more.json", &manifest(&daemon, "more", 1));
    daemon.until("more@manifest", "Running");
    assert_eq!(daemon.pids()["web@manifest"], [pid]);
}

#[test]
fn what_changed_while_events_were_lost_is_seen_at_once() {
    let mut daemon = Daemon::prepare();
    let dir = manifests(&daemon);
    for name in [".a", ".b"] {
        fs::write(dir.join(name), "").unwrap();
    }
    daemon.start();
    // Its look leaves a minute until the next one that needs no event.
    put(&dir, "web.json", &manifest(&daemon, "web", 1));
    daemon.until("web@manifest", "Running");
    signal(daemon.pid(), "STOP");
    // More reads than the kernel keeps events of, which mean nothing; after that it drops what
    // does, and says that it dropped something.
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: usize = most.trim().parse().unwrap();
    for n in 0..most + 1000 {
        // By turns, for events that are alike count as one.
        let name = if n % 2 == 0 { ".a" } else { ".b" };
        fs::File::open(dir.join(name)).unwrap();
    }
    put(&dir, "late.json", &manifest(&daemon, "late", 1));
    signal(daemon.pid(), "CONT");
    daemon.until("late@manifest", "Running");
}
