//! What a RIK scheduler knows and answers, without any IO.
//!
//! Two peers in one: scheduler (where is what placed) and controller (which instances exist),
//! for riklet's states go through the first into the second. Every rule that riklet breaks is a
//! violation, kept and counted.

mod status;

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::{definition::reserialised, event::Event};

pub(super) use self::status::{ReaderEnds, StatusStream};
use crate::wire::generated::{
    common::{WorkerRegistration, WorkloadRequestKind},
    worker::InstanceScheduling,
};

/// So many events are kept.
const KEPT_EVENTS: usize = 20_000;

/// How a scheduler behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manners {
    /// As a scheduler should: it remembers, and replays its desired set on register.
    Kind,
    /// With the quirks of the real one.
    LikeRik,
}

/// A node, as the scheduler sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeView {
    /// Number of its open registration.
    pub registration: Option<u64>,
    /// Has it sent its sample in this registration?
    pub sampled: bool,
    /// Does it get placements?
    pub ready: bool,
    /// How often it registered.
    pub registrations: u64,
    /// Its last status.
    pub status: String,
    /// Its last sample.
    pub metrics: Value,
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Waits for a ready node.
    Nowhere,
    /// On this node.
    On(String),
    /// It was on a node whose link was lost; the real scheduler can't command it any more.
    Forgotten(String),
}

/// An instance, as the controller sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceView {
    /// What is sent for it.
    pub definition: String,
    /// Where it is.
    pub place: Place,
    /// Is it to run, or was its destroy asked for?
    pub wanted: bool,
    /// Its last state; empty if there was none.
    pub status: String,
    /// The reason that came with it.
    pub reason: String,
    /// Its generation.
    pub generation: u32,
    /// Seq of its last state.
    pub seq: u64,
    /// Seq of its last acknowledged state.
    pub acknowledged: u64,
    /// Number of the registration in which that was.
    pub acknowledged_in: Option<u64>,
    /// Its last metrics text.
    pub metrics: Value,
}

/// An instruction on its way to a node.
pub(super) type Parcel = (String, InstanceScheduling);

/// The scheduler's whole state.
#[derive(Debug)]
pub struct Core {
    manners: Manners,
    /// Nodes by name.
    pub nodes: BTreeMap<String, NodeView>,
    /// Instances by id.
    pub instances: BTreeMap<String, InstanceView>,
    /// Seq of the TERMINATED of instances that are gone.
    pub terminated: BTreeMap<String, u64>,
    /// Every broken rule, in order.
    pub violations: Vec<String>,
    /// DESTROYs sent in answer to DESTROYING.
    pub destroyed_back: u64,
    /// CREATEs sent in answer to PENDING.
    pub placed_again: u64,
    registrations: u64,
    streams: u64,
    events: VecDeque<Event>,
    first_event: usize,
}

fn scheduling(id: &str, definition: &str, action: WorkloadRequestKind) -> InstanceScheduling {
    InstanceScheduling {
        instance_id: id.to_owned(),
        definition: definition.to_owned(),
        action: action.into(),
    }
}

impl Core {
    pub(super) fn new(manners: Manners) -> Self {
        Self {
            manners,
            nodes: BTreeMap::new(),
            instances: BTreeMap::new(),
            terminated: BTreeMap::new(),
            violations: Vec::new(),
            destroyed_back: 0,
            placed_again: 0,
            registrations: 0,
            streams: 0,
            events: VecDeque::new(),
            first_event: 0,
        }
    }

    /// Events from number `from` on (the first has 0), and the number of the next.
    #[must_use]
    pub fn events(&self, from: usize) -> (Vec<Event>, usize) {
        let skip = from.saturating_sub(self.first_event);
        let next = self.first_event + self.events.len();
        (self.events.iter().skip(skip).cloned().collect(), next)
    }

    fn note(&mut self, event: Event) {
        if self.events.len() == KEPT_EVENTS {
            self.events.pop_front();
            self.first_event += 1;
        }
        self.events.push_back(event);
    }

    pub(super) fn violation(&mut self, rule: impl Into<String>) {
        let rule = rule.into();
        self.violations.push(rule.clone());
        self.note(Event::Violation { rule });
    }

    fn rik(&self) -> bool {
        self.manners == Manners::LikeRik
    }

    pub(super) fn sent(&mut self, (node, what): &Parcel) {
        self.note(Event::Sent {
            node: node.clone(),
            instance: what.instance_id.clone(),
            action: what.action,
            definition: what.definition.clone(),
        });
    }

    /// The ready node with the fewest instances.
    fn ready_node(&self) -> Option<String> {
        let load = |name: &str| {
            self.instances
                .values()
                .filter(|i| i.place == Place::On(name.to_owned()))
                .count()
        };
        let ready = self.nodes.iter().filter(|(_, node)| node.ready);
        ready
            .min_by_key(|(name, _)| load(name))
            .map(|(name, _)| name.clone())
    }

    fn place(&mut self, id: &str) -> Vec<Parcel> {
        let Some(node) = self.ready_node() else {
            return Vec::new();
        };
        let Some(instance) = self.instances.get_mut(id) else {
            return Vec::new();
        };
        instance.place = Place::On(node.clone());
        vec![(
            node,
            scheduling(id, &instance.definition, WorkloadRequestKind::Create),
        )]
    }

    /// `create`: a new instance, or a new definition of one.
    pub(super) fn create(&mut self, id: &str, definition: &str) -> Result<Vec<Parcel>, String> {
        let definition = if self.rik() {
            reserialised(definition)?
        } else {
            definition.to_owned()
        };
        self.terminated.remove(id);
        if let Some(instance) = self.instances.get_mut(id) {
            instance.definition.clone_from(&definition);
            instance.wanted = true;
            return Ok(match instance.place.clone() {
                Place::On(node) => {
                    vec![(
                        node,
                        scheduling(id, &definition, WorkloadRequestKind::Create),
                    )]
                }
                Place::Nowhere | Place::Forgotten(_) => self.place(id),
            });
        }
        let instance = InstanceView {
            definition,
            place: Place::Nowhere,
            wanted: true,
            status: String::new(),
            reason: String::new(),
            generation: 0,
            seq: 0,
            acknowledged: 0,
            acknowledged_in: None,
            metrics: Value::Null,
        };
        self.instances.insert(id.to_owned(), instance);
        Ok(self.place(id))
    }

    /// `destroy`: to its node; as the real one, to the first ready node, whoever has it.
    pub(super) fn destroy(&mut self, id: &str) -> Result<Vec<Parcel>, String> {
        let rik = self.rik();
        let first_ready = || {
            self.nodes
                .iter()
                .find(|(_, n)| n.ready)
                .map(|(n, _)| n.clone())
        };
        let first_ready = first_ready();
        let Some(instance) = self.instances.get_mut(id) else {
            return Err(format!("there is no instance {id:?}"));
        };
        instance.wanted = false;
        let node = match &instance.place {
            Place::On(node) if !rik => Some(node.clone()),
            Place::On(_) => first_ready,
            Place::Nowhere => {
                self.instances.remove(id);
                return Ok(Vec::new());
            }
            Place::Forgotten(node) => {
                return Err(format!("forgotten since the link to {node} was lost"));
            }
        };
        let parcel = |node| (node, scheduling(id, "", WorkloadRequestKind::Destroy));
        Ok(node.map(parcel).into_iter().collect())
    }

    /// A node registers: the number of its registration and what is replayed; none if its name
    /// is taken.
    pub(super) fn register(&mut self, who: &WorkerRegistration) -> Option<(u64, Vec<Parcel>)> {
        let name = who.hostname.clone();
        let taken = self
            .nodes
            .get(&name)
            .is_some_and(|node| node.registration.is_some());
        if taken && self.rik() {
            self.note(Event::NameTaken { node: name });
            return None;
        }
        self.registrations += 1;
        let number = self.registrations;
        let node = self.nodes.entry(name.clone()).or_default();
        node.registration = Some(number);
        node.registrations += 1;
        (node.ready, node.sampled) = (false, false);
        self.note(Event::Registered {
            node: name.clone(),
            boot_id: who.boot_id.clone(),
            version: who.version.clone(),
        });
        let here = Place::On(name.clone());
        let replay = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.place == here);
        let replay = replay.map(|(id, instance)| {
            let what = if instance.wanted {
                scheduling(id, &instance.definition, WorkloadRequestKind::Create)
            } else {
                scheduling(id, "", WorkloadRequestKind::Destroy)
            };
            (name.clone(), what)
        });
        Some((number, replay.collect()))
    }

    /// The Register stream of registration `number` ended.
    pub(super) fn left(&mut self, name: &str, number: u64) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if node.registration != Some(number) {
            return;
        }
        node.registration = None;
        node.ready = false;
        if self.rik() {
            self.forget_instances(name);
        }
        self.note(Event::Left {
            node: name.to_owned(),
        });
    }

    fn forget_instances(&mut self, name: &str) {
        let here = Place::On(name.to_owned());
        for instance in self.instances.values_mut().filter(|i| i.place == here) {
            instance.place = Place::Forgotten(name.to_owned());
        }
    }

    /// The scheduler's memory after it was restarted: the real one has none of nodes and places.
    pub(super) fn restart(&mut self) {
        for name in self.nodes.keys().cloned().collect::<Vec<_>>() {
            if self.rik() {
                self.forget_instances(&name);
            }
        }
        if self.rik() {
            self.nodes.clear();
        }
        for node in self.nodes.values_mut() {
            (node.registration, node.ready) = (None, false);
        }
    }
}

#[cfg(test)]
mod tests;
