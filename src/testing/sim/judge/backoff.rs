//! How long whoever ended waits for the next start.

use super::{ends, last_of};
use crate::{
    model::{
        ids::ContainerId,
        line::{Event, Exit, Line},
        state::Reason,
    },
    testing::sim::ground::State,
};

/// Delays by level, in seconds, as design section 6 has them.
const DELAYS: [u64; 7] = [0, 10, 20, 40, 80, 160, 300];

fn delay(level: u32) -> u64 {
    let at = usize::try_from(level)
        .unwrap_or(usize::MAX)
        .min(DELAYS.len() - 1);
    DELAYS[at] * 1_000
}

/// Is the backoff what it has to be after the ends before?
pub(super) fn backed_off(
    sim: &State,
    line: &Line,
    id: &ContainerId,
    exit: &Exit,
    (next_up, backoff): (Option<u64>, u32),
) -> Option<String> {
    let next = next_up?;
    let anew = [
        Reason::Replacing,
        Reason::NodeDrained,
        Reason::NodeRebooted,
        Reason::RuntimeStateLost,
        Reason::SandboxError,
    ];
    if exit.reason.is_some_and(|r| anew.contains(&r)) {
        return None;
    }
    let generation = sim.judge.of.get(id)?.generation;
    let level = ends(sim, id, generation)
        .iter()
        .fold(0, |level, l| match &l.event {
            Event::Exited { backoff, .. } => *backoff,
            _ => level + 1,
        });
    let started = last_of(sim, id, &["started"]).map(|l| &l.moment);
    let ran = started.filter(|m| m.boot == line.moment.boot);
    let clean = ran.is_some_and(|m| line.moment.up - m.up >= 600_000);
    let level = if clean { 0 } else { level };
    let waits = next.saturating_sub(line.moment.up);
    (waits != delay(level) || backoff != level + 1).then(|| {
        format!("{id} waits {waits} ms at level {backoff}, by its former ends {level} holds")
    })
}
