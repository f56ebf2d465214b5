//! Taking directories away that others have written into.
//!
//! Why: what a container leaves may be a tree of any depth, and below it may lie what is not
//! ours: a hostPath that is still mounted. Owns: unmounting by evidence, and a removal that never
//! leaves the file system it began on. In: paths of riklet's own naming. Out: nothing there.
//! Must never happen here: following a link, or crossing a mount.

pub mod measure;

use std::{
    ffi::{CStr, CString, OsString},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat2, renameat2},
    mount::{MntFlags, umount2},
    sys::stat::Mode,
    unistd::{UnlinkatFlags, unlinkat},
};

/// How often the list of mounts is read again: one layer may lie on another.
const ROUNDS: usize = 16;

/// How many levels a removal descends before it lifts what is below.
const DEEPEST: usize = 64;

/// A mount point as /proc/self/mountinfo has it: `\040` is a space, and so on.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = text.get(at + 1..at + 4);
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if bytes[at] == b'\\' => {
                out.push(byte);
                at += 4;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    OsString::from_vec(out).into()
}

/// The mount points at `dir` and below it in the text of a mountinfo, the latest last.
fn below(text: &str, dir: &Path) -> Vec<PathBuf> {
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(unescape)
        .filter(|point| point.starts_with(dir))
        .collect()
}

/// The mount points at `dir` and below it, the latest last; none if `dir` isn't there.
///
/// # Errors
/// /proc can't be read.
pub fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let real = match fs::canonicalize(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        real => real?,
    };
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(below(&text, &real))
}

/// The kind of the file system that `path` (real, without links) lies on, then those of what is
/// mounted below it, each once.
fn kinds(text: &str, path: &Path) -> Vec<String> {
    let mut covering = (0, None);
    let mut kinds = Vec::new();
    for line in text.lines() {
        let Some((mount, source)) = line.split_once(" - ") else {
            continue;
        };
        let point = mount.split(' ').nth(4).map(unescape);
        let (Some(point), Some(kind)) = (point, source.split(' ').next()) else {
            continue;
        };
        let depth = point.components().count();
        if path.starts_with(&point) && depth >= covering.0 {
            // Of several at one place the last one is seen.
            covering = (depth, Some(kind.to_owned()));
        } else if point.starts_with(path) {
            kinds.push(kind.to_owned());
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    kinds.retain(|kind| Some(kind) != covering.1.as_ref());
    covering.1.into_iter().chain(kinds).collect()
}

/// The kind of the file system that `path` (real, without links) lies on, as mountinfo has it
/// (`ext4`), then those of what is mounted below it, each once.
///
/// # Errors
/// /proc can't be read.
pub fn file_systems(path: &Path) -> io::Result<Vec<String>> {
    Ok(kinds(&fs::read_to_string("/proc/self/mountinfo")?, path))
}

/// Unmounts everything at `dir` and below it, as often as it is mounted. Busy ones are detached:
/// nothing of ours lives there when this is called.
///
/// # Errors
/// What umount2(2) says.
pub fn unmount_below(dir: &Path) -> io::Result<()> {
    for _ in 0..ROUNDS {
        let points = mounts_below(dir)?;
        if points.is_empty() {
            return Ok(());
        }
        for point in points.iter().rev() {
            match umount2(point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH) {
                // Gone with the one it lay on.
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// Opens the directory `name` in `dir`: not through a link, and not if it is a mount point.
fn open_below(dir: impl AsFd, name: &CStr) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_XDEV,
        );
    openat2(dir, name, how)
}

/// Removes a file or an empty directory; false for a directory that isn't empty.
fn unlink(dir: impl AsFd + Copy, name: &CStr) -> nix::Result<bool> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(true),
        Err(Errno::EISDIR) => {}
        Err(e) => return Err(e),
    }
    match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Moves `name` of `dir` into `top`, under a name that is free there.
fn lift(
    dir: impl AsFd + Copy,
    name: &CStr,
    top: impl AsFd + Copy,
    next: &mut u64,
) -> nix::Result<()> {
    loop {
        *next += 1;
        let to = format!(".riklet-{next}");
        match renameat2(dir, name, top, to.as_str(), RenameFlags::RENAME_NOREPLACE) {
            Err(Errno::EEXIST) => {}
            done => return done,
        }
    }
}

/// Removes what is in `dir`, which is `depth` levels below `top`; what lies too deep is moved to
/// the top. Says whether there was anything.
fn clear(dir: &OwnedFd, depth: usize, top: &OwnedFd, lifted: &mut u64) -> nix::Result<bool> {
    let mut any = false;
    for entry in Dir::from_fd(open_below(dir, c".")?)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        any = true;
        if unlink(dir, name)? {
            continue;
        }
        if depth == DEEPEST {
            lift(dir, name, top, lifted)?;
            continue;
        }
        clear(&open_below(dir, name)?, depth + 1, top, lifted)?;
        unlink(dir, name)?;
    }
    Ok(any)
}

/// Removes `path` with everything below it; not found is a success. What lies deep is lifted to
/// its top, so a tree of any depth costs few descriptors and little stack. A mount point within
/// it is an error, and what is mounted there is not touched.
///
/// # Errors
/// What the kernel says; what was removed until then is gone.
pub fn remove(path: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let above = match open(above, flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
        above => above?,
    };
    let name = CString::new(name.as_encoded_bytes())?;
    if unlink(&above, &name)? {
        return Ok(());
    }
    let top = open_below(&above, &name)?;
    let mut lifted = 0;
    while clear(&top, 0, &top, &mut lifted)? {}
    match unlink(&above, &name)? {
        true => Ok(()),
        false => Err(Errno::ENOTEMPTY.into()),
    }
}

#[cfg(test)]
mod tests;
