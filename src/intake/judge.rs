//! What an instruction means for what is known. Pure.

use super::{
    create::{Asked, settle},
    policy::Rules,
};
use crate::model::{
    definition,
    fold::{Desired, Fold, InstanceRecord},
    ids::{IdError, InstanceId, MAX_WIRE_ID, Source, Uid},
    instruction::{Ask, Instruction},
    line::Event,
    state::Reason,
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
pub fn judge(fold: &Fold, instruction: &Instruction, rules: &Rules, uid: Uid) -> Judgement {
    let instance = match instance_id(instruction) {
        Ok(instance) => instance,
        // Recorded and shown, never reported: on the wire an illegal id matches other rows.
        Err(error) => return refuse(None, Reason::InvalidDefinition, error.to_string()),
    };
    let live = fold.by_instance(&instance);
    // A refusal begins an incarnation only where there is none, nor one that is about to begin.
    let refused = is_free(fold, &instance, instruction.source).then(|| uid.clone());
    match &instruction.ask {
        Ask::Create { definition } => {
            let asked = Asked {
                fold,
                rules,
                source: instruction.source,
                instance: &instance,
                live,
                text: definition,
            };
            let judged = asked.judge(uid);
            // What runs goes on running: only a create of an unknown id is reported as Failed.
            judged.unwrap_or_else(|(reason, message)| refuse(refused, reason, message))
        }
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

pub(super) fn refuse(uid: Option<Uid>, reason: Reason, message: String) -> Judgement {
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
