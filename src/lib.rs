//! riklet, the node agent of a RIK cluster.

pub mod book;
pub mod intake;
pub mod model;
pub mod node;
pub mod plan;
pub mod reconciler;
pub mod reporter;
pub mod runtime;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;
