//! The network edge: namespaces, and what is plugged into them.
//!
//! Owns: network namespaces named `rk-<uid>` ([`netns`]), a sandbox's other namespaces ([`pins`]).
//! In: names built of uids. Out: paths that the runtime joins. Must never happen here: touching a
//! namespace without our prefix, or the host's.

pub mod netns;
pub mod pins;
