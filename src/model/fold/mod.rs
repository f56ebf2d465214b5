//! The fold: everything that is known, as the sum of the journal's lines.
//!
//! Owns: what each kind of line changes. In: lines in the order of their seq. Out: records, the
//! state that a line results in ([`Fold::effect`], asked before it is written), and the
//! [`Piece`]s that changed, which the store keeps. Must never happen here: failing. No line, in
//! whatever order, makes the fold fail; what makes no sense marks its instance uncertain.

mod course;
mod doubt;
mod eviction;
mod health;
mod node;
mod outbox;
mod piece;
mod record;
mod sandbox;
mod transition;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    health::{HookRecord, ProbeRecord},
    node::{Disowned, NodeRecord, RefusedInstruction, Tombstone},
    outbox::{MAX_BYTES, MAX_ENTRIES, Outbox, OutboxEntry, Outboxes},
    piece::{Piece, PieceError},
    record::{
        ContainerRecord, Desired, Eviction, ImageRecord, InstanceRecord, LastExit, Queued, Refusal,
        SandboxRecord, Stop,
    },
};
use super::{
    derive::derive,
    ids::{InstanceId, Seq, Source, Uid},
    line::{Event, Line, Moment},
    state::{State, StateReport},
};

/// At most so many tombstones are kept (design section 5).
pub const MAX_TOMBSTONES: usize = 1_000;

/// Tombstones older than this are dropped, in milliseconds of wall time: 24 hours.
pub const TOMBSTONE_AGE_MS: i64 = 24 * 60 * 60 * 1_000;

/// Everything that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// Seq of the last line in it.
    pub seq: Seq,
    /// The node itself.
    pub node: NodeRecord,
    /// Every incarnation of which something may be left.
    pub instances: BTreeMap<Uid, InstanceRecord>,
    /// Ids whose last incarnation is gone.
    pub tombstones: BTreeMap<InstanceId, Tombstone>,
    /// The scheduler's incarnations, until they are gone and acknowledged.
    pub outboxes: Outboxes,
}

impl Fold {
    /// The state that the event will result in for its instance, if that is news; it goes into
    /// the event's line.
    #[must_use]
    pub fn effect(&self, event: &Event, moment: &Moment) -> Option<StateReport> {
        let uid = event.uid()?;
        let former = self.instances.get(uid);
        let reported = former.and_then(|r| r.reported.clone());
        let report = match event {
            // What isn't there can't end, nor end twice.
            Event::Removed { .. } if former.is_some() => StateReport::plain(State::Terminated),
            Event::Removed { .. } => return None,
            // Neither is news of the instance.
            Event::Acknowledged { .. } | Event::Queued { .. } => return None,
            _ => {
                let mut record = transition::begin(former.cloned(), event, moment)?;
                transition::apply(&mut record, event, moment);
                derive(&record)
            }
        };
        match reported {
            // What completed is Terminated already, and says so once.
            Some(old) if old.same_news(&report) || old.state == State::Terminated => None,
            _ => Some(report),
        }
    }

    /// Takes a line. Returns the pieces that it changed, for the store.
    pub fn apply(&mut self, line: &Line) -> Vec<Piece> {
        self.seq = line.seq;
        let mut changed = Vec::new();
        let ran_until = self.node.last_up;
        if self.node.apply(line) {
            changed.push(Piece::Node);
        }
        if let Event::Boot {} = line.event {
            for (uid, record) in &mut self.instances {
                if transition::reboot(record, ran_until, &line.moment) {
                    changed.push(Piece::Instance(uid.clone()));
                }
            }
        }
        if let Event::Doubted { uids, why } = &line.event {
            changed.extend(self.doubt(uids, why));
        }
        if let Some(uid) = line.event.uid() {
            self.apply_to_instance(uid, line, &mut changed);
        }
        changed
    }

    fn apply_to_instance(&mut self, uid: &Uid, line: &Line, changed: &mut Vec<Piece>) {
        if let Some(report) = &line.state {
            self.push_state(uid, line, report.clone(), changed);
        }
        match &line.event {
            Event::Removed { .. } => self.bury(uid, line, changed),
            Event::Acknowledged { through, .. } => {
                let gone = !self.instances.contains_key(uid);
                if self.outboxes.acknowledge(uid, *through) {
                    changed.push(Piece::Outbox(uid.clone()));
                    if gone && self.acknowledged(uid) {
                        self.outboxes.remove(uid);
                    }
                }
            }
            event => {
                let former = self.instances.remove(uid);
                let Some(mut record) = transition::begin(former, event, &line.moment) else {
                    return;
                };
                changed.push(Piece::Instance(uid.clone()));
                transition::apply(&mut record, event, &line.moment);
                eviction::stamp(&mut record, event, line.seq);
                record.last_seq = line.seq;
                if event.is_instruction() {
                    record.instructed_seq = line.seq;
                    record.doubt = None;
                }
                if let Event::Accepted { instance, .. } = event
                    && let Some(tombstone) = self.tombstones.remove(instance)
                {
                    changed.push(Piece::Tombstone(instance.clone()));
                    record.former = node::lineage(tombstone.former, [tombstone.uid]);
                }
                if let Some(report) = &line.state {
                    record.reported = Some(report.clone());
                }
                self.instances.insert(uid.clone(), record);
            }
        }
    }

    fn push_state(
        &mut self,
        uid: &Uid,
        line: &Line,
        report: StateReport,
        changed: &mut Vec<Piece>,
    ) {
        let owner = match (&line.event, self.instances.get(uid)) {
            (
                Event::Accepted {
                    instance, source, ..
                },
                _,
            ) => Some((instance.clone(), *source)),
            (
                Event::Refused {
                    instance, source, ..
                },
                None,
            ) => instance.parse().ok().map(|id| (id, *source)),
            (_, Some(record)) => Some((record.instance.clone(), record.source)),
            (_, None) => None,
        };
        let Some((instance, Source::Scheduler)) = owner else {
            return;
        };
        let entry = OutboxEntry {
            seq: line.seq,
            at: line.moment.at,
            gap: 0,
            report,
        };
        let touched = self.outboxes.push(uid, instance, entry);
        changed.extend(touched.into_iter().map(Piece::Outbox));
    }

    fn bury(&mut self, uid: &Uid, line: &Line, changed: &mut Vec<Piece>) {
        let Some(record) = self.instances.remove(uid) else {
            return;
        };
        changed.push(Piece::Instance(uid.clone()));
        // Everything of it may have been acknowledged before (it completed).
        if self.outboxes.get(uid).is_some_and(|o| o.entries.is_empty()) {
            self.outboxes.remove(uid);
            changed.push(Piece::Outbox(uid.clone()));
        }
        let report = line.state.clone().or(record.reported);
        changed.push(Piece::Tombstone(record.instance.clone()));
        // What was refused at first begins beside the tombstone of the one before.
        let before = self.tombstones.remove(&record.instance);
        let before = before.map_or(Vec::new(), |t| node::lineage(t.former, [t.uid]));
        self.tombstones.insert(
            record.instance,
            Tombstone {
                uid: uid.clone(),
                seq: line.seq,
                at: line.moment.at,
                source: record.source,
                queued: record.queued,
                former: node::lineage(before, record.former),
                report: report.unwrap_or_else(|| StateReport::plain(State::Terminated)),
            },
        );
        let oldest = line.moment.at.as_millisecond() - TOMBSTONE_AGE_MS;
        while let Some(id) = self.tombstone_to_drop(oldest) {
            self.tombstones.remove(&id);
            changed.push(Piece::Tombstone(id));
        }
    }

    /// The oldest tombstone, if it is too old or they are too many. One that holds a create is
    /// kept until that has begun, for it was accepted.
    fn tombstone_to_drop(&self, oldest: i64) -> Option<InstanceId> {
        let over = self.tombstones.len() > MAX_TOMBSTONES;
        let idle = self.tombstones.iter().filter(|(_, t)| t.queued.is_none());
        let (id, tombstone) = idle.min_by_key(|(_, t)| t.seq)?;
        (over || tombstone.at.as_millisecond() < oldest).then(|| id.clone())
    }

    /// The live incarnation of an id, if there is one.
    #[must_use]
    pub fn by_instance(&self, instance: &InstanceId) -> Option<&InstanceRecord> {
        self.instances.values().find(|r| r.instance == *instance)
    }

    /// Creates that were accepted while their id was being destroyed, and may begin now.
    pub fn waiting(&self) -> impl Iterator<Item = (&InstanceId, &Queued)> {
        self.tombstones
            .iter()
            .filter_map(|(id, t)| Some((id, t.queued.as_ref()?)))
    }

    /// Does the journal show that this incarnation was removed?
    #[must_use]
    pub fn was_removed(&self, uid: &Uid) -> bool {
        let buried = |t: &Tombstone| t.uid == *uid || t.former.contains(uid);
        self.tombstones.values().any(buried)
            || self.instances.values().any(|r| r.former.contains(uid))
    }

    /// Has the scheduler every state of this incarnation? True for those of other sources.
    #[must_use]
    pub fn acknowledged(&self, uid: &Uid) -> bool {
        self.outboxes.get(uid).is_none_or(|o| o.entries.is_empty())
    }
}

#[cfg(test)]
mod tests;
