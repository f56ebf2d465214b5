//! One fetch: copy, check, unpack, publish.
//!
//! Why apart from [`pull`](super::pull): that one decides whether to fetch, this one does. Owns:
//! the order of the steps, the limits on them, and that only the steps before the publishing can be
//! interrupted. Must never happen here: the staging directory going while it is published.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, RwLock, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    attempt::{failed, other_architecture, retried, unpack_failed},
    error::ImageError,
    flights::Flights,
    layout::{self, Contents, LayoutError},
    progress::{Board, Entry, Step},
    pull::{ImagesConfig, Outcome},
    records::name_of,
    reference::{Digest, Reference},
    skopeo::{Inspected, Skopeo},
    snapshots::Snapshots,
    staging::{Brief, Staging},
    stall::stalled,
    umoci::Umoci,
};

/// How long it may take a registry to say what a tag is.
const ASK_DEADLINE: Duration = Duration::from_secs(30);

/// The state behind [`Images`](super::pull::Images).
pub(super) struct Inner {
    pub(super) config: ImagesConfig,
    pub(super) snapshots: Snapshots,
    pub(super) skopeo: Skopeo,
    pub(super) umoci: Umoci,
    pub(super) turns: Semaphore,
    pub(super) asks: Semaphore,
    /// Read by each fetch, written while blobs are trimmed.
    pub(super) quiet: Arc<RwLock<()>>,
    /// How far fetches are.
    pub(super) board: Arc<Board>,
    /// Rung when a pull fails for lack of space.
    pub(super) full: Notify,
    pub(super) resolves: Flights<Outcome>,
    pub(super) fetches: Flights<Outcome>,
}

/// What a fetch has before the step that can't be interrupted.
enum Prepared {
    /// The same rootfs is there already, by another name or digest.
    Known(String),
    /// Unpacked in the staging directory.
    Unpacked(Box<Contents>),
}

impl Inner {
    /// Which image `reference` is, right now.
    pub(super) async fn ask(&self, reference: &Reference) -> Result<Inspected, ImageError> {
        let image = reference.to_string();
        let limit = self.config.stall.min(ASK_DEADLINE);
        let _turn = self.asks.acquire().await;
        let scratch = Brief::new(self.snapshots.stage()?);
        let asked = retried(&image, || async {
            let asked = self.skopeo.inspect(reference, scratch.path(), limit).await;
            asked.map_err(|e| failed(&image, e, limit))
        });
        let inspected = asked.await?;
        if layout::runs_here(&inspected.platform) {
            Ok(inspected)
        } else {
            Err(other_architecture(&image, inspected.platform))
        }
    }

    pub(super) async fn fetch_once(
        self: Arc<Self>,
        exact: Reference,
        (digest, layers): (Digest, Vec<Digest>),
        cancel: CancellationToken,
    ) -> Outcome {
        let image = exact.to_string();
        let entry = self.board.enter(&image, layers);
        let turn = async {
            let turn = self.turns.acquire().await;
            (turn, self.quiet.read().await)
        };
        let _turn = unless(&cancel, &image, async { Ok(turn.await) }).await?;
        if let Some(ready) = self.snapshots.by_digest(&digest) {
            return Ok(ready);
        }
        tracing::info!(image, "pulling");
        let staging = Arc::new(self.snapshots.stage()?);
        let limit = self.config.deadline;
        let work = async {
            let prepared = timeout(limit, self.prepare(&exact, &digest, &staging, &entry)).await;
            let image = image.clone();
            prepared.unwrap_or(Err(ImageError::Deadline { image, limit }))
        };
        let prepared = unless(&cancel, &image, work).await;
        // From here on nothing interrupts: neither a deadline nor the last waiter's leaving may
        // remove the staging directory while it is being published.
        let outcome = match prepared {
            Err(error) => Err(error),
            Ok(prepared) => {
                let (inner, staging) = (Arc::clone(&self), Arc::clone(&staging));
                let name = exact.identity();
                let publish = move || match prepared {
                    Prepared::Known(snapshot) => inner.snapshots.name(&snapshot, &name, &digest),
                    Prepared::Unpacked(contents) => {
                        inner.snapshots.publish(&staging, &contents, &name, &digest)
                    }
                };
                blocking(&image, publish).await
            }
        };
        if let Err(error) = blocking(&image, move || staging.remove()).await {
            tracing::warn!(image, %error, "a pull's files stay until the next start");
        }
        match &outcome {
            Ok(ready) => tracing::info!(image, snapshot = ready.snapshot, "pulled"),
            Err(error) => {
                let cause = std::error::Error::source(error);
                tracing::warn!(image, %error, cause, "not pulled");
            }
        }
        outcome
    }

    /// Copy, check, unpack. A shared blob that turns out bad is removed, and all is done once
    /// more.
    async fn prepare(
        &self,
        exact: &Reference,
        digest: &Digest,
        staging: &Arc<Staging>,
        entry: &Entry,
    ) -> Result<Prepared, ImageError> {
        let image = exact.to_string();
        if let Reference::Local(_) = exact {
            // No transport of these can be asked for a digest; a registry is, and skopeo checks.
            let found = self.ask(exact).await?.digest;
            if found != *digest {
                let pinned = digest.clone();
                return Err(ImageError::Changed {
                    image,
                    pinned,
                    found,
                });
            }
        }
        let mut last = false;
        loop {
            entry.step(Step::Fetching, staging.dir());
            self.watched(&image, staging, self.copy(exact, staging))
                .await?;
            let contents = match self.check(&image, staging).await? {
                Some(contents) => contents,
                None if last => return Err(damaged(&image)),
                None => {
                    last = true;
                    continue;
                }
            };
            let snapshot = name_of(&contents.config);
            if self.snapshots.has(&snapshot) {
                return Ok(Prepared::Known(snapshot));
            }
            entry.step(Step::Unpacking, &staging.rootfs());
            let unpack = self.unpack(&image, staging);
            let Err(error) = self.watched(&image, staging, unpack).await else {
                return Ok(Prepared::Unpacked(Box::new(contents)));
            };
            let suspect = matches!(error, ImageError::Unpack { .. }) && !last;
            if !suspect || !self.drop_bad_blobs(&image, &contents).await? {
                return Err(error);
            }
            tracing::warn!(image, %error, "bad blobs were removed; pulling once more");
            last = true;
        }
    }

    async fn copy(&self, exact: &Reference, staging: &Arc<Staging>) -> Result<(), ImageError> {
        let image = exact.to_string();
        let blobs = self.snapshots.blobs();
        let limit = self.config.deadline;
        let copied = retried(&image, || async {
            let fresh = Arc::clone(staging);
            blocking(&image, move || fresh.fresh_layout()).await?;
            let (layout, scratch) = (staging.layout(), staging.scratch());
            let copy = self.skopeo.copy(exact, &layout, &blobs, &scratch, limit);
            copy.await.map_err(|e| failed(&image, e, limit))
        });
        copied.await?;
        layout::share_blobs(&staging.layout(), &blobs)
            .map_err(ImageError::io("link the blobs of", staging.layout()))
    }

    /// Reads and checks what was copied; none if a blob was bad, which is removed then.
    async fn check(
        &self,
        image: &str,
        staging: &Arc<Staging>,
    ) -> Result<Option<Contents>, ImageError> {
        let (layout, blobs) = (staging.layout(), self.snapshots.blobs());
        let named = image.to_owned();
        let check = move || match layout::read(&layout, &blobs) {
            Ok(contents) => Ok(Some(contents)),
            Err(LayoutError::BadBlob { digest }) => {
                let path = layout::blob_path(&blobs, &digest);
                layout::drop_bad_blobs(&blobs, &[digest]).map_err(ImageError::io("check", path))?;
                Ok(None)
            }
            Err(LayoutError::Read { path, source }) => Err(ImageError::io("read", path)(source)),
            Err(LayoutError::OtherPlatform(found)) => Err(other_architecture(&named, found)),
            Err(LayoutError::NoImage(why)) => Err(ImageError::Unusable { image: named, why }),
        };
        blocking(image, check).await
    }

    async fn unpack(&self, image: &str, staging: &Arc<Staging>) -> Result<(), ImageError> {
        let fresh = Arc::clone(staging);
        blocking(image, move || fresh.fresh_rootfs()).await?;
        let (layout, rootfs, scratch) = (staging.layout(), staging.rootfs(), staging.scratch());
        let limit = self.config.deadline;
        let unpack = self.umoci.raw_unpack(&layout, &rootfs, &scratch, limit);
        let unpacked = tokio::select! {
            unpacked = unpack => unpacked,
            never = self.snapshots.write_back(&rootfs) => match never {},
        };
        unpacked.map_err(|error| unpack_failed(image, error, limit))
    }

    async fn drop_bad_blobs(&self, image: &str, contents: &Contents) -> Result<bool, ImageError> {
        let (blobs, all) = (self.snapshots.blobs(), contents.blobs.clone());
        let drop_them = move || {
            let bad = layout::drop_bad_blobs(&blobs, &all);
            bad.map_err(ImageError::io("check", blobs))
        };
        Ok(!blocking(image, drop_them).await?.is_empty())
    }

    /// Ends `work` once nothing comes any more.
    async fn watched<T>(
        &self,
        image: &str,
        staging: &Staging,
        work: impl Future<Output = Result<T, ImageError>>,
    ) -> Result<T, ImageError> {
        let limit = self.config.stall;
        tokio::select! {
            biased;
            done = work => done,
            () = stalled(staging.dir().to_owned(), limit) => {
                let image = image.to_owned();
                Err(ImageError::Stalled { image, limit })
            }
        }
    }
}

/// `work`, unless nobody waits for it any more.
pub(super) async fn unless<T>(
    cancel: &CancellationToken,
    image: &str,
    work: impl Future<Output = Result<T, ImageError>>,
) -> Result<T, ImageError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(ImageError::Cancelled { image: image.to_owned() }),
        done = work => done,
    }
}

/// Runs blocking work on its own thread.
pub(super) async fn blocking<T: Send + 'static>(
    image: &str,
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        let image = image.to_owned();
        Err(ImageError::Cancelled { image })
    })
}

fn damaged(image: &str) -> ImageError {
    ImageError::Unusable {
        image: image.to_owned(),
        why: "its blobs are not what their names say, fetched twice".to_owned(),
    }
}
