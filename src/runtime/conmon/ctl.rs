//! Commands to a running monitor, by the FIFO `ctl` in its bundle.
//!
//! A command is one write, for conmon 2.1.6 reads only the first line of what it gets at once.
//! That FIFO has a reader exactly as long as the monitor lives, so opening it says whether it
//! does. Everything here blocks for microseconds at most: the FIFO is opened without blocking.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::libc;

use super::read_pid;

/// In which system call a monitor waits for anything to happen: glib's loop uses one of these.
#[cfg(target_arch = "x86_64")]
const WAITING: &[libc::c_long] = &[libc::SYS_poll, libc::SYS_ppoll];
#[cfg(not(target_arch = "x86_64"))]
const WAITING: &[libc::c_long] = &[libc::SYS_ppoll];

/// conmon opens the log anew: the one it writes is put aside before, by a rename, for one that
/// still has its name would be replaced.
const REOPEN: &[u8] = b"2 0 0\n";

/// A monitor that listens.
pub(in crate::runtime) struct Ctl(File);

impl Ctl {
    /// The monitor of the container with this bundle; none if it doesn't listen (any more).
    ///
    /// # Errors
    /// The FIFO is there and can't be opened, or is something else.
    pub(in crate::runtime) fn open(bundle: &Path) -> io::Result<Option<Self>> {
        let path = bundle.join("ctl");
        let mut options = OpenOptions::new();
        options
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
        match options.open(&path) {
            Ok(file) if file.metadata()?.file_type().is_fifo() => Ok(Some(Self(file))),
            Ok(_) => Err(io::Error::other(format!("{} is no FIFO", path.display()))),
            // Nobody reads it: the monitor has ended.
            Err(e) if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Has the monitor open its log anew.
    ///
    /// # Errors
    /// It has just ended.
    pub(in crate::runtime) fn reopen_log(&mut self) -> io::Result<()> {
        self.0.write_all(REOPEN)
    }
}

/// Is a command waiting that the monitor hasn't read? A second one after it would be one too many.
pub(in crate::runtime) fn command_waits(bundle: &Path) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    let fifo = options.open(bundle.join("ctl"))?;
    let unread = rustix::io::ioctl_fionread(&fifo)?;
    Ok(unread > 0)
}

/// Does the monitor with this directory wait for something to happen, with nothing begun? It has
/// one thread, so what it read before it has done by then. None if that can't be known: no
/// pidfile, or a kernel that doesn't say (`/proc/<pid>/syscall` needs CAP_SYS_PTRACE). It lives,
/// for somebody has its FIFO open: so the pid is its own.
pub(in crate::runtime) fn rests(persist: &Path) -> Option<bool> {
    let pid = read_pid(&persist.join("conmon.pid"))?;
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    // "running", or the call's number; -1 outside of any.
    let number = text.split_whitespace().next()?.parse();
    Some(number.is_ok_and(|number| WAITING.contains(&number)))
}
