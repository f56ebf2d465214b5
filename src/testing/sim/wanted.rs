//! What the clients of a simulation were told.

use std::sync::PoisonError;

use super::{Sim, Told};

/// What is wanted of local instances, as their clients know it.
pub(super) fn wanted(sim: &Sim) -> Vec<(String, Told)> {
    let told = sim.told.lock().unwrap_or_else(PoisonError::into_inner);
    let local = told.iter().filter(|(name, _)| *name != "cordon");
    local
        .map(|(name, told)| (name.clone(), told.clone()))
        .collect()
}

/// Is the node drained, as far as whoever asked last was told? None: nobody knows.
pub(super) fn drained(sim: &Sim) -> Option<bool> {
    let told = sim.told.lock().unwrap_or_else(PoisonError::into_inner);
    match told.get("cordon") {
        Some(told) => told.accepted.then_some(told.wanted.is_some()),
        None => Some(false),
    }
}
