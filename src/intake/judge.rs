//! What an instruction means for what is known. Pure.

use crate::model::{
    definition::{self, Parsed, Strictness},
    fold::{Desired, Fold, InstanceRecord},
    ids::{IdError, InstanceId, MAX_WIRE_ID, Source, Uid},
    instruction::{Ask, Instruction},
    line::Event,
    state::Reason,
};
use crate::{
    error_chain::one_line,
    image::reference::{ReferenceError, TransportPolicy},
};

/// What an instruction comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Write this line.
    Accept {
        /// The incarnation it is about.
        uid: Uid,
        /// The line's event.
        event: Box<Event>,
    },
    /// Nothing is to be done.
    Unchanged {
        /// Why, in a sentence.
        why: String,
    },
    /// Write down that it was refused.
    Refuse {
        /// A new incarnation if the refusal is to be reported as Failed.
        uid: Option<Uid>,
        /// In a word.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
    /// No live instance has this id.
    NotFound,
}

/// Judges an instruction; `uid` is the name of the incarnation that it may begin.
#[must_use]
pub fn judge(
    fold: &Fold,
    instruction: &Instruction,
    transports: &TransportPolicy,
    uid: Uid,
) -> Judgement {
    let instance = match instance_id(instruction) {
        Ok(instance) => instance,
        // Recorded and shown, never reported: on the wire an illegal id matches other rows.
        Err(error) => return refuse(None, Reason::InvalidDefinition, error.to_string()),
    };
    let live = fold.by_instance(&instance);
    // A refusal begins an incarnation only where there is none, nor one that is about to begin.
    let refused = is_free(fold, &instance, instruction.source).then(|| uid.clone());
    match &instruction.ask {
        Ask::Create { definition } => match read(instruction.source, definition, transports) {
            Ok(parsed) => create(
                fold,
                instruction.source,
                &instance,
                live,
                (definition, parsed),
                uid,
            ),
            // What runs goes on running: only a create of an unknown id is reported as Failed.
            Err((reason, message)) => refuse(refused, reason, message),
        },
        Ask::Destroy { force } => destroy(instruction.source, *force, live),
        Ask::Unknown { action } => {
            let message = format!("action {action} is neither CREATE (0) nor DESTROY (1)");
            refuse(refused, Reason::Unsupported, message)
        }
        Ask::TooBig { bytes } => {
            let message = format!(
                "the definition has {bytes} bytes, the limit is {}",
                definition::MAX_BYTES
            );
            refuse(refused, Reason::InvalidDefinition, message)
        }
    }
}

/// The refusal of an instruction that can't be judged now (overload).
#[must_use]
pub fn refuse_for(
    fold: &Fold,
    instruction: &Instruction,
    uid: Uid,
    reason: Reason,
    message: String,
) -> Judgement {
    let free = instance_id(instruction).is_ok_and(|id| is_free(fold, &id, instruction.source));
    refuse(free.then_some(uid), reason, message)
}

/// The line of a refusal.
pub(super) fn refused(
    instruction: &Instruction,
    uid: Option<Uid>,
    reason: Reason,
    message: String,
) -> Event {
    let instance = instance_id(instruction).map_or_else(
        |_| instruction.instance.chars().take(MAX_WIRE_ID).collect(),
        |id| id.to_string(),
    );
    Event::Refused {
        uid,
        instance,
        source: instruction.source,
        reason,
        message,
    }
}

fn refuse(uid: Option<Uid>, reason: Reason, message: String) -> Judgement {
    Judgement::Refuse {
        uid,
        reason,
        message,
    }
}

/// May the source begin an incarnation of this id: is it its own, is there none, and none that
/// is about to begin?
fn is_free(fold: &Fold, instance: &InstanceId, source: Source) -> bool {
    let waits = fold
        .tombstones
        .get(instance)
        .is_some_and(|t| t.queued.is_some());
    instance.source() == source && fold.by_instance(instance).is_none() && !waits
}

pub(super) fn instance_id(instruction: &Instruction) -> Result<InstanceId, IdError> {
    match instruction.source {
        Source::Scheduler => InstanceId::from_wire(&instruction.instance),
        // A person may name any instance in full, or the source's own by its bare name.
        _ if instruction.instance.contains('@') => instruction.instance.parse(),
        source => InstanceId::local(&instruction.instance, source),
    }
}

/// Reads a definition and asks whether its source may have what it asks for.
fn read(
    source: Source,
    text: &str,
    transports: &TransportPolicy,
) -> Result<Parsed, (Reason, String)> {
    let strictness = match source {
        Source::Scheduler => Strictness::Lenient,
        _ => Strictness::Strict,
    };
    let parsed = definition::parse(text, strictness).map_err(|e| (e.reason, e.to_string()))?;
    for (n, container) in parsed.spec.containers.iter().enumerate() {
        if let Err(error) = transports.admit(source, &container.image) {
            let message = format!("spec.containers[{n}].image: {}", one_line(&error));
            let reason = match error {
                ReferenceError::Refused { .. } => Reason::Forbidden,
                _ => Reason::InvalidDefinition,
            };
            return Err((reason, message));
        }
    }
    Ok(parsed)
}

fn create(
    fold: &Fold,
    source: Source,
    instance: &InstanceId,
    live: Option<&InstanceRecord>,
    (text, Parsed { spec, warnings }): (&str, Parsed),
    uid: Uid,
) -> Judgement {
    if instance.source() != source {
        let message = format!("the {source} can't make {instance}, which would not be its own");
        return refuse(None, Reason::Forbidden, message);
    }
    let (definition, spec) = (text.to_owned(), Box::new(spec));
    let Some(record) = live else {
        let instance = instance.clone();
        let event = Event::Accepted {
            uid: uid.clone(),
            instance,
            source,
            definition,
            spec,
            warnings,
        };
        return Judgement::Accept {
            uid,
            event: Box::new(event),
        };
    };
    if record.source != source {
        let message = format!("{instance} belongs to the {}", record.source);
        return refuse(None, Reason::Forbidden, message);
    }
    let uid = record.uid.clone();
    let equal = record.spec.as_deref() == Some(&*spec);
    if record.desired == Desired::Gone || ended(fold, record, equal) {
        let event = Event::Queued {
            uid: uid.clone(),
            definition,
            spec,
            source,
        };
        return Judgement::Accept {
            uid,
            event: Box::new(event),
        };
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
    Judgement::Accept {
        uid,
        event: Box::new(event),
    }
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
fn settle(record: &InstanceRecord, source: Source) -> Judgement {
    let uid = record.uid.clone();
    Judgement::Accept {
        uid: uid.clone(),
        event: Box::new(Event::Settled { uid, source }),
    }
}

fn destroy(source: Source, force: bool, live: Option<&InstanceRecord>) -> Judgement {
    let Some(record) = live else {
        return Judgement::NotFound;
    };
    let (instance, owner) = (&record.instance, record.source);
    if owner != source && !force {
        let message = format!(
            "{instance} belongs to the {owner}; `riklet delete --force {instance}` overrides that"
        );
        return refuse(None, Reason::Forbidden, message);
    }
    if record.desired == Desired::Gone && record.queued.is_none() {
        // The scheduler's own word allows the state Destroying, whoever began it.
        let told = record.destroyed_by == Some(source) || source != Source::Scheduler;
        if told && record.doubt.is_some() {
            return settle(record, source);
        }
        if told {
            return Judgement::Unchanged {
                why: format!("{instance} is being destroyed"),
            };
        }
    }
    let source = if owner == source {
        source
    } else {
        Source::Operator
    };
    let uid = record.uid.clone();
    let event = Event::DestroyAccepted {
        uid: uid.clone(),
        source,
    };
    Judgement::Accept {
        uid,
        event: Box::new(event),
    }
}
