//! riklet, the node agent of a RIK cluster.

pub mod book;
pub mod intake;
pub mod model;
pub mod node;
pub mod plan;
pub mod reconciler;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;
pub mod runtime;
