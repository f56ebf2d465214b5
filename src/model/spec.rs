//! What a definition describes, in riklet's own terms.
//!
//! Owns: the internal model of a workload. In: [`definition`](super::definition) makes it. Out:
//! the planner, the bundle and the network read it. Two definitions are the same workload if
//! and only if their models are equal; a re-serialised text restarts nothing. Every field has a
//! default that is left out when written, so that a journal of an older riklet reads as what it
//! meant then.

mod container;
mod lifecycle;
mod network;
mod resources;
mod security;
mod volume;

use serde::{Deserialize, Serialize};

pub use self::{
    container::{ContainerSpec, EnvSource, EnvVar, MessagePolicy, Port, PullPolicy, Role},
    lifecycle::{Errand, Hook, Hooks, HttpErrand, Probe, ProbeKind, Probes},
    network::{Dns, HostAlias},
    resources::{Amounts, Resource, Resources},
    security::{ContainerSecurity, PodSecurity, Seccomp},
    volume::{FileText, HostPathKind, InlineFile, Volume, VolumeMount, VolumeSource},
};

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

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
    /// The main containers in the definition's order, at least one, then the init containers in
    /// theirs; a container's position here is the `n` of its ids.
    pub containers: Vec<ContainerSpec>,
    /// When main containers start again.
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
    /// What containers may mount, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Name resolution inside.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dns: Dns,
    /// Further lines of /etc/hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_aliases: Vec<HostAlias>,
    /// May its users be the node's? False: an own user namespace.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub host_users: bool,
    /// Share the node's process namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub host_pid: bool,
    /// Share the node's IPC namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub host_ipc: bool,
    /// What holds for all its containers.
    #[serde(default, skip_serializing_if = "is_default")]
    pub security: PodSecurity,
}

impl Default for WorkloadSpec {
    /// A workload without a name and without containers, by Kubernetes' defaults.
    fn default() -> Self {
        Self {
            name: String::new(),
            containers: Vec::new(),
            restart_policy: RestartPolicy::Always,
            grace_seconds: super::definition::DEFAULT_GRACE_SECONDS,
            host_network: false,
            hostname: None,
            volumes: Vec::new(),
            dns: Dns::default(),
            host_aliases: Vec::new(),
            host_users: true,
            host_pid: false,
            host_ipc: false,
            security: PodSecurity::default(),
        }
    }
}

impl WorkloadSpec {
    /// The main containers, with their positions.
    pub fn main(&self) -> impl Iterator<Item = (usize, &ContainerSpec)> {
        let all = self.containers.iter().enumerate();
        all.filter(|(_, c)| c.role == Role::Main)
    }

    /// The init containers, sidecars among them, in the order in which they start.
    pub fn init(&self) -> impl Iterator<Item = (usize, &ContainerSpec)> {
        let all = self.containers.iter().enumerate();
        all.filter(|(_, c)| c.role != Role::Main)
    }

    /// Every host port that it asks for, with its container's position.
    pub fn host_ports(&self) -> impl Iterator<Item = (usize, &Port)> {
        let ports = self.containers.iter().enumerate();
        let ports = ports.flat_map(|(n, c)| c.ports.iter().map(move |p| (n, p)));
        ports.filter(|(_, p)| p.host != 0)
    }
}
