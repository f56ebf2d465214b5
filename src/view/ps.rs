//! `ps`: one row an instance.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Live, ManifestFault, Unclaimed};
use crate::model::{
    derive::derive,
    fold::{ContainerRecord, Desired, Fold, InstanceRecord},
    ids::{Position, Source},
    phase::Phase,
    spec::Role,
    state::{Reason, State, StateReport},
};

/// One instance as `ps -o json` has it (design section 13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PsRow {
    /// Its id.
    pub instance: String,
    /// Its incarnation.
    pub uid: String,
    /// The workload's name, from the definition; the bare id where it was refused.
    pub name: String,
    /// Whose it is: `scheduler`, `manifest`, `cli`; `unclaimed` for what nobody knows of.
    pub source: String,
    /// Its state; `Unclaimed` for what nobody knows of, `NotTaken` for a manifest with a fault.
    pub state: String,
    /// Why, in a word.
    pub reason: Option<String>,
    /// How often its definition was accepted.
    pub generation: u32,
    /// Restarts of all its containers.
    pub restarts: u32,
    /// Its address; none on a network of its own without CNI.
    pub ip: Option<String>,
    /// When it was accepted.
    pub created_at: Option<Timestamp>,
    /// By position.
    pub containers: Vec<ContainerRow>,
    /// Why a manifest can't be taken, in a sentence; only in such a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One container of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRow {
    /// Its name.
    pub name: String,
    /// The name of its last attempt; none before the first.
    pub id: Option<String>,
    /// `init` or `sidecar`, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `waiting`, `creating`, `created`, `running`, `stopping` or `exited`.
    pub state: String,
    /// Is it up, and do its probes and its hook say so? Only where that isn't what its state says:
    /// a container that is running is ready otherwise, and any other isn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Its init process while there is one.
    pub pid: Option<i32>,
    /// Starts after the first one.
    pub restarts: u32,
    /// The last attempt's exit code, once that is over and if it is known.
    pub exit_code: Option<i32>,
    /// Why it is in its state, in a word.
    pub reason: Option<String>,
    /// As the definition names it.
    pub image: String,
    /// As the registry has it, `sha256:…`, once that is known.
    pub image_digest: Option<String>,
    /// When the last attempt started.
    pub started_at: Option<Timestamp>,
}

/// What `ps` gives as the reason of an instance in doubt: its state is the last one known.
const IN_DOUBT: &str = "InDoubt";

/// What `ps` gives as the state of a manifest that can't be taken.
const NOT_TAKEN: &str = "NotTaken";

/// A row for every instance of which something may be left, by id; then what is unclaimed, and
/// manifests that can't be taken.
#[must_use]
pub fn ps(fold: &Fold, live: &Live) -> Vec<PsRow> {
    let mut rows: Vec<PsRow> = fold.instances.values().map(row).collect();
    rows.sort_by(|a, b| (&a.instance, &a.uid).cmp(&(&b.instance, &b.uid)));
    rows.extend(live.unclaimed.iter().map(unclaimed_row));
    rows.extend(live.manifest_faults.iter().map(manifest_row));
    rows
}

/// The row of one instance.
#[must_use]
pub fn row(record: &InstanceRecord) -> PsRow {
    let report = shown_state(record);
    let positions = record.positions().count().max(record.containers.len());
    PsRow {
        instance: record.instance.to_string(),
        uid: record.uid.to_string(),
        name: record.spec.as_ref().map_or_else(
            || record.instance.bare().to_owned(),
            |spec| spec.name.clone(),
        ),
        source: record.source.to_string(),
        state: report.state.to_string(),
        reason: match record.doubt {
            Some(_) => Some(IN_DOUBT.to_owned()),
            None => report.reason.map(|r| r.to_string()),
        },
        generation: record.generation,
        restarts: record.containers.iter().map(|c| c.restarts).sum(),
        ip: record.address().map(|ip| ip.to_string()),
        created_at: Some(record.accepted_at),
        containers: (0..)
            .take(positions)
            .map(|n| container_row(record, n))
            .collect(),
        message: None,
    }
}

/// The state that is shown: the recorded one, but what is being destroyed says so, also where
/// the scheduler must not be told.
pub(super) fn shown_state(record: &InstanceRecord) -> StateReport {
    let report = record.reported.clone().unwrap_or_else(|| derive(record));
    if record.desired == Desired::Gone && report.state != State::Destroying {
        return StateReport::plain(State::Destroying);
    }
    report
}

/// The container's state in a word.
pub(super) fn container_state(container: &ContainerRecord) -> &'static str {
    match container.phase {
        Phase::Running if container.stop.is_some() => "stopping",
        Phase::Waiting => "waiting",
        Phase::Intended => "creating",
        Phase::Created => "created",
        Phase::Running => "running",
        Phase::Exited | Phase::Done => "exited",
    }
}

/// Why the container at `n` is in its state.
pub(super) fn container_reason(record: &InstanceRecord, n: Position) -> Option<Reason> {
    let blank = ContainerRecord::default();
    let container = record.container(n).unwrap_or(&blank);
    if let Some(stop) = &container.stop {
        return stop.reason;
    }
    if container.phase.may_live() {
        return container.monitor_lost.then_some(Reason::MonitorLost);
    }
    let failed_pull = record
        .container_spec(n)
        .and_then(|spec| record.images.get(&spec.image))
        .is_some_and(|image| image.snapshot.is_none() && image.message.is_some());
    if failed_pull {
        return Some(Reason::ImagePullBackOff);
    }
    let last = container.last_exit.as_ref()?;
    let waits_again = container.next_up.is_some() && container.backoff > 1;
    match last.exit.reason {
        Some(reason) => Some(reason),
        None if last.start_error.is_some() => Some(Reason::StartError),
        None if waits_again => Some(Reason::CrashLoopBackOff),
        None if last.exit.code == Some(0) => Some(Reason::Completed),
        None => Some(Reason::Error),
    }
}

fn container_row(record: &InstanceRecord, n: Position) -> ContainerRow {
    let blank = ContainerRecord::default();
    let container = record.container(n).unwrap_or(&blank);
    let spec = record.container_spec(n);
    let image = spec.map_or("", |spec| spec.image.as_str());
    let over = container
        .last_exit
        .as_ref()
        .filter(|_| !container.phase.may_live());
    let state = container_state(container);
    ContainerRow {
        name: spec.map_or_else(|| container.name.clone(), |spec| spec.name.clone()),
        id: record.current(n).map(|id| id.to_string()),
        role: role_word(record.role(n)).map(str::to_owned),
        state: state.to_owned(),
        ready: Some(record.is_ready(n)).filter(|ready| *ready != is_running(state)),
        pid: container.process.map(|p| p.pid),
        restarts: container.restarts,
        exit_code: over.and_then(|last| last.exit.code),
        reason: container_reason(record, n).map(|r| r.to_string()),
        image: image.to_owned(),
        image_digest: record.images.get(image).and_then(|i| i.digest.clone()),
        started_at: container.started.map(|(at, _)| at),
    }
}

fn role_word(role: Role) -> Option<&'static str> {
    match role {
        Role::Main => None,
        Role::Init => Some("init"),
        Role::Sidecar => Some("sidecar"),
    }
}

fn is_running(state: &str) -> bool {
    state == "running"
}

impl ContainerRow {
    /// Is it ready to serve?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.unwrap_or_else(|| is_running(&self.state))
    }

    /// Is it one of those that serve, and not an init container that runs to its end?
    #[must_use]
    pub fn serves(&self) -> bool {
        self.role.as_deref() != Some("init")
    }
}

fn unclaimed_row(unclaimed: &Unclaimed) -> PsRow {
    let instance = unclaimed.instance.clone();
    PsRow {
        instance: instance.clone().unwrap_or_else(|| unclaimed.uid.clone()),
        uid: unclaimed.uid.clone(),
        name: instance.unwrap_or_default(),
        source: "unclaimed".to_owned(),
        state: "Unclaimed".to_owned(),
        reason: None,
        generation: 0,
        restarts: 0,
        ip: None,
        created_at: None,
        containers: unclaimed
            .containers
            .iter()
            .map(|id| ContainerRow {
                name: String::new(),
                id: Some(id.clone()),
                role: None,
                state: "running".to_owned(),
                ready: Some(false),
                pid: None,
                restarts: 0,
                exit_code: None,
                reason: None,
                image: String::new(),
                image_digest: None,
                started_at: None,
            })
            .collect(),
        message: None,
    }
}

/// The row of a manifest that can't be taken. It is its file's: an instance that runs by a former
/// version of it has its own row.
fn manifest_row(fault: &ManifestFault) -> PsRow {
    let name = fault.instance.as_deref().unwrap_or_default();
    PsRow {
        instance: fault.file.clone(),
        uid: String::new(),
        name: name.split('@').next().unwrap_or_default().to_owned(),
        source: Source::Manifest.to_string(),
        state: NOT_TAKEN.to_owned(),
        reason: Some(fault.reason.to_string()),
        generation: 0,
        restarts: 0,
        ip: None,
        created_at: None,
        containers: Vec::new(),
        message: Some(fault.message.clone()),
    }
}
