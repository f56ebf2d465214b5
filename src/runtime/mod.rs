//! The runtime edge: processes, cgroups, bundles, runc and conmon, behind [`crate::node::Node`].

pub mod bundle;
pub mod layout;
