//! What a definition describes, in riklet's own terms.
//!
//! Owns: the internal model of a workload. In: [`definition`](super::definition) makes it. Out:
//! the planner, the bundle and the network read it. Two definitions are the same workload if
//! and only if their models are equal; a re-serialised text restarts nothing.

use serde::{Deserialize, Serialize};

/// When a container that has exited starts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Whatever it exited with.
    #[default]
    Always,
    /// Unless it exited with 0.
    OnFailure,
    /// Never.
    Never,
}

/// One copy of a workload: containers that share a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// The workload's name, from the definition.
    pub name: String,
    /// At least one; a container's position here is the `n` of its ids.
    pub containers: Vec<ContainerSpec>,
    /// When containers start again.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// Seconds between SIGTERM and SIGKILL; Kubernetes' default is 30.
    pub grace_seconds: u32,
    /// Share the node's network instead of an own namespace.
    #[serde(default)]
    pub host_network: bool,
    /// Hostname inside, if the definition names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// One container of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its name, unique within the workload.
    pub name: String,
    /// The image as the definition names it.
    pub image: String,
    /// Replaces the image's entrypoint if not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments if not empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Replaces the image's working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Variables on top of the image's, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Ports the definition asks for; without CNI they are a warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value; may be a secret, so no log line and no view shows it without being asked.
    #[serde(default)]
    pub value: String,
}

/// One port of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port on the node; 0 for none.
    pub host: u16,
    /// The port inside.
    pub container: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}
