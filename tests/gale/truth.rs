//! What is true after a storm, said by the workloads, the kernel and the scheduler, and compared
//! with what riklet wrote down.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use riklet::testing::scheduler::{Event, Scheduler};
use serde_json::Value;

use super::{
    churn::{Churn, Sort},
    prey,
    tail::Tail,
};
use crate::support::{
    proof::Proof,
    witness::{Run, Witness},
};

/// Everything that the scheduler was told, kept as it came.
pub(crate) struct Wire<'a> {
    scheduler: &'a Scheduler,
    next: usize,
    /// Seq and status by instance, each once, in the order in which they first came.
    states: BTreeMap<String, Vec<(u64, String)>>,
    gaps: u64,
}

impl<'a> Wire<'a> {
    pub(crate) fn of(scheduler: &'a Scheduler) -> Self {
        Self {
            scheduler,
            next: 0,
            states: BTreeMap::new(),
            gaps: 0,
        }
    }

    /// Takes what has come; the scheduler keeps a bounded number of events.
    pub(crate) fn news(&mut self) {
        let (events, next) = self.scheduler.look(|core| core.events(self.next));
        self.next = next;
        for event in events {
            if let Event::Instance {
                instance,
                status,
                seq,
                gap,
                ..
            } = event
            {
                self.gaps += gap;
                let states = self.states.entry(instance).or_default();
                if !states.iter().any(|(former, _)| *former == seq) {
                    states.push((seq, status));
                }
            }
        }
    }
}

/// What is wanted and not so, as workloads and scheduler see it.
pub(crate) fn missing(
    churn: &Churn<'_>,
    tail: &Tail,
    witness: &Witness,
    scheduler: &Scheduler,
) -> Vec<String> {
    let mut missing = Vec::new();
    let arrived: BTreeSet<_> = tail.instances().into_values().collect();
    for (id, it) in &churn.all {
        let seen = scheduler.look(|core| core.instances.get(id).map(|i| i.status.clone()));
        let living = witness.living(id);
        let right = match (it.wanted, it.sort) {
            // A create that was sent to a dead node, and revoked before that was back: a destroy
            // of nothing that it knows is answered by nothing (design section 9, rule 2).
            (false, _) => (seen.is_none() || !arrived.contains(id)) && living.is_empty(),
            (true, Sort::Service) => {
                let newest = living
                    .iter()
                    .all(|run| run.generation == it.generation && run.holds);
                seen.as_deref() == Some("RUNNING") && living.len() == 1 && newest
            }
            (true, Sort::Apart) => seen.as_deref() == Some("RUNNING"),
            (true, Sort::Once(0) | Sort::Retried | Sort::Crasher) => {
                // Failed only if its exit code was lost with its monitor; judged later.
                let over = seen.is_none() || seen.as_deref() == Some("FAILED");
                over && living.is_empty()
            }
            (true, Sort::Once(_)) => seen.as_deref() == Some("FAILED") && living.is_empty(),
        };
        if !right {
            let story = story(tail, id);
            missing.push(format!(
                "{id} {it:?}: {seen:?}, living: {living:?}; {story:#?}"
            ));
        }
    }
    missing
}

/// Every living container has one monitor, unless that was killed; and no other monitor lives.
pub(crate) fn monitors(tree: &Path, unwatched: &BTreeSet<String>, tail: &Tail) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut monitors: BTreeMap<String, u32> = BTreeMap::new();
    for prey in prey::at_work(tree)
        .iter()
        .filter(|prey| prey.kind == "conmon")
    {
        *monitors.entry(prey.container()).or_default() += 1;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ended: BTreeSet<_> = ["exited", "step_removed"]
        .iter()
        .flat_map(|kind| tail.of_kind(kind))
        .map(|line| text(&line["container"]))
        .collect();
    for (container, count) in &monitors {
        if *count != 1 || ended.contains(container) {
            wrong.push(format!("{count} monitors of {container}"));
        }
    }
    let started = tail.of_kind("started").map(|line| text(&line["container"]));
    for container in started.filter(|container| !ended.contains(container)) {
        if !monitors.contains_key(&container) && !unwatched.contains(&container) {
            wrong.push(format!("no monitor of {container}"));
        }
    }
    wrong
}

/// What the journal tells of an instance, in short.
pub(crate) fn story(tail: &Tail, id: &str) -> Vec<String> {
    let instances = tail.instances();
    let mine = |line: &&Value| {
        let uid = line["container"].as_str().and_then(|c| c.split('-').next());
        let uid = line["uid"].as_str().or(uid).unwrap_or_default();
        line["kind"] == "daemon_started" || instances.get(uid).is_some_and(|it| it == id)
    };
    let tell = |line: &Value| {
        let keys = [
            "seq",
            "at",
            "kind",
            "container",
            "pid",
            "code",
            "reason",
            "message",
            "state",
            "retry_up",
            "next_up",
            "backoff",
        ];
        let told = keys.iter().filter(|key| !line[**key].is_null());
        let told: Vec<_> = told.map(|key| format!("{key} {}", line[*key])).collect();
        told.join(", ")
    };
    tail.lines.values().filter(mine).map(tell).collect()
}

/// The judgement.
pub(crate) struct Truth<'a> {
    pub(crate) tail: &'a Tail,
    pub(crate) churn: &'a Churn<'a>,
    pub(crate) unwatched: &'a BTreeSet<String>,
    pub(crate) runs: Vec<Run>,
    pub(crate) violations: Vec<String>,
}

impl Truth<'_> {
    /// What ran, and how it ended: as often as it should, recorded as it was.
    pub(crate) fn judge_runs(&mut self, proof: &mut Proof) {
        proof.add("runs of workloads", self.runs.len() as u64);
        let exits = self.recorded_exits();
        let mut wrong = Vec::new();
        for (id, it) in &self.churn.all {
            let runs: Vec<_> = self.runs.iter().filter(|run| run.instance == *id).collect();
            let completed = runs.iter().filter(|run| run.exits == Some(0)).count();
            let begun = match it.sort {
                Sort::Once(_) => runs.len(),
                Sort::Retried => completed,
                Sort::Service | Sort::Apart | Sort::Crasher => 0,
            };
            let mut excused = false;
            for run in &runs {
                // A daemon that died before it wrote the pid, and a second one after it had
                // started the container and before it wrote that: the exit has no pid then.
                let of_none = || exits.get(&(id.clone(), 0));
                let recorded = exits.get(&(id.clone(), run.pid)).or_else(of_none);
                if run.exits.is_none() || !it.wanted {
                    continue;
                }
                proof.one("exits compared with what is recorded");
                match recorded {
                    Some((_, code)) if *code == run.exits => {}
                    // Its code was lost with its monitor: unknown is the truth then.
                    Some((container, None)) if self.unwatched.contains(container) => {
                        excused = true;
                        proof.one("exits unknown, their monitor was killed");
                    }
                    other => wrong.push(format!(
                        "recorded {other:?} of {run:?}; {:#?}",
                        story(self.tail, id)
                    )),
                }
            }
            if begun > 1 && !(excused && it.sort == Sort::Retried) {
                let story = story(self.tail, id);
                wrong.push(format!(
                    "work ran again: {id} {it:?}: {runs:#?}; {story:#?}"
                ));
            }
            if it.sort.serves() || it.sort == Sort::Crasher {
                continue;
            }
            proof.add("completed work that was to run once", u64::from(begun == 1));
        }
        self.violations.extend(wrong);
    }

    /// Container and code of every recorded exit, by instance and pid; 0 where that isn't known.
    fn recorded_exits(&self) -> BTreeMap<(String, i32), (String, Option<i32>)> {
        let instances = self.tail.instances();
        let mut pids: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
        for line in self
            .tail
            .of_kind("created")
            .chain(self.tail.of_kind("started"))
        {
            let (Some(container), Some(pid)) = (line["container"].as_str(), number(&line["pid"]))
            else {
                continue;
            };
            pids.entry(container.to_owned()).or_default().insert(pid);
        }
        let mut exits = BTreeMap::new();
        for line in self.tail.of_kind("exited") {
            let container = line["container"].as_str().unwrap_or_default().to_owned();
            let uid = container.split('-').next().unwrap_or_default();
            let instance = instances.get(uid).cloned().unwrap_or_default();
            let unknown = BTreeSet::from([0]);
            for pid in pids.get(&container).unwrap_or(&unknown) {
                let exit = (container.clone(), number(&line["code"]));
                exits.insert((instance.clone(), *pid), exit);
            }
        }
        exits
    }

    /// What the scheduler was told: every state of the journal, in order, none twice under
    /// another number, TERMINATED once.
    pub(crate) fn judge_wire(&mut self, wire: &Wire<'_>) {
        if wire.gaps > 0 {
            self.violations
                .push(format!("{} states were dropped", wire.gaps));
        }
        let instances = self.tail.instances();
        let mut written: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
        for (seq, line) in &self.tail.lines {
            let Some(state) = line["state"].as_str() else {
                continue;
            };
            let of_container = || line["container"].as_str()?.split('-').next();
            let uid = line["uid"]
                .as_str()
                .or_else(of_container)
                .unwrap_or_default();
            let instance = instances.get(uid).cloned().unwrap_or_default();
            written
                .entry(instance)
                .or_default()
                .push((*seq, state.to_uppercase()));
        }
        for (instance, states) in &written {
            let sent = wire.states.get(instance);
            if sent != Some(states) {
                self.violations
                    .push(format!("{instance}: written {states:?}, sent {sent:?}"));
            }
            let last = states
                .iter()
                .filter(|(_, state)| state == "TERMINATED")
                .count();
            if last > 1 {
                self.violations
                    .push(format!("{instance} ended {last} times"));
            }
        }
        for instance in wire.states.keys().filter(|id| !written.contains_key(*id)) {
            self.violations
                .push(format!("{instance} was sent and never written"));
        }
    }
}

fn number(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|n| i32::try_from(n).ok())
}
