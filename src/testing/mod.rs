//! Simulations for tests: a node whose containers are values and whose faults are scripted.
//!
//! Must never happen here: anything that the real main path uses.

pub mod builders;
pub mod contract;
pub mod fake_node;
pub mod lines;
pub mod memory_book;
pub mod real_world;
pub mod scheduler;
pub mod sim;
