//! Logs of running containers are put aside when they are full.
//!
//! Why: what a container writes would fill the disk. Owns: when a log is full, the steps by which
//! it is put aside, and which parts are kept. In: hints that a log has grown. Out: files
//! `<n>-<attempt>.log.<k>`, the higher k the newer. Must never happen here: a line that is lost
//! or doubled, whenever the daemon is killed.
//!
//! The steps: rename the log, which its monitor goes on writing; have the monitor open it anew.
//! Killed between them, the log is missing while its monitor lives: the second step is made up
//! for, but not while one is on its way: neither while it waits in the FIFO, nor while the monitor
//! does anything, for that may be it. For a log that is opened anew under its own name is
//! *replaced*, so between two of these commands there is always a rename.
//!
//! Who writes fast gets looked at often: inotify says when a log grows, and a log is put aside
//! before it would be full at the next look. A node that writes nothing isn't looked at but for
//! once in 10 s. All of it is on a thread of its own, for everything here blocks.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::{ImageSource, RealNode, lock};
use crate::{
    model::ids::ContainerId,
    runtime::{
        conmon::{Ctl, command_waits, rests},
        layout::{Layout, LogPart, parse_log},
    },
};

/// How often all logs are looked at although nothing was said of them.
const RESYNC: Duration = Duration::from_secs(10);
/// Between two looks at one that grows.
const PAUSE: Duration = Duration::from_millis(3);
/// So far ahead is looked when it grows: the next look may come late on a busy machine.
const AHEAD: Duration = Duration::from_millis(12);
/// A monitor whose log is missing for so long, with no command waiting and nothing that it does,
/// was never told.
const UNTOLD: Duration = Duration::from_millis(100);
/// After that it is said that a monitor doesn't do as it is told. One of which it can't be known
/// whether it does anything has done it by then: opening a log takes microseconds.
const DEAF: Duration = Duration::from_secs(10);

/// How much is kept of one attempt's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of a file.
    pub size: u64,
    /// Files, with the one that is written.
    pub files: usize,
}

/// The running thread; it ends when this is dropped.
pub struct Rotation {
    hints: Arc<Hints>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Rotation {
    fn drop(&mut self) {
        self.hints.ended.store(true, Ordering::SeqCst);
        // With the lock: the thread is either before its look at `ended`, or hears the bell.
        let grown = lock(&self.hints.grown);
        self.hints.bell.notify_all();
        drop(grown);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl<I: ImageSource> RealNode<I> {
    /// Begins to put logs aside that are full.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn rotate_logs(&self, limits: LogLimits) -> io::Result<Rotation> {
        let hints = Arc::<Hints>::default();
        let mut rotator = Rotator {
            layout: self.layout().clone(),
            limits,
            seen: HashMap::new(),
        };
        let told = Arc::clone(&hints);
        let thread = thread::Builder::new().name("logs".to_owned());
        let thread = thread.spawn(move || rotator.run(&told))?;
        Ok(Rotation {
            hints,
            thread: Some(thread),
        })
    }
}

/// Which logs have grown.
#[derive(Default)]
struct Hints {
    grown: Mutex<BTreeSet<ContainerId>>,
    bell: Condvar,
    /// Events were lost.
    anywhere: AtomicBool,
    ended: AtomicBool,
}

impl Hints {
    fn hear(&self, event: &Event) {
        if event.need_rescan() {
            self.anywhere.store(true, Ordering::SeqCst);
            self.bell.notify_all();
        }
        if !matches!(event.kind, EventKind::Modify(_) | EventKind::Create(_)) {
            return;
        }
        let ids: Vec<ContainerId> = event
            .paths
            .iter()
            .filter_map(|path| of_path(path))
            .collect();
        if !ids.is_empty() {
            lock(&self.grown).extend(ids);
            self.bell.notify_all();
            // On the watch's own thread: what is written meanwhile is one event more, not many.
            thread::sleep(PAUSE / 2);
        }
    }

    /// Is there a reason to go on at once?
    fn stirred(&self) -> bool {
        self.ended.load(Ordering::SeqCst) || self.anywhere.load(Ordering::SeqCst)
    }

    /// Those that have grown; none of them after `limit`, or at the end.
    fn wait(&self, limit: Duration) -> BTreeSet<ContainerId> {
        let until = Instant::now() + limit;
        let mut grown = lock(&self.grown);
        while grown.is_empty() && !self.stirred() {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                break;
            };
            let waited = self.bell.wait_timeout(grown, left);
            grown = match waited {
                Ok((grown, _)) => grown,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        std::mem::take(&mut *grown)
    }
}

/// The container whose live log this is.
fn of_path(path: &Path) -> Option<ContainerId> {
    let uid = path.parent()?.file_name()?.to_str()?.parse().ok()?;
    let (n, attempt, part) = parse_log(path.file_name()?.to_str()?)?;
    (part == LogPart::Live).then_some(ContainerId { uid, n, attempt })
}

/// What is known of a log from the last look.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// It had so many bytes.
    Size(u64, Instant),
    /// Its monitor was told to open it anew.
    Told(Instant),
    /// It is missing, and its monitor was told by a former daemon and hasn't listened yet.
    Waits,
    /// It is missing, and its monitor wasn't told by us.
    Missing(Instant),
}

impl Seen {
    /// When to look again although nothing is said.
    fn again(self) -> Duration {
        match self {
            Self::Size(..) => RESYNC,
            Self::Told(at) | Self::Missing(at) if at.elapsed() < Duration::from_secs(1) => PAUSE,
            Self::Told(_) | Self::Missing(_) | Self::Waits => Duration::from_millis(100),
        }
    }
}

/// A watcher and the directory that it watches, by device and inode.
struct Watched {
    _watcher: RecommendedWatcher,
    directory: (u64, u64),
}

struct Rotator {
    layout: Layout,
    limits: LogLimits,
    seen: HashMap<ContainerId, Seen>,
}

impl Rotator {
    fn run(&mut self, hints: &Arc<Hints>) {
        let mut watch = None;
        let mut next_round = Instant::now();
        while !hints.ended.load(Ordering::SeqCst) {
            let lost = hints.anywhere.swap(false, Ordering::SeqCst);
            if lost || Instant::now() >= next_round {
                self.keep_watch(&mut watch, hints);
                self.look_at_all();
                next_round = Instant::now() + RESYNC;
            }
            let again = self.seen.values().map(|seen| seen.again()).min();
            let round = next_round.saturating_duration_since(Instant::now());
            let grown = hints.wait(again.unwrap_or(RESYNC).min(round));
            let pending = |seen: &Seen| !matches!(seen, Seen::Size(..));
            let expected = self.seen.iter().filter(|(_, seen)| pending(seen));
            let expected: BTreeSet<_> = expected.map(|(id, _)| id.clone()).chain(grown).collect();
            for id in expected {
                self.look(&id);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Makes the directory of logs be watched: inotify follows an inode, not a name.
    fn keep_watch(&self, watch: &mut Option<Watched>, hints: &Arc<Hints>) {
        let dir = self.layout.all_logs();
        let there = fs::metadata(&dir).ok().map(|at| (at.dev(), at.ino()));
        if watch.as_ref().map(|watch| watch.directory) == there {
            return;
        }
        let told = Arc::clone(hints);
        let hear = move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                told.hear(&event);
            }
        };
        let watching = notify::recommended_watcher(hear).and_then(|mut watcher| {
            watcher.watch(&dir, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        *watch = match (watching, there) {
            (Ok(watcher), Some(directory)) => Some(Watched {
                _watcher: watcher,
                directory,
            }),
            (Err(error), _) => {
                tracing::warn!(%error, "logs are looked at every 10 s only");
                None
            }
            (Ok(_), None) => None,
        };
    }

    fn look_at_all(&mut self) {
        let entries = fs::read_dir(self.layout.persists()).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let ids: BTreeSet<ContainerId> = names.filter_map(|name| name.parse().ok()).collect();
        self.seen.retain(|id, _| ids.contains(id));
        for id in ids {
            self.look(&id);
        }
    }

    fn look(&mut self, id: &ContainerId) {
        if let Err(error) = self.try_look(id) {
            tracing::warn!(container = %id, %error, "its log can't be put aside");
            self.seen.remove(id);
        }
    }

    fn try_look(&mut self, id: &ContainerId) -> io::Result<()> {
        let before = self.seen.get(id).copied();
        let now = Instant::now();
        let size = match fs::metadata(self.layout.log_file(id)) {
            Ok(there) => there.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return self.missing(id, before),
            Err(e) => return Err(e),
        };
        let growth = match before {
            Some(Seen::Size(former, at)) => soon(size, former, now.duration_since(at)),
            Some(_) => {
                self.keep(id, self.limits.files - 1)?;
                0
            }
            None => 0,
        };
        self.seen.insert(id.clone(), Seen::Size(size, now));
        if size + growth.min(size) < self.limits.size {
            return Ok(());
        }
        // Asked first: of a log that nobody writes any more nothing is put aside.
        let Some(mut monitor) = Ctl::open(&self.layout.bundle(id))? else {
            return Ok(());
        };
        self.keep(id, self.limits.files.saturating_sub(2))?;
        let next = self.parts(id)?.last().map_or(1, |newest| newest.0 + 1);
        fs::rename(self.layout.log_file(id), self.layout.rotated_log(id, next))?;
        self.seen.insert(id.clone(), Seen::Missing(now));
        monitor.reopen_log()?;
        self.seen.insert(id.clone(), Seen::Told(now));
        Ok(())
    }

    /// A log that isn't there. It isn't yet, or its monitor is just opening it anew, or the daemon
    /// was killed before it could tell the monitor to.
    fn missing(&mut self, id: &ContainerId, before: Option<Seen>) -> io::Result<()> {
        let bundle = self.layout.bundle(id);
        let monitor = Ctl::open(&bundle)?;
        let (Some(mut monitor), false) = (monitor, self.parts(id)?.is_empty()) else {
            self.seen.remove(id);
            return Ok(());
        };
        let now = Instant::now();
        let seen = match before {
            Some(Seen::Told(at)) if at.elapsed() < DEAF => Seen::Told(at),
            Some(Seen::Told(_)) => {
                tracing::warn!(container = %id, "its monitor was told to open its log anew, and doesn't");
                Seen::Told(now)
            }
            _ if command_waits(&bundle)? => Seen::Waits,
            Some(Seen::Missing(since)) if self.is_untold(id, since) => {
                monitor.reopen_log()?;
                Seen::Told(now)
            }
            Some(Seen::Missing(since)) => Seen::Missing(since),
            Some(Seen::Size(..) | Seen::Waits) | None => Seen::Missing(now),
        };
        self.seen.insert(id.clone(), seen);
        Ok(())
    }

    /// Was the monitor never told, of which no command waited a moment ago? Nobody but us writes
    /// commands: if it is at rest now, and the log is missing even then, there was none.
    fn is_untold(&self, id: &ContainerId, since: Instant) -> bool {
        let done = match rests(&self.layout.persist(id)) {
            Some(rests) => rests && since.elapsed() >= UNTOLD,
            None => since.elapsed() >= DEAF,
        };
        let log = self.layout.log_file(id);
        done && log
            .symlink_metadata()
            .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    }

    /// The parts of a log that were put aside, with their sizes, the oldest first.
    fn parts(&self, id: &ContainerId) -> io::Result<Vec<(u64, u64)>> {
        let entries = match fs::read_dir(self.layout.logs(&id.uid)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut parts = Vec::new();
        for entry in entries {
            let entry = entry?;
            if let Some((n, attempt, LogPart::Rotated(k))) =
                entry.file_name().to_str().and_then(parse_log)
                && (n, attempt) == (id.n, id.attempt)
            {
                parts.push((k, entry.metadata().map_or(0, |of| of.len())));
            }
        }
        parts.sort_unstable();
        Ok(parts)
    }

    /// Removes the oldest parts, until `files` are left that together are within the limit. The
    /// newest stays however long it is: a container may have written while no daemon was there.
    fn keep(&self, id: &ContainerId, files: usize) -> io::Result<()> {
        let parts = self.parts(id)?;
        let most = self.limits.size * self.limits.files as u64;
        for at in 0..parts.len() {
            let rest = &parts[at..];
            let bytes: u64 = rest.iter().map(|(_, size)| size).sum();
            let fits = rest.len() <= files && (bytes <= most || rest.len() == 1);
            if fits {
                return Ok(());
            }
            fs::remove_file(self.layout.rotated_log(id, rest[0].0))?;
        }
        Ok(())
    }
}

/// How much it may have grown at the next look, if it goes on as it did.
fn soon(size: u64, former: u64, within: Duration) -> u64 {
    let within = within.max(Duration::from_micros(100));
    let ahead = AHEAD.max(within.min(AHEAD * 5));
    let grown = u128::from(size.saturating_sub(former));
    let grows = grown * ahead.as_micros() / within.as_micros();
    u64::try_from(grows).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
