//! A container's last words: its termination message.
//!
//! Owns: the file that a container writes them to, and reading it when it has ended. In: the
//! bundle, the log. Out: a text of at most 4,096 bytes. Must never happen here: following a link,
//! or reading more than that.
//!
//! The file is the bundle's own, mounted at `terminationMessagePath`, so the container can write
//! what it likes into it and can't make it another.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use crate::{
    model::spec::{ContainerSpec, MessagePolicy},
    runtime::layout::{LogPart, parse_log},
};

/// Where a container writes them, if the definition doesn't say.
pub const USUAL_PATH: &str = "/dev/termination-log";

/// The most of them, in bytes (Kubernetes' number).
pub const MOST: usize = 4096;

/// The most of a log that stands for them: bytes, lines (Kubernetes' numbers).
const MOST_OF_LOG: (usize, usize) = (2048, 80);

/// The most of a log file that is read for it: each of its lines begins with a time.
const MOST_READ: u64 = 16 * 1024;

const FILE: &str = "termination-log";

/// There if the log stands for last words that there aren't.
const FALLBACK: &str = "termination-log.fallback";

/// Makes the file in a bundle; its path and where it is seen inside.
///
/// # Errors
/// It can't be made.
pub fn make(bundle: &Path, container: &ContainerSpec) -> io::Result<(PathBuf, String)> {
    let path = bundle.join(FILE);
    let file = File::create(&path)?;
    // Whoever the container runs as; on the node the directories above are closed.
    file.set_permissions(PermissionsExt::from_mode(0o666))?;
    if container.termination_message_policy == MessagePolicy::FallbackToLogsOnError {
        File::create(bundle.join(FALLBACK))?;
    }
    let target = container.termination_message_path.as_deref();
    Ok((path, target.unwrap_or(USUAL_PATH).to_owned()))
}

/// The last `most` bytes of a regular file, and which file that is; none and 0 if there is none.
fn end_of(path: &Path, most: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut options = File::options();
    options.read(true);
    options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    let mut file = match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        file => file?,
    };
    let meta = file.metadata()?;
    let mut bytes = Vec::new();
    if meta.is_file() {
        file.seek(SeekFrom::Start(meta.len().saturating_sub(most)))?;
        file.take(most).read_to_end(&mut bytes)?;
    }
    Ok((bytes, meta.ino()))
}

/// The end of a log. Who writes fast and fails may have its log put aside right before it ends:
/// what isn't in the log any more, or yet, is at the end of the newest part of it.
fn end_of_log(log: &Path) -> io::Result<Vec<u8>> {
    let (bytes, live) = end_of(log, MOST_READ)?;
    let missing = MOST_READ.saturating_sub(bytes.len() as u64);
    let Some(aside) = newest_part(log).filter(|_| missing > 0) else {
        return Ok(bytes);
    };
    let (mut all, part) = end_of(&aside, missing)?;
    if part == live {
        // It was put aside just now.
        return Ok(bytes);
    }
    all.extend(bytes);
    Ok(all)
}

/// The newest of a log's parts that were put aside.
fn newest_part(log: &Path) -> Option<PathBuf> {
    let (n, attempt, _) = parse_log(log.file_name()?.to_str()?)?;
    let dir = log.parent()?;
    let parts = fs::read_dir(dir).ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        match parse_log(&name)? {
            (of, its, LogPart::Rotated(k)) if (of, its) == (n, attempt) => Some((k, name)),
            _ => None,
        }
    });
    parts.max().map(|(_, name)| dir.join(name))
}

/// The end of a text, at most `most` bytes of it, in whole characters.
fn tail(text: &str, most: usize) -> &str {
    let mut from = text.len().saturating_sub(most);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// What the last lines of a log in CRI's format say.
fn of_log(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut said = String::new();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(MOST_OF_LOG.1);
    for line in &lines[last..] {
        // `<time> <stream> <F or P> <text>`; the first may have lost its beginning.
        let mut parts = line.splitn(4, ' ').skip(1);
        let (Some("stdout" | "stderr"), Some(whole)) = (parts.next(), parts.next()) else {
            continue;
        };
        said.push_str(parts.next().unwrap_or(""));
        if whole == "F" {
            said.push('\n');
        }
    }
    tail(said.trim_end_matches('\n'), MOST_OF_LOG.0).to_owned()
}

/// The last words of a container that has ended, if it left any. `failed`: it didn't exit with 0,
/// so the end of its log stands for them where the definition says so.
#[must_use]
pub fn read(bundle: &Path, log: &Path, failed: bool) -> Option<String> {
    // What can't be read was not said: no exit waits for its last words.
    let (bytes, _) = end_of(&bundle.join(FILE), MOST as u64).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let said = tail(&text, MOST);
    if !said.is_empty() {
        return Some(said.to_owned());
    }
    if !failed || bundle.join(FALLBACK).symlink_metadata().is_err() {
        return None;
    }
    let logged = of_log(&end_of_log(log).unwrap_or_default());
    Some(logged).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
