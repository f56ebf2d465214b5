//! The writable layer: overlayfs over a snapshot, private to one attempt.
//!
//! Owns: mount(2) and umount2(2) of `<bundle>/rootfs`; for a container with ids of its own, of its
//! root elsewhere and of the snapshot as those ids see it (`<bundle>/lower`), which stays mounted
//! as long: by that it is seen that the snapshot is in use. In: a snapshot's rootfs and a bundle.
//! Out: a mount. Must never happen here: writing to the snapshot, or a fork.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

use crate::{
    model::users::IdRange,
    runtime::idmap::{self, IdmapError},
};

/// Why the layer couldn't be made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// A character that overlayfs' options use themselves.
    #[error(
        "can't put an overlay on {path:?}: its path has a ':', ',' or '\\'; choose another state \
         directory"
    )]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The snapshot isn't there.
    #[error("the snapshot {path:?} is not there")]
    SnapshotMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Directories couldn't be made.
    #[error("can't make {path:?}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// mount(2) failed.
    #[error("can't mount an overlay on {path:?}")]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// The snapshot can't be shown by a container's own ids.
    #[error("can't show the image {path:?}")]
    Mapped {
        /// The snapshot.
        path: PathBuf,
        /// Why.
        source: IdmapError,
    },
    /// The kernel takes no such lower layer.
    #[error(
        "can't mount an overlay over an image with other ids, which `hostUsers: false` needs: \
         this kernel is too old for it (before Linux 5.19); update it, or leave `hostUsers` out"
    )]
    Kernel(#[source] Errno),
    /// umount2(2) failed.
    #[error("can't unmount {path:?}")]
    Unmount {
        /// What.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// Is this a path that can stand in overlayfs' options?
fn option_path(path: &Path) -> Result<&str, OverlayError> {
    path.to_str()
        .filter(|text| !text.contains([':', ',', '\\']))
        .ok_or_else(|| OverlayError::Path {
            path: path.to_owned(),
        })
}

fn make_directory(path: &Path) -> Result<(), OverlayError> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(OverlayError::Directory {
            path: path.to_owned(),
            source: e,
        }),
        _ => Ok(()),
    }
}

/// Ids that a layer is for.
#[derive(Debug, Clone, Copy)]
pub struct Mapped<'a> {
    /// The ids.
    pub ids: IdRange,
    /// Their user namespace.
    pub users: &'a Path,
    /// What is the container's root, a directory that only its own root can enter.
    pub root: &'a Path,
}

/// Where a layer lies, and whose its "/" is.
struct Layer<'a> {
    lower: &'a Path,
    rootfs: PathBuf,
    bundle: &'a Path,
    /// Mode, user, group.
    top: (u32, u32, u32),
}

/// Mounts `snapshot` under a fresh writable layer at `<bundle>/rootfs`, with `<bundle>/upper`
/// and `<bundle>/work`. The layer is `volatile` where the kernel can: it never outlives its
/// attempt, so no sync is owed to it, neither by the container nor at unmount.
///
/// # Errors
/// See [`OverlayError`].
pub fn mount_layer(snapshot: &Path, bundle: &Path) -> Result<PathBuf, OverlayError> {
    let root = look(snapshot)?;
    let layer = Layer {
        lower: snapshot,
        rootfs: bundle.join("rootfs"),
        bundle,
        top: (root.mode(), root.uid(), root.gid()),
    };
    lay(&layer, |path, source| OverlayError::Mount { path, source })
}

/// The same for a container with ids of its own: what is root's in the snapshot is its root's, and
/// the layer is mounted at `<root>/rootfs`.
///
/// # Errors
/// See [`OverlayError`].
pub fn mount_mapped_layer(
    snapshot: &Path,
    bundle: &Path,
    mapped: Mapped<'_>,
) -> Result<PathBuf, OverlayError> {
    let root = look(snapshot)?;
    let (lower, first) = (bundle.join("lower"), mapped.ids.first());
    make_directory(&lower)?;
    make_directory(mapped.root)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| OverlayError::Directory { path, source }
    };
    fs::set_permissions(mapped.root, fs::Permissions::from_mode(0o700))
        .and_then(|()| chown(mapped.root, Some(first), Some(first)))
        .map_err(failed(mapped.root))?;
    File::open(snapshot)
        .map_err(|source| IdmapError::Step {
            step: "open the image to show it",
            source,
        })
        .and_then(|held| idmap::mount(held, &lower, mapped.users, false))
        .map_err(|source| OverlayError::Mapped {
            path: snapshot.to_owned(),
            source,
        })?;
    // Whose id isn't among those inside is nobody's; "/" is better its root's.
    let on_node = |id| mapped.ids.on_node(id).unwrap_or(first);
    let layer = Layer {
        lower: &lower,
        rootfs: mapped.root.join("rootfs"),
        bundle,
        top: (root.mode(), on_node(root.uid()), on_node(root.gid())),
    };
    lay(&layer, |path, source| match source {
        Errno::EINVAL => OverlayError::Kernel(source),
        source => OverlayError::Mount { path, source },
    })
}

fn look(snapshot: &Path) -> Result<fs::Metadata, OverlayError> {
    fs::metadata(snapshot).map_err(|_| OverlayError::SnapshotMissing {
        path: snapshot.to_owned(),
    })
}

fn lay(
    layer: &Layer<'_>,
    refused: impl FnOnce(PathBuf, Errno) -> OverlayError,
) -> Result<PathBuf, OverlayError> {
    let rootfs = layer.rootfs.clone();
    let (upper, work) = (layer.bundle.join("upper"), layer.bundle.join("work"));
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        option_path(layer.lower)?,
        option_path(&upper)?,
        option_path(&work)?
    );
    for path in [&rootfs, &upper, &work] {
        make_directory(path)?;
    }
    // The container's "/" has the upper directory's mode and owner.
    let (mode, user, group) = layer.top;
    fs::set_permissions(&upper, fs::Permissions::from_mode(mode & 0o7777))
        .and_then(|()| chown(&upper, Some(user), Some(group)))
        .map_err(|source| OverlayError::Directory {
            path: upper.clone(),
            source,
        })?;
    let attempt = |data: &str| {
        mount(
            Some("overlay"),
            &rootfs,
            Some("overlay"),
            MsFlags::MS_NODEV,
            Some(data),
        )
    };
    match attempt(&format!("{options},volatile")) {
        Err(Errno::EINVAL) => attempt(&options),
        done => done,
    }
    .map_err(|source| refused(rootfs.clone(), source))?;
    Ok(rootfs)
}

/// Takes what a bundle has mounted away; none is a success. Where its container has ids of its
/// own, after [`unmount_root`].
///
/// # Errors
/// What umount2(2) says of the detaching.
pub fn unmount_layer(bundle: &Path) -> Result<(), OverlayError> {
    unmount(bundle.join("rootfs"))?;
    unmount(bundle.join("lower"))
}

/// Takes the mount at `<root>/rootfs` away; none is a success.
///
/// # Errors
/// As [`unmount_layer`]'s.
pub fn unmount_root(root: &Path) -> Result<(), OverlayError> {
    unmount(root.join("rootfs"))
}

/// All mounts at a place. Busy ones are detached: nothing of the container lives when this is
/// called, so who keeps it busy is a passer-by (a `find`, a backup), and the kernel ends it with
/// that.
fn unmount(rootfs: PathBuf) -> Result<(), OverlayError> {
    for _ in 0..16 {
        let mut result = umount2(&rootfs, MntFlags::UMOUNT_NOFOLLOW);
        if result == Err(Errno::EBUSY) {
            result = umount2(&rootfs, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH);
        }
        match result {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(source) => {
                return Err(OverlayError::Unmount {
                    path: rootfs,
                    source,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
