//! What must hold at every step of a simulation, whatever dies.
//!
//! It knows the truth (what really ran, when, and how it ended), and compares it with what the
//! daemon writes and does. Must never happen here: asking the code under test whether it is
//! right; what is expected is worked out anew from lines and truth.

mod backoff;
mod evicted;
mod kin;
mod once;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::evicted::unlike_evicted;
use self::{
    backoff::backed_off,
    kin::{Kin, Work, hook_done, kin, shared},
    once::Once,
};
use super::{ground::State, node::Removals};
use crate::{
    model::{
        fold::Desired,
        ids::{ContainerId, Generation, Seq, Uid},
        line::{DegradedMode, Event, Exit, Line},
        observed::Status,
        spec::{RestartPolicy, Role},
        state::Reason,
    },
    testing::fake_node::{SimContainer, World},
};

/// An instruction whose client was told that it is accepted.
#[derive(Debug)]
struct Receipt {
    seq: Seq,
    kind: &'static str,
    uid: Option<Uid>,
}

/// The truth, and what was broken.
#[derive(Debug, Default)]
pub(super) struct Judge {
    pub(super) violations: Vec<String>,
    /// When each attempt was first there.
    pub(super) made_at: BTreeMap<ContainerId, u64>,
    /// When each attempt's exit file was first there.
    pub(super) told_at: BTreeMap<ContainerId, u64>,
    pub(super) removals: Removals,
    ends: BTreeMap<ContainerId, i32>,
    created: BTreeSet<ContainerId>,
    of: BTreeMap<ContainerId, Kin>,
    instances: BTreeMap<Uid, String>,
    /// Work whose success reached the disk.
    done: BTreeMap<Work, ContainerId>,
    /// Work that is begun at most once.
    once: Once,
    /// Sandboxes in which a main container was started.
    entered: BTreeSet<(Uid, Generation, u32)>,
    receipts: Vec<Receipt>,
}

/// An exit file is gone, by a power cut or by somebody's hand. Unless its end was recorded nobody
/// can know of it any more.
pub(super) fn file_lost(sim: &mut State, id: &ContainerId) {
    sim.judge.ends.remove(id);
    sim.judge.told_at.remove(id);
    if last_of(sim, id, &["exited"]).is_none() {
        sim.judge.done.retain(|_, done| done != id);
    }
}

fn container_of(event: &Event) -> Option<&ContainerId> {
    match event {
        Event::AttemptIntended { intent, .. } => Some(&intent.container),
        Event::Created { container, .. }
        | Event::Started { container, .. }
        | Event::StartFailed { container, .. }
        | Event::Exited { container, .. }
        | Event::StopRequested { container, .. }
        | Event::StepRemoved { container }
        | Event::MonitorLost { container } => Some(container),
        _ => None,
    }
}

fn last_of<'a>(sim: &'a State, id: &ContainerId, kinds: &[&str]) -> Option<&'a Line> {
    let mut lines = sim.disk.lines.iter().rev();
    lines.find(|l| container_of(&l.event) == Some(id) && kinds.contains(&l.event.kind()))
}

const ENDS: [&str; 2] = ["exited", "start_failed"];

fn written_at(sim: &State, line: &Line) -> u64 {
    let at = usize::try_from(line.seq)
        .ok()
        .and_then(|n| n.checked_sub(1));
    at.and_then(|n| sim.disk.written_at.get(n).copied())
        .unwrap_or(0)
}

/// A line is about to be written.
pub(super) fn line_written(sim: &mut State, line: &Line) {
    let fault = match &line.event {
        Event::AttemptIntended { intent, .. } => intended(sim, &intent.container),
        Event::Exited {
            container,
            exit,
            next_up,
            backoff,
        } => {
            let wrong = exited(sim, container, exit);
            wrong.or_else(|| backed_off(sim, line, container, exit, (*next_up, *backoff)))
        }
        Event::Evicted {
            uid, generation, ..
        } => evicted::verdict(sim, uid, *generation),
        Event::StopRequested { container, .. } => last_of(sim, container, &["stop_requested"])
            .map(|_| format!("the stop of {container} is recorded twice: its grace begins anew")),
        Event::DegradedEntered { mode, detail } if *mode == DegradedMode::Unclaimed => Some(
            format!("{detail} is unclaimed, and crashes alone came before"),
        ),
        _ => None,
    };
    if let Some(fault) = fault {
        sim.broken(fault);
    }
}

/// The lines of a container's ends within a generation, the last one last.
fn ends<'a>(sim: &'a State, id: &ContainerId, generation: Generation) -> Vec<&'a Line> {
    let ours = |l: &&Line| {
        ENDS.contains(&l.event.kind())
            && container_of(&l.event).is_some_and(|c| {
                let of = sim.judge.of.get(c).map(|kin| kin.generation);
                (&c.uid, c.n) == (&id.uid, id.n) && of == Some(generation)
            })
    };
    sim.disk.lines.iter().filter(ours).collect()
}

fn intended(sim: &State, id: &ContainerId) -> Option<String> {
    if sim.judge.made_at.contains_key(id) || sim.judge.created.contains(id) {
        return Some(format!("the attempt number of {id} is used again"));
    }
    let generation = sim.disk.fold.instances.get(&id.uid)?.generation;
    if evicted::is_evicted(&sim.disk.lines, &id.uid, generation) {
        return Some(format!("{id} follows an eviction"));
    }
    let end = *ends(sim, id, generation).last()?;
    // An init container runs once more in a sandbox that was made anew.
    let now = kin(sim.disk.fold.instances.get(&id.uid)?, id.n)?;
    let then = container_of(&end.event).and_then(|c| sim.judge.of.get(c))?;
    if now.role == Role::Init && then.sandbox < now.sandbox {
        return None;
    }
    let up = match &end.event {
        Event::Exited { next_up: None, .. } => {
            return Some(format!(
                "{id} follows an end after which nothing was to follow"
            ));
        }
        Event::Exited {
            next_up: Some(up), ..
        }
        | Event::StartFailed { retry_up: up, .. } => *up,
        _ => return None,
    };
    let due = up.saturating_sub(end.moment.up);
    let waited = sim.clocks.truth - written_at(sim, end);
    (waited < due).then(|| format!("{id} was to wait {due} ms, and waited {waited}"))
}

fn exited(sim: &State, id: &ContainerId, exit: &Exit) -> Option<String> {
    let truth = sim.judge.ends.get(id);
    match (exit.code, truth) {
        (Some(code), Some(truth)) if code != *truth => Some(format!(
            "{id} is recorded as ended with {code}, and did with {truth}"
        )),
        (Some(code), None) => Some(format!("{id} is recorded as ended with {code}, unseen")),
        (None, Some(truth)) => {
            let early = sim
                .judge
                .told_at
                .get(id)
                .is_some_and(|at| *at < sim.clocks.truth);
            early.then(|| format!("{id} ended with {truth}, and that is recorded as unknown"))
        }
        _ => None,
    }
}

/// A line was folded.
pub(super) fn line_folded(sim: &mut State, seq: Seq) {
    let Some(line) = sim.disk.line(seq) else {
        return;
    };
    let event = line.event.clone();
    if let Some(uid) = event.uid()
        && sim
            .disk
            .fold
            .instances
            .get(uid)
            .is_some_and(|r| r.uncertain)
    {
        sim.broken(format!("line {seq} made {uid} uncertain"));
    }
    match &event {
        Event::Accepted { uid, instance, .. } => {
            sim.judge
                .instances
                .insert(uid.clone(), instance.to_string());
        }
        Event::AttemptIntended { uid, intent } => {
            let record = sim.disk.fold.instances.get(uid);
            if let Some(kin) = record.and_then(|r| kin(r, intent.container.n)) {
                sim.judge.of.insert(intent.container.clone(), kin);
            }
        }
        // Ended by riklet or by the node: that is no success.
        Event::Exited {
            container, exit, ..
        } if exit.reason.is_some() => {
            sim.judge.done.retain(|_, id| id != container);
            sim.judge.once.ended(container, exit.reason);
        }
        Event::StartFailed { container, .. } => {
            sim.judge.done.retain(|_, id| id != container);
        }
        _ => {}
    }
}

/// A client is told that its instruction is accepted.
pub(super) fn accepted(sim: &mut State, seq: Seq) {
    if seq > sim.disk.durable {
        sim.broken(format!("line {seq} was accepted before it was durable"));
    }
    if let Some(line) = sim.disk.line(seq) {
        let (kind, uid) = (line.event.kind(), line.event.uid().cloned());
        sim.judge.receipts.push(Receipt { seq, kind, uid });
    }
}

/// A daemon has died, and the disk is as the next one finds it.
pub(super) fn reopened(sim: &mut State) {
    let held = |r: &Receipt| {
        let line = sim.disk.line(r.seq);
        line.is_some_and(|l| l.event.kind() == r.kind && l.event.uid() == r.uid.as_ref())
    };
    let lost = sim.judge.receipts.iter().filter(|r| !held(r));
    let lost: Vec<String> = lost
        .map(|r| format!("the accepted {} is lost", r.kind))
        .collect();
    lost.into_iter().for_each(|fault| sim.broken(fault));
}

/// The power is cut: what a line that is lost said can't be known any more.
pub(super) fn power_cut(sim: &mut State) {
    sim.judge.once = Once::default();
}

/// What must hold of the world at every step; and what happened in it is remembered.
pub(super) fn world(sim: &mut State, world: &World) {
    let mut live = BTreeSet::new();
    let mut faults = Vec::new();
    let now = sim.clocks.truth;
    for (id, c) in &world.containers {
        let judge = &mut sim.judge;
        judge.made_at.entry(id.clone()).or_insert(now);
        let alive = !matches!(c.status, Status::Absent | Status::Stopped);
        let whose = judge.instances.get(&id.uid).cloned();
        let whose = whose.unwrap_or_else(|| id.uid.to_string());
        if alive && !live.insert((whose.clone(), id.n)) {
            faults.push(format!("two containers {} of {whose} live", id.n));
        }
        if c.status == Status::Running {
            faults.extend(judge.once.runs(id, judge.of.get(id)));
        }
        let Some(code) = c.exit.as_ref().and_then(|e| e.code) else {
            continue;
        };
        if judge.ends.insert(id.clone(), code).is_none() {
            judge.told_at.insert(id.clone(), now);
            if let Some(kin) = judge.of.get(id)
                && code == 0
                && kin.policy != RestartPolicy::Always
            {
                judge.done.insert(kin.work(id, id.n), id.clone());
            }
        }
    }
    faults.extend(shared(world));
    faults.into_iter().for_each(|fault| sim.broken(fault));
}

/// A sandbox is about to be made.
pub(super) fn sandbox(sim: &mut State, uid: &Uid) {
    // What was refused at first may be replaced by what isn't.
    let accepted =
        |l: &&Line| l.event.uid() == Some(uid) && matches!(l.event.kind(), "accepted" | "replaced");
    let seq = sim.disk.lines.iter().find(accepted).map(|l| l.seq);
    if seq.is_none_or(|seq| seq > sim.disk.durable) {
        sim.broken(format!("{uid} is acted on before it was durably accepted"));
    }
}

/// A container is about to be created.
pub(super) fn create(sim: &mut State, id: &ContainerId) {
    sandbox(sim, &id.uid);
    let seq = last_of(sim, id, &["attempt_intended"]).map(|l| l.seq);
    if seq.is_none_or(|seq| seq > sim.disk.durable) {
        sim.broken(format!("{id} is created before its intent is durable"));
    }
    if !sim.judge.created.insert(id.clone()) {
        sim.broken(format!("{id} is created a second time"));
    }
}

/// A created container's process is about to begin.
pub(super) fn start(sim: &mut State, id: &ContainerId) {
    let Some(kin) = sim.judge.of.get(id).cloned() else {
        return sim.broken(format!("{id} is started, and nobody intended it"));
    };
    if let Some(done) = sim.judge.done.get(&kin.work(id, id.n)) {
        let fault = format!("{id} runs completed work again: {done} ended with 0");
        sim.broken(fault);
    }
    let sandbox = (id.uid.clone(), kin.generation, kin.sandbox);
    if !sim.judge.entered.contains(&sandbox) {
        let mut before = kin.after.iter();
        if let Some(n) = before.find(|n| !sim.judge.done.contains_key(&kin.work(id, **n))) {
            sim.broken(format!(
                "{id} starts before init container {n} has completed"
            ));
        }
    }
    if kin.role == Role::Main {
        sim.judge.entered.insert(sandbox);
    }
}

/// A container's process is about to get a signal.
pub(super) fn signal(sim: &mut State, id: &ContainerId, signal: i32) {
    let Some(line) = last_of(sim, id, &["stop_requested"]) else {
        return sim.broken(format!("signal {signal} to {id}, and no stop is recorded"));
    };
    let Event::StopRequested {
        deadline_up,
        reason,
        ..
    } = &line.event
    else {
        return;
    };
    if *reason == Some(Reason::Evicted) && !evicted::is_durable(sim, id) {
        return sim.broken(format!("{id} is ended by a verdict that isn't durable"));
    }
    let grace = deadline_up.saturating_sub(line.moment.up);
    let had = sim.clocks.truth - written_at(sim, line);
    let hooked = sim.judge.of.get(id).is_some_and(|kin| kin.pre_stop);
    let due = grace - (grace / 2).min(2_000);
    if signal == 15 && hooked && had < due && !hook_done(&sim.disk.lines, id) {
        let fault = format!("{id} gets SIGTERM after {had} ms, and its preStop isn't done");
        return sim.broken(fault);
    }
    if signal == 9 && had < grace {
        sim.broken(format!("{id} had {had} ms of {grace} before SIGKILL"));
    }
}

/// Everything of an attempt is about to be removed.
pub(super) fn remove(sim: &mut State, id: &ContainerId, seen: Option<&SimContainer>) {
    let told = seen.is_some_and(|c| c.exit.is_some());
    let record = sim.disk.fold.instances.get(&id.uid);
    let to_run = record.is_some_and(|r| r.desired == Desired::Run);
    if !told || !to_run || last_of(sim, id, &["attempt_intended"]).is_none() {
        return;
    }
    let end = last_of(sim, id, &ENDS).map(|l| l.seq);
    if end.is_none_or(|seq| seq > sim.disk.durable) {
        sim.broken(format!(
            "the exit file of {id} goes before its end is durable"
        ));
    }
}
