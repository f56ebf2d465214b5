//! The image store as the real node wants it.

use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;

use crate::{
    image::Images,
    node::{Failure, ImageWish, ReadyImage},
    runtime::real_node::ImageSource,
};

impl ImageSource for Images {
    async fn ensure(&self, wish: ImageWish<'_>) -> Result<ReadyImage, Failure> {
        Images::ensure(self, wish).await.map_err(Failure::from)
    }

    fn config(&self, snapshot: &str) -> Result<ImageConfiguration, Failure> {
        Images::config(self, snapshot).map_err(Failure::from)
    }

    fn rootfs(&self, snapshot: &str) -> PathBuf {
        Images::rootfs(self, snapshot)
    }
}
