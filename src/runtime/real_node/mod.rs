//! The node itself: the verbs of [`Node`] over runc, conmon, overlayfs, cgroups and namespaces.
//!
//! Why: one value that the reconciler is given, so that nothing above knows a program or a path.
//! Owns: how a verb is put together of the edge's parts, and what is known only in memory (exits
//! that the reaper read). In: names and intents. Out: what [`Node`] promises. Must never happen
//! here: a decision about what should run, a journal line, or a fork to observe.
//!
//! [`create`] makes, [`remove`] leaves nothing, [`observe`] looks, [`watch`] hints.

mod create;
mod errand;
mod failure;
mod images;
mod logs;
mod measure;
mod observe;
mod remove;
mod rotate;
mod sandbox;
mod signal;
mod turns;
mod watch;

use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedMutexGuard, Semaphore};

use self::{failure::hung_task, turns::Turns, watch::Watch};
pub use self::{
    images::ImageSource,
    rotate::{LogLimits, Rotation},
};
use super::{
    bundle::{defaults, profiles::Profiles},
    cgroup::Cgroups,
    conmon::Conmon,
    exec::Execs,
    facts::NodeFacts,
    layout::Layout,
    process::Spawner,
    runc::Runc,
};
use crate::{
    clock::Clock,
    model::{
        ids::{ContainerId, InstanceId, NodeUid, Uid},
        line::{Exit, NetworkClaim, ProcessId},
        observed::{ObservedInstance, ObservedNode},
        spec::{Errand, WorkloadSpec},
        users::IdSpan,
    },
    network::plug::{Network, NetworkConfig},
    node::{
        Change, CreateRequest, CreatedContainer, ErrandEnd, Failure, ImageWish, Node, ReadyImage,
        Sandbox, SandboxRequest,
    },
};

/// The programs that make containers: paths, or names that are looked up in the default PATH.
#[derive(Debug, Clone)]
pub struct Programs {
    /// runc, crun or youki.
    pub runc: PathBuf,
    /// conmon.
    pub conmon: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            runc: "runc".into(),
            conmon: "conmon".into(),
        }
    }
}

/// How long things may take before they count as hung.
#[derive(Debug, Clone)]
pub struct Deadlines {
    /// From spawning a monitor to "created".
    pub create: Duration,
    /// Any other call of the runtime.
    pub call: Duration,
    /// From SIGKILL to an empty cgroup.
    pub kill: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            create: Duration::from_secs(30),
            call: Duration::from_secs(10),
            kill: Duration::from_secs(10),
        }
    }
}

/// What a node is made of.
#[derive(Debug, Clone)]
pub struct RealNodeConfig {
    /// State directory, absolute.
    pub state_dir: PathBuf,
    /// Run directory, absolute, on tmpfs.
    pub run_dir: PathBuf,
    /// Whose containers these are.
    pub node_uid: NodeUid,
    /// The node's name, for the definitions that ask for it.
    pub node_name: String,
    /// The paths of the node that somebody may mount from who may not mount everything: see
    /// [`NodeFacts::guarded`].
    pub guarded: Vec<PathBuf>,
    /// The programs.
    pub programs: Programs,
    /// The deadlines.
    pub deadlines: Deadlines,
    /// The seccomp profile in docker's format; none to run without.
    pub seccomp: Option<PathBuf>,
    /// What sandboxes join.
    pub network: NetworkConfig,
}

/// The node. Cheap to clone.
pub struct RealNode<I>(Arc<Inner<I>>);

impl<I> Clone for RealNode<I> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<I> {
    layout: Layout,
    node: NodeUid,
    facts: NodeFacts,
    deadlines: Deadlines,
    profiles: Profiles,
    runc: Runc,
    conmon: Conmon,
    spawner: Spawner,
    network: Network,
    images: I,
    watch: Watch,
    turns: Turns<ContainerId>,
    sandbox_turns: Turns<Uid>,
    /// Who walks through a volume.
    walks: Semaphore,
    /// The kernel's boot id: what was made in another boot isn't there any more.
    boot: String,
}

/// Exits that the reaper read because the monitor was dead, until the attempt is removed.
pub(super) type OrphanExits = Arc<Mutex<HashMap<ContainerId, Exit>>>;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is never half-changed: every change is one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Finds a program by name as a child with the default PATH would; conmon takes no names.
fn absolute(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    defaults::PATH
        .split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| program.to_owned())
}

fn load_profiles(path: Option<&Path>, layout: &Layout) -> Profiles {
    let (profiles, error) = Profiles::load(path, layout.profiles());
    if let Some(error) = error {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, cause, "containers run without a seccomp profile");
    }
    profiles
}

impl<I: ImageSource> RealNode<I> {
    /// A node with these parts; its containers live below the cgroup parent of `spawner`.
    /// Within a tokio runtime.
    ///
    /// # Errors
    /// The directories can't be made.
    pub fn new(config: RealNodeConfig, spawner: Spawner, images: I) -> std::io::Result<Self> {
        let layout = Layout::new(config.state_dir, config.run_dir);
        for dir in [
            layout.pods(),
            layout.exits(),
            layout.persists(),
            layout.runc_root(),
            layout.all_namespaces(),
        ] {
            super::bundle::make_private_directory(&dir)?;
        }
        super::users::make_passable_directory(&layout.roots())?;
        let runc = Runc::new(
            absolute(&config.programs.runc),
            layout.runc_root(),
            config.deadlines.call,
            spawner.clone(),
        );
        let conmon = Conmon::new(
            absolute(&config.programs.conmon),
            layout.clone(),
            runc.clone(),
            spawner.clone(),
            config.deadlines.create,
        );
        let watch = Watch::new(layout.exits(), spawner.reaper().clone());
        let node = config.node_uid;
        let network = Network::new(config.network, spawner.clone(), node.clone(), &layout);
        Ok(Self(Arc::new(Inner {
            profiles: load_profiles(config.seccomp.as_deref(), &layout),
            layout,
            node,
            network,
            facts: NodeFacts::of_this_node(&config.node_name, config.guarded),
            deadlines: config.deadlines,
            runc,
            conmon,
            spawner,
            images,
            watch,
            turns: Turns::default(),
            sandbox_turns: Turns::default(),
            walks: Semaphore::new(1),
            boot: Clock::system().map_err(std::io::Error::other)?.now().boot,
        })))
    }

    /// Ends every child that a former daemon left at work: first thing after the lock.
    ///
    /// # Errors
    /// One of them outlives SIGKILL.
    pub async fn sweep_work(&self) -> Result<(), Failure> {
        let swept = self.0.spawner.clear_work(self.0.deadlines.kill).await;
        swept.map_err(|e| failure::of_cgroup("end what the former daemon left at work", e))?;
        self.end_strays_of_all().await;
        Ok(())
    }

    /// Where this node's things lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// The runtime behind it, for `exec`.
    #[must_use]
    pub fn runc(&self) -> &Runc {
        &self.0.runc
    }

    /// What runs commands in its containers for people.
    #[must_use]
    pub fn execs(&self) -> Execs {
        let inner = &self.0;
        Execs::new(
            inner.spawner.clone(),
            inner.runc.clone(),
            inner.layout.clone(),
        )
    }

    /// Do containers run under a seccomp profile? Not where none was configured or it can't be
    /// read: a warning was logged, and `doctor` shows it.
    #[must_use]
    pub fn has_seccomp(&self) -> bool {
        self.0.profiles.usual()
    }

    /// Why instances get no network although they should; reads files.
    #[must_use]
    pub fn network_missing(&self) -> Option<String> {
        self.0.network.missing().map(|lack| lack.to_string())
    }

    fn cgroups(&self) -> &Cgroups {
        self.0.spawner.cgroups()
    }

    /// Waits until nobody else is at work on the attempt's files. Work on a thread goes on when
    /// the future that waits for it is dropped, so it takes its turn along; what it hangs on (a
    /// dead mount) may never end, and whoever waits for it may keep others waiting.
    async fn turn(&self, id: &ContainerId) -> Result<OwnedMutexGuard<()>, Failure> {
        let limit = self.0.deadlines.call;
        let turn = tokio::time::timeout(limit, self.0.turns.take(id)).await;
        turn.map_err(|_| failure::late(format!("go on with {id}"), limit))
    }

    /// Drops what is kept in memory of a removed attempt.
    fn forget_attempt(&self, id: &ContainerId) {
        self.0.watch.forget(id);
        self.0.turns.end(id);
    }

    /// Runs `work`, which blocks on files, off the async threads.
    async fn off_thread<T: Send + 'static>(
        &self,
        tried: &str,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&this))
            .await
            .map_err(|e| hung_task(tried, e))?
    }
}

impl<I: ImageSource> Node for RealNode<I> {
    async fn ensure_image(&self, wish: ImageWish<'_>) -> Result<ReadyImage, Failure> {
        self.0.images.ensure(wish).await
    }

    async fn claim_network(
        &self,
        workload: &WorkloadSpec,
    ) -> Result<Option<NetworkClaim>, Failure> {
        let workload = workload.clone();
        let tried = "choose the network of a sandbox";
        let claim = move |node: &Self| {
            let claimed = node.0.network.claim(&workload);
            claimed.map_err(|e| failure::of_network(tried.to_owned(), e))
        };
        self.off_thread(tried, claim).await
    }

    async fn taken_ids(&self, uid: &Uid) -> Result<Vec<IdSpan>, Failure> {
        let uid = uid.clone();
        let look = move |node: &Self| node.look_for_ids(&uid);
        self.off_thread("see which ids are taken", look).await
    }

    async fn ensure_sandbox(&self, request: SandboxRequest<'_>) -> Result<Sandbox, Failure> {
        self.make_sandbox(request).await
    }

    async fn create(&self, request: CreateRequest<'_>) -> Result<CreatedContainer, Failure> {
        self.make_container(request).await
    }

    async fn start(&self, id: &ContainerId) -> Result<ProcessId, Failure> {
        self.start_container(id).await
    }

    async fn signal(&self, id: &ContainerId, signal: i32) -> Result<(), Failure> {
        self.signal_container(id, signal).await
    }

    async fn errand(
        &self,
        id: &ContainerId,
        address: Option<IpAddr>,
        errand: &Errand,
        limit: Duration,
    ) -> Result<ErrandEnd, Failure> {
        self.do_errand(id, address, errand, limit).await
    }

    async fn volume_use(&self, uid: &Uid, volume: usize, enough: u64) -> Result<u64, Failure> {
        self.measure(uid, volume, enough).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), Failure> {
        self.remove_container(id).await
    }

    async fn remove_sandbox(&self, uid: &Uid) -> Result<(), Failure> {
        self.remove_all(uid).await
    }

    async fn observe(&self, uid: &Uid) -> Result<ObservedInstance, Failure> {
        let mut node = self.look(Some(uid)).await?;
        Ok(node.instances.remove(uid).unwrap_or_default())
    }

    async fn observe_all(&self) -> Result<ObservedNode, Failure> {
        self.look(None).await
    }

    async fn instance_of(&self, uid: &Uid) -> Option<InstanceId> {
        let of = uid.clone();
        let read = move |node: &Self| Ok(node.marked_instance(&of));
        self.off_thread("read a mark", read).await.ok().flatten()
    }

    async fn changed(&self) -> Change {
        self.0.watch.changed().await
    }
}

#[cfg(test)]
mod tests;
