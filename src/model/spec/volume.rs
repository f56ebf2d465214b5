//! What containers may mount.

use serde::{Deserialize, Serialize};

use super::is_default;

/// One volume of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name, unique within the workload.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub source: VolumeSource,
}

/// What a volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeSource {
    /// An empty directory that lives as long as the incarnation's sandbox.
    Empty {
        /// In memory (a tmpfs) rather than on the disk?
        #[serde(default, skip_serializing_if = "is_default")]
        memory: bool,
        /// The most bytes it may hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_limit: Option<u64>,
    },
    /// A path of the node.
    HostPath {
        /// Absolute, without `..`.
        path: String,
        /// What has to be there, or is made.
        #[serde(default, skip_serializing_if = "is_default")]
        kind: HostPathKind,
    },
    /// Files whose content the definition gives: `configMap`, `secret`, `projected`,
    /// `downwardAPI`.
    Inline {
        /// The files.
        files: Vec<InlineFile>,
        /// In memory rather than on the disk (a secret)?
        #[serde(default, skip_serializing_if = "is_default")]
        secret: bool,
    },
}

/// What has to be at a hostPath.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPathKind {
    /// Whatever is there; it must be there by the time it is mounted.
    #[default]
    Unchecked,
    /// A directory, made with mode 0755 if nothing is there.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, made empty with mode 0644 if nothing is there.
    FileOrCreate,
    /// A file.
    File,
    /// A unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// One file of an inline volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineFile {
    /// Relative, without `..`.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// What it holds.
    #[serde(flatten)]
    pub text: FileText,
}

/// What an inline file holds; may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileText {
    /// This text.
    Text(String),
    /// These bytes, in base64 (RFC 4648 section 4, padded).
    Base64(String),
    /// What is known only when the volume is made.
    From(super::EnvSource),
}

/// What a container sees of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: String,
    /// Where inside; absolute.
    pub path: String,
    /// It can't be written through this mount.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// A path within the volume instead of its root: relative, without `..`; empty for the root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sub_path: String,
}
