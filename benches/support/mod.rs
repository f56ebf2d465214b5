//! What the benches share: a real daemon in a corner of its own, an embedded scheduler, a local
//! image, and figures. Everything is gone when a [`World`] is dropped, panics included.
#![allow(dead_code, reason = "each bench uses its own part")]
#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench is no part of the daemon: it runs programs, and ends at what it can't do"
)]

pub mod bare;
pub mod daemon;
pub mod figures;
#[path = "../../tests/support/image.rs"]
pub mod image;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use riklet::testing::scheduler::{Core, Manners, Scheduler};
use serde_json::{Value, json};

use self::daemon::Daemon;

/// Longer than anything here may take.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What every container runs: it says that it lives, and ends at SIGTERM.
const SCRIPT: &str = "trap 'exit 0' TERM; echo up; sleep 1000000 & wait";

/// A daemon, its scheduler and its image.
pub struct World {
    /// The scheduler.
    pub scheduler: Scheduler,
    /// The daemon.
    pub daemon: Daemon,
    /// Where all of it lies.
    pub dir: PathBuf,
    definition: String,
}

impl World {
    /// Starts all of it, with riklet's defaults, and has the image pulled and unpacked.
    pub async fn open() -> Self {
        Self::with(true).await
    }

    /// As [`open`](Self::open), where every sandbox has `lo` and nothing else.
    pub async fn without_network() -> Self {
        Self::with(false).await
    }

    async fn with(network: bool) -> Self {
        let name = format!("riklet-test-{}-{:x}", std::process::id(), draw());
        let dir = std::env::temp_dir().join(name);
        let layout = dir.join("image");
        image::Image::default()
            .cmd(&["/bin/sh", "-c", SCRIPT])
            .write(&layout);
        let address = "127.0.0.1:0".parse().unwrap();
        let scheduler = Scheduler::start(address, Manners::Kind).await.unwrap();
        let definition = json!({
            "apiVersion": "v0", "kind": "Pod", "name": "bench",
            "spec": { "containers": [
                { "name": "main", "image": format!("oci:{}:img", layout.display()) },
            ]},
        });
        let daemon = Daemon::start(&dir, &scheduler.url(), network);
        let world = Self {
            scheduler,
            daemon,
            dir,
            definition: definition.to_string(),
        };
        world.place(&["warm".to_owned()]).await;
        world.destroy(&["warm".to_owned()]).await;
        world
    }

    /// Sends a CREATE for each id at once; returns how long it took until all are Running.
    pub async fn place(&self, ids: &[String]) -> Duration {
        let began = Instant::now();
        for id in ids {
            self.scheduler.create(id, &self.definition).unwrap();
        }
        self.running(ids).await;
        began.elapsed()
    }

    /// Waits until all are Running.
    pub async fn running(&self, ids: &[String]) {
        let all = |core: &Core| {
            let running = |id: &String| {
                let seen = core.instances.get(id);
                seen.is_some_and(|i| i.status == "RUNNING")
            };
            ids.iter().all(running).then_some(())
        };
        self.scheduler
            .wait("all Running", LIMIT, all)
            .await
            .unwrap();
    }

    /// Sends a DESTROY for each id at once; returns how long it took until all are Terminated.
    /// First waits until each has said that it lives: a shell that hasn't come to its trap yet
    /// doesn't hear SIGTERM, as no first process does, and would take its grace of 30 s.
    pub async fn destroy(&self, ids: &[String]) -> Duration {
        self.up(ids);
        let began = Instant::now();
        for id in ids {
            self.scheduler.destroy(id).unwrap();
        }
        let none = |core: &Core| {
            let gone = |id: &String| !core.instances.contains_key(id);
            ids.iter().all(gone).then_some(())
        };
        self.scheduler.wait("all gone", LIMIT, none).await.unwrap();
        began.elapsed()
    }

    /// Waits until each container has written its first line.
    fn up(&self, ids: &[String]) {
        let began = Instant::now();
        let shown = self.all_shown();
        let of = |id: &String| shown.iter().find(|i| i["instance"] == **id);
        for id in ids {
            let uid = of(id).unwrap()["uid"].as_str().unwrap();
            let log = self.dir.join("state/logs").join(uid).join("0-1.log");
            while !fs::read_to_string(&log).is_ok_and(|text| text.ends_with("up\n")) {
                assert!(began.elapsed() < LIMIT, "{id} says nothing");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// What `riklet ps -o json` says of one instance.
    pub fn shown(&self, id: &str) -> Value {
        let mut list = self.all_shown();
        list.retain(|i| i["instance"] == id);
        list.remove(0)
    }

    fn all_shown(&self) -> Vec<Value> {
        serde_json::from_str(&self.daemon.ask(&["ps", "-o", "json"])).unwrap()
    }

    /// Panics if the scheduler saw a rule broken.
    pub fn assert_well_behaved(&self) {
        let broken = self.scheduler.look(|core| core.violations.clone());
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.daemon.end();
        let teardown = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/teardown.sh");
        let torn = Command::new(teardown)
            .args([self.dir.join("state"), self.dir.join("run")])
            .stdin(Stdio::null())
            .status();
        if !torn.is_ok_and(|status| status.success()) {
            println!("something is left of {}", self.dir.display());
        }
        if std::thread::panicking() {
            println!("its state and log are kept in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Fifty names that were not used before, or however many.
pub fn names(what: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{what}-{n}")).collect()
}

fn draw() -> u32 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    u32::from_le_bytes(bytes)
}

/// The runtime that the benches' futures run on, apart from the daemon's process.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all();
    runtime.build().unwrap().block_on(future)
}
