//! How long to wait before trying again (design section 6).
//!
//! Pure and without jitter: the level is folded from the journal, so a delay survives the daemon.

use crate::model::{
    fold::{ContainerRecord, InstanceRecord},
    ids::Position,
    line::{Exit, Moment},
    spec::{RestartPolicy, Role},
    state::Reason,
};

/// The first delay, in ms.
const BASE_MS: u64 = 10_000;

/// The longest delay, in ms.
pub const CAP_MS: u64 = 300_000;

/// After so long a clean run the next restart is at once again, in ms.
const RESET_MS: u64 = 600_000;

/// The delay at a level, in ms: none at 0, then 10 s x2 up to 300 s.
#[must_use]
pub fn delay(level: u32) -> u64 {
    match level {
        0 => 0,
        // 10 s doubled five times is over the cap; a larger shift would overflow.
        1..=5 => (BASE_MS << (level - 1)).min(CAP_MS),
        _ => CAP_MS,
    }
}

/// The delay after `failures` tries of a pull or a start failed in a row, in ms: 10 s x2 up to
/// 300 s.
#[must_use]
pub fn after_failures(failures: u32) -> u64 {
    delay(failures.max(1))
}

/// When the next attempt may start after an exit of the container at `n`, and the backoff's level
/// then.
#[must_use]
pub fn after_exit(
    record: &InstanceRecord,
    n: Position,
    exit: &Exit,
    now: &Moment,
) -> (Option<u64>, u32) {
    let blank = ContainerRecord::default();
    let container = record.container(n).unwrap_or(&blank);
    let unwell = exit.reason.is_some_and(|r| r.is_unwell());
    let succeeded = exit.code == Some(0) && !unwell;
    let outdated = container.generation < record.generation;
    if record.is_evicted() && !outdated {
        return (None, 0);
    }
    if !outdated && record.role(n) == Role::Sidecar && record.work_over() {
        return (None, 0);
    }
    let again = match (exit.reason, record.policy_at(n)) {
        // riklet ended it, and not because it was to end.
        (Some(Reason::Replacing | Reason::NodeDrained | Reason::SandboxError), _) => {
            return (Some(now.up), 0);
        }
        (_, RestartPolicy::Always) => true,
        // Its code says how the shutdown ended it, not that its work is done.
        (Some(Reason::NodeRebooted), RestartPolicy::OnFailure) => true,
        (_, RestartPolicy::OnFailure) => !succeeded,
        (_, RestartPolicy::Never) => false,
    };
    if !again {
        return (None, 0);
    }
    if matches!(
        exit.reason,
        Some(Reason::NodeRebooted | Reason::RuntimeStateLost)
    ) {
        return (Some(now.up), 0);
    }
    // Another boot's clock says nothing of how long it ran.
    let started = container.started.filter(|_| container.boot == now.boot);
    let ran = started.map_or(0, |(_, up)| now.up.saturating_sub(up));
    let level = if ran >= RESET_MS {
        0
    } else {
        container.backoff
    };
    let next_up = now.up.saturating_add(delay(level));
    (Some(next_up), level.saturating_add(1))
}
