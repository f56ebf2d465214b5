//! Makes images be there.
//!
//! Why: a pull is slow, may hang, and is wanted by many at once. Owns: when the network is asked
//! at all, one pull however many wait, the limits (how many, how long, how long without
//! progress), the few tries against a passing failure, and the order copy, check, unpack, publish.
//! In: references and recorded digests. Out: [`ReadyImage`]s. Must never happen here: a snapshot
//! by another way than [`Snapshots::publish`], a pull that goes on unwanted, or a network request
//! for a recorded digest whose snapshot is there.
//!
//! Two single flights, one over the other: a *resolve* asks which digest a tag is at this moment,
//! a *fetch* brings one digest; so two tags of one image are fetched once.

use std::{path::PathBuf, sync::Arc, time::Duration};

use oci_spec::image::ImageConfiguration;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    error::ImageError,
    fetch::{Inner, blocking, unless},
    flights::Flights,
    progress::Progress,
    records::SnapshotView,
    reference::{Digest, Reference},
    skopeo::{Skopeo, SkopeoConfig},
    snapshots::Snapshots,
    umoci::Umoci,
};
use crate::{
    model::spec::PullPolicy,
    node::{ImageWish, ReadyImage},
    runtime::process::Spawner,
};

/// How many registries are asked at once what a tag is; skopeo takes some 25 MB each.
const PARALLEL_ASKS: usize = 8;
/// Where images go, and the limits of pulls.
#[derive(Debug, Clone)]
pub struct ImagesConfig {
    /// The directory `snapshots/`.
    pub dir: PathBuf,
    /// skopeo and what it is told.
    pub skopeo: SkopeoConfig,
    /// umoci: a path, or a name in PATH.
    pub umoci: PathBuf,
    /// How many images are fetched at once.
    pub parallel: usize,
    /// How long one fetch may take from its first byte on, without its wait for a turn.
    pub deadline: Duration,
    /// How long a fetch may show no progress.
    pub stall: Duration,
    /// How long an image stays in any case after somebody asked for it: between then
    /// and the record of its use it is in no set. 5 s.
    pub settles: Duration,
}

impl ImagesConfig {
    /// The defaults: 3 at once, 10 min each, 2 min without progress.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            skopeo: SkopeoConfig::default(),
            umoci: "umoci".into(),
            parallel: 3,
            deadline: Duration::from_secs(600),
            stall: Duration::from_secs(120),
            settles: Duration::from_secs(5),
        }
    }
}

/// How a pull ends.
pub(super) type Outcome = Result<ReadyImage, ImageError>;

/// The images of this node. Cheap to clone.
#[derive(Clone)]
pub struct Images(pub(super) Arc<Inner>);

impl Images {
    /// Opens the snapshot directory; what killed pulls left in it goes. Call it once, after the
    /// processes of a former daemon are gone. Blocks.
    ///
    /// # Errors
    /// The directory can't be made or read.
    pub fn open(config: ImagesConfig, spawner: &Spawner) -> Result<Self, ImageError> {
        let snapshots = Snapshots::open(&config.dir)?;
        Ok(Self(Arc::new(Inner {
            skopeo: Skopeo::new(config.skopeo.clone(), spawner.clone()),
            umoci: Umoci::new(config.umoci.clone(), spawner.clone()),
            turns: Semaphore::new(config.parallel.max(1)),
            asks: Semaphore::new(PARALLEL_ASKS),
            quiet: Arc::default(),
            board: Arc::default(),
            full: Notify::new(),
            resolves: Flights::default(),
            fetches: Flights::default(),
            snapshots,
            config,
        })))
    }

    /// Makes the image's snapshot be there. With a digest, `pinned` or in the reference (that one
    /// wins), it is exactly that one, and nothing is asked if it is there. Without, the policy
    /// says whether a name that has led to a snapshot still does; but files on this node are
    /// asked for each time unless it is `Never`: that costs no network, and their name says
    /// nothing of what is in them.
    ///
    /// Those who wait for one image share one pull, whatever their policies; only `Never` waits
    /// for none.
    ///
    /// Dropping the future gives the wait up; once nobody waits, the pull is ended, its processes
    /// are killed and its files removed.
    ///
    /// # Errors
    /// See [`ImageError`]; its `kind` is for the retry policy.
    pub async fn ensure(&self, wish: ImageWish<'_>) -> Outcome {
        let image = wish.image;
        let unreadable = |source| ImageError::Reference {
            image: image.chars().take(300).collect(),
            source,
        };
        let reference: Reference = image.parse().map_err(unreadable)?;
        let exact = match (reference.digest(), wish.pinned) {
            (Some(digest), _) => Some(digest.clone()),
            (None, Some(pinned)) => Some(pinned.parse().map_err(unreadable)?),
            (None, None) => None,
        };
        let snapshots = &self.0.snapshots;
        let ready = match &exact {
            Some(digest) => snapshots.by_digest(digest),
            None => match (wish.policy, &reference) {
                (PullPolicy::Always, _) => None,
                (PullPolicy::IfNotPresent, Reference::Local(_)) => None,
                _ => snapshots.by_name(&reference.identity()),
            },
        };
        let outcome = match (ready, exact) {
            (Some(ready), _) => Ok(ready),
            _ if wish.policy == PullPolicy::Never => {
                let image = reference.to_string();
                Err(ImageError::NeverPulled { image })
            }
            (None, Some(digest)) => self.fetch(&reference, digest, Vec::new()).await,
            (None, None) => self.resolve(reference).await,
        };
        if matches!(outcome, Err(ImageError::DiskFull { .. })) {
            self.0.full.notify_one();
        }
        outcome
    }

    /// The config of a snapshot's image: entrypoint, environment, user.
    ///
    /// # Errors
    /// [`ImageError::NoSnapshot`].
    pub fn config(&self, snapshot: &str) -> Result<ImageConfiguration, ImageError> {
        let config = self.0.snapshots.config(snapshot)?;
        Ok(ImageConfiguration::clone(&config))
    }

    /// Where a snapshot's root filesystem lies, whether it is there or not. Never write to it.
    #[must_use]
    pub fn rootfs(&self, snapshot: &str) -> PathBuf {
        self.0.snapshots.rootfs(snapshot)
    }

    /// Is the snapshot there?
    #[must_use]
    pub fn has(&self, snapshot: &str) -> bool {
        self.0.snapshots.has(snapshot)
    }

    /// All snapshots.
    #[must_use]
    pub fn list(&self) -> Vec<SnapshotView> {
        self.0.snapshots.list()
    }

    /// How far the pulls at work are. Blocks for a look at the disk.
    #[must_use]
    pub fn progress(&self) -> Vec<Progress> {
        self.0.board.look(&self.0.snapshots.blobs())
    }

    async fn resolve(&self, reference: Reference) -> Outcome {
        let image = reference.to_string();
        let (this, key) = (self.clone(), reference.identity());
        let begin = |cancel: CancellationToken| async move {
            let image = reference.to_string();
            let work = this.resolve_once(reference);
            unless(&cancel, &image, work).await
        };
        let outcome = self.0.resolves.join(&key, begin).await;
        outcome.unwrap_or(Err(ImageError::Cancelled { image }))
    }

    /// Asks for the digest, then has it fetched if it isn't there.
    async fn resolve_once(&self, reference: Reference) -> Outcome {
        let inner = &self.0;
        let asked = inner.ask(&reference).await?;
        let digest = asked.digest;
        let ready = match inner.snapshots.by_digest(&digest) {
            Some(ready) => ready,
            None => self.fetch(&reference, digest.clone(), asked.layers).await?,
        };
        let (inner, name) = (Arc::clone(inner), reference.identity());
        let name_it = move || inner.snapshots.name(&ready.snapshot, &name, &digest);
        blocking(&reference.to_string(), name_it).await
    }

    async fn fetch(&self, reference: &Reference, digest: Digest, layers: Vec<Digest>) -> Outcome {
        let exact = reference.pinned(&digest);
        let image = exact.to_string();
        let key = match &exact {
            Reference::Registry(_) => exact.identity(),
            Reference::Local(_) => format!("{exact}@{digest}"),
        };
        let inner = Arc::clone(&self.0);
        let begin = |cancel| async move { inner.fetch_once(exact, (digest, layers), cancel).await };
        let outcome = self.0.fetches.join(&key, begin).await;
        outcome.unwrap_or(Err(ImageError::Cancelled { image }))
    }
}
