//! config.json: what the runtime is told about one container.
//!
//! Owns: how image and definition become a process. In: both, the resolved user, names. Out: a
//! [`Spec`] with every field set. Must never happen here: IO, or a secret in an error.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use oci_spec::{
    image::ImageConfiguration,
    runtime::{
        Linux, LinuxDevice, LinuxNamespace, LinuxNamespaceType, LinuxResources, LinuxSeccomp,
        Mount, Process, Root, Spec, User,
    },
};

use super::{
    confinement::Confinement,
    defaults::{self, Joined},
    environment, limits, mounts,
    user::ResolvedUser,
};
use crate::{
    model::{
        ids::{ContainerId, InstanceId, NodeUid, Uid},
        spec::{ContainerSpec, VolumeMount, WorkloadSpec},
    },
    runtime::facts::Facts,
};

/// Annotation: whose node's container it is.
pub const NODE: &str = "org.riklet.node";
/// Annotation: the instance's id.
pub const INSTANCE: &str = "org.riklet.instance";
/// Annotation: the incarnation.
pub const UID: &str = "org.riklet.uid";
/// Annotation: the container's name in its definition.
pub const CONTAINER: &str = "org.riklet.container";
/// Annotation: which attempt it is.
pub const ATTEMPT: &str = "org.riklet.attempt";

/// Everything config.json is made of.
#[derive(Debug)]
pub struct Ingredients<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// The node.
    pub node: &'a NodeUid,
    /// The instance's id, as text.
    pub instance: &'a str,
    /// The definition's model.
    pub workload: &'a WorkloadSpec,
    /// What a definition may ask of node and incarnation.
    pub facts: &'a Facts<'a>,
    /// The container in it.
    pub container: &'a ContainerSpec,
    /// The image's configuration.
    pub image: &'a ImageConfiguration,
    /// Whom it runs as.
    pub user: &'a ResolvedUser,
    /// The hostname inside.
    pub hostname: &'a str,
    /// The sandbox's namespaces.
    pub joined: &'a Joined,
    /// The container's cgroup, `<parent>/pods/<uid>/<n>-<attempt>`.
    pub cgroups_path: &'a str,
    /// The converted profile, where there is one.
    pub seccomp: Option<&'a LinuxSeccomp>,
    /// The daemon's own hard limit of open files; none if it has none.
    pub open_files: Option<u64>,
    /// Where its rootfs is mounted: relative to the bundle, which is the runtime's working
    /// directory, or absolute.
    pub root: &'a Path,
    /// Files of the bundle seen inside: source, target.
    pub files: &'a [(PathBuf, String)],
    /// Options that these mounts have to keep.
    pub locked: &'a [&'static str],
    /// What it may do.
    pub confinement: &'a Confinement,
    /// The node's devices, if it has them.
    pub devices: Vec<LinuxDevice>,
    /// What it sees of volumes.
    pub volumes: Vec<Mount>,
    /// The kernel counts swap.
    pub swap: bool,
}

/// Why no config.json can be made; the same definition and image never make one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither definition nor image says what to run.
    #[error(
        "container {0:?} has nothing to run: its image names no entrypoint and no command; give \
         `command` in the definition"
    )]
    NoCommand(String),
    /// A target that the runtime needs, or that isn't one.
    #[error(
        "container {0:?} mounts a volume at {1:?}; name an absolute path without `..` that is not \
         / and not below /proc"
    )]
    Target(String, String),
    /// A parameter of the node itself.
    #[error("the sysctl {0} would be set for the node; leave it, or the sharing of its namespace")]
    Sysctl(String),
    /// A text with a NUL, which no process can be given.
    #[error("container {0:?} has a NUL character in its command, environment or directory")]
    Nul(String),
}

/// An annotation of a config.json.
#[must_use]
pub fn annotation(text: &[u8], name: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Marked {
        annotations: HashMap<String, String>,
    }
    let mut marked: Marked = serde_json::from_slice(text).ok()?;
    marked.annotations.remove(name)
}

/// The hostname of an instance's containers: the definition's, else made of the id.
#[must_use]
pub fn hostname(uid: &Uid, instance: &str, workload: &WorkloadSpec) -> String {
    let wished = workload.hostname.clone().or_else(|| {
        let parsed: Option<InstanceId> = instance.parse().ok();
        parsed.map(|instance| instance.hostname())
    });
    wished
        .map(|name| name.chars().take(63).collect::<String>())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| uid.to_string())
}

fn working_directory(from: &Ingredients<'_>) -> PathBuf {
    let image = from.image.config().as_ref();
    let wished = from
        .container
        .working_dir
        .as_deref()
        .or_else(|| image.and_then(|c| c.working_dir().as_deref()))
        .unwrap_or("/");
    // An absolute one replaces the "/".
    Path::new("/").join(wished)
}

fn process(from: &Ingredients<'_>) -> Result<Process, ConfigError> {
    let own = environment::own_variables(from);
    let args = environment::arguments(from, &own)?;
    let env = environment::environment(from, own);
    let cwd = working_directory(from);
    if args.iter().chain(&env).any(|text| text.contains('\0'))
        || cwd.as_os_str().as_encoded_bytes().contains(&0)
    {
        return Err(ConfigError::Nul(from.container.name.clone()));
    }
    let mut user = User::default();
    user.set_uid(from.user.uid)
        .set_gid(from.user.gid)
        .set_umask(None)
        .set_additional_gids(Some(from.user.groups.clone()).filter(|g| !g.is_empty()))
        .set_username(None);
    let node = from.facts.node;
    let oom_score = limits::oom_score_adj(from.workload, from.container, node.memory);
    let oom_score = oom_score.max(node.least_oom_score);
    let mut process = Process::default();
    process
        .set_terminal(Some(from.container.tty))
        .set_console_size(None)
        .set_user(user)
        .set_args(Some(args))
        .set_command_line(None)
        .set_env(Some(env))
        .set_cwd(cwd)
        .set_capabilities(Some(defaults::capabilities(
            from.user.uid,
            &from.confinement.capabilities,
        )))
        .set_rlimits(Some(defaults::rlimits(from.open_files)))
        .set_no_new_privileges(Some(from.confinement.no_new_privileges))
        .set_apparmor_profile(None)
        .set_oom_score_adj(Some(oom_score))
        .set_selinux_label(None)
        .set_io_priority(None)
        .set_scheduler(None)
        .set_exec_cpu_affinity(None);
    Ok(process)
}

fn resources(from: &Ingredients<'_>) -> LinuxResources {
    let mut resources = defaults::resources(from.confinement.privileged);
    let wished = &from.container.resources;
    resources
        .set_cpu(Some(limits::cpu(wished)))
        .set_memory(limits::memory(wished, from.swap));
    resources
}

/// Kernel parameters of the container's own namespaces.
fn sysctls(from: &Ingredients<'_>) -> Result<Option<HashMap<String, String>>, ConfigError> {
    let wished = &from.workload.security.sysctls;
    let shared = |name: &str| match name.starts_with("net.") {
        true => from.workload.host_network,
        false => from.workload.host_ipc,
    };
    if let Some((name, _)) = wished.iter().find(|(name, _)| shared(name)) {
        return Err(ConfigError::Sysctl(name.clone()));
    }
    Ok(Some(wished.iter().cloned().collect()).filter(|all: &HashMap<_, _>| !all.is_empty()))
}

fn namespaces(from: &Ingredients<'_>) -> Vec<LinuxNamespace> {
    let mut all = defaults::namespaces(from.joined);
    all.retain(|namespace| !(from.workload.host_pid && namespace.typ() == LinuxNamespaceType::Pid));
    all
}

fn linux(from: &Ingredients<'_>) -> Result<Linux, ConfigError> {
    let unmasked = from.confinement.unmasked;
    let paths = |paths: Vec<String>| if unmasked { Vec::new() } else { paths };
    let mut linux = Linux::default();
    linux
        .set_net_devices(None)
        .set_uid_mappings(defaults::id_mappings(from.joined))
        .set_gid_mappings(defaults::id_mappings(from.joined))
        .set_sysctl(sysctls(from)?)
        .set_resources(Some(resources(from)))
        .set_cgroups_path(Some(from.cgroups_path.into()))
        .set_namespaces(Some(namespaces(from)))
        .set_devices(Some(from.devices.clone()).filter(|all| !all.is_empty()))
        .set_seccomp(from.seccomp.cloned())
        .set_rootfs_propagation(None)
        .set_masked_paths(Some(paths(defaults::masked_paths())))
        .set_readonly_paths(Some(paths(defaults::readonly_paths())))
        .set_mount_label(None)
        .set_intel_rdt(None)
        .set_memory_policy(None)
        .set_personality(None)
        .set_time_offsets(None);
    Ok(linux)
}

fn all_mounts(from: &Ingredients<'_>) -> Result<Vec<Mount>, ConfigError> {
    let bad = |wish: &&VolumeMount| !mounts::may_lie_at(&wish.path) || wish.path.contains('\0');
    if let Some(wish) = from.container.mounts.iter().find(bad) {
        let name = from.container.name.clone();
        return Err(ConfigError::Target(name, wish.path.clone()));
    }
    let shm = from.joined.shm.as_deref();
    let mut own: Vec<Mount> = defaults::mounts(shm.unwrap_or(Path::new("/dev/shm")));
    if from.confinement.privileged {
        defaults::make_writable(&mut own);
    }
    let files = from.files.iter();
    own.extend(files.map(|(source, target)| defaults::bind_file(source, target, from.locked)));
    Ok(mounts::in_order(own, from.volumes.clone()))
}

/// Makes the whole of config.json.
///
/// # Errors
/// A definition and image of which no process can be made.
pub fn spec(from: &Ingredients<'_>) -> Result<Spec, ConfigError> {
    let mut root = Root::default();
    root.set_path(from.root.into())
        .set_readonly(Some(from.container.security.read_only_root));
    let annotations: HashMap<String, String> = [
        (NODE, from.node.to_string()),
        (INSTANCE, from.instance.to_owned()),
        (UID, from.id.uid.to_string()),
        (CONTAINER, from.container.name.clone()),
        (ATTEMPT, from.id.attempt.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let mut spec = Spec::default();
    spec.set_version("1.0.2".to_owned())
        .set_root(Some(root))
        .set_mounts(Some(all_mounts(from)?))
        .set_process(Some(process(from)?))
        .set_hostname(Some(from.hostname.to_owned()))
        .set_domainname(None)
        .set_hooks(None)
        .set_annotations(Some(annotations))
        .set_linux(Some(linux(from)?))
        .set_solaris(None)
        .set_windows(None)
        .set_vm(None)
        .set_zos(None);
    Ok(spec)
}

#[cfg(test)]
mod tests;
