//! What a container sees of its incarnation's volumes, and in which order all is mounted.
//!
//! Why: the runtime looks a bind's source up by its path, later and in another process, and a
//! container may have changed by then what lies there. So what can lead elsewhere (a subPath, a
//! hostPath) is opened once, checked, and mounted by its descriptor to `<bundle>/mounts/<j>`,
//! whose parents are riklet's alone; that is what config.json names. What containers with ids of
//! their own see goes there too, with its owners by those ids: what lies in a volume is whose it
//! is inside, whatever ids that is on the node. Owns: these mounts. Must never happen here: a
//! source below a directory that a container can write.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::statvfs::{FsFlags, statvfs},
};
use oci_spec::runtime::Mount;

use super::{defaults, make_private_directory};
use crate::{
    model::spec::{ContainerSpec, HostPathKind, Volume, VolumeMount, VolumeSource},
    runtime::{
        facts::Facts,
        idmap,
        layout::Layout,
        tree,
        volumes::{
            self, VolumeError,
            host_path::{self, by_descriptor, metadata},
            within::{self, WithinError},
        },
    },
};

/// The directory of a bundle's own mounts.
#[must_use]
pub fn directory(bundle: &Path) -> PathBuf {
    bundle.join("mounts")
}

/// Unmounts a bundle's own mounts; none is a success.
///
/// # Errors
/// What umount2(2) says.
pub fn unmount(bundle: &Path) -> io::Result<()> {
    let dir = directory(bundle);
    // Most have none, and the list of mounts is as long as the node is busy.
    match dir.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => tree::unmount_below(&dir),
    }
}

/// The options that what lies on `path` has and a container with ids of its own can't be without:
/// its user namespace may not take them from a mount of the node's (mount_namespaces(7)).
///
/// # Errors
/// What statvfs(2) says.
pub fn locked(path: &Path, users: Option<&Path>) -> io::Result<Vec<&'static str>> {
    if users.is_none() {
        return Ok(Vec::new());
    }
    let flags = statvfs(path)?.flags();
    let all = [
        (FsFlags::ST_RDONLY, "ro"),
        (FsFlags::ST_NOSUID, "nosuid"),
        (FsFlags::ST_NODEV, "nodev"),
        (FsFlags::ST_NOEXEC, "noexec"),
    ];
    let has = all.into_iter().filter(|(flag, _)| flags.contains(*flag));
    Ok(has.map(|(_, option)| option).collect())
}

/// Mounts what needs it, and tells the runtime's mounts for a container's volumes, in the
/// definition's order. `users`: the user namespace whose ids it sees, if it has one.
///
/// # Errors
/// See [`VolumeError`]; what was mounted until then is for [`unmount`].
pub fn make(
    layout: &Layout,
    bundle: &Path,
    facts: &Facts<'_>,
    (container, users): (&ContainerSpec, Option<&Path>),
) -> Result<Vec<Mount>, VolumeError> {
    let mut all = Vec::with_capacity(container.mounts.len());
    for (j, wish) in container.mounts.iter().enumerate() {
        let volumes = facts.workload.volumes.iter().enumerate();
        let mut named = volumes.filter(|(_, volume)| volume.name == wish.volume);
        let Some((i, volume)) = named.next() else {
            return Err(VolumeError::Unknown(wish.volume.clone()));
        };
        let at = directory(bundle).join(j.to_string());
        let place = volumes::place(layout, facts.uid, i);
        let guarded = &facts.node.guarded;
        let source = source(layout, volume, wish, (&place, &at), (guarded, users))?;
        // Files that the definition gives are nobody's to change (Kubernetes' rule).
        let inline = matches!(volume.source, VolumeSource::Inline { .. });
        let mut options = vec![
            if source.whole { "rbind" } else { "bind" },
            "rprivate",
            if wish.read_only || inline { "ro" } else { "rw" },
        ];
        if wish.read_only && source.whole {
            options.push("rro");
        }
        if !container.security.privileged {
            options.extend(["nosuid", "nodev"]);
        }
        let kept = locked(&source.path, users).map_err(|source| VolumeError::Io {
            what: "look at",
            volume: volume.name.clone(),
            source,
        })?;
        options.extend(kept);
        all.push(defaults::bind(&source.path, &wish.path, &options));
    }
    Ok(all)
}

/// What a mount in config.json names as its source.
struct Source {
    path: PathBuf,
    /// With what is mounted below it?
    whole: bool,
}

/// `place` is where the volume lies, `at` where what needs it is mounted.
fn source(
    layout: &Layout,
    volume: &Volume,
    wish: &VolumeMount,
    (place, at): (&Path, &Path),
    (guarded, users): (&[PathBuf], Option<&Path>),
) -> Result<Source, VolumeError> {
    let failed = |source| VolumeError::Io {
        what: "mount",
        volume: volume.name.clone(),
        source,
    };
    let root = match &volume.source {
        VolumeSource::HostPath { path, kind } => host_path::open(Path::new(path), *kind, guarded),
        // Its parents are riklet's alone.
        _ if wish.sub_path.is_empty() && users.is_none() => {
            return Ok(Source {
                path: place.to_owned(),
                whole: false,
            });
        }
        _ => host_path::open(place, HostPathKind::Directory, &[]),
    };
    let root = root.map_err(|source| VolumeError::HostPath {
        volume: volume.name.clone(),
        source,
    })?;
    let found = match wish.sub_path.is_empty() {
        true => root,
        false => sub_path(volume, wish, &root)?,
    };
    let real = fs::read_link(by_descriptor(&found)).map_err(failed)?;
    if matches!(volume.source, VolumeSource::HostPath { .. }) {
        let inside = |own: &Path| fs::canonicalize(own).is_ok_and(|own| real.starts_with(own));
        if inside(layout.state()) || inside(layout.run()) {
            return Err(VolumeError::Own(volume.name.clone()));
        }
    }
    let below = match wish.sub_path.is_empty() {
        true => tree::mounts_below(&real).map_err(failed)?,
        false => Vec::new(),
    };
    let whole = below.iter().any(|point| *point != real);
    let path = at.to_owned();
    match users {
        // A copy of what other mounts lie below keeps those busy, but only a copy has the ids.
        Some(users) => {
            make_place(&found, at).map_err(failed)?;
            let mapped = idmap::mount(&found, at, users, whole);
            mapped.map_err(|source| VolumeError::Mapped {
                volume: volume.name.clone(),
                source,
            })?;
        }
        // Who may change what other mounts lie below has the node anyway, and here a copy of
        // those would keep them busy.
        None if whole => return Ok(Source { path: real, whole }),
        None => bind_held(&found, at).map_err(failed)?,
    }
    Ok(Source { path, whole })
}

fn sub_path(volume: &Volume, wish: &VolumeMount, root: &OwnedFd) -> Result<OwnedFd, VolumeError> {
    let failed = |source| VolumeError::Io {
        what: "open the subPath in",
        volume: volume.name.clone(),
        source,
    };
    let create = match volume.source {
        VolumeSource::Inline { .. } => None,
        // As the volume itself, so that who may write there may write here.
        _ => {
            use std::os::unix::fs::MetadataExt;
            Some(metadata(root).map_err(failed)?.mode())
        }
    };
    within::open(root, Path::new(&wish.sub_path), create).map_err(|e| match e {
        WithinError::Outside => VolumeError::Outside {
            volume: volume.name.clone(),
            path: wish.sub_path.clone(),
        },
        WithinError::Io(source) => failed(source),
    })
}

/// Makes what something held can be mounted on.
fn make_place(fd: &OwnedFd, at: &Path) -> io::Result<()> {
    if let Some(above) = at.parent() {
        make_private_directory(above)?;
    }
    match metadata(fd)?.is_dir() {
        true => fs::create_dir(at),
        false => fs::File::create_new(at).map(drop),
    }
}

/// Mounts what a descriptor holds at `at`, which is made. Nothing that is mounted later at either
/// place shows at the other.
fn bind_held(fd: &OwnedFd, at: &Path) -> io::Result<()> {
    make_place(fd, at)?;
    let none = None::<&str>;
    mount(Some(&by_descriptor(fd)), at, none, MsFlags::MS_BIND, none)
        .and_then(|()| mount(none, at, none, MsFlags::MS_PRIVATE, none))
        .map_err(Errno::into)
}

/// How deep a mount's target lies.
fn depth(mount: &Mount) -> usize {
    let parts = mount.destination().components();
    parts.filter(|c| matches!(c, Component::Normal(_))).count()
}

fn plain(path: &Path) -> PathBuf {
    let parts = path.components().filter(|c| *c != Component::CurDir);
    parts.collect()
}

/// All mounts in the order in which they are made: what the definition mounts replaces what else
/// would lie there, and nothing hides what was mounted before it.
#[must_use]
pub fn in_order(own: Vec<Mount>, wished: Vec<Mount>) -> Vec<Mount> {
    let mut all: Vec<Mount> = Vec::with_capacity(own.len() + wished.len());
    for mount in own.into_iter().chain(wished) {
        let target = plain(mount.destination());
        all.retain(|other| plain(other.destination()) != target);
        all.push(mount);
    }
    all.sort_by_key(depth);
    all
}

/// May a volume be mounted there? Not over the root or the kernel's process table, which the
/// runtime needs, and not by a path with `..`.
#[must_use]
pub fn may_lie_at(path: &str) -> bool {
    let path = Path::new(path);
    let mut names = path
        .components()
        .skip(1)
        .filter(|c| *c != Component::CurDir);
    let proc = Component::Normal("proc".as_ref());
    let first = names.next();
    let goes_up = path.components().any(|c| c == Component::ParentDir);
    path.is_absolute() && !goes_up && first.is_some_and(|first| first != proc)
}

#[cfg(test)]
mod tests;
