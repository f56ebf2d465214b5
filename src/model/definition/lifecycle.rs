//! Probes and hooks.

use serde_json::Value;

use super::{
    env::MAX_ARGUMENT,
    fields::Object,
    ports::PlacedPort,
    reader::{Fields, Findings},
    tables::{
        EXEC, GRPC, HEADER, HOOK, HTTP_GET, LIFECYCLE, PROBE, READINESS_PROBE, SLEEP, TCP_SOCKET,
    },
};
use crate::model::spec::{Errand, Hooks, HttpErrand, Probe, Probes};

/// What an errand may refer to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    /// The container's ports.
    pub(super) ports: &'a [PlacedPort],
    /// The Pod's grace.
    pub(super) grace: u32,
}

pub(super) fn probes(
    container: &Fields<'_>,
    around: Around<'_>,
    findings: &mut Findings,
) -> Probes {
    let mut read = |field, table, is_readiness| {
        let fields = container.object(field, table, findings)?;
        probe(&fields, around, is_readiness, findings)
    };
    Probes {
        startup: read("startupProbe", &PROBE, false),
        liveness: read("livenessProbe", &PROBE, false),
        readiness: read("readinessProbe", &READINESS_PROBE, true),
    }
}

fn probe(
    fields: &Fields<'_>,
    around: Around<'_>,
    is_readiness: bool,
    findings: &mut Findings,
) -> Option<Probe> {
    let errand = errand(
        fields,
        &["exec", "httpGet", "tcpSocket", "grpc"],
        around,
        findings,
    );
    let mut seconds = |field, default: u32, min: u64| {
        let number = fields.number(field, 0..=i32::MAX as u64, findings);
        let number = number.and_then(|n| u32::try_from(n).ok());
        // Kubernetes takes 0 for its default.
        number.filter(|n| u64::from(*n) >= min).unwrap_or(default)
    };
    let read = Probe {
        // Where there is none, that was a fault; the rest is looked at all the same.
        errand: errand.unwrap_or(Errand::Sleep { seconds: 0 }),
        initial_delay: seconds("initialDelaySeconds", 0, 0),
        period: seconds("periodSeconds", 10, 1),
        timeout: seconds("timeoutSeconds", 1, 1),
        successes: seconds("successThreshold", 1, 1),
        failures: seconds("failureThreshold", 3, 1),
        grace_seconds: fields
            .number(
                "terminationGracePeriodSeconds",
                1..=super::MAX_GRACE_SECONDS,
                findings,
            )
            .and_then(|n| u32::try_from(n).ok()),
    };
    if !is_readiness && read.successes != 1 {
        findings.fault(
            &fields.at("successThreshold"),
            "must be 1; only a readiness probe may have another",
        );
    }
    Some(read)
}

pub(super) fn hooks(container: &Fields<'_>, around: Around<'_>, findings: &mut Findings) -> Hooks {
    let Some(fields) = container.object("lifecycle", &LIFECYCLE, findings) else {
        return Hooks::default();
    };
    let mut read = |field| {
        let fields = fields.object(field, &HOOK, findings)?;
        errand(
            &fields,
            &["exec", "httpGet", "tcpSocket", "sleep"],
            around,
            findings,
        )
    };
    Hooks {
        post_start: read("postStart"),
        pre_stop: read("preStop"),
    }
}

fn errand(
    fields: &Fields<'_>,
    kinds: &[&'static str],
    around: Around<'_>,
    findings: &mut Findings,
) -> Option<Errand> {
    let kind = fields.exactly_one(kinds, findings)?;
    let table: &'static Object = match kind {
        "exec" => &EXEC,
        "httpGet" => &HTTP_GET,
        "tcpSocket" => &TCP_SOCKET,
        "grpc" => &GRPC,
        _ => &SLEEP,
    };
    let fields = fields.object(kind, table, findings)?;
    match kind {
        "exec" => exec(&fields, findings),
        "httpGet" => http(&fields, around, findings).map(Errand::Http),
        "tcpSocket" => {
            let (port, host) = (port(&fields, around, findings), host(&fields, findings));
            Some(Errand::Tcp { port: port?, host })
        }
        "grpc" => {
            let service = fields.string("service", findings).unwrap_or_default();
            if service.len() > 1024 || service.contains(char::is_control) {
                findings.fault(
                    &fields.at("service"),
                    "must have at most 1024 printable characters",
                );
            }
            if fields.get("port").is_none() {
                findings.fault(&fields.at("port"), "is missing");
            }
            let port = fields.number("port", 1..=65535, findings);
            Some(Errand::Grpc {
                port: port.and_then(|n| u16::try_from(n).ok())?,
                service: service.to_owned(),
            })
        }
        _ => sleep(&fields, around, findings),
    }
}

fn exec(fields: &Fields<'_>, findings: &mut Findings) -> Option<Errand> {
    let words = fields.texts("command", findings);
    for (path, word) in &words {
        if word.len() > MAX_ARGUMENT {
            findings.fault(path, format!("is longer than {MAX_ARGUMENT} bytes"));
        }
    }
    let command: Vec<String> = words.into_iter().map(|(_, word)| word.to_owned()).collect();
    if command.first().is_none_or(String::is_empty) {
        findings.fault(&fields.at("command"), "must name a program");
        return None;
    }
    Some(Errand::Exec { command })
}

fn http(fields: &Fields<'_>, around: Around<'_>, findings: &mut Findings) -> Option<HttpErrand> {
    let path = fields.string("path", findings).unwrap_or_default();
    // As Kubernetes: what doesn't begin with a slash gets one.
    let path = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    };
    let bad = |c: char| c.is_control() || c.is_whitespace();
    if path.len() > 8192 || path.contains(bad) {
        findings.fault(
            &fields.at("path"),
            "must have at most 8192 characters without spaces",
        );
    }
    let schemes = [("HTTP", false), ("HTTPS", true)];
    let tls = fields.one_of("scheme", &schemes, findings) == Some(true);
    let mut headers = Vec::new();
    for entry in fields.objects("httpHeaders", &HEADER, findings) {
        let name = entry.required("name", findings).unwrap_or("x");
        let value = entry.string("value", findings).unwrap_or_default();
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || name.len() > 256 || !name.chars().all(token) {
            findings.fault(&entry.at("name"), "must be a header's name");
        }
        if value.len() > 8192 || value.contains(char::is_control) {
            findings.fault(
                &entry.at("value"),
                "must have at most 8192 printable characters",
            );
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    let host = host(fields, findings);
    let port = port(fields, around, findings)?;
    Some(HttpErrand {
        port,
        path,
        tls,
        host,
        headers,
    })
}

fn host(fields: &Fields<'_>, findings: &mut Findings) -> Option<String> {
    let host = fields.string("host", findings).filter(|h| !h.is_empty())?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
    if host.len() > 253 || !host.chars().all(allowed) || host.starts_with('-') {
        findings.fault(&fields.at("host"), "must be a name or an address");
        return None;
    }
    Some(host.to_owned())
}

fn port(fields: &Fields<'_>, around: Around<'_>, findings: &mut Findings) -> Option<u16> {
    let at = fields.at("port");
    let fault = match fields.get("port") {
        None => "is missing",
        Some(Value::String(name)) => {
            let named = |p: &&PlacedPort| p.1.name.as_deref() == Some(name);
            match around.ports.iter().find(named) {
                Some((_, port)) => return Some(port.container),
                None => "names no port of this container",
            }
        }
        Some(_) => {
            let number = fields.number("port", 1..=65535, findings);
            return number.and_then(|n| u16::try_from(n).ok());
        }
    };
    findings.fault(&at, fault);
    None
}

fn sleep(fields: &Fields<'_>, around: Around<'_>, findings: &mut Findings) -> Option<Errand> {
    if fields.get("seconds").is_none() {
        findings.fault(&fields.at("seconds"), "is missing");
    }
    let seconds = fields.number("seconds", 0..=u64::from(around.grace), findings)?;
    Some(Errand::Sleep {
        seconds: u32::try_from(seconds).ok()?,
    })
}
