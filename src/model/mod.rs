//! Pure data: names, workloads, the journal's vocabulary, what was seen. No IO, no clock.

pub mod definition;
pub mod derive;
pub mod fold;
pub mod ids;
pub mod instruction;
pub mod line;
pub mod observed;
pub mod phase;
pub mod spec;
pub mod state;
pub mod users;
