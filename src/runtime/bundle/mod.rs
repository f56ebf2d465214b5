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
pub mod user;

mod environment;

use std::{
    fs,
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use oci_spec::image::ImageConfiguration;

use self::{
    config_json::{ConfigError, Ingredients},
    confinement::{Confinement, UnknownCapability},
    defaults::Joined,
    etc::Names,
    overlay::OverlayError,
    profiles::{ProfileError, Profiles},
    user::{ResolvedUser, UserError},
};
use crate::{
    model::{
        ids::NodeUid,
        line::Intent,
        spec::{ContainerSpec, WorkloadSpec},
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
    /// Something that this riklet can't do.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
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
    Ok(user)
}

fn confine(container: &ContainerSpec) -> Result<Confinement, BundleError> {
    let confined = confinement::of(&container.security, confinement::own_bounds());
    confined.map_err(|UnknownCapability(capability)| {
        BundleError::Capability(container.name.clone(), capability)
    })
}

/// What of the sandbox the container joins.
fn joined(layout: &Layout, intent: &Intent, workload: &WorkloadSpec) -> Joined {
    let uid = &intent.container.uid;
    let own_ipc = !workload.host_ipc;
    Joined {
        net: intent.netns.as_ref().map(|name| netns::path(name)),
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
    Ok(files)
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
    make_private_directory(&bundle).map_err(at(&bundle))?;
    // Root's bundle needs the snapshot before anything that would say less of its absence.
    overlay::mount_layer(request.snapshot, &bundle)?;
    if !workload.host_users {
        return Err(BundleError::Unsupported("`hostUsers: false`"));
    }
    let user = whom(request, container)?;
    let confinement = confine(container)?;
    let (seccomp, devices) = match confinement.privileged {
        true => {
            let dev = Path::new("/dev");
            (None, devices::all(dev).map_err(at(dev))?)
        }
        false => {
            let wish = &container.security.seccomp;
            let profile = request.profiles.of(wish, &confinement.capabilities)?;
            (profile, Vec::new())
        }
    };
    let hostname = etc::hostname(&id.uid, request.instance, workload);
    let files = files(&bundle, request, container, &hostname)?;
    let facts = Facts {
        node: request.facts,
        instance: request.instance,
        uid: &id.uid,
        workload,
        addresses: request.addresses,
    };
    let joined = joined(layout, intent, workload);
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
        files: &files,
        confinement: &confinement,
        devices,
        volumes: mounts::make(layout, &bundle, &facts, container)?,
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
    overlay::unmount_layer(&bundle)?;
    mounts::unmount(&bundle).map_err(at(&bundle))?;
    tree::remove(&bundle).map_err(at(&bundle))
}
