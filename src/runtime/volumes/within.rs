//! Paths within a volume, whatever links a container has put there.
//!
//! Why: a container may write links into a volume, also while riklet looks, and a mount through
//! one of them would lead out of it. Owns: resolving by openat2(2) beneath a held directory. In:
//! a descriptor and a relative path. Out: a descriptor. Must never happen here: a path that is
//! looked up twice.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::{Mode, mkdirat},
};

use super::host_path::by_descriptor;

/// Why a path in a volume can't be had.
#[derive(Debug, thiserror::Error)]
pub enum WithinError {
    /// It leads out.
    #[error("it leads out of the volume")]
    Outside,
    /// It can't be opened or made.
    #[error("it can't be opened")]
    Io(#[from] io::Error),
}

/// How often a look-up that a rename got in the way of is tried.
const TRIES: usize = 64;

/// Opens `path` beneath `root`, by name only. A link is followed while it stays beneath.
fn beneath(root: impl AsFd + Copy, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..TRIES {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::EAGAIN)
}

fn judged(error: Errno) -> WithinError {
    match error {
        Errno::EXDEV | Errno::ELOOP => WithinError::Outside,
        error => WithinError::Io(error.into()),
    }
}

/// Holds `path` in the volume `root`. What isn't there is made, directories of mode `create`, if
/// that is given.
///
/// # Errors
/// See [`WithinError`].
pub fn open(
    root: impl AsFd + Copy,
    path: &Path,
    create: Option<u32>,
) -> Result<OwnedFd, WithinError> {
    if !path.components().all(|c| matches!(c, Component::Normal(_))) {
        return Err(WithinError::Outside);
    }
    match (beneath(root, path), create) {
        (Err(Errno::ENOENT), Some(mode)) => make(root, path, mode),
        (done, _) => done.map_err(judged),
    }
}

fn set_mode(dir: &OwnedFd, mode: u32) -> io::Result<()> {
    fs::set_permissions(by_descriptor(dir), fs::Permissions::from_mode(mode))
}

fn make(root: impl AsFd + Copy, path: &Path, mode: u32) -> Result<OwnedFd, WithinError> {
    let mut above = beneath(root, Path::new(".")).map_err(judged)?;
    let mut so_far = PathBuf::new();
    for name in path {
        so_far.push(name);
        above = match beneath(root, &so_far) {
            Err(Errno::ENOENT) => {
                // In the directory that is held, and a link at its name is EEXIST.
                let made = mkdirat(&above, name, Mode::S_IRWXU);
                let found = beneath(root, &so_far).map_err(judged)?;
                match made {
                    // What the umask keeps from mkdirat(2). By the descriptor.
                    Ok(()) => set_mode(&found, mode & 0o2777)?,
                    Err(Errno::EEXIST) => {}
                    Err(e) => return Err(judged(e)),
                }
                found
            }
            found => found.map_err(judged)?,
        };
    }
    Ok(above)
}
