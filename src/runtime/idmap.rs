//! Mounts that show their files' owners by the ids of a user namespace (Linux 5.12; below an
//! overlay 5.19, tmpfs 6.3).
//!
//! Why: what lies on the disk keeps the container's own ids (a file of root's there is root's
//! inside), so an image and a volume are the same for every container, whatever ids it has on the
//! node. Owns: three system calls. In: something held by its descriptor, a place, a user
//! namespace. Out: a mount. Must never happen here: a mount without the namespace's ids where it
//! was to have them.

// Unsafe: neither nix nor rustix has mount_setattr(2), and the other two go with it.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use nix::libc;

use super::tree;

/// Why something can't be mounted with other ids.
#[derive(Debug, thiserror::Error)]
pub enum IdmapError {
    /// The kernel doesn't know such mounts.
    #[error(
        "the kernel has no mounts with other ids; `hostUsers: false` needs Linux 5.19: update it, \
         or leave `hostUsers` out"
    )]
    Kernel(#[source] io::Error),
    /// The file system doesn't.
    #[error(
        "the file system {kind} can't show its files by other ids, which `hostUsers: false` needs; \
         take a place on another one (ext4, xfs, btrfs; tmpfs from Linux 6.3), or leave \
         `hostUsers` out"
    )]
    FileSystem {
        /// Its kind, or those of all that lie there.
        kind: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// A step failed.
    #[error("{step} with the ids of a user namespace")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl IdmapError {
    /// Will this node never do it as it is?
    #[must_use]
    pub fn permanent(&self) -> bool {
        matches!(self, Self::Kernel(_))
    }
}

fn number(flags: impl TryInto<libc::c_long>) -> libc::c_long {
    // Flags of the kernel's headers: they fit.
    flags.try_into().unwrap_or_default()
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        done => Ok(done),
    }
}

/// A detached copy of a mount, of exactly what `from` holds; `whole`: with all that is mounted
/// below it.
fn copy(from: impl AsFd, recursive: libc::c_long) -> io::Result<OwnedFd> {
    let flags = number(libc::OPEN_TREE_CLONE)
        | number(libc::OPEN_TREE_CLOEXEC)
        | number(libc::AT_EMPTY_PATH)
        | recursive;
    // SAFETY: a descriptor that is open, and an empty text that ends with a NUL; what is returned
    // is a descriptor that nobody else has.
    unsafe {
        let fd = checked(libc::syscall(
            libc::SYS_open_tree,
            number(from.as_fd().as_raw_fd()),
            c"".as_ptr(),
            flags,
        ))?;
        Ok(OwnedFd::from_raw_fd(
            i32::try_from(fd).map_err(io::Error::other)?,
        ))
    }
}

/// Gives a detached copy the ids of a user namespace, and nothing mounted there shows elsewhere.
fn give_ids(copy: &OwnedFd, users: &File, recursive: libc::c_long) -> io::Result<()> {
    let wish = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: u64::try_from(users.as_raw_fd()).map_err(io::Error::other)?,
    };
    // SAFETY: descriptors that are open, an empty text that ends with a NUL, and a struct of the
    // size that is told, which the kernel only reads.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            number(copy.as_raw_fd()),
            c"".as_ptr(),
            number(libc::AT_EMPTY_PATH) | recursive,
            &raw const wish,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(done).map(drop)
}

/// Mounts a detached copy.
fn attach(copy: &OwnedFd, at: &Path) -> io::Result<()> {
    let at = CString::new(at.as_os_str().as_encoded_bytes())?;
    // SAFETY: a descriptor that is open, and texts that end with a NUL.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            number(copy.as_raw_fd()),
            c"".as_ptr(),
            number(libc::AT_FDCWD),
            at.as_ptr(),
            number(libc::MOVE_MOUNT_F_EMPTY_PATH),
        )
    };
    checked(done).map(drop)
}

/// Mounts what `held` holds at `at`, its files' owners as `users`, a user namespace, has them:
/// who is 0 on the disk is 0 inside. `whole`: with all that is mounted below it, likewise.
///
/// # Errors
/// See [`IdmapError`]; then nothing is mounted.
pub fn mount(held: impl AsFd, at: &Path, users: &Path, whole: bool) -> Result<(), IdmapError> {
    let failed = |step| move |source| IdmapError::Step { step, source };
    let recursive = if whole { number(libc::AT_RECURSIVE) } else { 0 };
    let namespace = File::open(users).map_err(failed("open the user namespace to mount"))?;
    let copied = copy(held.as_fd(), recursive).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOSYS) => IdmapError::Kernel(e),
        _ => failed("copy the mount to show")(e),
    })?;
    give_ids(&copied, &namespace, recursive).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOSYS) => IdmapError::Kernel(e),
        Some(libc::EINVAL) => IdmapError::FileSystem {
            kind: kinds(held.as_fd(), whole),
            source: e,
        },
        _ => failed("show a mount")(e),
    })?;
    attach(&copied, at).map_err(failed("attach a mount"))
}

/// The kinds of the file systems that something lies on, for a message.
fn kinds(held: impl AsFd, whole: bool) -> String {
    let link = format!("/proc/self/fd/{}", held.as_fd().as_raw_fd());
    let found = std::fs::read_link(link).and_then(|real| tree::file_systems(&real));
    let mut kinds = found.unwrap_or_default();
    if !whole {
        kinds.truncate(1);
    }
    match kinds.is_empty() {
        true => "there".to_owned(),
        false => kinds.join(" or "),
    }
}

#[cfg(test)]
mod tests;
