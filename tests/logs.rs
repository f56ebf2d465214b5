//! What containers write: put aside when it is much, lost never, and shown by `riklet logs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that says what it measured; clippy knows only #[test] functions as such"
)]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
    pub mod strace;
}

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    mem::MaybeUninit,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::inotify::{self, ReadFlags},
    io::Errno,
};
use serde_json::Value;
use support::{
    daemon::{Daemon, signal},
    strace::Strace,
};

const MIB: u64 = 1024 * 1024;

/// The directory of an instance's logs.
fn directory(daemon: &Daemon, row: &Value) -> PathBuf {
    daemon
        .state()
        .join("logs")
        .join(row["uid"].as_str().unwrap())
}

/// The parts of the first attempt's log that were put aside.
fn parts(dir: &Path) -> BTreeMap<u64, PathBuf> {
    let entries = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            Some((name.strip_prefix("0-1.log.")?.parse().ok()?, path))
        })
        .collect()
}

/// Keeps every part of a log by a link of its own, before it is removed: on a thread that hears of
/// each rename, for a part that was long in coming may go as soon as the next one is there.
struct Keeper {
    from: PathBuf,
    newest: Arc<Mutex<Result<u64, String>>>,
    /// The most bytes that all files together had at once.
    most: u64,
}

impl Keeper {
    fn start(from: &Path, to: &Path) -> Self {
        fs::create_dir(to).unwrap();
        let newest = Arc::new(Mutex::new(Ok(0)));
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        // It ends with the directory.
        inotify::add_watch(&watch, from, inotify::WatchFlags::MOVED_TO).unwrap();
        let (dir, to, told) = (from.to_owned(), to.to_owned(), Arc::clone(&newest));
        let keep = move |known: &mut u64| {
            for (k, path) in parts(&dir).split_off(&(*known + 1)) {
                if k != *known + 1 {
                    return Err(format!("part {k} came after {known}"));
                }
                let kept = fs::hard_link(&path, to.join(format!("{k:03}")));
                kept.map_err(|e| format!("part {k} is gone: {e}"))?;
                *known = k;
            }
            Ok(*known)
        };
        thread::spawn(move || {
            let (mut known, mut buffer) = (0, [MaybeUninit::uninit(); 4096]);
            let mut renames = inotify::Reader::new(watch, &mut buffer);
            loop {
                let kept = keep(&mut known);
                let ended = kept.is_err();
                *told.lock().unwrap() = kept;
                match renames.next() {
                    Ok(event) if !ended && !event.events().contains(ReadFlags::IGNORED) => {}
                    Err(Errno::INTR) => {}
                    _ => return,
                }
            }
        });
        Self {
            from: from.to_owned(),
            newest,
            most: 0,
        }
    }

    fn newest(&self) -> u64 {
        self.newest.lock().unwrap().clone().unwrap()
    }

    fn measure(&mut self) {
        let sizes = fs::read_dir(&self.from).unwrap().filter_map(|entry| {
            // One that is removed meanwhile isn't there at the same time as what follows it.
            Some(entry.ok()?.metadata().ok()?.len())
        });
        self.most = self.most.max(sizes.sum());
    }

    /// Until so many parts have been put aside.
    fn until(&mut self, daemon: &Daemon, parts: u64) {
        let what = format!("{parts} parts");
        daemon.wait_within(Duration::from_secs(90), &what, |d| {
            if d.alive() {
                self.measure();
            }
            (self.newest() >= parts).then_some(())
        });
    }
}

/// Reads numbered lines; panics at a gap or a double.
#[derive(Default)]
struct Count {
    last: u64,
    /// What was written of the next line: a write needn't end where a line does.
    part: String,
}

impl Count {
    fn read(&mut self, path: &Path) -> u64 {
        for line in BufReader::new(File::open(path).unwrap()).lines() {
            let line = line.unwrap();
            let mut fields = line.splitn(4, ' ').skip(2);
            let whole = fields.next() == Some("F");
            self.part.push_str(fields.next().unwrap_or_default());
            if !whole {
                continue;
            }
            let (text, next) = (std::mem::take(&mut self.part), self.last + 1);
            if let Some(begun) = text.strip_suffix("done") {
                assert!(next.to_string().starts_with(begun), "{text:?} for {next}");
                continue;
            }
            assert_eq!(text, next.to_string(), "{}: {line:?}", path.display());
            self.last = next;
        }
        self.last
    }
}

#[test]
fn s22_lines_at_full_speed_over_20_rotations_and_sigkills_have_no_gap_and_no_double() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    let script = "seq 1 1000000000 & while [ ! -e /stop ]; do sleep 0.02; done; \
                  kill $!; wait; echo done; exec sleep 1000000";
    daemon.apply(&daemon.definition("much", script));
    let row = daemon.until("much@cli", "Running");
    let from = directory(&daemon, &row);
    let to = daemon.dir().join("kept");
    let began = Instant::now();
    let mut keeper = Keeper::start(&from, &to);
    keeper.until(&daemon, 8);
    let (speed, most) = (began.elapsed() / 8, keeper.most);
    println!(
        "a part in {speed:?}, at most {most} bytes in {} x 10 MiB",
        5
    );
    assert!(most <= 5 * 10 * MIB * 11 / 10, "{most} bytes");
    for kills in 0..4 {
        daemon.kill9();
        if kills == 1 {
            // As if it had been killed between its two steps, unless it was.
            let newest = *parts(&from).last_key_value().unwrap().0;
            let next = from.join(format!("0-1.log.{}", newest + 1));
            match fs::rename(from.join("0-1.log"), next) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => panic!("{e}"),
                _ => {}
            }
        }
        daemon.start();
        let parts = keeper.newest() + 2;
        keeper.until(&daemon, parts);
    }
    let parts_wanted = 20.max(keeper.newest() + 1);
    keeper.until(&daemon, parts_wanted);
    let pid = daemon.pids()["much@cli"][0];
    fs::write(format!("/proc/{pid}/root/stop"), "").unwrap();
    daemon.wait_within(Duration::from_secs(90), "the last line", |d| {
        let live = fs::read(from.join("0-1.log")).unwrap_or_default();
        (d.alive() && live.ends_with(b"done\n")).then_some(())
    });
    let newest = *parts(&from).last_key_value().unwrap().0;
    keeper.until(&daemon, newest);
    assert!(newest >= 20, "only {newest} parts");
    let mut count = Count::default();
    for k in 1..=newest {
        count.read(&to.join(format!("{k:03}")));
    }
    let last = count.read(&from.join("0-1.log"));
    println!("{last} lines in {newest} parts");
    assert!(parts(&from).len() <= 4, "{:?}", parts(&from));
}

/// `riklet logs -f` with its output in a file; ended when dropped.
struct Follower(Child, PathBuf);

impl Follower {
    #[allow(clippy::disallowed_methods, reason = "the command is what is tested")]
    fn start(daemon: &Daemon, args: &[&str]) -> Self {
        let path = daemon.dir().join("followed");
        let mut command = Command::new(env!("CARGO_BIN_EXE_riklet"));
        command.arg("logs").args(args).stdin(Stdio::null());
        command.env("RIKLET_STATE_DIR", daemon.state());
        command.stdout(File::create(&path).unwrap());
        Self(command.spawn().unwrap(), path)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.1).unwrap()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn numbers(from: u32, to: u32) -> String {
    (from..=to).map(|n| format!("{n}\n")).collect()
}

#[test]
fn logs_are_shown_over_rotations_restarts_and_with_the_daemon_dead() {
    let mut daemon = Daemon::prepare().config("[logs]\nmax_size = '64KiB'\nmax_files = 50");
    daemon.start();
    let script = "echo begin; while [ ! -e /go ]; do sleep 0.05; done; \
                  for i in 1 2 3 4 5 6 7 8; do busybox seq $((i*1000-999)) $((i*1000)); sleep 0.1; \
                  while [ $i = 4 -a ! -e /on ]; do sleep 0.05; done; done; \
                  busybox printf '%020000d' 7; exit 3";
    let mut definition = daemon.definition("web", script);
    definition["spec"]["restartPolicy"] = "Always".into();
    daemon.apply(&definition);
    let row = daemon.until("web@cli", "Running");
    let follower = Follower::start(&daemon, &["-f", "web"]);
    let tell = |daemon: &Daemon, what: &str| {
        let pid = daemon.pids()["web@cli"][0];
        fs::write(format!("/proc/{pid}/root/{what}"), "").unwrap();
    };
    tell(&daemon, "go");
    let dir = directory(&daemon, &row);
    daemon.wait("a rotation", |_| (!parts(&dir).is_empty()).then_some(()));
    daemon.restart();
    tell(&daemon, "on");
    // The second attempt begins at once.
    daemon.wait("the second attempt", |_| {
        let log = fs::read_to_string(dir.join("0-2.log")).ok()?;
        log.contains("begin").then_some(())
    });
    let long = format!("{:020000}", 7);
    let first = format!("begin\n{}{long}\n", numbers(1, 8000));
    daemon.wait("-f to have followed", |_| {
        (follower.text() == format!("{first}begin\n")).then_some(())
    });
    assert!(parts(&dir).len() >= 2, "{:?}", parts(&dir));

    let look = |daemon: &Daemon| {
        let said = |args: &[&str]| daemon.ok(&[&["logs", "web"], args].concat()).out;
        assert_eq!(said(&[]), "begin\n");
        assert_eq!(said(&["-p"]), first);
        assert_eq!(
            said(&["-p", "--tail", "3"]),
            format!("7999\n8000\n{long}\n")
        );
        assert_eq!(said(&["-p", "--tail", "3000"]).lines().next(), Some("5002"));
        assert_eq!(said(&["-p", "--since", "1h"]), first);
        let at = said(&["-p", "--timestamps"]);
        let stamp = |n: usize| at.lines().nth(n).unwrap().split_once(' ').unwrap();
        let (time, line) = stamp(4000);
        assert_eq!(line, "4000");
        let since = said(&["-p", "--since", time]);
        let first = since.lines().next().unwrap().parse::<u32>().unwrap();
        assert!((3001..=4000).contains(&first), "{first}");
        assert!(since.ends_with(&format!("8000\n{long}\n")));
    };
    look(&daemon);
    daemon.kill9();
    look(&daemon);
    daemon.start();
    let refused = daemon.cli(&["logs", "web", "--since", "soon"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    drop(follower);

    // The third attempt: the first one's log goes, with all its parts.
    tell(&daemon, "on");
    tell(&daemon, "go");
    daemon.wait("the third attempt", |_| {
        dir.join("0-3.log").exists().then_some(())
    });
    daemon.wait("the first one's log to go", |_| {
        parts(&dir).is_empty().then_some(())
    });
    assert!(dir.join("0-2.log.1").exists());
    assert!(!dir.join("0-1.log").exists());
    daemon.ok(&["delete", "web"]);
    daemon.until_nothing_is_left();
}

#[test]
fn a_monitor_that_was_told_before_the_crash_is_not_told_twice() {
    let mut daemon = Daemon::prepare().config("[logs]\nmax_size = '64KiB'");
    daemon.start();
    let script = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done";
    daemon.apply(&daemon.definition("web", script));
    let row = daemon.until("web@cli", "Running");
    let dir = directory(&daemon, &row);
    let id = row["containers"][0]["id"].as_str().unwrap();
    let monitor = fs::read_to_string(daemon.run().join("p").join(id).join("conmon.pid")).unwrap();
    let monitor: i32 = monitor.trim().parse().unwrap();
    daemon.kill9();
    // Its two steps were done, and the monitor hasn't got to it.
    signal(monitor, "STOP");
    fs::rename(dir.join("0-1.log"), dir.join("0-1.log.1")).unwrap();
    let bundle = daemon
        .state()
        .join("pods")
        .join(row["uid"].as_str().unwrap())
        .join("0-1");
    fs::write(bundle.join("ctl"), "2 0 0\n").unwrap();
    daemon.start();
    daemon.wait("a look at the log", |d| {
        d.log().contains("ready").then_some(())
    });
    let status = daemon.status();
    assert!(status.is_object());
    signal(monitor, "CONT");
    let live = dir.join("0-1.log");
    daemon.wait("lines in the new log", |_| {
        (fs::read(&live).ok()?.len() > 3000).then_some(())
    });
    let mut count = Count::default();
    let last = count.read(&dir.join("0-1.log.1"));
    assert!(count.read(&live) > last);
    assert_eq!(parts(&dir).len(), 1);
}

/// Has the monitor with this FIFO a command that it hasn't read?
fn command_waits(ctl: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt as _;
    let fifo = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(ctl);
    rustix::io::ioctl_fionread(fifo.unwrap()).unwrap() > 0
}

#[test]
fn a_monitor_that_is_just_opening_its_log_when_the_daemon_is_killed_is_not_told_twice() {
    let mut daemon = Daemon::prepare().config("[logs]\nmax_size = '64KiB'\nmax_files = 100");
    daemon.start();
    let counts = "n=0; while :; do n=$((n+1)); echo $n; usleep 300; done";
    daemon.apply(&daemon.definition("web", counts));
    let row = daemon.until("web@cli", "Running");
    let dir = directory(&daemon, &row);
    let id = row["containers"][0]["id"].as_str().unwrap();
    let monitor = fs::read_to_string(daemon.run().join("p").join(id).join("conmon.pid")).unwrap();
    let monitor: i32 = monitor.trim().parse().unwrap();
    let pod = daemon
        .state()
        .join("pods")
        .join(row["uid"].as_str().unwrap());
    let ctl = pod.join("0-1/ctl");
    // It is stopped right after it has read what the daemon told it.
    let slow = Strace::stop_after(monitor, daemon.dir(), "read", &ctl);
    let live = dir.join("0-1.log");
    daemon.wait("the monitor to be stopped amid its command", |_| {
        let status = fs::read_to_string(format!("/proc/{monitor}/status")).unwrap();
        let stopped = status.contains("\nState:\tt") || status.contains("\nState:\tT");
        (stopped && !live.exists() && !command_waits(&ctl)).then_some(())
    });
    daemon.kill9();
    let begun = Instant::now();
    daemon.start();
    // The next daemon looks at logs again and again: another's is put aside meanwhile.
    let fast = "while :; do seq 1 2000; usleep 100000; done";
    daemon.apply(&daemon.definition("other", fast));
    let other = directory(&daemon, &daemon.until("other@cli", "Running"));
    daemon.wait("looks of the next daemon", |_| {
        let looks = parts(&other).len() >= 3 && begun.elapsed() > Duration::from_secs(2);
        looks.then_some(())
    });
    assert!(!command_waits(&ctl), "it was told a second time");
    drop(slow);
    signal(monitor, "CONT");
    daemon.wait(
        "the log to be there, and another part to be put aside",
        |_| (live.exists() && parts(&dir).len() >= 2).then_some(()),
    );
    daemon.ok(&["delete", "other"]);
    signal(daemon.pids()["web@cli"][0], "STOP");
    let (mut count, mut last) = (Count::default(), 0);
    for (_, part) in parts(&dir) {
        let read = count.read(&part);
        assert!(read > last);
        last = read;
    }
    signal(daemon.pids()["web@cli"][0], "CONT");
}

#[test]
fn following_ends_with_a_container_that_is_over_for_good() {
    let mut daemon = Daemon::prepare();
    daemon.start();
    let mut job = daemon.definition("job", "echo begin; sleep 1; echo end; exit 3");
    job["spec"]["restartPolicy"] = "Never".into();
    daemon.apply(&job);
    let said = daemon.ok(&["logs", "-f", "job"]);
    assert_eq!(said.out, "begin\nend\n");
    // Of what runs for ever it ends with the instance.
    daemon.apply(&daemon.definition("web", "echo begin; exec sleep 1000000"));
    daemon.until("web@cli", "Running");
    let mut follower = Follower::start(&daemon, &["-f", "web"]);
    daemon.wait("its line", |_| (follower.text() == "begin\n").then_some(()));
    daemon.ok(&["delete", "web"]);
    daemon.wait("its end", |_| follower.0.try_wait().unwrap());
}
