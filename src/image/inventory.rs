//! What images take on the disk, read from their directories alone.
//!
//! Why apart from the index in memory: `riklet images ls` and `doctor` answer also where the
//! daemon is dead. In: the directory `snapshots/`. Out: [`Stored`], [`Fullness`]. Must never
//! happen here: a write, or a name being shown beside an image that it has moved on from.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use nix::sys::statvfs::statvfs;

use super::{
    layout,
    records::{self, CONFIG, PREFIX, RECORD, ROOTFS, Record},
    snapshots::{BLOBS, DAMAGED, GONE, STAGING},
};

/// A snapshot as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name, `sha256-<hex>`.
    pub snapshot: String,
    /// The references that lead to it now: by tag or file, else by digest.
    pub names: Vec<String>,
    /// The digest that a registry has it by, the newest one.
    pub digest: Option<String>,
    /// Bytes of its unpacked tree.
    pub bytes: u64,
    /// Bytes of its compressed blobs that are kept, those shared with other images among them.
    pub blob_bytes: u64,
    /// When it was unpacked.
    pub made: Option<Timestamp>,
}

/// Everything below `snapshots/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By name.
    pub snapshots: Vec<Stored>,
    /// Bytes of all compressed blobs, each counted once.
    pub blob_bytes: u64,
}

impl Inventory {
    /// Bytes of everything.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let trees = self.snapshots.iter().map(|stored| stored.bytes);
        trees.fold(self.blob_bytes, u64::saturating_add)
    }
}

/// Looks at the directory `snapshots/`; one that isn't there holds nothing. Blocks.
///
/// # Errors
/// It can't be read.
pub fn inventory(dir: &Path) -> io::Result<Inventory> {
    let blobs = dir.join(BLOBS);
    let mut found = Vec::new();
    let mut newest: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for entry in entries(dir)? {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = entry.path();
        if !name.starts_with(PREFIX) || !path.join(CONFIG).exists() {
            continue;
        }
        let record: Record = fs::read(path.join(RECORD))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        for named in &record.names {
            let at = newest.entry(named.reference.clone()).or_default();
            if named.order >= at.0 {
                *at = (named.order, name.clone());
            }
        }
        found.push((name, path, record));
    }
    let stored = |(snapshot, path, record): (String, PathBuf, Record)| {
        let leads = |reference: &String| newest.get(reference).is_some_and(|(_, s)| *s == snapshot);
        let names = record.names.iter().map(|named| named.reference.clone());
        let mut names: Vec<_> = names.filter(leads).collect();
        // By its digest it is known anyway.
        if names.iter().any(|name| !name.contains('@')) {
            names.retain(|name| !name.contains('@'));
        }
        let sizes = record.blobs.iter().map(|blob| {
            fs::metadata(layout::blob_path(&blobs, blob)).map_or(0, |metadata| metadata.len())
        });
        Stored {
            names,
            digest: record.digests.last().map(|d| d.as_str().to_owned()),
            bytes: record
                .bytes
                .unwrap_or_else(|| tree_bytes(&path.join(ROOTFS))),
            blob_bytes: sizes.sum(),
            made: made(&path.join(CONFIG)),
            snapshot,
        }
    };
    let mut snapshots: Vec<_> = found.into_iter().map(stored).collect();
    snapshots.sort_by(|a, b| a.snapshot.cmp(&b.snapshot));
    let blobs = entries(&blobs.join("sha256"))?.into_iter();
    Ok(Inventory {
        snapshots,
        blob_bytes: blobs.filter_map(|e| Some(e.metadata().ok()?.len())).sum(),
    })
}

/// What lies in `snapshots/` and is no image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// A pull's, made by the daemon with this pid.
    Staging {
        /// Which; none if its name doesn't say.
        pid: Option<i32>,
    },
    /// An image on its way out.
    Going,
    /// What bore an image's name and was none, put aside by the pull that made that image.
    Damaged {
        /// The name that it had.
        snapshot: String,
    },
    /// It bears an image's name and can't prove it.
    NoImage {
        /// The name.
        snapshot: String,
        /// Why not.
        why: String,
    },
    /// No name that riklet gives.
    Strange,
}

/// Looks at the directory `snapshots/` for what is no image. Blocks.
///
/// # Errors
/// It can't be read.
pub fn leftovers(dir: &Path) -> io::Result<Vec<(PathBuf, Leftover)>> {
    let mut found = Vec::new();
    for entry in entries(dir)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let left = if name.starts_with(PREFIX) {
            match records::load(&entry.path(), &name) {
                Ok(_) => continue,
                Err(why) => Leftover::NoImage {
                    snapshot: name,
                    why,
                },
            }
        } else if let Some(drawn) = name.strip_prefix(STAGING) {
            let pid = drawn.split_once('-').and_then(|(pid, _)| pid.parse().ok());
            Leftover::Staging { pid }
        } else if name.starts_with(GONE) {
            Leftover::Going
        } else if let Some(aside) = name.strip_prefix(DAMAGED) {
            let snapshot = aside
                .rsplit_once('.')
                .map_or(aside, |(snapshot, _)| snapshot);
            Leftover::Damaged {
                snapshot: snapshot.to_owned(),
            }
        } else if name == BLOBS || name == "lost+found" {
            continue;
        } else {
            Leftover::Strange
        };
        found.push((entry.path(), left));
    }
    Ok(found)
}

fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => Ok(read?.flatten().collect()),
    }
}

fn made(path: &Path) -> Option<Timestamp> {
    Timestamp::from_second(fs::metadata(path).ok()?.mtime()).ok()
}

/// The blocks that a tree takes, in bytes; a file of several names once. Follows no link.
pub(super) fn tree_bytes(root: &Path) -> u64 {
    let (mut bytes, mut linked) = (0_u64, HashSet::new());
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                open.push(entry.path());
            } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            bytes = bytes.saturating_add(metadata.blocks() * 512);
        }
    }
    bytes
}

/// How full a filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fullness {
    /// Bytes that files could have in all.
    pub total: u64,
    /// Bytes that are free for riklet.
    pub free: u64,
}

impl Fullness {
    /// Of the filesystem that the path lies on.
    ///
    /// # Errors
    /// It can't be asked.
    pub fn of(path: &Path) -> io::Result<Self> {
        let stat = statvfs(path)?;
        #[allow(
            clippy::useless_conversion,
            reason = "of another width on 32 bit machines"
        )]
        let (all, free, left, unit) = (
            u64::from(stat.blocks()),
            u64::from(stat.blocks_free()),
            u64::from(stat.blocks_available()),
            u64::from(stat.fragment_size()),
        );
        // What is kept for root is nobody's, as df(1) counts it.
        let total = all.saturating_sub(free).saturating_add(left);
        Ok(Self {
            total: total.saturating_mul(unit),
            free: left.saturating_mul(unit),
        })
    }

    /// In hundredths, rounded up, as df(1) does.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let used = u128::from(self.total.saturating_sub(self.free));
        let percent = (used * 100).div_ceil(u128::from(self.total.max(1)));
        u64::try_from(percent).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests;
