//! Interprets actions, one at a time: the node's verb, then the line that says what came of it.
//!
//! Owns: the order of writing and doing. An intent is durable before its effect; an end is
//! durable before what tells of it is removed. Must never happen here: a decision.

use super::{Superseded, context::Context};
use crate::{
    book::{Book, BookError},
    error_chain::one_line,
    model::{
        fold::{Desired, InstanceRecord},
        ids::{ContainerId, Uid},
        line::{Event, Intent},
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

/// The image of an intended attempt, if the attempt is still what is wanted.
fn image_of<'a>(record: &'a InstanceRecord, intent: &Intent) -> Option<&'a str> {
    let image = &record.container_spec(intent.container.n)?.image;
    let snapshot = record.images.get(image)?.snapshot.as_ref();
    (record.desired == Desired::Run && snapshot == Some(&intent.snapshot)).then_some(image)
}

impl<N: Node, B: Book> Context<N, B> {
    /// Does one action.
    pub(super) async fn execute(
        &self,
        uid: &Uid,
        action: &Action,
        superseded: &Superseded,
    ) -> Result<Done, ActionError> {
        // A journal that can't be written stops nothing and removes nothing: what a remove would
        // take (an exit that isn't written down yet) could not be had again.
        self.book.writable()?;
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
                next,
            } => {
                let exited = Event::Exited {
                    container: container.clone(),
                    exit: exit.clone(),
                    next_up: *next_up,
                    backoff: *backoff,
                };
                let intended = next.clone().map(|intent| Event::AttemptIntended {
                    uid: uid.clone(),
                    intent,
                });
                self.book
                    .record_all(std::iter::once(exited).chain(intended).collect())?;
                Ok(Done::Next)
            }
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
                let waiting = self.waits_for(uid);
                self.book.record(Event::Removed { uid: uid.clone() })?;
                let mut begun = self.intake.begin_waiting().await?;
                begun.extend(waiting);
                Ok(Done::Removed { begun })
            }
        }
    }

    /// The incarnation that isn't started before this one, which is unclaimed, is gone.
    fn waits_for(&self, uid: &Uid) -> Option<Uid> {
        self.book.read(|fold| {
            let gone = fold.node.disowned.get(uid)?;
            let next = fold.by_instance(gone.instance.as_ref()?)?;
            Some(next.uid.clone())
        })
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
            // What is had is written down, also where it came just too late.
            biased;
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
                let (message, retryable) = (one_line(&failure), failure.retryable());
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
        // Between the plan and here an instruction may have come: then plan again.
        let intended = self.book.read(|fold| {
            let record = fold.instances.get(uid)?;
            // Attempts never repeat: if it is the current one, its intent came with the record of
            // the former one's end.
            let container = &intent.container;
            let intended = record.current(container.n).as_ref() == Some(container);
            image_of(record, intent)?;
            Some(intended.then_some(record.last_seq))
        });
        let Some(intended) = intended else {
            return Ok(Done::Next);
        };
        let seq = match intended {
            Some(seq) => seq,
            None => {
                let (uid, intent) = (uid.clone(), intent.clone());
                let intended = Event::AttemptIntended { uid, intent };
                self.book.record(intended)?.seq
            }
        };
        self.book.durable(seq).await?;
        // Only what is read after the intent was written is what the intent is of: a newer
        // definition may have come just before it, or since.
        let intended = self.book.read(|fold| {
            let record = fold.instances.get(uid)?;
            let image = image_of(record, intent)?.to_owned();
            let attempt = record.container(intent.container.n)?;
            let same = attempt.attempt == intent.container.attempt
                && attempt.generation == record.generation;
            same.then(|| Some((record.instance.clone(), record.spec.clone()?, image)))?
        });
        let Some((instance, workload, image)) = intended else {
            return Ok(Done::Next);
        };
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
                    message: one_line(&failure),
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
            message: one_line(failure),
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
        // gone nothing is started again whatever its end was, so that nobody waits; but that has
        // to be durable then.
        let ended = self.book.read(|fold| {
            let record = fold.instances.get(&container.uid)?;
            Some(match record.desired {
                Desired::Run => record.last_seq,
                Desired::Gone => record.instructed_seq,
            })
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
}
