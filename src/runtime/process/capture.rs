//! A call's stdin, stdout and stderr as files in memory.
//!
//! Why not pipes: a pipe is at its end only when the last process that holds it ends. A grandchild
//! that went its own way would make us wait for it; a file is simply read when the child has
//! ended. And nobody has to read along.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    os::{fd::AsFd, unix::fs::FileExt},
};

use nix::{
    fcntl::{FallocateFlags, FcntlArg, OFlag, fallocate, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};

/// How much of the end of an output is always kept.
pub(super) const TAIL: u64 = 16 * 1024;
/// How much may lie between head and tail before it is given back.
const SLACK: u64 = 1024 * 1024;
const PAGE: u64 = 4096;

/// One output of a call.
pub(super) struct Capture {
    file: File,
    /// How many bytes from the start are kept.
    head: u64,
}

impl Capture {
    pub(super) fn new(head: usize) -> io::Result<Self> {
        let file = memory_file(c"riklet-output")?;
        // Appending, so that a child that opens /dev/stderr anew doesn't write over the start.
        fcntl(file.as_fd(), FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        Ok(Self {
            file,
            head: head as u64,
        })
    }

    /// The child's end.
    pub(super) fn end(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives back the memory between head and tail. Best effort.
    pub(super) fn trim(&self) {
        let Ok(length) = self.file.metadata().map(|m| m.len()) else {
            return;
        };
        if length < self.head + TAIL + SLACK {
            return;
        }
        let from = self.head.next_multiple_of(PAGE);
        let to = (length - TAIL) / PAGE * PAGE;
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        if let (Ok(offset), Ok(bytes)) = (i64::try_from(from), i64::try_from(to - from)) {
            let _ = fallocate(self.file.as_fd(), hole, offset, bytes);
        }
    }

    /// What was written: all of it, or head and tail with a line between that says how much is
    /// left out.
    pub(super) fn read(&self) -> Vec<u8> {
        self.try_read().unwrap_or_default()
    }

    fn try_read(&self) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len();
        if length <= self.head + TAIL {
            return self.part(0, length);
        }
        let mut text = self.part(0, self.head)?;
        let left_out = length - self.head - TAIL;
        text.extend_from_slice(format!("\n[{left_out} bytes left out]\n").as_bytes());
        text.extend(self.part(length - TAIL, TAIL)?);
        Ok(text)
    }

    fn part(&self, from: u64, length: u64) -> io::Result<Vec<u8>> {
        // By position: the offset of a file is shared with the child.
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        let mut done = 0;
        while done < bytes.len() {
            match self.file.read_at(&mut bytes[done..], from + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        bytes.truncate(done);
        Ok(bytes)
    }
}

/// A file from which a child reads `bytes`.
pub(super) fn input(bytes: &[u8]) -> io::Result<File> {
    let mut file = memory_file(c"riklet-input")?;
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn memory_file(name: &std::ffi::CStr) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

/// The last line with something on it, cut to 300 characters, control characters replaced: what
/// an error's one line has room for.
pub(super) fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .unwrap_or("");
    let line = logged(line).unwrap_or_else(|| line.to_owned());
    line.chars()
        .take(300)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The message of a log line as Go's programs write it (skopeo, umoci):
/// `time="…" level=fatal msg="…"`. Its quoting is JSON's but for characters that aren't printable.
fn logged(line: &str) -> Option<String> {
    let (fields, message) = line.split_once(" msg=")?;
    if !fields.starts_with("time=") {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(message).into_iter::<String>();
    values.next()?.ok()
}

#[cfg(test)]
mod tests;
