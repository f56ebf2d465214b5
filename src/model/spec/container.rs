//! One container of a workload.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ContainerSecurity, Hooks, Probes, Resource, Resources, VolumeMount, is_default};

/// What a container is there for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The workload itself.
    #[default]
    Main,
    /// Runs to its end before the next container starts.
    Init,
    /// An init container with `restartPolicy: Always`: starts in their order, runs beside the
    /// main ones, and ends after them.
    Sidecar,
}

/// When a registry is asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PullPolicy {
    /// For each incarnation and generation; its restarts run what was had then.
    Always,
    /// Where this node has no image of this name.
    IfNotPresent,
    /// Never: the image has to be there.
    Never,
}

/// Where a termination message comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MessagePolicy {
    /// The file at `termination_message_path`.
    #[default]
    File,
    /// That file; if it is empty and the container failed, the end of its log.
    FallbackToLogsOnError,
}

/// One container of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its name, unique within the workload.
    pub name: String,
    /// The image as the definition names it.
    pub image: String,
    /// What it is there for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub role: Role,
    /// When the registry is asked for the image, if the definition says; see
    /// [`ContainerSpec::pull_policy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
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
    /// A terminal of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tty: bool,
    /// An open standard input.
    #[serde(default, skip_serializing_if = "is_default")]
    pub stdin: bool,
    /// What it may use, and what is kept for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// What it sees of the workload's volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<VolumeMount>,
    /// How its health is told.
    #[serde(default, skip_serializing_if = "is_default")]
    pub probes: Probes,
    /// What is done after its start and before its end.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hooks: Hooks,
    /// What it may do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub security: ContainerSecurity,
    /// The file inside that holds its last words, if not `/dev/termination-log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_message_path: Option<String>,
    /// Where its last words come from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub termination_message_policy: MessagePolicy,
}

impl ContainerSpec {
    /// When the registry is asked for the image: as the definition says, else always for the tag
    /// `latest` (also where no tag is given), else where the image isn't there (Kubernetes' rule).
    #[must_use]
    pub fn pull_policy(&self) -> PullPolicy {
        let latest = || {
            let name = self.image.rsplit('/').next().unwrap_or_default();
            !is_local_transport(&self.image)
                && !name.contains('@')
                && (!name.contains(':') || name.ends_with(":latest"))
        };
        self.image_pull_policy.unwrap_or_else(|| match latest() {
            true => PullPolicy::Always,
            false => PullPolicy::IfNotPresent,
        })
    }
}

/// Does the reference name a file or directory of this node rather than a registry?
fn is_local_transport(image: &str) -> bool {
    ["oci:", "oci-archive:", "docker-archive:", "dir:"]
        .iter()
        .any(|transport| image.starts_with(transport))
}

/// One environment variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value; may be a secret, so no log line and no view shows it without being asked.
    #[serde(default)]
    pub value: String,
    /// Where its value comes from instead, known only when the container is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<EnvSource>,
    /// Is `$(NAME)` in the value just text (Kubernetes: what comes from `envFrom` and from keys)?
    #[serde(default, skip_serializing_if = "is_default")]
    pub literal: bool,
}

/// A value that is known only when a container is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvSource {
    /// `metadata.name`: the instance's id without its source's mark.
    Name,
    /// `metadata.uid`: the incarnation.
    Uid,
    /// `spec.nodeName`.
    NodeName,
    /// `status.hostIP`.
    HostIp,
    /// `status.podIP`, `status.podIPs`.
    PodIp,
    /// A container's limit or request, divided and rounded up; the node's own amount where the
    /// container has no limit (Kubernetes' rule).
    Resource {
        /// The container's position in [`WorkloadSpec::containers`](super::WorkloadSpec).
        container: u16,
        /// Which amount.
        resource: Resource,
        /// The limit, or the request?
        limit: bool,
        /// In millicores or bytes; the value is the amount divided by it, rounded up.
        divisor: u64,
    },
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
    /// What probes may call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The node's address that it is reached at, if not every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}
