//! Namespaces of a sandbox besides the network's, each kept by a bind mount on a file.
//!
//! Owns: the making and the unmaking of such mounts. In: paths below the run directory. Out:
//! files that a runtime joins. Must never happen here: a change of the calling thread's
//! namespaces (a thread of its own is spent on each sandbox).
//!
//! All functions block: call them on a blocking thread.

use std::{
    fs::{self, File},
    io,
    path::Path,
    thread,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::statfs::{FsType, statfs},
    unistd::sethostname,
};

/// `NSFS_MAGIC` of linux/magic.h: the file system of namespace files.
pub(super) const NSFS: FsType = FsType(0x6e73_6673);

/// How large a sandbox's shared memory may grow; what docker and Kubernetes give.
const SHM_OPTIONS: &str = "mode=1777,size=65536k";

/// Makes a UTS namespace with this hostname at `uts` and, where asked for, an IPC namespace at
/// `ipc`. What is at these paths already is replaced.
///
/// # Errors
/// The kernel refused a step; what was made may be left, for [`remove`].
pub fn create(uts: &Path, hostname: &str, ipc: Option<&Path>) -> io::Result<()> {
    for path in ipc.into_iter().chain([uts]) {
        remove(path)?;
        File::create(path)?;
    }
    let make = || -> io::Result<()> {
        let mut flags = CloneFlags::CLONE_NEWUTS;
        flags.set(CloneFlags::CLONE_NEWIPC, ipc.is_some());
        unshare(flags)?;
        sethostname(hostname)?;
        bind("/proc/thread-self/ns/uts", uts)?;
        ipc.map_or(Ok(()), |path| bind("/proc/thread-self/ns/ipc", path))
    };
    spend_thread(make)
}

/// Keeps a process's namespace, as its `/proc/<pid>/ns/<kind>` has it, at `path`. What is at that
/// path already is replaced.
///
/// # Errors
/// The kernel refused a step; what was made may be left, for [`remove`].
pub fn keep(namespace: &Path, path: &Path) -> io::Result<()> {
    remove(path)?;
    File::create(path)?;
    let none = None::<&str>;
    mount(Some(namespace), path, none, MsFlags::MS_BIND, none).map_err(Into::into)
}

/// Sets the hostname of a UTS namespace.
///
/// # Errors
/// It can't be entered, or the kernel refuses the name.
pub fn set_hostname(uts: &Path, hostname: &str) -> io::Result<()> {
    let uts = File::open(uts)?;
    spend_thread(|| {
        setns(uts, CloneFlags::CLONE_NEWUTS)?;
        sethostname(hostname)?;
        Ok(())
    })
}

/// Runs `work` on a thread that ends with it, and takes nothing of the namespaces that it entered
/// along.
fn spend_thread(work: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("namespaces".to_owned())
            .spawn_scoped(scope, work)?;
        let done = worker.join();
        done.unwrap_or_else(|_| Err(io::Error::other("the thread that makes them panicked")))
    })
}

fn bind(from: &str, to: &Path) -> io::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(Into::into)
}

/// Is there a namespace at this path?
#[must_use]
pub fn exists(path: &Path) -> bool {
    statfs(path).is_ok_and(|s| s.filesystem_type() == NSFS)
}

/// Mounts a sandbox's shared memory at `dir`, empty; its root is this user's and group's.
///
/// # Errors
/// What mkdir(2) and mount(2) say.
pub fn create_shm(dir: &Path, owner: u32) -> io::Result<()> {
    remove(dir)?;
    fs::create_dir_all(dir)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let options = format!("{SHM_OPTIONS},uid={owner},gid={owner}");
    mount(
        Some("shm"),
        dir,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )
    .map_err(Into::into)
}

/// Takes away what is mounted at a path, and the file or empty directory below it. Not there is
/// fine.
///
/// # Errors
/// What umount2(2), unlink(2) or rmdir(2) say.
pub fn remove(path: &Path) -> io::Result<()> {
    loop {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {} // There may be another mount below it.
            Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EINVAL) => break, // No mount: only the name is left.
            Err(e) => return Err(e.into()),
        }
    }
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Takes away a sandbox's directory of such mounts, whatever is in it.
///
/// # Errors
/// As [`remove`].
pub fn remove_all(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        remove(&entry?.path())?;
    }
    match fs::remove_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
