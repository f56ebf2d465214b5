//! Is something still coming?
//!
//! Why: a registry that sends a byte a second and then nothing keeps its connection open for
//! ever, and skopeo waits with it. Owns: looking at the bytes and files below a pull's directory
//! and saying when they have not changed for too long. Must never happen here: following a link
//! out of that directory.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::Instant};

/// Returns once the tree below `root` has not changed its size for `limit`. It looks eight times
/// per limit, at least every 5 s; so the answer comes at the latest an eighth (or 5 s) late.
pub(super) async fn stalled(root: PathBuf, limit: Duration) {
    let step = (limit / 8).clamp(Duration::from_millis(20), Duration::from_secs(5));
    let mut last = None;
    let mut since = Instant::now();
    loop {
        let place = root.clone();
        let now = spawn_blocking(move || size(&place)).await.ok();
        if now != last {
            last = now;
            since = Instant::now();
        } else if since.elapsed() >= limit {
            return;
        }
        tokio::time::sleep(step).await;
    }
}

/// Bytes and files below `root`. Any change of either is progress: a finished blob leaves the
/// directory, so that the sum may also fall.
pub(super) fn size(root: &Path) -> (u64, u64) {
    let (mut bytes, mut files) = (0, 0);
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            files += 1;
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                bytes += metadata.len();
            }
        }
    }
    (bytes, files)
}

#[cfg(test)]
mod tests;
