//! What each source may ask for: `[security.scheduler]`, `[security.manifest]`, `[security.cli]`.

use serde::{Deserialize, Serialize};

use crate::model::ids::Source;

/// What may be asked for, by who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Security {
    /// The scheduler: somebody else's word about this node. By default what Kubernetes' Pod
    /// Security Standard "Baseline" lets through, and the host network.
    pub scheduler: Allowed,
    /// Manifests: their directory is root's. By default everything.
    pub manifest: Allowed,
    /// The command line: its socket is root's. By default everything.
    pub cli: Allowed,
}

/// What one source may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allowed {
    /// `securityContext.privileged`: everything that the node's root may do.
    pub privileged: bool,
    /// `hostNetwork`.
    pub host_network: bool,
    /// `hostPID`.
    pub host_pid: bool,
    /// `hostIPC`.
    pub host_ipc: bool,
    /// `hostPath` volumes: these paths and what lies below them. Never riklet's own directories.
    pub host_paths: Vec<String>,
    /// `capabilities.add`: these, without `CAP_`; `ALL` for every one.
    pub capabilities: Vec<String>,
    /// `sysctls` beyond those that concern nobody else: names, or beginnings with `*`.
    pub sysctls: Vec<String>,
    /// `seccompProfile.type: Unconfined`.
    pub unconfined_seccomp: bool,
    /// `procMount: Unmasked`.
    pub unmasked_proc: bool,
    /// `allowPrivilegeEscalation: true`.
    pub privilege_escalation: bool,
}

/// What "Baseline" lets be added.
const BASELINE: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

impl Allowed {
    /// Everything that can be asked for.
    #[must_use]
    pub fn everything() -> Self {
        Self {
            privileged: true,
            host_network: true,
            host_pid: true,
            host_ipc: true,
            host_paths: vec!["/".to_owned()],
            capabilities: vec!["ALL".to_owned()],
            sysctls: vec!["*".to_owned()],
            unconfined_seccomp: true,
            unmasked_proc: true,
            privilege_escalation: true,
        }
    }
}

impl Default for Allowed {
    /// The scheduler's.
    fn default() -> Self {
        Self {
            privileged: false,
            host_network: true,
            host_pid: false,
            host_ipc: false,
            host_paths: Vec::new(),
            capabilities: BASELINE.iter().map(|name| (*name).to_owned()).collect(),
            sysctls: Vec::new(),
            unconfined_seccomp: false,
            unmasked_proc: false,
            privilege_escalation: true,
        }
    }
}

impl Default for Security {
    fn default() -> Self {
        Self {
            scheduler: Allowed::default(),
            manifest: Allowed::everything(),
            cli: Allowed::everything(),
        }
    }
}

impl Security {
    /// What the source may ask for.
    #[must_use]
    pub fn of(&self, source: Source) -> &Allowed {
        match source {
            Source::Scheduler => &self.scheduler,
            Source::Manifest => &self.manifest,
            Source::Cli | Source::Operator => &self.cli,
        }
    }
}
