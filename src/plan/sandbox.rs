//! Planning the sandbox: made before the first container in it, anew for each generation, and
//! never while anything lives in the one before.

use super::{
    action::{Action, InstancePlan, Planned},
    container::Turn,
    stop::plan_stop,
};
use crate::model::state::Reason;

/// Is the sandbox there, or planned before this? Not while its next try waits.
pub(super) fn plan_sandbox(turn: &Turn<'_>, plan: &mut InstancePlan) -> bool {
    let planned = |p: &Planned| p.action == Action::CreateSandbox;
    if turn.sandbox_stands() || plan.actions.iter().any(planned) {
        return true;
    }
    if turn.anything_lives() {
        // What lives shares the one that is gone: it goes too, so that all share one again.
        plan_leaving(turn, plan);
        return false;
    }
    let retry = turn.record.sandbox.as_ref().and_then(|s| s.retry_up);
    if let Some(up) = retry.filter(|up| *up > turn.now.up) {
        plan.wake(up);
        return false;
    }
    if turn.circumstances.ports_held {
        // Whoever holds them is on its way out, and wakes us when it is gone.
        return false;
    }
    if turn.record.sandbox_is_current() {
        plan.push(Action::CreateSandbox, "it has no sandbox");
    } else {
        if turn.observed.sandbox || turn.observed.leftovers {
            let why = "its sandbox is that of a former generation";
            plan.push(Action::RemoveSandbox, why);
        }
        plan.push(Action::CreateSandbox, "its generation has no sandbox");
    }
    true
}

/// Ends what lives in a sandbox that is gone.
fn plan_leaving(turn: &Turn<'_>, plan: &mut InstancePlan) {
    for (n, container) in turn.record.attempted() {
        let Some(id) = turn.record.current(n) else {
            continue;
        };
        let planned = |p: &Planned| p.action.container() == Some(&id);
        let begun = container.stop.is_some() || plan.actions.iter().any(planned);
        if !begun && container.phase.may_live() && turn.lives(n, container) {
            plan_stop(turn, id, container, Some(Reason::SandboxError), plan);
        }
    }
}
