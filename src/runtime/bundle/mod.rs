//! A bundle: everything the runtime needs of one attempt, in one directory.
//!
//! Owns: `pods/<uid>/<n>-<attempt>/` and what lies in it. In: definition, image, names. Out: a
//! directory with a mounted rootfs and a config.json, or nothing. Must never happen here: a fork,
//! or a sync (a bundle never outlives a reboot).

pub mod config_json;
pub mod defaults;
pub mod etc;
pub mod overlay;
pub mod seccomp;
pub mod user;

use std::{
    fs,
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use oci_spec::{image::ImageConfiguration, runtime::LinuxSeccomp};

use self::{
    config_json::{ConfigError, Ingredients},
    defaults::Joined,
    etc::Names,
    overlay::OverlayError,
    user::UserError,
};
use crate::{
    model::{ids::NodeUid, line::Intent, spec::WorkloadSpec},
    network::netns,
    runtime::{
        layout::{Layout, attempt_name},
        tree,
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
    /// The sandbox's addresses.
    pub addresses: &'a [IpAddr],
    /// The image's configuration.
    pub image: &'a ImageConfiguration,
    /// The snapshot's rootfs.
    pub snapshot: &'a Path,
    /// The node.
    pub node: &'a NodeUid,
    /// The container's cgroup, from the hierarchies' roots.
    pub cgroups_path: &'a str,
    /// The seccomp profile, where there is one.
    pub seccomp: Option<&'a LinuxSeccomp>,
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
    let named = request.image.config().as_ref();
    let user = named.and_then(|c| c.user().as_deref()).unwrap_or("");
    let user = user::resolve(request.snapshot, user)?;
    let hostname = etc::hostname(&id.uid, request.instance, workload);
    let names = Names {
        hostname: &hostname,
        addresses: request.addresses,
        workload,
    };
    let files = etc::write(&bundle, &names)?;
    let own_ipc = !workload.host_ipc;
    let joined = Joined {
        net: intent.netns.as_ref().map(|name| netns::path(name)),
        ipc: own_ipc.then(|| layout.ipc_namespace(&id.uid)),
        uts: Some(layout.uts_namespace(&id.uid)),
        shm: own_ipc.then(|| layout.shm(&id.uid)),
    };
    let spec = config_json::spec(&Ingredients {
        id,
        node: request.node,
        instance: request.instance,
        workload,
        container,
        image: request.image,
        user: &user,
        hostname: &hostname,
        joined: &joined,
        cgroups_path: request.cgroups_path,
        seccomp: request.seccomp,
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        files: &files,
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
    tree::remove(&bundle).map_err(at(&bundle))
}
