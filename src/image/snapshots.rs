//! Unpacked images on disk, and what is known of them.
//!
//! Why: a container may only run from a rootfs that is all there, and a kill or a power cut may
//! come at any moment. Owns: everything below `snapshots/`:
//!
//! ```text
//! snapshots/sha256-<hex>/rootfs/      the unpacked tree; a lowerdir, never written again
//!                        config.json  the image's OCI config, byte for byte; its hash is <hex>
//!                        image.json   a Record: manifest, registry digests, names, blobs
//!           .blobs/sha256/<hex>       compressed blobs, shared by pulls; a cache
//!           .tmp-<pid>-<n>/           a pull at work; removed when it ends, or at the next start
//!           .gone-…, .damaged-…       on their way out
//! ```
//!
//! A snapshot is named by its *config's* digest: the config holds the layers' own hashes, so it
//! says what the rootfs is, whichever registry, tag, list or manifest format it came by, and
//! `config.json` proves the name. The registry's digests are in `image.json`. In: staged trees.
//! Out: [`ReadyImage`]s. Must never happen here: a name `sha256-…` on a tree that isn't complete
//! and on the disk, or a tree changed under its name.

use std::{
    collections::{BTreeSet, HashSet},
    convert::Infallible,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use oci_spec::image::ImageConfiguration;
use tokio::task::spawn_blocking;

use super::{
    error::ImageError,
    inventory::tree_bytes,
    layout::Contents,
    records::{
        CONFIG, Index, Known, Named, PREFIX, RECORD, ROOTFS, Record, SnapshotView, load, name_of,
        to_json,
    },
    reference::{Digest, Reference},
    staging::{Staging, make_dir, remove_tree, sync_dir, write_file},
};
use crate::node::ReadyImage;

pub(super) const STAGING: &str = ".tmp-";
pub(super) const GONE: &str = ".gone-";
pub(super) const DAMAGED: &str = ".damaged-";
pub(super) const BLOBS: &str = ".blobs";
const WRITE_BACK_EVERY: Duration = Duration::from_secs(1);

/// The snapshots below one directory. One value per directory and process.
#[derive(Debug)]
pub struct Snapshots {
    dir: PathBuf,
    index: Mutex<Index>,
    /// Held while a snapshot is renamed or its record is written; never by a reader.
    writing: Mutex<()>,
    drawn: AtomicU64,
}

impl Snapshots {
    /// Opens `dir`, making it if need be: removes what killed pulls left, and reads what is there.
    /// A directory that can't prove its name is no image; it stays, because something may run
    /// from it, and is said in a log line. Call it before the first pull and after the processes
    /// of a former daemon are gone.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn open(dir: &Path) -> Result<Self, ImageError> {
        if let Some(parent) = dir.parent() {
            fs::create_dir_all(parent).map_err(ImageError::io("make", parent))?;
        }
        make_dir(dir)?;
        make_dir(&dir.join(BLOBS))?;
        let mut index = Index::default();
        for entry in fs::read_dir(dir).map_err(ImageError::io("read", dir))? {
            let entry = entry.map_err(ImageError::io("read", dir))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(STAGING) || name.starts_with(GONE) {
                remove_tree(&entry.path())?;
            } else if name.starts_with(PREFIX) {
                match load(&entry.path(), name) {
                    Ok((record, config)) => index.insert(name, record, Arc::new(config)),
                    Err(why) => tracing::warn!(snapshot = name, why, "this is not an image"),
                }
            }
        }
        Ok(Self {
            dir: dir.to_owned(),
            index: Mutex::new(index),
            writing: Mutex::new(()),
            drawn: AtomicU64::new(0),
        })
    }

    /// The snapshot that a registry has as `digest`.
    pub fn by_digest(&self, digest: &Digest) -> Option<ReadyImage> {
        let snapshot = self.index().by_digest.get(digest)?.clone();
        self.ready(digest, snapshot)
    }

    /// The snapshot that this canonical reference led to last.
    pub fn by_name(&self, reference: &str) -> Option<ReadyImage> {
        let (_, digest, snapshot) = self.index().by_name.get(reference)?.clone();
        self.ready(&digest, snapshot)
    }

    /// The snapshot that a reference would be run from, without counting as asked for.
    pub(super) fn name_leads_to(&self, reference: &Reference) -> Option<String> {
        let index = self.index();
        match reference.digest() {
            Some(digest) => index.by_digest.get(digest).cloned(),
            None => Some(index.by_name.get(&reference.identity())?.2.clone()),
        }
    }

    fn ready(&self, digest: &Digest, snapshot: String) -> Option<ReadyImage> {
        self.has(&snapshot).then(|| ReadyImage {
            digest: digest.as_str().to_owned(),
            snapshot,
        })
    }

    /// Is it there? One that somebody removed by hand isn't, and is forgotten.
    pub fn has(&self, snapshot: &str) -> bool {
        let mut index = self.index();
        let Some(known) = index.snapshots.get_mut(snapshot) else {
            return false;
        };
        known.last_asked = Instant::now();
        let there = self.dir.join(snapshot).join(CONFIG).exists();
        if !there {
            index.forget(snapshot);
        }
        there
    }

    /// The image's config.
    ///
    /// # Errors
    /// [`ImageError::NoSnapshot`].
    pub fn config(&self, snapshot: &str) -> Result<Arc<ImageConfiguration>, ImageError> {
        match self.index().snapshots.get(snapshot) {
            Some(known) => Ok(Arc::clone(&known.config)),
            None => Err(ImageError::NoSnapshot {
                snapshot: snapshot.to_owned(),
            }),
        }
    }

    /// Where the root filesystem lies, whether it is there or not.
    pub fn rootfs(&self, snapshot: &str) -> PathBuf {
        self.dir.join(snapshot).join(ROOTFS)
    }

    /// The shared blob directory.
    pub(super) fn blobs(&self) -> PathBuf {
        self.dir.join(BLOBS)
    }

    /// All snapshots, by name.
    pub fn list(&self) -> Vec<SnapshotView> {
        let index = self.index();
        let view = |(snapshot, known): (&String, &Known)| SnapshotView {
            snapshot: snapshot.clone(),
            record: known.record.clone(),
            idle: known.last_asked.elapsed(),
            made: fs::metadata(self.dir.join(snapshot).join(RECORD))
                .and_then(|metadata| metadata.modified())
                .ok(),
        };
        index.snapshots.iter().map(view).collect()
    }

    /// A directory for one pull.
    pub(super) fn stage(&self) -> Result<Staging, ImageError> {
        let n = self.drawn.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let dir = self.dir.join(format!("{STAGING}{pid}-{n}"));
        make_dir(&dir)?;
        Ok(Staging::new(dir))
    }

    /// Brings what is written below `path` to the disk every second, and never returns: so the last
    /// sync is short, and the journal's own, on the same filesystem, don't wait for it.
    pub(super) async fn write_back(&self, path: &Path) -> Infallible {
        loop {
            tokio::time::sleep(WRITE_BACK_EVERY).await;
            let path = path.to_owned();
            let _ = spawn_blocking(move || sync_filesystem(&path)).await;
        }
    }

    /// Makes the staged, completely unpacked tree an image: writes its config and record, brings
    /// it all to the disk, renames it. Blocks; must not be interrupted, and nothing else may touch
    /// the staging directory meanwhile. An equal snapshot that is there stays, and is used.
    pub(super) fn publish(
        &self,
        staging: &Staging,
        contents: &Contents,
        reference: &str,
        digest: &Digest,
    ) -> Result<ReadyImage, ImageError> {
        let snapshot = name_of(&contents.config);
        let staged = staging.snapshot();
        let record = Record {
            manifest: Some(contents.manifest.clone()),
            blobs: contents.blobs.clone(),
            bytes: Some(tree_bytes(&staging.rootfs())),
            ..Record::default()
        };
        write_file(&staged.join(CONFIG), &contents.config_bytes)?;
        write_file(&staged.join(RECORD), &to_json(&record))?;
        sync_filesystem(&staged).map_err(ImageError::io("write to the disk", &staged))?;

        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has(&snapshot) {
            let target = self.dir.join(&snapshot);
            self.move_aside(&target, DAMAGED)?;
            fs::rename(&staged, &target).map_err(ImageError::io("rename to", &target))?;
            sync_dir(&self.dir)?;
            let config = Arc::new(contents.parsed.clone());
            self.index().insert(&snapshot, record, config);
        }
        self.name_locked(&writing, &snapshot, reference, digest)
    }

    /// Records that `reference` led to a snapshot that is there, which the registry has as
    /// `digest`. Blocks; writes only if that is news.
    pub(super) fn name(
        &self,
        snapshot: &str,
        reference: &str,
        digest: &Digest,
    ) -> Result<ReadyImage, ImageError> {
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.name_locked(&writing, snapshot, reference, digest)
    }

    fn name_locked(
        &self,
        _writing: &MutexGuard<'_, ()>,
        snapshot: &str,
        reference: &str,
        digest: &Digest,
    ) -> Result<ReadyImage, ImageError> {
        let ready = ReadyImage {
            digest: digest.as_str().to_owned(),
            snapshot: snapshot.to_owned(),
        };
        let (record, config) = {
            let index = self.index();
            let Some(known) = index.snapshots.get(snapshot) else {
                let snapshot = snapshot.to_owned();
                return Err(ImageError::NoSnapshot { snapshot });
            };
            let leads_here = index
                .by_name
                .get(reference)
                .is_some_and(|(_, d, s)| d == digest && s == snapshot);
            if leads_here && known.record.digests.contains(digest) {
                return Ok(ready);
            }
            let mut record = known.record.clone();
            if !record.digests.contains(digest) {
                record.digests.push(digest.clone());
            }
            record.names.retain(|n| n.reference != reference);
            record.names.push(Named {
                reference: reference.to_owned(),
                digest: digest.clone(),
                order: index.next_order(),
            });
            (record, Arc::clone(&known.config))
        };
        let dir = self.dir.join(snapshot);
        let next = dir.join(".image.json");
        write_file(&next, &to_json(&record))?;
        let path = dir.join(RECORD);
        fs::rename(&next, &path).map_err(ImageError::io("rename to", &path))?;
        sync_dir(&dir)?;
        self.index().insert(snapshot, record, config);
        Ok(ready)
    }

    /// Removes snapshots, but for those that somebody asked for since `min_age`; returns which
    /// went. Each is renamed first, so that half a removal is never an image. Blocks.
    pub(super) fn remove(
        &self,
        snapshots: &[String],
        min_age: Duration,
    ) -> Result<Vec<String>, ImageError> {
        let mut removed = Vec::new();
        for snapshot in snapshots {
            let gone = {
                let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
                let mut index = self.index();
                let idle = index
                    .snapshots
                    .get(snapshot)
                    .map(|k| k.last_asked.elapsed());
                if idle.is_some_and(|idle| idle < min_age) {
                    continue;
                }
                index.forget(snapshot);
                drop(index);
                self.move_aside(&self.dir.join(snapshot), GONE)?
            };
            if let Some(gone) = gone {
                remove_tree(&gone)?;
            }
            removed.push(snapshot.clone());
        }
        Ok(removed)
    }

    /// Removes blobs that no snapshot names. Only while no pull is at work.
    pub(super) fn trim_blobs(&self) -> Result<u64, ImageError> {
        let named: HashSet<String> = {
            let index = self.index();
            let records = index.snapshots.values().map(|known| &known.record);
            let blobs = records.flat_map(|record| &record.blobs);
            blobs.map(|blob| blob.hex().to_owned()).collect()
        };
        let dir = self.blobs().join("sha256");
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other.map_err(ImageError::io("read", &dir))?,
        };
        let mut freed = 0;
        for entry in entries.flatten() {
            if entry
                .file_name()
                .to_str()
                .is_some_and(|n| named.contains(n))
            {
                continue;
            }
            let bytes = entry.metadata().map_or(0, |m| m.len());
            fs::remove_file(entry.path()).map_err(ImageError::io("remove", entry.path()))?;
            freed += bytes;
        }
        Ok(freed)
    }

    /// Removes damaged directories whose names nothing uses.
    pub(super) fn remove_damaged(&self, in_use: &BTreeSet<String>) -> Result<(), ImageError> {
        for entry in fs::read_dir(&self.dir).map_err(ImageError::io("read", &self.dir))? {
            let entry = entry.map_err(ImageError::io("read", &self.dir))?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|n| n.strip_prefix(DAMAGED));
            let Some((snapshot, _)) = name.and_then(|n| n.rsplit_once('.')) else {
                continue;
            };
            if !in_use.contains(snapshot) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Renames a directory to a dot name, if it is there.
    fn move_aside(&self, path: &Path, prefix: &str) -> Result<Option<PathBuf>, ImageError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        loop {
            let n = self.drawn.fetch_add(1, Ordering::Relaxed);
            let aside = self.dir.join(format!("{prefix}{name}.{n}"));
            match fs::rename(path, &aside) {
                Ok(()) => return sync_dir(&self.dir).map(|()| Some(aside)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                // An earlier daemon drew that number.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(e) => return Err(ImageError::io("rename", path)(e)),
            }
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync_filesystem(path: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(path)?)?)
}

#[cfg(test)]
mod tests;
