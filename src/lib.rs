//! riklet, the node agent of a RIK cluster.

pub mod clock;
pub mod journal;
pub mod ledger;
pub mod model;
pub mod node;
pub mod store;
