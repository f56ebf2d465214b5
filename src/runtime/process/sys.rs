//! The unsafe part of spawning and reaping: what must run between fork and exec, and two wait
//! calls that nix can't do safely here.

// Unsafe: `pre_exec`, and libc's waitid/waitpid. nix's own fail with EINVAL on a child that was
// killed by a real-time signal, *after* taking its status, which would be lost then.
#![allow(unsafe_code)]

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use nix::{
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl, open},
    libc,
    sched::{CloneFlags, unshare},
    sys::{
        signal::{SigSet, SigmaskHow, sigprocmask},
        stat::{Mode, umask},
    },
    unistd::write,
};

/// What a child does between fork and exec.
#[derive(Default)]
pub(in crate::runtime) struct Entry {
    /// `cgroup.procs` of the cgroup it enters.
    pub(in crate::runtime) cgroup: Option<OwnedFd>,
    /// The file it finds as fd 3.
    pub(in crate::runtime) third: Option<OwnedFd>,
    /// What it writes to its `oom_score_adj`.
    pub(in crate::runtime) oom_score_adj: Option<i32>,
    /// The namespaces that it leaves for new ones.
    pub(in crate::runtime) unshare: Option<CloneFlags>,
}

/// Has `command`'s child do `entry` before it execs.
pub(in crate::runtime) fn enter_before_exec(command: &mut Command, entry: Entry) {
    let adj = entry.oom_score_adj.map(|n| n.to_string().into_bytes());
    // SAFETY: between fork and exec of a threaded process only async-signal-safe calls are
    // allowed. The closure makes plain system calls on memory and descriptors that were prepared
    // before the fork; it doesn't allocate, lock or panic.
    unsafe {
        command.pre_exec(move || {
            if let Some(procs) = &entry.cgroup {
                write(procs.as_fd(), b"0")?;
            }
            if let Some(adj) = &adj {
                let path = c"/proc/self/oom_score_adj";
                let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
                write(file.as_fd(), adj)?;
            }
            // std resets SIGPIPE's action, but leaves the mask of the spawning thread.
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            // Ours may be 077 (systemd's UMask=): umoci would make directories that a layer only
            // implies unreachable for users in the container, and runc hands it on.
            umask(Mode::from_bits_truncate(0o022));
            // After what takes rights on the node, which a new user namespace ends. All in one
            // call: the kernel makes the user namespace first, and it owns the others.
            if let Some(namespaces) = entry.unshare {
                unshare(namespaces)?;
            }
            seal_descriptors();
            // Last, for 3 may be the number of any descriptor above.
            if let Some(file) = &entry.third {
                become_third(file)?;
            }
            Ok(())
        });
    }
}

/// Has exec close everything from 3 up. All of ours is close-on-exec anyway; what the daemon was
/// itself started with (make's jobserver, a shell's descriptors) isn't, and a monitor would hold
/// it for as long as its container lives. Before kernel 5.11 there is no such call: no harm.
fn seal_descriptors() {
    // SAFETY: plain system call without pointers.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// Makes `file` fd 3, kept over exec.
///
/// std's own pipe for exec errors may lie on 3 if 3 was free in the parent; the caller avoids
/// that by holding `file` on 3 itself if 3 is free. If another thread closes its 3 in that very
/// moment, then an exec error is seen as an exit instead: no harm.
fn become_third(file: &OwnedFd) -> io::Result<()> {
    if file.as_raw_fd() == 3 {
        fcntl(file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
        return Ok(());
    }
    // SAFETY: plain system call on an open descriptor; nothing owns the child's copy of 3.
    if unsafe { libc::dup2(file.as_raw_fd(), 3) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether to wait for a child to end or only to look.
#[derive(Clone, Copy)]
pub(in crate::runtime) enum Wait {
    /// Until one has ended.
    Block,
    /// What has ended by now.
    Look,
}

/// A child that has ended and whose status was not taken; it isn't taken by this either.
pub(in crate::runtime) fn next_exited(wait: Wait) -> io::Result<Option<i32>> {
    let flags = libc::WEXITED
        | libc::WNOWAIT
        | match wait {
            Wait::Block => 0,
            Wait::Look => libc::WNOHANG,
        };
    // SAFETY: siginfo_t is plain data, for which zeroes are a value; waitid fills it. `si_pid`
    // reads the field that waitid sets, and stays 0 if WNOHANG found none.
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) == -1 {
            return Err(io::Error::last_os_error());
        }
        info.si_pid()
    };
    Ok((pid != 0).then_some(pid))
}

/// Takes the raw wait status of a child that has ended.
pub(in crate::runtime) fn take_status(pid: i32) -> io::Result<i32> {
    let mut raw = 0;
    // SAFETY: `raw` outlives the call.
    match unsafe { libc::waitpid(pid, &raw mut raw, libc::WNOHANG) } {
        -1 => Err(io::Error::last_os_error()),
        0 => Err(io::Error::from_raw_os_error(libc::ECHILD)),
        _ => Ok(raw),
    }
}
