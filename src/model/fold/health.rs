//! What is known of a container's health: its probes' verdicts and its hooks.
//!
//! Owns: how tries in a row make a verdict (Kubernetes' rules: liveness counts as passed until it
//! failed, startup and readiness as failed until they passed), and what a verdict means for its
//! container. Must never happen here: a time; when to try again is [`plan::errands`]'s.
//!
//! [`plan::errands`]: crate::plan::errands

use serde::{Deserialize, Serialize};

use super::{
    record::{ContainerRecord, InstanceRecord},
    transition::current,
};
use crate::model::{
    ids::Position,
    line::Event,
    phase::Phase,
    spec::{ContainerSpec, Hook, Probe, ProbeKind},
    state::Reason,
};

/// What is known of a probe of the current attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// Did the last try succeed?
    pub ok: bool,
    /// So many tries in a row ended like that, counted up to the threshold.
    pub in_a_row: u32,
    /// What so many in a row last said: passed, failed; none while neither was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// What the last failure was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ProbeRecord {
    /// So many tries in a row make a verdict.
    #[must_use]
    pub fn threshold(probe: &Probe, ok: bool) -> u32 {
        let threshold = if ok { probe.successes } else { probe.failures };
        threshold.max(1)
    }

    /// The record after another line of it.
    #[must_use]
    pub(super) fn after(
        &self,
        probe: &Probe,
        ok: bool,
        in_a_row: u32,
        message: Option<&String>,
    ) -> Self {
        let reached = in_a_row >= Self::threshold(probe, ok);
        Self {
            ok,
            in_a_row,
            passed: if reached { Some(ok) } else { self.passed },
            message: message.cloned(),
        }
    }
}

/// Takes what an event says of a container's health.
pub(super) fn apply(record: &mut InstanceRecord, event: &Event) {
    match event {
        Event::Probed {
            container,
            probe,
            ok,
            in_a_row,
            message,
        } => {
            let spec = record.container_spec(container.n);
            let spec = spec.and_then(|s| s.probes.get(*probe)).cloned();
            if let (Some(spec), Some(c)) = (spec, current(record, container)) {
                let former = c.probes.entry(*probe).or_default();
                *former = former.after(&spec, *ok, *in_a_row, message.as_ref());
            }
        }
        Event::HookDone {
            container,
            hook,
            ok,
            message,
        } => {
            if let Some(c) = current(record, container) {
                let (ok, message) = (*ok, message.clone());
                c.hooks.insert(*hook, HookRecord { ok, message });
            }
        }
        _ => {}
    }
}

/// How a hook of the current attempt ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRecord {
    /// Was it done well?
    pub ok: bool,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ContainerRecord {
    /// What so many tries in a row last said of it, if anything.
    #[must_use]
    pub fn verdict(&self, kind: ProbeKind) -> Option<bool> {
        self.probes.get(&kind)?.passed
    }

    fn hook_done_well(&self, spec: &ContainerSpec) -> bool {
        let hook = self.hooks.get(&Hook::PostStart);
        spec.hooks.post_start.is_none() || hook.is_some_and(|h| h.ok)
    }

    /// Is there a hook to be waited for before SIGTERM?
    #[must_use]
    pub fn owes_pre_stop(&self) -> bool {
        self.pre_stop.is_some() && !self.hooks.contains_key(&Hook::PreStop)
    }
}

impl InstanceRecord {
    /// The definition that the current attempt at `n` was made from, if it is the current one.
    #[must_use]
    pub fn spec_of_attempt(&self, n: Position) -> Option<(&ContainerRecord, &ContainerSpec)> {
        let container = self.container(n)?;
        let current = container.generation == self.generation;
        Some((container, self.container_spec(n).filter(|_| current)?))
    }

    /// Has the container at `n` come up: it runs, what follows its start is done, and its startup
    /// probe has passed? What starts after it may then start.
    #[must_use]
    pub fn has_come_up(&self, n: Position) -> bool {
        self.spec_of_attempt(n).is_some_and(|(c, spec)| {
            c.phase == Phase::Running
                && c.stop.is_none()
                && c.hook_done_well(spec)
                && (spec.probes.startup.is_none() || c.verdict(ProbeKind::Startup) == Some(true))
        })
    }

    /// Is the container at `n` up, and says its readiness probe so?
    #[must_use]
    pub fn is_ready(&self, n: Position) -> bool {
        self.has_come_up(n)
            && self.spec_of_attempt(n).is_some_and(|(c, spec)| {
                spec.probes.readiness.is_none() || c.verdict(ProbeKind::Readiness) == Some(true)
            })
    }

    /// Why the running container at `n` has to be ended, if its probes or its hook say so, with
    /// the seconds of grace that are particular to that.
    #[must_use]
    pub fn ailment(&self, n: Position) -> Option<(Reason, Option<u32>)> {
        let (c, spec) = self.spec_of_attempt(n)?;
        let hook = c.hooks.get(&Hook::PostStart);
        if spec.hooks.post_start.is_some() && hook.is_some_and(|h| !h.ok) {
            return Some((Reason::PostStartHookError, None));
        }
        [ProbeKind::Startup, ProbeKind::Liveness]
            .into_iter()
            .find_map(|kind| {
                let probe = spec.probes.get(kind)?;
                let failed = c.verdict(kind) == Some(false);
                failed.then_some((Reason::ProbeFailed, probe.grace_seconds))
            })
    }

    /// What its probes or its hook last found wrong with the container at `n`, in words.
    #[must_use]
    pub fn complaint(&self, n: Position) -> Option<String> {
        let c = self.container(n)?;
        if let Some(hook) = c.hooks.get(&Hook::PostStart).filter(|h| !h.ok) {
            return Some(said("postStart hook failed", hook.message.as_deref()));
        }
        ProbeKind::ALL.into_iter().find_map(|kind| {
            let probe = c.probes.get(&kind).filter(|p| !p.ok)?;
            let what = format!("{kind} probe failed");
            Some(said(&what, probe.message.as_deref()))
        })
    }
}

fn said(what: &str, message: Option<&str>) -> String {
    match message.filter(|m| !m.is_empty()) {
        Some(message) => format!("{what}: {message}"),
        None => what.to_owned(),
    }
}
