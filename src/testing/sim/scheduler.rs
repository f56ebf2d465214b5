//! The simulated scheduler: what it wants, what it was told, and whether that was legal.
//!
//! It replays what it wants at each registration, and forgets what was told to be over. It
//! knows more than a real one: it compares what it hears with the journal's lines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ground::State as Sim;
use crate::{
    model::{
        ids::{Seq, Source, Uid},
        instruction::Instruction,
        line::Event,
        state::{Reason, State, StateReport},
    },
    wire::{Message, Report},
};

/// What becomes of a batch instead of arriving and being acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It never arrives.
    Batch,
    /// It arrives, and its acknowledgement doesn't.
    Answer,
}

#[derive(Debug, Default)]
struct Heard {
    seqs: Vec<Seq>,
    last: Option<StateReport>,
    /// The registration in which the last state was repeated.
    repeated: u64,
}

/// The scheduler.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    /// Can it be reached?
    pub(super) link: bool,
    pub(super) registered: bool,
    registrations: u64,
    sampled: bool,
    /// The definition that is wanted of each id; none: it is to be gone.
    pub(super) wanted: BTreeMap<String, Option<String>>,
    destroyed: BTreeSet<String>,
    /// On their way to the daemon.
    pub(super) inbox: VecDeque<Instruction>,
    pub(super) losses: VecDeque<Loss>,
    heard: BTreeMap<Uid, Heard>,
    /// The incarnation of each id that was heard of last, and whether it is over.
    last: BTreeMap<String, (Uid, bool)>,
    /// States that arrived for the first time.
    pub(super) arrived: u64,
    /// States that it was told it won't hear, for it was away too long.
    pub(super) gaps: u64,
}

impl Scheduler {
    /// Wants an instance, or wants it gone.
    pub(super) fn want(&mut self, id: &str, definition: Option<String>) {
        self.wanted.insert(id.to_owned(), definition.clone());
        if self.registered {
            self.instruct(id, definition);
        }
    }

    fn instruct(&mut self, id: &str, definition: Option<String>) {
        self.inbox.push_back(match definition {
            Some(text) => Instruction::create(id, Source::Scheduler, text),
            None => {
                self.destroyed.insert(id.to_owned());
                Instruction::destroy(id, Source::Scheduler)
            }
        });
    }

    /// The node registers: everything that is wanted is said again.
    pub(super) fn register(&mut self) {
        self.registered = true;
        self.registrations += 1;
        self.sampled = false;
        self.inbox.clear();
        for (id, definition) in self.wanted.clone() {
            self.instruct(&id, definition);
        }
    }

    /// The link is gone, with what was on its way.
    pub(super) fn lose(&mut self) {
        self.registered = false;
        self.inbox.clear();
    }

    /// Has it heard the state of this line?
    pub(super) fn has_heard(&self, uid: &Uid, seq: Seq) -> bool {
        self.heard.get(uid).is_some_and(|h| h.seqs.contains(&seq))
    }
}

/// A batch arrives.
pub(super) fn receive(sim: &mut Sim, batch: &[Message]) {
    if !sim.scheduler.registered {
        sim.broken("a status was sent while the node was not registered");
    }
    let last = batch
        .iter()
        .any(|m| matches!(m, Message::Instance(r) if r.is_last()));
    if last && batch.len() > 1 {
        sim.broken("TERMINATED was not alone in its batch");
    }
    for message in batch {
        match message {
            Message::Node { placements, .. } => {
                sim.scheduler.sampled = true;
                sim.tell(|_| format!("  heard: the node, placements: {placements}"));
            }
            Message::Instance(report) => hear(sim, report),
        }
    }
}

fn hear(sim: &mut Sim, report: &Report) {
    let (uid, seq) = (&report.uid, report.seq);
    sim.tell(|_| {
        let (id, state) = (&report.instance, report.report.state);
        let reason = report
            .report
            .reason
            .map(|r| r.to_string())
            .unwrap_or_default();
        format!("  heard: {id} ({uid}) line {seq}: {state} {reason}")
    });
    if !sim.scheduler.sampled {
        sim.broken(format!(
            "a state of {} before the node's own sample",
            report.instance
        ));
    }
    if seq > sim.disk.durable {
        sim.broken(format!("line {seq} was sent before it was durable"));
    }
    let said = sim.disk.line(seq).filter(|l| l.event.uid() == Some(uid));
    if said.and_then(|l| l.state.as_ref()) != Some(&report.report) {
        sim.broken(format!("line {seq} doesn't say what was sent of {uid}"));
    }
    let heard = sim.scheduler.heard.remove(uid).unwrap_or_default();
    let heard = if heard.seqs.contains(&seq) {
        again(sim, report, heard)
    } else {
        anew(sim, report, heard)
    };
    sim.scheduler.heard.insert(uid.clone(), heard);
}

/// A state that was heard before: its acknowledgement was lost, or it is the last one.
fn again(sim: &mut Sim, report: &Report, mut heard: Heard) -> Heard {
    let (uid, seq, state) = (&report.uid, report.seq, report.report.state);
    let waits = sim.disk.fold.outboxes.get(uid);
    if waits.is_some_and(|o| o.entries.iter().any(|e| e.seq == seq)) {
        return heard;
    }
    let once = matches!(state, State::Terminated | State::Destroying);
    if once || heard.seqs.last() != Some(&seq) {
        sim.broken(format!(
            "{state} of {uid} was said again after it was acknowledged"
        ));
    }
    if heard.repeated == sim.scheduler.registrations {
        sim.broken(format!(
            "{state} of {uid} was repeated twice in one registration"
        ));
    }
    heard.repeated = sim.scheduler.registrations;
    heard
}

fn anew(sim: &mut Sim, report: &Report, mut heard: Heard) -> Heard {
    let (uid, seq, new) = (&report.uid, report.seq, &report.report);
    let former = heard.seqs.last().copied().unwrap_or(0);
    if seq < former {
        sim.broken(format!("line {seq} of {uid} came after line {former}"));
    }
    let missed = (former + 1..seq).filter_map(|s| sim.disk.line(s));
    let missed = missed
        .filter(|l| l.event.uid() == Some(uid) && l.state.is_some())
        .count();
    let gap = usize::try_from(report.gap).unwrap_or(usize::MAX);
    if missed != gap {
        let fault = format!("{missed} states of {uid} are missing before line {seq}, told: {gap}");
        sim.broken(fault);
    }
    sim.scheduler.gaps += report.gap;
    if let Some(fault) = illegal(sim, report, heard.last.as_ref()) {
        sim.broken(format!("line {seq} of {uid}: {fault}"));
    }
    let id = report.instance.to_string();
    let over = new.state == State::Terminated;
    let before = sim.scheduler.last.insert(id.clone(), (uid.clone(), over));
    if let Some((other, false)) = before.filter(|(other, _)| other != uid) {
        sim.broken(format!("{uid} of {id} is heard of before {other} is over"));
    }
    heard.seqs.push(seq);
    heard.last = Some(new.clone());
    heard.repeated = sim.scheduler.registrations;
    sim.scheduler.arrived += 1;
    if over {
        forget(sim, report);
    }
    heard
}

/// What is wrong with the next state, if anything is.
fn illegal(sim: &Sim, report: &Report, former: Option<&StateReport>) -> Option<String> {
    let new = report.report.state;
    let begins = matches!(new, State::Creating | State::Failed);
    match former {
        None if !begins => return Some(format!("{new} is the first that is said")),
        Some(old) if old.state == State::Terminated => {
            return Some(format!("{new} follows TERMINATED"));
        }
        Some(old) if old.state == State::Destroying && new != State::Terminated => {
            return Some(format!("{new} follows DESTROYING"));
        }
        Some(old) if old.same_news(&report.report) && report.gap == 0 => {
            return Some(format!("{new} is no news"));
        }
        _ => {}
    }
    let asked = sim.scheduler.destroyed.contains(report.instance.as_str());
    (new == State::Destroying && !asked).then(|| "DESTROYING without a DESTROY".to_owned())
}

/// An incarnation is over: the scheduler forgets it, unless it wants another.
fn forget(sim: &mut Sim, report: &Report) {
    let id = report.instance.as_str();
    let about = sim
        .disk
        .lines
        .iter()
        .filter(|l| l.event.uid() == Some(&report.uid));
    let mut ran = about.filter_map(|l| match &l.event {
        Event::Accepted { definition, .. } | Event::Replaced { definition, .. } => Some(definition),
        _ => None,
    });
    let ran = ran.next_back().cloned();
    // It knows that it asked for another since; here it looks it up.
    let live = sim.disk.fold.by_instance(&report.instance);
    let another = live.is_some_and(|r| r.uid != report.uid || r.queued.is_some());
    let completed = report.report.reason == Some(Reason::Completed) && !another;
    let due = match sim.scheduler.wanted.get(id) {
        Some(None) => true,
        Some(wanted) => completed && *wanted == ran,
        None => false,
    };
    if due {
        sim.scheduler.wanted.remove(id);
    }
}
