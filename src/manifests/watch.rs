//! Hints that the manifests directory may have changed.
//!
//! Owns: the watch on the directory and on the name by which it is reached. In: the directory's
//! path. Out: a bell. Must never happen here: a conclusion; who is hinted looks.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

use super::directory::Identity;

/// The watch. Inotify follows an inode and not a name, so it has to be made anew for a directory
/// that was removed, replaced, or reached through another link than before.
pub(super) struct Watch {
    path: PathBuf,
    bell: Arc<Notify>,
    /// Dropping the watcher ends it.
    watched: Option<(RecommendedWatcher, Option<Identity>)>,
    complained: bool,
}

impl Watch {
    /// Watches nothing until [`Self::ensure`].
    pub(super) fn new(path: &Path, bell: Arc<Notify>) -> Self {
        Self {
            path: path.to_owned(),
            bell,
            watched: None,
            complained: false,
        }
    }

    /// Watches the directory that is there now. True if that is another one than was watched, so
    /// that there may be something to see.
    pub(super) fn ensure(&mut self) -> bool {
        let there = identity(&self.path);
        if self.watched.as_ref().is_some_and(|(_, was)| *was == there) {
            return false;
        }
        match watcher(&self.path, there.is_some(), Arc::clone(&self.bell)) {
            Ok(watcher) => {
                self.watched = Some((watcher, there));
                self.complained = false;
            }
            Err(error) => {
                self.watched = None;
                if !std::mem::replace(&mut self.complained, true) {
                    let dir = self.path.display();
                    tracing::warn!(%error, %dir, "the manifests can't be watched; they are looked at every 10 s");
                }
            }
        }
        true
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let there = fs::metadata(path).ok()?;
    there.is_dir().then(|| Identity::of(&there))
}

fn watcher(path: &Path, is_there: bool, bell: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let (name, alert) = (path.to_owned(), bell);
    // Runs on notify's own thread. In the directory any change counts, for links may lead from a
    // manifest's name through others; beside it only the directory's own name does.
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let concerns = |event: &Event| {
            let mut paths = event.paths.iter();
            event.need_rescan() || paths.any(|p| p.starts_with(&name)) || event.paths.is_empty()
        };
        // Reads are our own.
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let changes = |event: &Event| !event.kind.is_access() || event.kind == written;
        if event.map_or(true, |e| changes(&e) && concerns(&e)) {
            alert.notify_one();
        }
    })?;
    let parent = path.parent().filter(|parent| parent.is_dir());
    match (is_there, parent) {
        (true, _) => watcher.watch(path, RecursiveMode::NonRecursive)?,
        (false, None) => return Err(notify::Error::io(io::ErrorKind::NotFound.into())),
        (false, Some(_)) => {}
    }
    if let Some(parent) = parent {
        watcher.watch(parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}
