//! Making room: the effect of what [`gc`](super::gc) decides.
//!
//! Owns: the order (what nothing needs at all goes first), and that what is in use is asked again
//! before each removal. Each removal is a rename first, so that a kill leaves no half an image.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use super::{
    ImageError,
    fetch::blocking,
    gc::{self, Collected},
    inventory::Fullness,
    pull::Images,
    reference::Reference,
};

impl Images {
    /// Removes snapshots that aren't `in_use` (named by an accepted instance or an intended
    /// attempt) nor mounted, and that nobody asked for since `min_age`; and, while no pull is at
    /// work, blobs that no snapshot needs.
    ///
    /// # Errors
    /// Something can't be removed; what was removed until then is gone.
    pub async fn collect(
        &self,
        in_use: impl Fn() -> BTreeSet<String> + Send + 'static,
        min_age: Duration,
    ) -> Result<Collected, ImageError> {
        let images = self.clone();
        let work = move || images.make_room(&in_use, min_age, &|| Ok(false));
        blocking("the collection", work).await
    }

    /// The same, the longest unused first, and only until the filesystem is at most `percent`
    /// full.
    ///
    /// # Errors
    /// As [`collect`](Self::collect)'s; or the filesystem can't be asked.
    pub async fn reclaim(
        &self,
        in_use: impl Fn() -> BTreeSet<String> + Send + 'static,
        min_age: Duration,
        percent: u64,
    ) -> Result<Collected, ImageError> {
        let images = self.clone();
        let work = move || {
            let enough = || Ok(images.fullness()?.percent() <= percent);
            images.make_room(&in_use, min_age, &enough)
        };
        blocking("the collection", work).await
    }

    /// How full the filesystem of the snapshots is.
    ///
    /// # Errors
    /// It can't be asked.
    pub fn fullness(&self) -> Result<Fullness, ImageError> {
        let dir = &self.0.config.dir;
        Fullness::of(dir).map_err(ImageError::io("look at the filesystem of", dir))
    }

    /// The snapshot that an image of a definition would be run from, if it is there.
    #[must_use]
    pub fn named(&self, image: &str) -> Option<String> {
        let reference: Reference = image.parse().ok()?;
        let snapshots = &self.0.snapshots;
        snapshots.name_leads_to(&reference)
    }

    /// Waits until a pull has failed for lack of space.
    pub async fn out_of_space(&self) {
        self.0.full.notified().await;
    }

    fn make_room(
        &self,
        in_use: &dyn Fn() -> BTreeSet<String>,
        min_age: Duration,
        enough: &dyn Fn() -> Result<bool, ImageError>,
    ) -> Result<Collected, ImageError> {
        let snapshots = &self.0.snapshots;
        let mut collected = Collected {
            blob_bytes: self.trim()?,
            ..Collected::default()
        };
        snapshots.remove_damaged(&taken(in_use))?;
        let min_age = min_age.max(self.0.config.settles);
        let all = snapshots.list();
        for snapshot in gc::removable(&all, &taken(in_use), min_age) {
            if enough()? {
                break;
            }
            // It may have been taken since.
            if taken(in_use).contains(&snapshot) {
                continue;
            }
            let removed = snapshots.remove(std::slice::from_ref(&snapshot), min_age)?;
            let gone = all.iter().filter(|view| removed.contains(&view.snapshot));
            collected.tree_bytes += gone.filter_map(|view| view.record.bytes).sum::<u64>();
            collected.snapshots.extend(removed);
            collected.blob_bytes += self.trim()?;
        }
        Ok(collected)
    }

    fn trim(&self) -> Result<u64, ImageError> {
        match Arc::clone(&self.0.quiet).try_write_owned() {
            Ok(_quiet) => self.0.snapshots.trim_blobs(),
            Err(_) => Ok(0),
        }
    }
}

/// What is recorded to be in use, and what is mounted: a container of which the records know
/// nothing (any more) runs from its snapshot all the same.
fn taken(in_use: &dyn Fn() -> BTreeSet<String>) -> BTreeSet<String> {
    let mounts = std::fs::read_to_string(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let mut taken = in_use();
    taken.extend(gc::mounted(&mounts));
    taken
}
