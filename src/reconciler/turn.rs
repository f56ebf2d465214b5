//! One instance's turn: look, plan, do, until nothing is due.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Superseded,
    context::{Context, Side},
    executor::Done,
};
use crate::{
    book::{Book, BookError},
    error_chain::one_line,
    model::{
        fold::InstanceRecord,
        ids::{ContainerId, Seq, Uid},
        observed::ObservedInstance,
    },
    node::Node,
    plan::{Circumstances, InstancePlan, plan_disowned, plan_instance, plan_unknown, ports},
};

/// A turn plans at most so often; a plan that never becomes empty is a defect, and must not
/// spin.
const MAX_PLANS: usize = 200;

/// What a turn ended with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TurnEnd {
    /// When something is due by itself, in CLOCK_BOOTTIME ms.
    pub(super) wake_up: Option<u64>,
    /// Did an action fail, so that the turn has to be tried again?
    pub(super) failed: bool,
    /// Other incarnations that became due.
    pub(super) also: Vec<Uid>,
}

/// What is known of an incarnation, as the planner reads it.
pub(super) enum Known {
    /// There is a record.
    Record(Box<InstanceRecord>, Circumstances),
    /// There is none; was it removed, as far as the journal tells?
    Nothing { removed: bool },
    /// There is none, and what bears its mark shall go.
    Disowned {
        seq: Seq,
        deadline_up: u64,
        signalled: BTreeSet<ContainerId>,
    },
}

/// Reads what is known of an incarnation.
pub(super) fn known<N: Node, B: Book>(context: &Context<N, B>, uid: &Uid) -> Known {
    let hold_starts = context.is_held(uid) || !context.leaving_before(uid).is_empty();
    // Before the look into the book: see `Context`.
    let (signalled, vacated) = (context.signalled(uid), context.vacated());
    context.book.read(|fold| match fold.instances.get(uid) {
        Some(record) => {
            let circumstances = Circumstances {
                drained: fold.node.drained,
                stopping_boot: fold.node.stopping_boot.clone(),
                acknowledged: fold.acknowledged(uid),
                hold_starts,
                ports_held: ports::holders(fold, uid)
                    .any(|holder| holder.leaving && !vacated.contains(&holder.record.uid)),
                signalled,
                awaited: BTreeMap::new(),
            };
            Known::Record(Box::new(record.clone()), circumstances)
        }
        None => match fold.node.disowned.get(uid) {
            Some(disowned) => Known::Disowned {
                seq: disowned.seq,
                deadline_up: disowned.deadline_up,
                signalled,
            },
            None => Known::Nothing {
                removed: fold.was_removed(uid),
            },
        },
    })
}

/// Looks at an incarnation and plans.
pub(crate) async fn plan_of<N: Node, B: Book>(
    context: &Context<N, B>,
    uid: &Uid,
) -> Result<InstancePlan, crate::node::Failure> {
    plan_known(context, uid, known(context, uid)).await
}

/// Looks at an incarnation of which this is known: what is seen is then at least as new.
async fn plan_known<N: Node, B: Book>(
    context: &Context<N, B>,
    uid: &Uid,
    known: Known,
) -> Result<InstancePlan, crate::node::Failure> {
    let observed = context.node.observe(uid).await?;
    Ok(plan_seen(context, uid, known, &observed))
}

/// Plans by what is known and what was seen.
pub(super) fn plan_seen<N: Node, B: Book>(
    context: &Context<N, B>,
    uid: &Uid,
    known: Known,
    observed: &ObservedInstance,
) -> InstancePlan {
    // Most have no host port, and are nobody's to wait for.
    let has_ports = |r: &InstanceRecord| {
        let spec = r.spec.as_ref();
        spec.is_some_and(|spec| spec.host_ports().next().is_some())
    };
    let over = |r: &InstanceRecord| r.is_spent() && has_ports(r);
    let left = observed.leftovers || !observed.containers.is_empty();
    let vacated = matches!(&known, Known::Record(record, _) if over(record) && !left);
    context.note_vacated(uid, vacated);
    match known {
        Known::Record(record, mut circumstances) => {
            let now = context.book.now();
            circumstances.awaited = context.await_exits(uid, observed, now.up);
            plan_instance(&record, observed, &circumstances, &now)
        }
        Known::Nothing { removed } => plan_unknown(uid, observed, removed),
        Known::Disowned {
            deadline_up,
            signalled,
            ..
        } => plan_disowned(observed, deadline_up, &signalled, &context.book.now()),
    }
}

/// Runs a turn.
pub(super) async fn run_turn<N: Node, B: Book>(
    context: &Context<N, B>,
    uid: &Uid,
    superseded: &Superseded,
) -> TurnEnd {
    let mut end = TurnEnd::default();
    for _ in 0..MAX_PLANS {
        let known = known(context, uid);
        if let Err(error) = instructions_are_durable(context, &known).await {
            tracing::warn!(%uid, why = %one_line(&error), "its instruction isn't durable");
            end.failed = true;
            return end;
        }
        let plan = match plan_known(context, uid, known).await {
            Ok(plan) => plan,
            Err(failure) => {
                tracing::warn!(%uid, why = %one_line(&failure), "can't be observed");
                end.failed = true;
                return end;
            }
        };
        end.wake_up = plan.wake_up;
        end.also.extend(context.leaving_before(uid));
        if plan.actions.is_empty() {
            return end;
        }
        match run_plan(context, uid, plan, superseded, &mut end).await {
            Next::Again => {}
            Next::Wait => return end,
        }
        if superseded.is_told() {
            // Whoever told also asked for another turn.
            return end;
        }
    }
    tracing::error!(%uid, "its plan never became empty; it is looked at again later");
    end.failed = true;
    end
}

/// Nothing is done for an instruction that a power cut could still take back. Whoever accepted
/// it wakes us after that; here it matters for a turn that happens to come in between. It is asked
/// of the very record that is planned by: the next instruction may come at any moment.
async fn instructions_are_durable<N: Node, B: Book>(
    context: &Context<N, B>,
    known: &Known,
) -> Result<(), BookError> {
    match known {
        Known::Record(record, _) => {
            // A verdict is acted on like an instruction: not if a power cut may still take it back.
            let verdict = record.evicted.as_ref().map_or(0, |e| e.seq);
            let seq = record.instructed_seq.max(verdict);
            context.book.durable(seq).await
        }
        Known::Disowned { seq, .. } => context.book.durable(*seq).await,
        Known::Nothing { .. } => Ok(()),
    }
}

enum Next {
    Again,
    Wait,
}

async fn run_plan<N: Node, B: Book>(
    context: &Context<N, B>,
    uid: &Uid,
    plan: InstancePlan,
    superseded: &Superseded,
    end: &mut TurnEnd,
) -> Next {
    let mut next = Next::Again;
    for planned in plan.actions {
        tracing::debug!(%uid, action = %planned.action, why = %planned.why, "doing");
        context.tell(&planned.action, Side::Before);
        let done = context.execute(uid, &planned.action, superseded).await;
        context.tell(&planned.action, Side::After);
        context.ring(uid);
        match done {
            Ok(Done::Next) => {}
            Ok(Done::Freed { for_ports }) => end.also.extend(for_ports),
            Ok(Done::Replan) => return Next::Again,
            Ok(Done::Wait { up }) => {
                end.wake_up = Some(end.wake_up.map_or(up, |w| w.min(up)));
                next = Next::Wait;
            }
            Ok(Done::Removed { begun }) => {
                end.also.extend(begun);
                return Next::Wait;
            }
            Err(error) => {
                let action = &planned.action;
                tracing::warn!(%uid, %action, why = %one_line(&error), "failed; tried again later");
                end.failed = true;
                return Next::Wait;
            }
        }
        if superseded.is_told() {
            return Next::Wait;
        }
    }
    next
}
