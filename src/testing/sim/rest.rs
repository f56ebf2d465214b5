//! The end of a simulation: everything is mended, comes to rest, and is looked over.

use std::{collections::BTreeSet, pin::pin, task};

use super::{
    Sim,
    ground::State as Shared,
    happening::GARBAGE,
    judge::unlike_evicted,
    wanted::{drained, wanted},
};
use crate::{
    model::{
        fold::{Desired, InstanceRecord},
        ids::{ContainerId, InstanceId, Source, Uid},
        line::Event,
        observed::Status,
        spec::{RestartPolicy, Role},
        state::{Reason, State},
    },
    reconciler::plan_of,
    testing::fake_node::World,
};

/// So often time passes until the next thing is due before that is called a stall.
const MAX_WAITS: u64 = 300;

/// Simulated time within which everything must have come to rest, in ms.
const MAX_REST_MS: u64 = 2 * 60 * 60 * 1_000;

impl Sim {
    /// Mends everything and lets it come to rest.
    pub(super) fn rest(&mut self) {
        self.mend();
        if !self.wait_for_rest() {
            return;
        }
        let is_drained = self.ground.state().disk.fold.node.drained;
        if drained(self).is_some_and(|told| told != is_drained) {
            self.ground
                .state()
                .broken("an accepted drain or uncordon is lost");
        }
        if is_drained {
            self.happen(&super::Happening::Uncordon);
        }
        // Whoever was not told whether it was accepted asks again.
        for (name, told) in wanted(self) {
            if !told.accepted {
                self.ask(&name, told.wanted);
            }
        }
        if self.wait_for_rest() {
            self.look_over();
        }
    }

    fn mend(&mut self) {
        {
            let mut world = self.fake.world();
            world.faults.clear();
            world.missing_images.clear();
            world.stubborn = false;
            world.slow_monitors = false;
            world.scripts.clear();
            world.volume_use = 0;
            for c in world.containers.values_mut() {
                c.obeys = true;
                if c.status == Status::Paused {
                    c.status = Status::Running;
                }
            }
        }
        {
            let mut state = self.ground.state();
            state.scheduler.losses.clear();
            state.scheduler.link = true;
        }
        self.wild = false;
        if self.daemon.is_none() {
            self.start_again();
        }
        if let Some(daemon) = &mut self.daemon {
            daemon.careless = false;
        }
    }

    /// False: it never came to rest.
    fn wait_for_rest(&mut self) -> bool {
        let until = self.ground.state().clocks.truth + MAX_REST_MS;
        for _ in 0..MAX_WAITS {
            self.settle();
            self.end_inits();
            let Some(daemon) = &mut self.daemon else {
                return false;
            };
            if daemon.is_idle() {
                let before = self.ground.state().disk.fold.seq;
                daemon.survey();
                self.settle();
                let after = self.ground.state().disk.fold.seq;
                if before == after && self.daemon.as_ref().is_some_and(super::Daemon::is_idle) {
                    return true;
                }
                continue;
            }
            let due = daemon.next_due(true);
            let up = self.ground.state().clocks.up;
            self.pass(due.map_or(1_000, |due| due.saturating_sub(up).max(1)));
            if self.ground.state().clocks.truth > until {
                break;
            }
        }
        let due = self.daemon.as_ref().and_then(|d| d.next_due(false));
        self.ground
            .state()
            .broken(format!("it never comes to rest (next due: {due:?})"));
        false
    }

    /// Init containers come to their end, one after another.
    fn end_inits(&mut self) {
        while let Some(id) = self.running_init() {
            self.fake.exit(&id, 0);
            super::judge::world(&mut self.ground.state(), &self.fake.world());
            self.settle();
        }
    }

    fn running_init(&self) -> Option<ContainerId> {
        let running = super::node::containers(&self.fake, Some(Status::Running));
        let state = self.ground.state();
        let is_init = |id: &ContainerId| {
            let record = state.disk.fold.instances.get(&id.uid);
            let attempt = record.and_then(|r| r.container(id.n));
            attempt.is_some_and(|c| c.role == Role::Init && c.attempt == id.attempt)
        };
        running.into_iter().find(is_init)
    }

    fn look_over(&mut self) {
        let uids: Vec<Uid> = self
            .ground
            .state()
            .disk
            .fold
            .instances
            .keys()
            .cloned()
            .collect();
        for uid in uids {
            if let Some(daemon) = &self.daemon {
                let mut planning = pin!(plan_of(daemon.context(), &uid));
                let mut context = task::Context::from_waker(task::Waker::noop());
                let planned = planning.as_mut().poll(&mut context);
                let empty = matches!(&planned, task::Poll::Ready(Ok(p)) if p.actions.is_empty());
                if !empty {
                    let fault = format!("at rest the plan of {uid} is not empty: {planned:?}");
                    self.ground.state().broken(fault);
                }
            }
        }
        let local = wanted(self);
        let mut state = self.ground.state();
        let world = self.fake.world();
        let mut faults = leftovers(&state, &world);
        faults.extend(unheard(&state));
        for (id, definition) in &state.scheduler.wanted {
            faults.extend(unlike(
                &state,
                &world,
                id,
                definition.as_deref(),
                Source::Scheduler,
            ));
        }
        for (name, told) in &local {
            let wanted = told.wanted.as_deref();
            faults.extend(unlike(&state, &world, name, wanted, Source::Cli));
        }
        faults.extend(unwanted(&state));
        faults.into_iter().for_each(|fault| state.broken(fault));
    }
}

/// What is on the node and belongs to nothing.
fn leftovers(state: &Shared, world: &World) -> Vec<String> {
    let instances = &state.disk.fold.instances;
    let mut faults = Vec::new();
    for id in world.containers.keys() {
        let record = instances.get(&id.uid);
        if record.and_then(|r| r.current(id.n)).as_ref() != Some(id) {
            faults.push(format!("{id} is left over"));
        }
    }
    let places = world
        .sandboxes
        .iter()
        .chain(&world.directories)
        .chain(world.joined.keys())
        .chain(&world.on_host_network);
    for uid in places.collect::<BTreeSet<_>>() {
        if !instances.contains_key(uid) {
            faults.push(format!("the sandbox of {uid} is left over"));
        }
    }
    if state.disk.fold.waiting().next().is_some() {
        faults.push("a create waits for ever".to_owned());
    }
    faults
}

/// States of the scheduler's instances that it never heard.
fn unheard(state: &Shared) -> Vec<String> {
    let mut faults = Vec::new();
    let gaps = state.scheduler.gaps > 0;
    let mut theirs: BTreeSet<&Uid> = BTreeSet::new();
    for line in &state.disk.lines {
        match &line.event {
            Event::Accepted { uid, source, .. }
            | Event::Refused {
                uid: Some(uid),
                source,
                ..
            } if *source == Source::Scheduler => {
                theirs.insert(uid);
            }
            _ => {}
        }
        let (Some(uid), Some(report)) = (line.event.uid(), &line.state) else {
            continue;
        };
        if theirs.contains(uid) && !gaps && !state.scheduler.has_heard(uid, line.seq) {
            let said = report.state;
            faults.push(format!("{said} of {uid} (line {}) never arrived", line.seq));
        }
    }
    faults
}

/// Where what was accepted isn't so.
fn unlike(
    state: &Shared,
    world: &World,
    name: &str,
    wanted: Option<&str>,
    source: Source,
) -> Option<String> {
    let id = InstanceId::local(name, source).ok()?;
    let record = state.disk.fold.by_instance(&id);
    match (wanted, record) {
        (None, None) => None,
        (None, Some(_)) => Some(format!("{id} was to be gone, and is there")),
        (Some(GARBAGE), _) => None,
        (Some(text), None) => {
            (!has_completed(state, &id, text)).then(|| format!("{id} was to run, and is gone"))
        }
        (Some(_), Some(record)) if refused_while_drained(record) => None,
        (Some(text), Some(record)) => {
            if record.desired != Desired::Run || &*record.definition != text {
                return Some(format!("{id} is not what was accepted last"));
            }
            let left = world.directories.contains(&record.uid)
                || world.containers.keys().any(|c| c.uid == record.uid);
            unlike_evicted(state, record, left).unwrap_or_else(|| stalled(record, world))
        }
    }
}

/// Did it come while the node took nothing new? That is final, and whoever asked was told.
fn refused_while_drained(record: &InstanceRecord) -> bool {
    let refusal = record.refusal.as_ref();
    refusal.is_some_and(|r| r.reason == Reason::NodeDraining)
}

/// Is it at rest though it should run?
fn stalled(record: &InstanceRecord, world: &World) -> Option<String> {
    let said = record.reported.as_ref().map(|r| r.state);
    let id = &record.instance;
    if record.restart_policy() == RestartPolicy::Always && said != Some(State::Running) {
        return Some(format!("{id} is {said:?} at rest, and restarts always"));
    }
    let runs = |n| {
        let current = record.current(n);
        current
            .and_then(|id| world.containers.get(&id))
            .is_some_and(|c| c.status == Status::Running)
    };
    let mut due = record
        .positions()
        .filter(|n| !record.container_completed(*n));
    (said == Some(State::Running) && !due.all(runs))
        .then(|| format!("{id} is said to be running, and isn't"))
}

/// Did the last incarnation of an id run by this definition, and complete?
fn has_completed(state: &Shared, id: &InstanceId, text: &str) -> bool {
    let lines = &state.disk.lines;
    let begun = lines.iter().rev().find_map(|l| match &l.event {
        Event::Accepted { uid, instance, .. } if instance == id => Some(uid),
        _ => None,
    });
    let Some(uid) = begun else { return false };
    let about = || lines.iter().filter(|l| l.event.uid() == Some(uid));
    let mut ran = about().filter_map(|l| match &l.event {
        Event::Accepted { definition, .. } | Event::Replaced { definition, .. } => Some(definition),
        _ => None,
    });
    let completed = |r: &crate::model::state::StateReport| r.reason == Some(Reason::Completed);
    ran.next_back().is_some_and(|ran| ran == text)
        && about().any(|l| l.state.as_ref().is_some_and(completed))
}

/// The scheduler's instances that it doesn't want.
fn unwanted(state: &Shared) -> Vec<String> {
    let theirs = state
        .disk
        .fold
        .instances
        .values()
        .filter(|r| r.source == Source::Scheduler);
    let unwanted = theirs.filter(|r| !state.scheduler.wanted.contains_key(r.instance.as_str()));
    let told =
        unwanted.map(|r| format!("{} is there, and the scheduler doesn't want it", r.instance));
    told.collect()
}
