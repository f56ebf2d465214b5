//! The runtime edge: processes, cgroups, and the programs that make containers.
//!
//! Owns: spawning ([`process`] is the only place that does), reaping ([`reaper`]), the cgroup
//! tree ([`cgroup`]), what a container is made of ([`bundle`]), and the two programs that make
//! one ([`runc`], [`conmon`]); `RealNode` puts them behind
//! [`Node`](crate::node::Node). In: typed calls. Out: typed results. Must never happen here: a
//! decision about what should run.

pub mod bundle;
pub mod cgroup;
pub mod conmon;
pub mod exec;
pub mod facts;
pub mod idmap;
pub mod layout;
pub mod process;
pub mod real_node;
pub mod reaper;
pub mod runc;
pub mod runc_state;
mod strays;
pub mod tree;
pub mod users;
pub mod volumes;
