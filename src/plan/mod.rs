//! The planner: what is wanted and what is there in, what to do out.
//!
//! Owns: every decision about running, stopping and removing (design section 6). In: a record
//! (the fold's), an observation (the node's), the [`Circumstances`] and the moment. Out: an
//! [`InstancePlan`], a value that can be compared and printed. Must never happen here: IO, a
//! clock, a log line, or an action of which the record and the observation don't show that it is
//! due. Applying a plan leads to an empty next plan, or to one that waits.

pub mod action;
pub mod backoff;
mod container;
pub mod errands;
pub mod eviction;
mod order;
mod planner;
pub mod ports;
mod sandbox;
mod start;
mod stop;
pub mod users;

pub use self::{
    action::{Action, InstancePlan, Planned},
    planner::{Circumstances, plan_disowned, plan_instance, plan_unknown},
};

#[cfg(test)]
mod tests;
