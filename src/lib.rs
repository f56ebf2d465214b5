//! riklet, the node agent of a RIK cluster.

pub mod image;
pub mod metrics;
pub mod model;
pub mod network;
pub mod node;
pub mod runtime;
