//! What the journal of a state directory says, whether its daemon lives or not.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use notify::{EventKind, RecursiveMode, Watcher as _};

use super::{CliError, output::warn};
use crate::{
    ledger::offline::{self, Snapshot},
    model::{
        fold::Fold,
        ids::{ContainerId, Position, Seq, Uid},
        line::{Event, Line},
        spec::WorkloadSpec,
    },
    view::narrate,
};

/// A watch that may miss something looks again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Reads what is known, and says on stderr what of it is damaged.
pub(super) fn load(state_dir: &Path) -> Result<Snapshot, CliError> {
    let snapshot = offline::load(state_dir).map_err(|e| CliError::failed(&e))?;
    if snapshot.identity.is_none() {
        return Err(CliError::says(format!(
            "there is no journal in {}: give the node's --state-dir",
            state_dir.display()
        )));
    }
    if let Some(damage) = snapshot.damage.first() {
        let more = match snapshot.damage.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        warn(&format!(
            "the journal is damaged: {damage}{more} (see `riklet state verify`)"
        ));
    }
    Ok(snapshot)
}

/// The journal's lines from `from` on that are still there; a damaged place is passed over.
pub(super) fn lines(
    state_dir: &Path,
    from: Seq,
) -> Result<impl Iterator<Item = Result<Line, CliError>>, CliError> {
    let lines = offline::lines(state_dir, from..=Seq::MAX).map_err(|e| CliError::failed(&e))?;
    Ok(lines.map(|line| line.map_err(|e| CliError::failed(&e))))
}

/// Says when something below a directory may have changed; also every second, for a watch may
/// miss something.
pub(super) struct Changes {
    hints: Receiver<()>,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Changes {
    pub(super) fn of(dir: &Path) -> Self {
        let (tell, hints) = mpsc::sync_channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // That somebody reads (we ourselves, each time that we look) is no change.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                // One waiting hint is enough.
                let _ = tell.try_send(());
            }
        });
        let watcher = watcher.ok().and_then(|mut watcher| {
            watcher
                .watch(dir, RecursiveMode::NonRecursive)
                .ok()
                .map(|()| watcher)
        });
        Self {
            hints,
            _watcher: watcher,
        }
    }

    /// Waits for a change, for a second at most. Was there one?
    pub(super) fn wait(&self) -> bool {
        match self.hints.recv_timeout(LOOK_AGAIN) {
            Ok(()) => true,
            Err(RecvTimeoutError::Timeout) => false,
            // Without a watch there is only the clock.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(LOOK_AGAIN);
                false
            }
        }
    }
}

/// Which instance and containers the uids of lines mean.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<Uid, (String, Vec<String>)>,
}

impl Names {
    pub(super) fn of(fold: &Fold) -> Self {
        let mut names = Self::default();
        for (id, tombstone) in &fold.tombstones {
            let entry = (id.to_string(), Vec::new());
            names.known.insert(tombstone.uid.clone(), entry);
        }
        for (uid, record) in &fold.instances {
            let spec = record.spec.as_deref();
            names.learn(uid, record.instance.as_str(), spec);
        }
        names
    }

    fn learn(&mut self, uid: &Uid, instance: &str, spec: Option<&WorkloadSpec>) {
        let containers = spec.map_or_else(Vec::new, |s| {
            s.containers.iter().map(|c| c.name.clone()).collect()
        });
        let entry = (instance.to_owned(), containers);
        self.known.insert(uid.clone(), entry);
    }

    /// Takes what a line tells of names.
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Accepted {
                uid,
                instance,
                spec,
                ..
            } => self.learn(uid, instance.as_str(), Some(spec)),
            Event::Replaced { uid, spec, .. } => {
                let instance = self.known.get(uid).map(|(instance, _)| instance.clone());
                self.learn(uid, &instance.unwrap_or_default(), Some(spec));
            }
            _ => {}
        }
    }

    /// The instance that an event is about; its uid where the name is long forgotten.
    pub(super) fn instance(&self, event: &Event) -> Option<String> {
        if let Event::Refused { instance, .. } = event {
            return Some(instance.clone());
        }
        let uid = event.uid()?;
        let known = self.known.get(uid).map(|(instance, _)| instance.clone());
        Some(known.unwrap_or_else(|| uid.to_string()))
    }

    /// Names of an incarnation's containers, by position.
    pub(super) fn containers(&self, uid: &Uid) -> &[String] {
        self.known.get(uid).map_or(&[], |(_, names)| names)
    }

    fn container(&self, id: &ContainerId) -> Option<String> {
        let n: Position = id.n;
        self.containers(&id.uid).get(usize::from(n)).cloned()
    }

    /// The event as a sentence.
    pub(super) fn narrate(&self, event: &Event) -> String {
        narrate(event, &|id| self.container(id))
    }
}
