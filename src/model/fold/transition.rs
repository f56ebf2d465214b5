//! What each kind of line changes in an incarnation's record.

use std::sync::Arc;

use super::{
    eviction, health,
    record::{
        ContainerRecord, Desired, ImageRecord, InstanceRecord, LastExit, Queued, Refusal, Stop,
    },
    sandbox,
};
use crate::model::{
    definition::MAX_CONTAINERS,
    ids::{ContainerId, InstanceId},
    line::{Event, Exit, Intent, Moment},
    phase::Phase,
    spec::{PullPolicy, WorkloadSpec},
};

/// After a reboot a remaining delay counts anew, but at most this, in ms (design section 6).
const MAX_DELAY_AFTER_REBOOT_MS: u64 = 300_000;

/// The record that an event applies to: the one there is, or a new one if the event begins an
/// incarnation. None for a line about an incarnation that isn't known.
pub(super) fn begin(
    former: Option<InstanceRecord>,
    event: &Event,
    moment: &Moment,
) -> Option<InstanceRecord> {
    if former.is_some() {
        return former;
    }
    let (uid, instance, source) = match event {
        Event::Accepted {
            uid,
            instance,
            source,
            ..
        } => (uid, instance.clone(), *source),
        Event::Refused {
            uid: Some(uid),
            instance,
            source,
            ..
        } => (uid, instance.parse::<InstanceId>().ok()?, *source),
        _ => return None,
    };
    Some(InstanceRecord {
        uid: uid.clone(),
        instance,
        source,
        former: Vec::new(),
        accepted_at: moment.at,
        generation: 1,
        definition: Arc::from(""),
        spec: None,
        warnings: Vec::new(),
        refusal: None,
        evicted: None,
        desired: Desired::Run,
        destroyed_by: None,
        queued: None,
        containers: Vec::new(),
        images: std::collections::BTreeMap::new(),
        sandbox: None,
        stopping: None,
        reported: None,
        uncertain: false,
        doubt: None,
        instructed_seq: 0,
        last_seq: 0,
    })
}

/// Takes what an event says into the record.
pub(super) fn apply(record: &mut InstanceRecord, event: &Event, moment: &Moment) {
    match event {
        Event::Accepted {
            definition,
            spec,
            warnings,
            ..
        } => {
            // An incarnation begins once.
            record.uncertain |= record.spec.is_some() || record.refusal.is_some();
            record.warnings.clone_from(warnings);
            take_definition(record, definition, spec);
        }
        Event::Replaced {
            generation,
            definition,
            spec,
            warnings,
            ..
        } => {
            record.generation = *generation;
            record.warnings.clone_from(warnings);
            record.refusal = None;
            record.evicted = None;
            // A failed pull of the former definition says nothing of this one.
            record.images.retain(|_, image| image.snapshot.is_some());
            // What is to be asked for always is asked for once in each generation.
            let always = spec.containers.iter();
            for c in always.filter(|c| c.pull_policy() == PullPolicy::Always) {
                record.images.remove(&c.image);
            }
            take_definition(record, definition, spec);
        }
        Event::Queued {
            definition,
            spec,
            source,
            ..
        } => {
            record.queued = Some(Queued {
                definition: Arc::from(definition.as_str()),
                spec: Arc::new(WorkloadSpec::clone(spec)),
                source: *source,
            });
        }
        Event::DestroyAccepted { source, .. } => {
            record.desired = Desired::Gone;
            record.destroyed_by = Some(*source);
            record.queued = None;
            record.stopping = None;
        }
        Event::Refused {
            reason, message, ..
        } => {
            record.refusal = Some(Refusal {
                reason: *reason,
                message: message.clone(),
            });
        }
        Event::ImageReady {
            image,
            digest,
            snapshot,
            ..
        } => {
            let ready = ImageRecord {
                digest: Some(digest.clone()),
                snapshot: Some(snapshot.clone()),
                ..ImageRecord::default()
            };
            record.images.insert(image.clone(), ready);
        }
        Event::ImageFailed { image, .. } => {
            fail_image(record.images.entry(image.clone()).or_default(), event);
        }
        Event::SandboxIntended { .. }
        | Event::SandboxReady { .. }
        | Event::SandboxFailed { .. } => sandbox::apply(record, event, moment),
        Event::Probed { .. } | Event::HookDone { .. } => health::apply(record, event),
        Event::Evicted { .. } => eviction::apply(record, event),
        _ => apply_to_container(record, event, moment),
    }
}

fn fail_image(image: &mut ImageRecord, event: &Event) {
    if let Event::ImageFailed {
        reason,
        message,
        retry_up,
        ..
    } = event
    {
        image.snapshot = None;
        image.failures = image.failures.saturating_add(1);
        image.retry_up = Some(*retry_up);
        image.message = Some(message.clone());
        image.reason = *reason;
    }
}

fn take_definition(record: &mut InstanceRecord, definition: &str, spec: &WorkloadSpec) {
    record.definition = Arc::from(definition);
    record.spec = Some(Arc::new(spec.clone()));
}

fn apply_to_container(record: &mut InstanceRecord, event: &Event, moment: &Moment) {
    match event {
        Event::AttemptIntended { intent, .. } => intend(record, intent, moment),
        Event::Created {
            container, process, ..
        } => {
            if let Some(c) = step(record, container, Phase::Created) {
                c.process = Some(*process);
            }
        }
        Event::Started {
            container, process, ..
        } => {
            if let Some(c) = step(record, container, Phase::Running) {
                c.process = Some(*process);
                c.started = Some((moment.at, moment.up));
            }
        }
        Event::StartFailed {
            container,
            message,
            retry_up,
            ..
        } => {
            if let Some(c) = step(record, container, Phase::Exited) {
                let error = Some(message.clone());
                end(c, container, &Exit::default(), error, moment);
                c.next_up = Some(*retry_up);
                c.backoff = c.backoff.saturating_add(1);
            }
        }
        Event::Exited {
            container,
            exit,
            next_up,
            backoff,
        } => {
            if let Some(c) = step(record, container, Phase::Exited) {
                end(c, container, exit, None, moment);
                c.next_up = *next_up;
                c.backoff = *backoff;
            }
        }
        Event::StopRequested {
            container,
            deadline_up,
            reason,
            unkillable,
        } => {
            if let Some(c) = current(record, container) {
                let asked = c.stop.as_ref().filter(|_| *unkillable);
                c.stop = Some(Stop {
                    deadline_up: *deadline_up,
                    asked_up: asked.map_or(moment.up, |s| s.asked_up),
                    reason: *reason,
                    unkillable: *unkillable,
                });
                // An unwell container ends alone; all other ends are those of the instance.
                if !reason.is_some_and(|r| r.is_unwell()) {
                    record.stopping.get_or_insert(*deadline_up);
                }
            }
        }
        Event::MonitorLost { container } => {
            if let Some(c) = current(record, container) {
                c.monitor_lost = true;
            }
        }
        Event::StepRemoved { container } => removed(record, container),
        _ => {}
    }
}

/// The record of a container if `id` is its current attempt.
pub(super) fn current<'a>(
    record: &'a mut InstanceRecord,
    id: &ContainerId,
) -> Option<&'a mut ContainerRecord> {
    record
        .containers
        .get_mut(usize::from(id.n))
        .filter(|c| c.attempt == id.attempt)
}

/// Moves the current attempt on. An illegal step, or one of another attempt, marks the instance
/// uncertain; an illegal one of the current attempt is taken all the same, for it was seen.
fn step<'a>(
    record: &'a mut InstanceRecord,
    id: &ContainerId,
    next: Phase,
) -> Option<&'a mut ContainerRecord> {
    let legal = current(record, id).map(|c| c.phase.may_become(next));
    if legal != Some(true) {
        record.uncertain = true;
    }
    let c = current(record, id)?;
    c.phase = next;
    Some(c)
}

fn intend(record: &mut InstanceRecord, intent: &Intent, moment: &Moment) {
    let n = usize::from(intent.container.n);
    if n >= MAX_CONTAINERS {
        // No definition has so many; there is nothing that it could be the attempt of.
        record.uncertain = true;
        return;
    }
    if record.containers.len() <= n {
        record
            .containers
            .resize_with(n + 1, ContainerRecord::default);
    }
    let generation = record.generation;
    let sandbox = record.sandbox_number();
    record.stopping = None;
    let spec = record.spec.clone();
    let grace = spec.as_ref().map(|s| s.grace_seconds).unwrap_or_default();
    let spec = spec.as_ref().and_then(|s| s.containers.get(n));
    let c = &mut record.containers[n];
    let legal = c.phase.may_become(Phase::Intended) && intent.container.attempt > c.attempt;
    record.uncertain = !legal;
    let former = std::mem::take(c);
    let same_generation = former.generation == generation;
    // Only an attempt that began to run counts as one that this restarts.
    let restarted = same_generation
        && former
            .last_exit
            .as_ref()
            .is_some_and(|e| e.attempt == former.attempt);
    *c = ContainerRecord {
        name: spec.map(|s| s.name.clone()).unwrap_or_default(),
        role: spec.map(|s| s.role).unwrap_or_default(),
        pre_stop: spec.and_then(|s| s.hooks.pre_stop.clone()),
        sandbox,
        attempt: intent.container.attempt.max(former.attempt),
        generation,
        phase: Phase::Intended,
        boot: moment.boot.clone(),
        snapshot: intent.snapshot.clone(),
        grace_seconds: grace,
        restarts: if same_generation {
            former.restarts.saturating_add(u32::from(restarted))
        } else {
            0
        },
        backoff: if same_generation { former.backoff } else { 0 },
        last_exit: former.last_exit,
        ..ContainerRecord::default()
    };
}

fn end(
    c: &mut ContainerRecord,
    id: &ContainerId,
    exit: &Exit,
    start_error: Option<String>,
    moment: &Moment,
) {
    c.process = None;
    c.stop = None;
    c.monitor_lost = false;
    c.last_exit = Some(LastExit {
        attempt: id.attempt,
        at: moment.at,
        exit: exit.clone(),
        start_error,
    });
}

fn removed(record: &mut InstanceRecord, id: &ContainerId) {
    let Some(c) = current(record, id) else { return };
    if matches!(c.phase, Phase::Intended | Phase::Created) {
        // It never ran, so it has no exit by which this would have gone.
        (c.process, c.stop, c.monitor_lost) = (None, None, false);
    }
    c.phase = match c.phase {
        Phase::Intended | Phase::Created => Phase::Waiting,
        Phase::Exited if c.next_up.is_some() => Phase::Waiting,
        Phase::Exited => Phase::Done,
        // What runs has an exit to be recorded first.
        other => other,
    };
}

/// The node came up anew: its uptime counts from 0, so delays that were left count anew. Is
/// anything different by that?
pub(super) fn reboot(record: &mut InstanceRecord, former_up: u64, moment: &Moment) -> bool {
    let mut differs = false;
    let mut anew = |up: &mut u64| {
        let left = up.saturating_sub(former_up);
        let then = moment
            .up
            .saturating_add(left.min(MAX_DELAY_AFTER_REBOOT_MS));
        differs |= std::mem::replace(up, then) != then;
    };
    for c in &mut record.containers {
        c.next_up.iter_mut().for_each(&mut anew);
        let deadlines = c.stop.iter_mut().map(|stop| &mut stop.deadline_up);
        deadlines.for_each(&mut anew);
    }
    let retries = record.images.values_mut().flat_map(|i| &mut i.retry_up);
    retries.for_each(&mut anew);
    record.stopping.iter_mut().for_each(&mut anew);
    let sandbox = record.sandbox.iter_mut().flat_map(|s| &mut s.retry_up);
    sandbox.for_each(&mut anew);
    differs
}
