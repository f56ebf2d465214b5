//! Lines that nobody would write: any event about few incarnations, in any order, with numbers
//! at the edges of their types.

use crate::model::{
    definition::Warning,
    ids::{ContainerId, InstanceId, NodeUid, Source, Uid},
    line::{DegradedMode, Event, Exit, Intent, ProcessId},
    spec::RestartPolicy,
    state::{Reason, State, StateReport},
};

use super::builders::{container_id, uid, workload};

/// What an event is made of; few values, so that lines meet.
#[derive(Debug, Clone, Copy)]
pub struct Die {
    /// The kind, modulo their number.
    pub kind: u8,
    /// The incarnation.
    pub uid: u8,
    /// The container's position, and how many there are.
    pub n: u16,
    /// The attempt.
    pub attempt: u32,
    /// Any number.
    pub number: u64,
    /// Any choice.
    pub choice: u8,
}

impl Die {
    fn uid(&self) -> Uid {
        uid(u64::from(self.uid))
    }

    fn container(&self) -> ContainerId {
        container_id(&self.uid(), self.n, self.attempt)
    }

    fn source(&self) -> Source {
        [
            Source::Scheduler,
            Source::Scheduler,
            Source::Cli,
            Source::Manifest,
            Source::Operator,
        ][usize::from(self.choice % 5)]
    }

    fn small(&self) -> u32 {
        u32::try_from(self.number).unwrap_or(u32::MAX)
    }

    fn process(&self) -> ProcessId {
        ProcessId {
            pid: i32::from(self.uid) + 100,
            start_time: self.number,
        }
    }

    fn reason(&self) -> Option<Reason> {
        [
            None,
            Some(Reason::NodeRebooted),
            Some(Reason::MonitorLost),
            Some(Reason::Replacing),
            Some(Reason::NodeDrained),
            Some(Reason::RuntimeStateLost),
        ][usize::from(self.choice % 6)]
    }

    fn instance(&self) -> InstanceId {
        let id = InstanceId::local(&format!("web-{}", self.uid), self.source());
        id.unwrap_or_else(|_| unreachable!("a plain name"))
    }

    fn definition(&self) -> (String, Box<crate::model::spec::WorkloadSpec>) {
        let policy = [
            RestartPolicy::Always,
            RestartPolicy::OnFailure,
            RestartPolicy::Never,
        ][usize::from(self.choice % 3)];
        let spec = workload(usize::from(self.n % 3) + 1, policy);
        (format!("definition {}", self.number), Box::new(spec))
    }

    fn mode(&self) -> DegradedMode {
        [
            DegradedMode::StoreOff,
            DegradedMode::StoreRebuilt,
            DegradedMode::SchedulerLost,
        ][usize::from(self.choice % 3)]
    }

    /// Any report.
    #[must_use]
    pub fn report(&self) -> StateReport {
        let state = [
            State::Creating,
            State::Running,
            State::Failed,
            State::Destroying,
            State::Terminated,
        ][usize::from(self.choice % 5)];
        match self.reason() {
            Some(reason) => StateReport::because(state, reason, "said at random"),
            None => StateReport::plain(state),
        }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> Event {
        match self.kind % 4 {
            0 => self.event_of_node(),
            1 => self.event_of_instance(),
            _ => self.event_of_container(),
        }
    }

    fn event_of_node(&self) -> Event {
        let mode = self.mode();
        match self.kind / 4 % 10 {
            0 => Event::SegmentHeader {
                format: 1,
                min_reader: 1,
                journal: "00".to_owned(),
                node: NodeUid::from_entropy(u64::from(self.choice)),
                first_seq: self.number,
                prev_sum: "0123456789abcdef".to_owned(),
                prev_bytes: self.number,
            },
            1 => Event::SegmentSealed {},
            2 => Event::Boot {},
            3 => Event::DaemonStarted {
                version: "0".to_owned(),
                pid: 1,
            },
            4 => Event::DaemonStopped {},
            5 => Event::NodeStopping {},
            6 if self.choice.is_multiple_of(2) => Event::Drained {},
            6 => Event::Uncordoned {},
            7 => Event::DegradedEntered {
                mode,
                detail: format!("{}", self.number % 2),
            },
            8 => Event::Doubted {
                uids: vec![self.uid()],
                why: format!("line {} is lost", self.number % 2),
            },
            _ => Event::DegradedLeft { mode },
        }
    }

    fn event_of_instance(&self) -> Event {
        let (uid, source) = (self.uid(), self.source());
        let (definition, spec) = self.definition();
        let image = "image".to_owned();
        match self.kind / 4 % 12 {
            0 => Event::Accepted {
                uid,
                instance: self.instance(),
                source,
                definition,
                spec,
                warnings: vec![Warning {
                    path: "spec".to_owned(),
                    message: "is ignored".to_owned(),
                }],
            },
            1 => Event::Replaced {
                uid,
                generation: self.small(),
                definition,
                spec,
                warnings: Vec::new(),
            },
            2 => Event::Queued {
                uid,
                definition,
                spec,
                source,
            },
            3 => Event::DestroyAccepted { uid, source },
            4 => Event::Refused {
                uid: self.choice.is_multiple_of(2).then_some(uid),
                instance: ["web-0", "../x", ""][usize::from(self.choice % 3)].to_owned(),
                source,
                reason: Reason::InvalidDefinition,
                message: "it can't be read".to_owned(),
            },
            5 => Event::ImageReady {
                uid,
                image,
                digest: "sha256:00".to_owned(),
                snapshot: "sha256-00".to_owned(),
            },
            6 => Event::ImageFailed {
                uid,
                image,
                reason: None,
                message: "no such image".to_owned(),
                retryable: self.choice.is_multiple_of(2),
                retry_up: self.number,
            },
            7 => Event::Removed { uid },
            8 => Event::Settled { uid, source },
            9 => self.disowned(),
            10 => self.evicted(),
            _ => Event::Acknowledged {
                uid,
                through: self.number,
            },
        }
    }

    fn evicted(&self) -> Event {
        Event::Evicted {
            uid: self.uid(),
            generation: u32::from(self.choice % 3),
            message: "it took too much".to_owned(),
        }
    }

    fn disowned(&self) -> Event {
        Event::Disowned {
            uid: self.uid(),
            instance: self.choice.is_multiple_of(2).then(|| self.instance()),
            source: self.source(),
            deadline_up: self.number,
        }
    }

    fn event_of_container(&self) -> Event {
        let (container, process) = (self.container(), self.process());
        match self.kind / 4 % 8 {
            0 => Event::AttemptIntended {
                uid: self.uid(),
                intent: Intent {
                    container,
                    snapshot: "sha256-00".to_owned(),
                    netns: None,
                },
            },
            1 => Event::Created {
                container,
                process,
                monitor: Some(7),
            },
            2 => Event::Started {
                container,
                process,
                adopted: self.choice.is_multiple_of(2),
            },
            3 => Event::StartFailed {
                container,
                message: "the runtime refused it".to_owned(),
                retryable: self.choice.is_multiple_of(2),
                retry_up: self.number,
            },
            4 => Event::Exited {
                container,
                exit: Exit {
                    reason: self.reason(),
                    ..Exit::from_code(i32::from(self.choice % 3) * 70, false)
                },
                next_up: self.number.is_multiple_of(2).then_some(self.number),
                backoff: self.small(),
            },
            5 => Event::StopRequested {
                container,
                deadline_up: self.number,
                reason: self.reason(),
                unkillable: false,
            },
            6 => Event::StepRemoved { container },
            _ => Event::MonitorLost { container },
        }
    }
}
