//! What was evicted stays so, until another generation or a destroy.

use super::State;
use crate::model::{
    fold::InstanceRecord,
    ids::{ContainerId, Generation, Uid},
    line::{Event, Line},
    state::{Reason, State as Reported},
};

/// Do the lines say that this generation was evicted?
pub(super) fn is_evicted(lines: &[Line], of: &Uid, is: Generation) -> bool {
    lines.iter().any(|line| match &line.event {
        Event::Evicted {
            uid, generation, ..
        } => (uid, *generation) == (of, is),
        _ => false,
    })
}

/// Is the verdict by which a container is ended durable?
pub(super) fn is_durable(sim: &State, id: &ContainerId) -> bool {
    let Some(kin) = sim.judge.of.get(id) else {
        return false;
    };
    let durable = usize::try_from(sim.disk.durable).unwrap_or(usize::MAX);
    let lines = &sim.disk.lines[..durable.min(sim.disk.lines.len())];
    is_evicted(lines, &id.uid, kin.generation)
}

/// A verdict is about to be written.
pub(super) fn verdict(sim: &State, uid: &Uid, generation: Generation) -> Option<String> {
    is_evicted(&sim.disk.lines, uid, generation).then(|| format!("{uid} is evicted a second time"))
}

/// At rest: is it Failed by that, with nothing left on the node?
pub(in crate::testing::sim) fn unlike_evicted(
    sim: &State,
    record: &InstanceRecord,
    left: bool,
) -> Option<Option<String>> {
    if !is_evicted(&sim.disk.lines, &record.uid, record.generation) {
        return None;
    }
    let said = record.reported.as_ref().map(|r| (r.state, r.reason));
    let wrong = said != Some((Reported::Failed, Some(Reason::Evicted)));
    let id = &record.instance;
    Some(match (wrong, left) {
        (true, _) => Some(format!("{id} was evicted, and is said to be {said:?}")),
        (_, true) => Some(format!("{id} was evicted, and something of it is left")),
        _ => None,
    })
}
