//! The truth outside riklet: a process that every workload of a test calls and holds a line to
//! for as long as it lives.
//!
//! Owns: an abstract unix socket in the host's network namespace (workloads are on it by
//! `hostNetwork`), who is connected (pid by SO_PEERCRED), and what each run was told and said.
//! Two living copies of an instance are seen twice: by the witness itself, for the former's line
//! is still open when the latter calls, and by the second copy, for its lock is taken. Every call
//! is appended, as (instance, generation, pid), to a file on the host. In: [`Script`]s. Out:
//! [`Run`]s and violations. Must never happen here: anything of riklet's.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "the compiler is not riklet's child"
)]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd},
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{getsockopt, sockopt::PeerCredentials},
};

/// What a workload is told, run by run; the last entry holds for all later runs.
#[derive(Debug, Clone)]
pub struct Script(pub Vec<Order>);

/// What one run is told.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// Nothing: it serves until it is stopped.
    Serve,
    /// To exit with this code after so long.
    Exit(i32, Duration),
}

/// One life of one workload's process.
#[derive(Debug, Clone)]
pub struct Run {
    /// The instance, as the process says.
    pub instance: String,
    /// The generation of its definition, as the process says.
    pub generation: u32,
    /// Its pid in the host's namespace, as the kernel says.
    pub pid: i32,
    /// Does it hold the line?
    pub alive: bool,
    /// Did it get its instance's lock?
    pub holds: bool,
    /// The exit that it was about to make.
    pub exits: Option<i32>,
}

#[derive(Default)]
struct Book {
    runs: Vec<Run>,
    scripts: BTreeMap<String, Script>,
    violations: Vec<String>,
}

struct Line {
    stream: UnixStream,
    pid: i32,
    heard: Vec<u8>,
    run: Option<usize>,
    told_at: Option<(Instant, i32)>,
}

/// The witness; it ends with the value.
pub struct Witness {
    name: String,
    book: Arc<Mutex<Book>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Witness {
    /// Listens at this abstract name, and writes every call down in `record`.
    pub fn start(name: &str, record: &Path) -> Self {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let record = File::options()
            .create(true)
            .append(true)
            .open(record)
            .unwrap();
        let (book, ends) = (
            Arc::<Mutex<Book>>::default(),
            Arc::new(AtomicBool::new(false)),
        );
        let desk = Desk {
            listener,
            record,
            lines: Vec::new(),
            book: Arc::clone(&book),
        };
        let until = Arc::clone(&ends);
        let thread = thread::spawn(move || desk.serve(&until));
        Self {
            name: name.to_owned(),
            book,
            ends,
            thread: Some(thread),
        }
    }

    /// The abstract name that workloads call.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What an instance's runs are told. Before it is created.
    pub fn script(&self, instance: &str, script: Script) {
        lock(&self.book).scripts.insert(instance.to_owned(), script);
    }

    /// Every run so far, in the order of their calls.
    pub fn runs(&self) -> Vec<Run> {
        lock(&self.book).runs.clone()
    }

    /// The runs of an instance that live.
    pub fn living(&self, instance: &str) -> Vec<Run> {
        let book = lock(&self.book);
        let of = |run: &&Run| run.alive && run.instance == instance;
        book.runs.iter().filter(of).cloned().collect()
    }

    /// What was seen that must never be.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.book).violations.clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Desk {
    listener: UnixListener,
    record: File,
    lines: Vec<Line>,
    book: Arc<Mutex<Book>>,
}

impl Desk {
    fn serve(mut self, ends: &AtomicBool) {
        while !ends.load(Ordering::SeqCst) {
            self.wait();
            while let Ok((stream, _)) = self.listener.accept() {
                self.take(stream);
            }
            self.hear();
            self.tell();
        }
    }

    /// Until somebody calls or speaks, or an order may be due.
    fn wait(&self) {
        let streams = self.lines.iter().map(|line| line.stream.as_fd());
        let all = streams.chain([self.listener.as_fd()]);
        let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let _ = poll(&mut fds, PollTimeout::from(5_u8));
    }

    fn take(&mut self, stream: UnixStream) {
        stream.set_nonblocking(true).unwrap();
        let pid = getsockopt(&stream, PeerCredentials).map_or(0, |who| who.pid());
        self.lines.push(Line {
            stream,
            pid,
            heard: Vec::new(),
            run: None,
            told_at: None,
        });
    }

    fn hear(&mut self) {
        let mut open = Vec::new();
        for mut line in std::mem::take(&mut self.lines) {
            let ended = line.read();
            while let Some(at) = line.heard.iter().position(|b| *b == b'\n') {
                let words: Vec<u8> = line.heard.drain(..=at).collect();
                let words = String::from_utf8_lossy(&words).trim().to_owned();
                // The list is in the order of the calls: whoever called before is in `open`.
                self.understand(&mut line, &words, &open);
            }
            if ended {
                if let Some(run) = line.run {
                    lock(&self.book).runs[run].alive = false;
                }
            } else {
                open.push(line);
            }
        }
        self.lines = open;
    }

    fn understand(&mut self, line: &mut Line, words: &str, before: &[Line]) {
        let mut book = lock(&self.book);
        let mut words = words.split(' ');
        match (words.next(), line.run) {
            (Some("hello"), None) => {
                let instance = words.next().unwrap_or_default().to_owned();
                let generation = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
                let _ = writeln!(self.record, "{instance} {generation} {}", line.pid);
                for former in before {
                    let same = former
                        .run
                        .is_some_and(|r| book.runs[r].instance == instance);
                    // Its line is asked, not our list: the kernel closes it before anybody can
                    // see the process dead, we may hear of it later.
                    if same && !hung_up(former.stream.as_fd()) {
                        let text = format!(
                            "two living copies of {instance}: pids {} and {}",
                            former.pid, line.pid
                        );
                        book.violations.push(text);
                    }
                }
                let nth = book.runs.iter().filter(|r| r.instance == instance).count();
                let script = book.scripts.get(&instance).cloned();
                let orders = script.map(|script| script.0).unwrap_or_default();
                if let Some(Order::Exit(code, after)) = orders.get(nth).or(orders.last()) {
                    line.told_at = Some((Instant::now() + *after, *code));
                }
                line.run = Some(book.runs.len());
                book.runs.push(Run {
                    instance,
                    generation,
                    pid: line.pid,
                    alive: true,
                    holds: false,
                    exits: None,
                });
            }
            (Some("holds"), Some(run)) => book.runs[run].holds = true,
            (Some("taken"), Some(run)) => {
                let run = book.runs[run].clone();
                let text = format!("the lock of {} is taken: {run:?}", run.instance);
                book.violations.push(text);
            }
            (Some("exits"), Some(run)) => {
                book.runs[run].exits = words.next().and_then(|n| n.parse().ok());
            }
            (word, run) => {
                let text = format!("a workload said {word:?} {words:?} in {run:?}");
                book.violations.push(text);
            }
        }
    }

    fn tell(&mut self) {
        let now = Instant::now();
        for line in &mut self.lines {
            if let Some((_, code)) = line.told_at.filter(|(at, _)| *at <= now) {
                line.told_at = None;
                // It may be dead by now.
                let _ = writeln!(line.stream, "exit {code}");
            }
        }
    }
}

impl Line {
    /// Reads what there is; true at its end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 512];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(n) => self.heard.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }
}

fn hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let _ = poll(&mut fds, PollTimeout::ZERO);
    let seen = fds[0].revents().unwrap_or(PollFlags::empty());
    seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR)
}

/// Makes the workloads' program, static, with the compiler that made this test.
pub fn holder(dir: &Path) -> Vec<u8> {
    let out = dir.join("holder");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let made = Command::new(rustc)
        .args([
            "--edition",
            "2024",
            "-C",
            "opt-level=s",
            "-C",
            "panic=abort",
        ])
        .args([
            "-C",
            "strip=symbols",
            "-C",
            "target-feature=+crt-static",
            "-o",
        ])
        .arg(&out)
        .arg("tests/support/holder.rs")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::read(out).unwrap()
}
