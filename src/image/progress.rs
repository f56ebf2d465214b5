//! How far pulls are.
//!
//! Why: a pull of ten minutes that says nothing looks like one that hangs. Owns: which fetches
//! are at work, and what has come of each. skopeo says nothing of sizes, so bytes are counted on
//! the disk, when somebody asks. Must never happen here: slowing a pull down.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{layout, reference::Digest, stall};

/// What a pull does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Step {
    /// Others have their turn.
    #[default]
    Waiting,
    /// Its layers are coming.
    Fetching,
    /// They are put on the disk as a tree.
    Unpacking,
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The image, by its digest.
    pub image: String,
    /// What it does.
    pub step: Step,
    /// Bytes that this step has brought so far.
    pub bytes: u64,
    /// Layers that are there, of how many; none where that isn't known.
    pub layers: Option<(usize, usize)>,
    /// Since when it is at work.
    pub since: Duration,
}

/// The pulls at work.
#[derive(Debug, Default)]
pub(super) struct Board {
    active: Mutex<BTreeMap<u64, Active>>,
}

#[derive(Debug, Clone)]
struct Active {
    image: String,
    layers: Vec<Digest>,
    step: Step,
    staging: Option<PathBuf>,
    since: Instant,
}

/// A pull's place on the board; it goes with this.
#[derive(Debug)]
pub(super) struct Entry {
    board: Arc<Board>,
    number: u64,
}

impl Board {
    /// Begins an entry.
    pub(super) fn enter(self: &Arc<Self>, image: &str, layers: Vec<Digest>) -> Entry {
        let mut active = self.active();
        let number = active.last_key_value().map_or(0, |(n, _)| n + 1);
        let entry = Active {
            image: image.to_owned(),
            layers,
            step: Step::Waiting,
            staging: None,
            since: Instant::now(),
        };
        active.insert(number, entry);
        Entry {
            board: Arc::clone(self),
            number,
        }
    }

    /// How far each is. Blocks for a look at the disk, and keeps no pull waiting meanwhile.
    pub(super) fn look(&self, blobs: &Path) -> Vec<Progress> {
        let pulls: Vec<Active> = self.active().values().cloned().collect();
        let look = |active: &Active| {
            let there = |layer: &&Digest| layout::blob_path(blobs, layer).exists();
            let all = active.layers.len();
            let done = active.layers.iter().filter(there);
            let done: Vec<_> = done.collect();
            let size = |layer: &&Digest| {
                let path = layout::blob_path(blobs, layer);
                std::fs::metadata(path).map_or(0, |metadata| metadata.len())
            };
            let staging = active.staging.as_deref();
            let staged = staging.map_or(0, |dir| stall::size(dir).0);
            let bytes = match active.step {
                Step::Waiting => 0,
                Step::Fetching => staged + done.iter().map(size).sum::<u64>(),
                Step::Unpacking => staged,
            };
            Progress {
                image: active.image.clone(),
                step: active.step,
                bytes,
                layers: (all > 0).then_some((done.len(), all)),
                since: active.since.elapsed(),
            }
        };
        pulls.iter().map(look).collect()
    }

    fn active(&self) -> MutexGuard<'_, BTreeMap<u64, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// It goes on to another step, whose files lie below `staging`.
    pub(super) fn step(&self, step: Step, staging: &Path) {
        if let Some(active) = self.board.active().get_mut(&self.number) {
            active.step = step;
            active.staging = Some(staging.to_owned());
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.board.active().remove(&self.number);
    }
}
