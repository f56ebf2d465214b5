//! How much of the disk a tree takes that others write into, also while it is looked at.
//!
//! Why: an emptyDir's sizeLimit is held by looking, and what is looked at may have millions of
//! entries, any depth, and somebody who changes it meanwhile. Owns: a walk in steps of so many
//! entries, which holds [`OPEN`] descriptors and [`NAMES`] bytes of names however large the tree
//! is. In: a directory. Out: bytes. Must never happen here: following a link, crossing a mount,
//! or a walk without an end.
//!
//! Counted are allocated blocks, as du(1) does: a sparse file takes what it holds, and a directory
//! what its names need. A file with several names counts at each for its share of them: all its
//! names lie in this tree, for no link(2) leads from one mount to another. What is deleted and
//! still open isn't seen, nor what is moved from where the walk hasn't been to where it was.

use std::{
    collections::BTreeSet,
    ffi::CString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use nix::{
    dir::{Dir, OwningIter},
    errno::Errno,
    fcntl::{AtFlags, OFlag, open, openat},
    libc,
    sys::stat::{FileStat, Mode, fstat, fstatat},
};

use super::open_below;

/// So many of the innermost directories are held open, beside the root.
const OPEN: usize = 64;

/// So many bytes of names of directories wait to be walked; a directory with more is read again
/// for the rest.
const NAMES: usize = 1 << 18;

/// So many names are taken from a directory at least, so that a walk gets on.
const AT_LEAST: usize = 16;

/// At so many entries a walk ends, and what it has found until then is what counts.
const MOST: u64 = 10_000_000;

/// A block of `st_blocks`, in bytes; the same on every file system (stat(2)).
const BLOCK: u64 = 512;

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to be seen.
    Unfinished,
    /// This is what it takes, in bytes; or, where that is more than enough, a part of it.
    Done(u64),
}

/// What tells a directory from all others.
type Identity = (u64, u64);

fn identity(stat: &FileStat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// A directory that is walked, or one that such a one lies in.
struct Level {
    /// None while it lies too far above.
    dir: Option<OwnedFd>,
    is: Identity,
    /// It is being read.
    reading: Option<Reading>,
    /// Directories in it that are still to be walked.
    names: BTreeSet<CString>,
    /// There are more of them after this one, by name.
    after: Option<CString>,
}

/// A directory that is being read.
struct Reading {
    entries: OwningIter,
    /// Only directories after this one are wanted, for all else was counted before.
    after: Option<CString>,
}

/// A walk over a tree.
pub struct Walk {
    levels: Vec<Level>,
    bytes: u64,
    enough: u64,
    seen: u64,
    /// Bytes of all names that wait.
    waiting: usize,
}

impl Walk {
    /// Begins at `root`, if it isn't a link; it ends once more than `enough` bytes are found.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn begin(root: &Path, enough: u64) -> io::Result<Self> {
        let dir = open(root, FLAGS, Mode::empty())?;
        let mut this = Self {
            levels: Vec::new(),
            bytes: allocated(&fstat(&dir)?),
            enough,
            seen: 0,
            waiting: 0,
        };
        this.enter(dir)?;
        Ok(this)
    }

    /// Looks at `entries` more.
    ///
    /// # Errors
    /// What the kernel says; that something has vanished is none.
    pub fn step(&mut self, entries: u64) -> io::Result<Step> {
        let until = self.seen.saturating_add(entries);
        while self.seen < until {
            let over = self.bytes > self.enough || self.seen >= MOST;
            if over || self.levels.is_empty() {
                return Ok(Step::Done(self.bytes));
            }
            self.seen += 1;
            self.go_on()?;
        }
        Ok(Step::Unfinished)
    }

    /// The next entry of the innermost directory, or the next directory.
    fn go_on(&mut self) -> nix::Result<()> {
        let Some(Level {
            dir: Some(dir),
            reading,
            names,
            after,
            ..
        }) = self.levels.last_mut()
        else {
            // The innermost is always open.
            self.levels.clear();
            return Ok(());
        };
        if let Some(read) = reading {
            match read.entries.next() {
                Some(entry) => return self.meet(entry?.file_name().to_owned()),
                None => *reading = None,
            }
        } else if let Some(name) = names.pop_first() {
            self.waiting -= name.as_bytes().len();
            match open_below(dir, &name) {
                Ok(dir) => self.enter(dir)?,
                // Gone, a mount, or something else by now.
                Err(
                    Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::EAGAIN,
                ) => {}
                Err(e) => return Err(e),
            }
        } else if let Some(after) = after.take() {
            *reading = Some(read(dir, Some(after))?);
        } else {
            self.leave()?;
        }
        Ok(())
    }

    /// Counts an entry of the directory that is being read; a directory waits for its turn.
    fn meet(&mut self, name: CString) -> nix::Result<()> {
        let Some(Level {
            dir: Some(dir),
            reading: Some(reading),
            names,
            after,
            ..
        }) = self.levels.last_mut()
        else {
            return Ok(());
        };
        if name.as_c_str() == c"." || name.as_c_str() == c".." {
            return Ok(());
        }
        let stat = match fstatat(&*dir, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            stat => stat?,
        };
        if reading.after.is_none() {
            self.bytes = self.bytes.saturating_add(share(&stat));
        }
        if !is_dir(&stat) || reading.after.as_ref().is_some_and(|after| name <= *after) {
            return Ok(());
        }
        // Those that come first by name are kept: what is after the last of them comes later.
        if after.as_ref().is_some_and(|after| name > *after) {
            return Ok(());
        }
        self.waiting += name.as_bytes().len();
        names.insert(name);
        while names.len() > AT_LEAST && self.waiting > NAMES {
            let last = names.pop_last();
            self.waiting -= last.map_or(0, |name| name.as_bytes().len());
            *after = names.last().cloned();
        }
        Ok(())
    }

    fn enter(&mut self, dir: OwnedFd) -> nix::Result<()> {
        let far = self.levels.len().saturating_sub(OPEN - 1);
        if let Some(level) = self.levels.get_mut(far).filter(|_| far > 0) {
            level.dir = None;
        }
        self.levels.push(Level {
            is: identity(&fstat(&dir)?),
            reading: Some(read(&dir, None)?),
            dir: Some(dir),
            names: BTreeSet::new(),
            after: None,
        });
        Ok(())
    }

    /// Back to the directory above. Where that was closed it is what `..` leads to, unless
    /// somebody has moved this one meanwhile: then the walk goes on at the root.
    fn leave(&mut self) -> nix::Result<()> {
        let left = self.levels.pop().and_then(|level| level.dir);
        let (Some(left), Some(above)) = (left, self.levels.last_mut()) else {
            return Ok(());
        };
        if above.dir.is_some() {
            return Ok(());
        }
        let found = openat(left.as_fd(), c"..", FLAGS, Mode::empty());
        if let Ok(found) = found
            && identity(&fstat(&found)?) == above.is
        {
            above.dir = Some(found);
            return Ok(());
        }
        self.levels.truncate(1);
        let names = self.levels.iter().flat_map(|level| &level.names);
        self.waiting = names.map(|name| name.as_bytes().len()).sum();
        Ok(())
    }
}

const FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NOFOLLOW);

fn read(dir: &OwnedFd, after: Option<CString>) -> nix::Result<Reading> {
    let entries = Dir::from_fd(open_below(dir, c".")?)?.into_iter();
    Ok(Reading { entries, after })
}

fn is_dir(stat: &FileStat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFDIR
}

fn allocated(stat: &FileStat) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    blocks.saturating_mul(BLOCK)
}

/// What one name accounts for. A directory has one; its other links are its own `.` and the `..`
/// of those in it.
fn share(stat: &FileStat) -> u64 {
    match stat.st_nlink {
        names @ 2.. if !is_dir(stat) => allocated(stat) / names,
        _ => allocated(stat),
    }
}

#[cfg(test)]
mod tests;
