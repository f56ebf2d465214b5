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
            _ => outliving(record, State::Destroying)
                .unwrap_or_else(|| StateReport::plain(State::Destroying)),
        };
    }
    if let Some(refusal) = &record.refusal {
        return StateReport::because(State::Failed, refusal.reason, &refusal.message);
    }
    if let Some(evicted) = &record.evicted {
        let failed = || StateReport::because(State::Failed, Reason::Evicted, &evicted.message);
        return outliving(record, State::Failed).unwrap_or_else(failed);
    }
    if record.completed() {
        let message = "every container exited with 0";
        return StateReport {
            exit_code: Some(0),
            ..StateReport::because(State::Terminated, Reason::Completed, message)
        };
    }
    if let Some(failed) = outliving(record, State::Failed) {
        return failed;
    }
    if let Some(failed) = record
        .positions()
        .find_map(|n| container_failure(record, n))
    {
        return failed;
    }
    if record.work_completed() {
        // Its sidecars are being ended: that is no news.
        let former = record.reported.clone();
        return former.unwrap_or_else(|| StateReport::plain(State::Running));
    }
    let up = |n| record.is_ready(n) || record.container_completed(n);
    if record.positions().all(up) {
        return StateReport::plain(State::Running);
    }
    on_the_way(record)
}

/// The state where a container that is to end outlives SIGKILL.
fn outliving(record: &InstanceRecord, state: State) -> Option<StateReport> {
    let outlives = |c: &ContainerRecord| c.stop.as_ref().is_some_and(|s| s.unkillable);
    let (_, c) = record.attempted().find(|(_, c)| outlives(c))?;
    let message = format!(
        "container {}: its process outlives SIGKILL, so it hangs in the kernel; tried again every \
         30 s, a reboot ends it",
        c.name
    );
    Some(StateReport::because(state, Reason::Unkillable, message))
}

/// Not all is up, and nothing has failed: why.
fn on_the_way(record: &InstanceRecord) -> StateReport {
    let replacing = record
        .attempted()
        .any(|(_, c)| c.generation < record.generation && c.phase != Phase::Waiting);
    if replacing {
        let message = format!("generation {} replaces the one before", record.generation);
        return StateReport::because(State::Creating, Reason::Replacing, message);
    }
    if let Some(message) = sandbox_failure(record) {
        return StateReport::because(State::Failed, Reason::SandboxError, message);
    }
    let unwell = record.positions().find_map(|n| {
        let (c, spec) = record.spec_of_attempt(n)?;
        let complaint = record.complaint(n).filter(|_| c.phase == Phase::Running)?;
        let asked = c.stop.as_ref().and_then(|s| s.reason);
        let reason = asked.or(record.ailment(n).map(|(reason, _)| reason));
        let reason = reason.unwrap_or(Reason::ProbeFailed);
        let message = format!("container {}: {complaint}", spec.name);
        Some(StateReport::because(State::Creating, reason, message))
    });
    unwell.unwrap_or_else(|| StateReport::plain(State::Creating))
}

/// Why there is no sandbox, if making it failed.
fn sandbox_failure(record: &InstanceRecord) -> Option<String> {
    let sandbox = record.sandbox.as_ref().filter(|s| !s.ready)?;
    let why = sandbox.message.as_ref()?;
    Some(format!("sandbox: {why}; it is tried again"))
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
    exit_failure(record, n, &spec.name, container)
}

/// The state that a container's last exit makes, if that is Failed.
fn exit_failure(
    record: &InstanceRecord,
    n: Position,
    name: &str,
    container: &ContainerRecord,
) -> Option<StateReport> {
    let policy = record.policy_at(n);
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
        (Some(Reason::Replacing | Reason::Completed), _) => return None,
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
    let found = record.complaint(n).filter(|_| reason.is_unwell());
    let found = found.map_or(String::new(), |found| format!("{found}; it "));
    let words = exit.message.as_ref().map_or(String::new(), |words| {
        format!(" ({})", words.trim().replace('\n', " / "))
    });
    let message = format!("container {name} {found}{how}{words}; {retry}");
    Some(StateReport {
        exit_code: exit.code,
        ..StateReport::because(State::Failed, reason, message)
    })
}
