//! A container's ports: RIK's one object, Kubernetes' list.

use std::net::IpAddr;

use serde_json::Value;

use super::{
    reader::{Fields, Findings},
    tables::PORT,
};
use crate::model::spec::Port;

/// A port with the path it was read at.
pub(super) type PlacedPort = (String, Port);

pub(super) fn ports(
    fields: &Fields<'_>,
    host_network: bool,
    findings: &mut Findings,
) -> Vec<PlacedPort> {
    let at = fields.at("ports");
    let one = match fields.get("ports") {
        Some(one @ Value::Object(_)) => Fields::of(one, &at, &PORT, findings),
        _ => None,
    };
    let entries = match one {
        Some(one) => vec![one],
        None if matches!(fields.get("ports"), Some(Value::Object(_))) => Vec::new(),
        None => fields.objects("ports", &PORT, findings),
    };
    let mut found: Vec<PlacedPort> = Vec::new();
    for entry in entries {
        let Some(port) = port(&entry, host_network, findings) else {
            continue;
        };
        let twin = found.iter().find(|(_, p)| p.name == port.name);
        if let Some((first, _)) = twin.filter(|_| port.name.is_some()) {
            let message = format!("is also the name of {first}");
            findings.fault(&entry.at("name"), message);
        }
        found.push((entry.path, port));
    }
    found
}

fn port(fields: &Fields<'_>, host_network: bool, findings: &mut Findings) -> Option<Port> {
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
    let inside = number("containerPort");
    // 0 is none, as to Kubernetes.
    let host = fields.number("hostPort", 0..=65535, findings);
    let host = host.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
    let container = target.or(inside).or(port);
    let protocol = fields.string("protocol", findings);
    let protocol = protocol.filter(|p| !p.is_empty()).unwrap_or("TCP");
    let known = ["TCP", "UDP", "SCTP"]
        .into_iter()
        .find(|p| p.eq_ignore_ascii_case(protocol));
    if known.is_none() {
        findings.fault(&fields.at("protocol"), "must be TCP, UDP or SCTP");
    }
    let name = name(fields, findings);
    let host_ip = host_ip(fields, findings);
    let given = ["port", "target_port", "targetPort", "containerPort"]
        .into_iter()
        .any(|field| fields.get(field).is_some());
    if !given {
        findings.fault(&fields.path, "must have a port or a containerPort");
    }
    let container = container?;
    let host = port.or(host);
    if host_network && host.is_some_and(|host| host != container) {
        let field = if port.is_some() { "port" } else { "hostPort" };
        findings.fault(
            &fields.at(field),
            "must be the port inside, for hostNetwork leaves no other",
        );
    }
    Some(Port {
        // Kubernetes' default: with the node's network every port is one of the node.
        host: host.unwrap_or(if host_network { container } else { 0 }),
        container,
        protocol: known?.to_owned(),
        name,
        host_ip,
    })
}

fn name(fields: &Fields<'_>, findings: &mut Findings) -> Option<String> {
    let name = fields
        .string("name", findings)
        .filter(|name| !name.is_empty())?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fine = name.len() <= 15
        && name.chars().all(allowed)
        && name.contains(|c: char| c.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    if !fine {
        findings.fault(
            &fields.at("name"),
            "must have 1 to 15 small letters, digits and single '-' between, a letter among them",
        );
        return None;
    }
    Some(name.to_owned())
}

fn host_ip(fields: &Fields<'_>, findings: &mut Findings) -> Option<IpAddr> {
    let text = fields
        .string("hostIP", findings)
        .filter(|t| !t.is_empty())?;
    match text.parse::<IpAddr>() {
        // The whole node is what no address means too.
        Ok(address) if address.is_unspecified() => None,
        Ok(address) => Some(address),
        Err(_) => {
            findings.fault(&fields.at("hostIP"), "must be an address");
            None
        }
    }
}

/// Finds host ports that two containers ask for.
pub(super) fn clashes(all: &[PlacedPort], findings: &mut Findings) {
    let hosts = all.iter().filter(|(_, p)| p.host != 0);
    let mut seen: Vec<&PlacedPort> = Vec::new();
    for placed in hosts {
        let (path, port) = placed;
        let same = |other: &Port| {
            let both = (port.host_ip, other.host_ip);
            other.host == port.host
                && other.protocol == port.protocol
                && (both.0 == both.1 || both.0.is_none() || both.1.is_none())
        };
        match seen.iter().find(|(_, other)| same(other)) {
            Some((first, _)) => {
                findings.fault(
                    path,
                    format!("asks for the host port that {first} asks for"),
                );
            }
            None => seen.push(placed),
        }
    }
}
