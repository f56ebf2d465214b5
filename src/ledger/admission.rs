//! What may be written when the journal's own space runs low (pure).

use crate::model::{line::Event, state::Reason};

/// May a line be written with little space left?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It ends something, is the outcome of what was admitted before, or is the node's own: there
    /// is a bounded number of those.
    Always,
    /// It tells whoever asked that there is no space, once for an id: admitted while half of what
    /// is kept for the others is left.
    Refusal,
    /// It begins something.
    WithSpace,
}

/// Is this an event that is recorded on a full disk?
///
/// Exits, stops, removals and destroys are, so that a full node can be emptied. So are the
/// outcomes of starts whose intent was admitted, acknowledgements and the node's own lines, each
/// of which comes at most once for something that was admitted. What begins something (creates,
/// intents, pulls) isn't; that a create of an unknown id was refused for want of space is, for its
/// scheduler waits to be told.
#[must_use]
pub fn admission(event: &Event) -> Admission {
    match event {
        Event::Exited { .. }
        | Event::StopRequested { .. }
        | Event::StepRemoved { .. }
        | Event::Removed { .. }
        | Event::DestroyAccepted { .. }
        | Event::MonitorLost { .. }
        | Event::Created { .. }
        | Event::Started { .. }
        | Event::SandboxReady { .. }
        | Event::Probed { .. }
        | Event::HookDone { .. }
        | Event::Evicted { .. }
        | Event::Acknowledged { .. }
        | Event::SegmentHeader { .. }
        | Event::SegmentSealed {}
        | Event::Boot {}
        | Event::DaemonStarted { .. }
        | Event::DaemonStopped {}
        | Event::NodeStopping {}
        | Event::Drained {}
        | Event::Doubted { .. }
        | Event::Settled { .. }
        | Event::Disowned { .. }
        | Event::DegradedEntered { .. }
        | Event::DegradedLeft { .. } => Admission::Always,
        Event::Refused {
            uid: Some(_),
            reason: Reason::DiskFull,
            ..
        } => Admission::Refusal,
        Event::Accepted { .. }
        | Event::Replaced { .. }
        | Event::Queued { .. }
        | Event::Refused { .. }
        | Event::ImageReady { .. }
        | Event::ImageFailed { .. }
        | Event::SandboxIntended { .. }
        | Event::SandboxFailed { .. }
        | Event::AttemptIntended { .. }
        | Event::StartFailed { .. }
        | Event::Uncordoned {} => Admission::WithSpace,
    }
}
