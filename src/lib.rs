//! riklet, the node agent of a RIK cluster.

pub mod api;
pub mod clock;
pub mod config;
pub mod error_chain;
pub mod model;
pub mod node;
pub mod plan;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod view;
pub mod wire;
