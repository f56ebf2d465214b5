//! The CRI log format: `<time> <stream> P|F <text>`, where P is part of a line.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
};

use jiff::Timestamp;

/// One line that a container wrote, whole again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// When its first part was written, as the file has it.
    pub(super) time: String,
    /// What was written, without the line break.
    pub(super) text: Vec<u8>,
}

/// Makes whole lines of parts; bytes may come cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// Bytes after the last line break.
    rest: Vec<u8>,
    /// By stream: a line of which the end is to come.
    parts: BTreeMap<Vec<u8>, Entry>,
}

impl Joiner {
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut whole: impl FnMut(Entry) -> io::Result<()>,
    ) -> io::Result<()> {
        self.rest.extend_from_slice(bytes);
        let rest = std::mem::take(&mut self.rest);
        for line in rest.split_inclusive(|b| *b == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    if let Some(entry) = self.line(line) {
                        whole(entry)?;
                    }
                }
                // The last piece has no line break yet.
                None => self.rest = line.to_vec(),
            }
        }
        Ok(())
    }

    /// What is left of lines whose end never came.
    pub(super) fn finish(
        &mut self,
        mut whole: impl FnMut(Entry) -> io::Result<()>,
    ) -> io::Result<()> {
        let parts = std::mem::take(&mut self.parts);
        parts.into_values().try_for_each(&mut whole)
    }

    fn line(&mut self, line: &[u8]) -> Option<Entry> {
        let mut fields = line.splitn(4, |b| *b == b' ');
        let (time, stream, tag) = (fields.next()?, fields.next(), fields.next());
        let text = fields.next().unwrap_or_default();
        let (Some(stream), Some(tag @ (b"P" | b"F"))) = (stream, tag) else {
            // Not of the format: as it stands.
            return Some(Entry {
                time: String::new(),
                text: line.to_vec(),
            });
        };
        let mut entry = self.parts.remove(stream).unwrap_or_else(|| Entry {
            time: String::from_utf8_lossy(time).into_owned(),
            text: Vec::new(),
        });
        entry.text.extend_from_slice(text);
        if tag == b"F" {
            return Some(entry);
        }
        self.parts.insert(stream.to_vec(), entry);
        None
    }
}

/// Where whole lines go; holds the last ones back while only those are asked for.
pub(super) struct Sink<W> {
    out: W,
    since: Option<Timestamp>,
    timestamps: bool,
    tail: Option<usize>,
    held: VecDeque<Entry>,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(
        out: W,
        tail: Option<usize>,
        since: Option<Timestamp>,
        timestamps: bool,
    ) -> Self {
        Self {
            out,
            since,
            timestamps,
            tail,
            held: VecDeque::new(),
        }
    }

    pub(super) fn take(&mut self, entry: Entry) -> io::Result<()> {
        let old = self.since.is_some_and(|since| {
            let at = entry.time.parse::<Timestamp>();
            at.is_ok_and(|at| at < since)
        });
        if old {
            return Ok(());
        }
        match self.tail {
            None => self.write(&entry),
            Some(tail) => {
                self.held.push_back(entry);
                if self.held.len() > tail {
                    self.held.pop_front();
                }
                Ok(())
            }
        }
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        if self.timestamps && !entry.time.is_empty() {
            write!(self.out, "{} ", entry.time)?;
        }
        self.out.write_all(&entry.text)?;
        self.out.write_all(b"\n")
    }

    /// Writes what was held back; from now on nothing is.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        for entry in std::mem::take(&mut self.held) {
            self.write(&entry)?;
        }
        self.tail = None;
        self.out.flush()
    }
}
