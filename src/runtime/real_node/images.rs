//! What the node needs of the image store, so that tests can give it a store of one image.

use std::{future::Future, path::PathBuf};

use oci_spec::image::ImageConfiguration;

use crate::node::{Failure, ImageWish, ReadyImage};

/// Where images come from: what the node needs of the image store.
pub trait ImageSource: Send + Sync + 'static {
    /// As [`Node::ensure_image`](crate::node::Node::ensure_image).
    fn ensure(
        &self,
        wish: ImageWish<'_>,
    ) -> impl Future<Output = Result<ReadyImage, Failure>> + Send;

    /// The image configuration of a snapshot.
    ///
    /// # Errors
    /// `SnapshotMissing` if it isn't there.
    fn config(&self, snapshot: &str) -> Result<ImageConfiguration, Failure>;

    /// The unpacked root file system of a snapshot, whether it is there or not.
    fn rootfs(&self, snapshot: &str) -> PathBuf;
}
