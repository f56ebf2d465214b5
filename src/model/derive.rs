//! The one place where a reported state comes from: an incarnation's record in, a state out.
//!
//! Owns: design section 11. Pure; the fold calls it after each line. Must never happen here:
//! looking at anything but the record.

use super::{
    fold::{ContainerRecord, Desired, InstanceRecord},
    ids::{Position, Source},
    phase::Phase,
    spec::RestartPolicy,
    state::{Reason, State, StateReport},
};

/// The state of an incarnation that still has a record.
///
/// A scheduler takes Destroying as a command (design section 9, rule 5), so it is said only
/// after its own destroy; an operator's leaves the state as it was until Terminated.
#[must_use]
pub fn derive(record: &InstanceRecord) -> StateReport {
    if record.desired == Desired::Gone {
        let own_word =
            record.source != Source::Scheduler || record.destroyed_by == Some(Source::Scheduler);
        return match &record.reported {
            Some(former) if !own_word => former.clone(),
            _ => StateReport::plain(State::Destroying),
        };
    }
    if let Some(refusal) = &record.refusal {
        return StateReport::because(State::Failed, refusal.reason, &refusal.message);
    }
    if record.completed() {
        let message = "every container exited with 0";
        return StateReport {
            exit_code: Some(0),
            ..StateReport::because(State::Terminated, Reason::Completed, message)
        };
    }
    if let Some(failed) = record
        .positions()
        .find_map(|n| container_failure(record, n))
    {
        return failed;
    }
    let all_started = record.positions().all(|n| {
        record.container(n).is_some_and(|c| {
            c.generation == record.generation && c.phase == Phase::Running && c.stop.is_none()
        }) || record.container_completed(n)
    });
    if all_started {
        return StateReport::plain(State::Running);
    }
    let replacing = record
        .attempted()
        .any(|(_, c)| c.generation < record.generation && c.phase != Phase::Waiting);
    if replacing {
        let message = format!("generation {} replaces the one before", record.generation);
        return StateReport::because(State::Creating, Reason::Replacing, message);
    }
    StateReport::plain(State::Creating)
}

/// Why the container at `n` makes the instance Failed, if it does.
fn container_failure(record: &InstanceRecord, n: Position) -> Option<StateReport> {
    let spec = record.container_spec(n)?;
    let blank = ContainerRecord::default();
    let container = record.container(n).unwrap_or(&blank);
    let current = container.generation == record.generation;
    if current
        && matches!(
            container.phase,
            Phase::Created | Phase::Running | Phase::Intended
        )
    {
        return None;
    }
    if let Some(image) = record.images.get(&spec.image)
        && let Some(message) = &image.message
        && image.snapshot.is_none()
        && !record.container_completed(n)
    {
        let message = format!("image {}: {message}", spec.image);
        let reason = image.reason.unwrap_or(Reason::ImagePullBackOff);
        return Some(StateReport::because(State::Failed, reason, message));
    }
    if !current {
        return None;
    }
    exit_failure(record.restart_policy(), &spec.name, container)
}

/// The state that a container's last exit makes, if that is Failed.
fn exit_failure(
    policy: RestartPolicy,
    name: &str,
    container: &ContainerRecord,
) -> Option<StateReport> {
    let last = container.last_exit.as_ref()?;
    // A later attempt was removed before it ran; the next one starts without delay.
    if container.phase == Phase::Waiting && last.attempt < container.attempt {
        return None;
    }
    let exit = &last.exit;
    let retry = match container.next_up {
        Some(_) if exit.reason == Some(Reason::NodeDrained) => "it is started again on uncordon",
        Some(_) => "it is started again",
        None => "it is not started again",
    };
    if let Some(error) = &last.start_error {
        let message = format!("container {name}: {error}; {retry}");
        return Some(StateReport::because(
            State::Failed,
            Reason::StartError,
            message,
        ));
    }
    match (exit.reason, exit.code) {
        (Some(Reason::Replacing), _) => return None,
        // Between attempts after exit 0, and completed beside running ones.
        (None, Some(0)) if policy != RestartPolicy::Never || container.next_up.is_none() => {
            return None;
        }
        _ => {}
    }
    let how = match (exit.code, exit.signal) {
        (_, Some(signal)) => format!("was ended by signal {signal}"),
        (Some(code), None) => format!("exited with {code}"),
        (None, None) => "ended, its exit code is unknown".to_owned(),
    };
    let reason = match exit.reason {
        Some(reason) => reason,
        None if container.backoff > 1 && container.next_up.is_some() => Reason::CrashLoopBackOff,
        None => Reason::Error,
    };
    Some(StateReport {
        exit_code: exit.code,
        ..StateReport::because(
            State::Failed,
            reason,
            format!("container {name} {how}; {retry}"),
        )
    })
}
