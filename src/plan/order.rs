//! Which container follows which: at the start and at the end of an instance.
//!
//! Init containers run one after another, each to its end, sidecars among them come up; then the
//! main ones start. At the end the main ones (and an init container) go first, then the sidecars
//! from the last to the first. All this is asked anew each time: nothing of it is remembered but
//! what containers did, and in which sandbox.

use super::container::Turn;
use crate::model::{
    fold::ContainerRecord, ids::Position, observed::Status, phase::Phase, spec::Role,
};

impl Turn<'_> {
    /// Does the sandbox that containers are to share stand, as it was written down?
    pub(super) fn sandbox_stands(&self) -> bool {
        let ready = self.record.sandbox.as_ref().is_none_or(|s| s.ready);
        self.observed.sandbox && ready && self.record.sandbox_is_current()
    }

    /// Has everything passed in this sandbox that has to before the main containers? Once one of
    /// them was begun in it, it has.
    fn initialised(&self) -> bool {
        let record = self.record;
        let mut inits = record
            .positions()
            .filter(|n| record.role(*n) != Role::Main)
            .peekable();
        if inits.peek().is_none() {
            return true;
        }
        self.sandbox_stands()
            && (record.having(Role::Main).any(|n| record.in_this_sandbox(n))
                || inits.all(|n| self.passed(n)))
    }

    /// Need those after the container at `n` wait for it no longer, in this sandbox?
    fn passed(&self, n: Position) -> bool {
        let record = self.record;
        self.sandbox_stands()
            && record.in_this_sandbox(n)
            && match record.role(n) {
                Role::Sidecar => record.has_come_up(n),
                Role::Init | Role::Main => record.container_completed(n),
            }
    }

    /// Is it the container's turn, as far as the others go?
    pub(super) fn may_start(&self, n: Position) -> bool {
        let record = self.record;
        let before = || {
            let mut inits = record
                .positions()
                .filter(|other| *other < n && record.role(*other) != Role::Main);
            inits.all(|other| self.passed(other))
        };
        match record.role(n) {
            Role::Main => self.initialised(),
            Role::Sidecar => !record.work_over() && (self.initialised() || before()),
            Role::Init => !record.work_over() && self.awaited() && !self.initialised() && before(),
        }
    }

    /// Does something have to start for which init containers have to have run?
    fn awaited(&self) -> bool {
        let record = self.record;
        let mut others = record
            .positions()
            .filter(|n| record.role(*n) != Role::Init && !record.is_over(*n));
        others.any(|n| {
            let current = record
                .container(n)
                .filter(|c| c.generation == record.generation);
            !current.is_some_and(|c| self.lives(n, c))
        })
    }

    /// Has the completed init container to run once more, for its sandbox was made anew?
    pub(super) fn runs_anew(&self, n: Position) -> bool {
        self.record.role(n) == Role::Init
            && self.record.container_completed(n)
            && !(self.sandbox_stands() && self.record.in_this_sandbox(n))
    }

    /// May the container at `n` be ended now: are all those gone that end before it?
    pub(super) fn may_stop(&self, n: Position, container: &ContainerRecord) -> bool {
        container.role != Role::Sidecar
            || !self.record.attempted().any(|(other, c)| {
                let earlier = c.role != Role::Sidecar || other > n;
                other != n && earlier && self.lives(other, c)
            })
    }

    /// Does the current attempt at `n` live, or may it?
    pub(super) fn lives(&self, n: Position, container: &ContainerRecord) -> bool {
        let seen = self.record.current(n).map(|id| self.seen(&id).clone());
        let nothing = seen.is_none_or(|seen| !seen.leftovers && seen.exit.is_none());
        container.phase.may_live() && !(container.phase == Phase::Intended && nothing)
    }

    /// Does anything live in the sandbox that there was?
    pub(super) fn anything_lives(&self) -> bool {
        let mut all = self.observed.containers.values();
        all.any(|c| !matches!(c.status, Status::Absent | Status::Stopped))
    }
}
