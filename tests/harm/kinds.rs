//! What can happen to a file.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Truncated,
    Zeroed,
    Flipped,
    Old,
    Removed,
    Directory,
    LinkToNothing,
    LinkToAnother,
}

pub const KINDS: [Kind; 8] = [
    Kind::Truncated,
    Kind::Zeroed,
    Kind::Flipped,
    Kind::Old,
    Kind::Removed,
    Kind::Directory,
    Kind::LinkToNothing,
    Kind::LinkToAnother,
];

/// What a link leads to: it must not be written to.
pub const DECOY: &str = "this is somebody else's file\n";

/// A damaged file, with the way back.
pub struct Damaged {
    path: PathBuf,
    kept: PathBuf,
}

/// Damages the file; none if that would change nothing. The file itself is put into `aside`, so
/// that whoever has it open goes on with it, and it can be put back. `old` is its older copy.
pub fn damage(path: &Path, kind: Kind, aside: &Path, old: &Path, dice: u64) -> Option<Damaged> {
    let whole = fs::read(path).unwrap();
    let bytes = match kind {
        Kind::Truncated if whole.is_empty() => return None,
        Kind::Truncated => Some(whole[..whole.len() / 2].to_vec()),
        Kind::Zeroed => Some(zeroed(&whole)).filter(|bytes| *bytes != whole),
        Kind::Flipped => flipped(&whole, dice),
        Kind::Old => fs::read(old).ok().filter(|old| *old != whole),
        _ => None,
    };
    if bytes.is_none() && kind <= Kind::Old {
        return None;
    }
    let kept = aside.join("kept");
    fs::rename(path, &kept).unwrap();
    let decoy = aside.join("decoy");
    fs::write(&decoy, DECOY).unwrap();
    match (kind, bytes) {
        (_, Some(bytes)) => fs::write(path, bytes).unwrap(),
        (Kind::Directory, _) => fs::create_dir(path).unwrap(),
        (Kind::LinkToNothing, _) => symlink(aside.join("nothing"), path).unwrap(),
        (Kind::LinkToAnother, _) => symlink(&decoy, path).unwrap(),
        _ => {}
    }
    let path = path.to_owned();
    Some(Damaged { path, kept })
}

/// 512 bytes in the middle, or all of a small file.
fn zeroed(whole: &[u8]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let middle = bytes.len() / 2;
    let (from, to) = (middle.saturating_sub(256), (middle + 256).min(bytes.len()));
    bytes[from..to].fill(0);
    bytes
}

fn flipped(whole: &[u8], dice: u64) -> Option<Vec<u8>> {
    let mut bytes = whole.to_vec();
    let len = u64::try_from(bytes.len()).unwrap();
    let at = usize::try_from((dice >> 3).checked_rem(len)?).unwrap();
    bytes[at] ^= 1 << (dice % 8);
    Some(bytes)
}

impl Damaged {
    /// Puts the file back.
    pub fn undo(self) {
        remove(&self.path).unwrap();
        fs::rename(&self.kept, &self.path).unwrap();
    }
}

/// Removes whatever has this name.
pub fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies a directory with everything in it; what is there already goes.
pub fn copy_dir(from: &Path, to: &Path) {
    remove(to).unwrap();
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_dir(&entry.path(), &target),
            kind if kind.is_file() => drop(fs::copy(entry.path(), target).unwrap()),
            _ => {}
        }
    }
}
