//! `riklet apply --dry-run`: what would run, or everything that is wrong, without a daemon.

use serde::Serialize;
use serde_json::Value;

use super::{
    CliError,
    output::{OutputFlags, counted, warn},
};
use crate::{
    model::{
        definition::{Parsed, Strictness, Warning, documents, parse},
        ids::{InstanceId, Source},
    },
    view::{Secrets, shown_spec},
};

/// What it says: `{"runnable","workloads":[{"name","instance","file","spec"}],
/// "warnings":[{"file","workload","path","message"}],"faults":[…]}`.
#[derive(Debug, Default, Serialize)]
struct DryRun {
    /// Would all of it run?
    runnable: bool,
    /// The models of the Pods that would.
    workloads: Vec<Workload>,
    warnings: Vec<Finding>,
    faults: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Workload {
    name: String,
    /// What its id would be.
    instance: String,
    /// Where it stands.
    file: String,
    /// The internal model; values that may be secrets as `***`.
    spec: Value,
    #[serde(skip)]
    containers: usize,
}

#[derive(Debug, Serialize)]
struct Finding {
    /// Where it stands.
    file: String,
    /// The Pod's name, where it can be told.
    workload: Option<String>,
    path: String,
    message: String,
}

/// Reads files, each a name and a text, as `apply` would; ends with 1 if any would be refused.
pub(super) fn execute(
    files: &[(String, String)],
    secrets: Secrets,
    output: &OutputFlags,
) -> Result<(), CliError> {
    let answer = read(files, secrets);
    if answer.runnable {
        for finding in &answer.warnings {
            warn(&answer.line(finding));
        }
        return output.print(&answer, |a, _| people(a));
    }
    if output.is_document() {
        output.print(&answer, |_, _| String::new())?;
        return Err(CliError::told());
    }
    let mut line = String::new();
    let mut file = None;
    for fault in &answer.faults {
        let apart = if line.is_empty() { "" } else { "; " };
        line.push_str(apart);
        if file.replace(&fault.file) != Some(&fault.file) {
            line.push_str(&format!("{}: ", fault.file));
        }
        line.push_str(&answer.line(fault));
    }
    Err(CliError::says(line))
}

fn read(files: &[(String, String)], secrets: Secrets) -> DryRun {
    let mut answer = DryRun::default();
    for piece in documents::split(files) {
        let (file, name) = (piece.file, piece.name);
        let finding = |warning: Warning| Finding {
            file: file.clone(),
            workload: name.clone(),
            path: warning.path,
            message: warning.message,
        };
        if !piece.faults.is_empty() {
            answer.faults.extend(piece.faults.into_iter().map(finding));
            continue;
        }
        match parse(&piece.definition, Strictness::Strict) {
            Ok(Parsed { spec, warnings }) => {
                answer.warnings.extend(warnings.into_iter().map(finding));
                match InstanceId::local(&spec.name, Source::Cli) {
                    Ok(id) if answer.workloads.iter().any(|w| w.name == spec.name) => {
                        answer.faults.push(finding(Warning {
                            path: "name".to_owned(),
                            message: format!("is there twice: both would be {id}"),
                        }));
                    }
                    Ok(id) => answer.workloads.push(Workload {
                        name: spec.name.clone(),
                        file: file.clone(),
                        instance: id.to_string(),
                        containers: spec.containers.len(),
                        spec: shown_spec(&spec, secrets),
                    }),
                    Err(error) => answer.faults.push(finding(Warning {
                        path: "name".to_owned(),
                        message: error.to_string(),
                    })),
                }
            }
            Err(error) => answer.faults.extend(error.faults.into_iter().map(finding)),
        }
    }
    if answer.workloads.is_empty() && answer.faults.is_empty() {
        answer.faults.push(Finding {
            file: files
                .first()
                .map_or(String::new(), |(name, _)| name.clone()),
            workload: None,
            path: "definition".to_owned(),
            message: "has no Pod".to_owned(),
        });
    }
    answer.runnable = answer.faults.is_empty();
    answer
}

impl DryRun {
    /// A finding in a line; with its Pod's name where there are several.
    fn line(&self, finding: &Finding) -> String {
        let Finding { path, message, .. } = finding;
        let all = self.warnings.iter().chain(&self.faults);
        let mut names = all.map(|f| &f.workload).collect::<Vec<_>>();
        names.extend([&finding.workload]);
        let several = self.workloads.len() > 1 || names.iter().any(|n| *n != names[0]);
        match &finding.workload {
            Some(name) if several => format!("{name}: {path} {message}"),
            _ => format!("{path} {message}"),
        }
    }
}

/// A line for each workload, and its model below.
fn people(answer: &DryRun) -> String {
    let blocks = answer.workloads.iter().map(|workload| {
        let containers = counted(workload.containers, "container");
        let model = serde_saphyr::to_string(&workload.spec).unwrap_or_default();
        let model: String = model.lines().map(|line| format!("  {line}\n")).collect();
        format!(
            "{} is valid: {containers} (dry run)\n{model}",
            workload.instance
        )
    });
    blocks.collect::<Vec<_>>().join("")
}
