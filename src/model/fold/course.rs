//! How far an instance has come: what has completed, what is over, what follows what.
//!
//! Owns: what each [`Role`] means for completion. Main containers end by the workload's restart
//! policy; an init container runs until it ended with 0 (with Never: once); a sidecar is always
//! started again, until the main ones are over. Must never happen here: an observation.

use super::record::{ContainerRecord, InstanceRecord};
use crate::model::{
    ids::Position,
    phase::Phase,
    spec::{RestartPolicy, Role},
};

impl InstanceRecord {
    /// What the container at `n` is there for, by the current definition.
    #[must_use]
    pub fn role(&self, n: Position) -> Role {
        self.container_spec(n).map(|c| c.role).unwrap_or_default()
    }

    /// The policy that the container at `n` starts again by.
    #[must_use]
    pub fn policy_at(&self, n: Position) -> RestartPolicy {
        match (self.role(n), self.restart_policy()) {
            (Role::Main, policy) => policy,
            (Role::Init, RestartPolicy::Never) => RestartPolicy::Never,
            (Role::Init, _) => RestartPolicy::OnFailure,
            (Role::Sidecar, _) => RestartPolicy::Always,
        }
    }

    /// The positions of the current definition with this role.
    pub fn having(&self, role: Role) -> impl Iterator<Item = Position> {
        self.positions().filter(move |n| self.role(*n) == role)
    }

    /// Has the container at `n` ended, and is not to start again (but for an init container that
    /// a new sandbox needs)?
    #[must_use]
    pub fn is_over(&self, n: Position) -> bool {
        self.container(n).is_some_and(|c| {
            c.generation == self.generation
                && matches!(c.phase, Phase::Exited | Phase::Done)
                && c.next_up.is_none()
        })
    }

    /// Has every main container completed, and no sidecar lives any more? What was evicted hasn't,
    /// however it ended.
    #[must_use]
    pub fn completed(&self) -> bool {
        let lives = |n| self.is_current(n) && self.may_live(n);
        !self.is_evicted() && self.work_completed() && !self.having(Role::Sidecar).any(lives)
    }

    /// Has every main container completed?
    #[must_use]
    pub fn work_completed(&self) -> bool {
        self.spec.is_some() && self.having(Role::Main).all(|n| self.container_completed(n))
    }

    /// Is no main container to run any more: they are over, or an init container failed for good?
    #[must_use]
    pub fn work_over(&self) -> bool {
        // One that is only intended runs when the init containers have.
        let runs = |n| {
            let c = self.container(n);
            c.is_some_and(|c| matches!(c.phase, Phase::Created | Phase::Running))
        };
        let stuck = |n| self.is_over(n) && !self.container_completed(n);
        self.spec.is_some()
            && (self.having(Role::Main).all(|n| self.is_over(n))
                || (self.having(Role::Init).any(stuck) && !self.having(Role::Main).any(runs)))
    }

    /// Does nothing of it start again, however it ended? What it takes of the node is given back
    /// once nothing of it lives; what is known of it, and its logs, stay.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.is_evicted() || self.work_over()
    }

    fn is_current(&self, n: Position) -> bool {
        self.container(n)
            .is_some_and(|c| c.generation == self.generation)
    }

    fn may_live(&self, n: Position) -> bool {
        self.container(n).is_some_and(|c| c.phase.may_live())
    }

    /// Has the container at `n` ended for good with success?
    #[must_use]
    pub fn container_completed(&self, n: Position) -> bool {
        self.is_over(n)
            && self.policy_at(n) != RestartPolicy::Always
            && self.container(n).is_some_and(ended_well)
    }

    /// How often its sandbox was begun; an attempt belongs to the sandbox of its number.
    #[must_use]
    pub fn sandbox_number(&self) -> u32 {
        self.sandbox.as_ref().map_or(0, |s| s.number)
    }

    /// Was the current attempt at `n` made in the current sandbox?
    #[must_use]
    pub fn in_this_sandbox(&self, n: Position) -> bool {
        self.container(n).is_some_and(|c| {
            c.attempt > 0 && c.generation == self.generation && c.sandbox == self.sandbox_number()
        })
    }

    /// Was the sandbox made for the current definition? One of a riklet that wrote nothing down
    /// of sandboxes is that of its containers.
    #[must_use]
    pub fn sandbox_is_current(&self) -> bool {
        match &self.sandbox {
            Some(sandbox) => sandbox.generation == self.generation,
            None => {
                let attempted = || self.attempted().filter(|(_, c)| c.attempt > 0);
                attempted().next().is_none()
                    || attempted().any(|(_, c)| c.generation == self.generation)
            }
        }
    }
}

/// Did it end with 0, and not because riklet found it unwell?
fn ended_well(c: &ContainerRecord) -> bool {
    c.last_exit
        .as_ref()
        .is_some_and(|e| e.exit.code == Some(0) && !e.exit.reason.is_some_and(|r| r.is_unwell()))
}
