//! Volumes: what containers of one incarnation share and keep between their attempts.
//!
//! Owns: `pods/<uid>/volumes/<i>`, i being the volume's position in the definition, so that no
//! outside text gets into a path. In: the definition's model and what is known of the node. Out:
//! directories and tmpfs mounts there. Must never happen here: following a link out of a volume,
//! removing anything through a mount, or a secret in an error.
//!
//! A disk `emptyDir` and what a container wrote to it outlive a reboot, as in Kubernetes; inline
//! files are written anew each time, for they may tell an address. A hostPath has nothing here:
//! it is looked at, and mounted when a container is made.

pub mod host_path;
pub mod within;

mod inline;

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
};

use self::host_path::HostPathError;
use super::{
    bundle::make_private_directory, facts::Facts, idmap::IdmapError, layout::Layout, tree,
};
use crate::model::{
    ids::Uid,
    spec::{PodSecurity, Volume, VolumeSource},
};

/// Why a volume can't be had.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// Something of it couldn't be made or removed.
    #[error("{what} volume {volume:?}")]
    Io {
        /// What was tried: "make", "mount", "write", "open".
        what: &'static str,
        /// The volume's name.
        volume: String,
        /// Why it failed.
        source: io::Error,
    },
    /// What is at the hostPath isn't what it has to be.
    #[error("use volume {volume:?}")]
    HostPath {
        /// The volume's name.
        volume: String,
        /// Why not.
        source: HostPathError,
    },
    /// A path that leaves the volume.
    #[error(
        "use {path:?} in volume {volume:?}: it leads out of the volume (by `..`, or by a link); \
         name a path inside"
    )]
    Outside {
        /// The volume's name.
        volume: String,
        /// The path.
        path: String,
    },
    /// A content that is no base64.
    #[error("write {path:?} of volume {volume:?}: its content is not base64")]
    Base64 {
        /// The volume's name.
        volume: String,
        /// The file.
        path: String,
    },
    /// A hostPath that leads into riklet's own directories, by whatever way.
    #[error(
        "mount volume {0:?}: riklet's own state or run directory lies there, which nobody may mount"
    )]
    Own(String),
    /// Its files can't be shown by a container's own ids.
    #[error("mount volume {volume:?}")]
    Mapped {
        /// The volume's name.
        volume: String,
        /// Why.
        source: IdmapError,
    },
    /// A mount names a volume that the definition hasn't.
    #[error("mount volume {0:?}: the definition has no such volume")]
    Unknown(String),
    /// The volumes of an incarnation can't be taken away.
    #[error("remove the volumes in {path:?}")]
    Remove {
        /// Where they lie.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl VolumeError {
    /// Can the same definition never have it?
    #[must_use]
    pub fn permanent(&self) -> bool {
        if let Self::Mapped { source, .. } = self {
            return source.permanent();
        }
        matches!(
            self,
            Self::Outside { .. }
                | Self::Base64 { .. }
                | Self::Unknown(_)
                | Self::Own(_)
                | Self::HostPath {
                    source: HostPathError::Outside(_) | HostPathError::NotPlain(_),
                    ..
                }
        )
    }
}

fn failed(what: &'static str, volume: &Volume) -> impl FnOnce(io::Error) -> VolumeError {
    let volume = volume.name.clone();
    move |source| VolumeError::Io {
        what,
        volume,
        source,
    }
}

/// Where volume number `i` of an incarnation lies.
#[must_use]
pub fn place(layout: &Layout, uid: &Uid, i: usize) -> PathBuf {
    layout.volumes(uid).join(i.to_string())
}

/// Makes the volumes of an incarnation, or makes them whole. Blocks on files.
///
/// # Errors
/// See [`VolumeError`]; what was made until then is for [`remove`], or for the next try.
pub fn make(layout: &Layout, facts: &Facts<'_>) -> Result<(), VolumeError> {
    let all = layout.volumes(facts.uid);
    for (i, volume) in facts.workload.volumes.iter().enumerate() {
        // Only if there is a volume: most workloads have none.
        make_private_directory(&all).map_err(failed("make", volume))?;
        let at = place(layout, facts.uid, i);
        match &volume.source {
            VolumeSource::Empty { memory, size_limit } => {
                let memory = memory.then(|| size_limit.or_else(|| memory_limit(facts)));
                make_empty(&at, memory, &facts.workload.security)
                    .map_err(failed("make", volume))?;
            }
            VolumeSource::Inline { files, secret } => {
                inline::make(&at, volume, files, *secret, facts)?;
            }
            VolumeSource::HostPath { path, kind } => {
                let opened = host_path::open(Path::new(path), *kind, &facts.node.guarded);
                opened.map_err(|source| VolumeError::HostPath {
                    volume: volume.name.clone(),
                    source,
                })?;
            }
        }
    }
    Ok(())
}

/// The memory that all containers together may have, if each has a limit.
fn memory_limit(facts: &Facts<'_>) -> Option<u64> {
    let limits = facts.workload.containers.iter();
    limits.map(|c| c.resources.limits.memory).sum()
}

/// A directory that every user inside may use; `memory`: a tmpfs, with its limit.
fn make_empty(at: &Path, memory: Option<Option<u64>>, security: &PodSecurity) -> io::Result<()> {
    match fs::create_dir(at) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        // What stands is kept: its containers may be running.
        Err(_) if memory.is_none() || is_mounted(at)? => return Ok(()),
        _ => {}
    }
    if let Some(limit) = memory {
        mount_tmpfs(at, limit)?;
    }
    set_owner(at, 0o777, security)
}

fn is_mounted(at: &Path) -> io::Result<bool> {
    Ok(!tree::mounts_below(at)?.is_empty())
}

/// A tmpfs of at most `limit` bytes (the kernel's own limit is half of the memory).
fn mount_tmpfs(at: &Path, limit: Option<u64>) -> io::Result<()> {
    // 0 would be none.
    let options = limit.map(|bytes| format!("size={}", bytes.max(1)));
    mount(
        Some("riklet-volume"),
        at,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        options.as_deref(),
    )
    .map_err(Errno::into)
}

/// Gives a directory its mode; where the definition has an fsGroup, that group, and to what is
/// made in it too.
fn set_owner(at: &Path, mode: u32, security: &PodSecurity) -> io::Result<()> {
    let mode = match security.fs_group {
        Some(group) => {
            chown(at, None, Some(group))?;
            mode | 0o2070
        }
        None => mode,
    };
    // After chown(2), which takes the group bit away.
    fs::set_permissions(at, fs::Permissions::from_mode(mode))
}

/// Takes the volumes of an incarnation away; none is a success. Only when none of its containers
/// lives. What a hostPath names is not touched.
///
/// # Errors
/// What umount2(2) and unlink(2) say.
pub fn remove(layout: &Layout, uid: &Uid) -> Result<(), VolumeError> {
    let path = layout.volumes(uid);
    tree::unmount_below(&path)
        .and_then(|()| tree::remove(&path))
        .map_err(|source| VolumeError::Remove { path, source })
}

#[cfg(test)]
mod tests;
