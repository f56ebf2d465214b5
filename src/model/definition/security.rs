//! `securityContext`, of a Pod and of its containers.

use serde_json::Value;

use super::{
    reader::{Fields, Findings, indexed},
    tables::{CAPABILITIES, CONTAINER_SECURITY, POD_SECURITY, SECCOMP, SYSCTL},
    words,
};
use crate::model::{
    spec::{ContainerSecurity, PodSecurity, Seccomp},
    users::COUNT,
};

/// Kubernetes' largest id.
const MAX_ID: u64 = i32::MAX as u64;

/// The largest id that there is in a user namespace of a Pod's own.
const MAX_OWN_ID: u64 = COUNT as u64 - 1;

/// What a Pod says for every container that doesn't say otherwise.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    user: Option<u32>,
    group: Option<u32>,
    non_root: Option<bool>,
    seccomp: Option<Seccomp>,
    /// Is a user namespace of its own asked for?
    pub(super) own_users: bool,
}

/// Which of the node's namespaces a Pod shares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    pub(super) network: bool,
    pub(super) ipc: bool,
    pub(super) users: bool,
}

/// Reads a Pod's.
pub(super) fn pod(
    spec: &Fields<'_>,
    shared: Shared,
    findings: &mut Findings,
) -> (PodSecurity, Defaults) {
    let Some(fields) = spec.object("securityContext", &POD_SECURITY, findings) else {
        return Default::default();
    };
    let defaults = Defaults {
        user: id(&fields, "runAsUser", !shared.users, findings),
        group: id(&fields, "runAsGroup", !shared.users, findings),
        non_root: fields.boolean("runAsNonRoot", findings),
        seccomp: seccomp(&fields, findings),
        own_users: false,
    };
    let policies = [("Always", false), ("OnRootMismatch", true)];
    let security = PodSecurity {
        fs_group: id(&fields, "fsGroup", !shared.users, findings),
        fs_group_on_mismatch: fields
            .one_of("fsGroupChangePolicy", &policies, findings)
            .unwrap_or(false),
        supplemental_groups: groups(&fields, !shared.users, findings),
        sysctls: sysctls(&fields, shared, findings),
    };
    (security, defaults)
}

/// An id, which there has to be in the user namespace, if the Pod has its own.
fn id(
    fields: &Fields<'_>,
    field: &'static str,
    own_users: bool,
    findings: &mut Findings,
) -> Option<u32> {
    let number = fields.number(field, 0..=MAX_ID, findings)?;
    there_is(number, own_users, &fields.at(field), findings);
    u32::try_from(number).ok()
}

fn there_is(id: u64, own_users: bool, at: &str, findings: &mut Findings) {
    if own_users && id > MAX_OWN_ID {
        let message = format!("must be at most {MAX_OWN_ID} with hostUsers false");
        findings.fault(at, message);
    }
}

fn groups(fields: &Fields<'_>, own_users: bool, findings: &mut Findings) -> Vec<u32> {
    let at = fields.at("supplementalGroups");
    let mut groups = Vec::new();
    for (i, item) in fields
        .list("supplementalGroups", findings)
        .iter()
        .enumerate()
    {
        let number = item.as_u64().filter(|n| *n <= MAX_ID);
        if let Some(number) = number {
            there_is(number, own_users, &indexed(&at, i), findings);
        }
        match number.map(u32::try_from) {
            Some(Ok(group)) if groups.contains(&group) => {}
            Some(Ok(group)) => groups.push(group),
            _ => findings.fault(
                &indexed(&at, i),
                format!("must be a whole number from 0 to {MAX_ID}"),
            ),
        }
    }
    groups
}

fn sysctls(fields: &Fields<'_>, shared: Shared, findings: &mut Findings) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for entry in fields.objects("sysctls", &SYSCTL, findings) {
        let (name, value) = (
            entry.required("name", findings),
            entry.required("value", findings),
        );
        let (Some(name), Some(value)) = (name, value) else {
            continue;
        };
        // Both spellings are one parameter.
        let name = name.replace('/', ".");
        if let Some(fault) = sysctl_fault(&name, shared) {
            findings.fault(&entry.at("name"), fault);
        } else if found.iter().any(|(other, _)| *other == name) {
            findings.fault(&entry.at("name"), "is there twice");
        }
        if value.len() > 4096 || value.contains(char::is_control) {
            findings.fault(
                &entry.at("value"),
                "must have at most 4096 printable characters",
            );
        }
        found.push((name, value.to_owned()));
    }
    found.sort();
    found
}

fn sysctl_fault(name: &str, shared: Shared) -> Option<&'static str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let shape = name.len() <= 253
        && name.split('.').count() > 1
        && name
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(word));
    if !shape {
        return Some("must be words of letters, digits, '_' and '-' with dots between");
    }
    let ipc = name.starts_with("fs.mqueue.")
        || name.starts_with("kernel.shm")
        || name.starts_with("kernel.msg")
        || name == "kernel.sem";
    match name.starts_with("net.") {
        true if shared.network => Some("is the node's own with hostNetwork"),
        true => None,
        false if ipc && shared.ipc => Some("is the node's own with hostIPC"),
        false if ipc => None,
        false => Some("is no parameter of a namespace, so it would change the whole node"),
    }
}

/// Reads a container's, over its Pod's.
pub(super) fn container(
    container: &Fields<'_>,
    defaults: &Defaults,
    findings: &mut Findings,
) -> ContainerSecurity {
    let mut security = ContainerSecurity {
        run_as_user: defaults.user,
        run_as_group: defaults.group,
        run_as_non_root: defaults.non_root.unwrap_or(false),
        seccomp: defaults.seccomp.clone().unwrap_or_default(),
        ..ContainerSecurity::default()
    };
    let at = container.at("securityContext");
    if let Some(fields) = container.object("securityContext", &CONTAINER_SECURITY, findings) {
        own(&fields, defaults, &mut security, findings);
    }
    if security.run_as_non_root && security.run_as_user == Some(0) {
        findings.fault(&at, "asks for runAsNonRoot and for runAsUser 0");
    }
    let escalates = |security: &ContainerSecurity| {
        let admin = |name: &String| name == "SYS_ADMIN" || name == "ALL";
        if security.privileged {
            Some("privileged")
        } else if security.add.iter().any(admin) {
            Some("the capability SYS_ADMIN")
        } else {
            None
        }
    };
    if security.allow_privilege_escalation == Some(false)
        && let Some(what) = escalates(&security)
    {
        let message = format!("asks for {what} and for allowPrivilegeEscalation false");
        findings.fault(&at, message);
    }
    security
}

fn own(
    fields: &Fields<'_>,
    defaults: &Defaults,
    security: &mut ContainerSecurity,
    findings: &mut Findings,
) {
    if let Some(user) = id(fields, "runAsUser", defaults.own_users, findings) {
        security.run_as_user = Some(user);
    }
    if let Some(group) = id(fields, "runAsGroup", defaults.own_users, findings) {
        security.run_as_group = Some(group);
    }
    if let Some(non_root) = fields.boolean("runAsNonRoot", findings) {
        security.run_as_non_root = non_root;
    }
    if let Some(seccomp) = seccomp(fields, findings) {
        security.seccomp = seccomp;
    }
    security.read_only_root = fields.boolean("readOnlyRootFilesystem", findings) == Some(true);
    security.privileged = fields.boolean("privileged", findings) == Some(true);
    if security.privileged && defaults.own_users {
        findings.fault(&fields.at("privileged"), "does not go with hostUsers false");
    }
    security.allow_privilege_escalation = fields.boolean("allowPrivilegeEscalation", findings);
    let mounts = [("Default", false), ("Unmasked", true)];
    security.unmasked_proc = fields.one_of("procMount", &mounts, findings) == Some(true);
    if security.unmasked_proc && !defaults.own_users {
        findings.fault(
            &fields.at("procMount"),
            "may be Unmasked only with hostUsers false",
        );
    }
    if let Some(capabilities) = fields.object("capabilities", &CAPABILITIES, findings) {
        security.add = names(&capabilities, "add", findings);
        security.drop = names(&capabilities, "drop", findings);
    }
}

fn names(fields: &Fields<'_>, field: &'static str, findings: &mut Findings) -> Vec<String> {
    let mut names = Vec::new();
    for (path, text) in fields.texts(field, findings) {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" || CAPABILITY_NAMES.contains(&name) {
            names.push(name.to_owned());
        } else {
            findings.fault(&path, "is no capability of Linux");
        }
    }
    names.sort();
    names.dedup();
    names
}

fn seccomp(fields: &Fields<'_>, findings: &mut Findings) -> Option<Seccomp> {
    let fields = fields.object("seccompProfile", &SECCOMP, findings)?;
    fields.required("type", findings)?;
    let kinds = [("RuntimeDefault", 0), ("Unconfined", 1), ("Localhost", 2)];
    let kind = fields.one_of("type", &kinds, findings)?;
    let at = fields.at("localhostProfile");
    let profile = fields.get("localhostProfile").and_then(Value::as_str);
    match (kind, profile) {
        (2, _) => {
            let profile = fields.required("localhostProfile", findings)?;
            if !words::relative(profile) {
                findings.fault(&at, words::RELATIVE);
            }
            return Some(Seccomp::Localhost(words::tidy(profile)));
        }
        (_, None | Some("")) => {
            // Where it isn't even a text.
            fields.string("localhostProfile", findings);
        }
        (_, Some(_)) => findings.fault(&at, "goes only with the type Localhost"),
    }
    Some(match kind {
        0 => Seccomp::RuntimeDefault,
        _ => Seccomp::Unconfined,
    })
}

/// Linux' capabilities, without `CAP_`.
const CAPABILITY_NAMES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
