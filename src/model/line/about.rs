//! What a kind of line is about: its name, whose it is, and whether it is what an
//! instruction came to.

use super::event::Event;
use crate::model::ids::Uid;

impl Event {
    /// The incarnation this is about, if it is about one.
    #[must_use]
    pub fn uid(&self) -> Option<&Uid> {
        match self {
            Self::Accepted { uid, .. }
            | Self::Replaced { uid, .. }
            | Self::Queued { uid, .. }
            | Self::DestroyAccepted { uid, .. }
            | Self::ImageReady { uid, .. }
            | Self::ImageFailed { uid, .. }
            | Self::SandboxIntended { uid, .. }
            | Self::SandboxReady { uid, .. }
            | Self::SandboxFailed { uid, .. }
            | Self::AttemptIntended { uid, .. }
            | Self::Evicted { uid, .. }
            | Self::Removed { uid }
            | Self::Settled { uid, .. }
            | Self::Disowned { uid, .. }
            | Self::Acknowledged { uid, .. } => Some(uid),
            Self::Refused { uid, .. } => uid.as_ref(),
            Self::Created { container, .. }
            | Self::Started { container, .. }
            | Self::StartFailed { container, .. }
            | Self::Exited { container, .. }
            | Self::StopRequested { container, .. }
            | Self::StepRemoved { container }
            | Self::Probed { container, .. }
            | Self::HookDone { container, .. }
            | Self::MonitorLost { container } => Some(&container.uid),
            Self::SegmentHeader { .. }
            | Self::SegmentSealed {}
            | Self::Boot {}
            | Self::DaemonStarted { .. }
            | Self::DaemonStopped {}
            | Self::NodeStopping {}
            | Self::Drained {}
            | Self::Uncordoned {}
            | Self::Doubted { .. }
            | Self::DegradedEntered { .. }
            | Self::DegradedLeft { .. } => None,
        }
    }

    /// Is this what an instruction came to?
    #[must_use]
    pub fn is_instruction(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. }
                | Self::Replaced { .. }
                | Self::Queued { .. }
                | Self::DestroyAccepted { .. }
                | Self::Refused { .. }
                | Self::Settled { .. }
        )
    }

    /// The line's kind as it is written.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SegmentHeader { .. } => "segment_header",
            Self::SegmentSealed {} => "segment_sealed",
            Self::Boot {} => "boot",
            Self::DaemonStarted { .. } => "daemon_started",
            Self::DaemonStopped {} => "daemon_stopped",
            Self::NodeStopping {} => "node_stopping",
            Self::Accepted { .. } => "accepted",
            Self::Replaced { .. } => "replaced",
            Self::Queued { .. } => "queued",
            Self::DestroyAccepted { .. } => "destroy_accepted",
            Self::Refused { .. } => "refused",
            Self::ImageReady { .. } => "image_ready",
            Self::ImageFailed { .. } => "image_failed",
            Self::SandboxIntended { .. } => "sandbox_intended",
            Self::SandboxReady { .. } => "sandbox_ready",
            Self::SandboxFailed { .. } => "sandbox_failed",
            Self::AttemptIntended { .. } => "attempt_intended",
            Self::Created { .. } => "created",
            Self::Started { .. } => "started",
            Self::StartFailed { .. } => "start_failed",
            Self::Exited { .. } => "exited",
            Self::StopRequested { .. } => "stop_requested",
            Self::StepRemoved { .. } => "step_removed",
            Self::Removed { .. } => "removed",
            Self::MonitorLost { .. } => "monitor_lost",
            Self::Probed { .. } => "probed",
            Self::HookDone { .. } => "hook_done",
            Self::Evicted { .. } => "evicted",
            Self::Drained {} => "drained",
            Self::Uncordoned {} => "uncordoned",
            Self::Acknowledged { .. } => "acknowledged",
            Self::Doubted { .. } => "doubted",
            Self::Settled { .. } => "settled",
            Self::Disowned { .. } => "disowned",
            Self::DegradedEntered { .. } => "degraded_entered",
            Self::DegradedLeft { .. } => "degraded_left",
        }
    }
}
