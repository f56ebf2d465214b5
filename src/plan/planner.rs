//! Planning one instance.

use super::{
    action::{Action, InstancePlan},
    container::{Turn, plan_container, plan_strays},
    stop::plan_gone,
};
use crate::model::{
    fold::{Desired, InstanceRecord},
    ids::{ContainerId, Source, Uid},
    line::Moment,
    observed::{ObservedInstance, Status},
};
use std::collections::{BTreeMap, BTreeSet};

/// What besides the record bears on a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Are instances to be stopped and to stay stopped?
    pub drained: bool,
    /// The boot in which the node was last taken down in order.
    pub stopping_boot: Option<String>,
    /// Has the scheduler every state of the incarnation (true for other sources)?
    pub acknowledged: bool,
    /// Starts wait, for a destroy may be on its way (design section 7, start-up).
    pub hold_starts: bool,
    /// Does another incarnation, which is on its way out, still hold one of its host ports?
    pub ports_held: bool,
    /// Containers that this daemon has sent SIGTERM.
    pub signalled: BTreeSet<ContainerId>,
    /// Containers whose process is gone while their monitor lives and hasn't told the exit: since
    /// when that is seen, in CLOCK_BOOTTIME ms.
    pub awaited: BTreeMap<ContainerId, u64>,
}

/// What to do to an instance of which there is a record.
#[must_use]
pub fn plan_instance(
    record: &InstanceRecord,
    observed: &ObservedInstance,
    circumstances: &Circumstances,
    now: &Moment,
) -> InstancePlan {
    let mut plan = InstancePlan::default();
    if record.doubt.is_some() {
        // What it shall be may be among what is lost: nothing is started, stopped or removed.
        return plan;
    }
    let turn = Turn {
        record,
        observed,
        circumstances,
        now,
    };
    plan_strays(&turn, true, &mut plan);
    if record.desired == Desired::Gone {
        plan_strays(&turn, false, &mut plan);
        plan_gone(&turn, &mut plan);
        return plan;
    }
    let positions = record.positions().count().max(record.containers.len());
    for n in (0..).take(positions) {
        plan_container(&turn, n, &mut plan);
    }
    plan_strays(&turn, false, &mut plan);
    if record.completed() && circumstances.acknowledged && plan.actions.is_empty() {
        plan_completed(&turn, &mut plan);
    }
    if record.is_spent() && plan.actions.is_empty() {
        plan_spent(&turn, &mut plan);
    }
    plan
}

/// Nothing of it lives any more: what it took of the node (disk, memory, an address, ports) is given
/// back. Its logs stay.
fn plan_spent(turn: &Turn<'_>, plan: &mut InstancePlan) {
    if turn.observed.containers.is_empty() && turn.observed.leftovers {
        let why = match turn.record.is_evicted() {
            true => "it was evicted, and what it took of the node is given back",
            false => "nothing of it starts again, and what it took of the node is given back",
        };
        plan.push(Action::RemoveSandbox, why);
    }
}

/// The scheduler knows how its work ended. A person looks at the end and its log until they delete
/// it; and a manifest that is still there would be run again if nothing said that it has been.
fn plan_completed(turn: &Turn<'_>, plan: &mut InstancePlan) {
    if turn.record.source == Source::Scheduler || turn.record.queued.is_some() {
        let why = "every container has completed, and the scheduler knows";
        plan_end(turn, why, plan);
    }
}

/// Removes what is left besides containers, then records that nothing is.
pub(super) fn plan_end(turn: &Turn<'_>, why: &str, plan: &mut InstancePlan) {
    if turn.observed.leftovers {
        plan.push(Action::RemoveSandbox, why);
    }
    plan.push(Action::RecordRemoved, why);
}

/// What to do with something that bears our mark and has no record: it is removed only if the
/// journal shows that its incarnation was removed. Otherwise it is unclaimed, and left alone.
#[must_use]
pub fn plan_unknown(uid: &Uid, observed: &ObservedInstance, known_removed: bool) -> InstancePlan {
    let mut plan = InstancePlan::default();
    if !known_removed {
        return plan;
    }
    let why = format!("the journal shows that {uid} was removed");
    for id in observed.containers.keys() {
        plan.push(
            Action::Remove {
                container: id.clone(),
            },
            &why,
        );
    }
    if observed.leftovers {
        plan.push(Action::RemoveSandbox, &why);
    }
    plan
}

/// What to do with something that bears our mark, has no record, and shall go: SIGTERM, until the
/// deadline that stands in the journal, then nothing of it is left.
#[must_use]
pub fn plan_disowned(
    observed: &ObservedInstance,
    deadline_up: u64,
    signalled: &BTreeSet<ContainerId>,
    now: &Moment,
) -> InstancePlan {
    let mut plan = InstancePlan::default();
    let why = "nothing is known of it but its mark, and it was told to go";
    for (id, seen) in &observed.containers {
        let container = id.clone();
        if seen.status != Status::Running || deadline_up <= now.up {
            plan.push(Action::Remove { container }, why);
            continue;
        }
        if !signalled.contains(id) {
            plan.push(Action::Terminate { container }, why);
        }
        plan.wake(deadline_up);
    }
    if observed.containers.is_empty() {
        if observed.leftovers {
            plan.push(Action::RemoveSandbox, why);
        }
        plan.push(Action::RecordRemoved, why);
    }
    plan
}
