//! The files of one container's logs: attempts, rotated parts, and reading on as they grow.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::model::ids::{Attempt, Position};

/// So many bytes are read at once.
const CHUNK: u64 = 1024 * 1024;

/// `<n>-<attempt>.log` and `<n>-<attempt>.log.<rotated>` in one directory.
#[derive(Debug, Clone)]
pub(super) struct Attempts {
    dir: PathBuf,
    n: Position,
}

impl Attempts {
    pub(super) fn new(dir: PathBuf, n: Position) -> Self {
        Self { dir, n }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    fn attempt_of(&self, name: &str) -> Option<Attempt> {
        let (stem, _) = name.split_once(".log")?;
        let (n, attempt) = stem.split_once('-')?;
        (n.parse() == Ok(self.n)).then(|| attempt.parse().ok())?
    }

    /// The newest attempt that has a log, or one that is `before` older ones back.
    pub(super) fn newest(&self, before: usize) -> Option<Attempt> {
        let mut attempts: Vec<Attempt> = self
            .names()
            .iter()
            .filter_map(|name| self.attempt_of(name))
            .collect();
        attempts.sort_unstable();
        attempts.dedup();
        attempts.into_iter().rev().nth(before)
    }

    /// The attempt's live file.
    fn live(&self, attempt: Attempt) -> PathBuf {
        self.dir.join(format!("{}-{attempt}.log", self.n))
    }

    /// The attempt's files, oldest first: rotated ones by when they were last written to.
    pub(super) fn files(&self, attempt: Attempt) -> Vec<PathBuf> {
        let live = self.live(attempt);
        let rotated = format!("{}-{attempt}.log.", self.n);
        let mut files: Vec<(i64, i64, PathBuf)> = self
            .names()
            .into_iter()
            .filter(|name| name.starts_with(&rotated))
            .map(|name| self.dir.join(name))
            .filter_map(|path| {
                let meta = fs::metadata(&path).ok()?;
                Some((meta.mtime(), meta.mtime_nsec(), path))
            })
            .collect();
        files.sort();
        let mut files: Vec<PathBuf> = files.into_iter().map(|(.., path)| path).collect();
        if live.exists() {
            files.push(live);
        }
        files
    }
}

/// Reads an attempt from its beginning and goes on as it grows, is rotated, and restarts.
pub(super) struct Reader<'a> {
    attempts: &'a Attempts,
    attempt: Attempt,
    /// What was there at first, oldest first.
    waiting: std::vec::IntoIter<PathBuf>,
    file: Option<File>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(attempts: &'a Attempts, attempt: Attempt) -> Self {
        Self {
            attempts,
            attempt,
            waiting: attempts.files(attempt).into_iter(),
            file: None,
        }
    }

    /// The next bytes; none if there are none yet.
    pub(super) fn more(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let bytes = self.rest()?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            let Some(next) = self.next_file()? else {
                return Ok(Vec::new());
            };
            // Between the last read and the rotation something may have been written.
            let bytes = self.rest()?;
            self.file = Some(next);
            if !bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            file.take(CHUNK).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// The file that goes on where the current one has ended, if there is one.
    fn next_file(&mut self) -> io::Result<Option<File>> {
        for path in self.waiting.by_ref() {
            if let Some(file) = open(&path)? {
                return Ok(Some(file));
            }
        }
        let inode = |file: &File| file.metadata().map(|m| (m.dev(), m.ino())).ok();
        let current = self.file.as_ref().and_then(inode);
        if let Some(file) = open(&self.attempts.live(self.attempt))?
            && inode(&file) != current
        {
            return Ok(Some(file));
        }
        match self.attempts.newest(0) {
            Some(newest) if newest > self.attempt => {
                self.attempt = newest;
                open(&self.attempts.live(newest))
            }
            _ => Ok(None),
        }
    }
}

/// The file, unless it is gone.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
