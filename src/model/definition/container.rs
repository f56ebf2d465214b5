//! Reading one container of a definition.
//!
//! Owns: a container's fields, their limits. In: the reader at the list of containers. Out: the
//! models; what is wrong goes to the findings, with its path.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    MAX_CONTAINERS,
    reader::{Fields, Findings, indexed, text},
};
use crate::model::spec::{ContainerSpec, EnvVar, Port};

/// One argument or variable of execve(2): `MAX_ARG_STRLEN` is 131072 with its NUL.
const MAX_ARGUMENT: usize = 131_071;

/// Kubernetes' fields of a container that riklet doesn't act on, with what happens anyway.
const CONTAINER_WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    ("envFrom", &[]),
    ("imagePullPolicy", &["IfNotPresent"]),
    ("lifecycle", &[]),
    ("livenessProbe", &[]),
    ("readinessProbe", &[]),
    ("resources", &[]),
    ("restartPolicy", &[]),
    ("securityContext", &[]),
    ("startupProbe", &[]),
    ("stdin", &[]),
    ("stdinOnce", &[]),
    ("terminationMessagePath", &["/dev/termination-log"]),
    ("terminationMessagePolicy", &["File"]),
    ("tty", &[]),
    ("volumeDevices", &[]),
    ("volumeMounts", &[]),
];

/// An RFC 1123 label, but for capitals and the characters in `more`.
pub(super) fn label_like(text: &str, more: &[char]) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text
            .chars()
            .all(|c| plain(c) || c == '-' || more.contains(&c))
        && text.starts_with(plain)
        && text.ends_with(plain)
}

/// The containers of a Pod's spec, in order.
pub(super) fn containers(pod: &mut Fields<'_>, findings: &mut Findings) -> Vec<ContainerSpec> {
    let items = pod.list("containers", findings);
    let at = pod.at("containers");
    if items.is_empty() {
        findings.fault(&at, "must list at least one container");
    }
    if items.len() > MAX_CONTAINERS {
        findings.fault(
            &at,
            format!(
                "lists {} containers, the limit is {MAX_CONTAINERS}",
                items.len()
            ),
        );
        return Vec::new();
    }
    let mut names = BTreeMap::new();
    let mut containers = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let path = indexed(&at, i);
        let Some(container) = container(item, &path, findings) else {
            continue;
        };
        if let Some(first) = names.insert(container.name.clone(), i)
            && !container.name.is_empty()
        {
            findings.fault(
                &format!("{path}.name"),
                format!("is also the name of {}", indexed(&at, first)),
            );
        }
        containers.push(container);
    }
    containers
}

fn container(value: &Value, path: &str, findings: &mut Findings) -> Option<ContainerSpec> {
    let mut fields = Fields::of(value, path, findings)?;
    let container = ContainerSpec {
        name: container_name(&mut fields, findings),
        image: image(&mut fields, findings),
        command: arguments(&mut fields, "command", findings),
        args: arguments(&mut fields, "args", findings),
        working_dir: working_dir(&mut fields, findings),
        env: env(&mut fields, findings),
        ports: ports(&mut fields, findings),
        ..ContainerSpec::default()
    };
    fields.no_effect(CONTAINER_WITHOUT_EFFECT, findings);
    fields.finish(findings);
    Some(container)
}

fn required<'a>(
    fields: &mut Fields<'a>,
    field: &'static str,
    findings: &mut Findings,
) -> Option<&'a str> {
    if fields.get(field).is_none() {
        findings.fault(&fields.at(field), "is missing");
    }
    fields.string(field, findings)
}

fn container_name(fields: &mut Fields<'_>, findings: &mut Findings) -> String {
    let Some(name) = required(fields, "name", findings) else {
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

fn image(fields: &mut Fields<'_>, findings: &mut Findings) -> String {
    let Some(image) = required(fields, "image", findings) else {
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

fn arguments(fields: &mut Fields<'_>, field: &'static str, findings: &mut Findings) -> Vec<String> {
    let items = fields.list(field, findings);
    let at = fields.at(field);
    let mut arguments = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let path = indexed(&at, i);
        let Some(argument) = text(item, &path, findings) else {
            continue;
        };
        if argument.len() > MAX_ARGUMENT {
            findings.fault(&path, format!("is longer than {MAX_ARGUMENT} bytes"));
        }
        arguments.push(argument.to_owned());
    }
    arguments
}

fn working_dir(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<String> {
    let dir = fields
        .string("workingDir", findings)
        .filter(|dir| !dir.is_empty())?;
    if !dir.starts_with('/') || dir.len() > 4095 {
        findings.fault(
            &fields.at("workingDir"),
            "must be an absolute path of at most 4095 bytes",
        );
    }
    Some(dir.to_owned())
}

fn env(fields: &mut Fields<'_>, findings: &mut Findings) -> Vec<EnvVar> {
    let items = fields.list("env", findings);
    let at = fields.at("env");
    let mut env = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let path = indexed(&at, i);
        let Some(mut entry) = Fields::of(item, &path, findings) else {
            continue;
        };
        let name = required(&mut entry, "name", findings).unwrap_or("_");
        if !env_name(name) {
            findings.fault(
                &entry.at("name"),
                "must have letters, digits, '_', '-' and '.', and not start with a digit",
            );
        }
        let value = entry.string("value", findings).unwrap_or_default();
        if name.len() + 1 + value.len() > MAX_ARGUMENT {
            let message = format!("is longer than {MAX_ARGUMENT} bytes with its name");
            findings.fault(&entry.at("value"), message);
        }
        if entry.get("valueFrom").is_some() {
            // Running without the value would be another workload.
            findings.unsupported(&entry.at("valueFrom"), "is not supported by this riklet");
        }
        entry.finish(findings);
        env.push(EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
            ..EnvVar::default()
        });
    }
    env
}

fn env_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty()
        && name.len() <= 4096
        && name.chars().all(allowed)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// RIK has one object, Kubernetes a list of others.
fn ports(fields: &mut Fields<'_>, findings: &mut Findings) -> Vec<Port> {
    let at = fields.at("ports");
    match fields.get("ports") {
        Some(one @ Value::Object(_)) => port(one, &at, findings).into_iter().collect(),
        _ => fields
            .list("ports", findings)
            .iter()
            .enumerate()
            .filter_map(|(i, item)| port(item, &indexed(&at, i), findings))
            .collect(),
    }
}

fn port(value: &Value, path: &str, findings: &mut Findings) -> Option<Port> {
    let mut fields = Fields::of(value, path, findings)?;
    if fields.blank() {
        return None;
    }
    let mut number = |name| {
        fields
            .number(name, 1..=65535, findings)
            .and_then(|n| u16::try_from(n).ok())
    };
    // RIK's names, then Kubernetes'.
    let (port, target) = (
        number("port"),
        number("target_port").or(number("targetPort")),
    );
    let (inside, host) = (number("containerPort"), number("hostPort"));
    let container = target.or(inside).or(port);
    let protocol = fields.string("protocol", findings).unwrap_or("TCP");
    let known = ["TCP", "UDP", "SCTP"]
        .into_iter()
        .find(|p| p.eq_ignore_ascii_case(protocol));
    if known.is_none() {
        findings.fault(&fields.at("protocol"), "must be TCP, UDP or SCTP");
    }
    // How a cluster would expose it, and what it is called: nothing to do on this node.
    fields.pass(&["type", "name"]);
    fields.no_effect(&[("hostIP", &["0.0.0.0"])], findings);
    let given = ["port", "target_port", "targetPort", "containerPort"]
        .into_iter()
        .any(|field| fields.get(field).is_some());
    if !given {
        findings.fault(path, "must have a port or a containerPort");
    }
    fields.finish(findings);
    Some(Port {
        host: port.or(host).unwrap_or(0),
        container: container?,
        protocol: known?.to_owned(),
        name: None,
        host_ip: None,
    })
}
