//! umoci, behind its one verb.
//!
//! Why: it applies layers (whiteouts, hard links, owners, devices, attributes) as the OCI says, and
//! drops `trusted.overlay.*` on the way, so that the tree is safe as a lowerdir. In: a checked
//! layout. Out: a tree. Must never happen here: unpacking into a directory with anything in it
//! (umoci merges, and says 0).

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use super::layout;
use crate::runtime::process::{Call, CallError, Spawner};

/// The program.
#[derive(Clone)]
pub(super) struct Umoci {
    program: PathBuf,
    spawner: Spawner,
}

impl Umoci {
    pub(super) fn new(program: PathBuf, spawner: Spawner) -> Self {
        Self { program, spawner }
    }

    /// Unpacks the layout's image, flattened, into the empty directory `rootfs`. Checks every
    /// layer against its digest and its diff id. Nothing of it is on the disk when it returns.
    pub(super) async fn raw_unpack(
        &self,
        layout: &Path,
        rootfs: &Path,
        scratch: &Path,
        deadline: Duration,
    ) -> Result<(), CallError> {
        let mut image = OsString::from(layout);
        image.push(":");
        image.push(layout::NAME);
        let call = Call::new(&self.program, deadline)
            .verb("raw unpack")
            .env("TMPDIR", scratch)
            .args(["raw", "unpack", "--image"])
            .arg(image)
            .arg(rootfs);
        self.spawner.call(call).await?;
        Ok(())
    }
}

/// Does umoci say that the disk is full? It has one exit code for all.
pub(super) fn disk_full(error: &CallError) -> bool {
    let CallError::Exit { stderr, .. } = error else {
        return false;
    };
    let said = String::from_utf8_lossy(stderr);
    said.contains("no space left on device") || said.contains("disk quota exceeded")
}
