//! Reading the containers of a definition.
//!
//! Owns: a container's fields, their limits. In: the reader at the Pod's spec. Out: the models,
//! main containers first, then init containers; what is wrong goes to the findings.

use std::collections::BTreeMap;

use super::{
    MAX_CONTAINERS,
    env::{MAX_ARGUMENT, env},
    lifecycle::{Around, hooks, probes},
    ports::{clashes, ports},
    reader::{Fields, Findings, indexed},
    resources::resources,
    security,
    sources::Known,
    tables::{CONTAINER, INIT_CONTAINER},
    volumes::mounts,
    words::{self, label_like},
};
use crate::model::spec::{ContainerSpec, Hooks, MessagePolicy, Probes, PullPolicy, Role, Volume};

/// What of the Pod its containers depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pod<'a> {
    pub(super) known: &'a Known<'a>,
    pub(super) volumes: &'a [Volume],
    pub(super) security: &'a security::Defaults,
    pub(super) host_network: bool,
    pub(super) grace: u32,
}

/// The containers of a Pod's spec: the main ones in their order, then the init ones.
pub(super) fn containers(
    spec: &Fields<'_>,
    pod: Pod<'_>,
    findings: &mut Findings,
) -> Vec<ContainerSpec> {
    let main = spec.list("containers", findings).len();
    let init = spec.list("initContainers", findings).len();
    if main == 0 {
        let at = spec.at("containers");
        findings.fault(&at, "must list at least one container");
    }
    if main + init > MAX_CONTAINERS {
        let message = format!(
            "lists {} containers, the limit is {MAX_CONTAINERS}",
            main + init
        );
        findings.fault(&spec.at("containers"), message);
        return Vec::new();
    }
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut containers = Vec::with_capacity(main + init);
    let mut all_ports = Vec::new();
    for (field, table, first) in [
        ("containers", &CONTAINER, 0),
        ("initContainers", &INIT_CONTAINER, main),
    ] {
        let at = spec.at(field);
        for (i, item) in spec.list(field, findings).iter().enumerate() {
            let path = indexed(&at, i);
            let Some(fields) = Fields::of(item, &path, table, findings) else {
                continue;
            };
            let role = role(&fields, field, findings);
            let (container, ports) = container(&fields, role, first + i, pod, findings);
            if let Some(first) = names.insert(container.name.clone(), path)
                && !container.name.is_empty()
            {
                findings.fault(&fields.at("name"), format!("is also the name of {first}"));
            }
            containers.push(container);
            if role != Role::Init {
                all_ports.extend(ports);
            }
        }
    }
    clashes(&all_ports, findings);
    containers
}

fn role(fields: &Fields<'_>, field: &str, findings: &mut Findings) -> Role {
    if field == "containers" {
        return Role::Main;
    }
    match fields.one_of("restartPolicy", &[("Always", Role::Sidecar)], findings) {
        Some(role) => role,
        None => Role::Init,
    }
}

fn container(
    fields: &Fields<'_>,
    role: Role,
    position: usize,
    pod: Pod<'_>,
    findings: &mut Findings,
) -> (ContainerSpec, Vec<super::ports::PlacedPort>) {
    let name = name(fields, findings);
    let image = image(fields, findings);
    let command = arguments(fields, "command", findings);
    let args = arguments(fields, "args", findings);
    let working_dir = working_dir(fields, findings);
    let env = env(fields, position, pod.known, findings);
    let ports = ports(fields, pod.host_network, findings);
    let around = Around {
        ports: &ports,
        grace: pod.grace,
    };
    let (probes, hooks) = health(fields, role, around, findings);
    let container = ContainerSpec {
        name,
        image,
        role,
        image_pull_policy: pull_policy(fields, findings),
        command,
        args,
        working_dir,
        env,
        tty: fields.boolean("tty", findings) == Some(true),
        stdin: fields.boolean("stdin", findings) == Some(true),
        resources: resources(fields, findings),
        mounts: mounts(fields, pod.volumes, findings),
        probes,
        hooks,
        security: security::container(fields, pod.security, findings),
        termination_message_path: message_path(fields, findings),
        termination_message_policy: message_policy(fields, findings),
        ports: ports.iter().map(|(_, port)| port.clone()).collect(),
    };
    (container, ports)
}

/// Probes and hooks, which a container that runs to its end has not.
fn health(
    fields: &Fields<'_>,
    role: Role,
    around: Around<'_>,
    findings: &mut Findings,
) -> (Probes, Hooks) {
    if role != Role::Init {
        return (
            probes(fields, around, findings),
            hooks(fields, around, findings),
        );
    }
    for field in [
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
    ] {
        if fields.get(field).is_some() {
            findings.fault(
                &fields.at(field),
                "is not for an init container without the restartPolicy Always",
            );
        }
    }
    Default::default()
}

fn name(fields: &Fields<'_>, findings: &mut Findings) -> String {
    let Some(name) = fields.required("name", findings) else {
        return String::new();
    };
    if !label_like(name, &['_', '.']) {
        findings.fault(
            &fields.at("name"),
            "must have 1 to 63 letters, digits, '-', '_' and '.', with a letter or digit at either end",
        );
    }
    name.to_owned()
}

fn image(fields: &Fields<'_>, findings: &mut Findings) -> String {
    let Some(image) = fields.required("image", findings) else {
        return String::new();
    };
    let bad = |c: char| c.is_whitespace() || c.is_control();
    if image.is_empty() || image.len() > 1024 || image.contains(bad) || image.starts_with('-') {
        findings.fault(
            &fields.at("image"),
            "must be an image's reference: 1 to 1024 characters without spaces, not starting with '-'",
        );
    }
    image.to_owned()
}

fn pull_policy(fields: &Fields<'_>, findings: &mut Findings) -> Option<PullPolicy> {
    let policies = [
        ("Always", Some(PullPolicy::Always)),
        ("IfNotPresent", Some(PullPolicy::IfNotPresent)),
        ("Never", Some(PullPolicy::Never)),
        ("", None),
    ];
    fields
        .one_of("imagePullPolicy", &policies, findings)
        .flatten()
}

fn arguments(fields: &Fields<'_>, field: &'static str, findings: &mut Findings) -> Vec<String> {
    let mut arguments = Vec::new();
    for (path, argument) in fields.texts(field, findings) {
        if argument.len() > MAX_ARGUMENT {
            findings.fault(&path, format!("is longer than {MAX_ARGUMENT} bytes"));
        }
        arguments.push(argument.to_owned());
    }
    arguments
}

fn working_dir(fields: &Fields<'_>, findings: &mut Findings) -> Option<String> {
    let dir = fields
        .string("workingDir", findings)
        .filter(|dir| !dir.is_empty())?;
    if !words::absolute(dir) {
        findings.fault(&fields.at("workingDir"), words::ABSOLUTE);
    }
    Some(dir.to_owned())
}

/// None for the default.
fn message_path(fields: &Fields<'_>, findings: &mut Findings) -> Option<String> {
    let path = fields
        .string("terminationMessagePath", findings)
        .filter(|path| !path.is_empty())?;
    if !words::absolute(path) || words::tidy(path) == "/" || path.contains(':') {
        findings.fault(&fields.at("terminationMessagePath"), words::ABSOLUTE);
    }
    let path = words::tidy(path);
    (path != "/dev/termination-log").then_some(path)
}

fn message_policy(fields: &Fields<'_>, findings: &mut Findings) -> MessagePolicy {
    let policies = [
        ("File", MessagePolicy::File),
        (
            "FallbackToLogsOnError",
            MessagePolicy::FallbackToLogsOnError,
        ),
        ("", MessagePolicy::File),
    ];
    fields
        .one_of("terminationMessagePolicy", &policies, findings)
        .unwrap_or_default()
}
