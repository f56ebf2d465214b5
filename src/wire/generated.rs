//! What `build.rs` made of `proto/`. Its lints are the generator's.
//!
//! Modules are nested as the packages are, for the generated code refers to its neighbours by
//! `super::`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the generator's code, not ours"
)]

/// Package `common` of RIK v1.
pub mod common {
    tonic::include_proto!("common");
}

/// Package `worker` of RIK v1.
pub mod worker {
    tonic::include_proto!("worker");
}
