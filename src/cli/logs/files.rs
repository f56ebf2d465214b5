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
/// So often files are listed anew that change meanwhile: a list takes microseconds, and riklet
/// waits for milliseconds before it puts the next one aside.
const TRIES: usize = 100;

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

    /// This container's files, of all attempts, oldest first, as they lay at one moment.
    ///
    /// Listed until two lists are the same: a log is put aside by a rename, so one list may have
    /// the old name of a file, or neither of its names, and what is looked up by a listed name
    /// may be another file. A file's name only ever changes for an older one's, so what lies
    /// alike twice lay so in between.
    fn parts(&self) -> io::Result<Vec<Part>> {
        let mut before = self.list();
        for _ in 0..TRIES {
            let now = self.list();
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        let dir = self.dir.display();
        let message = format!("{dir}: files are put aside faster than they can be listed");
        Err(io::Error::other(message))
    }

    fn list(&self) -> Vec<Part> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let found = names.filter_map(|name| {
            let (n, attempt, part) = parse_log(&name)?;
            // What a monitor is just opening has nothing in it yet.
            if n != self.n || part == LogPart::Opening {
                return None;
            }
            let path = self.dir.join(name);
            let inode = fs::metadata(&path).map(|of| inode(&of)).ok();
            Some(Part {
                attempt,
                part,
                path,
                inode,
            })
        });
        let mut found: Vec<Part> = found.collect();
        found.sort();
        found
    }

    /// The newest attempt that has a log, or one that is `before` older ones back.
    pub(super) fn newest(&self, before: usize) -> Option<Attempt> {
        let mut attempts: Vec<Attempt> = self.list().iter().map(|part| part.attempt).collect();
        attempts.dedup();
        attempts.into_iter().rev().nth(before)
    }
}

/// One file as it was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    attempt: Attempt,
    part: LogPart,
    path: PathBuf,
    inode: Option<Inode>,
}

/// Device and inode: what a file is, whatever its name.
type Inode = (u64, u64);

fn inode(of: &Metadata) -> Inode {
    (of.dev(), of.ino())
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
    fn next_file(&self) -> io::Result<Option<(Attempt, File)>> {
        let current = match &self.file {
            Some(file) => Some(inode(&file.metadata()?)),
            None => None,
        };
        for _ in 0..TRIES {
            let mut parts = self.attempts.parts()?;
            parts.retain(|part| match self.until {
                Until::End => part.attempt == self.attempt,
                Until::Forever => part.attempt >= self.attempt,
            });
            // One that isn't there any more was the oldest, and was removed.
            let is_current = |part: &Part| part.inode.is_some() && part.inode == current;
            let at = parts.iter().position(is_current);
            let Some(next) = parts.get(at.map_or(0, |at| at + 1)) else {
                return Ok(None);
            };
            match File::open(&next.path) {
                Ok(file) if Some(inode(&file.metadata()?)) == next.inode => {
                    return Ok(Some((next.attempt, file)));
                }
                // Another one by now, or put aside, or removed: what follows is to be seen anew.
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        // With the next change.
        Ok(None)
    }
}
