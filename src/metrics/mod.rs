//! What the node and its containers use, and whether a change of that is worth telling.
//!
//! Owns: sampling ([`node`], [`instance`]) and the thresholds ([`diff`], pure). In: cgroups, `/proc`.
//! Out: samples that serialise to the shapes the scheduler is sent. Must never happen here:
//! sending, pacing, or forking a program to measure something.

pub mod diff;
pub mod instance;
pub mod node;

pub use instance::{InstanceSample, InstanceSampler};
pub use node::{NodeSample, NodeSampler, capacity};
