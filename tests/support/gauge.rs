//! What a daemon and its directories weigh, read from outside: from /proc and the files.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

/// A look at a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// Its own memory (RssAnon), bytes.
    pub memory: u64,
    /// Its open descriptors.
    pub fds: u64,
    /// Its threads.
    pub threads: u64,
    /// Its children that have ended and were not reaped.
    pub zombies: u64,
    /// Bytes of the journal's segments and snapshots.
    pub journal: u64,
    /// Segments.
    pub segments: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Bytes of the store on disk.
    pub store: u64,
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} KiB of memory, {} fds, {} threads, {} zombies; journal {} KiB in {} segments and \
             {} snapshots; store {} KiB",
            self.memory / 1024,
            self.fds,
            self.threads,
            self.zombies,
            self.journal / 1024,
            self.segments,
            self.snapshots,
            self.store / 1024
        )
    }
}

/// Twice as long as the daemon's threads wait for work (`src/cli/run.rs`).
const STANDS: Duration = Duration::from_secs(2);

/// Looks at a daemon of which nothing is asked meanwhile, until only its memory still changes.
pub struct Settling {
    last: Option<Weight>,
    since: Instant,
}

impl Settling {
    pub fn new() -> Self {
        Self {
            last: None,
            since: Instant::now(),
        }
    }

    /// Returns its weight once it has stood for long enough.
    pub fn look(&mut self, now: Weight) -> Option<Weight> {
        let of = |weight: &Weight| (weight.fds, weight.threads, weight.store);
        if self.last.as_ref().map(of) != Some(of(&now)) {
            self.since = Instant::now();
        }
        self.last = Some(now);
        (self.since.elapsed() > STANDS).then_some(now)
    }
}

/// How much more a daemon may weigh afterwards, in what differs from test to test.
pub struct Margins {
    /// Segments that there may be; none for any number.
    pub segments: Option<u64>,
    /// The most bytes of journal.
    pub journal: u64,
    /// Bytes by which the store may have grown.
    pub store: u64,
}

/// What of a daemon at rest has grown beyond its margin. Memory may by 8 MiB: up to 1,000
/// tombstones are kept in the fold, in its durable copy and in sled's cache.
pub fn grown(before: &Weight, after: &Weight, margins: &Margins) -> Vec<String> {
    let mut grown = Vec::new();
    let mut over = |what: &str, before: u64, after: u64, margin: u64| {
        if after > before.saturating_add(margin) {
            grown.push(format!(
                "{what}: {before}, then {after}, more than {margin} above"
            ));
        }
    };
    over("memory", before.memory, after.memory, 8 << 20);
    // One may be open for the moment of a sample.
    over("fds", before.fds, after.fds, 2);
    // A blocking thread may be on its way out or just begun.
    over("threads", before.threads, after.threads, 4);
    over("zombies", 0, after.zombies, 0);
    over("snapshots", 0, after.snapshots, 2);
    if let Some(segments) = margins.segments {
        over("segments", 0, after.segments, segments);
    }
    over("journal", 0, after.journal, margins.journal);
    over("store", before.store, after.store, margins.store);
    grown
}

/// Weighs the daemon `pid` with its state dir.
pub fn weigh(pid: i32, state: &Path) -> Weight {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let number = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        let digits = line.split_whitespace().nth(1).unwrap();
        digits.parse().unwrap()
    };
    let journal = state.join("journal");
    let files = names(&journal);
    let snapshots = files.iter().filter(|f| f.starts_with("snapshot-")).count();
    let segments = files.iter().filter(|f| f.ends_with(".jsonl")).count();
    Weight {
        memory: number("RssAnon:") * 1024,
        fds: names(Path::new(&format!("/proc/{pid}/fd"))).len() as u64,
        threads: number("Threads:"),
        zombies: zombies(pid).len() as u64,
        journal: bytes_below(&journal),
        segments: segments as u64,
        snapshots: snapshots as u64,
        store: bytes_below(&state.join("db")),
    }
}

/// Children of this process that have ended and that nobody has asked of.
pub fn zombies(parent: i32) -> Vec<i32> {
    let of = |name: String| -> Option<i32> {
        let pid = name.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, after) = stat.rsplit_once(") ")?;
        let mut fields = after.split(' ');
        let zombie = fields.next() == Some("Z");
        (zombie && fields.next()?.parse() == Ok(parent)).then_some(pid)
    };
    let all = names(Path::new("/proc")).into_iter();
    all.filter_map(of).collect()
}

/// How long the files below a directory are. Their length, not their blocks: the live segment
/// owns a reserve that is not filled.
pub fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.size(),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(of).sum()
}

fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.filter_map(Result::ok).map(name).collect()
}
