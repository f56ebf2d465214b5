//! Which probes and hooks are due at an instance's containers, and what their ends come to.
//!
//! Owns: Kubernetes' rules of when. A hook after the start runs first; then the startup probe,
//! until it has passed; then the others. Each probe's first try comes its delay after the start,
//! the next ones a period after the one before began. A hook before the end runs once that is
//! asked for. All by CLOCK_BOOTTIME: a wall clock that steps changes nothing. Nothing here is
//! remembered but what lines say and [`Memory`] tells, so a daemon that died does an errand again
//! of which no end is written.

use std::{net::IpAddr, time::Duration};

use crate::model::{
    fold::{ContainerRecord, InstanceRecord, ProbeRecord},
    ids::ContainerId,
    line::{Event, Moment},
    phase::Phase,
    spec::{ContainerSpec, Errand, Hook, Probe, ProbeKind},
};

/// How long a hook after the start may take, in ms. Kubernetes waits for ever, which nobody is
/// told of; this ends with PostStartHookError.
const POST_START_LIMIT_MS: u64 = 600_000;

/// What an errand is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// To tell whether the container is well.
    Probe(ProbeKind),
    /// To do what its definition says.
    Hook(Hook),
}

/// Which errand at which attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrandId {
    /// The attempt.
    pub container: ContainerId,
    /// What for.
    pub purpose: Purpose,
}

/// An errand that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueErrand {
    /// Which.
    pub id: ErrandId,
    /// What to do.
    pub errand: Errand,
    /// The sandbox's address, where it has one.
    pub address: Option<IpAddr>,
    /// How long it may take.
    pub limit: Duration,
}

/// What is to be done at an instance now, and when to look again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueErrands {
    /// In the order in which they are to begin.
    pub due: Vec<DueErrand>,
    /// When something will be due by itself, in CLOCK_BOOTTIME ms.
    pub wake_up: Option<u64>,
}

/// What a daemon knows of errands besides the journal; losing it costs a try more.
pub trait Memory {
    /// When the last try began, in CLOCK_BOOTTIME ms.
    fn begun(&self, id: &ErrandId) -> Option<u64>;
    /// Is one under way?
    fn runs(&self, id: &ErrandId) -> bool;
}

/// The errands that are due at an instance's containers.
#[must_use]
pub fn due_errands(record: &InstanceRecord, memory: &impl Memory, now: &Moment) -> DueErrands {
    let mut all = DueErrands::default();
    if record.doubt.is_some() {
        return all;
    }
    for (n, container) in record.attempted() {
        if container.phase != Phase::Running || container.boot != now.boot {
            continue;
        }
        let Some(id) = record.current(n) else {
            continue;
        };
        let mut look = Look {
            record,
            container,
            id,
            memory,
            now: now.up,
            all: &mut all,
        };
        if container.stop.is_some() {
            look.before_the_end();
        } else if let Some((_, spec)) = record.spec_of_attempt(n) {
            look.while_it_runs(spec);
        }
    }
    all
}

/// One container that runs, looked at.
struct Look<'a, M> {
    record: &'a InstanceRecord,
    container: &'a ContainerRecord,
    id: ContainerId,
    memory: &'a M,
    now: u64,
    all: &'a mut DueErrands,
}

impl<M: Memory> Look<'_, M> {
    fn push(&mut self, purpose: Purpose, errand: &Errand, limit_ms: u64) {
        let id = ErrandId {
            container: self.id.clone(),
            purpose,
        };
        if self.memory.runs(&id) {
            return;
        }
        let sandbox = self.record.sandbox.as_ref();
        self.all.due.push(DueErrand {
            id,
            errand: errand.clone(),
            address: sandbox.and_then(|s| s.addresses.first().copied()),
            limit: Duration::from_millis(limit_ms),
        });
    }

    fn before_the_end(&mut self) {
        let (Some(stop), Some(errand)) = (&self.container.stop, &self.container.pre_stop) else {
            return;
        };
        let left = stop.hook_until().saturating_sub(self.now);
        if self.container.owes_pre_stop() && left > 0 {
            self.push(Purpose::Hook(Hook::PreStop), errand, left);
        }
    }

    fn while_it_runs(&mut self, spec: &ContainerSpec) {
        if let Some(errand) = &spec.hooks.post_start {
            match self.container.hooks.get(&Hook::PostStart) {
                Some(hook) if hook.ok => {}
                // It is about to be ended.
                Some(_) => return,
                None => {
                    let purpose = Purpose::Hook(Hook::PostStart);
                    return self.push(purpose, errand, POST_START_LIMIT_MS);
                }
            }
        }
        if let Some(probe) = &spec.probes.startup
            && self.container.verdict(ProbeKind::Startup) != Some(true)
        {
            return self.probe(ProbeKind::Startup, probe);
        }
        for kind in [ProbeKind::Liveness, ProbeKind::Readiness] {
            if let Some(probe) = spec.probes.get(kind) {
                self.probe(kind, probe);
            }
        }
    }

    fn probe(&mut self, kind: ProbeKind, probe: &Probe) {
        let failed = self.container.verdict(kind) == Some(false);
        if failed && kind != ProbeKind::Readiness {
            // It is about to be ended.
            return;
        }
        let purpose = Purpose::Probe(kind);
        let id = ErrandId {
            container: self.id.clone(),
            purpose,
        };
        if self.memory.runs(&id) {
            // Its end asks for another look.
            return;
        }
        let started = self.container.started.map_or(0, |(_, up)| up);
        let first = started.saturating_add(u64::from(probe.initial_delay) * 1_000);
        let period = u64::from(probe.period.max(1)) * 1_000;
        let next = self.memory.begun(&id).map_or(first, |up| up + period);
        if next > self.now {
            let wake = self.all.wake_up.map_or(next, |up| up.min(next));
            self.all.wake_up = Some(wake);
            return;
        }
        self.push(
            purpose,
            &probe.errand,
            u64::from(probe.timeout.max(1)) * 1_000,
        );
    }
}

/// The line that an errand's end comes to: none where it says nothing new, or the attempt is over.
#[must_use]
pub fn errand_ended(
    record: &InstanceRecord,
    id: &ErrandId,
    ok: bool,
    message: &str,
) -> Option<Event> {
    let n = id.container.n;
    let container = record.container(n)?;
    let same = record.current(n).as_ref() == Some(&id.container);
    if !same || container.phase != Phase::Running {
        return None;
    }
    let message = (!ok).then(|| message.to_owned());
    match id.purpose {
        Purpose::Hook(hook) => {
            let news = !container.hooks.contains_key(&hook);
            news.then(|| Event::HookDone {
                container: id.container.clone(),
                hook,
                ok,
                message,
            })
        }
        Purpose::Probe(probe) => {
            let (_, spec) = record.spec_of_attempt(n)?;
            let spec = spec.probes.get(probe)?;
            let former = container.probes.get(&probe);
            let threshold = ProbeRecord::threshold(spec, ok);
            let before = former.filter(|p| p.ok == ok).map_or(0, |p| p.in_a_row);
            let news = before < threshold;
            news.then(|| Event::Probed {
                container: id.container.clone(),
                probe,
                ok,
                in_a_row: before + 1,
                message,
            })
        }
    }
}
