//! Segments: the files that lines lie in.
//!
//! Owns: their names, how one comes to be and what space the live one has of its own. A segment
//! gets its name only with a durable header in it, so that a named segment without one is
//! damage. Must never happen here: a byte being overwritten or cut off.

use std::{
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::disk::Disk;
use crate::model::ids::Seq;

/// What a segment is called before it has a header.
const PREPARED: &str = ".segment.tmp";

/// The name of the segment whose first line is `first`.
#[must_use]
pub fn file_name(first: Seq) -> String {
    format!("{first:020}.jsonl")
}

/// The first seq of a segment, by its name.
#[must_use]
pub fn parse_name(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(".jsonl")?;
    parse_seq(digits)
}

/// No journal ever gets there; a name beyond it would leave no numbers to go on with.
const MAX_SEQ: Seq = 1 << 62;

/// The seq in the name of a segment or snapshot.
pub(super) fn parse_seq(digits: &str) -> Option<Seq> {
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    let seq = digits.parse().ok().filter(|_| plain)?;
    (seq <= MAX_SEQ).then_some(seq)
}

/// The segments in a directory by their first seq, ascending; none if it isn't there.
///
/// # Errors
/// As readdir(3).
pub fn list(dir: &Path) -> io::Result<Vec<Seq>> {
    list_by(dir, parse_name)
}

pub(super) fn list_by(dir: &Path, parse: impl Fn(&str) -> Option<Seq>) -> io::Result<Vec<Seq>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        if let Some(seq) = entry?.file_name().to_str().and_then(&parse) {
            found.push(seq);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads a file of the journal. A name that is there and leads nowhere is not one that is gone: it
/// would be "gone" at every look.
///
/// # Errors
/// As read(2); `NotFound` only if the name is gone.
pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_ok() =>
        {
            Err(io::Error::other("it is a link that leads nowhere"))
        }
        read => read,
    }
}

/// The segment that is written to.
#[derive(Debug)]
pub struct Live {
    /// Its file, open for appending.
    pub file: Arc<File>,
    /// Seq of its first line.
    pub first: Seq,
    /// How many of its bytes are whole lines that count.
    pub len: u64,
    /// Up to which offset its space is its own; none where the filesystem can't promise that.
    pub reserved: Option<u64>,
}

impl Live {
    /// Bytes of its own that are left.
    #[must_use]
    pub fn reserve_left(&self) -> Option<u64> {
        self.reserved.map(|end| end.saturating_sub(self.len))
    }
}

/// A segment with space of its own and without a name.
#[derive(Debug)]
pub struct Prepared {
    file: File,
    path: PathBuf,
    reserved: Option<u64>,
}

impl Prepared {
    /// Makes a file and gives it `reserve` bytes of space.
    ///
    /// # Errors
    /// The disk is full, or refuses.
    pub fn new(disk: &Disk, dir: &Path, reserve: u64) -> io::Result<Self> {
        let path = dir.join(PREPARED);
        // What a daemon that died here left: no name, so nothing in it counts.
        disk.remove(&path)?;
        let file = disk.create(&path)?;
        match disk.reserve(&file, reserve) {
            Ok(owned) => Ok(Self {
                file,
                path,
                reserved: owned.then_some(reserve),
            }),
            Err(error) => {
                disk.remove(&path).ok();
                Err(error)
            }
        }
    }

    /// Writes the header, makes it durable and gives the segment its name.
    ///
    /// # Errors
    /// Any step failed; there is no new segment then.
    pub fn publish(self, disk: &Disk, dir: &Path, first: Seq, header: &[u8]) -> io::Result<Live> {
        disk.append(&self.file, header)?;
        disk.fdatasync(&self.file)?;
        let named = dir.join(file_name(first));
        disk.rename_new(&self.path, &named)?;
        if let Err(error) = disk.fsync_dir(dir) {
            // Nobody was told of it, and the next one will continue from the same line.
            disk.remove(&named).ok();
            return Err(error);
        }
        Ok(Live {
            file: Arc::new(self.file),
            first,
            len: u64::try_from(header.len()).unwrap_or(u64::MAX),
            reserved: self.reserved,
        })
    }

    /// Gives it up.
    pub fn discard(self, disk: &Disk) {
        disk.remove(&self.path).ok();
    }
}

/// Gives the space back that an ended segment owns beyond its bytes.
///
/// # Errors
/// As ftruncate(2).
pub fn release_reserve(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let meta = file.metadata()?;
    // Blocks of 512 bytes; a page of slack is no reserve.
    if meta.blocks() * 512 > meta.len() + 64 * 1024 {
        // To its own length: this frees what lies beyond and removes no byte.
        file.set_len(meta.len())?;
    }
    Ok(())
}

/// The space that an ended segment still owns, by its blocks.
///
/// # Errors
/// As stat(2).
pub fn owned(path: &Path) -> io::Result<u64> {
    Ok(path.metadata()?.blocks() * 512)
}

#[cfg(test)]
mod tests;
