//! The network edge: namespaces, and what is plugged into them.
//!
//! Owns: network namespaces named `rk-<uid>` ([`netns`]), a sandbox's other namespaces ([`pins`]),
//! CNI's exec protocol ([`cni`]), the network that riklet makes up itself where nobody gives one
//! ([`own`]) and its bridge ([`links`]), what of it may be left in the firewall ([`firewall`]), which
//! of these a sandbox joins and how it leaves ([`plug`]), and what is lacking for that ([`lack`]).
//! In: names built of uids, configuration lists. Out: paths that the runtime joins, addresses. Must
//! never happen here: touching a namespace without our prefix, the host's, or a rule that doesn't
//! name our network and a uid.

pub mod cni;
pub mod firewall;
pub mod lack;
pub mod links;
pub mod netns;
pub mod own;
pub mod pins;
pub mod plug;
