//! CNI's exec protocol (spec 1.0.0): plugins are programs, spoken to by environment and JSON.
//!
//! Owns: the order of a list's plugins (ADD and CHECK forward, each with the former's result; DEL
//! backward, each with the cached one), what each is told, and what its answer means. In: a parsed
//! [`ConfigList`], an [`Attachment`]. Out: the last result, as it came, for later. Must never
//! happen here: a text from outside in the environment, for the container id is a drawn uid.

mod answer;
mod list;

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

pub use self::{
    answer::addresses,
    list::{ConfigList, ListError, Plugin},
};
use crate::{
    model::{ids::Uid, spec::Port},
    runtime::process::{Call, CallError, Spawner},
};

/// What the interface is called inside.
const INTERFACE: &str = "eth0";

/// Results of big networks are a few KiB; this is far more.
const KEEP: usize = 1 << 20;

/// Why a network couldn't be joined, checked or left.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// A plugin of the list isn't in any of the directories.
    #[error(
        "there is no CNI plugin {plugin:?} in {dirs}: install containernetworking-plugins, or set \
         network.bin_dirs"
    )]
    Missing {
        /// Its type.
        plugin: String,
        /// Where it was looked for.
        dirs: String,
    },
    /// The plugin answered with an error.
    #[error("{call}: {message} (code {code})")]
    Refused {
        /// Plugin and verb.
        call: String,
        /// CNI's error code; plugins' own are above 99.
        code: u64,
        /// What it said, in a line.
        message: String,
    },
    /// It couldn't be run, hung, or ended without an answer.
    #[error("run a CNI plugin")]
    Call(#[source] CallError),
    /// It succeeded and answered with something else than a result.
    #[error("{call}: its answer is no CNI result")]
    Output {
        /// Plugin and verb.
        call: String,
    },
}

/// What is attached to a network.
#[derive(Debug, Clone, Copy)]
pub struct Attachment<'a> {
    /// The incarnation; CNI's container id.
    pub uid: &'a Uid,
    /// Its network namespace; none where it is gone, which only leaving allows.
    pub netns: Option<&'a Path>,
    /// Ports of the node to be mapped into it.
    pub ports: &'a [Port],
}

/// Where plugins are and how long they may take.
#[derive(Clone)]
pub struct Cni {
    spawner: Spawner,
    bin_dirs: Vec<PathBuf>,
    deadline: Duration,
}

impl Cni {
    /// Plugins of these directories, the first that has one wins; each call is killed at
    /// `deadline` with all that it has started.
    #[must_use]
    pub fn new(spawner: Spawner, bin_dirs: Vec<PathBuf>, deadline: Duration) -> Self {
        Self {
            spawner,
            bin_dirs,
            deadline,
        }
    }

    /// Who runs the plugins.
    #[must_use]
    pub fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// Joins the network: every plugin in order. Returns the last result.
    ///
    /// # Errors
    /// See [`CniError`]; what the plugins before have made is for [`Cni::del`].
    pub async fn add(&self, list: &ConfigList, at: Attachment<'_>) -> Result<Value, CniError> {
        let mut result = None;
        for plugin in list.plugins() {
            let said = self.call("ADD", list, plugin, at, result.as_ref()).await?;
            let call = || format!("{} ADD", plugin.kind());
            result = Some(answer::result(&said).ok_or_else(|| CniError::Output { call: call() })?);
        }
        Ok(result.unwrap_or(Value::Null))
    }

    /// Does everything stand that joining made?
    ///
    /// # Errors
    /// See [`CniError`]; a refusal means no.
    pub async fn check(
        &self,
        list: &ConfigList,
        at: Attachment<'_>,
        joined: &Value,
    ) -> Result<(), CniError> {
        if !list.can_check() {
            return Ok(());
        }
        for plugin in list.plugins() {
            self.call("CHECK", list, plugin, at, Some(joined)).await?;
        }
        Ok(())
    }

    /// Leaves the network: every plugin in reverse. Not joined, or half, is fine.
    ///
    /// # Errors
    /// See [`CniError`]; the plugins before the one that failed (in the list's order) weren't
    /// asked.
    pub async fn del(
        &self,
        list: &ConfigList,
        at: Attachment<'_>,
        joined: Option<&Value>,
    ) -> Result<(), CniError> {
        let joined = joined.filter(|_| list.passes_result_to_del());
        for plugin in list.plugins().rev() {
            self.call("DEL", list, plugin, at, joined).await?;
        }
        Ok(())
    }

    async fn call(
        &self,
        verb: &'static str,
        list: &ConfigList,
        plugin: &Plugin,
        at: Attachment<'_>,
        former: Option<&Value>,
    ) -> Result<Vec<u8>, CniError> {
        let kind = plugin.kind();
        let program = find(kind, &self.bin_dirs).ok_or_else(|| no_plugin(kind, &self.bin_dirs))?;
        let dirs = self.bin_dirs.iter().map(|dir| dir.as_os_str());
        let dirs: Vec<_> = dirs.collect();
        let call = Call::new(program, self.deadline)
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", at.uid.as_str())
            .env("CNI_NETNS", at.netns.unwrap_or(Path::new("")))
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", dirs.join(std::ffi::OsStr::new(":")))
            .stdin(list.told(plugin, &port_mappings(at.ports), former))
            .verb(verb)
            .keep(KEEP);
        match self.spawner.call(call).await {
            Ok(output) => Ok(output.stdout),
            Err(CallError::Exit { stdout, .. }) if answer::error(&stdout).is_some() => {
                let (code, message) = answer::error(&stdout).unwrap_or_default();
                let call = format!("{kind} {verb}");
                Err(CniError::Refused {
                    call,
                    code,
                    message,
                })
            }
            Err(e) => Err(CniError::Call(e)),
        }
    }
}

/// The first of these plugins that is in none of the directories.
#[must_use]
pub fn missing<'a>(
    mut plugins: impl Iterator<Item = &'a str>,
    bin_dirs: &[PathBuf],
) -> Option<CniError> {
    let missing = plugins.find(|kind| find(kind, bin_dirs).is_none());
    missing.map(|kind| no_plugin(kind, bin_dirs))
}

fn find(kind: &str, bin_dirs: &[PathBuf]) -> Option<PathBuf> {
    let runnable = |path: &PathBuf| {
        let found = std::fs::metadata(path);
        found.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    bin_dirs.iter().map(|dir| dir.join(kind)).find(runnable)
}

fn no_plugin(kind: &str, bin_dirs: &[PathBuf]) -> CniError {
    let dirs = bin_dirs.iter().map(|d| d.display().to_string());
    CniError::Missing {
        plugin: kind.to_owned(),
        dirs: dirs.collect::<Vec<_>>().join(", "),
    }
}

/// As the capability `portMappings` has it.
fn port_mappings(ports: &[Port]) -> Value {
    let one = |port: &Port| {
        let mut mapping = json!({
            "hostPort": port.host,
            "containerPort": port.container,
            "protocol": port.protocol.to_ascii_lowercase(),
        });
        if let Some(ip) = port.host_ip {
            mapping["hostIP"] = json!(ip);
        }
        mapping
    };
    ports.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
