//! What a sandbox's directory says of it: `sandbox.json`.
//!
//! Why: whether a sandbox stands is told by more than its namespaces, for a crash may come between
//! any two steps; and its network has to be left by the very claim that it was joined by, also by
//! a daemon that knows nothing else of it. Owns: that file's form. Must never happen here: a file
//! that is there in half.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    model::{line::NetworkClaim, users::IdRange},
    runtime::layout::Layout,
    {model::ids::Uid, node::Sandbox},
};

/// Written before the first step, and again after the last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::runtime::real_node) struct SandboxRecord {
    /// The boot in which it was made.
    pub(super) boot: String,
    /// Does it share the node's network?
    #[serde(default)]
    pub(super) host_network: bool,
    /// Does it share the node's IPC?
    #[serde(default)]
    pub(super) host_ipc: bool,
    /// The ids of its user namespace; none where its users are the node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) users: Option<IdRange>,
    /// The network that it was about to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claim: Option<NetworkClaim>,
    /// What joining answered: CNI's result, for leaving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) joined: Option<Value>,
    /// Its addresses, once it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) addresses: Vec<std::net::IpAddr>,
    /// Was every step done?
    #[serde(default)]
    pub(super) whole: bool,
}

impl SandboxRecord {
    /// The record of an incarnation; none if there is none, or none that can be read.
    pub(super) fn read(layout: &Layout, uid: &Uid) -> Option<Self> {
        let text = fs::read(layout.sandbox_file(uid)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes it: whole, or not at all. It isn't synced: what it tells of is gone with a power
    /// cut, too.
    pub(super) fn write(&self, layout: &Layout, uid: &Uid) -> io::Result<()> {
        let path = layout.sandbox_file(uid);
        let new = path.with_extension("new");
        write_private(&new, &serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }

    /// What it answers to who asks for the sandbox.
    pub(super) fn sandbox(&self) -> Sandbox {
        Sandbox {
            addresses: self.addresses.clone(),
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(bytes)
}
