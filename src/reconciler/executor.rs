//! Interprets actions, one at a time: the node's verb, then the line that says what came of it.
//!
//! Owns: the order of writing and doing. An intent is durable before its effect; an end is
//! durable before what tells of it is removed. Must never happen here: a decision.

mod begin;

use super::{Superseded, context::Context};
use crate::{
    book::{Book, BookError},
    model::{
        fold::{Desired, Fold, InstanceRecord},
        ids::{ContainerId, Uid},
        line::{Event, Intent},
    },
    node::{Failure, Node},
    plan::{Action, ports},
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

/// So many SIGKILLs, 15 s after the first, and the state says that the process outlives them.
const UNKILLABLE_AFTER: u32 = 5;

/// What an action ended with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Go on.
    Next,
    /// What the rest of the plan relies on isn't there: plan again.
    Replan,
    /// Nothing more now; look again at `up`.
    Wait {
        /// In CLOCK_BOOTTIME ms.
        up: u64,
    },
    /// Go on; these may have waited for what was given back.
    Freed {
        /// Other incarnations.
        for_ports: Vec<Uid>,
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
            Action::RecordCreated { container, process } => self.write(Event::Created {
                container: container.clone(),
                process: *process,
                monitor: None,
            }),
            Action::RecordStarted { container, process } => self.write(Event::Started {
                container: container.clone(),
                process: *process,
                adopted: true,
            }),
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
                self.record_exit(uid, exited, next.clone())
            }
            Action::RequestStop {
                container,
                deadline_up,
                reason,
                terminate,
            } => {
                self.book.record(Event::StopRequested {
                    container: container.clone(),
                    deadline_up: *deadline_up,
                    reason: *reason,
                    unkillable: false,
                })?;
                match terminate {
                    true => self.terminate(container).await,
                    false => Ok(Done::Next),
                }
            }
            Action::Terminate { container } => self.terminate(container).await,
            Action::Kill { container } => self.kill(container).await,
            Action::Remove { container } => self.remove(container).await,
            Action::RemoveSandbox => {
                let for_ports = self.book.read(|fold| ports::waiting_for(fold, uid));
                self.node
                    .remove_sandbox(uid)
                    .await
                    .map_err(ActionError::Node)?;
                Ok(Done::Freed { for_ports })
            }
            Action::RecordRemoved => self.record_removed(uid).await,
        }
    }

    fn record_exit(
        &self,
        uid: &Uid,
        exited: Event,
        next: Option<Intent>,
    ) -> Result<Done, ActionError> {
        // Between the plan and here it may have been evicted.
        let evicted = |fold: &Fold| {
            fold.instances
                .get(uid)
                .is_some_and(InstanceRecord::is_evicted)
        };
        let next = next.filter(|_| !self.book.read(evicted));
        let intended = next.map(|intent| Event::AttemptIntended {
            uid: uid.clone(),
            intent,
        });
        self.book
            .record_all(std::iter::once(exited).chain(intended).collect())?;
        Ok(Done::Next)
    }

    async fn record_removed(&self, uid: &Uid) -> Result<Done, ActionError> {
        let waiting = self.waits_for(uid);
        let for_ports = self.book.read(|fold| ports::waiting_for(fold, uid));
        let mut begun = self.intake.bury(uid).await?;
        begun.extend(waiting);
        begun.extend(for_ports);
        Ok(Done::Removed { begun })
    }

    /// The incarnation that isn't started before this one, which is unclaimed, is gone.
    fn waits_for(&self, uid: &Uid) -> Option<Uid> {
        self.book.read(|fold| {
            let gone = fold.node.disowned.get(uid)?;
            let next = fold.by_instance(gone.instance.as_ref()?)?;
            Some(next.uid.clone())
        })
    }

    pub(super) fn write(&self, event: Event) -> Result<Done, ActionError> {
        self.book.record(event)?;
        Ok(Done::Next)
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
        let now = self.book.now().up;
        let (kills, first) = {
            let mut memory = self.memory();
            let (kills, first) = memory.kills.entry(container.clone()).or_insert((0, now));
            *kills += 1;
            (*kills, *first)
        };
        // Something else that ends in that moment has the plan made anew, and it says the same.
        if now >= first + KILL_RECHECK_MS {
            tracing::warn!(%container, kills, "it outlives SIGKILL so far");
        }
        self.node
            .signal(container, SIGKILL)
            .await
            .map_err(ActionError::Node)?;
        if kills == UNKILLABLE_AFTER {
            self.say_unkillable(container)?;
        }
        let recheck = (KILL_RECHECK_MS << (kills - 1).min(5)).min(KILL_RECHECK_CAP_MS);
        Ok(Done::Wait {
            up: self.book.now().up + recheck,
        })
    }

    /// Writes down, once, that a process outlives SIGKILL; why and when it was to end stays.
    fn say_unkillable(&self, container: &ContainerId) -> Result<(), BookError> {
        let asked = self.book.read(|fold| {
            let record = fold.instances.get(&container.uid)?;
            record.container(container.n)?.stop.clone()
        });
        if let Some(stop) = asked.filter(|stop| !stop.unkillable) {
            self.book.record(Event::StopRequested {
                container: container.clone(),
                deadline_up: stop.deadline_up,
                reason: stop.reason,
                unkillable: true,
            })?;
        }
        Ok(())
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
