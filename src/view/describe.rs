//! `describe`: everything about one instance.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Live,
    images::PullView,
    ps::{container_reason, container_state, shown_state},
    secrets::shown_spec,
};
use crate::model::{
    definition::Warning,
    fold::{ContainerRecord, Fold, InstanceRecord, OutboxEntry},
    ids::{Position, Seq},
    line::Moment,
};

/// Are environment values shown?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Secrets {
    /// As `***`.
    #[default]
    Hidden,
    /// In clear: `--show-secrets`.
    Shown,
}

/// Everything about one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DescribeView {
    /// Its id.
    pub instance: String,
    /// Its incarnation.
    pub uid: String,
    /// Whose it is.
    pub source: String,
    /// Its state.
    pub state: String,
    /// Why, in a word.
    pub reason: Option<String>,
    /// Why, in a sentence.
    pub message: Option<String>,
    /// `run` or `gone`.
    pub desired: String,
    /// How often its definition was accepted.
    pub generation: u32,
    /// When it was first accepted.
    pub created_at: Timestamp,
    /// Its address.
    pub ip: Option<String>,
    /// Do its lines not fit together?
    pub uncertain: bool,
    /// Lines about it may be lost: which. It is neither started nor stopped.
    #[serde(default)]
    pub doubt: Option<String>,
    /// Seq of its last line.
    pub last_seq: Seq,
    /// By position.
    pub containers: Vec<ContainerDescription>,
    /// What of the definition has no effect.
    pub warnings: Vec<Warning>,
    /// A create waits until this one is gone.
    pub queued: bool,
    /// States that the scheduler hasn't acknowledged; always empty for other sources.
    pub unacknowledged: Vec<OutboxEntry>,
    /// The definition's model; none if it was refused.
    pub spec: Option<Value>,
}

/// Everything about one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDescription {
    /// Its name.
    pub name: String,
    /// The name of its last attempt.
    pub id: Option<String>,
    /// As in `ps`.
    pub state: String,
    /// Why, in a word.
    pub reason: Option<String>,
    /// Its init process while there is one.
    pub pid: Option<i32>,
    /// Starts after the first one.
    pub restarts: u32,
    /// When the last attempt started.
    pub started_at: Option<Timestamp>,
    /// When the next attempt is, if one waits.
    pub next_start_at: Option<Timestamp>,
    /// When SIGKILL follows, if it was asked to stop.
    pub kill_at: Option<Timestamp>,
    /// Is its monitor gone while it runs?
    pub monitor_lost: bool,
    /// How the last attempt that is over ended.
    pub last_exit: Option<ExitView>,
    /// As the definition names it.
    pub image: String,
    /// As the registry has it.
    pub image_digest: Option<String>,
    /// The snapshot that the last attempt lies on.
    pub snapshot: Option<String>,
    /// Why the image can't be had.
    pub image_error: Option<String>,
    /// How far its pull is, while one is at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<PullView>,
    /// The last attempt's log, below the state dir.
    pub log: Option<String>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitView {
    /// Which attempt.
    pub attempt: u32,
    /// When that was recorded.
    pub at: Timestamp,
    /// The exit code, if it is known.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Did the kernel kill something in it for its memory limit?
    pub oom: bool,
    /// Why, in a word.
    pub reason: Option<String>,
    /// Its last words: its termination message.
    pub message: Option<String>,
    /// Why it never ran.
    pub error: Option<String>,
}

/// Everything about the instance of a record.
#[must_use]
pub fn describe(
    fold: &Fold,
    record: &InstanceRecord,
    live: &Live,
    secrets: Secrets,
) -> DescribeView {
    let report = shown_state(record);
    let positions = record.positions().count().max(record.containers.len());
    let outbox = fold.outboxes.get(&record.uid);
    DescribeView {
        instance: record.instance.to_string(),
        uid: record.uid.to_string(),
        source: record.source.to_string(),
        state: report.state.to_string(),
        reason: report.reason.map(|r| r.to_string()),
        message: report.message,
        desired: match record.desired {
            crate::model::fold::Desired::Run => "run".to_owned(),
            crate::model::fold::Desired::Gone => "gone".to_owned(),
        },
        generation: record.generation,
        created_at: record.accepted_at,
        ip: record.address().map(|ip| ip.to_string()),
        uncertain: record.uncertain,
        doubt: record.doubt.clone(),
        last_seq: record.last_seq,
        containers: (0..)
            .take(positions)
            .map(|n| container(record, n, live))
            .collect(),
        warnings: record.warnings.clone(),
        queued: record.queued.is_some(),
        unacknowledged: outbox.map_or_else(Vec::new, |o| o.entries.iter().cloned().collect()),
        spec: record.spec.as_ref().map(|spec| shown_spec(spec, secrets)),
    }
}

fn container(record: &InstanceRecord, n: Position, live: &Live) -> ContainerDescription {
    let now = live.now.as_ref();
    let blank = ContainerRecord::default();
    let known = record.container(n).unwrap_or(&blank);
    let spec = record.container_spec(n);
    let image = spec.map_or("", |spec| spec.image.as_str());
    let image_record = record.images.get(image);
    let waits = image_record.is_none_or(|i| i.snapshot.is_none());
    let pull = live.pulls.iter().find(|pull| waits && pull.is_of(image));
    let text = |t: &String| (!t.is_empty()).then(|| t.clone());
    ContainerDescription {
        name: spec.map_or_else(|| known.name.clone(), |spec| spec.name.clone()),
        id: record.current(n).map(|id| id.to_string()),
        state: container_state(known).to_owned(),
        reason: container_reason(record, n).map(|r| r.to_string()),
        pid: known.process.map(|p| p.pid),
        restarts: known.restarts,
        started_at: known.started.map(|(at, _)| at),
        next_start_at: known
            .next_up
            .filter(|_| !known.phase.may_live())
            .and_then(|up| wall(up, now)),
        kill_at: known.stop.as_ref().and_then(|s| wall(s.deadline_up, now)),
        monitor_lost: known.monitor_lost,
        last_exit: known.last_exit.as_ref().map(|last| ExitView {
            attempt: last.attempt,
            at: last.at,
            code: last.exit.code,
            signal: last.exit.signal,
            oom: last.exit.oom,
            reason: last.exit.reason.map(|r| r.to_string()),
            message: last.exit.message.clone(),
            error: last.start_error.clone(),
        }),
        image: image.to_owned(),
        image_digest: image_record.and_then(|i| i.digest.clone()),
        snapshot: text(&known.snapshot),
        image_error: image_record.and_then(|i| i.message.clone()),
        pull: pull.cloned(),
        log: record
            .current(n)
            .map(|id| format!("logs/{}/{}-{}.log", id.uid, id.n, id.attempt)),
    }
}

/// Boot time as wall time, as far as the clocks of now tell.
fn wall(up: u64, now: Option<&Moment>) -> Option<Timestamp> {
    let now = now?;
    let ms = i64::try_from(up).ok()? - i64::try_from(now.up).ok()?;
    now.at
        .checked_add(jiff::SignedDuration::from_millis(ms))
        .ok()
}
