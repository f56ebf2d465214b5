//! What is certain of a disk after some steps, and what a power cut may make of the rest.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{Image, Order, PAGE, Step};

/// So many names that aren't durable are chosen from in every combination; of more of them, one
/// at a time.
const ALL_SUBSETS: usize = 5;

/// Names, each with the number of its file; none for directories.
pub(super) type Names = BTreeMap<PathBuf, Option<usize>>;

#[derive(Debug, Clone)]
enum Change {
    Add(PathBuf, Option<usize>),
    Rename(PathBuf, PathBuf, Option<usize>),
    Remove(PathBuf),
}

impl Change {
    fn parent(&self) -> &Path {
        let (Self::Add(path, _) | Self::Rename(path, ..) | Self::Remove(path)) = self;
        path.parent().unwrap_or(Path::new(""))
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Add(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    durable: usize,
    // Where each append that isn't durable ended.
    ends: Vec<usize>,
}

/// The disk after some steps.
#[derive(Debug, Default)]
pub(super) struct Surface {
    pub(super) files: Vec<Content>,
    pub(super) seen: Names,
    durable: Names,
    pending: Vec<Change>,
}

impl Surface {
    pub(super) fn after(steps: &[Step]) -> Self {
        let mut disk = Self::default();
        for step in steps {
            disk.take(step);
        }
        disk
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::MakeDir(path) => self.change(Change::Add(path.clone(), None)),
            Step::Create(path, number) => {
                self.files.resize_with(number + 1, Content::default);
                self.change(Change::Add(path.clone(), Some(*number)));
            }
            Step::Append(number, bytes) => {
                let file = &mut self.files[*number];
                file.bytes.extend_from_slice(bytes);
                file.ends.push(file.bytes.len());
            }
            Step::Synced(number, promised) => {
                let file = &mut self.files[*number];
                file.durable = file.durable.max(*promised);
                file.ends.retain(|end| end > promised);
            }
            Step::DirSynced(dir) => {
                let (durable, pending) = (&mut self.durable, &mut self.pending);
                pending.retain(|change| {
                    let here = change.parent() == dir;
                    if here {
                        change.apply(durable);
                    }
                    !here
                });
            }
            Step::Rename(from, to) => {
                let file = self.seen.get(from).copied().flatten();
                self.change(Change::Rename(from.clone(), to.clone(), file));
            }
            Step::Remove(path) => self.change(Change::Remove(path.clone())),
            Step::Mark(_) => {}
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    pub(super) fn as_seen(&self) -> Image {
        self.image(&self.seen, |file| file.bytes.clone())
    }

    fn image(&self, names: &Names, mut bytes: impl FnMut(&Content) -> Vec<u8>) -> Image {
        let mut image = Image::default();
        for (path, name) in names {
            let parent = path.parent().unwrap_or(Path::new(""));
            // What lies in a directory whose own name is lost is lost with it.
            if parent.as_os_str().is_empty() || image.0.contains_key(parent) {
                let content = name.map(|number| bytes(&self.files[number]));
                image.0.insert(path.clone(), content);
            }
        }
        image
    }

    fn names(&self, order: Order) -> Vec<Names> {
        let count = self.pending.len();
        let chosen: Vec<Vec<usize>> = match order {
            Order::AsAsked => (0..=count).map(|n| (0..n).collect()).collect(),
            Order::Any if count <= ALL_SUBSETS => (0..1_usize << count)
                .map(|set| (0..count).filter(|i| set >> i & 1 == 1).collect())
                .collect(),
            Order::Any => (0..count)
                .map(|alone| vec![alone])
                .chain((0..=count).map(|but| (0..count).filter(|i| *i != but).collect()))
                .chain((0..=count).map(|n| (0..n).collect()))
                .collect(),
        };
        let namespace = |chosen: Vec<usize>| {
            let mut names = self.durable.clone();
            for i in chosen {
                self.pending[i].apply(&mut names);
            }
            names
        };
        chosen.into_iter().map(namespace).collect()
    }

    pub(super) fn images(&self, order: Order) -> Vec<Image> {
        let mut images = Vec::new();
        for names in self.names(order) {
            let open =
                |number: &usize| self.files[*number].bytes.len() > self.files[*number].durable;
            let dirty: Vec<usize> = names.values().flatten().copied().filter(open).collect();
            let durable = |file: &Content| file.bytes[..file.durable].to_vec();
            images.push(self.image(&names, |file| file.bytes.clone()));
            images.push(self.image(&names, durable));
            // One of them at a time in every way; the others as they were promised.
            for number in dirty {
                let special: *const Content = &raw const self.files[number];
                for version in self.files[number].versions() {
                    images.push(self.image(&names, |file| {
                        if std::ptr::eq(file, special) {
                            version.clone()
                        } else {
                            durable(file)
                        }
                    }));
                }
            }
        }
        images
    }
}

impl Content {
    /// What may be in the file: as it was at any time, with a torn end, with a page missing, with
    /// one page alone.
    fn versions(&self) -> Vec<Vec<u8>> {
        let (durable, len) = (self.durable, self.bytes.len());
        let mut versions: Vec<Vec<u8>> = Vec::new();
        let mut from = durable;
        for end in &self.ends {
            versions.push(self.bytes[..*end].to_vec());
            versions.push(self.bytes[..from.midpoint(*end)].to_vec());
            from = *end;
        }
        let pages = durable / PAGE..=(len - 1) / PAGE;
        for page in pages.clone() {
            let gone = (page * PAGE).max(durable)..((page + 1) * PAGE).min(len);
            let mut missing = self.bytes.clone();
            missing[gone.clone()].fill(0);
            versions.push(missing);
            let mut alone = self.bytes.clone();
            alone[durable..gone.start].fill(0);
            alone[gone.end..].fill(0);
            versions.push(alone);
            versions.push(self.bytes[..gone.end].to_vec());
        }
        // The length reached the disk, and nothing of what it is about.
        let mut hollow = self.bytes.clone();
        hollow[durable..].fill(0);
        versions.push(hollow);
        versions
    }
}
