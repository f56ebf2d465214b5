//! User namespaces: a sandbox's own ids, with namespaces that belong to them.
//!
//! Why a process: a program with threads can't leave its user namespace, and only what is made
//! together with it (network, IPC, hostname) belongs to its root, who may then mount their file
//! systems and set their parameters. So a child leaves for all of them at once and waits; its ids
//! are written, its namespaces are pinned, and it ends. Owns: that child, and reading what ids the
//! node's own files give away. In: a range of ids, names. Out: pinned namespaces. Must never
//! happen here: ids that weren't asked for, or a child that stays.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, PipeWriter, Write as _},
    os::{fd::OwnedFd, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{libc, sched::CloneFlags};
use tokio::task::spawn_blocking;

use super::{
    bundle::make_private_directory,
    cgroup::CgroupError,
    process::{Attended, Call, CallError, Ends, Spawner, identify},
};
use crate::{
    model::users::{COUNT, IdRange, IdSpan},
    network::{
        netns::{self, NetnsError},
        pins,
    },
};

/// Where the node says which ids its own users may use in namespaces of theirs.
const GIVEN: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// What reads until its input ends, which is when we close it or die; nothing else is wanted of
/// it.
const WAITS: &str = "cat";

/// Where the namespaces go.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The ids.
    pub ids: IdRange,
    /// The user namespace's pin.
    pub user: PathBuf,
    /// The IPC namespace's pin.
    pub ipc: PathBuf,
    /// The UTS namespace's pin.
    pub uts: PathBuf,
    /// The name of the network namespace.
    pub netns: String,
    /// The hostname in the UTS namespace.
    pub hostname: String,
}

/// Why there is no user namespace.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The node's limit.
    #[error(
        "the kernel makes no (more) user namespaces, which `hostUsers: false` needs; raise \
         user.max_user_namespaces, or leave `hostUsers` out"
    )]
    Limit,
    /// The child can't be had.
    #[error("make a process for it")]
    Child(#[from] CallError),
    /// The child outlives SIGKILL.
    #[error("end the process that it was made by")]
    End(#[from] CgroupError),
    /// A step failed.
    #[error("{step}")]
    Step {
        /// Which.
        step: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The network namespace can't be named.
    #[error("name its network")]
    Network(#[from] NetnsError),
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> UsersError {
    move |source| UsersError::Step { step, source }
}

/// Makes the namespaces and pins them; what was made before an error is for who takes the sandbox
/// back. No child is left, whatever happens.
///
/// # Errors
/// See [`UsersError`].
pub async fn make(spawner: &Spawner, wish: Wish) -> Result<(), UsersError> {
    let spawner = spawner.clone();
    // Fork, exec and the kernel's locks block. Whoever gives up meanwhile drops the child.
    let work = spawn_blocking(move || {
        let (child, input) = begin(&spawner)?;
        let done = pin(child.pid(), &wish);
        drop(input);
        Ok((child, done))
    });
    let begun = work.await.map_err(|e| failed("wait for it")(e.into()))?;
    let (child, done): (Attended, _) = begun.map_err(limited)?;
    child.end().await?;
    done
}

/// What the child says where the node's limit is reached, or 0.
fn limited(error: UsersError) -> UsersError {
    match &error {
        UsersError::Child(CallError::Spawn { source, .. })
            if source.raw_os_error() == Some(libc::ENOSPC) =>
        {
            UsersError::Limit
        }
        _ => error,
    }
}

/// A child in new namespaces, which waits until the writer is dropped.
fn begin(spawner: &Spawner) -> Result<(Attended, PipeWriter), UsersError> {
    let ends = || {
        let (stdin, input) = io::pipe()?;
        let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
        let ends = Ends {
            stdin: OwnedFd::from(stdin).into(),
            stdout: nowhere.try_clone()?,
            stderr: nowhere,
        };
        Ok((ends, input))
    };
    let (ends, input) = ends().map_err(failed("make a pipe"))?;
    let all = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // The deadline is nobody's: it does nothing but wait for us.
    let call = Call::new(WAITS, Duration::MAX).unshare(all);
    Ok((spawner.attend(&call, ends)?, input))
}

/// Gives the child's namespace its ids, and its namespaces their names; blocks.
fn pin(pid: i32, wish: &Wish) -> Result<(), UsersError> {
    let gone = failed("look at its process");
    let process = identify(pid).map_err(gone)?;
    let of = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    let ids = format!("0 {} {COUNT}\n", wish.ids.first());
    // Written once and never again, so the process of a stranger wouldn't take them.
    for map in ["uid_map", "gid_map"] {
        give(&of(map), &ids).map_err(failed("write its ids"))?;
    }
    let pins = [
        ("ns/user", &wish.user),
        ("ns/ipc", &wish.ipc),
        ("ns/uts", &wish.uts),
    ];
    for (namespace, pin) in pins {
        pins::keep(&of(namespace), pin).map_err(failed("pin its namespaces"))?;
    }
    pins::set_hostname(&wish.uts, &wish.hostname).map_err(failed("set its hostname"))?;
    netns::adopt(&wish.netns, &of("ns/net"))?;
    // Up to here its pid was nobody else's.
    match identify(pid) {
        Ok(same) if same == process => Ok(()),
        _ => Err(failed("keep its process")(io::ErrorKind::NotFound.into())),
    }
}

/// One write(2), as the kernel wants it.
fn give(map: &Path, ids: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(map)
        .and_then(|mut file: File| file.write_all(ids.as_bytes()))
}

/// Makes a directory that everybody may pass, a root with other ids too, and nobody read.
///
/// # Errors
/// What mkdir(2) and chmod(2) say.
pub fn make_passable_directory(dir: &Path) -> io::Result<()> {
    make_private_directory(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
}

/// The ids that the lines of a subuid(5) give away; what is none of its lines is left out.
fn given(text: &str) -> impl Iterator<Item = IdSpan> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(1).map(|field| field.trim().parse());
        let (first, count) = (fields.next()?.ok()?, fields.next()?.ok()?);
        Some(IdSpan { first, count })
    })
}

/// The ids that this node's own users may use in namespaces of theirs.
///
/// # Errors
/// A file that says so is there and can't be read.
pub fn given_away() -> io::Result<Vec<IdSpan>> {
    let mut all = Vec::new();
    for path in GIVEN {
        match fs::read(path) {
            Ok(text) => all.extend(given(&String::from_utf8_lossy(&text))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
