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
    runtime::{Linux, LinuxSeccomp, Mount, Process, Root, Spec, User},
};

use super::{
    defaults::{self, Joined},
    user::ResolvedUser,
};
use crate::model::{
    ids::{ContainerId, InstanceId, NodeUid, Uid},
    spec::{ContainerSpec, WorkloadSpec},
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
    /// Files of the bundle seen inside: source, target.
    pub files: &'a [(PathBuf, &'static str)],
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

/// Variables in order; setting one again replaces it in place.
#[derive(Default)]
struct Environment(Vec<(String, String)>);

impl Environment {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some(found) => found.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn set_default(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value.to_owned());
        }
    }
}

/// Kubernetes' `$(NAME)`: replaced if the definition sets NAME, left alone if not; `$$` is a
/// plain `$`.
fn expand(text: &str, known: &Environment) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// The variables that the definition sets, each able to name those before it.
fn own_variables(container: &ContainerSpec) -> Environment {
    let mut own = Environment::default();
    for variable in &container.env {
        let value = expand(&variable.value, &own);
        own.set(&variable.name, value);
    }
    own
}

/// `command` replaces the image's entrypoint and drops its arguments; `args` replaces those.
fn arguments(from: &Ingredients<'_>, own: &Environment) -> Result<Vec<String>, ConfigError> {
    let image = from.image.config().as_ref();
    let of_image = |part: Option<&Option<Vec<String>>>| part.cloned().flatten().unwrap_or_default();
    let (command, args) = (&from.container.command, &from.container.args);
    let expanded = |texts: &[String]| texts.iter().map(|t| expand(t, own)).collect::<Vec<_>>();
    let mut all = if command.is_empty() {
        of_image(image.map(|c| c.entrypoint()))
    } else {
        expanded(command)
    };
    if !args.is_empty() {
        all.extend(expanded(args));
    } else if command.is_empty() {
        all.extend(of_image(image.map(|c| c.cmd())));
    }
    match all.first() {
        Some(program) if !program.is_empty() => Ok(all),
        _ => Err(ConfigError::NoCommand(from.container.name.clone())),
    }
}

fn environment(from: &Ingredients<'_>, own: Environment) -> Vec<String> {
    let mut all = Environment::default();
    let image = from.image.config().as_ref();
    for pair in image.and_then(|c| c.env().as_ref()).into_iter().flatten() {
        if let Some((name, value)) = pair.split_once('=') {
            all.set(name, value.to_owned());
        }
    }
    all.set_default("PATH", defaults::PATH);
    all.set_default("HOSTNAME", from.hostname);
    for (name, value) in own.0 {
        all.set(&name, value);
    }
    all.set_default("HOME", &from.user.home);
    all.0
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
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
    let own = own_variables(from.container);
    let args = arguments(from, &own)?;
    let env = environment(from, own);
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
    let mut process = Process::default();
    process
        .set_terminal(Some(false))
        .set_console_size(None)
        .set_user(user)
        .set_args(Some(args))
        .set_command_line(None)
        .set_env(Some(env))
        .set_cwd(cwd)
        .set_capabilities(Some(defaults::capabilities(from.user.uid)))
        .set_rlimits(Some(defaults::rlimits(from.open_files)))
        .set_no_new_privileges(Some(true))
        .set_apparmor_profile(None)
        .set_oom_score_adj(Some(defaults::OOM_SCORE_ADJ))
        .set_selinux_label(None)
        .set_io_priority(None)
        .set_scheduler(None)
        .set_exec_cpu_affinity(None);
    Ok(process)
}

fn linux(from: &Ingredients<'_>) -> Linux {
    let mut linux = Linux::default();
    linux
        .set_net_devices(None)
        .set_uid_mappings(None)
        .set_gid_mappings(None)
        .set_sysctl(None)
        .set_resources(Some(defaults::resources()))
        .set_cgroups_path(Some(from.cgroups_path.into()))
        .set_namespaces(Some(defaults::namespaces(from.joined)))
        .set_devices(None)
        .set_seccomp(from.seccomp.cloned())
        .set_rootfs_propagation(None)
        .set_masked_paths(Some(defaults::masked_paths()))
        .set_readonly_paths(Some(defaults::readonly_paths()))
        .set_mount_label(None)
        .set_intel_rdt(None)
        .set_memory_policy(None)
        .set_personality(None)
        .set_time_offsets(None);
    linux
}

/// Makes the whole of config.json.
///
/// # Errors
/// A definition and image of which no process can be made.
pub fn spec(from: &Ingredients<'_>) -> Result<Spec, ConfigError> {
    let mut root = Root::default();
    // Relative to the bundle, which is the runtime's working directory.
    root.set_path("rootfs".into()).set_readonly(Some(false));
    let shm = from.joined.shm.as_deref();
    let mut mounts: Vec<Mount> = defaults::mounts(shm.unwrap_or(Path::new("/dev/shm")));
    mounts.extend(
        from.files
            .iter()
            .map(|(source, target)| defaults::bind_file(source, target)),
    );
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
        .set_mounts(Some(mounts))
        .set_process(Some(process(from)?))
        .set_hostname(Some(from.hostname.to_owned()))
        .set_domainname(None)
        .set_hooks(None)
        .set_annotations(Some(annotations))
        .set_linux(Some(linux(from)))
        .set_solaris(None)
        .set_windows(None)
        .set_vm(None)
        .set_zos(None);
    Ok(spec)
}

#[cfg(test)]
mod tests;
