//! Keeps room for images: what nothing uses goes when the disk gets full.
//!
//! Owns: when that is looked at, and what is in use as the ledger has it. Must never happen here:
//! an image going that an accepted instance names, or that an attempt was intended on.

use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::spawn_blocking, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    api::DeskError,
    book::Book,
    config::Config,
    error_chain::one_line,
    image::{
        ImageError, Images, Inventory,
        gc::Collected,
        inventory,
        reference::{ReferenceError, TransportPolicy},
    },
    ledger::Ledger,
    model::{ids::Source, spec::PullPolicy, state::Reason},
    node::ImageWish,
    view::{self, ImageRow, ImagesUse, Pruned, PullView, Pulling},
};

/// How often a pull that was asked for says how far it is.
const STEP: Duration = Duration::from_millis(400);

/// The images of the node, and by what rules they go.
pub(super) struct Room {
    images: Images,
    dir: PathBuf,
    transports: TransportPolicy,
    book: Ledger,
    /// How often the filesystem is asked how full it is: one system call.
    every: Duration,
    high: u64,
    low: u64,
    min_age: Duration,
}

impl Room {
    /// Knows the images, and looks after their disk until `stop`.
    pub(super) fn start(
        images: Images,
        book: Ledger,
        config: &Config,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let room = Arc::new(Self {
            images,
            dir: config.state_dir.join("snapshots"),
            transports: super::rules::transports(config),
            book,
            every: config.images.gc_interval,
            high: config.images.gc_high_percent,
            low: config.images.gc_low_percent,
            min_age: config.images.gc_min_age,
        });
        tokio::spawn(Arc::clone(&room).keep(stop.clone()));
        room
    }

    async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let forced = tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => false,
                // A pull has failed for lack of space: a small disk needn't look full.
                () = self.images.out_of_space() => true,
            };
            tokio::select! {
                () = stop.cancelled() => return,
                made = self.make(forced) => {
                    if let Err(error) = made {
                        tracing::warn!(why = one_line(&error), "no room could be made");
                    }
                }
            }
        }
    }

    async fn make(&self, forced: bool) -> Result<(), ImageError> {
        if self.high >= 100 && !forced {
            return Ok(());
        }
        let full = self.images.fullness()?.percent();
        if !forced && full < self.high {
            return Ok(());
        }
        let collected = if forced && full <= self.low {
            self.images.collect(self.in_use(), self.min_age).await?
        } else {
            self.images
                .reclaim(self.in_use(), self.min_age, self.low)
                .await?
        };
        say(&collected, full);
        Ok(())
    }

    /// Removes what nothing uses: what was used lately stays, unless `all`.
    pub(super) async fn prune(&self, all: bool) -> Result<Pruned, DeskError> {
        let min_age = if all { Duration::ZERO } else { self.min_age };
        let gone = self.images.collect(self.in_use(), min_age).await;
        let gone = gone.map_err(|source| DeskError::Failed {
            tried: "not everything that nothing uses could be removed".to_owned(),
            source: Box::new(source),
        })?;
        Ok(Pruned {
            snapshots: gone.snapshots,
            bytes: gone.tree_bytes.saturating_add(gone.blob_bytes),
        })
    }

    /// Every image with whom it is for.
    pub(super) async fn rows(&self) -> Result<Vec<ImageRow>, DeskError> {
        let inventory = self.inventory().await;
        let inventory = inventory.map_err(|source| DeskError::Failed {
            tried: "the images could not be looked at".to_owned(),
            source: Box::new(source),
        })?;
        let named = |image: &str| self.images.named(image);
        Ok(self.book.read(|fold| view::images(&inventory, fold, named)))
    }

    /// What images take of the disk; none where that can't be read.
    pub(super) async fn taken(&self) -> Option<ImagesUse> {
        let inventory = self.inventory().await.ok()?;
        Some(ImagesUse::of(&inventory, self.images.fullness().ok()))
    }

    /// How far the pulls at work are.
    pub(super) async fn pulls(&self) -> Vec<PullView> {
        let images = self.images.clone();
        let looked = spawn_blocking(move || images.progress()).await;
        looked
            .unwrap_or_default()
            .into_iter()
            .map(PullView::from)
            .collect()
    }

    async fn inventory(&self) -> io::Result<Inventory> {
        let dir = self.dir.clone();
        spawn_blocking(move || inventory(&dir)).await?
    }

    /// Has an image, asking its registry; says how far it is about twice a second.
    pub(super) async fn pull(
        &self,
        image: &str,
        progress: mpsc::Sender<PullView>,
    ) -> Result<Pulling, DeskError> {
        self.transports
            .admit(Source::Cli, image)
            .map_err(|error| DeskError::Refused {
                reason: match error {
                    ReferenceError::Refused { .. } => Reason::Forbidden,
                    _ => Reason::InvalidDefinition,
                },
                message: error.to_string(),
            })?;
        let wish = ImageWish {
            image,
            pinned: None,
            policy: PullPolicy::Always,
        };
        let pull = self.images.ensure(wish);
        tokio::pin!(pull);
        let mut ticks = tokio::time::interval(STEP);
        let had = loop {
            tokio::select! {
                biased;
                had = &mut pull => break had,
                _ = ticks.tick() => {
                    let pulls = self.pulls().await;
                    if let Some(own) = pulls.into_iter().find(|pull| pull.is_of(image)) {
                        // Who doesn't read gets the next one.
                        let _ = progress.try_send(own);
                    }
                }
            }
        };
        let had = had.map_err(|error| DeskError::Failed {
            tried: format!("{image} can't be had"),
            source: Box::new(error),
        })?;
        Ok(Pulling::Done {
            digest: had.digest,
            snapshot: had.snapshot,
        })
    }

    /// What is in use, asked anew at each call.
    fn in_use(&self) -> impl Fn() -> BTreeSet<String> + Send + use<> {
        let (book, images) = (self.book.clone(), self.images.clone());
        move || {
            let named = |image: &str| images.named(image);
            let users = book.read(|fold| view::image_users(fold, named));
            users.into_keys().collect()
        }
    }
}

fn say(collected: &Collected, full: u64) {
    let snapshots = collected.snapshots.len();
    if snapshots > 0 || collected.blob_bytes > 0 {
        let blob_bytes = collected.blob_bytes;
        tracing::info!(full, snapshots, blob_bytes, "images that nothing uses went");
    }
}
