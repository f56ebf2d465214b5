//! Looking: what is there of ours, by files only. No fork, no write.
//!
//! An attempt is there if anything bears its name: runc's directory, a monitor's directory, an
//! exit file, a bundle, a cgroup. All of these lie in directories and cgroups that belong to this
//! node alone. A network namespace is the node's only if its incarnation's directory stands, for
//! `/run/netns` is everybody's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use super::{ImageSource, RealNode, failure};
use crate::{
    model::{
        ids::{ContainerId, InstanceId, Uid},
        line::{Exit, ProcessId},
        observed::{ObservedContainer, ObservedInstance, ObservedNode, Status},
    },
    node::Failure,
    runtime::{
        bundle::{config_json, last_words},
        conmon::{read_exit, read_pid, read_sync},
        layout::{container_cgroup, monitor_cgroup, parse_attempt, pod_cgroup},
        process::{ending, identify},
        runc_state::{self, RuncState},
    },
};

/// Attempts by incarnation; an incarnation of which only the sandbox is left has none.
pub(super) type Attempts = BTreeMap<Uid, BTreeSet<ContainerId>>;

/// The names in a directory; none if it isn't there.
pub(super) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(e) => return Err(e),
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

impl<I: ImageSource> RealNode<I> {
    /// Every attempt of which anything is left, of one incarnation or of all.
    pub(super) fn attempts(&self, of: Option<&Uid>) -> Result<Attempts, Failure> {
        let layout = self.layout();
        let mut found = Attempts::new();
        let read = |dir: &Path| {
            names(dir).map_err(|e| failure::of_io(format!("look into {}", dir.display()), e))
        };
        let mut flat = Vec::new();
        for dir in [layout.runc_root(), layout.persists(), layout.exits()] {
            flat.extend(read(&dir)?);
        }
        flat.extend(self.cgroups().children("monitors"));
        let flat = flat.iter().filter_map(|name| name.parse().ok());
        for id in flat.filter(|id: &ContainerId| of.is_none_or(|uid| *uid == id.uid)) {
            found.entry(id.uid.clone()).or_default().insert(id);
        }
        let pods: BTreeSet<Uid> = match of {
            Some(uid) => BTreeSet::from([uid.clone()]),
            None => {
                let mut pods = read(&layout.pods())?;
                pods.extend(self.cgroups().children("pods"));
                pods.iter().filter_map(|name| name.parse().ok()).collect()
            }
        };
        for uid in pods {
            let mut inside = read(&layout.pod(&uid))?;
            inside.extend(self.cgroups().children(&pod_cgroup(&uid)));
            let ids = inside.iter().filter_map(|name| parse_attempt(&uid, name));
            let ids: Vec<_> = ids.collect();
            if of.is_none() || !ids.is_empty() {
                found.entry(uid).or_default().extend(ids);
            }
        }
        Ok(found)
    }

    /// Looks at one attempt; none if nothing of it is there, or if it is another node's.
    pub(super) fn look_at(&self, id: &ContainerId) -> Result<Option<ObservedContainer>, Failure> {
        let (layout, cgroups) = (self.layout(), self.cgroups());
        let (own, above) = (container_cgroup(id), monitor_cgroup(id));
        // Before the runtime's state: what a monitor does, it does before it ends.
        let monitor = cgroups.populated(&above);
        let state = runc_state::read(&layout.runc_dir(id))
            .map_err(|e| failure::of_io(format!("read the runtime's state of {id}"), e))?;
        if let RuncState::Known {
            node: Some(node), ..
        } = &state
            && node != self.0.node.as_str()
        {
            return Ok(None);
        }
        let (status, process) = self.status_of(id, &state, monitor);
        let leftovers = monitor
            || state != RuncState::Absent
            || [layout.persist(id), layout.bundle(id), layout.exit_file(id)]
                .iter()
                .any(|path| path.symlink_metadata().is_ok())
            || cgroups.exists(&own)
            || cgroups.exists(&above);
        if !leftovers {
            return Ok(None);
        }
        let ended = process.is_none() && status != Status::Creating;
        let exit = ended.then(|| read_exit(layout, id, cgroups.oom_kills(&own)));
        if let Some(process) = process {
            self.0.watch.follow_container(id, process);
        }
        if monitor && status != Status::Creating {
            self.follow_found_monitor(id);
        }
        Ok(Some(ObservedContainer {
            status,
            process,
            monitor,
            exit: exit.flatten().map(|exit| self.with_last_words(id, exit)),
            leftovers,
        }))
    }

    fn with_last_words(&self, id: &ContainerId, exit: Exit) -> Exit {
        let layout = self.layout();
        let failed = exit.code != Some(0);
        Exit {
            message: last_words::read(&layout.bundle(id), &layout.log_file(id), failed),
            ..exit
        }
    }

    /// What an attempt is in, by the runtime's state, its monitor and its cgroup.
    ///
    /// The cgroup has the last word on what lives: a process that the runtime's state names and
    /// that is elsewhere is somebody else's, and while anything lives in the cgroup the attempt
    /// isn't over, whatever that state says.
    fn status_of(
        &self,
        id: &ContainerId,
        state: &RuncState,
        monitor: bool,
    ) -> (Status, Option<ProcessId>) {
        let own = container_cgroup(id);
        let persist = self.layout().persist(id);
        // The sync file is there before its monitor is; without it that one's word is lost.
        let at_work = || monitor && persist.join("sync").exists() && read_sync(&persist).is_none();
        let is_in =
            |process: &ProcessId| self.cgroups().holds(&own, process.pid) || ending(*process);
        match state {
            RuncState::Known {
                process,
                alive: true,
                waiting,
                ..
            } if is_in(process) => match waiting {
                true if at_work() => (Status::Creating, None),
                true => (Status::Created, Some(*process)),
                false if self.cgroups().frozen(&own) => (Status::Paused, Some(*process)),
                false => (Status::Running, Some(*process)),
            },
            RuncState::Broken | RuncState::Absent if at_work() => (Status::Creating, None),
            _ if self.cgroups().populated(&own) => (Status::Broken, None),
            RuncState::Absent => (Status::Absent, None),
            // Nothing lives, so nothing has to be commanded: half a state is as good as one.
            RuncState::Known { .. } | RuncState::Broken => (Status::Stopped, None),
        }
    }

    /// A monitor that another daemon spawned is watched from the moment it is seen.
    fn follow_found_monitor(&self, id: &ContainerId) {
        if self.0.watch.follows_monitor(id) {
            return;
        }
        let pid = read_pid(&self.layout().persist(id).join("conmon.pid"));
        let ours = pid.filter(|pid| self.cgroups().pids(&monitor_cgroup(id)).contains(pid));
        if let Some(process) = ours.and_then(|pid| identify(pid).ok()) {
            self.0.watch.follow_monitor(id, process);
        }
    }

    /// The instance that the marks on an incarnation's containers name: its bundles' annotations,
    /// or what the runtime has kept of those.
    pub(super) fn marked_instance(&self, uid: &Uid) -> Option<InstanceId> {
        let attempts = self.attempts(Some(uid)).ok()?.remove(uid)?;
        let mut named = attempts.iter().filter_map(|id| {
            let bundle = || {
                let text = fs::read(self.layout().bundle(id).join("config.json")).ok()?;
                config_json::annotation(&text, config_json::INSTANCE)
            };
            bundle().or_else(|| runc_state::instance(&self.layout().runc_dir(id)))
        });
        named.find_map(|name| name.parse().ok())
    }

    fn look_now(&self, of: Option<&Uid>) -> Result<ObservedNode, Failure> {
        let mut node = ObservedNode::default();
        for (uid, ids) in self.attempts(of)? {
            let seen = node.instances.entry(uid).or_default();
            for id in ids {
                if let Some(container) = self.look_at(&id)? {
                    seen.containers.insert(id, container);
                }
            }
        }
        if let Some(uid) = of {
            node.instances.entry(uid.clone()).or_default();
        }
        for (uid, seen) in &mut node.instances {
            seen.sandbox = self.sandbox_stands(uid);
            seen.leftovers = self.layout().pod(uid).symlink_metadata().is_ok()
                || self.cgroups().exists(&pod_cgroup(uid));
        }
        node.instances
            .retain(|_, seen| *seen != ObservedInstance::default());
        Ok(node)
    }

    pub(super) async fn look(&self, of: Option<&Uid>) -> Result<ObservedNode, Failure> {
        let of = of.cloned();
        let look = move |node: &Self| {
            if of.is_none() {
                node.0.watch.ensure_exit_files();
            }
            node.look_now(of.as_ref())
        };
        let mut node = self.off_thread("look at the node", look).await?;
        for seen in node.instances.values_mut() {
            for (id, container) in &mut seen.containers {
                self.add_orphans_exit(id, container).await;
            }
        }
        Ok(node)
    }

    /// Where the monitor died before its container, the reaper has the exit, or will in a moment:
    /// the kernel shows the end before the status is taken.
    async fn add_orphans_exit(&self, id: &ContainerId, seen: &mut ObservedContainer) {
        let ended = matches!(
            seen.status,
            Status::Stopped | Status::Absent | Status::Broken
        );
        if ended && !seen.monitor && seen.exit.is_none() {
            let oom = self.cgroups().oom_kills(&container_cgroup(id)) > 0;
            let exit = self.0.watch.orphans_exit(id, oom).await;
            seen.exit = exit.map(|exit| self.with_last_words(id, exit));
        }
    }
}
