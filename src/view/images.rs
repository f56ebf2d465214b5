//! `images`: what of the disk images take, and whom they are for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    image::{Fullness, Inventory, Progress, Step, reference::Reference},
    model::fold::{Fold, InstanceRecord},
};

/// One image that is unpacked on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRow {
    /// The references that lead to it, the newest last; none if all of them have moved on.
    pub names: Vec<String>,
    /// The digest that a registry has it by.
    pub digest: Option<String>,
    /// Its directory below `snapshots/`.
    pub snapshot: String,
    /// Bytes of its unpacked tree.
    pub bytes: u64,
    /// Bytes of its compressed layers that are kept; other images may share them.
    pub layer_bytes: u64,
    /// The instances that name it, or run from it.
    pub used_by: Vec<String>,
    /// When it was unpacked.
    pub pulled_at: Option<Timestamp>,
}

/// What images take of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesUse {
    /// How many are unpacked.
    pub images: usize,
    /// Bytes of everything, each layer counted once.
    pub bytes: u64,
    /// How full their filesystem is, in hundredths.
    pub full_percent: Option<u64>,
}

impl ImagesUse {
    /// What lies there.
    #[must_use]
    pub fn of(inventory: &Inventory, fullness: Option<Fullness>) -> Self {
        Self {
            images: inventory.snapshots.len(),
            bytes: inventory.bytes(),
            full_percent: fullness.map(|f| f.percent()),
        }
    }
}

/// How far a pull is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullView {
    /// The image, by its digest.
    pub image: String,
    /// `waiting`, `fetching`, `unpacking`.
    pub step: String,
    /// Bytes that this step has brought so far.
    pub bytes: u64,
    /// Layers that are there.
    pub layers_done: usize,
    /// Of how many; 0 where that isn't known.
    pub layers: usize,
    /// Seconds since it began.
    pub seconds: u64,
}

impl From<Progress> for PullView {
    fn from(progress: Progress) -> Self {
        let (layers_done, layers) = progress.layers.unwrap_or_default();
        let step = match progress.step {
            Step::Waiting => "waiting",
            Step::Fetching => "fetching",
            Step::Unpacking => "unpacking",
        };
        Self {
            image: progress.image,
            step: step.to_owned(),
            bytes: progress.bytes,
            layers_done,
            layers,
            seconds: progress.since.as_secs(),
        }
    }
}

impl PullView {
    /// Is it a pull of what a definition names so?
    #[must_use]
    pub fn is_of(&self, image: &str) -> bool {
        let reference: Result<Reference, _> = image.parse();
        reference.is_ok_and(|reference| {
            let identity = reference.identity();
            let rest = self.image.strip_prefix(identity.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
        })
    }

    /// In a few words: `fetching, 12 MiB, 2 of 5 layers`.
    #[must_use]
    pub fn words(&self) -> String {
        let layers = match self.layers {
            0 => String::new(),
            all => format!(", {} of {all} layers", self.layers_done),
        };
        let bytes = match self.bytes {
            0 => String::new(),
            bytes => format!(", {}", size(bytes)),
        };
        format!("{}{bytes}{layers}, for {}s", self.step, self.seconds)
    }
}

/// What pruning removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Snapshots that went.
    pub snapshots: Vec<String>,
    /// Bytes that went with them.
    pub bytes: u64,
}

/// A step of a pull that was asked for, or its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pulling {
    /// It goes on.
    Progress(PullView),
    /// It is there.
    Done {
        /// The digest that the registry has it by.
        digest: String,
        /// Its snapshot.
        snapshot: String,
    },
}

/// Every image with whom it is for.
#[must_use]
pub fn images(
    inventory: &Inventory,
    fold: &Fold,
    named: impl Fn(&str) -> Option<String>,
) -> Vec<ImageRow> {
    let users = image_users(fold, named);
    let row = |stored: &crate::image::Stored| ImageRow {
        names: stored.names.clone(),
        digest: stored.digest.clone(),
        snapshot: stored.snapshot.clone(),
        bytes: stored.bytes,
        layer_bytes: stored.blob_bytes,
        used_by: users
            .get(&stored.snapshot)
            .map_or_else(Vec::new, |ids| ids.iter().cloned().collect()),
        pulled_at: stored.made,
    };
    inventory.snapshots.iter().map(row).collect()
}

/// By snapshot, the instances that need it: accepted ones that it was had for, ones whose
/// definition names it (also while they wait for their id), and ones with an attempt that lies on
/// it. `named` says which snapshot a reference leads to.
#[must_use]
pub fn image_users(
    fold: &Fold,
    named: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut note = |snapshot: Option<String>, id: &str| {
        if let Some(snapshot) = snapshot.filter(|s| !s.is_empty()) {
            users.entry(snapshot).or_default().insert(id.to_owned());
        }
    };
    for record in fold.instances.values() {
        let id = record.instance.as_str();
        for snapshot in of_record(record) {
            note(Some(snapshot.clone()), id);
        }
        let specs = record
            .spec
            .iter()
            .chain(record.queued.iter().map(|q| &q.spec));
        for container in specs.flat_map(|spec| &spec.containers) {
            // What was had for it is what it runs, though the name may have moved on.
            if !record.images.contains_key(&container.image) {
                note(named(&container.image), id);
            }
        }
    }
    for (id, queued) in fold.waiting() {
        for container in &queued.spec.containers {
            note(named(&container.image), id.as_str());
        }
    }
    users
}

fn of_record(record: &InstanceRecord) -> impl Iterator<Item = &String> {
    let images = record.images.values().filter_map(|i| i.snapshot.as_ref());
    images.chain(record.containers.iter().map(|c| &c.snapshot))
}

/// Bytes as people read them: `12.3 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        None => format!("{bytes} B"),
        Some((unit, name)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}
