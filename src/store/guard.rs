//! Opening sled so that neither its panics nor its hangs reach anybody.
//!
//! Owns: the hygiene before, the thread and the limit. Must never happen elsewhere: sled being
//! opened.

use std::{
    fs::File,
    io,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use nix::fcntl::{Flock, FlockArg};
use sled::Db;

use super::{Content, Why, content};

/// sled's cache; its default is 1 GiB. A node's desired state is well below 1 MiB, and is read once.
const CACHE: u64 = 2 << 20;

/// How long a lock that is held is waited for.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// Why there is no open store.
#[derive(Debug)]
pub enum OpenFailure {
    /// What is there can't be used: quarantine it.
    Bad(Why),
    /// The surroundings don't allow it now: try again later.
    NotNow(String),
}

/// The open database, and what was in it.
pub type Found = (Db, Result<Content, Why>);

/// Runs something of sled's; a panic becomes an error text.
///
/// # Errors
/// What it panicked with.
pub fn calm<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        format!("sled panicked: {}", text.unwrap_or("without a word"))
    })
}

/// Opens and reads the store within `limit`.
///
/// # Errors
/// What to do instead.
pub fn open(dir: &Path, limit: Duration) -> Result<Found, OpenFailure> {
    open_by(open_here, dir, limit)
}

fn open_by(
    opener: impl FnOnce(&Path) -> Result<Found, sled::Error> + Send + 'static,
    dir: &Path,
    limit: Duration,
) -> Result<Found, OpenFailure> {
    if let Some(why) = misshapen(dir) {
        return Err(OpenFailure::Bad(Why::Unopenable(why)));
    }
    hygiene(dir, limit).map_err(|e| OpenFailure::NotNow(format!("{}: {e}", dir.display())))?;
    let (tell, opened) = mpsc::channel();
    let path = dir.to_owned();
    std::thread::Builder::new()
        .name("store-open".to_owned())
        .spawn(move || {
            let result = calm(|| opener(&path));
            // Nobody waits any more if that took too long; the database is closed again then.
            tell.send(result).ok();
        })
        .map_err(|e| OpenFailure::NotNow(e.to_string()))?;
    match opened.recv_timeout(limit) {
        Ok(Ok(Ok((db, Err(Why::Unopenable(why)))))) => {
            drop(db);
            Err(OpenFailure::Bad(Why::Unopenable(why)))
        }
        Ok(Ok(Ok(pair))) => Ok(pair),
        Ok(Ok(Err(error))) => Err(judge(&error)),
        Ok(Err(panic)) => Err(OpenFailure::Bad(Why::Unopenable(panic))),
        Err(_) => Err(OpenFailure::Bad(Why::TooSlow)),
    }
}

#[allow(clippy::disallowed_methods)] // The one place that opens sled.
fn open_here(dir: &Path) -> Result<Found, sled::Error> {
    let db = sled::Config::new()
        .path(dir)
        .cache_capacity(CACHE)
        // None: no fsync while idle. The worker flushes and syncs by itself.
        .flush_every_ms(None)
        .open()?;
    let content = content::read(&db);
    Ok((db, content))
}

/// Is it the files' fault, or that of the surroundings?
fn judge(error: &sled::Error) -> OpenFailure {
    use io::ErrorKind::{
        OutOfMemory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    match error {
        sled::Error::Io(io)
            if matches!(
                io.kind(),
                StorageFull | QuotaExceeded | PermissionDenied | ReadOnlyFilesystem | OutOfMemory
            ) =>
        {
            OpenFailure::NotNow(error.to_string())
        }
        _ => OpenFailure::Bad(Why::Unopenable(error.to_string())),
    }
}

/// What stands where the database should be, if that isn't a directory of files. sled would write
/// through a link, into whatever it leads to.
fn misshapen(dir: &Path) -> Option<String> {
    dir.symlink_metadata().ok()?;
    if !dir.is_dir() {
        return Some(format!("{} is no directory", dir.display()));
    }
    let mut entries = std::fs::read_dir(dir).ok()?.filter_map(Result::ok);
    let link = entries.find(|e| e.file_type().is_ok_and(|kind| kind.is_symlink()))?;
    Some(format!("{} is a link", link.path().display()))
}

/// Before sled sees the directory: what a killed start of sled left is removed (sled would take
/// it for its newest snapshot and never open again), and nobody else may have it open.
fn hygiene(dir: &Path, limit: Duration) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path())?;
        }
    }
    // A database that this process has closed may keep its lock until sled's threads are gone.
    let until = Instant::now() + limit.min(LOCK_WAIT);
    loop {
        match try_lock(dir) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

fn try_lock(dir: &Path) -> io::Result<()> {
    match File::open(dir.join("db")) {
        Ok(file) => Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map(drop)
            .map_err(|(_, errno)| io::Error::from(errno)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
