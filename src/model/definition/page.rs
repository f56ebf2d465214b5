//! docs/definition.md, made of the table of fields.

use std::fmt::Write as _;

use super::{
    MAX_BYTES, MAX_CONTAINERS, OBJECTS,
    fields::{Field, Object, Treatment},
};

/// What makes the page anew.
pub const REGENERATE: &str = "cargo run --features testing --example definition_page";

const HEAD: &str = "\
# Definitions

What riklet reads of a definition: RIK's JSON, or a Kubernetes v1 Pod in JSON or YAML. This page \
is made of the table that the parser itself reads by (`src/model/definition/tables.rs`); a test \
feeds it a sample of every row.

A text may hold several documents (`---`, JSON objects one after the other, or a `kind: List`, also \
`PodList`): Pods, and the ConfigMaps and Secrets that they name, which may also stand in other files that are \
read with it. Each Pod is an instance of its own. What a Pod refers to is read when its \
definition is; a later change of a ConfigMap counts when the Pod is applied again.

What is done about a field:

- **yes**: done as the field says.
- **silent**: taken without a word, for it says nothing to a node.
- **ignored**: no effect, with a warning, from any source; what runs here is the same without it.
- **refused**: a fault for manifests and the command line, where a person can mend it; for the \
scheduler a warning.
- **never**: a fault from any source, for what would run is another workload.

A field that is in none of these tables is refused as *refused* is. A field that is null, false, \
an empty text, list or object says nothing and is fine. One that stands twice is a fault, \
but from the scheduler, where the last one counts. All faults of a definition come at once, \
each with its path (`spec.containers[0].foo`); none quotes a value, for any may be a secret.

`riklet apply --dry-run -f FILE` reads a file without a daemon and prints the model that would \
run, or all faults.
";

const LIMITS: &str = "
## Further rules

- A text has at most {MAX_BYTES} bytes, 32 levels and no NUL; what its references stand for at \
most 1 MiB; a Pod at most {MAX_CONTAINERS} containers.
- Names of containers are unique over `containers` and `initContainers`; names of volumes, mount \
paths of a container and host ports are unique too; mounts name volumes, probes name ports of \
their container.
- `runAsNonRoot` with `runAsUser: 0`, and `allowPrivilegeEscalation: false` with `privileged` or \
SYS_ADMIN, contradict each other: a fault.
- YAML is read as Kubernetes does: `0400` is octal. Anchors and aliases work, as far as what they \
make stays small.
- What a source may ask for of all this (privileged, host network, host paths …) is the node's \
policy, which is looked at after the definition was read.
";

/// The page.
#[must_use]
pub fn page() -> String {
    let mut page = format!("<!-- Made by `{REGENERATE}`; do not edit. -->\n\n{HEAD}");
    for object in OBJECTS {
        section(&mut page, object);
    }
    let limits = LIMITS
        .replace("{MAX_BYTES}", &MAX_BYTES.to_string())
        .replace("{MAX_CONTAINERS}", &MAX_CONTAINERS.to_string());
    page.push_str(&limits);
    page
}

fn section(page: &mut String, object: &Object) {
    let at = match object.at {
        "" => "A definition".to_owned(),
        // The number only says where the test has one.
        at => format!("`{}`", numberless(at)),
    };
    let _ = writeln!(page, "\n## {at}\n");
    if !object.says.is_empty() {
        let _ = writeln!(page, "{}\n", object.says.trim());
    }
    page.push_str("| Field | | |\n|---|---|---|\n");
    for field in object.fields {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} |",
            field.name,
            word(field.treatment),
            says(field)
        );
    }
}

fn numberless(at: &str) -> String {
    at.split('[')
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join("[")
}

fn word(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Supported => "yes",
        Treatment::Silent => "silent",
        Treatment::Ignored => "ignored",
        Treatment::Refused => "refused",
        Treatment::Never => "never",
    }
}

fn says(field: &Field) -> String {
    let mut says = field.says.to_owned();
    if !field.anyway.is_empty() {
        let _ = write!(says, " (fine: {})", field.anyway.join(", "));
    }
    says
}
