//! A tape of a [`Disk`](super::Disk)'s operations, and the images that a power cut may leave of
//! them, for tests.
//!
//! The model is what POSIX promises and no more. Of a file's bytes those are certain that were
//! there when an fdatasync of it *began* that has returned; of the later ones any pages may have
//! reached the disk, each as it was at any time, and the file's length with them or without. Of a
//! directory's names those are certain that an fsync of it has seen; of the later creations,
//! renames and removals any may have reached the disk ([`Order::Any`]), or any first so many of
//! them ([`Order::AsAsked`]: what every journalling filesystem keeps within a directory). A page
//! has 512 bytes here, a disk's sector, so that small files have many. Images are drawn
//! exhaustively up to a bound for each kind of choice: see [`Tape::images`].

mod surface;

use std::{
    collections::BTreeMap,
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::surface::Surface;

/// The smallest piece of a file that reaches the disk whole.
pub const PAGE: usize = 512;

/// In which order names reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they were asked for.
    AsAsked,
    /// In any.
    Any,
}

#[derive(Debug, Clone)]
enum Step {
    MakeDir(PathBuf),
    Create(PathBuf, usize),
    Append(usize, Vec<u8>),
    Synced(usize, usize),
    DirSynced(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    Mark(u64),
}

#[derive(Debug, Default)]
struct State {
    root: PathBuf,
    steps: Vec<Step>,
    // Files by their inode; a number is used again once its file is gone.
    files: BTreeMap<u64, usize>,
    lengths: Vec<usize>,
}

/// The tape. A clone is the same tape.
#[derive(Debug, Clone, Default)]
pub struct Tape(Arc<Mutex<State>>);

/// What lies on a disk: files with their bytes, directories without; paths below the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Image(BTreeMap<PathBuf, Option<Vec<u8>>>);

impl Image {
    /// Lays it out below a directory.
    ///
    /// # Errors
    /// As write(2).
    pub fn write(&self, root: &Path) -> io::Result<()> {
        // A parent is before what is in it.
        for (path, bytes) in &self.0 {
            match bytes {
                None => std::fs::create_dir(root.join(path))?,
                Some(bytes) => std::fs::write(root.join(path), bytes)?,
            }
        }
        Ok(())
    }

    /// A number that differs for images that differ.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

fn inode(file: &File) -> u64 {
    file.metadata().map_or(0, |meta| meta.ino())
}

impl Tape {
    /// Of what happens below `root`, which is empty.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let root = root.to_owned();
        Self(Arc::new(Mutex::new(State {
            root,
            ..State::default()
        })))
    }

    /// As if the process had died after the first `steps` and another had found everything that
    /// they did: a tape that goes on from there below another root, where that is laid out.
    ///
    /// # Errors
    /// As write(2).
    pub fn resumed(&self, steps: usize, root: &Path) -> io::Result<Self> {
        let state = self.state();
        let kept: Vec<Step> = state.steps[..steps].to_vec();
        let disk = Surface::after(&kept);
        disk.as_seen().write(root)?;
        let mut files = BTreeMap::new();
        for (path, name) in &disk.seen {
            if let Some(number) = name {
                files.insert(root.join(path).metadata()?.ino(), *number);
            }
        }
        Ok(Self(Arc::new(Mutex::new(State {
            root: root.to_owned(),
            steps: kept,
            files,
            lengths: disk.files.iter().map(|file| file.bytes.len()).collect(),
        }))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many steps there are; each is a place for a power cut.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().steps.len()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A note of the test's own between the steps: a receipt that it got.
    pub fn mark(&self, note: u64) {
        self.state().steps.push(Step::Mark(note));
    }

    /// The notes among the first `steps`.
    #[must_use]
    pub fn marks(&self, steps: usize) -> Vec<u64> {
        let state = self.state();
        let marks = state.steps[..steps].iter().filter_map(|step| match step {
            Step::Mark(note) => Some(*note),
            _ => None,
        });
        marks.collect()
    }

    /// The bytes of every append so far, in order.
    #[must_use]
    pub fn appends(&self) -> Vec<Vec<u8>> {
        let state = self.state();
        let appends = state.steps.iter().filter_map(|step| match step {
            Step::Append(_, bytes) => Some(bytes.clone()),
            _ => None,
        });
        appends.collect()
    }

    /// The places about which names change: where a segment, a snapshot or a removal is half
    /// done.
    #[must_use]
    pub fn turning_points(&self) -> Vec<usize> {
        let state = self.state();
        let names =
            |step: &Step| !matches!(step, Step::Append(..) | Step::Synced(..) | Step::Mark(_));
        let near = |at: usize| {
            state.steps[at.saturating_sub(2)..state.steps.len().min(at + 1)]
                .iter()
                .any(names)
        };
        (1..=state.steps.len()).filter(|at| near(*at)).collect()
    }

    /// The images that a power cut after the first `steps` may leave.
    #[must_use]
    pub fn images(&self, steps: usize, order: Order) -> Vec<Image> {
        Surface::after(&self.state().steps[..steps]).images(order)
    }

    fn push(&self, state: &mut State, step: Step) {
        state.steps.push(step);
    }

    fn path(state: &State, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&state.root).ok().map(Path::to_owned)
    }

    pub(super) fn made_dir(&self, path: &Path) {
        let mut state = self.state();
        if let Some(path) = Self::path(&state, path) {
            self.push(&mut state, Step::MakeDir(path));
        }
    }

    pub(super) fn created(&self, path: &Path, file: &File) {
        let mut state = self.state();
        if let Some(path) = Self::path(&state, path) {
            let number = state.lengths.len();
            state.lengths.push(0);
            state.files.insert(inode(file), number);
            self.push(&mut state, Step::Create(path, number));
        }
    }

    pub(super) fn appended(&self, file: &File, bytes: &[u8]) {
        let mut state = self.state();
        if let Some(number) = state.files.get(&inode(file)).copied() {
            state.lengths[number] += bytes.len();
            self.push(&mut state, Step::Append(number, bytes.to_vec()));
        }
    }

    pub(super) fn length(&self, file: &File) -> usize {
        let state = self.state();
        let number = state.files.get(&inode(file));
        number.map_or(0, |number| state.lengths[*number])
    }

    pub(super) fn synced(&self, file: &File, promised: usize) {
        let mut state = self.state();
        if let Some(number) = state.files.get(&inode(file)).copied() {
            self.push(&mut state, Step::Synced(number, promised));
        }
    }

    pub(super) fn dir_synced(&self, path: &Path) {
        let mut state = self.state();
        if let Some(path) = Self::path(&state, path) {
            self.push(&mut state, Step::DirSynced(path));
        }
    }

    pub(super) fn renamed(&self, from: &Path, to: &Path) {
        let mut state = self.state();
        if let (Some(from), Some(to)) = (Self::path(&state, from), Self::path(&state, to)) {
            self.push(&mut state, Step::Rename(from, to));
        }
    }

    pub(super) fn removed(&self, path: &Path) {
        let mut state = self.state();
        if let Some(path) = Self::path(&state, path) {
            self.push(&mut state, Step::Remove(path));
        }
    }
}
