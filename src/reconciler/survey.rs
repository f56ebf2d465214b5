//! Looking at everything at once: the resync, and what `plan` shows.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::Context,
    turn::{self, plan_of, plan_seen},
};
use crate::{
    book::Book,
    error_chain::one_line,
    intake::Unclaimed,
    model::{
        ids::{ContainerId, InstanceId, Uid},
        line::{DegradedMode, Event},
        observed::ObservedInstance,
    },
    node::Node,
    plan::InstancePlan,
};

/// The incarnations for which something is due. On a converged node: none, and nothing was
/// forked or written to find that out.
pub(super) async fn differing<N: Node, B: Book>(context: &Context<N, B>) -> Vec<Uid> {
    let seen = match context.node.observe_all().await {
        Ok(seen) => seen,
        Err(failure) => {
            tracing::warn!(why = %one_line(&failure), "the node can't be surveyed");
            return Vec::new();
        }
    };
    let known: BTreeSet<Uid> = context.book.read(|fold| {
        let leaving = fold.node.disowned.keys();
        fold.instances.keys().chain(leaving).cloned().collect()
    });
    let mut unclaimed = BTreeMap::new();
    let mut due = Vec::new();
    let (nothing, now) = (ObservedInstance::default(), context.book.now().up);
    for uid in known
        .iter()
        .chain(seen.instances.keys().filter(|uid| !known.contains(*uid)))
    {
        // Nothing seen is something seen. What was read later than it was seen may ask for a
        // turn too many; that looks again.
        let observed = seen.instances.get(uid).unwrap_or(&nothing);
        let plan = plan_seen(context, uid, turn::known(context, uid), observed);
        // A timer may have been lost with a turn that died.
        let overdue = plan.wake_up.is_some_and(|up| up <= now);
        if !plan.actions.is_empty() || overdue {
            due.push(uid.clone());
        } else if !known.contains(uid) {
            let containers = observed.containers.keys().cloned().collect();
            unclaimed.insert(uid.clone(), unclaimed_as(context, uid, containers).await);
        }
    }
    due.extend(begin_waiting(context).await);
    show_unclaimed(context, unclaimed.keys());
    context.intake.set_unclaimed(unclaimed);
    if let Err(error) = context.runtime_is_quiet() {
        tracing::warn!(why = %one_line(&error), "a degraded mode couldn't be left");
    }
    due
}

/// What is unclaimed, with the instance that its mark names.
async fn unclaimed_as<N: Node, B: Book>(
    context: &Context<N, B>,
    uid: &Uid,
    containers: Vec<ContainerId>,
) -> Unclaimed {
    let former = context.intake.unclaimed().remove(uid);
    let instance = match former.and_then(|former| former.instance) {
        Some(instance) => Some(instance),
        None => context.node.instance_of(uid).await,
    };
    Unclaimed {
        instance,
        containers,
    }
}

/// Creates that waited for a destruction and couldn't begin at its end (the disk was full, say):
/// nobody repeats them, so they are tried again until they can be written down.
async fn begin_waiting<N: Node, B: Book>(context: &Context<N, B>) -> Vec<Uid> {
    context
        .intake
        .begin_waiting()
        .await
        .unwrap_or_else(|error| {
            tracing::warn!(why = %one_line(&error), "waiting creates go on waiting");
            Vec::new()
        })
}

/// Enters or leaves the degraded mode Unclaimed. What is unclaimed is left running.
fn show_unclaimed<'a, N: Node, B: Book>(
    context: &Context<N, B>,
    unclaimed: impl Iterator<Item = &'a Uid>,
) {
    let mode = DegradedMode::Unclaimed;
    let shown = context
        .book
        .read(|fold| fold.node.degraded.get(&mode).cloned());
    let detail = unclaimed.map(Uid::as_str).collect::<Vec<_>>().join(", ");
    let event = match (shown, detail.is_empty()) {
        (None, false) => Event::DegradedEntered { mode, detail },
        (Some(old), false) if old != detail => Event::DegradedEntered { mode, detail },
        (Some(_), true) => Event::DegradedLeft { mode },
        _ => return,
    };
    if let Err(error) = context.book.record(event) {
        tracing::warn!(why = %one_line(&error), "unclaimed containers couldn't be written down");
    }
}

/// Looks at everything before anything is told, so that what is unclaimed is known.
pub async fn look_first<N: Node, B: Book>(context: &Context<N, B>) {
    // What is due is found again by the loop's own first look.
    let _ = differing(context).await;
}

/// What would be done now, by instance: only those for which there is something.
///
/// # Errors
/// The node can't be looked at.
pub async fn plans<N: Node, B: Book>(
    context: &Context<N, B>,
) -> Result<Vec<(InstanceId, InstancePlan)>, crate::node::Failure> {
    let known: Vec<(Uid, InstanceId)> = context.book.read(|fold| {
        fold.instances
            .values()
            .map(|r| (r.uid.clone(), r.instance.clone()))
            .collect()
    });
    let mut plans = Vec::new();
    for (uid, instance) in known {
        let plan = plan_of(context, &uid).await?;
        if !plan.actions.is_empty() {
            plans.push((instance, plan));
        }
    }
    Ok(plans)
}
