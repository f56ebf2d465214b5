//! Planning the next start of a container: whether it is due, and what has to be there first.

use super::{
    action::{Action, InstancePlan},
    container::Turn,
    sandbox::plan_sandbox,
};
use crate::model::{
    fold::ContainerRecord,
    ids::{ContainerId, Position},
    line::Intent,
    phase::Phase,
};

/// Why an attempt follows one that ended.
pub(super) const STARTED_AGAIN: &str = "it ended, and its restart policy says to start it again";

/// The number of the next attempt; none while one that the journal doesn't know of lives.
fn next_attempt(turn: &Turn<'_>, n: Position, container: &ContainerRecord) -> Option<u32> {
    let seen = turn
        .observed
        .containers
        .keys()
        .filter(|id| id.n == n)
        .map(|id| id.attempt)
        .max();
    match seen {
        Some(unknown) if unknown > container.attempt => None,
        _ => container.attempt.checked_add(1),
    }
}

/// Plans the next start of the container at `n`, if one is due.
pub(super) fn plan_start(
    turn: &Turn<'_>,
    n: Position,
    container: &ContainerRecord,
    plan: &mut InstancePlan,
) {
    let record = turn.record;
    let Some(spec) = record.container_spec(n) else {
        return;
    };
    if turn.circumstances.drained || turn.circumstances.hold_starts || record.is_evicted() {
        return;
    }
    if !turn.may_start(n) {
        return;
    }
    let same_generation = container.generation == record.generation;
    if same_generation
        && !turn.runs_anew(n)
        && matches!(
            container.phase,
            Phase::Exited | Phase::Done | Phase::Waiting
        )
    {
        match container.next_up {
            None if container.attempt > 0 && container.phase != Phase::Waiting => return,
            Some(up) if up > turn.now.up => return plan.wake(up),
            _ => {}
        }
    }
    if !same_generation && former_generation_left(turn) {
        return;
    }
    let Some(snapshot) = plan_image(turn, &spec.image, plan) else {
        return;
    };
    if !plan_sandbox(turn, plan) {
        return;
    }
    let Some(attempt) = next_attempt(turn, n, container) else {
        return;
    };
    let host_network = record.spec.as_ref().is_some_and(|s| s.host_network);
    let netns = (!host_network).then(|| format!("rk-{}", record.uid));
    let container_id = ContainerId {
        uid: record.uid.clone(),
        n,
        attempt,
    };
    let why = match (&container.last_exit, same_generation) {
        _ if attempt == 1 => "it was never started".to_owned(),
        (_, false) => format!("generation {} replaces the one before", record.generation),
        _ if turn.runs_anew(n) => "its sandbox was made anew".to_owned(),
        (Some(_), true) => STARTED_AGAIN.to_owned(),
        (None, true) => "its last attempt never came to run".to_owned(),
    };
    plan.push(
        Action::Create {
            intent: Intent {
                container: container_id,
                snapshot,
                netns,
            },
        },
        why,
    );
}

/// The attempt that follows an end at once: nothing has to be there first that isn't.
pub(super) fn start_at_once(
    turn: &Turn<'_>,
    n: Position,
    ended: &ContainerRecord,
) -> Option<Intent> {
    if !turn.sandbox_stands() {
        return None;
    }
    let mut plan = InstancePlan::default();
    plan_start(turn, n, ended, &mut plan);
    let mut actions = plan.actions.into_iter();
    match (actions.next()?.action, actions.next()) {
        (Action::Create { intent }, None) => Some(intent),
        _ => None,
    }
}

/// Is anything left of containers of a former generation?
fn former_generation_left(turn: &Turn<'_>) -> bool {
    turn.record.attempted().any(|(n, c)| {
        let Some(id) = turn
            .record
            .current(n)
            .filter(|_| c.generation < turn.record.generation)
        else {
            return false;
        };
        let seen = turn.seen(&id);
        // An intent of which nothing is to be seen needs no end: nobody would ever give it one.
        let nothing = c.phase == Phase::Intended && !seen.leftovers && seen.exit.is_none();
        (c.phase.may_live() && !nothing) || seen.leftovers
    })
}

/// The snapshot of an image that is ready; plans its pull if it isn't.
fn plan_image(turn: &Turn<'_>, image: &str, plan: &mut InstancePlan) -> Option<String> {
    let known = turn.record.images.get(image);
    if let Some(snapshot) = known.and_then(|i| i.snapshot.clone()) {
        return Some(snapshot);
    }
    let due = known
        .and_then(|i| i.retry_up)
        .filter(|up| *up > turn.now.up);
    if let Some(up) = due {
        plan.wake(up);
        return None;
    }
    let pinned = known.and_then(|i| i.digest.clone());
    let action = Action::PullImage {
        image: image.to_owned(),
        pinned,
    };
    if !plan.actions.iter().any(|p| p.action == action) {
        plan.push(action, "its image isn't ready");
    }
    None
}
