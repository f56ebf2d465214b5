//! How a container's health is told, and what is done at its start and end.

use serde::{Deserialize, Serialize};

use super::is_default;

/// Something small that is done at a container, by riklet: a probe or a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Errand {
    /// Run a command inside; done well if it exits with 0.
    Exec {
        /// The command; no shell.
        command: Vec<String>,
    },
    /// Ask over HTTP; done well if the status is 200 to 399.
    Http(HttpErrand),
    /// Open a TCP connection.
    Tcp {
        /// The port.
        port: u16,
        /// Where, if not the instance's address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    /// Ask the gRPC health service (`grpc.health.v1`); done well if it answers SERVING.
    Grpc {
        /// The port.
        port: u16,
        /// The service asked for; empty for the server as a whole.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        service: String,
    },
    /// Wait.
    Sleep {
        /// So many seconds.
        seconds: u32,
    },
}

/// A question over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpErrand {
    /// The port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// Over TLS, whose certificate isn't verified (Kubernetes' rule)?
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: bool,
    /// Where, if not the instance's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Further headers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// What a probe's verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Has it come up? Until it has, the others wait; if it doesn't, it is restarted.
    Startup,
    /// Does it still work? If not, it is restarted.
    Liveness,
    /// May it be said to be Running?
    Readiness,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];
}

impl std::fmt::Display for ProbeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        })
    }
}

/// One probe. The defaults are Kubernetes'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What is asked.
    pub errand: Errand,
    /// Seconds after the start before the first try; 0.
    pub initial_delay: u32,
    /// Seconds between tries; 10.
    pub period: u32,
    /// Seconds that a try may take; 1.
    pub timeout: u32,
    /// Successes in a row that make it pass after it failed; 1.
    pub successes: u32,
    /// Failures in a row that make it fail; 3.
    pub failures: u32,
    /// Seconds of grace when it ends its container, if not the workload's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<u32>,
}

/// The probes of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// Until it has passed once, the others wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// The container is restarted when it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// The instance is Running only while it passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
}

impl Probes {
    /// The probe of a kind.
    #[must_use]
    pub fn get(&self, kind: ProbeKind) -> Option<&Probe> {
        match kind {
            ProbeKind::Startup => self.startup.as_ref(),
            ProbeKind::Liveness => self.liveness.as_ref(),
            ProbeKind::Readiness => self.readiness.as_ref(),
        }
    }
}

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hook {
    /// Right after the start, beside the container's own process; until it is done the container
    /// isn't Running, and if it fails the container is restarted.
    #[serde(rename = "postStart")]
    PostStart,
    /// Before SIGTERM, within the grace.
    #[serde(rename = "preStop")]
    PreStop,
}

/// What is done after a container's start and before its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// See [`Hook::PostStart`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Errand>,
    /// See [`Hook::PreStop`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Errand>,
}
