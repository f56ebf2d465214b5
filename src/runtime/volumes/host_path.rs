//! A path of the node, and what has to be there.
//!
//! As in Kubernetes the node's own links are followed. What was opened is held by its descriptor
//! from then on, so what was looked at is what is mounted.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt},
    },
    path::{Component, Path, PathBuf},
};

use nix::{fcntl::OFlag, sys::stat::Mode};

use crate::model::spec::HostPathKind;

/// Why a hostPath can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HostPathError {
    /// It is relative, or has `..`.
    #[error("use the hostPath {0:?}: it must be absolute and without `..`")]
    NotPlain(PathBuf),
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

/// Holds what is at `path`, made if `kind` says so. Opens no file for reading: a fifo or a device
/// there is only named.
///
/// # Errors
/// See [`HostPathError`].
pub fn open(path: &Path, kind: HostPathKind) -> Result<OwnedFd, HostPathError> {
    let plain = path.components().all(|c| c != Component::ParentDir);
    if !path.is_absolute() || !plain {
        return Err(HostPathError::NotPlain(path.to_owned()));
    }
    let failed = |source: io::Error| HostPathError::Io {
        path: path.to_owned(),
        source,
    };
    create(path, kind).map_err(failed)?;
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let fd = nix::fcntl::open(path, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
    let found = metadata(&fd).map_err(failed)?.file_type();
    if !is(kind, found) {
        return Err(HostPathError::Kind {
            path: path.to_owned(),
            wanted: wanted(kind),
        });
    }
    Ok(fd)
}
