//! What of a workload the node's policy forbids its source. Pure.
//!
//! Owns: the meaning of `[security]`. Out: each fault with the path of the field that it is about.
//! Must never happen here: a path of the node being let through by a spelling of it, or riklet's
//! own directories at all.

use std::path::{Component, Path, PathBuf};

use super::admission::Capacity;
use crate::{
    config::{Allowed, Security},
    image::reference::TransportPolicy,
    model::{
        ids::Source,
        spec::{ContainerSpec, Role, Seccomp, VolumeSource, WorkloadSpec},
    },
};

/// What the node lets be asked for.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Where images may come from.
    pub transports: TransportPolicy,
    /// What each source may ask for.
    pub security: Security,
    /// What there is to share out.
    pub capacity: Capacity,
    /// riklet's own directories: nobody may mount them.
    pub own_dirs: Vec<PathBuf>,
}

impl From<TransportPolicy> for Rules {
    fn from(transports: TransportPolicy) -> Self {
        Self {
            transports,
            ..Self::default()
        }
    }
}

/// Kernel parameters of namespaces that concern nobody outside them: those that Kubernetes takes
/// for safe.
const SAFE_SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Capabilities that every container has anyway.
const EVERYBODYS: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The path of each container in the definition, in the model's order.
pub(super) fn paths(spec: &WorkloadSpec) -> impl Iterator<Item = (String, &ContainerSpec)> {
    let (mut main, mut init) = (0, 0);
    spec.containers.iter().map(move |container| {
        let (list, n) = match container.role {
            Role::Main => ("containers", &mut main),
            Role::Init | Role::Sidecar => ("initContainers", &mut init),
        };
        let path = format!("spec.{list}[{n}]");
        *n += 1;
        (path, container)
    })
}

/// Everything that the source may not ask for.
pub(super) fn forbidden(rules: &Rules, source: Source, spec: &WorkloadSpec) -> Vec<String> {
    let mut found = Found {
        allowed: rules.security.of(source),
        source,
        faults: Vec::new(),
    };
    let allowed = found.allowed;
    for (asked, may, path, key) in [
        (
            spec.host_network,
            allowed.host_network,
            "spec.hostNetwork",
            "host_network",
        ),
        (spec.host_pid, allowed.host_pid, "spec.hostPID", "host_pid"),
        (spec.host_ipc, allowed.host_ipc, "spec.hostIPC", "host_ipc"),
    ] {
        found.unless(!asked || may, path, key);
    }
    for (path, container) in paths(spec) {
        of_container(&mut found, &format!("{path}.securityContext"), container);
    }
    for (n, (name, _)) in spec.security.sysctls.iter().enumerate() {
        let may = SAFE_SYSCTLS.contains(&name.as_str()) || named(&allowed.sysctls, name);
        let path = format!("spec.securityContext.sysctls[{n}] ({name:?})");
        found.unless(may, &path, "sysctls");
    }
    for (n, volume) in spec.volumes.iter().enumerate() {
        if let VolumeSource::HostPath { path: place, .. } = &volume.source {
            let path = format!("spec.volumes[{n}].hostPath.path");
            host_path(&mut found, &path, place, &rules.own_dirs);
        }
    }
    found.faults
}

struct Found<'a> {
    allowed: &'a Allowed,
    source: Source,
    faults: Vec<String>,
}

impl Found<'_> {
    fn unless(&mut self, may: bool, path: &str, key: &str) {
        if !may {
            let source = match self.source {
                Source::Scheduler => "scheduler",
                Source::Manifest => "manifest",
                Source::Cli | Source::Operator => "cli",
            };
            self.faults.push(format!(
                "{path}: this node doesn't allow that to its {source}: see \
                 security.{source}.{key} in riklet.toml"
            ));
        }
    }
}

fn of_container(found: &mut Found<'_>, path: &str, container: &ContainerSpec) {
    let (asked, may) = (&container.security, found.allowed);
    found.unless(
        !asked.privileged || may.privileged,
        &format!("{path}.privileged"),
        "privileged",
    );
    found.unless(
        asked.seccomp != Seccomp::Unconfined || may.unconfined_seccomp,
        &format!("{path}.seccompProfile"),
        "unconfined_seccomp",
    );
    found.unless(
        !asked.unmasked_proc || may.unmasked_proc,
        &format!("{path}.procMount"),
        "unmasked_proc",
    );
    found.unless(
        asked.allow_privilege_escalation != Some(true) || may.privilege_escalation,
        &format!("{path}.allowPrivilegeEscalation"),
        "privilege_escalation",
    );
    let all = may.capabilities.iter().any(|name| name == "ALL");
    for name in &asked.add {
        let free = EVERYBODYS.contains(&name.as_str());
        let listed = |listed: &String| listed.strip_prefix("CAP_").unwrap_or(listed) == name;
        let may = all || free || may.capabilities.iter().any(listed);
        let path = format!("{path}.capabilities.add ({name:?})");
        found.unless(may, &path, "capabilities");
    }
}

/// Is the name among these, some of which may be beginnings with a `*`?
fn named(patterns: &[String], name: &str) -> bool {
    let is = |pattern: &String| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    };
    patterns.iter().any(is)
}

fn host_path(found: &mut Found<'_>, path: &str, place: &str, own_dirs: &[PathBuf]) {
    let Some(place) = plain(place) else {
        let fault = "must be an absolute path without \"..\"";
        found.faults.push(format!("{path}: {fault}"));
        return;
    };
    // By whole names: /srv lets /srv/a through, and not /srv-a.
    let inside = |prefix: &String| plain(prefix).is_some_and(|prefix| place.starts_with(prefix));
    let may = found.allowed.host_paths.iter().any(inside);
    found.unless(may, path, "host_paths");
    // What lies above them shows them, too: that is for whoever may have the whole node.
    let whole_node = found.allowed.host_paths.iter().any(|path| path == "/");
    let shows = |own: &PathBuf| place.starts_with(own) || own.starts_with(&place) && !whole_node;
    if own_dirs.iter().any(shows) {
        let fault = "riklet's own state or run directory lies there, which nobody may mount";
        found.faults.push(format!("{path}: {fault}"));
    }
}

/// The path without empty and `.` parts; none if it isn't absolute or has a `..`.
fn plain(path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let straight = |part: Component<'_>| !matches!(part, Component::ParentDir);
    (path.is_absolute() && path.components().all(straight)).then(|| path.components().collect())
}

#[cfg(test)]
mod tests;
