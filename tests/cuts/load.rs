//! The load: clients of a ledger that wait for receipts and write down, outside of its disk, what
//! they were told; a neighbour on the same disk that syncs; and the phase that the journal is in.
//!
//! Runs as a child of the test, told by its environment where. It ends by being killed, or when
//! its parent is gone.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::{fs::FileExt as _, process::parent_id},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use riklet::{
    book::Book,
    clock::Clock,
    journal::{Disk, Sizes, disk::Op},
    ledger::{Ledger, OpenOptions},
    model::{
        ids::{InstanceId, Source},
        line::{Event, Intent},
        spec::RestartPolicy,
    },
    testing::builders::{uid, workload},
};

/// Names the directory of a test; everything else lies at known places in it.
pub const DIR: &str = "RIKLET_TEST_POWER_DIR";
/// How many lines each client writes before the child ends by itself; none for no end.
pub const LINES: &str = "RIKLET_TEST_POWER_LINES";

/// The state dir, on the disk that is cut.
pub fn state(disk: &Path) -> PathBuf {
    disk.join("state")
}

/// Where clients write what they were told.
pub fn receipts(dir: &Path) -> PathBuf {
    dir.join("receipts")
}

/// Where the phase is published: one byte, its place in [`PHASES`].
pub fn phase(dir: &Path) -> PathBuf {
    dir.join("phase")
}

/// What the journal may be at.
pub const PHASES: [&str; 4] = ["plain lines", "rotation", "a snapshot", "a deletion"];

const CLIENTS: u64 = 4;

/// 64 KiB segments, and as much history as makes something go at each snapshot.
pub fn options(state: &Path) -> OpenOptions {
    let mut options = OpenOptions::new(state, Clock::system().unwrap());
    options.sizes = Sizes {
        segment: 64 * 1024,
        reserve: 512 * 1024,
        floor: 64 * 1024,
        history_bytes: 256 * 1024,
        history_always: 128 * 1024,
        ..Sizes::default()
    };
    // A loaded machine may be slower than the 1 s of production.
    options.store.open_limit = Duration::from_secs(10);
    options
}

/// The steps of a turn of the journal's thread, told from its operations alone.
#[derive(Default)]
struct Phases {
    now: u8,
    // The directory was synced: the next step is another.
    ending: bool,
}

impl Phases {
    fn next(&mut self, op: Op) -> u8 {
        let was = (self.now, self.ending);
        (self.now, self.ending) = match (was, op) {
            ((0, _), Op::Remove | Op::Create | Op::Reserve) => (1, false),
            ((1, true), Op::Remove | Op::Create) => (2, false),
            ((2, true), Op::Remove) => (3, false),
            ((1 | 2, false), Op::FsyncDir) => (was.0, true),
            // A removal is on the disk with the first sync after it.
            ((3, false), Op::Fdatasync) => (3, true),
            ((_, true), Op::Fdatasync) => (0, false),
            _ => was,
        };
        self.now
    }
}

fn disk(dir: &Path) -> Disk {
    let (disk, script) = Disk::scripted();
    let file = File::create(phase(dir)).unwrap();
    file.write_all_at(&[0], 0).unwrap();
    let phases = Mutex::new(Phases::default());
    script.observe(Arc::new(move |op| {
        // Clients append; all else is done by the journal's own thread.
        if thread::current().name() == Some("journal-sync") {
            let now = phases.lock().unwrap().next(op);
            file.write_all_at(&[now], 0).unwrap();
        }
    }));
    disk
}

/// Loads the ledger until the end.
pub fn run() {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let lines: Option<u64> = std::env::var(LINES).ok().map(|text| text.parse().unwrap());
    let parent = parent_id();
    let mut options = options(&state(&dir.join("disk")));
    options.disk = disk(&dir);
    let (ledger, opening) = Ledger::open(options).unwrap();
    assert_eq!(opening.damage, vec![]);
    let from = u64::from(std::process::id()) << 32;
    let clients = (0..CLIENTS).map(|client| {
        let (ledger, told) = (ledger.clone(), receipts(&dir));
        let base = from + (client << 24);
        thread::spawn(move || work(&ledger, &told, base, lines, parent))
    });
    let clients: Vec<_> = clients.collect();
    if lines.is_none() {
        let disk = dir.join("disk");
        thread::spawn(move || neighbour(&disk, parent));
    }
    for client in clients {
        client.join().unwrap();
    }
    ledger.close().unwrap();
}

/// One client: creates and destroys, waits for most receipts, and writes them down.
fn work(ledger: &Ledger, told: &Path, base: u64, lines: Option<u64>, parent: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let told = File::options()
        .create(true)
        .append(true)
        .open(told)
        .unwrap();
    let tell = |line: String| (&told).write_all(line.as_bytes()).unwrap();
    let mut n = 0;
    while parent_id() == parent && lines.is_none_or(|most| n < most) {
        n += 1;
        let id = base + n;
        let seq = ledger.record(accepted(id)).unwrap().seq;
        if n % 5 != 0 {
            runtime.block_on(ledger.durable(seq)).unwrap();
            tell(format!("accepted {seq} {}\n", uid(id)));
        }
        let intent = Intent {
            container: format!("{}-0-1", uid(id)).parse().unwrap(),
            snapshot: "sha256-00".to_owned(),
            netns: None,
        };
        ledger
            .record(Event::AttemptIntended {
                uid: uid(id),
                intent,
            })
            .unwrap();
        // The last eight are left alive.
        if n > 8 {
            let old = uid(id - 8);
            tell(format!("removing 0 {old}\n"));
            let seq = ledger
                .record(Event::Removed { uid: old.clone() })
                .unwrap()
                .seq;
            runtime.block_on(ledger.durable(seq)).unwrap();
            tell(format!("removed {seq} {old}\n"));
        }
    }
}

fn accepted(n: u64) -> Event {
    Event::Accepted {
        uid: uid(n),
        instance: InstanceId::local(&format!("web-{n}"), Source::Cli).unwrap(),
        source: Source::Cli,
        definition: format!("{n} ").repeat(120),
        spec: Box::new(workload(1, RestartPolicy::Always)),
        warnings: Vec::new(),
    }
}

/// Somebody else on the disk, who writes and syncs.
fn neighbour(disk: &Path, parent: u32) {
    let mut n: u32 = 0;
    while parent_id() == parent {
        n = n.wrapping_add(1);
        let path = disk.join(format!("neighbour-{}", n % 8));
        let mut file = File::create(&path).unwrap();
        file.write_all(&vec![7; 4096 * (1 + n as usize % 16)])
            .unwrap();
        file.sync_all().unwrap();
        if n.is_multiple_of(8) {
            fs::remove_file(&path).unwrap();
            nix::unistd::syncfs(File::open(disk).unwrap()).unwrap();
        }
    }
}
