//! riklet, the node agent of a RIK cluster.

pub mod image;
pub mod model;
pub mod node;
pub mod runtime;
