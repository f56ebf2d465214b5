//! The temporary directory of one pull.
//!
//! Why: what a pull makes must go with it, however it ends, and must not be taken for an image.
//! Owns: the places in that directory, that each step begins in an empty one, and the file verbs
//! that say what failed on which path.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{error::ImageError, records::ROOTFS};

/// The temporary directory of one pull. It isn't removed when dropped: removing is slow, so it is
/// asked for, and what a kill leaves behind goes at the next start.
#[derive(Debug)]
pub(super) struct Staging {
    dir: PathBuf,
}

impl Staging {
    /// The one at `dir`, which is there and empty.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
    pub(super) fn layout(&self) -> PathBuf {
        self.dir.join("layout")
    }
    pub(super) fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }
    pub(super) fn snapshot(&self) -> PathBuf {
        self.dir.join("snapshot")
    }
    pub(super) fn rootfs(&self) -> PathBuf {
        self.snapshot().join(ROOTFS)
    }

    /// An empty place for a layout; umoci and skopeo would merge into what a failed try left.
    pub(super) fn fresh_layout(&self) -> Result<(), ImageError> {
        remove_tree(&self.layout())?;
        remove_tree(&self.scratch())?;
        make_dir(&self.scratch())
    }

    /// An empty root, 0755 whatever the umask: images without an entry for `/` inherit it.
    pub(super) fn fresh_rootfs(&self) -> Result<(), ImageError> {
        remove_tree(&self.snapshot())?;
        make_dir(&self.snapshot())?;
        make_dir(&self.rootfs())?;
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.rootfs(), open).map_err(ImageError::io("open up", self.rootfs()))
    }

    /// Removes everything. Processes that were just killed may still be writing, so it tries for
    /// a while.
    pub(super) fn remove(&self) -> Result<(), ImageError> {
        const TRIES: u32 = 100;
        for _ in 1..TRIES {
            if remove_tree(&self.dir).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        remove_tree(&self.dir)
    }
}

pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(ImageError::io("write", path))
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), ImageError> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(ImageError::io("write to the disk", dir))
}

/// Makes one directory; its parent must be there (a staging directory that was just removed must
/// not come back), and it may be.
pub(super) fn make_dir(dir: &Path) -> Result<(), ImageError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(ImageError::io("make", dir)),
    }
}

pub(super) fn remove_tree(path: &Path) -> Result<(), ImageError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(ImageError::io("remove", path)),
    }
}

/// A staging directory with little in it, removed when dropped, in the background.
pub(super) struct Brief(Option<Staging>);

impl Brief {
    pub(super) fn new(staging: Staging) -> Self {
        Self(Some(staging))
    }

    pub(super) fn path(&self) -> &Path {
        self.0
            .as_ref()
            .map_or(Path::new("/nonexistent"), Staging::dir)
    }
}

impl Drop for Brief {
    fn drop(&mut self) {
        let Some(staging) = self.0.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || staging.remove());
        }
    }
}
