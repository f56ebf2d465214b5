//! Reading a definition (RIK's JSON, a Kubernetes v1 Pod) into a [`WorkloadSpec`].
//!
//! Owns: which fields there are, their limits and defaults. In: the text as it came from a
//! source. Out: the model and what was ignored, or every fault at once, each with its path. Must
//! never happen here: a panic, whatever the text, or a value of the text in a message, for any
//! value may be a secret.

mod container;
mod reader;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ids::InstanceId,
    spec::{RestartPolicy, WorkloadSpec},
    state::Reason,
};
use container::{containers, label_like};
use reader::{Fields, Findings, text};

/// The longest definition, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most containers of one workload.
pub const MAX_CONTAINERS: usize = 64;

/// Seconds between SIGTERM and SIGKILL where a definition doesn't say.
pub const DEFAULT_GRACE_SECONDS: u32 = 30;

/// A week: a longer grace is a mistake in its unit.
const MAX_GRACE_SECONDS: u64 = 7 * 24 * 3600;

/// The path of the definition itself.
const WHOLE: &str = "definition";

/// A field of a definition that riklet knows of and doesn't act on, or doesn't know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The field's path: `spec.containers[0].foo`.
    pub path: String,
    /// What is done about it, in a sentence.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.message)
    }
}

/// What becomes of a field that has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// A fault: manifests and the command line, where a person can mend it. YAML is read too.
    Strict,
    /// A warning: the scheduler, which may know more than this riklet. JSON only.
    Lenient,
}

/// A definition that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Its model.
    pub spec: WorkloadSpec,
    /// What of it has no effect.
    pub warnings: Vec<Warning>,
}

/// Why a definition can't be taken: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(.faults))]
pub struct DefinitionError {
    /// InvalidDefinition, or Unsupported where nothing else is wrong.
    pub reason: Reason,
    /// Each fault with its path; at least one.
    pub faults: Vec<Warning>,
}

fn listed(faults: &[Warning]) -> String {
    let texts: Vec<String> = faults.iter().map(Warning::to_string).collect();
    texts.join("; ")
}

impl DefinitionError {
    fn one(message: impl Into<String>) -> Self {
        Self {
            reason: Reason::InvalidDefinition,
            faults: vec![Warning {
                path: WHOLE.to_owned(),
                message: message.into(),
            }],
        }
    }
}

/// Reads a definition.
///
/// # Errors
/// Every fault there is, each with its path.
pub fn parse(text: &str, strictness: Strictness) -> Result<Parsed, DefinitionError> {
    if text.len() > MAX_BYTES {
        return Err(DefinitionError::one(format!(
            "has {} bytes, the limit is {MAX_BYTES}",
            text.len()
        )));
    }
    let value = value_of(text, strictness)?;
    let mut findings = Findings::new(strictness);
    let spec = if findings.check_everywhere(&value, WHOLE, 0) {
        workload(&value, strictness, &mut findings)
    } else {
        None
    };
    match spec {
        Some(spec) if !findings.has_faults() => Ok(Parsed {
            spec,
            warnings: findings.into_warnings(),
        }),
        _ => {
            let (reason, faults) = findings.into_faults();
            Err(DefinitionError { reason, faults })
        }
    }
}

fn value_of(text: &str, strictness: Strictness) -> Result<Value, DefinitionError> {
    let json = text.trim_start().starts_with('{');
    if json || strictness == Strictness::Lenient {
        // serde_json's message says what and where, and quotes nothing of the text; it stops at
        // 128 levels.
        return serde_json::from_str(text)
            .map_err(|e| DefinitionError::one(format!("is not JSON: {e}")));
    }
    serde_saphyr::from_str(text).map_err(|e| {
        // Its message may quote the text, which may hold secrets: the place must do.
        let place = e.location().map_or(String::new(), |at| {
            format!(": see line {} column {}", at.line(), at.column())
        });
        DefinitionError::one(format!("is neither JSON nor YAML{place}"))
    })
}

fn workload(
    value: &Value,
    strictness: Strictness,
    findings: &mut Findings,
) -> Option<WorkloadSpec> {
    let mut top = Fields::of(value, WHOLE, findings)?;
    top.string("apiVersion", findings);
    // RIK: how many copies the scheduler places; this node is told of each.
    top.pass(&["replicas", "status"]);
    kind(&mut top, findings);
    let name = workload_name(&mut top, strictness, findings);
    let Some(spec) = top.get("spec") else {
        findings.fault("spec", "is missing");
        top.finish(findings);
        return None;
    };
    top.finish(findings);
    let mut pod = Fields::of(spec, "spec", findings)?;
    let containers = containers(&mut pod, findings);
    let spec = WorkloadSpec {
        name: name.unwrap_or_default(),
        containers,
        restart_policy: restart_policy(&mut pod, findings),
        grace_seconds: pod
            .number(
                "terminationGracePeriodSeconds",
                0..=MAX_GRACE_SECONDS,
                findings,
            )
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(DEFAULT_GRACE_SECONDS),
        host_network: pod.boolean("hostNetwork", findings),
        hostname: hostname(&mut pod, findings),
        ..WorkloadSpec::default()
    };
    pod.no_effect(POD_WITHOUT_EFFECT, findings);
    pod.finish(findings);
    Some(spec)
}

/// Kubernetes' fields of a Pod that riklet doesn't act on, with what happens anyway.
const POD_WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    ("activeDeadlineSeconds", &[]),
    ("affinity", &[]),
    ("automountServiceAccountToken", &[]),
    ("dnsConfig", &[]),
    ("dnsPolicy", &["ClusterFirst", "Default"]),
    ("enableServiceLinks", &[]),
    ("ephemeralContainers", &[]),
    ("hostAliases", &[]),
    ("hostIPC", &[]),
    ("hostPID", &[]),
    ("hostUsers", &[]),
    ("imagePullSecrets", &[]),
    ("initContainers", &[]),
    ("nodeName", &[]),
    ("nodeSelector", &[]),
    ("os", &[]),
    ("preemptionPolicy", &["PreemptLowerPriority"]),
    ("priority", &[]),
    ("priorityClassName", &[]),
    ("readinessGates", &[]),
    ("resources", &[]),
    ("runtimeClassName", &[]),
    ("schedulerName", &["default-scheduler"]),
    ("securityContext", &[]),
    ("serviceAccount", &["default"]),
    ("serviceAccountName", &["default"]),
    ("setHostnameAsFQDN", &[]),
    ("shareProcessNamespace", &[]),
    ("subdomain", &[]),
    ("tolerations", &[]),
    ("topologySpreadConstraints", &[]),
    ("volumes", &[]),
];

fn kind(top: &mut Fields<'_>, findings: &mut Findings) {
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
        _ => findings.unsupported("kind", "is not a kind that riklet runs; it must be \"Pod\""),
    }
}

fn workload_name(
    top: &mut Fields<'_>,
    strictness: Strictness,
    findings: &mut Findings,
) -> Option<String> {
    let (name, path) = match (top.get("name"), top.get("metadata")) {
        (Some(name), _) => (Some(name), "name"),
        // Of a Kubernetes Pod's metadata only the name means something here.
        (None, Some(metadata)) => (
            Fields::of(metadata, "metadata", findings)?.get("name"),
            "metadata.name",
        ),
        (None, None) => (None, "name"),
    };
    let Some(name) = name else {
        findings.fault(path, "is missing");
        return None;
    };
    let name = text(name, path, findings)?;
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

fn restart_policy(pod: &mut Fields<'_>, findings: &mut Findings) -> RestartPolicy {
    match pod.string("restartPolicy", findings) {
        None | Some("Always") => RestartPolicy::Always,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        Some(_) => {
            findings.fault("spec.restartPolicy", "must be Always, OnFailure or Never");
            RestartPolicy::Always
        }
    }
}

fn hostname(pod: &mut Fields<'_>, findings: &mut Findings) -> Option<String> {
    let name = pod.string("hostname", findings)?;
    if !label_like(name, &[]) {
        findings.fault(
            "spec.hostname",
            "must have 1 to 63 letters, digits and '-', with a letter or digit at either end",
        );
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
