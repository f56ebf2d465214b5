//! What is to be asked for after a look at the directory. Pure: time and fold are given.
//!
//! Owns: when the absence of a manifest counts as its removal. In: looks, and what is known of
//! instances. Out: instructions. Must never happen here: an instruction about another source's
//! instance, or a destroy where it isn't certain that no file holds the instance any more.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    directory::{Identity, Look},
    sheet::{Sheet, Wanted},
};
use crate::model::{
    fold::{Desired, Fold, InstanceRecord},
    ids::{InstanceId, Source},
    instruction::Instruction,
    state::Reason,
};

/// A manifest is removed once it has been absent for so long, in ms: who writes a file anew may
/// take the former one away first.
pub(super) const ABSENT: u64 = 1_000;

/// The same where the directory itself is another one than before: who makes it anew fills it
/// after that.
pub(super) const ABSENT_ANEW: u64 = 5_000;

/// What was seen at former looks of this life of the daemon.
#[derive(Debug, Default)]
pub(super) struct Memory {
    identity: Option<Identity>,
    /// When the directory was found to be another one, in CLOCK_BOOTTIME ms.
    anew_up: Option<u64>,
    /// By file of which it isn't known what it holds: what it may hold.
    broken: BTreeMap<String, BTreeSet<InstanceId>>,
    /// Which file an instance was taken from last.
    owners: BTreeMap<InstanceId, String>,
    /// Since when no file holds an instance, in CLOCK_BOOTTIME ms.
    absent: BTreeMap<InstanceId, u64>,
    /// What was refused last, and why, so that it isn't written down again and again.
    refused: BTreeMap<InstanceId, (String, Reason)>,
}

/// What follows from a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Creates by the files that hold them.
    pub(super) creates: Vec<(InstanceId, Instruction)>,
    /// Destroys.
    pub(super) destroys: Vec<(InstanceId, Instruction)>,
    /// What isn't asked for, because an earlier file had it that can't be understood just now.
    pub(super) held: Vec<(InstanceId, String)>,
    /// When to look again, in CLOCK_BOOTTIME ms.
    pub(super) again_up: Option<u64>,
}

impl Memory {
    /// Takes a look that was good: what follows from it, `now` being CLOCK_BOOTTIME ms?
    pub(super) fn take(&mut self, look: &Look, sheet: &Sheet, fold: &Fold, now: u64) -> Due {
        if self.identity.replace(look.identity) != Some(look.identity) {
            self.anew_up = Some(now);
        }
        let theirs = held(fold);
        self.remember_broken(sheet, &theirs);
        let mut due = Due::default();
        self.owners
            .retain(|id, _| theirs.contains(id) || sheet.names(id));
        for (id, wanted) in &sheet.wanted {
            if let Some(owner) = self.broken_owner(id, wanted) {
                due.held.push((id.clone(), owner.to_owned()));
                continue;
            }
            self.owners.insert(id.clone(), wanted.file.clone());
            if !is_so(fold, id, wanted) {
                let text = wanted.definition.clone();
                let create = Instruction::create(id.as_str(), Source::Manifest, text);
                due.creates.push((id.clone(), create));
            }
        }
        let may_be_held = |id: &InstanceId| self.broken.values().any(|ids| ids.contains(id));
        let gone: BTreeSet<InstanceId> = theirs
            .into_iter()
            .filter(|id| !sheet.names(id) && !may_be_held(id))
            .collect();
        self.absent.retain(|id, _| gone.contains(id));
        self.refused.retain(|id, _| sheet.wanted.contains_key(id));
        for id in gone {
            let since = *self.absent.entry(id.clone()).or_insert(now);
            let anew = self.anew_up.map_or(0, |up| up.saturating_add(ABSENT_ANEW));
            let at = since.saturating_add(ABSENT).max(anew);
            if at <= now {
                let destroy = Instruction::destroy(id.as_str(), Source::Manifest);
                due.destroys.push((id, destroy));
            } else {
                due.again_up = Some(due.again_up.map_or(at, |up| up.min(at)));
            }
        }
        due
    }

    /// The file that comes before the one which asks for the instance, had it, and can't be
    /// understood just now: its former version goes on running.
    fn broken_owner(&self, id: &InstanceId, wanted: &Wanted) -> Option<&str> {
        let owner = self.owners.get(id)?.as_str();
        (owner < wanted.file.as_str() && self.broken.contains_key(owner)).then_some(owner)
    }

    /// It isn't known what the directory holds: nothing is absent.
    pub(super) fn lost(&mut self) {
        self.absent.clear();
        self.identity = None;
    }

    /// Is this refusal of this definition known already, or to be written down?
    pub(super) fn is_news(
        &mut self,
        fold: &Fold,
        id: &InstanceId,
        definition: &str,
        reason: Reason,
        message: &str,
    ) -> bool {
        let told = (definition.to_owned(), reason);
        let known = self.refused.get(id) == Some(&told) || is_refused(fold, id, reason, message);
        self.refused.insert(id.clone(), told);
        !known
    }

    /// A file that has just become unreadable may hold whatever no other file holds; later ones
    /// that no file holds any more are not its.
    fn remember_broken(&mut self, sheet: &Sheet, theirs: &BTreeSet<InstanceId>) {
        let broken: BTreeSet<&str> = sheet.broken().collect();
        self.broken.retain(|file, _| broken.contains(file.as_str()));
        for file in broken {
            let unnamed = || theirs.iter().filter(|id| !sheet.names(id)).cloned();
            let held = self.broken.entry(file.to_owned());
            held.or_insert_with(|| unnamed().collect());
        }
    }
}

/// Is there an instance of theirs?
pub(super) fn any(fold: &Fold) -> bool {
    !held(fold).is_empty()
}

/// The manifests' own instances that are to run, or wait to.
fn held(fold: &Fold) -> BTreeSet<InstanceId> {
    let live = fold.instances.values().filter(|record| {
        record.source == Source::Manifest
            && (record.desired == Desired::Run || record.queued.is_some() || record.doubt.is_some())
    });
    let waiting = fold
        .waiting()
        .filter(|(_, queued)| queued.source == Source::Manifest);
    let ids = live.map(|record| record.instance.clone());
    ids.chain(waiting.map(|(id, _)| id.clone())).collect()
}

/// Is it so already, or about to be so? What has completed isn't run once more for being there.
fn is_so(fold: &Fold, id: &InstanceId, wanted: &Wanted) -> bool {
    let Some(record) = fold.by_instance(id) else {
        let mut waiting = fold.waiting();
        return waiting.any(|(waits, queued)| waits == id && *queued.spec == wanted.spec);
    };
    let last = match (&record.queued, record.desired) {
        (Some(queued), _) => Some(&queued.spec),
        (None, Desired::Run) => record.spec.as_ref(),
        (None, Desired::Gone) => None,
    };
    record.doubt.is_none() && last.is_some_and(|spec| **spec == wanted.spec)
}

/// Does the fold show this refusal?
fn is_refused(fold: &Fold, id: &InstanceId, reason: Reason, message: &str) -> bool {
    let of = |record: &InstanceRecord| {
        let refusal = record.refusal.as_ref();
        refusal.is_some_and(|r| (r.reason, r.message.as_str()) == (reason, message))
    };
    let mut newest = fold.node.refused.iter();
    fold.by_instance(id).is_some_and(of)
        || newest.any(|r| {
            (r.instance.as_str(), r.reason, r.message.as_str()) == (id.as_str(), reason, message)
        })
}

#[cfg(test)]
mod tests;
