//! What riklet says: states and metrics, as `WorkerStatus`.

use serde::Serialize;
use serde_json::Value;

use super::generated::common::{
    InstanceMetric, ResourceStatus, WorkerMetric, WorkerStatus, worker_status::Status,
};
use crate::model::{
    ids::{Generation, InstanceId, Seq, Uid},
    state::{Reason, State, StateReport},
};

/// The longest message of a state that is sent, in characters; the journal has all of it.
const MAX_TEXT: usize = 2048;

/// One recorded state of one of the scheduler's instances, with what is known beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The incarnation.
    pub uid: Uid,
    /// The id that the scheduler knows.
    pub instance: InstanceId,
    /// Which accepted definition of this incarnation.
    pub generation: Generation,
    /// The journal line that the state results from.
    pub seq: Seq,
    /// When that line was written.
    pub at: Option<jiff::Timestamp>,
    /// How many states between this and the one before were dropped, the outbox being full.
    pub gap: u64,
    /// The state.
    pub report: StateReport,
    /// Restarts of all containers.
    pub restarts: u32,
    /// One object a container, as far as anything was measured: `{"name","cpu":{"usage_ns",
    /// "percent"},"memory":{"usage","working_set","limit"},"pids","io":{"read","write"},
    /// "restarts"}`.
    pub containers: Vec<Value>,
}

impl Report {
    /// A bare report: first generation, nothing measured.
    #[must_use]
    pub fn new(uid: Uid, instance: InstanceId, seq: Seq, report: StateReport) -> Self {
        Self {
            uid,
            instance,
            generation: 1,
            seq,
            at: None,
            gap: 0,
            report,
            restarts: 0,
            containers: Vec::new(),
        }
    }

    /// Is this the last that is ever said of its incarnation?
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.report.state == State::Terminated
    }
}

/// One message of a status stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// About the node.
    Node {
        /// Does it take placements?
        placements: bool,
        /// The full sample: `{"cpu":…,"memory":…,"disks":…}`.
        metrics: String,
    },
    /// About an instance.
    Instance(Report),
}

/// The JSON in `InstanceMetric.metrics`.
#[derive(Serialize)]
struct InstanceMetrics<'a> {
    state: State,
    reason: Option<Reason>,
    message: Option<&'a str>,
    restarts: u32,
    containers: &'a [Value],
}

/// A state's number on the wire. `Pending` has none: RIK places an instance again on reading it.
fn resource_status(state: State) -> ResourceStatus {
    match state {
        State::Creating => ResourceStatus::Creating,
        State::Running => ResourceStatus::Running,
        State::Failed => ResourceStatus::Failed,
        State::Destroying => ResourceStatus::Destroying,
        State::Terminated => ResourceStatus::Terminated,
    }
}

fn cut(text: &str) -> &str {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn instance_metric(report: Report) -> InstanceMetric {
    let metrics = InstanceMetrics {
        state: report.report.state,
        reason: report.report.reason,
        message: report.report.message.as_deref().map(cut),
        restarts: report.restarts,
        containers: &report.containers,
    };
    InstanceMetric {
        status: resource_status(report.report.state).into(),
        // Numbers, texts and string keys only, so this can't fail; an empty object would still
        // be a legal message.
        metrics: serde_json::to_string(&metrics).unwrap_or_else(|_| "{}".to_owned()),
        instance_id: report.instance.as_str().to_owned(),
        generation: report.generation,
        seq: report.seq,
        reason: report
            .report
            .reason
            .map(|reason| reason.to_string())
            .unwrap_or_default(),
        exit_code: report.report.exit_code,
        time: report.at.map(|at| at.to_string()).unwrap_or_default(),
        gap: report.gap,
    }
}

impl Message {
    /// The message of the node `identifier`; its oneof is never empty.
    pub(super) fn into_proto(self, identifier: &str, host_address: Option<&str>) -> WorkerStatus {
        let status = match self {
            Self::Node {
                placements,
                metrics,
            } => Status::Worker(WorkerMetric {
                // Anything but RUNNING means "no placements"; nothing is removed by it.
                status: if placements {
                    ResourceStatus::Running
                } else {
                    ResourceStatus::Failed
                }
                .into(),
                metrics,
            }),
            Self::Instance(report) => Status::Instance(instance_metric(report)),
        };
        WorkerStatus {
            status: Some(status),
            identifier: identifier.to_owned(),
            host_address: host_address.map(str::to_owned),
        }
    }
}
