//! The settings that come in tables of their own, with their defaults.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::text;

/// The programs that are run: names that are looked up in PATH, or paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Programs {
    /// The OCI runtime: runc, or crun or youki.
    pub runc: PathBuf,
    /// The monitor.
    pub conmon: PathBuf,
    /// Fetches images.
    pub skopeo: PathBuf,
    /// Unpacks them.
    pub umoci: PathBuf,
}

/// How long a program may take before it is killed with everything it has started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deadlines {
    /// One call of the runtime or the monitor.
    #[serde(with = "text::duration")]
    pub runtime: Duration,
    /// One pull.
    #[serde(with = "text::duration")]
    pub pull: Duration,
    /// A pull without any progress.
    #[serde(with = "text::duration")]
    pub stall: Duration,
}

/// What happens between a start and the first word of the scheduler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restore {
    /// How long containers that were found exited wait for a scheduler that can't be reached, so
    /// that a destroy which waited there is applied first.
    #[serde(with = "text::duration")]
    pub wait_for_scheduler: Duration,
}

/// Where images come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// containers-policy.json(5); skopeo's own where it isn't set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// containers-registries.conf(5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registries_conf: Option<PathBuf>,
    /// containers-auth.json(5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authfile: Option<PathBuf>,
    /// A directory with a directory `<host:port>` for each registry with certificates of its own;
    /// containers-certs.d(5). skopeo's own where it isn't set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certs_dir: Option<PathBuf>,
    /// Registries, as `host:port`, that are spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// Transports that definitions of the scheduler may name.
    pub scheduler_transports: Vec<String>,
    /// Transports that manifests and the command line may name.
    pub local_transports: Vec<String>,
    /// How often it is looked how full the filesystem of the state directory is.
    #[serde(with = "text::duration")]
    pub gc_interval: Duration,
    /// Images that nothing uses go once the filesystem of the state directory is this full.
    pub gc_high_percent: u64,
    /// They go, the longest unused first, until it is only this full.
    pub gc_low_percent: u64,
    /// An image that something used so recently stays.
    #[serde(with = "text::duration")]
    pub gc_min_age: Duration,
}

/// What instances may not have of the node, because it needs that itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admission {
    /// In bytes.
    pub reserved_memory: u64,
    /// In thousandths of a core.
    pub reserved_cpu_milli: u64,
}

/// How much of the journal is kept. What a start needs is always kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// A segment is ended once it has so many bytes: 64 KiB to 4 MiB.
    pub segment: u64,
    /// Segments older than this go.
    #[serde(with = "text::duration")]
    pub history_age: Duration,
    /// Segments beyond so many bytes go.
    pub history_size: u64,
    /// The newest so many bytes of segments stay, however old.
    pub history_always: u64,
}

/// What instances are connected by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// False: instances have `lo` only.
    pub enabled: bool,
    /// Where the CNI configuration list lies, the first by name; riklet makes up its own network
    /// where it isn't set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conf_dir: Option<PathBuf>,
    /// Where CNI plugins are, first wins.
    pub bin_dirs: Vec<PathBuf>,
    /// The addresses of riklet's own network; a free /24 of 10.88.0.0/13 where it isn't set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
}

/// How much of what a container writes is kept, for each of its last two attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logs {
    /// A file is put aside once it has so many bytes: 64 KiB and more.
    pub max_size: u64,
    /// So many files are kept, the one that is written among them: 2 and more.
    pub max_files: u32,
}

/// When instances are ended for what they take of the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evictions {
    /// How often emptyDirs with a sizeLimit are looked at.
    #[serde(with = "text::duration")]
    pub look_every: Duration,
}

/// Keys for `https://`, as PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Who may have signed the scheduler's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// This node's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Default for Programs {
    fn default() -> Self {
        Self {
            runc: "runc".into(),
            conmon: "conmon".into(),
            skopeo: "skopeo".into(),
            umoci: "umoci".into(),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            runtime: Duration::from_secs(30),
            pull: Duration::from_secs(30 * 60),
            stall: Duration::from_secs(2 * 60),
        }
    }
}

impl Default for Evictions {
    fn default() -> Self {
        Self {
            // As kubelet.
            look_every: Duration::from_secs(10),
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            enabled: true,
            conf_dir: None,
            // Debian's place, then upstream's.
            bin_dirs: vec!["/usr/lib/cni".into(), "/opt/cni/bin".into()],
            subnet: None,
        }
    }
}

impl Default for Restore {
    fn default() -> Self {
        Self {
            wait_for_scheduler: Duration::from_secs(3),
        }
    }
}

const MIB: u64 = 1024 * 1024;

impl Default for Journal {
    fn default() -> Self {
        Self {
            segment: 4 * MIB,
            history_age: Duration::from_secs(7 * 24 * 60 * 60),
            history_size: 256 * MIB,
            history_always: 16 * MIB,
        }
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self {
            max_size: 10 * MIB,
            max_files: 5,
        }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            reserved_memory: 256 * MIB,
            reserved_cpu_milli: 0,
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        let all = ["docker", "oci", "oci-archive", "docker-archive", "dir"];
        Self {
            policy: None,
            registries_conf: None,
            authfile: None,
            certs_dir: None,
            insecure_registries: Vec::new(),
            scheduler_transports: vec!["docker".to_owned()],
            local_transports: all.map(str::to_owned).to_vec(),
            gc_interval: Duration::from_secs(30),
            gc_high_percent: 85,
            gc_low_percent: 80,
            gc_min_age: Duration::from_secs(2 * 60),
        }
    }
}
