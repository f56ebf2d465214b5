//! Which volumes are looked at, and what an instance comes to that took more than it may.
//!
//! Owns: kubelet's rule for `emptyDir.sizeLimit`: a volume on the disk that holds more ends its
//! instance, which isn't started again on this node. What lies in memory the kernel bounds. Only
//! what runs is looked at, for nothing else can write. Must never happen here: a look.

use crate::model::{
    fold::{Desired, InstanceRecord},
    ids::{Generation, Uid},
    line::Event,
    phase::Phase,
    spec::VolumeSource,
};

/// A volume that has a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounded {
    /// Its position in the definition.
    pub volume: usize,
    /// The most bytes of the disk that it may take.
    pub limit: u64,
}

/// What is to be looked at, of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The incarnation.
    pub uid: Uid,
    /// Whose volumes: of another generation they are others.
    pub generation: Generation,
    /// Which; at least one.
    pub volumes: Vec<Bounded>,
}

/// What is to be looked at of an instance, if anything is.
#[must_use]
pub fn due_look(record: &InstanceRecord) -> Option<Look> {
    let wanted = record.desired == Desired::Run && record.doubt.is_none() && !record.is_evicted();
    let spec = record.spec.as_ref().filter(|_| wanted)?;
    let mut all = spec.volumes.iter().enumerate();
    let bounded = |(volume, v): (usize, &crate::model::spec::Volume)| match v.source {
        VolumeSource::Empty {
            memory: false,
            size_limit: Some(limit),
        } => Some(Bounded { volume, limit }),
        _ => None,
    };
    let first = all.find_map(bounded)?;
    let runs = |c: &crate::model::fold::ContainerRecord| {
        c.phase == Phase::Running && c.generation == record.generation
    };
    let stands = record.sandbox.as_ref().is_some_and(|s| s.ready) && record.sandbox_is_current();
    if !stands || !record.containers.iter().any(runs) {
        return None;
    }
    Some(Look {
        uid: record.uid.clone(),
        generation: record.generation,
        volumes: std::iter::once(first)
            .chain(all.filter_map(bounded))
            .collect(),
    })
}

/// The line that a look comes to, if it found more than there may be; none if the instance is
/// another by now, or has ended.
#[must_use]
pub fn verdict(record: &InstanceRecord, look: &Look, volume: usize, used: u64) -> Option<Event> {
    let same = record.generation == look.generation;
    let bounded = due_look(record).filter(|_| same)?.volumes;
    let limit = bounded.iter().find(|b| b.volume == volume)?.limit;
    let name = &record.spec.as_ref()?.volumes.get(volume)?.name;
    (used > limit).then(|| Event::Evicted {
        uid: record.uid.clone(),
        generation: record.generation,
        message: format!(
            "emptyDir volume {name:?} takes {used} bytes of the disk, its sizeLimit is {limit}; it \
             isn't started again on this node: send a definition with a larger one, or delete it"
        ),
    })
}

#[cfg(test)]
mod tests;
