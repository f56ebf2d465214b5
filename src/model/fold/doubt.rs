//! Instances in doubt: lines about them may be lost.
//!
//! Owns: which incarnations a loss may concern. Must never happen here: a guess that stops or
//! starts something; an instance in doubt is left as it is.

use super::{Desired, Fold, InstanceRecord, Piece};
use crate::model::ids::{Seq, Uid};

impl Fold {
    /// Marks incarnations as in doubt. Returns the pieces that this changed.
    pub fn doubt(&mut self, uids: &[Uid], why: &str) -> Vec<Piece> {
        let mut changed = Vec::new();
        for uid in uids {
            if let Some(record) = self.instances.get_mut(uid)
                && record.doubt.as_deref() != Some(why)
            {
                record.doubt = Some(why.to_owned());
                changed.push(Piece::Instance(uid.clone()));
            }
        }
        changed
    }

    /// The incarnations in doubt.
    pub fn doubted(&self) -> impl Iterator<Item = &InstanceRecord> {
        self.instances.values().filter(|r| r.doubt.is_some())
    }

    /// The incarnations that lost lines from `first` on may have been about.
    ///
    /// Those whose last known instruction lies before the loss: a later one settled what they
    /// shall be, and an incarnation that began later has no line in it. A lost `uncordoned` would
    /// be about every one, so where the node is drained, all are meant.
    #[must_use]
    pub fn concerned(&self, first: Seq) -> Vec<Uid> {
        let concerned = |record: &&InstanceRecord| {
            // A create waits for the end of something that isn't known to end: the destroy is
            // among what was lost.
            let waits = record.queued.is_some() && record.desired == Desired::Run;
            self.node.drained || record.instructed_seq < first || (waits && !record.completed())
        };
        let records = self.instances.values().filter(concerned);
        records.map(|record| record.uid.clone()).collect()
    }
}
