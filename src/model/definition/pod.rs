//! Reading a Pod: RIK's JSON or Kubernetes'.

use serde_json::Value;

use super::{
    DEFAULT_GRACE_SECONDS, MAX_GRACE_SECONDS, Strictness, WHOLE,
    container::{self, containers},
    names::{dns, host_aliases, hostname},
    reader::{Fields, Findings},
    security,
    sources::{Known, marks, names},
    tables::{METADATA, OS, POD, SPEC},
    volumes::volumes,
};
use crate::model::{
    ids::InstanceId,
    spec::{RestartPolicy, WorkloadSpec},
};

pub(super) fn workload<'a>(
    value: &'a Value,
    mut known: Known<'a>,
    strictness: Strictness,
    findings: &mut Findings,
) -> Option<WorkloadSpec> {
    let top = Fields::of(value, WHOLE, &POD, findings)?;
    top.string("apiVersion", findings);
    kind(&top, findings);
    let metadata = top.object("metadata", &METADATA, findings);
    let name = name(&top, metadata.as_ref(), strictness, findings);
    if let Some(metadata) = &metadata {
        let namespace = metadata.string("namespace", findings);
        known.namespace = namespace
            .filter(|name| !name.is_empty())
            .unwrap_or(known.namespace);
        known.labels = marks(metadata, "labels", findings);
        known.annotations = marks(metadata, "annotations", findings);
    }
    let Some(value) = top.get("spec") else {
        findings.fault("spec", "is missing");
        return None;
    };
    let spec = Fields::of(value, "spec", &SPEC, findings)?;
    known.account = ["serviceAccountName", "serviceAccount"]
        .iter()
        .find_map(|field| value.get(field).and_then(Value::as_str))
        .filter(|name| !name.is_empty())
        .unwrap_or(known.account);
    known.containers = names(value, "containers");
    known.containers.extend(names(value, "initContainers"));
    Some(model(name, &spec, &known, findings))
}

fn model(
    name: Option<String>,
    spec: &Fields<'_>,
    known: &Known<'_>,
    findings: &mut Findings,
) -> WorkloadSpec {
    let mut model = WorkloadSpec {
        name: name.unwrap_or_default(),
        host_network: spec.boolean("hostNetwork", findings) == Some(true),
        host_pid: spec.boolean("hostPID", findings) == Some(true),
        host_ipc: spec.boolean("hostIPC", findings) == Some(true),
        host_users: spec.boolean("hostUsers", findings) != Some(false),
        grace_seconds: grace(spec, findings),
        ..WorkloadSpec::default()
    };
    if !model.host_users && (model.host_network || model.host_pid || model.host_ipc) {
        findings.fault(
            "spec.hostUsers",
            "may not be false with hostNetwork, hostPID or hostIPC",
        );
    }
    let shared = security::Shared {
        network: model.host_network,
        ipc: model.host_ipc,
        users: model.host_users,
    };
    let (pod_security, mut defaults) = security::pod(spec, shared, findings);
    defaults.own_users = !model.host_users;
    model.security = pod_security;
    model.volumes = volumes(spec, known, findings);
    let pod = container::Pod {
        known,
        volumes: &model.volumes,
        security: &defaults,
        host_network: model.host_network,
        grace: model.grace_seconds,
    };
    model.containers = containers(spec, pod, findings);
    model.restart_policy = restart_policy(spec, findings);
    model.hostname = hostname(spec, findings);
    model.dns = dns(spec, findings);
    model.host_aliases = host_aliases(spec, findings);
    if let Some(os) = spec.object("os", &OS, findings) {
        os.one_of("name", &[("linux", ())], findings);
    }
    model
}

fn grace(spec: &Fields<'_>, findings: &mut Findings) -> u32 {
    spec.number(
        "terminationGracePeriodSeconds",
        0..=MAX_GRACE_SECONDS,
        findings,
    )
    .and_then(|n| u32::try_from(n).ok())
    .unwrap_or(DEFAULT_GRACE_SECONDS)
}

fn kind(top: &Fields<'_>, findings: &mut Findings) {
    if top.get("kind").is_none() {
        findings.fault("kind", "is missing; it must be \"Pod\"");
    }
    let Some(kind) = top.string("kind", findings) else {
        return;
    };
    // RIK's own examples write "pods".
    match kind.to_ascii_lowercase().as_str() {
        "pod" | "pods" => {}
        "function" | "functions" => findings.unsupported(
            "kind",
            "is Function, which needs a virtual machine; riklet runs only \"Pod\"",
        ),
        _ => findings.unsupported("kind", super::documents::refusal(kind)),
    }
}

fn name(
    top: &Fields<'_>,
    metadata: Option<&Fields<'_>>,
    strictness: Strictness,
    findings: &mut Findings,
) -> Option<String> {
    let (fields, path) = match metadata {
        // Of a Kubernetes Pod's metadata, where RIK's name isn't given.
        Some(metadata) if top.get("name").is_none() => (metadata, "metadata.name"),
        _ => (top, "name"),
    };
    let name = fields.required("name", findings)?;
    let fault = if strictness == Strictness::Strict {
        // It becomes the instance's id.
        InstanceId::from_wire(name).err().map(|e| e.to_string())
    } else if name.is_empty() || name.len() > 253 || name.chars().any(char::is_control) {
        Some("must have 1 to 253 printable characters".to_owned())
    } else {
        None
    };
    match fault {
        Some(fault) => {
            findings.fault(path, format!("is not a name: {fault}"));
            None
        }
        None => Some(name.to_owned()),
    }
}

fn restart_policy(pod: &Fields<'_>, findings: &mut Findings) -> RestartPolicy {
    let policies = [
        ("Always", RestartPolicy::Always),
        ("OnFailure", RestartPolicy::OnFailure),
        ("Never", RestartPolicy::Never),
    ];
    pod.one_of("restartPolicy", &policies, findings)
        .unwrap_or_default()
}
