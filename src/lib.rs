//! riklet, the node agent of a RIK cluster.

pub mod model;
pub mod node;
pub mod reporter;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;
