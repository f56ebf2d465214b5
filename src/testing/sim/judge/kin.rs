//! What an attempt is of, and what those of one instance share; worked out from definitions.

use std::collections::BTreeMap;

use crate::{
    model::{
        fold::InstanceRecord,
        ids::{ContainerId, Generation, Uid},
        line::{Event, Line},
        observed::Status,
        spec::{ContainerSpec, Hook, RestartPolicy, Role},
        users::IdRange,
    },
    testing::fake_node::World,
};

/// What an attempt is of, by the definition that it was intended by.
#[derive(Debug, Clone)]
pub(super) struct Kin {
    pub(super) generation: Generation,
    pub(super) role: Role,
    /// The policy that it starts again by.
    pub(super) policy: RestartPolicy,
    /// The sandbox that it was intended for.
    pub(super) sandbox: u32,
    pub(super) pre_stop: bool,
    /// The positions of the init containers that run to their end before it.
    pub(super) after: Vec<u16>,
}

/// What is not to be done twice: a main container's work; an init container's, in one sandbox.
pub(super) type Work = (Uid, u16, Generation, u32);

impl Kin {
    pub(super) fn work(&self, id: &ContainerId, n: u16) -> Work {
        let sandbox = match n == id.n && self.role == Role::Main {
            true => 0,
            false => self.sandbox,
        };
        (id.uid.clone(), n, self.generation, sandbox)
    }
}

/// The kin of the container that is intended at `n` now.
pub(super) fn kin(record: &InstanceRecord, n: u16) -> Option<Kin> {
    let spec = record.spec.as_ref()?;
    let container = spec.containers.get(usize::from(n))?;
    let policy = match (container.role, spec.restart_policy) {
        (Role::Main, policy) => policy,
        (Role::Sidecar, _) => RestartPolicy::Always,
        (Role::Init, RestartPolicy::Never) => RestartPolicy::Never,
        (Role::Init, _) => RestartPolicy::OnFailure,
    };
    let before = |(at, c): &(u16, &ContainerSpec)| {
        c.role == Role::Init && (container.role == Role::Main || *at < n)
    };
    let inits = (0..).zip(&spec.containers).filter(before);
    Some(Kin {
        generation: record.generation,
        role: container.role,
        policy,
        sandbox: record.sandbox.as_ref().map_or(0, |s| s.number),
        pre_stop: container.hooks.pre_stop.is_some(),
        after: inits.map(|(at, _)| at).collect(),
    })
}

/// What containers may share, and what nobody may.
pub(super) fn shared(world: &World) -> Vec<String> {
    let mut faults = Vec::new();
    let mut sandboxes: BTreeMap<&Uid, u32> = BTreeMap::new();
    for (id, c) in &world.containers {
        let alive = !matches!(c.status, Status::Absent | Status::Stopped);
        if alive && *sandboxes.entry(&id.uid).or_insert(c.sandbox) != c.sandbox {
            faults.push(format!("containers of two sandboxes of {} live", id.uid));
        }
    }
    let made = world.made_of.iter();
    let users: Vec<_> = made
        .filter_map(|(uid, made)| Some((uid, made.users?)))
        .collect();
    for (at, (uid, ids)) in users.iter().enumerate() {
        let meets = |other: &&(&Uid, IdRange)| other.1.span().meets(ids.span());
        if let Some((other, _)) = users[..at].iter().find(meets) {
            faults.push(format!("{uid} and {other} hold the ids {ids}"));
        }
    }
    let mut ports: BTreeMap<u16, &Uid> = BTreeMap::new();
    for (uid, joined) in &world.joined {
        for port in &joined.claim.ports {
            if let Some(other) = ports.insert(port.host, uid) {
                faults.push(format!("{uid} and {other} hold port {}", port.host));
            }
        }
    }
    faults
}

/// Is it written that the hook before the end of this attempt has run?
pub(super) fn hook_done(lines: &[Line], id: &ContainerId) -> bool {
    lines.iter().any(|line| {
        let of = match &line.event {
            Event::HookDone {
                container,
                hook: Hook::PreStop,
                ..
            } => Some(container),
            _ => None,
        };
        of == Some(id)
    })
}
