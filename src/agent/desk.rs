//! What the daemon does for the command line.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::{execs, inbox::Inbox, room::Room, tend::modes_of, wounds::Wounds};
use crate::{
    api::{Applied, Deleted, Desk, DeskError, Drained, ExecAsk, Outcome},
    book::Book,
    intake::{self, Intake, Verdict},
    ledger::Ledger,
    model::{
        definition::{self, Strictness},
        ids::{Source, Uid},
        instruction::{Ask, Instruction},
        line::DegradedMode,
    },
    node::Node,
    reconciler::{Context, Wake, Waker, plans},
    runtime::exec::{Execs, Session},
    session::Link,
    view::{
        self, DescribeView, Found, ImageRow, LinkState, LinkView, Live, ManifestFault, PlanView,
        Pruned, PsRow, PullView, Pulling, RepairView, Secrets, StatusView, Unclaimed,
    },
};

/// What the daemon does for the command line.
pub(super) struct AgentDesk<N> {
    pub(super) book: Ledger,
    pub(super) intake: Arc<Intake<Ledger>>,
    pub(super) context: Arc<Context<N, Ledger>>,
    pub(super) execs: Execs,
    pub(super) waker: Waker,
    pub(super) inbox: Arc<Inbox>,
    pub(super) wounds: Arc<Wounds>,
    pub(super) link: watch::Receiver<Link>,
    pub(super) scheduler: Option<String>,
    pub(super) manifest_faults: watch::Receiver<Vec<ManifestFault>>,
    pub(super) node_name: String,
    pub(super) since: Timestamp,
    pub(super) room: Arc<Room>,
}

impl<N: Node> AgentDesk<N> {
    fn live(&self) -> Live {
        let now = self.book.now();
        Live {
            link: self.link_view(now.at),
            now: Some(now),
            node_name: self.node_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: Some(std::process::id()),
            since: Some(self.since),
            durable_seq: self.book.durable_seq(),
            unclaimed: self.unclaimed(),
            forgotten: self.forgotten(),
            manifest_faults: self.manifest_faults.borrow().clone(),
            notes: self.notes(),
            modes: self.modes(),
            ..Live::default()
        }
    }

    /// The modes that the ledger is in now, whether or not that could be written down.
    fn modes(&self) -> BTreeMap<DegradedMode, String> {
        let modes = modes_of(&self.book, &self.book.health()).into_iter();
        modes.filter_map(|(mode, why)| Some((mode, why?))).collect()
    }

    /// What else `status` says.
    fn notes(&self) -> Vec<String> {
        let destroys = self.inbox.unknown_destroys.load(Ordering::Relaxed);
        let note = "of ids that are not known here have come since the start; RIK sends them to \
                    the first ready node, whoever has the instance";
        match destroys {
            0 => Vec::new(),
            1 => vec![format!("1 destroy {note}")],
            n => vec![format!("{n} destroys {note}")],
        }
    }

    fn unclaimed(&self) -> Vec<Unclaimed> {
        let unclaimed = self.intake.unclaimed().into_iter();
        let view = |(uid, seen): (Uid, intake::Unclaimed)| Unclaimed {
            uid: uid.to_string(),
            instance: seen.instance.map(|instance| instance.to_string()),
            containers: seen.containers.iter().map(ToString::to_string).collect(),
        };
        unclaimed.map(view).collect()
    }

    /// The scheduler's instances that it hasn't named since the link was last lost: it may have
    /// forgotten them, and can't destroy what it has forgotten.
    fn forgotten(&self) -> usize {
        if !self.link.borrow().is_registered() {
            return 0;
        }
        let heard = self.inbox.heard();
        self.book.read(|fold| {
            let theirs = fold
                .instances
                .values()
                .filter(|r| r.source == Source::Scheduler);
            theirs
                .filter(|r| !heard.contains(r.instance.as_str()))
                .count()
        })
    }

    fn link_view(&self, now: Timestamp) -> LinkView {
        let ago = |since: Instant| now.checked_sub(since.elapsed()).ok();
        let (state, since, error) = match &*self.link.borrow() {
            Link::Connecting => (LinkState::Connecting, None, None),
            Link::Registered { since } => (LinkState::Registered, ago(*since), None),
            Link::Lost { since, why } => (LinkState::Lost, ago(*since), Some(why.clone())),
            Link::Standalone => (LinkState::Standalone, None, None),
        };
        LinkView {
            scheduler: self.scheduler.clone(),
            state,
            since,
            error,
        }
    }

    async fn submit(&self, instruction: &Instruction) -> Result<Verdict, DeskError> {
        self.intake
            .submit(instruction)
            .await
            .map_err(|source| DeskError::Failed {
                tried: format!("{} could not be written down", instruction.instance),
                source: Box::new(source),
            })
    }

    async fn cordon(&self, drained: bool) -> Result<Drained, DeskError> {
        let cordoned = self.intake.cordon(drained).await;
        let already = !cordoned.map_err(|source| DeskError::Failed {
            tried: "the order could not be written down".to_owned(),
            source: Box::new(source),
        })?;
        if !already {
            self.waker.wake(Wake::Everything);
        }
        Ok(Drained { drained, already })
    }
}

impl<N: Node> AgentDesk<N> {
    /// What is known holds, and what is damaged is history.
    async fn accept_damage(&self) -> Result<Vec<Uid>, Box<dyn Error + Send + Sync>> {
        let settled = self.book.accept_damage().await?;
        let book = self.book.clone();
        tokio::task::spawn_blocking(move || book.snapshot_now()).await??;
        Ok(settled)
    }

    /// Destroys what is unclaimed, by its uid, the id of one of its containers, or the instance
    /// that its mark names.
    async fn delete_unclaimed(
        &self,
        text: &str,
        unknown: view::FindError,
    ) -> Result<Deleted, DeskError> {
        let meant = |(uid, seen): &(Uid, intake::Unclaimed)| {
            let named = seen.instance.as_ref();
            uid.as_str() == text
                || named.is_some_and(|id| id.as_str() == text || id.bare() == text)
                || seen.containers.iter().any(|id| id.to_string() == text)
        };
        let mut meant: Vec<_> = self.intake.unclaimed().into_iter().filter(meant).collect();
        let Some((uid, seen)) = meant.pop() else {
            return Err(unknown.into());
        };
        if !meant.is_empty() {
            let ids = std::iter::once(&uid).chain(meant.iter().map(|(uid, _)| uid));
            return Err(DeskError::Find(view::FindError::Ambiguous {
                name: text.to_owned(),
                ids: ids.map(ToString::to_string).collect(),
            }));
        }
        let disowned = self.intake.disown(&uid, Source::Operator).await;
        disowned.map_err(|source| DeskError::Failed {
            tried: format!("the end of {uid} could not be written down"),
            source: Box::new(source),
        })?;
        self.waker.wake(Wake::Instructed(uid.clone()));
        let instance = seen.instance.map(|instance| instance.to_string());
        Ok(Deleted {
            instance: instance.unwrap_or_else(|| uid.to_string()),
            uid: uid.to_string(),
        })
    }
}

impl<N: Node> Desk for AgentDesk<N> {
    async fn status(&self) -> Result<StatusView, DeskError> {
        let mut live = self.live();
        live.images = self.room.taken().await;
        Ok(self.book.read(|fold| view::status(fold, &live)))
    }

    async fn ps(&self) -> Result<Vec<PsRow>, DeskError> {
        let live = self.live();
        Ok(self.book.read(|fold| view::ps(fold, &live)))
    }

    async fn describe(&self, instance: &str, secrets: Secrets) -> Result<DescribeView, DeskError> {
        let mut live = self.live();
        live.pulls = self.room.pulls().await;
        self.book.read(|fold| match view::find(fold, instance)? {
            Found::Live(record) => Ok(view::describe(fold, record, &live, secrets)),
            Found::Gone(id, _) => Err(DeskError::Find(view::FindError::NotFound(id.to_string()))),
        })
    }

    async fn plan(&self, instance: Option<&str>) -> Result<PlanView, DeskError> {
        let only = match instance {
            Some(text) => Some(
                self.book
                    .read(|fold| view::find(fold, text).map(|found| found.instance().clone()))?,
            ),
            None => None,
        };
        let plans = plans(&self.context)
            .await
            .map_err(|source| DeskError::Failed {
                tried: "the node could not be looked at".to_owned(),
                source: Box::new(source),
            })?;
        let mut answer = PlanView::default();
        for (instance, plan) in &plans {
            if only.as_ref().is_none_or(|id| id == instance) {
                answer.push(instance, plan);
            }
        }
        self.book.read(|fold| {
            let records = fold.instances.values();
            answer.hold(records.filter(|r| only.as_ref().is_none_or(|id| *id == r.instance)));
        });
        Ok(answer)
    }

    async fn apply(&self, text: &str) -> Result<Applied, DeskError> {
        let parsed =
            definition::parse(text, Strictness::Strict).map_err(|error| DeskError::Refused {
                reason: error.reason,
                message: error.to_string(),
            })?;
        let name = &parsed.spec.name;
        let instruction = Instruction::create(name, Source::Cli, text);
        let outcome = |generation: u32, queued: bool| match (queued, generation) {
            (true, _) => Outcome::Queued,
            (false, 1) => Outcome::Created,
            (false, _) => Outcome::Replaced,
        };
        let verdict = self.submit(&instruction).await?;
        let instance = format!("{name}@cli");
        let id = instance.parse().ok();
        let known = self.book.read(|fold| {
            let record = fold.by_instance(id.as_ref()?)?;
            Some((
                record.uid.to_string(),
                record.generation,
                record.queued.is_some(),
            ))
        });
        let (uid, generation, queued) = known.unwrap_or_default();
        let outcome = match verdict {
            Verdict::Accepted { uid, .. } => {
                self.waker.wake(Wake::Instructed(uid));
                outcome(generation, queued)
            }
            Verdict::Unchanged { .. } => Outcome::Unchanged,
            Verdict::Refused {
                reason, message, ..
            } => {
                return Err(DeskError::Refused { reason, message });
            }
            Verdict::NotFound => return Err(DeskError::Busy("ending")),
        };
        Ok(Applied {
            instance,
            uid,
            outcome,
            generation,
            warnings: parsed.warnings,
        })
    }

    async fn delete(&self, instance: &str, force: bool) -> Result<Deleted, DeskError> {
        let found = self.book.read(|fold| match view::find(fold, instance)? {
            Found::Live(record) => Ok((
                record.instance.clone(),
                record.uid.to_string(),
                record.source,
            )),
            Found::Gone(id, _) => Err(view::FindError::NotFound(id.to_string())),
        });
        let (id, known, owner) = match found {
            Ok(found) => found,
            Err(error @ view::FindError::NotFound(_)) => {
                return self.delete_unclaimed(instance, error).await;
            }
            Err(error) => return Err(error.into()),
        };
        let source = match owner {
            Source::Cli => Source::Cli,
            _ => Source::Operator,
        };
        let ask = Ask::Destroy { force };
        let instruction = Instruction {
            instance: id.to_string(),
            source,
            ask,
        };
        let uid = match self.submit(&instruction).await? {
            Verdict::Accepted { uid, .. } => {
                self.waker.wake(Wake::Instructed(uid.clone()));
                uid.to_string()
            }
            Verdict::Refused {
                reason, message, ..
            } => {
                return Err(DeskError::Refused { reason, message });
            }
            // It is being destroyed already: what was asked for is so.
            Verdict::Unchanged { .. } => known,
            Verdict::NotFound => {
                return Err(DeskError::Find(view::FindError::NotFound(id.to_string())));
            }
        };
        Ok(Deleted {
            instance: id.to_string(),
            uid,
        })
    }

    async fn drain(&self) -> Result<Drained, DeskError> {
        self.cordon(true).await
    }

    async fn uncordon(&self) -> Result<Drained, DeskError> {
        self.cordon(false).await
    }

    async fn images(&self) -> Result<Vec<ImageRow>, DeskError> {
        self.room.rows().await
    }

    async fn pull_image(
        &self,
        image: &str,
        progress: mpsc::Sender<PullView>,
    ) -> Result<Pulling, DeskError> {
        self.room.pull(image, progress).await
    }

    async fn prune_images(&self, all: bool) -> Result<Pruned, DeskError> {
        self.room.prune(all).await
    }

    async fn exec(&self, ask: ExecAsk) -> Result<Session, DeskError> {
        execs::begin(&self.book, &self.execs, &ask).await
    }

    async fn repair(&self, accept: bool) -> Result<RepairView, DeskError> {
        let live = self.live();
        let mut open = self.book.read(|fold| view::repair(fold, &live));
        if accept {
            let settled = self.accept_damage().await;
            let settled = settled.map_err(|source| DeskError::Failed {
                tried: "what is known could not be accepted".to_owned(),
                source,
            })?;
            self.wounds.accept();
            self.wounds.show(&self.book);
            settled
                .into_iter()
                .for_each(|uid| self.waker.wake(Wake::Instructed(uid)));
            open.accepted = true;
        }
        Ok(open)
    }
}
