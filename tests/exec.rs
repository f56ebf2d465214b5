//! `riklet exec`: a command in a container, spoken with as if it ran here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy knows only #[test] functions as such"
)]
#![allow(clippy::disallowed_methods, reason = "the command is what is tested")]

mod support {
    pub mod daemon;
    pub mod image;
    pub mod leaks;
}

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};
use support::daemon::{Daemon, process_runs, signal};

const WAITS: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 1000000 & wait; done";

fn exec(daemon: &Daemon, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_riklet"));
    command.arg("exec").args(args).stdin(Stdio::null());
    command.env("RIKLET_STATE_DIR", daemon.state());
    command.env("RIKLET_SOCKET", daemon.run().join("riklet.sock"));
    command.env("TERM", "vt100");
    command
}

/// A daemon with one instance `web` that does nothing.
fn node() -> Daemon {
    let mut daemon = Daemon::prepare();
    daemon.start();
    daemon.apply(&daemon.definition("web", WAITS));
    daemon.until("web@cli", "Running");
    daemon
}

/// Pids of processes in web's container that run this.
fn inside(daemon: &Daemon, what: &str) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        (command.trim() == what && process_runs(pid)).then_some(pid)
    });
    let uid = daemon.row("web@cli").unwrap()["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    let of_ours = |pid: &i32| {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        cgroup.contains(&uid)
    };
    all.filter(of_ours).collect()
}

fn until_inside(daemon: &Daemon, what: &str) -> Vec<i32> {
    daemon.wait(&format!("{what} to run"), |d| {
        Some(inside(d, what)).filter(|pids| !pids.is_empty())
    })
}

fn until_gone(daemon: &Daemon, what: &str) {
    daemon.wait(&format!("{what} to be gone"), |d| {
        inside(d, what).is_empty().then_some(())
    });
}

#[test]
fn a_command_is_as_if_it_ran_here() {
    let daemon = node();
    let said = |args: &[&str]| daemon.finish(exec(&daemon, args));
    let both = said(&["web", "--", "sh", "-c", "echo out; echo err >&2; exit 37"]);
    assert_eq!(
        (both.code, both.out.as_str(), both.err.as_str()),
        (37, "out\n", "err\n")
    );
    let fine = said(&["web", "-c", "web", "--", "cat", "/etc/hostname"]);
    assert_eq!((fine.code, fine.err.as_str()), (0, ""));
    let killed = said(&["web", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.code, 137, "{killed:?}");
    let none = said(&["web", "--", "no-such-program"]);
    assert_eq!(none.code, 127, "{none:?}");
    assert!(none.err.contains("no-such-program"), "{none:?}");
    let no_program = said(&["web", "--", "/etc/hostname"]);
    assert_eq!(no_program.code, 126, "{no_program:?}");
    // Not passed on without -i: it reads nothing, rather than wait for ever.
    let reads = said(&["web", "--", "cat"]);
    assert_eq!((reads.code, reads.out.as_str()), (0, ""));
    let unknown = said(&["nobody", "--", "true"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    let unknown = said(&["web", "-c", "other", "--", "true"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    assert!(unknown.err.contains("it has web"), "{unknown:?}");
    assert_eq!(said(&["web"]).code, 2, "no command");

    // A megabyte through and back, in order.
    let megabyte: Vec<u8> = (0..1_048_576_u32).map(|n| (n % 251) as u8).collect();
    let path = daemon.dir().join("megabyte");
    fs::write(&path, &megabyte).unwrap();
    let mut cat = exec(&daemon, &["-i", "web", "--", "cat"]);
    cat.stdin(File::open(&path).unwrap());
    let output = cat.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == megabyte, "{} bytes", output.stdout.len());
    // A reader that has seen enough.
    let mut much = exec(&daemon, &["web", "--", "busybox", "yes"]);
    let mut much = much.stdout(Stdio::piped()).spawn().unwrap();
    let mut some = [0; 100_000];
    much.stdout.take().unwrap().read_exact(&mut some).unwrap();
    assert!(!much.wait().unwrap().success());
    until_gone(&daemon, "busybox yes");
    let work = fs::read_dir("/proc").unwrap().count();
    assert!(work > 0);
}

#[test]
fn a_command_ends_with_who_speaks_with_it_and_with_its_daemon() {
    let mut daemon = node();
    let mut client = exec(
        &daemon,
        &[
            "web",
            "--",
            "sh",
            "-c",
            "trap '' HUP TERM; sleep 3333 & sleep 3333",
        ],
    );
    let mut client = client.spawn().unwrap();
    until_inside(&daemon, "sleep 3333");
    client.kill().unwrap();
    client.wait().unwrap();
    until_gone(&daemon, "sleep 3333");

    let mut client = exec(&daemon, &["web", "--", "sleep", "4444"]);
    let mut client = client.stderr(Stdio::piped()).spawn().unwrap();
    let orphan = until_inside(&daemon, "sleep 4444");
    let web = daemon.pids();
    daemon.kill9();
    assert_eq!(client.wait().unwrap().code(), Some(4));
    let mut said = String::new();
    client
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.contains("broke off"), "{said}");
    daemon.start();
    daemon.wait("the start to end it", |_| {
        (!process_runs(orphan[0])).then_some(())
    });
    assert_eq!(daemon.pids(), web, "the container itself goes on");
    let again = daemon.finish(exec(&daemon, &["web", "--", "echo", "fine"]));
    assert_eq!(again.out, "fine\n", "{again:?}");

    // What ends in order does so too, and the container with its commands.
    let mut client = exec(&daemon, &["web", "--", "sleep", "5555"]);
    let mut client = client.stderr(Stdio::null()).spawn().unwrap();
    until_inside(&daemon, "sleep 5555");
    daemon.ok(&["delete", "web"]);
    assert_eq!(client.wait().unwrap().code(), Some(137));
    daemon.until_nothing_is_left();
    let gone = daemon.finish(exec(&daemon, &["web", "--", "true"]));
    assert_eq!(gone.code, 3, "{gone:?}");
}

/// A client on a terminal of its own.
struct OnTerminal {
    master: OwnedFd,
    slave: PathBuf,
    client: Child,
    text: Arc<Mutex<String>>,
}

impl OnTerminal {
    fn start(daemon: &Daemon, args: &[&str]) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        size(&master, 41, 101);
        let slave: PathBuf = ptsname(&master, Vec::new())
            .unwrap()
            .into_string()
            .unwrap()
            .into();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = || File::from(rustix::fs::open(&slave, flags, Mode::empty()).unwrap());
        let mut command = exec(daemon, args);
        let client = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let text = Arc::new(Mutex::new(String::new()));
        let (mut from, to) = (File::from(master.try_clone().unwrap()), Arc::clone(&text));
        // Ends when the last other end is closed.
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut piece) {
                to.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&piece[..read]));
            }
        });
        Self {
            master,
            slave,
            client,
            text,
        }
    }

    fn type_in(&self, text: &str) {
        File::from(self.master.try_clone().unwrap())
            .write_all(text.as_bytes())
            .unwrap();
    }

    fn until(&self, daemon: &Daemon, what: &str) {
        daemon.wait(&format!("{what:?} on the terminal"), |_| {
            self.text.lock().unwrap().contains(what).then_some(())
        });
    }

    /// Does it echo and wait for whole lines, as a shell's user knows it?
    fn is_cooked(&self) -> bool {
        let end = File::options().read(true).open(&self.slave).unwrap();
        tcgetattr(end)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
        if thread::panicking() {
            println!("on the terminal: {:?}", self.text.lock().unwrap());
        }
    }
}

fn size(master: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size).unwrap();
}

#[test]
fn a_terminal_is_passed_through_and_left_as_it_was() {
    let daemon = node();
    let mut on = OnTerminal::start(
        &daemon,
        &[
            "-it",
            "web",
            "--",
            "sh",
            "-c",
            "trap 'echo sized $(busybox stty size)' WINCH; trap 'echo interrupted' INT; \
         echo $TERM $(busybox stty size); busybox test -t 0 && echo a terminal; \
         while read line; do case $line in quit) exit 7;; *) echo got:$line;; esac; done; \
         while :; do read line && { [ $line = quit ] && exit 7; echo got:$line; }; done",
        ],
    );
    on.until(&daemon, "vt100 41 101\r\n");
    on.until(&daemon, "a terminal\r\n");
    assert!(!on.is_cooked(), "what is typed is passed on as it is");
    on.type_in("hello\r");
    on.until(&daemon, "got:hello\r\n");
    size(&on.master, 50, 120);
    signal(i32::try_from(on.client.id()).unwrap(), "WINCH");
    on.until(&daemon, "sized 50 120");
    // Ctrl-C is for the command.
    on.type_in("\x03");
    on.until(&daemon, "interrupted");
    on.type_in("quit\r");
    assert_eq!(on.client.wait().unwrap().code(), Some(7));
    assert!(on.is_cooked(), "as before");

    let mut none = exec(&daemon, &["-it", "web", "--", "true"]);
    assert_eq!(
        none.status().unwrap().code(),
        Some(2),
        "stdin is no terminal"
    );
    let said = daemon.finish(exec(
        &daemon,
        &["-t", "web", "--", "sh", "-c", "echo x >&2; busybox tty"],
    ));
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.starts_with("x\r\n/dev/pts/"), "{said:?}");

    // One that vanishes: nothing is left of its command.
    let vanishes = OnTerminal::start(&daemon, &["-it", "web", "--", "sleep", "6666"]);
    until_inside(&daemon, "sleep 6666");
    drop(vanishes);
    until_gone(&daemon, "sleep 6666");
}
