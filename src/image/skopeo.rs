//! skopeo, behind typed verbs.
//!
//! Why: it speaks every registry's dialect, and it runs as a process of its own that can be
//! killed. Owns: its arguments and environment, and the one place where its words are read to
//! tell a hopeless failure from a passing one (it has one exit code for all). In: references and
//! directories. Out: digests, layouts, [`SkopeoError`]s. Must never happen here: a text from
//! outside as an argument of its own (it always follows a transport), or skopeo's own retries
//! beside ours.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    layout,
    reference::{Digest, Reference},
};
use crate::runtime::process::{Call, CallError, Spawner};

/// Variables of the daemon's environment that skopeo needs to reach a registry as the operator
/// means it: proxies, certificates, the places of credentials.
const PASSED_ON: [&str; 11] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HOME",
    "XDG_RUNTIME_DIR",
    "DOCKER_CONFIG",
];

/// Where skopeo is and what it is told about registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkopeoConfig {
    /// The program: a path, or a name in PATH.
    pub program: PathBuf,
    /// `policy.json`; skopeo's own default if none.
    pub policy: Option<PathBuf>,
    /// `registries.conf`; skopeo's own default if none.
    pub registries_conf: Option<PathBuf>,
    /// `auth.json`; skopeo's own default if none.
    pub authfile: Option<PathBuf>,
    /// A directory with a directory `host[:port]` for each registry whose certificate is signed by
    /// somebody of its own (`*.crt`), or which asks for one of ours (`*.cert`, `*.key`);
    /// containers-certs.d(5). skopeo's own default if none.
    pub certs_dir: Option<PathBuf>,
    /// Registries, `host[:port]`, that are spoken to by plain HTTP or with any certificate.
    /// Loopback ones always are, as docker does it, unless they are in `certs_dir`.
    pub insecure_registries: BTreeSet<String>,
}

impl Default for SkopeoConfig {
    fn default() -> Self {
        Self {
            program: "skopeo".into(),
            policy: None,
            registries_conf: None,
            authfile: None,
            certs_dir: None,
            insecure_registries: BTreeSet::new(),
        }
    }
}

impl SkopeoConfig {
    /// Options before the verb.
    fn global(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        if let Some(policy) = &self.policy {
            args.extend(["--policy".into(), policy.into()]);
        }
        if let Some(registries) = &self.registries_conf {
            // Hidden, but the only way: the environment's variables for it have no effect.
            args.extend(["--registries-conf".into(), registries.into()]);
        }
        args
    }

    /// Options after the verb that open the reference's registry; the verb puts `side` before
    /// each name.
    fn access(&self, reference: &Reference, side: &str) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let Some(registry) = reference.registry() else {
            return args;
        };
        if let Some(certs) = self.certs_of(registry) {
            args.extend([format!("--{side}cert-dir").into(), certs.into()]);
        } else if reference.is_loopback() || self.insecure_registries.contains(registry) {
            args.push(format!("--{side}tls-verify=false").into());
        }
        if let Some(file) = &self.authfile {
            args.extend([format!("--{side}authfile").into(), file.into()]);
        }
        args
    }

    /// The directory of a registry's certificates, if it has one. Found by its name rather than
    /// by a path made of that: the name is a foreign text.
    fn certs_of(&self, registry: &str) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.certs_dir.as_ref()?).ok()?;
        let mut named = entries.flatten().filter(|e| e.file_name() == registry);
        named.next().map(|entry| entry.path())
    }
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// There is no such image.
    Missing,
    /// Not for us: credentials.
    Denied,
    /// Not for us: the trust policy.
    Untrusted,
    /// The registry's certificate isn't trusted.
    Certificate,
    /// A list without an image for this platform.
    OtherPlatform,
    /// Can't be had in this form, today or later.
    Unusable,
    /// skopeo's configuration can't be read.
    Setup,
    /// No space.
    DiskFull,
    /// skopeo can't be run.
    Program,
    /// It was killed at its deadline.
    Hung,
    /// The kernel gave no process or cgroup for it.
    Spawn,
    /// Everything else: the network, the registry's bad day.
    Passing,
}

/// A verb that failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{source}")]
pub(super) struct SkopeoError {
    pub(super) fault: Fault,
    pub(super) source: Arc<CallError>,
}

impl From<CallError> for SkopeoError {
    fn from(error: CallError) -> Self {
        Self {
            fault: fault(&error),
            source: Arc::new(error),
        }
    }
}

/// What a registry (or a file) says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inspected {
    /// Of the manifest, or of the list, that the reference points at.
    pub(super) digest: Digest,
    /// `os/architecture` of the image for this platform.
    pub(super) platform: String,
    /// Its layers.
    pub(super) layers: Vec<Digest>,
}

/// The program.
#[derive(Clone)]
pub(super) struct Skopeo {
    config: SkopeoConfig,
    spawner: Spawner,
}

impl Skopeo {
    pub(super) fn new(config: SkopeoConfig, spawner: Spawner) -> Self {
        Self { config, spawner }
    }

    /// Asks what `reference` is at this moment. Two or three small requests.
    pub(super) async fn inspect(
        &self,
        reference: &Reference,
        scratch: &Path,
        deadline: Duration,
    ) -> Result<Inspected, SkopeoError> {
        let call = self
            .call("inspect", scratch, deadline)
            .args(["inspect", "--no-tags", "--retry-times=0", "--format"])
            .arg("{{.Digest}} {{.Os}}/{{.Architecture}}{{range .Layers}} {{.}}{{end}}")
            .args(self.config.access(reference, ""))
            .arg(reference.for_skopeo());
        let output = self.spawner.call(call).await?;
        inspected(&output.stdout).ok_or_else(|| {
            SkopeoError::from(CallError::Exit {
                call: "skopeo inspect".to_owned(),
                code: Some(0),
                signal: None,
                stdout: output.stdout,
                stderr: b"it printed no digest".to_vec(),
            })
        })
    }

    /// Copies an image into a new layout, its blobs into `blobs`. Blobs that are there by name are
    /// believed. Layers in zstd are recompressed, because umoci reads them only from 0.5.0 on.
    pub(super) async fn copy(
        &self,
        reference: &Reference,
        layout: &Path,
        blobs: &Path,
        scratch: &Path,
        deadline: Duration,
    ) -> Result<(), SkopeoError> {
        let mut target = OsString::from("oci:");
        target.push(layout);
        target.push(":");
        target.push(layout::NAME);
        let call = self
            .call("copy", scratch, deadline)
            .args(["copy", "--quiet", "--retry-times=0"])
            .args(["--dest-compress-format", "gzip", "--dest-shared-blob-dir"])
            .arg(blobs)
            .args(self.config.access(reference, "src-"))
            .arg(reference.for_skopeo())
            .arg(target);
        self.spawner.call(call).await?;
        Ok(())
    }

    /// The program with its global options. Its temporary files go to `scratch`, so that they go
    /// with the pull, however it ends.
    fn call(&self, verb: &str, scratch: &Path, deadline: Duration) -> Call {
        let mut call = Call::new(&self.config.program, deadline)
            .verb(verb)
            .env("TMPDIR", scratch)
            .arg("--tmpdir")
            .arg(scratch);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                call = call.env(name, value);
            }
        }
        call.args(self.config.global())
    }
}

fn inspected(stdout: &[u8]) -> Option<Inspected> {
    let text = std::str::from_utf8(stdout).ok()?;
    let mut words = text.trim().split(' ');
    Some(Inspected {
        digest: words.next()?.parse().ok()?,
        platform: words.next()?.to_owned(),
        // Only for show, so that one of another kind is no obstacle.
        layers: words.filter_map(|word| word.parse().ok()).collect(),
    })
}

/// What skopeo 1.9 says, and what it means; the first row that matches holds. Registries word the
/// same refusal differently, but the code of the distribution protocol is in all of them.
const WORDS: &[(&str, Fault)] = &[
    // First: what follows it is of the policy's own choice.
    ("Source image rejected", Fault::Untrusted),
    ("is rejected by policy", Fault::Untrusted),
    ("no space left on device", Fault::DiskFull),
    ("disk quota exceeded", Fault::DiskFull),
    ("loading registries configuration", Fault::Setup),
    ("Error loading trust policy", Fault::Setup),
    ("reading JSON file", Fault::Setup),
    ("getting username and password", Fault::Setup),
    ("no image found in", Fault::OtherPlatform),
    ("toomanyrequests", Fault::Passing),
    ("manifest unknown", Fault::Missing),
    ("name unknown", Fault::Missing),
    ("repository name not known", Fault::Missing),
    ("no descriptor found for reference", Fault::Missing),
    ("no such file or directory", Fault::Missing),
    ("unauthorized", Fault::Denied),
    ("authentication required", Fault::Denied),
    ("requested access to the resource is denied", Fault::Denied),
    ("denied:", Fault::Denied),
    ("invalid username/password", Fault::Denied),
    ("x509:", Fault::Certificate),
    ("invalid reference format", Fault::Unusable),
    ("server gave HTTP response to HTTPS client", Fault::Setup),
    ("unsupported manifest", Fault::Unusable),
    ("Unsupported manifest", Fault::Unusable),
    ("unsupported schema version", Fault::Unusable),
];

/// Hopeless or passing? What isn't known for hopeless may pass.
fn fault(error: &CallError) -> Fault {
    match error {
        CallError::Missing { .. } => Fault::Program,
        CallError::Deadline { .. } => Fault::Hung,
        CallError::Exit { stderr, .. } => {
            let said = String::from_utf8_lossy(stderr);
            let row = WORDS.iter().find(|(words, _)| said.contains(words));
            row.map_or(Fault::Passing, |(_, fault)| *fault)
        }
        CallError::Spawn { .. } | CallError::Cgroup { .. } => Fault::Spawn,
    }
}

#[cfg(test)]
mod tests;
