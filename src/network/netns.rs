//! Named network namespaces, as `ip netns add` makes them, without running `ip`.
//!
//! A namespace is named by a bind mount of a thread's `ns/net` on `/run/netns/<name>`; it lives as
//! long as that mount, a process in it, or a descriptor of it. Owns: those mounts. In: names. Out:
//! paths. Must never happen here: a change of the calling thread's namespace (a thread of its own
//! is spent on each), or taking a plain file for a namespace: after a crash between making the
//! file and mounting on it there is one.
//!
//! All functions block for milliseconds (the kernel's rtnl lock): call them on a blocking thread.

// Unsafe: one ioctl, to raise `lo`; nix has no safe wrapper for it.
#![allow(unsafe_code)]

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{
        socket::{AddressFamily, SockFlag, SockType, socket},
        statfs::statfs,
    },
};

use super::pins::NSFS;

/// Where names of network namespaces are, by convention of iproute2.
pub const DIRECTORY: &str = "/run/netns";

/// How long somebody else may hold the directory: `ip netns add` does for a moment.
const HELD: Duration = Duration::from_secs(10);

/// Why a network namespace could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Not a plain file name.
    #[error(
        "use {0:?} as the name of a network namespace: only letters, digits, '.', '_' and '-', at most 64, no leading '.'"
    )]
    Name(String),
    /// `/run/netns` could not be prepared.
    #[error("prepare {DIRECTORY} for names of network namespaces")]
    Directory(#[source] io::Error),
    /// The namespace could not be made.
    #[error("create network namespace {name}: {step}")]
    Create {
        /// Its name.
        name: String,
        /// Which step failed.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The namespace could not be removed.
    #[error("delete network namespace {name}")]
    Delete {
        /// Its name.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// Where a namespace of that name is, or would be.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes a namespace of that name with `lo` raised. Existing is fine.
///
/// # Errors
/// The name is no plain file name, or the kernel refused a step; then nothing is left of it.
pub fn create(name: &str) -> Result<(), NetnsError> {
    check(name)?;
    // Held until the end: iproute2 takes the same lock, and so does a second create.
    let _lock = prepare().map_err(NetnsError::Directory)?;
    match exists(name) {
        true => Ok(()),
        false => give_name(name, None),
    }
}

/// Gives a process's network namespace, as its `/proc/<pid>/ns/net` has it, that name, and raises
/// `lo` in it.
///
/// # Errors
/// As [`create`]'s; or another namespace has the name.
pub fn adopt(name: &str, namespace: &Path) -> Result<(), NetnsError> {
    check(name)?;
    let _lock = prepare().map_err(NetnsError::Directory)?;
    if exists(name) {
        return Err(NetnsError::Create {
            name: name.to_owned(),
            step: "take a name that is free",
            source: io::ErrorKind::AlreadyExists.into(),
        });
    }
    give_name(name, Some(namespace))
}

/// Names the namespace, or a new one. With the lock.
fn give_name(name: &str, namespace: Option<&Path>) -> Result<(), NetnsError> {
    let target = path(name);
    let failed = |step| {
        move |source: io::Error| NetnsError::Create {
            name: name.to_owned(),
            step,
            source,
        }
    };
    // A file without a namespace is what a crash left: it is taken over.
    File::create(&target).map_err(failed("make its file"))?;
    // The thread ends in the new namespace and takes nothing of it along.
    let made = thread::scope(|scope| {
        let maker = thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || make(&target, namespace))
            .map_err(failed("start a thread"))?;
        maker
            .join()
            .unwrap_or_else(|_| Err(("run its thread", io::Error::other("panicked"))))
            .map_err(|(step, e)| failed(step)(e))
    });
    if made.is_err() {
        let _ = fs::remove_file(&target);
    }
    made
}

/// Removes the name; the namespace ends with the last process in it. Not found = ok.
///
/// # Errors
/// The name is no plain file name, or the kernel refused it.
pub fn delete(name: &str) -> Result<(), NetnsError> {
    check(name)?;
    let target = path(name);
    let failed = |source: io::Error| NetnsError::Delete {
        name: name.to_owned(),
        source,
    };
    loop {
        match umount2(&target, MntFlags::MNT_DETACH) {
            Ok(()) => {} // There may be another mount below it.
            Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EINVAL) => break, // No mount: only the file is left.
            Err(e) => return Err(failed(e.into())),
        }
    }
    match fs::remove_file(&target) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(e)),
        _ => Ok(()),
    }
}

/// Is there a namespace of that name? A file without one isn't.
#[must_use]
pub fn exists(name: &str) -> bool {
    check(name).is_ok() && statfs(&path(name)).is_ok_and(|s| s.filesystem_type() == NSFS)
}

/// The names that begin with `prefix`, sorted; a file without a namespace counts too, so that it
/// is found and deleted.
///
/// # Errors
/// The directory can't be read; a missing one is empty.
pub fn list(prefix: &str) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn check(name: &str) -> Result<(), NetnsError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let fine = (1..=64).contains(&name.len()) && !name.starts_with('.') && name.chars().all(plain);
    if fine {
        Ok(())
    } else {
        Err(NetnsError::Name(name.to_owned()))
    }
}

/// Locks the directory against iproute2 and other riklets. Anybody may hold it who can read it, so
/// nobody is waited for without end.
fn lock(dir: &Path, limit: Duration) -> io::Result<Flock<File>> {
    let until = Instant::now() + limit;
    let mut file = File::open(dir)?;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK)) if Instant::now() < until => file,
            Err((_, Errno::EWOULDBLOCK)) => {
                let message = format!(
                    "somebody has held it locked for {} s: `lslocks` says who",
                    limit.as_secs()
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            Err((_, e)) => return Err(e.into()),
        };
        thread::sleep(Duration::from_millis(2));
    }
}

/// Makes the directory a shared mount of its own, as iproute2 does: names made here then show in
/// every mount namespace that got the directory from here, and so do their deletions. Without it
/// a namespace couldn't be removed while another mount namespace holds a copy of the mount.
fn prepare() -> io::Result<Flock<File>> {
    fs::create_dir_all(DIRECTORY)?;
    let lock = lock(Path::new(DIRECTORY), HELD)?;
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(None::<&str>, DIRECTORY, None::<&str>, flags, None::<&str>)
    };
    match share() {
        Err(Errno::EINVAL) => {
            // Not a mount yet.
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(
                Some(DIRECTORY),
                DIRECTORY,
                None::<&str>,
                flags,
                None::<&str>,
            )?;
            share()?;
        }
        other => other?,
    }
    Ok(lock)
}

/// On a thread of its own: leaves for the namespace, or for a new one, and names it. `lo` is raised
/// first, so that whatever has a name is ready.
fn make(target: &Path, namespace: Option<&Path>) -> Result<(), (&'static str, io::Error)> {
    match namespace {
        None => unshare(CloneFlags::CLONE_NEWNET).map_err(|e| ("unshare the network", e.into()))?,
        Some(path) => File::open(path)
            .and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?))
            .map_err(|e| ("enter it", e))?,
    }
    raise_loopback().map_err(|e| ("raise lo", e))?;
    mount(
        Some("/proc/thread-self/ns/net"),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .map_err(|e| ("mount its name", e.into()))
}

/// Sets `lo` to IFF_UP in the calling thread's namespace.
fn raise_loopback() -> io::Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: ifreq is plain data, for which zeroes are a value; name and flags are set, and
    // SIOCSIFFLAGS only reads it. A fresh `lo` has no other flag that could be set.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        libc::ioctl(
            socket.as_fd().as_raw_fd(),
            libc::SIOCSIFFLAGS,
            &raw const request,
        )
    };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
