//! riklet, the node agent of a RIK cluster.

pub mod agent;
pub mod api;
pub mod book;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error_chain;
pub mod image;
pub mod intake;
pub mod journal;
pub mod ledger;
pub mod metrics;
pub mod model;
pub mod network;
pub mod node;
pub mod plan;
pub mod reconciler;
pub mod reporter;
pub mod runtime;
pub mod session;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod view;
pub mod wire;
