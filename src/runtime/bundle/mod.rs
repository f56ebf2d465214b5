//! A bundle: everything the runtime needs of one attempt, in one directory.
//!
//! Owns: `pods/<uid>/<n>-<attempt>/` and what lies in it. In: definition, image, names. Out: a
//! directory with a mounted rootfs and a config.json, or nothing. Must never happen here: a fork,
//! or a sync (a bundle never outlives a reboot).

pub mod config_json;
pub mod confinement;
pub mod defaults;
pub mod devices;
pub mod etc;
pub mod last_words;
pub mod limits;
pub mod mounts;
pub mod overlay;
pub mod profiles;
pub mod seccomp;
pub mod stdio;
pub mod user;

mod environment;

use std::{
    borrow::Cow,
    fs,
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use oci_spec::{
    image::ImageConfiguration,
    runtime::{LinuxDevice, LinuxSeccomp},
};

use self::{
    config_json::{ConfigError, Ingredients},
    confinement::{Confinement, UnknownCapability},
    defaults::Joined,
    etc::Names,
    overlay::{Mapped, OverlayError},
    profiles::{ProfileError, Profiles},
    user::{ResolvedUser, UserError},
};
use crate::{
    model::{
        ids::NodeUid,
        line::Intent,
        spec::{ContainerSpec, WorkloadSpec},
        users::{COUNT, IdRange},
    },
    network::netns,
    runtime::{
        facts::{Facts, NodeFacts},
        layout::{Layout, attempt_name},
        tree,
        volumes::VolumeError,
    },
};

/// What a bundle is made of.
#[derive(Debug)]
pub struct BundleRequest<'a> {
    /// The names to use.
    pub intent: &'a Intent,
    /// The instance's id, as text.
    pub instance: &'a str,
    /// The definition's model.
    pub workload: &'a WorkloadSpec,
    /// The image's configuration.
    pub image: &'a ImageConfiguration,
    /// The snapshot's rootfs.
    pub snapshot: &'a Path,
    /// The node.
    pub node: &'a NodeUid,
    /// The container's cgroup, from the hierarchies' roots.
    pub cgroups_path: &'a str,
    /// The seccomp profiles.
    pub profiles: &'a Profiles,
    /// What definitions may ask of the node.
    pub facts: &'a NodeFacts,
    /// The sandbox's addresses.
    pub addresses: &'a [IpAddr],
    /// The ids of the sandbox's user namespace, where the definition wants one.
    pub users: Option<IdRange>,
    /// The kernel counts swap.
    pub swap: bool,
}

/// Why a bundle couldn't be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The definition has no container at the intent's position.
    #[error("the definition has no container {0}")]
    NoContainer(u16),
    /// A directory or file couldn't be made.
    #[error("can't write {path:?}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The user can't be told.
    #[error("can't tell whom the container runs as")]
    User(#[from] UserError),
    /// It would run as root, and the definition forbids that.
    #[error(
        "container {0:?} would run as root and `runAsNonRoot` forbids that; set `runAsUser`, or \
         take an image with another user"
    )]
    Root(String),
    /// It is to have ids of its own, and its sandbox has none.
    #[error("its sandbox has no ids of its own, and `hostUsers: false` wants them")]
    NoIds,
    /// It has an id that there isn't in its user namespace.
    #[error(
        "container {container:?} runs as user or group {id} by its image, and with `hostUsers: \
         false` there are only those up to 65535; set `runAsUser` and `runAsGroup`, or leave \
         `hostUsers` out"
    )]
    Id {
        /// The container.
        container: String,
        /// The id.
        id: u32,
    },
    /// Its root, who is nobody on the node, can't get to its root file system.
    #[error(
        "{path:?} lets only some pass, and with `hostUsers: false` the root of a container has to \
         get through it to its root file system in the run directory; `chmod o+x` it, or choose \
         another run directory"
    )]
    Closed {
        /// The directory.
        path: PathBuf,
    },
    /// It asks for a capability that there isn't.
    #[error("container {0:?} asks for the capability {1:?}; there is no such capability")]
    Capability(String, String),
    /// It can't have its seccomp profile.
    #[error("can't confine the container's system calls")]
    Profile(#[from] ProfileError),
    /// A volume can't be mounted.
    #[error("can't mount the container's volumes")]
    Volume(#[from] VolumeError),
    /// No process can be made of definition and image.
    #[error("can't make config.json")]
    Config(#[from] ConfigError),
    /// The writable layer can't be made.
    #[error("can't make the container's root file system")]
    Overlay(#[from] OverlayError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    let path = path.to_owned();
    move |source| BundleError::Write { path, source }
}

/// Makes `path` with mode 0700 if it isn't there, its parents too.
///
/// # Errors
/// What mkdir(2) says.
pub fn make_private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), BundleError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(at(path))
}

/// Whom the container runs as.
fn whom(
    request: &BundleRequest<'_>,
    container: &ContainerSpec,
) -> Result<ResolvedUser, BundleError> {
    let named = request.image.config().as_ref();
    let named = named.and_then(|c| c.user().as_deref()).unwrap_or("");
    let security = &container.security;
    let (uid, gid) = (security.run_as_user, security.run_as_group);
    let mut user = user::resolve_as(request.snapshot, named, uid, gid)?;
    if security.run_as_non_root && user.uid == 0 {
        return Err(BundleError::Root(container.name.clone()));
    }
    let pod = &request.workload.security;
    for group in pod.supplemental_groups.iter().copied().chain(pod.fs_group) {
        if !user.groups.contains(&group) {
            user.groups.push(group);
        }
    }
    let mut ids = [user.uid, user.gid]
        .into_iter()
        .chain(user.groups.iter().copied());
    match ids.find(|id| request.users.is_some() && *id >= COUNT) {
        Some(id) => Err(BundleError::Id {
            container: container.name.clone(),
            id,
        }),
        None => Ok(user),
    }
}

fn confine(container: &ContainerSpec) -> Result<Confinement, BundleError> {
    let confined = confinement::of(&container.security, confinement::own_bounds());
    confined.map_err(|UnknownCapability(capability)| {
        BundleError::Capability(container.name.clone(), capability)
    })
}

/// The system calls that are let through, and the node's devices: all of either where the
/// container is privileged.
fn reach<'a>(
    request: &BundleRequest<'a>,
    container: &ContainerSpec,
    confinement: &Confinement,
) -> Result<(Option<Cow<'a, LinuxSeccomp>>, Vec<LinuxDevice>), BundleError> {
    Ok(match confinement.privileged {
        true => {
            let dev = Path::new("/dev");
            (None, devices::all(dev).map_err(at(dev))?)
        }
        false => {
            let wish = &container.security.seccomp;
            let profile = request.profiles.of(wish, &confinement.capabilities)?;
            (profile, Vec::new())
        }
    })
}

/// What of the sandbox the container joins.
fn joined(layout: &Layout, request: &BundleRequest<'_>) -> Joined {
    let uid = &request.intent.container.uid;
    let own_ipc = !request.workload.host_ipc;
    let users = request.users.map(|ids| (layout.user_namespace(uid), ids));
    Joined {
        users,
        net: request.intent.netns.as_ref().map(|name| netns::path(name)),
        ipc: own_ipc.then(|| layout.ipc_namespace(uid)),
        uts: Some(layout.uts_namespace(uid)),
        shm: own_ipc.then(|| layout.shm(uid)),
    }
}

/// The files of the bundle that are seen inside, each with where.
fn files(
    bundle: &Path,
    request: &BundleRequest<'_>,
    container: &ContainerSpec,
    hostname: &str,
) -> Result<Vec<(PathBuf, String)>, BundleError> {
    let names = Names {
        hostname,
        addresses: request.addresses,
        workload: request.workload,
    };
    let files = etc::write(bundle, &names)?.into_iter();
    let mut files: Vec<_> = files.map(|(p, target)| (p, target.to_owned())).collect();
    files.push(last_words::make(bundle, container).map_err(at(bundle))?);
    // The root inside may change them, as it may elsewhere.
    if let Some(first) = request.users.map(IdRange::first) {
        for (path, _) in &files {
            chown(path, Some(first), Some(first)).map_err(at(path))?;
        }
    }
    Ok(files)
}

/// Where the roots are, by its real path, which is what the runtime wants; not if it can't be got
/// to. riklet's own directories on the way let everybody pass.
fn reachable_roots(layout: &Layout) -> Result<PathBuf, BundleError> {
    let roots = layout.roots();
    let real = fs::canonicalize(&roots).map_err(at(&roots))?;
    match closed_above(&real).map_err(at(&real))? {
        Some(path) => Err(BundleError::Closed { path }),
        None => Ok(real),
    }
}

/// The first directory on the way to `real` (a path without links) that not everybody can pass;
/// itself counts.
///
/// # Errors
/// One can't be looked at.
pub fn closed_above(real: &Path) -> io::Result<Option<PathBuf>> {
    for path in real.ancestors() {
        if path.metadata()?.permissions().mode() & 0o001 == 0 {
            return Ok(Some(path.to_owned()));
        }
    }
    Ok(None)
}

/// Mounts the container's root file system; where, as config.json names it.
fn mount_root(layout: &Layout, request: &BundleRequest<'_>) -> Result<PathBuf, BundleError> {
    let id = &request.intent.container;
    let bundle = layout.bundle(id);
    // Root's bundle needs the snapshot before anything that would say less of its absence.
    let Some(ids) = request.users else {
        overlay::mount_layer(request.snapshot, &bundle)?;
        return Ok("rootfs".into());
    };
    let mapped = Mapped {
        ids,
        users: &layout.user_namespace(&id.uid),
        root: &reachable_roots(layout)?.join(id.to_string()),
    };
    Ok(overlay::mount_mapped_layer(
        request.snapshot,
        &bundle,
        mapped,
    )?)
}

/// Makes the bundle of an attempt and mounts its rootfs; on an error what was made is left for
/// `remove`. Returns the bundle's directory.
///
/// # Errors
/// See [`BundleError`].
pub fn make(layout: &Layout, request: &BundleRequest<'_>) -> Result<PathBuf, BundleError> {
    let (intent, workload) = (request.intent, request.workload);
    let id = &intent.container;
    let container = workload
        .containers
        .get(usize::from(id.n))
        .ok_or(BundleError::NoContainer(id.n))?;
    let bundle = layout.bundle(id);
    if !workload.host_users && request.users.is_none() {
        return Err(BundleError::NoIds);
    }
    make_private_directory(&bundle).map_err(at(&bundle))?;
    let root = mount_root(layout, request)?;
    let user = whom(request, container)?;
    let confinement = confine(container)?;
    let (seccomp, devices) = reach(request, container, &confinement)?;
    let hostname = etc::hostname(&id.uid, request.instance, workload);
    let files = files(&bundle, request, container, &hostname)?;
    let facts = Facts {
        node: request.facts,
        instance: request.instance,
        uid: &id.uid,
        workload,
        addresses: request.addresses,
    };
    let joined = joined(layout, request);
    let users = joined.users.as_ref().map(|(path, _)| path.as_path());
    let locked = mounts::locked(&bundle, users).map_err(at(&bundle))?;
    let spec = config_json::spec(&Ingredients {
        id,
        node: request.node,
        instance: request.instance,
        workload,
        facts: &facts,
        container,
        image: request.image,
        user: &user,
        hostname: &hostname,
        joined: &joined,
        cgroups_path: request.cgroups_path,
        seccomp: seccomp.as_deref(),
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        root: &root,
        files: &files,
        locked: &locked,
        confinement: &confinement,
        devices,
        volumes: mounts::make(layout, &bundle, &facts, (container, users))?,
        swap: request.swap,
    })?;
    let path = bundle.join("config.json");
    let text = serde_json::to_vec(&spec).map_err(|e| at(&path)(e.into()))?;
    write(&path, 0o600, &text)?;
    Ok(bundle)
}

/// Takes a bundle away: mount and directory; none is a success. Only when nothing of its
/// container lives.
///
/// # Errors
/// What umount2(2) or rmdir(2) say.
pub fn remove(layout: &Layout, id: &crate::model::ids::ContainerId) -> Result<(), BundleError> {
    let bundle = layout.bundle(id);
    debug_assert!(bundle.ends_with(attempt_name(id)));
    let root = layout.root(id);
    overlay::unmount_root(&root)?;
    overlay::unmount_layer(&bundle)?;
    mounts::unmount(&bundle).map_err(at(&bundle))?;
    tree::remove(&root).map_err(at(&root))?;
    tree::remove(&bundle).map_err(at(&bundle))
}
