//! A path of the node, and what has to be there.
//!
//! As in Kubernetes the node's own links are followed, but not out of a guarded path: there
//! containers may have put them. What was opened is held by its descriptor from then on, so what
//! was looked at is what is mounted.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt},
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::Mode,
};

use super::within::{self, WithinError};
use crate::model::spec::HostPathKind;

/// Why a hostPath can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HostPathError {
    /// It is relative, or has `..`.
    #[error("use the hostPath {0:?}: it must be absolute and without `..`")]
    NotPlain(PathBuf),
    /// A link on its way leads out of what may be mounted.
    #[error(
        "use the hostPath {0:?}: a link on its way leads out of the path that this node's \
         [security] allows; name a place inside"
    )]
    Outside(PathBuf),
    /// It can't be opened or made.
    #[error("use the hostPath {path:?}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else is there.
    #[error("use the hostPath {path:?}: it is not {wanted}, as its type wants")]
    Kind {
        /// The path.
        path: PathBuf,
        /// What has to be there.
        wanted: &'static str,
    },
}

fn wanted(kind: HostPathKind) -> &'static str {
    match kind {
        HostPathKind::Unchecked => "there",
        HostPathKind::DirectoryOrCreate | HostPathKind::Directory => "a directory",
        HostPathKind::FileOrCreate | HostPathKind::File => "a file",
        HostPathKind::Socket => "a socket",
        HostPathKind::CharDevice => "a character device",
        HostPathKind::BlockDevice => "a block device",
    }
}

fn is(kind: HostPathKind, found: fs::FileType) -> bool {
    match kind {
        HostPathKind::Unchecked => true,
        HostPathKind::DirectoryOrCreate | HostPathKind::Directory => found.is_dir(),
        HostPathKind::FileOrCreate | HostPathKind::File => found.is_file(),
        HostPathKind::Socket => found.is_socket(),
        HostPathKind::CharDevice => found.is_char_device(),
        HostPathKind::BlockDevice => found.is_block_device(),
    }
}

/// Makes what isn't there, if the kind says so; what is there is never changed.
fn create(path: &Path, kind: HostPathKind) -> io::Result<()> {
    let made = match kind {
        HostPathKind::DirectoryOrCreate => fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path),
        HostPathKind::FileOrCreate => fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .map(drop),
        _ => Ok(()),
    };
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// A descriptor's path for a mount(2) of exactly what it holds.
#[must_use]
pub fn by_descriptor(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// What a descriptor holds.
///
/// # Errors
/// What fstat(2) says.
pub fn metadata(fd: &OwnedFd) -> io::Result<fs::Metadata> {
    // By its own link, for an O_PATH descriptor knows only this.
    fs::metadata(by_descriptor(fd))
}

/// Holds what is at `path`, which is below `guard`: no link leads out of that.
fn open_guarded(guard: &Path, path: &Path, kind: HostPathKind) -> Result<OwnedFd, WithinError> {
    let inside = path.strip_prefix(guard).map_err(|_| WithinError::Outside)?;
    let root = hold(guard)?;
    let create = match kind {
        HostPathKind::DirectoryOrCreate => Some(0o755),
        _ => None,
    };
    if inside.as_os_str().is_empty() {
        return Ok(root);
    }
    match within::open(&root, inside, create) {
        Err(WithinError::Io(e))
            if e.kind() == io::ErrorKind::NotFound && kind == HostPathKind::FileOrCreate =>
        {
            create_within(&root, inside)?;
            within::open(&root, inside, None)
        }
        done => done,
    }
}

/// Makes an empty file; neither a link at its name nor one on the way is followed out.
fn create_within(root: &OwnedFd, inside: &Path) -> Result<(), WithinError> {
    let name = inside.file_name().ok_or(WithinError::Outside)?;
    let held;
    let above = match inside.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => {
            held = within::open(root, parent, None)?;
            &held
        }
        None => root,
    };
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    match openat(above, name, flags, Mode::from_bits_truncate(0o644)) {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(e) => Err(WithinError::Io(e.into())),
    }
}

fn hold(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Holds what is at `path`, made if `kind` says so; if it is at or below one of `guarded`, no
/// link leads out of that. Opens no file for reading: a fifo or a device there is only named.
///
/// # Errors
/// See [`HostPathError`].
pub fn open(
    path: &Path,
    kind: HostPathKind,
    guarded: &[PathBuf],
) -> Result<OwnedFd, HostPathError> {
    let plain = path.components().all(|c| c != Component::ParentDir);
    if !path.is_absolute() || !plain {
        return Err(HostPathError::NotPlain(path.to_owned()));
    }
    let failed = |source: io::Error| HostPathError::Io {
        path: path.to_owned(),
        source,
    };
    // The outermost: what is allowed below it is allowed to the same source.
    let guards = guarded.iter().filter(|guard| path.starts_with(guard));
    let fd = match guards.min_by_key(|guard| guard.components().count()) {
        Some(guard) => open_guarded(guard, path, kind).map_err(|e| match e {
            WithinError::Outside => HostPathError::Outside(path.to_owned()),
            WithinError::Io(source) => failed(source),
        })?,
        None => {
            create(path, kind).map_err(failed)?;
            hold(path).map_err(failed)?
        }
    };
    let found = metadata(&fd).map_err(failed)?.file_type();
    if !is(kind, found) {
        return Err(HostPathError::Kind {
            path: path.to_owned(),
            wanted: wanted(kind),
        });
    }
    Ok(fd)
}
