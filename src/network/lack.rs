//! What a node lacks for its network: read, and told apart for people.
//!
//! Owns: the difference between a plugin that isn't there and a configuration that can't be used,
//! for their effects and their mends differ. In: settings. Must never happen here: a change.

use std::path::PathBuf;

use super::{
    cni::{self, ConfigList},
    own,
    plug::NetworkConfig,
};
use crate::error_chain::one_line;

/// Why instances get no network although they should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// A plugin isn't there: they have `lo` only.
    #[error("{0}")]
    Plugin(String),
    /// The operator's configuration can't be used: their sandboxes can't be made.
    #[error("{why}")]
    List {
        /// The directory that it is looked for in.
        dir: PathBuf,
        /// Why not.
        why: String,
    },
}

/// Why instances get no network although they should; reads files, changes nothing.
#[must_use]
pub fn missing(config: &NetworkConfig) -> Option<Lack> {
    if !config.enabled {
        return None;
    }
    let lacking = match &config.conf_dir {
        None => cni::missing(own::PLUGINS.into_iter(), &config.bin_dirs),
        Some(dir) => match ConfigList::load(dir) {
            Ok((_, list)) => cni::missing(list.programs(), &config.bin_dirs),
            Err(e) => {
                let (dir, why) = (dir.clone(), one_line(&e));
                return Some(Lack::List { dir, why });
            }
        },
    };
    lacking.map(|e| Lack::Plugin(e.to_string()))
}
