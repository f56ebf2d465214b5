//! Image references, read as docker reads them.
//!
//! Why: the same image has many spellings (`busybox`, `docker.io/library/busybox:latest`), and one
//! image must be pulled once however it is spelt; a text from the wire must never become an option
//! or a path of a foreign program by accident. Owns: the grammar, the canonical form, and which
//! transports which source may use. In: the text of a definition. Out: a [`Reference`]. Must never
//! happen here: IO, a panic on any input, or a reference that skopeo would take for something else.
//!
//! Pure. The canonical form of a reference reads as that very reference again.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, str::FromStr};

pub use super::digest::Digest;
use crate::model::ids::Source;

mod grammar;

use grammar::{host_without_port, local_image, registry_image};

/// The longest `host/path` that is taken, in bytes; docker's own limit.
pub const MAX_NAME: usize = 255;

/// The longest tag, in bytes.
pub const MAX_TAG: usize = 128;

/// The longest path behind a transport other than `docker:`, in bytes (PATH_MAX).
pub const MAX_LOCAL: usize = 4096;

const DOCKER_HUB: &str = "docker.io";
const OFFICIAL: &str = "library";

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A registry, over HTTP(S). The default; may be written as `docker://…`.
    Docker,
    /// A directory on this node in OCI layout: `oci:/dir[:name]`.
    Oci,
    /// A tar file of an OCI layout: `oci-archive:/file[:name]`.
    OciArchive,
    /// A tar file by `docker save`: `docker-archive:/file[:name]`.
    DockerArchive,
    /// A directory of loose blobs, as `skopeo copy … dir:` makes it: `dir:/dir`.
    Dir,
}

impl Transport {
    /// Those that name something on this node's disk.
    pub const LOCAL: [Self; 4] = [Self::Oci, Self::OciArchive, Self::DockerArchive, Self::Dir];

    /// Its name, as skopeo has it, without the colon.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
            Self::Dir => "dir",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a text is no image reference that riklet takes. The message names the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("the image is empty; write one like \"busybox:1.36\"")]
    Empty,
    /// Longer than [`MAX_NAME`].
    #[error("the image's name has {0} bytes, at most {MAX_NAME} are allowed")]
    TooLong(usize),
    /// Upper case in the repository's name.
    #[error("{0:?} has upper-case letters; a repository's name is all lower-case")]
    UpperCase(String),
    /// The repository's name breaks the grammar.
    #[error(
        "{0:?} is not a repository's name: parts of a-z and 0-9, joined by single '.', '_', '__' \
         or dashes, and separated by '/'"
    )]
    Repository(String),
    /// The host breaks the grammar.
    #[error("{0:?} is not a registry's host[:port]")]
    Host(String),
    /// The tag breaks the grammar.
    #[error("{0:?} is not a tag: at most {MAX_TAG} of A-Z, a-z, 0-9, '_', '.' and '-'")]
    Tag(String),
    /// The digest isn't a SHA-256.
    #[error("{0:?} is not a digest: \"sha256:\" and 64 lower-case hex digits")]
    Digest(String),
    /// 64 hex digits alone: docker takes that for an image's id.
    #[error("{0:?} looks like an image's id; name the repository, as in \"busybox@sha256:…\"")]
    BareId(String),
    /// A local path that isn't absolute, or has a character that skopeo can't be given.
    #[error("{0:?} is not an absolute path[:name] without control characters")]
    Path(String),
    /// This source may not use that transport.
    #[error(
        "images by \"{transport}:\" are not allowed from source {from}; \
         allow it by images.scheduler_transports or images.local_transports in riklet.toml, or push the image to a registry"
    )]
    Refused {
        /// Who asked.
        from: Source,
        /// What for.
        transport: Transport,
    },
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryImage {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// An image in a file or directory of this node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LocalImage {
    transport: Transport,
    place: String,
}

/// A parsed image reference; [`fmt::Display`] is its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// In a registry.
    Registry(RegistryImage),
    /// On this node.
    Local(LocalImage),
}

impl Reference {
    /// How it is fetched.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Registry(_) => Transport::Docker,
            Self::Local(local) => local.transport,
        }
    }

    /// The digest in the reference itself; such a reference always means the same image.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Registry(image) => image.digest.as_ref(),
            Self::Local(_) => None,
        }
    }

    /// The registry, `host[:port]`; none for an image on this node.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Registry(image) => Some(&image.host),
            Self::Local(_) => None,
        }
    }

    /// The same image, and exactly `digest` of it, where the transport can ask for one.
    #[must_use]
    pub fn pinned(&self, digest: &Digest) -> Self {
        match self {
            Self::Registry(image) => Self::Registry(RegistryImage {
                digest: Some(digest.clone()),
                ..image.clone()
            }),
            Self::Local(local) => Self::Local(local.clone()),
        }
    }

    /// What decides whether two references mean the same pull: the canonical form, without the tag
    /// where a digest stands (the digest alone counts, as with docker).
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Registry(image) => image.without_tag_beside_digest(),
            Self::Local(_) => self.to_string(),
        }
    }

    /// As skopeo wants it: with its transport, and a digest *or* a tag (it refuses both).
    #[must_use]
    pub fn for_skopeo(&self) -> String {
        match self {
            Self::Registry(image) => format!("docker://{}", image.without_tag_beside_digest()),
            Self::Local(_) => self.to_string(),
        }
    }

    /// Is the registry this very machine? docker speaks plain HTTP to such ones unasked.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let Some(host) = self.registry() else {
            return false;
        };
        let name = host_without_port(host);
        name == "localhost"
            || name == "[::1]"
            || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl RegistryImage {
    fn without_tag_beside_digest(&self) -> String {
        let Self { host, path, .. } = self;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{host}/{path}@{digest}"),
            (None, Some(tag)) => format!("{host}/{path}:{tag}"),
            (None, None) => format!("{host}/{path}:latest"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(image) => {
                write!(f, "{}/{}", image.host, image.path)?;
                match (&image.tag, &image.digest) {
                    (Some(tag), _) => write!(f, ":{tag}")?,
                    (None, None) => f.write_str(":latest")?,
                    (None, Some(_)) => {}
                }
                image.digest.iter().try_for_each(|d| write!(f, "@{d}"))
            }
            Self::Local(local) => write!(f, "{}:{}", local.transport, local.place),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// `docker://` is the only spelling of the registry transport, because `docker:dind` is the
    /// official image `docker`; and a local transport needs an absolute path, because `oci:v1` may
    /// be an image too.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if let Some(rest) = text.strip_prefix("docker://") {
            return registry_image(rest).map(Self::Registry);
        }
        for transport in Transport::LOCAL {
            let place = text
                .strip_prefix(transport.name())
                .and_then(|rest| rest.strip_prefix(':'));
            if let Some(place) = place.filter(|p| p.starts_with('/')) {
                return local_image(transport, place).map(Self::Local);
            }
        }
        registry_image(text).map(Self::Registry)
    }
}

/// Which transports each source may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportPolicy {
    /// From the scheduler; by default only `docker`: an image on the node's disk is not for others
    /// to name.
    pub scheduler: BTreeSet<Transport>,
    /// From manifests, the command line and the operator, all of them root on this node: all.
    pub local: BTreeSet<Transport>,
}

impl Default for TransportPolicy {
    fn default() -> Self {
        let mut local = BTreeSet::from(Transport::LOCAL);
        local.insert(Transport::Docker);
        Self {
            scheduler: BTreeSet::from([Transport::Docker]),
            local,
        }
    }
}

impl TransportPolicy {
    /// Reads `text`, and refuses it if `from` may not use its transport.
    ///
    /// # Errors
    /// Says which rule of the grammar or of the policy is broken, and the mend.
    pub fn admit(&self, from: Source, text: &str) -> Result<Reference, ReferenceError> {
        let reference: Reference = text.parse()?;
        let allowed = match from {
            Source::Scheduler => &self.scheduler,
            Source::Manifest | Source::Cli | Source::Operator => &self.local,
        };
        let transport = reference.transport();
        if allowed.contains(&transport) {
            Ok(reference)
        } else {
            Err(ReferenceError::Refused { from, transport })
        }
    }
}

#[cfg(test)]
mod tests;
