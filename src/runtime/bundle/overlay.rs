//! The writable layer: overlayfs over a snapshot, private to one attempt.
//!
//! Owns: mount(2) and umount2(2) of `<bundle>/rootfs`. In: a snapshot's rootfs and a bundle. Out:
//! a mount. Must never happen here: writing to the snapshot, or a fork.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
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

/// Mounts `snapshot` under a fresh writable layer at `<bundle>/rootfs`, with `<bundle>/upper`
/// and `<bundle>/work`. The layer is `volatile` where the kernel can: it never outlives its
/// attempt, so no sync is owed to it, neither by the container nor at unmount.
///
/// # Errors
/// See [`OverlayError`].
pub fn mount_layer(snapshot: &Path, bundle: &Path) -> Result<PathBuf, OverlayError> {
    let (rootfs, upper, work) = (
        bundle.join("rootfs"),
        bundle.join("upper"),
        bundle.join("work"),
    );
    let lower = option_path(snapshot)?;
    let options = format!(
        "lowerdir={lower},upperdir={},workdir={}",
        option_path(&upper)?,
        option_path(&work)?
    );
    let root = fs::metadata(snapshot).map_err(|_| OverlayError::SnapshotMissing {
        path: snapshot.to_owned(),
    })?;
    for path in [&rootfs, &upper, &work] {
        make_directory(path)?;
    }
    // The container's "/" has the upper directory's mode and owner.
    fs::set_permissions(&upper, fs::Permissions::from_mode(root.mode() & 0o7777))
        .and_then(|()| chown(&upper, Some(root.uid()), Some(root.gid())))
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
    .map_err(|source| OverlayError::Mount {
        path: rootfs.clone(),
        source,
    })?;
    Ok(rootfs)
}

/// Takes the mount at `<bundle>/rootfs` away, all of them if there are several; none is a
/// success. Busy ones are detached: nothing of the container lives when this is called, so who
/// keeps it busy is a passer-by (a `find`, a backup), and the kernel ends it with that.
///
/// # Errors
/// What umount2(2) says of the detaching.
pub fn unmount_layer(bundle: &Path) -> Result<(), OverlayError> {
    let rootfs = bundle.join("rootfs");
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
