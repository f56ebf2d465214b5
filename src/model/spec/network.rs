//! What a workload knows of the network.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::is_default;

/// Name resolution inside: what its resolv.conf says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Nothing of the node's resolv.conf (Kubernetes' `dnsPolicy: None`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub own_only: bool,
    /// Further servers, after the node's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Further search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<String>,
    /// Further options: name, value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<(String, Option<String>)>,
}

/// Names of an address in /etc/hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAlias {
    /// The address.
    pub ip: IpAddr,
    /// Its names.
    pub names: Vec<String>,
}
