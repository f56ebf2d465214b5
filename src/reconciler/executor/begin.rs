//! The actions that begin something: pull, sandbox, create, start. Each failure is written down
//! with when it is tried again.

use std::{net::IpAddr, sync::Arc};

use super::{ActionError, Done};
use crate::{
    book::Book,
    error_chain::one_line,
    model::{
        fold::{Desired, InstanceRecord},
        ids::{ContainerId, Generation, InstanceId, Uid},
        line::{Event, Intent, NetworkClaim},
        spec::{ContainerSpec, PullPolicy, WorkloadSpec},
        state::Reason,
        users::{IdRange, IdSpan},
    },
    node::{CreateRequest, Failure, FailureKind, ImageWish, Node, Sandbox, SandboxRequest},
    plan::{backoff, ports, users},
    reconciler::{Superseded, context::Context},
};

/// Why a sandbox gets no user namespace.
const NO_IDS: &str = "65,536 ids of the node for a user namespace: all are taken, by other \
                      instances and by /etc/subuid and /etc/subgid; free some there";

/// What an intended attempt is made of.
struct Wanted {
    instance: InstanceId,
    workload: Arc<WorkloadSpec>,
    image: String,
    addresses: Vec<IpAddr>,
    users: Option<IdRange>,
}

/// The image of an intended attempt, if the attempt is still what is wanted.
fn image_of<'a>(record: &'a InstanceRecord, intent: &Intent) -> Option<&'a str> {
    let image = &record.container_spec(intent.container.n)?.image;
    let snapshot = record.images.get(image)?.snapshot.as_ref();
    let wanted = record.desired == Desired::Run && !record.is_evicted();
    (wanted && snapshot == Some(&intent.snapshot)).then_some(image)
}

impl<N: Node, B: Book> Context<N, B> {
    pub(super) async fn pull(
        &self,
        uid: &Uid,
        image: &str,
        pinned: Option<&str>,
        superseded: &Superseded,
    ) -> Result<Done, ActionError> {
        let policy = self.book.read(|fold| {
            let record = fold.instances.get(uid)?;
            let all = record.spec.as_ref()?.containers.iter();
            // Of several containers of one image, the one that wants most is heeded.
            all.filter(|c| c.image == image)
                .map(ContainerSpec::pull_policy)
                .min()
        });
        let wish = ImageWish {
            image,
            pinned,
            policy: policy.unwrap_or(PullPolicy::IfNotPresent),
        };
        let pulled = tokio::select! {
            // What is had is written down, also where it came just too late.
            biased;
            pulled = self.node.ensure_image(wish) => pulled,
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
                let never = failure.kind == FailureKind::ImageNeverPull;
                self.write(Event::ImageFailed {
                    uid,
                    image,
                    reason: never.then_some(Reason::ErrImageNeverPull),
                    message,
                    retryable,
                    retry_up,
                })
            }
        }
    }

    pub(super) async fn create_sandbox(&self, uid: &Uid) -> Result<Done, ActionError> {
        let wanted = self.book.read(|fold| {
            let record = fold.instances.get(uid)?;
            let spec = record.spec.clone()?;
            let wanted = record.desired == Desired::Run && !record.is_evicted();
            wanted.then(|| (record.instance.clone(), record.generation, spec))
        });
        let Some((instance, generation, workload)) = wanted else {
            return Ok(Done::Next);
        };
        let claim = match self.node.claim_network(&workload).await {
            Ok(claim) => claim,
            Err(failure) => return self.sandbox_failed(uid, generation, &failure),
        };
        // Only who needs ids asks who has them.
        let taken = match workload.host_users {
            true => None,
            false => match self.node.taken_ids(uid).await {
                Ok(taken) => Some(taken),
                Err(failure) => return self.sandbox_failed(uid, generation, &failure),
            },
        };
        let intended = self.intend_sandbox(uid, generation, claim.clone(), taken.as_deref())?;
        let users = match intended {
            Ok(users) => users,
            Err(lacking) => {
                let failure = Failure::plain(FailureKind::Transient, lacking);
                return self.sandbox_failed(uid, generation, &failure);
            }
        };
        let request = SandboxRequest {
            uid,
            instance: instance.as_str(),
            workload: &workload,
            claim: claim.as_ref(),
            users,
        };
        match self.node.ensure_sandbox(request).await {
            Ok(Sandbox { addresses }) => {
                let uid = uid.clone();
                self.write(Event::SandboxReady { uid, addresses })
            }
            Err(failure) => self.sandbox_failed(uid, generation, &failure),
        }
    }

    /// Writes the intent down, with ids that nobody else has where it needs its own (then `taken`
    /// is given). Not if somebody else's sandbox has one of its host ports, or if there are no
    /// such ids left: that is said. Admission lets no two with one port through, but they may
    /// come at once.
    fn intend_sandbox(
        &self,
        uid: &Uid,
        generation: Generation,
        claim: Option<NetworkClaim>,
        taken: Option<&[IdSpan]>,
    ) -> Result<Result<Option<IdRange>, String>, ActionError> {
        // One at a time: between the look and the line nobody else takes the port, or the ids.
        let _one = self.claims_turn();
        let vacated = self.vacated();
        let held = self.book.read(|fold| {
            let mut holders = ports::holders(fold, uid);
            let holder = holders.find(|holder| !vacated.contains(&holder.record.uid))?;
            let (port, instance) = (holder.port, &holder.record.instance);
            Some(format!(
                "port {}/{} of the node is held by {instance}",
                port.host, port.protocol
            ))
        });
        if let Some(held) = held {
            return Ok(Err(held));
        }
        let users = match taken {
            None => None,
            Some(taken) => match self.book.read(|fold| users::choose(fold, uid, taken)) {
                None => return Ok(Err(NO_IDS.to_owned())),
                chosen => chosen,
            },
        };
        self.book.record(Event::SandboxIntended {
            uid: uid.clone(),
            generation,
            claim,
            users,
        })?;
        Ok(Ok(users))
    }

    fn sandbox_failed(
        &self,
        uid: &Uid,
        generation: Generation,
        failure: &Failure,
    ) -> Result<Done, ActionError> {
        self.runtime_fails(failure)?;
        // It may have failed before it was intended: then what was intended is nothing.
        let intended = self.book.read(|fold| {
            let sandbox = fold.instances.get(uid)?.sandbox.as_ref()?;
            (sandbox.generation == generation && !sandbox.ready).then_some(sandbox.failures)
        });
        if intended.is_none() {
            self.book.record(Event::SandboxIntended {
                uid: uid.clone(),
                generation,
                claim: None,
                users: None,
            })?;
        }
        let failures = intended.unwrap_or(0);
        self.book.record(Event::SandboxFailed {
            uid: uid.clone(),
            message: one_line(failure),
            retryable: failure.retryable(),
            retry_up: self.book.now().up + backoff::after_failures(failures + 1),
        })?;
        Ok(Done::Replan)
    }

    pub(super) async fn create(&self, uid: &Uid, intent: &Intent) -> Result<Done, ActionError> {
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
        let Some(wanted) = self.still_wanted(uid, intent) else {
            return Ok(Done::Next);
        };
        let request = CreateRequest {
            intent,
            instance: wanted.instance.as_str(),
            workload: &wanted.workload,
            addresses: &wanted.addresses,
            users: wanted.users,
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
                    image: wanted.image,
                    reason: None,
                    message: one_line(&failure),
                    retryable: true,
                    retry_up: self.book.now().up,
                })
            }
            Err(failure) => self.start_failed(&container, &failure),
        }
    }

    /// Only what is read after the intent was written is what the intent is of: a newer
    /// definition may have come just before it, or since.
    fn still_wanted(&self, uid: &Uid, intent: &Intent) -> Option<Wanted> {
        self.book.read(|fold| {
            let record = fold.instances.get(uid)?;
            let image = image_of(record, intent)?.to_owned();
            let attempt = record.container(intent.container.n)?;
            let same = attempt.attempt == intent.container.attempt
                && attempt.generation == record.generation;
            let addresses = record.sandbox.as_ref().map(|s| s.addresses.clone());
            same.then_some(())?;
            Some(Wanted {
                instance: record.instance.clone(),
                workload: record.spec.clone()?,
                image,
                addresses: addresses.unwrap_or_default(),
                users: record.users(),
            })
        })
    }

    pub(super) async fn start(&self, container: &ContainerId) -> Result<Done, ActionError> {
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
}
