//! What a create means for what is known. Pure.
//!
//! Owns: which definitions are taken, and that one refusal names everything that is wrong. Must
//! never happen here: an instance that runs being disturbed by the words that it runs by.

use super::{
    admission::lacking,
    judge::{Judgement, refuse},
    policy::{Rules, forbidden, paths},
};
use crate::{
    error_chain::one_line,
    image::reference::ReferenceError,
    model::{
        definition::{self, Parsed, Strictness},
        fold::{Desired, Fold, InstanceRecord},
        ids::{InstanceId, Source, Uid},
        line::Event,
        spec::WorkloadSpec,
        state::Reason,
    },
};

/// A create, and what it is judged by.
pub(super) struct Asked<'a> {
    pub(super) fold: &'a Fold,
    pub(super) rules: &'a Rules,
    pub(super) source: Source,
    pub(super) instance: &'a InstanceId,
    pub(super) live: Option<&'a InstanceRecord>,
    pub(super) text: &'a str,
}

/// What is wrong: a word, a sentence.
pub(super) type Fault = (Reason, String);

impl Asked<'_> {
    /// What it comes to, or everything that is wrong with it, in one sentence.
    pub(super) fn judge(&self, uid: Uid) -> Result<Judgement, Fault> {
        if let Some(judgement) = self.as_before(&uid) {
            return Ok(judgement);
        }
        let strictness = match self.source {
            Source::Scheduler => Strictness::Lenient,
            _ => Strictness::Strict,
        };
        match definition::parse(self.text, strictness) {
            Ok(parsed) => {
                let spec = parsed.spec.clone();
                let judgement = self.create(parsed, uid);
                // What changes nothing, or isn't the source's own, needs no further word.
                let faults = match begins(&judgement) {
                    true => self.faults(&spec),
                    false => Vec::new(),
                };
                in_one(faults).map_or(Ok(judgement), Err)
            }
            Err(error) => {
                let fault = (error.reason, error.to_string());
                let mut faults = vec![fault.clone()];
                // Where it can be read but for fields that have no effect, the rest counts, too.
                if let Ok(parsed) = definition::parse(self.text, Strictness::Lenient) {
                    faults.extend(self.faults(&parsed.spec));
                }
                Err(in_one(faults).unwrap_or(fault))
            }
        }
    }

    /// The very text that is recorded already, byte for byte: it says what it said then, also if
    /// this riklet would read it otherwise. So an upgrade, or a policy that has become stricter,
    /// neither restarts nor refuses what runs.
    fn as_before(&self, uid: &Uid) -> Option<Judgement> {
        let record = self.live?;
        let spec = record.spec.as_deref()?;
        if *record.definition != *self.text || record.refusal.is_some() {
            return None;
        }
        let parsed = Parsed {
            spec: spec.clone(),
            warnings: Vec::new(),
        };
        let judgement = self.create(parsed, uid.clone());
        (!begins(&judgement)).then_some(judgement)
    }

    /// Everything that keeps this node from running it.
    fn faults(&self, spec: &WorkloadSpec) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (path, container) in paths(spec) {
            if let Err(error) = self.rules.transports.admit(self.source, &container.image) {
                let reason = match error {
                    ReferenceError::Refused { .. } => Reason::Forbidden,
                    _ => Reason::InvalidDefinition,
                };
                faults.push((reason, format!("{path}.image: {}", one_line(&error))));
            }
        }
        let forbidden = forbidden(self.rules, self.source, spec);
        faults.extend(forbidden.into_iter().map(|text| (Reason::Forbidden, text)));
        // A manifest says what shall run on this node and nowhere else: it waits.
        let new = self.live.is_none() && self.source != Source::Manifest;
        if self.fold.node.drained && new {
            let message = "this node is drained and takes nothing new: place it elsewhere, or \
                           `riklet uncordon` it";
            faults.push((Reason::NodeDraining, message.to_owned()));
        }
        let lacking = lacking(self.fold, self.instance, spec, self.rules.capacity);
        faults.extend(lacking);
        faults
    }

    fn create(&self, Parsed { spec, warnings }: Parsed, uid: Uid) -> Judgement {
        let (instance, source) = (self.instance, self.source);
        if instance.source() != source {
            let message = format!("the {source} can't make {instance}, which would not be its own");
            return refuse(None, Reason::Forbidden, message);
        }
        let (definition, spec) = (self.text.to_owned(), Box::new(spec));
        let Some(record) = self.live else {
            let instance = instance.clone();
            let event = Event::Accepted {
                uid: uid.clone(),
                instance,
                source,
                definition,
                spec,
                warnings,
            };
            return accept(uid, event);
        };
        if record.source != source {
            let message = format!("{instance} belongs to the {}", record.source);
            return refuse(None, Reason::Forbidden, message);
        }
        let uid = record.uid.clone();
        let equal = record.spec.as_deref() == Some(&*spec);
        if record.desired == Desired::Gone || ended(self.fold, record, equal) {
            let event = Event::Queued {
                uid: uid.clone(),
                definition,
                spec,
                source,
            };
            return accept(uid, event);
        }
        if equal && record.doubt.is_some() {
            return settle(record, source);
        }
        if equal {
            return Judgement::Unchanged {
                why: format!("{instance} runs by this very definition"),
            };
        }
        let generation = record.generation.saturating_add(1);
        let event = Event::Replaced {
            uid: uid.clone(),
            generation,
            definition,
            spec,
            warnings,
        };
        accept(uid, event)
    }
}

fn accept(uid: Uid, event: Event) -> Judgement {
    let event = Box::new(event);
    Judgement::Accept { uid, event }
}

/// Does something run by it that didn't before?
fn begins(judgement: &Judgement) -> bool {
    let Judgement::Accept { event, .. } = judgement else {
        return false;
    };
    !matches!(**event, Event::Settled { .. })
}

/// The first fault's word, and every sentence.
fn in_one(faults: Vec<Fault>) -> Option<Fault> {
    let (reason, _) = faults.first()?;
    let reason = *reason;
    let texts: Vec<String> = faults.into_iter().map(|(_, text)| text).collect();
    Some((reason, texts.join("; ")))
}

/// Has it completed, so that a create is one of a new incarnation? Nothing may follow the state
/// Terminated, so another definition is never its next generation; but the very same one, from
/// a scheduler that hasn't heard yet that it completed, is no reason to run it once more. Unless
/// another create waits already: then this is the last word, and takes that one's place.
fn ended(fold: &Fold, record: &InstanceRecord, equal: bool) -> bool {
    let again = !equal || record.queued.is_some();
    record.completed() && (fold.acknowledged(&record.uid) || again)
}

/// It says what is known already, of an instance in doubt: now it is known to be so.
pub(super) fn settle(record: &InstanceRecord, source: Source) -> Judgement {
    accept(
        record.uid.clone(),
        Event::Settled {
            uid: record.uid.clone(),
            source,
        },
    )
}
