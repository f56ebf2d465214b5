//! One look into the manifests directory.
//!
//! Owns: which of its entries are manifests, and that reading them neither blocks nor leaves the
//! directory. In: the directory's path. Out: every manifest with its text, or why that can't be
//! had. Must never happen here: a directory that can't be read whole passing for an empty one, or
//! a fifo, a socket or a device being opened.

use std::{
    ffi::CStr,
    fs::{File, Metadata},
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    time::SystemTime,
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::{Mode, SFlag, fstat},
};

use crate::model::definition::MAX_BYTES;

/// The most bytes of one manifest file.
pub(super) const MAX_FILE: usize = MAX_BYTES;

/// The most bytes of all manifests together.
pub(super) const MAX_TOTAL: usize = 16 << 20;

/// The most manifests of a directory.
pub(super) const MAX_FILES: usize = 1000;

/// What a manifest's name ends with.
const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// One manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ManifestFile {
    /// Its name in the directory, fit to be shown.
    pub(super) name: String,
    /// Its text, or why it can't be had, in a sentence without its subject.
    pub(super) text: Result<String, String>,
}

/// Which directory it is: device, inode, and when that was made, for inodes are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64, Option<SystemTime>);

impl Identity {
    /// Of what these facts are about.
    pub(super) fn of(facts: &Metadata) -> Self {
        Self(facts.dev(), facts.ino(), facts.created().ok())
    }

    #[cfg(test)]
    pub(super) fn numbered(n: u64) -> Self {
        Self(0, n, None)
    }
}

/// Every manifest of the directory, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// Which directory it was.
    pub(super) identity: Identity,
    /// By name.
    pub(super) files: Vec<ManifestFile>,
}

/// Why it isn't known what the directory holds.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// There is none.
    #[error("there is no directory {path}")]
    Missing {
        /// Where.
        path: String,
    },
    /// It is there and can't be read.
    #[error("{path} can't be read")]
    Unreadable {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It holds more than a manifests directory may.
    #[error("{path} has more than {MAX_FILES} manifests")]
    TooMany {
        /// Where.
        path: String,
    },
}

/// Reads the directory and every manifest in it. Blocks on the disk, and on nothing else.
///
/// # Errors
/// It isn't known what the directory holds.
pub(super) fn look(path: &Path) -> Result<Look, LookError> {
    let shown = || path.display().to_string();
    let failed = |errno: Errno| match errno {
        Errno::ENOENT => LookError::Missing { path: shown() },
        errno => LookError::Unreadable {
            path: shown(),
            source: errno.into(),
        },
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let directory = open(path, flags, Mode::empty()).map_err(failed)?;
    let unreadable = |source| LookError::Unreadable {
        path: shown(),
        source,
    };
    let listed = directory.try_clone().map_err(unreadable)?;
    let facts = File::from(directory.try_clone().map_err(unreadable)?).metadata();
    let identity = Identity::of(&facts.map_err(unreadable)?);
    let mut names = Vec::new();
    for entry in Dir::from_fd(listed).map_err(failed)?.iter() {
        let entry = entry.map_err(failed)?;
        if is_manifest(entry.file_name()) {
            names.push(entry.file_name().to_owned());
        }
        if names.len() > MAX_FILES {
            return Err(LookError::TooMany { path: shown() });
        }
    }
    names.sort();
    let mut left = MAX_TOTAL;
    let files = names.iter().filter_map(|name| {
        let text = match read(&directory, name, left) {
            // It was removed since it was listed.
            Err(ReadError::Gone) => return None,
            Err(ReadError::Fault(why)) => Err(why),
            Ok(text) => {
                left -= text.len();
                Ok(text)
            }
        };
        let name = shown_name(name);
        Some(ManifestFile { name, text })
    });
    Ok(Look {
        files: files.collect(),
        identity,
    })
}

/// Files of editors and of those who rename into place begin with a dot or end otherwise.
fn is_manifest(name: &CStr) -> bool {
    let name = name.to_bytes();
    let ends = ENDINGS.iter().any(|end| name.ends_with(end.as_bytes()));
    ends && !name.starts_with(b".") && !name.starts_with(b"#")
}

/// A name from outside as it may stand on a terminal.
fn shown_name(name: &CStr) -> String {
    let name = name.to_string_lossy();
    name.chars().flat_map(char::escape_debug).collect()
}

enum ReadError {
    Gone,
    Fault(String),
}

impl From<Errno> for ReadError {
    fn from(errno: Errno) -> Self {
        Self::Fault(format!("can't be read: {}", errno.desc()))
    }
}

/// Reads a file of the directory. Links are followed within the directory, as a mounted ConfigMap
/// has them, and nowhere else.
fn read(directory: &OwnedFd, name: &CStr, left: usize) -> Result<String, ReadError> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let place = match open_beneath(directory, name, how) {
        Ok(place) => place,
        Err(Errno::ENOENT) if !is_link(directory, name) => return Err(ReadError::Gone),
        Err(Errno::ENOENT) => return Err(ReadError::Fault("is a link to nothing".to_owned())),
        Err(Errno::EXDEV) => {
            let why = "is a link out of the manifests directory, which is not followed";
            return Err(ReadError::Fault(why.to_owned()));
        }
        Err(errno) => return Err(errno.into()),
    };
    let kind = SFlag::from_bits_truncate(fstat(&place)?.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFREG {
        return Err(ReadError::Fault("is not a regular file".to_owned()));
    }
    // Only now, that it is known to be a file, is it opened: this very one.
    let reopened = format!("/proc/self/fd/{}", place.as_raw_fd());
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = open(reopened.as_str(), flags, Mode::empty())?;
    let mut bytes = Vec::new();
    let read = File::from(file)
        .take(MAX_FILE as u64 + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| ReadError::Fault(format!("can't be read: {error}")))?;
    if bytes.len() > MAX_FILE {
        let why = format!("has more than {MAX_FILE} bytes, which is the limit");
        return Err(ReadError::Fault(why));
    }
    if bytes.len() > left {
        let why = format!("is not read: all manifests together have more than {MAX_TOTAL} bytes");
        return Err(ReadError::Fault(why));
    }
    String::from_utf8(bytes).map_err(|_| ReadError::Fault("is not UTF-8".to_owned()))
}

fn open_beneath(directory: &OwnedFd, name: &CStr, how: OpenHow) -> nix::Result<OwnedFd> {
    // EAGAIN: something was renamed along the way; openat2(2) says to try again.
    for _ in 0..16 {
        match openat2(directory, name, how) {
            Err(Errno::EAGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::EAGAIN)
}

fn is_link(directory: &OwnedFd, name: &CStr) -> bool {
    nix::fcntl::readlinkat(directory, name).is_ok()
}

#[cfg(test)]
mod tests;
