//! riklet, the node agent of a RIK cluster.

pub mod model;
pub mod network;
pub mod node;
pub mod runtime;
