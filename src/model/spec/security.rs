//! What a workload's processes may do.

use serde::{Deserialize, Serialize};

use super::is_default;

/// Which system calls are let through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The distribution's profile.
    #[default]
    RuntimeDefault,
    /// All.
    Unconfined,
    /// A profile of the node, below its directory of profiles.
    Localhost(String),
}

/// What a container may do: its own `securityContext` over its Pod's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSecurity {
    /// Its user id, if not the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<u32>,
    /// Its group id, if not the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<u32>,
    /// Refuse to run it as user 0.
    #[serde(default, skip_serializing_if = "is_default")]
    pub run_as_non_root: bool,
    /// Its rootfs can't be written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only_root: bool,
    /// Everything the node's root may do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// May a process gain privileges that its parent hasn't? None: Kubernetes' default of true
    /// is not riklet's (design section 8); false unless privileged or CAP_SYS_ADMIN is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// Capabilities on top of the default ones: `NET_ADMIN`, or `ALL`; sorted, without `CAP_`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<String>,
    /// Capabilities taken away, then those to add are added: `NET_RAW`, or `ALL`; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// Which system calls are let through.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seccomp: Seccomp,
    /// `procMount: Unmasked`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unmasked_proc: bool,
}

/// What holds for all containers of a workload and isn't a container's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSecurity {
    /// A group of every process, which owns what volumes hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<u32>,
    /// `fsGroupChangePolicy: OnRootMismatch`: only if the volume's root isn't of the group.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fs_group_on_mismatch: bool,
    /// Further groups of every process.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supplemental_groups: Vec<u32>,
    /// Kernel parameters of its namespaces: name, value; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sysctls: Vec<(String, String)>,
}
