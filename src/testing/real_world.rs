//! A real node in a corner of its own: temporary directories, a cgroup parent of its own, one
//! image that is busybox.
//!
//! For tests and measurements only. What it has made goes when it is dropped, panics included.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use oci_spec::image::ImageConfiguration;

use super::contract::ContractNode;
use crate::{
    model::ids::{ContainerId, NodeUid, Uid},
    network::{links, netns, own, pins, plug::NetworkConfig},
    node::{Failure, FailureKind, ImageWish, Node as _, ReadyImage},
    runtime::{
        bundle::{
            overlay::{unmount_layer, unmount_root},
            seccomp::DISTRIBUTION_PROFILE,
        },
        cgroup::Cgroups,
        conmon::read_pid,
        layout::netns_name,
        process::Spawner,
        real_node::{Deadlines, ImageSource, Programs, RealNode, RealNodeConfig},
        reaper::Reaper,
        runc_state::{self, RuncState},
        tree,
    },
};

/// The one snapshot there is.
pub const SNAPSHOT: &str = "sha256-busybox";

/// An image store with one image, whatever it is called: statically linked busybox.
#[derive(Debug, Clone)]
pub struct BusyboxImage {
    snapshots: PathBuf,
    /// While somebody has this, its file system hangs: its configuration can't be read, or not.
    pub hang: Arc<Mutex<()>>,
}

impl BusyboxImage {
    /// Unpacks it below `snapshots`.
    ///
    /// # Errors
    /// There is no `/bin/busybox`, or it can't be written.
    pub fn unpack(snapshots: &Path) -> std::io::Result<Self> {
        let rootfs = snapshots.join(SNAPSHOT).join("rootfs");
        let bin = rootfs.join("bin");
        fs::create_dir_all(&bin)?;
        fs::create_dir_all(rootfs.join("etc"))?;
        fs::copy("/bin/busybox", bin.join("busybox"))?;
        for name in ["sh", "sleep", "cat", "kill", "true", "id", "mount"] {
            std::os::unix::fs::symlink("busybox", bin.join(name))?;
        }
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
        fs::set_permissions(&rootfs, fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            snapshots: snapshots.to_owned(),
            hang: Arc::default(),
        })
    }
}

impl ImageSource for BusyboxImage {
    async fn ensure(&self, _: ImageWish<'_>) -> Result<ReadyImage, Failure> {
        Ok(ReadyImage {
            digest: "sha256:busybox".to_owned(),
            snapshot: SNAPSHOT.to_owned(),
        })
    }

    fn config(&self, snapshot: &str) -> Result<ImageConfiguration, Failure> {
        drop(self.hang.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.rootfs(snapshot).exists() {
            let tried = format!("read the configuration of {snapshot}");
            return Err(Failure::plain(FailureKind::SnapshotMissing, tried));
        }
        serde_json::from_str(
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
                "config":{"Cmd":["/bin/sleep","1000"]},"history":[]}"#,
        )
        .map_err(|e| Failure::new(FailureKind::Permanent, "read the configuration", e))
    }

    fn rootfs(&self, snapshot: &str) -> PathBuf {
        self.snapshots.join(snapshot).join("rootfs")
    }
}

/// A real node and what it lies on.
pub struct RealWorld {
    /// The node.
    pub node: RealNode<BusyboxImage>,
    /// Its cgroups.
    pub cgroups: Cgroups,
    /// Its configuration, to build a second node on the same ground: a restart.
    pub config: RealNodeConfig,
    /// Its image.
    pub image: BusyboxImage,
    spawner: Spawner,
    dir: PathBuf,
}

/// A uid that no other test on this machine draws: pid and clock are in it.
#[must_use]
pub fn fresh_entropy() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        bytes = u64::from(std::process::id()).to_le_bytes();
    }
    u64::from_le_bytes(bytes).wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed))
}

impl RealWorld {
    /// A fresh one. Within a tokio runtime, as root.
    ///
    /// # Errors
    /// The machine lacks what a node needs.
    pub fn open() -> Result<Self, Box<dyn std::error::Error>> {
        let node_uid = NodeUid::from_entropy(fresh_entropy());
        let dir =
            std::env::temp_dir().join(format!("riklet-test-{}-{node_uid}", std::process::id()));
        let cgroups = Cgroups::detect(&format!("/riklet-{node_uid}"))?;
        let spawner = Spawner::new(Reaper::start()?, cgroups.clone());
        let image = BusyboxImage::unpack(&dir.join("state/snapshots"))?;
        // Whose cgroups tools/sweep.sh may remove, if this process is killed.
        fs::create_dir_all(dir.join("run"))?;
        fs::write(dir.join("run/owner"), format!("{node_uid}\n"))?;
        let config = RealNodeConfig {
            state_dir: dir.join("state"),
            run_dir: dir.join("run"),
            node_uid,
            node_name: "real-node".to_owned(),
            guarded: Vec::new(),
            programs: Programs::default(),
            deadlines: Deadlines::default(),
            seccomp: Some(DISTRIBUTION_PROFILE.into()),
            network: NetworkConfig::off(),
        };
        Ok(Self {
            node: RealNode::new(config.clone(), spawner.clone(), image.clone())?,
            cgroups,
            config,
            spawner,
            image,
            dir,
        })
    }

    /// A fresh one whose sandboxes join a network of its own, where CNI's plugins are installed.
    ///
    /// # Errors
    /// The machine lacks what a node needs.
    pub fn networked() -> Result<Self, Box<dyn std::error::Error>> {
        let mut world = Self::open()?;
        world.config.network = NetworkConfig {
            enabled: true,
            bin_dirs: vec!["/usr/lib/cni".into(), "/opt/cni/bin".into()],
            ..NetworkConfig::off()
        };
        world.node = world.restarted()?;
        Ok(world)
    }

    /// Another node on the same ground, as a daemon that was started anew has it.
    ///
    /// # Errors
    /// The directories can't be made.
    pub fn restarted(&self) -> std::io::Result<RealNode<BusyboxImage>> {
        self.with(self.config.clone())
    }

    /// Another node on the same ground, configured otherwise.
    ///
    /// # Errors
    /// The directories can't be made.
    pub fn with(&self, config: RealNodeConfig) -> std::io::Result<RealNode<BusyboxImage>> {
        RealNode::new(config, self.spawner.clone(), self.image.clone())
    }
}

impl RealWorld {
    /// Leaves the network by the node's own code: rules in the node's tables are in no directory.
    fn leave_network(&self) {
        let pods = names(&self.node.layout().pods());
        let uids: Vec<Uid> = pods.iter().filter_map(|name| name.parse().ok()).collect();
        let Some(handle) = tokio::runtime::Handle::try_current()
            .ok()
            .filter(|_| self.config.network.enabled && !uids.is_empty())
        else {
            return;
        };
        tokio::task::block_in_place(|| {
            handle.block_on(async {
                for uid in &uids {
                    let _ = self.node.remove_sandbox(uid).await;
                }
            });
        });
    }
}

/// The names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.collect()
}

impl Drop for RealWorld {
    fn drop(&mut self) {
        self.leave_network();
        let layout = self.node.layout();
        let until = Instant::now() + Duration::from_secs(5);
        while self.cgroups.populated("") && Instant::now() < until {
            let _ = self.cgroups.kill_now("");
            std::thread::sleep(Duration::from_millis(5));
        }
        let entries = |dir: &Path| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|e| e.path()).collect::<Vec<_>>()
        };
        for root in entries(&layout.roots()) {
            let _ = unmount_root(&root);
        }
        for pod in entries(&layout.pods()) {
            for bundle in entries(&pod) {
                let _ = unmount_layer(&bundle);
            }
            let uid = pod
                .file_name()
                .and_then(|n| n.to_str()?.parse::<Uid>().ok());
            if let Some(uid) = uid {
                let _ = netns::delete(&netns_name(&uid));
                let _ = pins::remove_all(&layout.namespaces(&uid));
            }
        }
        let _ = links::delete(&own::bridge(&self.config.node_uid));
        while self.cgroups.remove("").is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = tree::unmount_below(&self.dir).and_then(|()| tree::remove(&self.dir));
    }
}

fn signal(pid: i32, signal: nix::sys::signal::Signal) {
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}

impl ContractNode for RealNode<BusyboxImage> {
    fn exit(&self, id: &ContainerId, code: i32) {
        // What the contract's workload waits for.
        let _ = fs::write(
            self.layout().bundle(id).join("rootfs/exit"),
            format!("{code}\n"),
        );
    }

    fn kill_container(&self, id: &ContainerId) {
        if let Ok(RuncState::Known { process, .. }) = runc_state::read(&self.layout().runc_dir(id))
        {
            signal(process.pid, nix::sys::signal::SIGKILL);
        }
    }

    fn kill_monitor(&self, id: &ContainerId) {
        if let Some(pid) = read_pid(&self.layout().persist(id).join("conmon.pid")) {
            signal(pid, nix::sys::signal::SIGKILL);
        }
    }

    fn break_state(&self, id: &ContainerId) {
        let _ = fs::write(self.layout().runc_dir(id).join("state.json"), "{\"id\":");
    }

    fn mark_sandbox(&self, uid: &Uid) {
        // A file system that goes with the sandbox.
        let _ = fs::write(self.layout().shm(uid).join("mark"), "");
    }

    fn is_marked(&self, uid: &Uid) -> bool {
        self.layout().shm(uid).join("mark").exists()
    }
}
