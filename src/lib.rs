//! riklet, the node agent of a RIK cluster.

pub mod config;
pub mod model;
pub mod node;
pub mod plan;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;
