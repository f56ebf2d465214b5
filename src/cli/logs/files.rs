//! The files of one container's logs: attempts, rotated parts, and reading on as they grow.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    model::ids::{Attempt, Position},
    runtime::layout::{LogPart, parse_log},
};

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

    /// This container's files, of all attempts, oldest first.
    fn parts(&self) -> Vec<(Attempt, LogPart, PathBuf)> {
        let of = |name: &String| parse_log(name).filter(|(n, ..)| *n == self.n);
        let names = self.names().into_iter();
        let found = names.filter_map(|name| {
            let (_, attempt, part) = of(&name)?;
            Some((attempt, part, self.dir.join(name)))
        });
        // What a monitor is just opening has nothing in it yet.
        let mut found: Vec<_> = found
            .filter(|(_, part, _)| *part != LogPart::Opening)
            .collect();
        found.sort();
        found
    }

    /// The newest attempt that has a log, or one that is `before` older ones back.
    pub(super) fn newest(&self, before: usize) -> Option<Attempt> {
        let mut attempts: Vec<Attempt> = self.parts().iter().map(|part| part.0).collect();
        attempts.dedup();
        attempts.into_iter().rev().nth(before)
    }
}

/// How far a reader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// To the end of its attempt.
    End,
    /// On with the attempts that follow.
    Forever,
}

/// Reads an attempt from its beginning and goes on as it grows, is rotated, and restarts.
pub(super) struct Reader<'a> {
    attempts: &'a Attempts,
    attempt: Attempt,
    until: Until,
    file: Option<File>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(attempts: &'a Attempts, attempt: Attempt, until: Until) -> Self {
        Self {
            attempts,
            attempt,
            until,
            file: None,
        }
    }

    /// Whose bytes came last.
    pub(super) fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// The next bytes; none if there are none yet.
    pub(super) fn more(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let bytes = self.rest()?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            let Some((attempt, next)) = self.next_file()? else {
                return Ok(Vec::new());
            };
            // Between the last read and the rotation something may have been written. Nothing is
            // any more: the file that follows is there.
            let bytes = self.rest()?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            (self.attempt, self.file) = (attempt, Some(next));
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
    fn next_file(&mut self) -> io::Result<Option<(Attempt, File)>> {
        let inode = |of: &Metadata| (of.dev(), of.ino());
        let current = match &self.file {
            Some(file) => Some(inode(&file.metadata()?)),
            None => None,
        };
        let mut parts = self.attempts.parts();
        parts.retain(|(attempt, ..)| match self.until {
            Until::End => *attempt == self.attempt,
            Until::Forever => *attempt >= self.attempt,
        });
        // One that isn't there any more was the oldest, and was removed.
        let is_current = |path: &PathBuf| {
            let there = fs::metadata(path).ok();
            there.is_some_and(|there| Some(inode(&there)) == current)
        };
        let at = parts.iter().position(|(.., path)| is_current(path));
        for (attempt, _, path) in parts.into_iter().skip(at.map_or(0, |at| at + 1)) {
            if let Some(file) = open(&path)? {
                return Ok(Some((attempt, file)));
            }
        }
        Ok(None)
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
