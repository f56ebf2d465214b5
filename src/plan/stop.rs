//! Planning an end: of one container, and of an instance that is to be gone.

use super::{
    action::{Action, InstancePlan},
    container::{Turn, plan_over},
    planner::plan_end,
};
use crate::model::{
    fold::ContainerRecord, ids::ContainerId, observed::Status, phase::Phase, state::Reason,
};

/// A container that got SIGKILL is looked at again by then at the latest, in ms; who sent it looks
/// sooner at first, and ever later.
const KILL_RECHECK_MS: u64 = 30_000;

/// Stops an attempt that may live: SIGTERM, the grace of the definition it was made from,
/// SIGKILL.
pub(super) fn plan_stop(
    turn: &Turn<'_>,
    id: ContainerId,
    container: &ContainerRecord,
    reason: Option<Reason>,
    plan: &mut InstancePlan,
) {
    let seen = turn.seen(&id);
    let now = turn.now.up;
    match seen.status {
        Status::Running | Status::Paused if !turn.rebooted(container) => match &container.stop {
            None if !turn.may_stop(id.n, container) => {}
            None => {
                let own = now + u64::from(container.grace_seconds) * 1_000;
                // All have one grace; whoever is ended after others has what is left of it.
                let common = turn.record.stopping;
                let action = Action::RequestStop {
                    container: id,
                    deadline_up: common.map_or(own, |common| common.min(own)),
                    reason,
                    terminate: !container.owes_pre_stop(),
                };
                plan.push(action, "it is to stop");
            }
            Some(stop) if stop.deadline_up <= now => {
                plan.push(Action::Kill { container: id }, "its grace is over");
                plan.wake(now + KILL_RECHECK_MS);
            }
            Some(stop) if container.owes_pre_stop() && now < stop.hook_until() => {
                plan.wake(stop.hook_until());
            }
            Some(stop) => {
                if !turn.circumstances.signalled.contains(&id) {
                    let why = "its stop is recorded, and this daemon hasn't sent SIGTERM";
                    plan.push(Action::Terminate { container: id }, why);
                }
                plan.wake(stop.deadline_up);
            }
        },
        // Its own process never ran, so there is nobody to be graceful to.
        Status::Created | Status::Creating if container.phase != Phase::Running => {
            plan.push(Action::Remove { container: id }, "it was never started");
        }
        _ if container.phase == Phase::Intended && seen.exit.is_none() => {
            plan.push(Action::Remove { container: id }, "it was never started");
        }
        Status::Broken => plan_over(turn, id, container, Some(Reason::RuntimeStateLost), plan),
        _ => plan_over(turn, id, container, None, plan),
    }
}

/// Ends a running container that its probes or its hook found unwell.
pub(super) fn plan_unwell(
    turn: &Turn<'_>,
    id: ContainerId,
    container: &ContainerRecord,
    (reason, grace_seconds): (Reason, Option<u32>),
    plan: &mut InstancePlan,
) {
    let grace = u64::from(grace_seconds.unwrap_or(container.grace_seconds)) * 1_000;
    let why = match turn.record.complaint(id.n) {
        Some(complaint) => complaint,
        None => "it is unwell".to_owned(),
    };
    let action = Action::RequestStop {
        container: id,
        deadline_up: turn.now.up + grace,
        reason: Some(reason),
        terminate: !container.owes_pre_stop(),
    };
    plan.push(action, why);
}

/// An instance of which nothing is to be left.
pub(super) fn plan_gone(turn: &Turn<'_>, plan: &mut InstancePlan) {
    for (n, container) in turn.record.attempted() {
        let Some(id) = turn.record.current(n) else {
            continue;
        };
        let seen = turn.seen(&id);
        let nothing = container.phase == Phase::Intended && !seen.leftovers && seen.exit.is_none();
        if container.phase.may_live() && !nothing {
            plan_stop(turn, id, container, None, plan);
        } else if seen.leftovers {
            plan.push(
                Action::Remove { container: id },
                "its instance is to be gone",
            );
        }
    }
    let live = turn.record.attempted().any(|(n, c)| {
        // An intent of which nothing is to be seen needs no end.
        c.phase.may_live()
            && (c.phase != Phase::Intended
                || turn
                    .record
                    .current(n)
                    .is_some_and(|id| turn.seen(&id).leftovers))
    });
    if plan.actions.is_empty() && !live && turn.observed.containers.is_empty() {
        plan_end(
            turn,
            "its instance is to be gone, and no container is left",
            plan,
        );
    }
}
