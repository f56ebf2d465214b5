//! Setting a bad database aside, for a person to look at.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

/// So many are kept.
pub const KEPT: usize = 2;

/// None is kept longer, in seconds: 30 days.
pub const MAX_AGE: i64 = 30 * 24 * 60 * 60;

const MIDDLE: &str = ".bad-";

fn stem(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}{MIDDLE}")
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S%3fZ").to_string()
}

/// Moves a directory to `<dir>.bad-<timestamp>`; none if it isn't there.
///
/// # Errors
/// As rename(2).
pub fn set_aside(dir: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    // Whatever bears the name: a file and a link that leads nowhere are in the way, too.
    if dir.symlink_metadata().is_err() {
        return Ok(None);
    }
    let base = format!("{}{}", stem(dir), stamp(now));
    let mut to = dir.with_file_name(&base);
    for n in 2.. {
        if !to.exists() {
            break;
        }
        to = dir.with_file_name(format!("{base}-{n}"));
    }
    std::fs::rename(dir, &to)?;
    Ok(Some(to))
}

/// Those beside `dir`, oldest first.
///
/// # Errors
/// As readdir(3).
pub fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(parent), stem) = (dir.parent(), stem(dir)) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&stem) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Removes those that are too many or too old.
///
/// # Errors
/// As readdir(3) and unlink(2).
pub fn prune(dir: &Path, now: Timestamp) -> io::Result<()> {
    let all = list(dir)?;
    let oldest = Timestamp::from_second(now.as_second() - MAX_AGE).unwrap_or(Timestamp::MIN);
    let limit = format!("{}{}", stem(dir), stamp(oldest));
    let over = all.len().saturating_sub(KEPT);
    for (i, path) in all.iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if i < over || *name < *limit {
            match path.symlink_metadata()?.is_dir() {
                true => std::fs::remove_dir_all(path)?,
                false => std::fs::remove_file(path)?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
