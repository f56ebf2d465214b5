//! The ground the loops stand on: directories, locks, journal, node.
//!
//! The order matters (design section 7): locks first, so that nobody else is at work; then what
//! is known; then the children of a dead daemon are ended, for one may still be creating or
//! unpacking; only then is anything looked at.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{AgentError, tend::show};
use crate::{
    book::{Book, BookError},
    clock::{Clock, ClockError},
    config::{Config, Journal},
    error_chain::one_line,
    image::{Images, ImagesConfig, SkopeoConfig},
    journal::Sizes,
    ledger::{DirLock, Ledger, LockError, OpenOptions, Opening, lock},
    model::{ids::NodeUid, line::Event},
    network::plug::NetworkConfig,
    runtime::{
        bundle::config_json,
        cgroup::{CgroupError, Cgroups},
        process::{Call, CallError, Spawner},
        real_node::{Deadlines, Programs, RealNode, RealNodeConfig},
        reaper::Reaper,
    },
};

/// How long the children of a dead daemon may take to die.
const SWEEP_WITHIN: Duration = Duration::from_secs(10);

/// Where Debian's golang-github-containers-common puts the distribution's profile.
const SECCOMP_PROFILE: &str = "/usr/share/containers/seccomp.json";

/// Why there is no ground to stand on.
#[derive(Debug, thiserror::Error)]
pub enum GroundError {
    /// Containers need root.
    #[error("riklet needs root to make containers: run it with sudo")]
    NotRoot,
    /// The next daemon would not see the mounts.
    #[error(
        "this process is in a private mount namespace, so the next daemon would not see its \
         mounts: start riklet outside of it (systemd: no PrivateMounts, PrivateTmp or \
         ProtectSystem), or pass --allow-private-mounts"
    )]
    PrivateMounts,
    /// A directory can't be made.
    #[error("the directory {} can't be made: give riklet another with {flag}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Which flag names it.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A directory can't be written to.
    #[error("the directory {} can't be written to: give riklet another with {flag}", path.display())]
    NotWritable {
        /// Which.
        path: PathBuf,
        /// Which flag names it.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Another daemon has it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No clock.
    #[error(transparent)]
    Clock(#[from] ClockError),
}

/// What the loops stand on.
pub(super) struct Ground {
    pub(super) ledger: Ledger,
    pub(super) opening: Opening,
    pub(super) node: Arc<RealNode<Images>>,
    pub(super) images: Images,
    pub(super) cgroups: Cgroups,
    pub(super) spawner: Spawner,
    // Held until everything above has ended.
    _locks: [DirLock; 2],
    _tree: fs::File,
}

/// Makes the ground ready.
pub(super) async fn prepare(config: &Config) -> Result<Ground, AgentError> {
    check_process(config)?;
    make_directories(config)?;
    let state_lock = DirLock::take(&config.state_dir).map_err(GroundError::from)?;
    let run_lock = DirLock::take(&config.run_dir).map_err(GroundError::from)?;
    let clock = Clock::system().map_err(GroundError::from)?;
    let (ledger, opening) = Ledger::open(OpenOptions {
        owner: lock::owner(&config.run_dir).or_else(|| marked_owner(&config.state_dir)),
        sizes: sizes(&config.journal),
        ..OpenOptions::new(&config.state_dir, clock)
    })?;
    run_lock.claim(&opening.node).map_err(GroundError::from)?;
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| AgentError::Node(e);
    let reaper = Reaper::start().map_err(|e| failed(e.into()))?;
    let parent = format!("/riklet-{}", opening.node);
    let cgroups = Cgroups::detect(&parent).map_err(|e| failed(e.into()))?;
    let spawner = Spawner::new(reaper, cgroups.clone());
    // The locks above are of directories, and those can be copied.
    let tree = cgroups.claim().map_err(|e| failed(e.into()))?;
    // A child of the dead daemon may still be creating or unpacking.
    let swept = spawner.clear_work(SWEEP_WITHIN).await;
    harmless(swept).map_err(|e| failed(e.into()))?;
    let images = Images::open(images_config(config), &spawner).map_err(|e| failed(e.into()))?;
    let node = RealNode::new(
        node_config(config, &opening),
        spawner.clone(),
        images.clone(),
    );
    let node = Arc::new(node.map_err(|e| failed(e.into()))?);
    // What can't be removed now is left for the next start: no reason not to look after the rest.
    if let Err(error) = node.sweep_sandboxes().await {
        tracing::error!(
            why = one_line(&error),
            "former sandboxes have left something"
        );
    }
    // Its execs ended with `work`, what they had started in containers didn't.
    node.end_strays_of_all().await;
    Ok(Ground {
        ledger,
        opening,
        node,
        images,
        cgroups,
        spawner,
        _locks: [state_lock, run_lock],
        _tree: tree,
    })
}

/// What outlives SIGKILL hangs in the kernel and never gets to run a line of its own again: it
/// creates and unpacks nothing. That is no reason to leave every container without its daemon.
fn harmless(swept: Result<(), CgroupError>) -> Result<(), CgroupError> {
    if let Err(error @ CgroupError::Unkillable { .. }) = &swept {
        tracing::error!(why = one_line(error), "a former daemon's child hangs");
        return Ok(());
    }
    swept
}

fn sizes(kept: &Journal) -> Sizes {
    Sizes {
        segment: kept.segment,
        history_age: kept.history_age,
        history_bytes: kept.history_size,
        history_always: kept.history_always,
        ..Sizes::default()
    }
}

fn check_process(config: &Config) -> Result<(), GroundError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(GroundError::NotRoot);
    }
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    // Where pid 1's can't be read (a container), there is nothing to compare with.
    let private = match (namespace("1"), namespace("self")) {
        (Some(first), Some(own)) => first != own,
        _ => false,
    };
    if private && !config.allow_private_mounts {
        return Err(GroundError::PrivateMounts);
    }
    Ok(())
}

fn make_directories(config: &Config) -> Result<(), GroundError> {
    make(&config.state_dir, 0o755, "--state-dir")?;
    make(&config.run_dir, 0o755, "--run-dir")?;
    for name in ["journal", "pods", "snapshots", "exits", "logs"] {
        make_inside(&config.state_dir.join(name), "--state-dir")?;
    }
    for name in ["runc", "p", "ns"] {
        make_inside(&config.run_dir.join(name), "--run-dir")?;
    }
    // The root of a container with ids of its own is nobody here, and passes it.
    make_inside_for(&config.run_dir.join("roots"), 0o711, "--run-dir")?;
    Ok(())
}

/// Makes one of riklet's own directories. What isn't one and bears its name is set aside, for a
/// person to look at: it is no reason not to start.
fn make_inside(path: &Path, flag: &'static str) -> Result<(), GroundError> {
    make_inside_for(path, 0o700, flag)
}

fn make_inside_for(path: &Path, mode: u32, flag: &'static str) -> Result<(), GroundError> {
    if path.symlink_metadata().is_ok() && !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = (1..).map(|n| path.with_file_name(format!("{name}.bad-{n}")));
        let free = aside.into_iter().find(|to| to.symlink_metadata().is_err());
        if let Some(to) = free
            && let Err(error) = fs::rename(path, &to)
        {
            tracing::error!(path = %path.display(), %error, "no directory, and in the way");
        } else {
            tracing::error!(path = %path.display(), "it was no directory, and is set aside");
        }
    }
    make(path, mode, flag)
}

/// Makes a directory with its mode, whatever the umask; one that is there gets the mode.
fn make(path: &Path, mode: u32, flag: &'static str) -> Result<(), GroundError> {
    let failed = |source| GroundError::Directory {
        path: path.to_owned(),
        flag,
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(failed)?;
    let writable = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    writable.map_err(|source| GroundError::NotWritable {
        path: path.to_owned(),
        flag,
        source,
    })
}

/// The node that the marks of a state directory's bundles name.
fn marked_owner(state_dir: &Path) -> Option<NodeUid> {
    let inside = |dir: &Path| {
        let entries = fs::read_dir(dir).ok().into_iter().flatten();
        entries.filter_map(Result::ok).map(|entry| entry.path())
    };
    let mut bundles = inside(&state_dir.join("pods")).flat_map(|pod| inside(&pod));
    bundles.find_map(|bundle| {
        let text = fs::read(bundle.join("config.json")).ok()?;
        config_json::annotation(&text, config_json::NODE)?
            .parse()
            .ok()
    })
}

/// Every path that a source's policy lists, but the root: who may mount that may all.
fn guarded(config: &Config) -> Vec<PathBuf> {
    let security = &config.security;
    let sources = [&security.scheduler, &security.manifest, &security.cli];
    let listed = sources.into_iter().flat_map(|allowed| &allowed.host_paths);
    listed
        .filter(|path| *path != "/")
        .map(PathBuf::from)
        .collect()
}

fn node_config(config: &Config, opening: &Opening) -> RealNodeConfig {
    let profile = Path::new(SECCOMP_PROFILE);
    RealNodeConfig {
        state_dir: config.state_dir.clone(),
        run_dir: config.run_dir.clone(),
        node_uid: opening.node.clone(),
        node_name: config.node_name.clone(),
        guarded: guarded(config),
        programs: Programs {
            runc: config.programs.runc.clone(),
            conmon: config.programs.conmon.clone(),
        },
        deadlines: Deadlines {
            create: config.deadlines.runtime,
            call: config.deadlines.runtime,
            ..Deadlines::default()
        },
        seccomp: Some(profile.to_owned()),
        network: NetworkConfig::of(&config.network, config.deadlines.runtime),
    }
}

fn images_config(config: &Config) -> ImagesConfig {
    ImagesConfig {
        umoci: config.programs.umoci.clone(),
        deadline: config.deadlines.pull,
        stall: config.deadlines.stall,
        skopeo: SkopeoConfig {
            program: config.programs.skopeo.clone(),
            policy: config.images.policy.clone(),
            registries_conf: config.images.registries_conf.clone(),
            authfile: config.images.authfile.clone(),
            certs_dir: config.images.certs_dir.clone(),
            insecure_registries: config.images.insecure_registries.iter().cloned().collect(),
        },
        ..ImagesConfig::new(config.state_dir.join("snapshots"))
    }
}

/// Writes down that a daemon has taken over, and what it found.
pub(crate) fn record_start(book: &impl Book, opening: &Opening) -> Result<(), BookError> {
    if opening.boot_changed {
        book.record(Event::Boot {})?;
    }
    let pid = i32::try_from(std::process::id()).unwrap_or(0);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    book.record(Event::DaemonStarted { version, pid })?;
    // What a start judges is also left again by a start that finds it mended.
    let found = opening.degraded();
    for mode in Opening::JUDGES {
        let detail = found.iter().find(|(found, _)| *found == mode);
        show(book, mode, detail.map(|(_, detail)| detail.clone()), true);
    }
    Ok(())
}

/// Is the whole node going down, rather than this daemon alone? Asked of systemd, where it runs.
pub(super) async fn node_is_stopping(ground: &Ground) -> bool {
    if !Path::new("/run/systemd/system").exists() {
        return false;
    }
    let call = Call::new("systemctl", Duration::from_secs(1)).arg("is-system-running");
    match ground.spawner.call(call).await {
        Ok(output) => output.stdout.starts_with(b"stopping"),
        // It exits with 1 for every state but "running".
        Err(CallError::Exit { stdout, .. }) => stdout.starts_with(b"stopping"),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
