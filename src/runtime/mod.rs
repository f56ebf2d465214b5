//! The runtime edge: processes, cgroups, and the programs that make containers.
//!
//! Owns: spawning ([`process`] is the only place that does), reaping ([`reaper`]), and the
//! cgroup tree ([`cgroup`]). In: typed calls. Out: typed results. Must never happen here: a
//! decision about what should run.

pub mod cgroup;
pub mod process;
pub mod reaper;
