//! Planning one container of an instance that is to run.

use super::{
    action::{Action, InstancePlan},
    backoff,
    planner::Circumstances,
    start::{STARTED_AGAIN, plan_start, start_at_once},
    stop::{plan_stop, plan_unwell},
};
use crate::model::{
    fold::{ContainerRecord, Desired, InstanceRecord},
    ids::{ContainerId, Position},
    line::{Exit, Moment},
    observed::{ObservedContainer, ObservedInstance, Status},
    phase::Phase,
    spec::Role,
    state::Reason,
};

/// Everything one turn of planning reads.
pub(super) struct Turn<'a> {
    pub(super) record: &'a InstanceRecord,
    pub(super) observed: &'a ObservedInstance,
    pub(super) circumstances: &'a Circumstances,
    pub(super) now: &'a Moment,
}

/// What is seen of a container of which nothing is there.
const ABSENT: ObservedContainer = ObservedContainer {
    status: Status::Absent,
    process: None,
    monitor: false,
    exit: None,
    leftovers: false,
};

impl Turn<'_> {
    /// What is seen of an attempt.
    pub(super) fn seen(&self, id: &ContainerId) -> &ObservedContainer {
        self.observed.containers.get(id).unwrap_or(&ABSENT)
    }

    /// Was the attempt made in another boot than this one?
    pub(super) fn rebooted(&self, container: &ContainerRecord) -> bool {
        container.boot != self.now.boot
    }

    /// How an attempt that is over ended, as far as can be known.
    pub(super) fn exit_of(&self, container: &ContainerRecord, seen: &ObservedContainer) -> Exit {
        let orderly = self.circumstances.stopping_boot.as_deref() == Some(container.boot.as_str());
        let mut exit = match &seen.exit {
            // Taken down with the node: its code says how it was ended, not that it failed.
            Some(exit) if self.rebooted(container) && orderly => Exit {
                reason: Some(Reason::NodeRebooted),
                ..exit.clone()
            },
            Some(exit) => exit.clone(),
            None if self.rebooted(container) => Exit::unknown(Reason::NodeRebooted),
            None => Exit::unknown(Reason::MonitorLost),
        };
        if let Some(stop) = &container.stop
            && exit.reason.is_none_or(|r| r == Reason::MonitorLost)
        {
            exit.reason = stop.reason;
        }
        exit
    }

    /// Is its monitor about to tell how it ended, and not stuck?
    fn awaits_exit(&self, id: &ContainerId, seen: &ObservedContainer) -> bool {
        let now = self.now.up;
        let since = self.circumstances.awaited.get(id).copied().unwrap_or(now);
        let overdue = now.saturating_sub(since) >= EXIT_OVERDUE_MS;
        seen.exit.is_none() && seen.monitor && !overdue
    }

    /// Plans the record of an end, with what the restart policy makes of it; the next attempt
    /// begins with it where that is due and `at_once`.
    pub(super) fn record_exit(
        &self,
        id: ContainerId,
        container: &ContainerRecord,
        exit: Exit,
        why: &str,
        at_once: bool,
        plan: &mut InstancePlan,
    ) {
        let (next_up, backoff) = if self.record.desired == Desired::Gone {
            (None, 0)
        } else {
            backoff::after_exit(self.record, id.n, &exit, self.now)
        };
        let after = ContainerRecord {
            phase: Phase::Exited,
            next_up,
            ..container.clone()
        };
        let next = match self.record.desired {
            Desired::Run if at_once => start_at_once(self, id.n, &after),
            Desired::Run | Desired::Gone => None,
        };
        plan.push(
            Action::RecordExit {
                container: id,
                exit,
                next_up,
                backoff,
                next: next.clone(),
            },
            why,
        );
        if let Some(intent) = next {
            plan.push(Action::Create { intent }, STARTED_AGAIN);
        }
    }
}

/// Attempts that aren't the current ones of their positions: those that may live go before
/// anything is started, the others when everything else is done.
pub(super) fn plan_strays(turn: &Turn<'_>, living: bool, plan: &mut InstancePlan) {
    for (id, seen) in &turn.observed.containers {
        let lives = !matches!(seen.status, Status::Absent | Status::Stopped);
        if turn.record.current(id.n).as_ref() == Some(id) || lives != living {
            continue;
        }
        let known = turn.record.container(id.n).map_or(0, |c| c.attempt);
        let why = if id.attempt < known {
            "a later attempt has superseded it"
        } else if turn.record.desired == Desired::Gone {
            "its instance is to be gone"
        } else if lives {
            // Begun by a daemon whose journal lost its end. It is left alone, and
            // `next_attempt` refuses to start another beside it.
            continue;
        } else {
            "the journal knows nothing of this attempt, and it has ended"
        };
        let container = id.clone();
        plan.push(Action::Remove { container }, why);
    }
}

/// A container of an instance that is to run.
pub(super) fn plan_container(turn: &Turn<'_>, n: Position, plan: &mut InstancePlan) {
    let blank = ContainerRecord::default();
    let container = turn.record.container(n).unwrap_or(&blank);
    let Some(id) = turn.record.current(n) else {
        plan_start(turn, n, container, plan);
        return;
    };
    let seen = turn.seen(&id);
    let outdated = container.generation < turn.record.generation;
    // A sidecar that nobody needs any more.
    let unneeded = !outdated && container.role == Role::Sidecar && turn.record.work_over();
    let evicted = turn.record.is_evicted();
    if container.phase == Phase::Intended && !seen.leftovers && seen.exit.is_none() {
        if unneeded || evicted {
            let why = match evicted {
                true => "its instance was evicted before it came to run",
                false => "the main containers are over before it came to run",
            };
            return plan.push(Action::Remove { container: id }, why);
        }
        return plan_start(turn, n, container, plan);
    }
    // A stop that was begun is carried through, also if nobody wants it any more (uncordoned
    // within the grace): SIGTERM may have been sent, and who got it doesn't serve any longer.
    let stopping = container.stop.is_some();
    let drained = turn.circumstances.drained;
    if container.phase.may_live() && (outdated || drained || stopping || unneeded || evicted) {
        let reason = if outdated {
            Reason::Replacing
        } else if evicted {
            Reason::Evicted
        } else if unneeded {
            Reason::Completed
        } else {
            Reason::NodeDrained
        };
        plan_stop(turn, id, container, Some(reason), plan);
        return;
    }
    match container.phase {
        Phase::Intended => plan_intended(turn, id, container, plan),
        Phase::Created => plan_created(turn, id, container, plan),
        Phase::Running => plan_running(turn, id, container, plan),
        Phase::Waiting | Phase::Exited | Phase::Done => {
            // Something may live of an attempt that ended (its start failed half-way), and what
            // a generation leaves goes before the next one comes.
            let lives = !matches!(seen.status, Status::Absent | Status::Stopped);
            if seen.leftovers && (lives || outdated) {
                plan.push(Action::Remove { container: id }, "the attempt is over");
                return;
            }
            let before = plan.actions.len();
            plan_start(turn, n, container, plan);
            // Where it is started again that comes first; what is left of this attempt is then
            // superseded and goes after.
            let again = plan.actions[before..]
                .iter()
                .any(|p| matches!(p.action, Action::Create { .. }));
            if seen.leftovers && !again {
                plan.push(Action::Remove { container: id }, "the attempt is over");
            }
        }
    }
}

/// A start was intended, and whoever intended it is gone or failed.
fn plan_intended(
    turn: &Turn<'_>,
    id: ContainerId,
    container: &ContainerRecord,
    plan: &mut InstancePlan,
) {
    let seen = turn.seen(&id);
    let rebooted = turn.rebooted(container);
    match (seen.status, &seen.process) {
        (Status::Running | Status::Paused, Some(process)) if !rebooted => {
            let action = Action::RecordStarted {
                container: id,
                process: *process,
            };
            plan.push(action, "it runs, and that isn't recorded");
        }
        // Before its start: whatever is lost after that, an attempt of which no creation is written
        // has never run, and the next one may take its place under any policy.
        (Status::Created, Some(process)) if seen.monitor && !rebooted => {
            let action = Action::RecordCreated {
                container: id,
                process: *process,
            };
            plan.push(action, "it is created, and that isn't recorded");
        }
        (Status::Stopped | Status::Absent, _) if seen.exit.is_some() => {
            let exit = turn.exit_of(container, seen);
            let why = "it ran and ended, and neither is recorded";
            turn.record_exit(id, container, exit, why, true, plan);
        }
        // It ran and has just ended; to end its monitor now would be to run it once more.
        (Status::Stopped, _) if !rebooted && turn.awaits_exit(&id, seen) => {
            plan.wake(turn.now.up + EXIT_RECHECK_MS);
        }
        _ => {
            let why = "its start was intended, and nothing proves that it was made";
            plan.push(Action::Remove { container: id }, why);
        }
    }
}

/// It was created; its own process may not run yet.
fn plan_created(
    turn: &Turn<'_>,
    id: ContainerId,
    container: &ContainerRecord,
    plan: &mut InstancePlan,
) {
    let seen = turn.seen(&id);
    if turn.rebooted(container) {
        return plan_over(turn, id, container, None, plan);
    }
    match (seen.status, &seen.process) {
        (Status::Running | Status::Paused, Some(process)) => {
            let action = Action::RecordStarted {
                container: id,
                process: *process,
            };
            plan.push(action, "it runs, and that isn't recorded");
        }
        // Also where its monitor is gone: then the start fails, and what follows backs off.
        (Status::Created, _) => {
            plan.push(
                Action::Start { container: id },
                "it is created and not started",
            );
        }
        _ => plan_over(turn, id, container, None, plan),
    }
}

/// It was recorded as running.
fn plan_running(
    turn: &Turn<'_>,
    id: ContainerId,
    container: &ContainerRecord,
    plan: &mut InstancePlan,
) {
    let seen = turn.seen(&id);
    if turn.rebooted(container) {
        return plan_over(turn, id, container, None, plan);
    }
    match seen.status {
        Status::Running | Status::Paused | Status::Created => {
            if !seen.monitor && !container.monitor_lost {
                let why = "it runs without its monitor";
                let container = id.clone();
                plan.push(Action::RecordMonitorLost { container }, why);
            }
            if let Some(ailment) = turn.record.ailment(id.n) {
                plan_unwell(turn, id, container, ailment, plan);
            }
        }
        Status::Broken => {
            plan_over(turn, id, container, Some(Reason::RuntimeStateLost), plan);
        }
        Status::Stopped | Status::Absent | Status::Creating => {
            plan_over(turn, id, container, None, plan);
        }
    }
}

/// How soon a monitor that hasn't told the exit yet is asked again, in ms.
const EXIT_RECHECK_MS: u64 = 200;

/// A monitor that hasn't told the exit for so long is stuck, in ms; it needs about 10 ms.
const EXIT_OVERDUE_MS: u64 = 10_000;

/// An attempt is over, or has to be: what may still live of it is ended *before* that is
/// recorded, for a recorded end allows the next start.
pub(super) fn plan_over(
    turn: &Turn<'_>,
    id: ContainerId,
    container: &ContainerRecord,
    reason: Option<Reason>,
    plan: &mut InstancePlan,
) {
    let seen = turn.seen(&id);
    let lives = !matches!(seen.status, Status::Absent | Status::Stopped);
    if !lives && turn.awaits_exit(&id, seen) && !turn.rebooted(container) {
        // It is about to tell; the exit file's event wakes us sooner.
        plan.wake(turn.now.up + EXIT_RECHECK_MS);
        return;
    }
    let mut exit = turn.exit_of(container, seen);
    if seen.exit.is_none()
        && let Some(reason) = reason
    {
        exit.reason = Some(reason);
    }
    let why = match exit.reason {
        Some(Reason::NodeRebooted) => "the node rebooted while it ran",
        Some(Reason::RuntimeStateLost) => "the runtime can't command it any more",
        Some(Reason::MonitorLost) => "it is gone, and nobody saw how it ended",
        _ => "it ended",
    };
    if lives && seen.exit.is_some() {
        // How it ended is on the disk, and goes with a remove: it is recorded first, and nothing
        // is started before the next plan has removed what lives.
        return turn.record_exit(id, container, exit, why, false, plan);
    }
    if lives {
        plan.push(
            Action::Remove {
                container: id.clone(),
            },
            why,
        );
    }
    turn.record_exit(id, container, exit, why, true, plan);
}
