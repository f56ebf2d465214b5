//! What is known of the snapshots.
//!
//! Why: the way to a snapshot that is there must cost microseconds. Owns: the names of the files of
//! a snapshot, the format of `image.json`, what makes a directory an image, and the index in
//! memory. In: directories, records. Out: look-ups. Must never happen here: a write.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use super::{layout, reference::Digest};

/// Begins the name of every snapshot.
pub(super) const PREFIX: &str = "sha256-";
/// The image's config, byte for byte.
pub(super) const CONFIG: &str = "config.json";
/// A [`Record`].
pub(super) const RECORD: &str = "image.json";
/// The unpacked tree.
pub(super) const ROOTFS: &str = "rootfs";

/// The name of the snapshot of an image with this config.
pub(super) fn name_of(config: &Digest) -> String {
    format!("{PREFIX}{}", config.hex())
}

/// What is recorded beside a snapshot, in `image.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The manifest in the layout it was unpacked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// Digests by which registries have it: of a manifest, or of a list that leads to it.
    #[serde(default)]
    pub digests: Vec<Digest>,
    /// References that led to it, newest last; a name that has moved on is also in a newer record.
    #[serde(default)]
    pub names: Vec<Named>,
    /// Its blobs in the shared blob directory.
    #[serde(default)]
    pub blobs: Vec<Digest>,
    /// Bytes that its tree takes on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A reference that led to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The canonical reference.
    pub reference: String,
    /// What the registry answered for it.
    pub digest: Digest,
    /// Counts over all snapshots: of one reference, the greatest order holds.
    pub order: u64,
}

/// A snapshot, as `images ls` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotView {
    /// Its name, `sha256-<hex>`.
    pub snapshot: String,
    /// What is recorded of it.
    pub record: Record,
    /// How long nobody asked for it, counted from the start of the daemon at most.
    pub idle: Duration,
    /// When its record was written last; none if that can't be read.
    pub made: Option<SystemTime>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) record: Record,
    pub(super) config: Arc<ImageConfiguration>,
    pub(super) last_asked: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) snapshots: BTreeMap<String, Known>,
    pub(super) by_digest: HashMap<Digest, String>,
    /// Order, digest, snapshot.
    pub(super) by_name: HashMap<String, (u64, Digest, String)>,
}

impl Index {
    pub(super) fn insert(
        &mut self,
        snapshot: &str,
        record: Record,
        config: Arc<ImageConfiguration>,
    ) {
        for digest in &record.digests {
            self.by_digest.insert(digest.clone(), snapshot.to_owned());
        }
        for named in &record.names {
            let newest = self.by_name.get(&named.reference).map_or(0, |n| n.0);
            if named.order >= newest {
                let entry = (named.order, named.digest.clone(), snapshot.to_owned());
                self.by_name.insert(named.reference.clone(), entry);
            }
        }
        let known = Known {
            record,
            config,
            last_asked: Instant::now(),
        };
        self.snapshots.insert(snapshot.to_owned(), known);
    }

    pub(super) fn forget(&mut self, snapshot: &str) {
        self.snapshots.remove(snapshot);
        self.by_digest.retain(|_, at| at != snapshot);
        self.by_name.retain(|_, (_, _, at)| at != snapshot);
    }

    pub(super) fn next_order(&self) -> u64 {
        self.by_name.values().map(|n| n.0).max().unwrap_or(0) + 1
    }
}

/// Reads one snapshot's files; the error says why it is none.
pub(super) fn load(dir: &Path, name: &str) -> Result<(Record, ImageConfiguration), String> {
    let bytes = fs::read(dir.join(CONFIG)).map_err(|e| format!("{CONFIG}: {e}"))?;
    if name != name_of(&Digest::of(&bytes)) {
        return Err(format!("{CONFIG} doesn't hash to the directory's name"));
    }
    if !dir.join(ROOTFS).is_dir() {
        return Err(format!("it has no {ROOTFS}"));
    }
    let config = layout::parse_config(&bytes).map_err(|e| format!("{CONFIG}: {e}"))?;
    // The record can be had again by asking the registry, so its loss isn't the image's.
    let record = fs::read(dir.join(RECORD)).map_err(|e| e.to_string());
    let record = record.and_then(|b| serde_json::from_slice(&b).map_err(|e| e.to_string()));
    let record = record.unwrap_or_else(|why| {
        tracing::warn!(
            snapshot = name,
            why,
            "{RECORD} is lost; its names are asked for again"
        );
        Record::default()
    });
    Ok((record, config))
}

pub(super) fn to_json(record: &Record) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(record).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
