//! Which seccomp profile a container runs under.
//!
//! Owns: the distribution's profile, read once, and the node's own ones below a directory. In: a
//! definition's word, the container's capabilities. Out: a converted profile, or none. Must never
//! happen here: a profile that can't be had counting as none.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use oci_spec::runtime::{Capability, LinuxSeccomp};

use super::{
    defaults::CAPABILITIES,
    seccomp::{self, Machine, SeccompError},
    user::open_inside,
};
use crate::model::spec::Seccomp;

/// The most of a profile that is read; the distribution's has 20 KiB.
const MAX_PROFILE: u64 = 1 << 20;

/// The profiles of a node.
#[derive(Debug, Default)]
pub struct Profiles {
    text: Option<String>,
    usual: Option<LinuxSeccomp>,
    own: PathBuf,
}

/// Why a container can't have the profile that it asks for.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// There is no such file, or it can't be read.
    #[error("read the seccomp profile {name:?} in {dir:?}")]
    Read {
        /// What the definition names.
        name: String,
        /// Where the node's profiles lie.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no profile.
    #[error("use the seccomp profile {name:?}: it is not one as docker and podman have it")]
    Parse {
        /// What the definition names, or the distribution's.
        name: String,
        /// Where and why.
        source: serde_json::Error,
    },
}

impl Profiles {
    /// The profile at `usual`, and those below `own`, which need not be there.
    ///
    /// # Errors
    /// The usual one can't be read; then containers run without one, unless they name their own.
    pub fn load(usual: Option<&Path>, own: PathBuf) -> (Self, Option<SeccompError>) {
        let mut profiles = Self {
            own,
            ..Self::default()
        };
        let Some(path) = usual else {
            return (profiles, None);
        };
        match seccomp::load(path, &Machine::this(), &CAPABILITIES) {
            Ok(usual) => {
                profiles.usual = Some(usual);
                profiles.text = std::fs::read_to_string(path).ok();
                (profiles, None)
            }
            Err(error) => (profiles, Some(error)),
        }
    }

    /// Is there a usual one?
    #[must_use]
    pub fn usual(&self) -> bool {
        self.usual.is_some()
    }

    /// The profile for a container with these capabilities; none to run without.
    ///
    /// # Errors
    /// The one that it names can't be had.
    pub fn of(
        &self,
        wish: &Seccomp,
        capabilities: &[Capability],
    ) -> Result<Option<Cow<'_, LinuxSeccomp>>, ProfileError> {
        let convert = |name: &str, text: &str| {
            let made = seccomp::convert(text, &Machine::this(), capabilities);
            made.map(|made| Some(Cow::Owned(made)))
                .map_err(|source| ProfileError::Parse {
                    name: name.to_owned(),
                    source,
                })
        };
        match (wish, &self.text) {
            (Seccomp::Unconfined, _) => Ok(None),
            (Seccomp::RuntimeDefault, Some(text)) if capabilities != CAPABILITIES => {
                convert("RuntimeDefault", text)
            }
            (Seccomp::RuntimeDefault, _) => Ok(self.usual.as_ref().map(Cow::Borrowed)),
            (Seccomp::Localhost(name), _) => {
                let text = self.read(name).map_err(|source| ProfileError::Read {
                    name: name.clone(),
                    dir: self.own.clone(),
                    source,
                })?;
                convert(name, &text)
            }
        }
    }

    /// A file of the node's own profiles; no link leads out of their directory.
    fn read(&self, name: &str) -> io::Result<String> {
        let file = File::from(open_inside(&self.own, name)?);
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut text = String::new();
        file.take(MAX_PROFILE).read_to_string(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
