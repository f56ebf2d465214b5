//! Interprets actions, one at a time: the node's verb, then the line that says what came of it.
//!
//! Owns: the order of writing and doing. An intent is durable before its effect; an end is
//! durable before what tells of it is removed. Must never happen here: a decision.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Semaphore;

use super::Superseded;
use crate::{
    book::{Book, BookError},
    intake::Intake,
    model::{
        fold::Desired,
        ids::{ContainerId, Uid},
        line::{DegradedMode, Event, Intent},
        observed::{ObservedContainer, ObservedInstance, Status},
    },
    node::{CreateRequest, Failure, FailureKind, Node},
    plan::{Action, backoff},
};

/// SIGTERM, as signal(7) numbers it on every architecture that runc runs on.
const SIGTERM: i32 = 15;
/// SIGKILL.
const SIGKILL: i32 = 9;

/// How soon after SIGKILL a process is looked at again, in ms; doubled each time it is still
/// there, for only the kernel can let go of it then.
const KILL_RECHECK_MS: u64 = 1_000;

/// The longest time between two SIGKILLs, in ms.
const KILL_RECHECK_CAP_MS: u64 = 30_000;

/// How long a hung call is shown after the last one, in ms.
const HUNG_SHOWN_MS: u64 = 60_000;

/// What turns share.
pub struct Context<N, B> {
    /// Where containers run.
    pub node: Arc<N>,
    /// Where everything is written down.
    pub book: B,
    intake: Arc<Intake<B>>,
    operations: Semaphore,
    memory: Mutex<Memory>,
}

/// What this daemon knows besides the journal; losing it costs a signal more, nothing else.
#[derive(Default)]
struct Memory {
    signalled: BTreeSet<ContainerId>,
    kills: BTreeMap<ContainerId, u32>,
    held: BTreeSet<Uid>,
    hung_at: Option<u64>,
    awaited: BTreeMap<ContainerId, u64>,
}

/// What an action ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Go on.
    Next,
    /// Nothing more now; look again at `up`.
    Wait {
        /// In CLOCK_BOOTTIME ms.
        up: u64,
    },
    /// Nothing is left of the incarnation; these have begun in its place.
    Removed {
        /// New incarnations.
        begun: Vec<Uid>,
    },
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActionError {
    #[error("{0}")]
    Node(#[source] Failure),
    #[error("writing down what was done")]
    Book(#[from] BookError),
}

/// An error with its causes, in one line.
pub(super) fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

impl<N: Node, B: Book> Context<N, B> {
    /// What turns share; at most `operations` of the runtime's verbs run at once.
    pub fn new(node: Arc<N>, book: B, intake: Arc<Intake<B>>, operations: usize) -> Self {
        let operations = Semaphore::new(operations.max(1));
        Self {
            node,
            book,
            intake,
            operations,
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts of these wait from now on; of all others they don't.
    pub(super) fn hold(&self, uids: BTreeSet<Uid>) {
        self.memory().held = uids;
    }

    pub(super) fn is_held(&self, uid: &Uid) -> bool {
        self.memory().held.contains(uid)
    }

    pub(super) fn signalled(&self, uid: &Uid) -> BTreeSet<ContainerId> {
        self.memory()
            .signalled
            .iter()
            .filter(|id| id.uid == *uid)
            .cloned()
            .collect()
    }

    /// Since when each exit of an incarnation is awaited that its monitor hasn't told yet.
    pub(super) fn await_exits(
        &self,
        uid: &Uid,
        observed: &ObservedInstance,
        now: u64,
    ) -> BTreeMap<ContainerId, u64> {
        let awaited = |c: &ObservedContainer| {
            matches!(c.status, Status::Stopped | Status::Absent) && c.exit.is_none() && c.monitor
        };
        let mut memory = self.memory();
        memory
            .awaited
            .retain(|id, _| id.uid != *uid || observed.containers.get(id).is_some_and(awaited));
        for (id, _) in observed.containers.iter().filter(|(_, c)| awaited(c)) {
            memory.awaited.entry(id.clone()).or_insert(now);
        }
        memory
            .awaited
            .iter()
            .filter(|(id, _)| id.uid == *uid)
            .map(|(i, up)| (i.clone(), *up))
            .collect()
    }

    fn forget(&self, id: &ContainerId) {
        let mut memory = self.memory();
        memory.signalled.remove(id);
        memory.kills.remove(id);
    }

    /// Does one action.
    pub(super) async fn execute(
        &self,
        uid: &Uid,
        action: &Action,
        superseded: &Superseded,
    ) -> Result<Done, ActionError> {
        match action {
            Action::PullImage { image, pinned } => {
                self.pull(uid, image, pinned.as_deref(), superseded).await
            }
            Action::CreateSandbox => self.create_sandbox(uid).await,
            Action::Create { intent } => self.create(uid, intent).await,
            Action::Start { container } => self.start(container).await,
            Action::RecordStarted { container, process } => {
                let (container, process) = (container.clone(), *process);
                self.write(Event::Started {
                    container,
                    process,
                    adopted: true,
                })
            }
            Action::RecordMonitorLost { container } => self.write(Event::MonitorLost {
                container: container.clone(),
            }),
            Action::RecordExit {
                container,
                exit,
                next_up,
                backoff,
            } => self.write(Event::Exited {
                container: container.clone(),
                exit: exit.clone(),
                next_up: *next_up,
                backoff: *backoff,
            }),
            Action::RequestStop {
                container,
                deadline_up,
                reason,
            } => {
                self.book.record(Event::StopRequested {
                    container: container.clone(),
                    deadline_up: *deadline_up,
                    reason: *reason,
                })?;
                self.terminate(container).await
            }
            Action::Terminate { container } => self.terminate(container).await,
            Action::Kill { container } => self.kill(container).await,
            Action::Remove { container } => self.remove(container).await,
            Action::RemoveSandbox => {
                self.node
                    .remove_sandbox(uid)
                    .await
                    .map_err(ActionError::Node)?;
                Ok(Done::Next)
            }
            Action::RecordRemoved => {
                self.book.record(Event::Removed { uid: uid.clone() })?;
                let begun = self.intake.begin_waiting().await?;
                Ok(Done::Removed { begun })
            }
        }
    }

    fn write(&self, event: Event) -> Result<Done, ActionError> {
        self.book.record(event)?;
        Ok(Done::Next)
    }

    async fn pull(
        &self,
        uid: &Uid,
        image: &str,
        pinned: Option<&str>,
        superseded: &Superseded,
    ) -> Result<Done, ActionError> {
        let pulled = tokio::select! {
            pulled = self.node.ensure_image(image, pinned) => pulled,
            // Dropping the pull ends it, unless others wait for it too.
            () = superseded.wait() => return Ok(Done::Next),
        };
        let (uid, image) = (uid.clone(), image.to_owned());
        match pulled {
            Ok(ready) => self.write(Event::ImageReady {
                uid,
                image,
                digest: ready.digest,
                snapshot: ready.snapshot,
            }),
            Err(failure) => {
                let failures = self.book.read(|fold| {
                    let record = fold.instances.get(&uid)?;
                    Some(record.images.get(&image)?.failures)
                });
                let delay = backoff::after_failures(failures.unwrap_or(0) + 1);
                let retry_up = self.book.now().up + delay;
                let (message, retryable) = (describe(&failure), failure.retryable());
                self.write(Event::ImageFailed {
                    uid,
                    image,
                    message,
                    retryable,
                    retry_up,
                })
            }
        }
    }

    async fn create_sandbox(&self, uid: &Uid) -> Result<Done, ActionError> {
        let host_network = self.book.read(|fold| {
            fold.instances
                .get(uid)
                .and_then(|r| r.spec.as_ref())
                .is_some_and(|s| s.host_network)
        });
        self.node
            .ensure_sandbox(uid, host_network)
            .await
            .map_err(ActionError::Node)?;
        Ok(Done::Next)
    }

    async fn create(&self, uid: &Uid, intent: &Intent) -> Result<Done, ActionError> {
        let _permit = self.operations.acquire().await;
        let known = self.book.read(|fold| {
            let record = fold.instances.get(uid)?;
            let image = &record.container_spec(intent.container.n)?.image;
            // Between the plan and here an instruction may have come: then plan again.
            let current = record.desired == Desired::Run
                && record.images.get(image)?.snapshot.as_ref() == Some(&intent.snapshot);
            current.then(|| Some((record.instance.clone(), record.spec.clone()?, image.clone())))?
        });
        let Some((instance, workload, image)) = known else {
            return Ok(Done::Next);
        };
        let intended = Event::AttemptIntended {
            uid: uid.clone(),
            intent: intent.clone(),
        };
        let seq = self.book.record(intended)?.seq;
        self.book.durable(seq).await?;
        let request = CreateRequest {
            intent,
            instance: instance.as_str(),
            workload: &workload,
        };
        let container = intent.container.clone();
        match self.node.create(request).await {
            Ok(created) => {
                self.runtime_works()?;
                self.write(Event::Created {
                    container,
                    process: created.process,
                    monitor: created.monitor,
                })
            }
            Err(failure) if failure.kind == FailureKind::SnapshotMissing => {
                self.write(Event::ImageFailed {
                    uid: uid.clone(),
                    image,
                    message: describe(&failure),
                    retryable: true,
                    retry_up: self.book.now().up,
                })
            }
            Err(failure) => self.start_failed(&container, &failure),
        }
    }

    async fn start(&self, container: &ContainerId) -> Result<Done, ActionError> {
        let _permit = self.operations.acquire().await;
        match self.node.start(container).await {
            Ok(process) => self.write(Event::Started {
                container: container.clone(),
                process,
                adopted: false,
            }),
            Err(failure) => self.start_failed(container, &failure),
        }
    }

    /// The runtime refused a start: what it left is removed, and another attempt follows.
    fn start_failed(
        &self,
        container: &ContainerId,
        failure: &Failure,
    ) -> Result<Done, ActionError> {
        self.runtime_fails(failure)?;
        let level = self.book.read(|fold| {
            let record = fold.instances.get(&container.uid)?;
            Some(record.container(container.n)?.backoff)
        });
        let delay = backoff::after_failures(level.unwrap_or(0) + 1);
        self.write(Event::StartFailed {
            container: container.clone(),
            message: describe(failure),
            retryable: failure.retryable(),
            retry_up: self.book.now().up + delay,
        })
    }

    async fn terminate(&self, container: &ContainerId) -> Result<Done, ActionError> {
        let sent = self.node.signal(container, SIGTERM).await;
        if let Err(failure) = &sent {
            self.runtime_fails(failure)?;
        }
        sent.map_err(ActionError::Node)?;
        self.memory().signalled.insert(container.clone());
        Ok(Done::Next)
    }

    async fn kill(&self, container: &ContainerId) -> Result<Done, ActionError> {
        let kills = {
            let mut memory = self.memory();
            let kills = memory.kills.entry(container.clone()).or_default();
            *kills += 1;
            *kills
        };
        if kills > 1 {
            tracing::warn!(%container, kills, "it outlives SIGKILL so far");
        }
        self.node
            .signal(container, SIGKILL)
            .await
            .map_err(ActionError::Node)?;
        let recheck = (KILL_RECHECK_MS << (kills - 1).min(5)).min(KILL_RECHECK_CAP_MS);
        Ok(Done::Wait {
            up: self.book.now().up + recheck,
        })
    }

    async fn remove(&self, container: &ContainerId) -> Result<Done, ActionError> {
        // Its end has to be durable before what tells of it goes. Where everything is to be
        // gone nothing is started again whatever its end was, so that nobody waits.
        let ended = self.book.read(|fold| {
            let record = fold.instances.get(&container.uid)?;
            (record.desired == Desired::Run).then_some(record.last_seq)
        });
        if let Some(seq) = ended {
            self.book.durable(seq).await?;
        }
        let _permit = self.operations.acquire().await;
        let removed = self.node.remove(container).await;
        if let Err(failure) = &removed {
            self.runtime_fails(failure)?;
        }
        removed.map_err(ActionError::Node)?;
        self.forget(container);
        self.write(Event::StepRemoved {
            container: container.clone(),
        })
    }

    /// Enters the degraded mode that a failure of the runtime stands for, once.
    fn runtime_fails(&self, failure: &Failure) -> Result<(), BookError> {
        let mode = match failure.kind {
            FailureKind::Hung => {
                self.memory().hung_at = Some(self.book.now().up);
                DegradedMode::RuntimeHung
            }
            FailureKind::ProgramMissing => DegradedMode::RuntimeMissing,
            FailureKind::DiskFull => DegradedMode::DiskFull,
            _ => return Ok(()),
        };
        if !self
            .book
            .read(|fold| fold.node.degraded.contains_key(&mode))
        {
            self.book.record(Event::DegradedEntered {
                mode,
                detail: describe(failure),
            })?;
        }
        Ok(())
    }

    /// Leaves the degraded modes that a success of the runtime disproves.
    fn runtime_works(&self) -> Result<(), BookError> {
        self.leave(DegradedMode::RuntimeMissing)?;
        self.leave(DegradedMode::DiskFull)
    }

    /// Leaves the degraded mode of hung calls once none has hung for a while: a call that
    /// succeeds for one container says nothing of another.
    pub(super) fn hung_long_ago(&self) -> Result<(), BookError> {
        let now = self.book.now().up;
        let quiet = self
            .memory()
            .hung_at
            .is_none_or(|up| now.saturating_sub(up) >= HUNG_SHOWN_MS);
        if quiet {
            self.leave(DegradedMode::RuntimeHung)
        } else {
            Ok(())
        }
    }

    fn leave(&self, mode: DegradedMode) -> Result<(), BookError> {
        if self
            .book
            .read(|fold| fold.node.degraded.contains_key(&mode))
        {
            self.book.record(Event::DegradedLeft { mode })?;
        }
        Ok(())
    }
}
