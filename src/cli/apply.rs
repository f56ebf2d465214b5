//! `riklet apply -f FILE|DIR|-`

mod files;

use std::path::PathBuf;

use super::{
    CliError, dry_run,
    node::NodeFlags,
    output::{OutputFlags, warn},
};
use crate::{
    api::Applied,
    model::{
        definition::{
            Strictness,
            documents::{Piece, split},
            parse,
        },
        ids::{InstanceId, Source},
    },
    view::Secrets,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The definition is RIK's JSON, or a Kubernetes v1 Pod in JSON or YAML. A file may \
hold several,
with the ConfigMaps and Secrets that they name; of a directory all .yaml, .yml and .json files are
read. Each Pod runs as NAME@cli; applied again it replaces what runs only where it describes
another workload. If anything is wrong with any of them, nothing is applied.

Examples:
  riklet apply -f web.json
  riklet apply -f site/                    every Pod of a directory
  riklet apply --dry-run -f web.yaml       show what would run, without a daemon
  sed s/1.0/1.1/ web.json | riklet apply -f -"
)]
pub(super) struct Args {
    /// A file, a directory, or - for stdin; may be given several times
    #[arg(short, long, value_name = "FILE", required = true)]
    file: Vec<PathBuf>,
    /// Only check the definitions and show their models; needs no daemon
    #[arg(long)]
    dry_run: bool,
    /// Print environment values and the content of files in clear
    #[arg(long, requires = "dry_run")]
    show_secrets: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

/// A Pod that can be asked for.
struct Checked {
    instance: InstanceId,
    definition: String,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let files = files::read(&args.file)?;
    if args.dry_run {
        let secrets = match args.show_secrets {
            true => Secrets::Shown,
            false => Secrets::Hidden,
        };
        return dry_run::execute(&files, secrets, &args.output);
    }
    // Checked here too: the faults then come with the file's name, and without a daemon.
    let pods = checked(split(&files))?;
    let mut applied: Vec<Applied> = Vec::new();
    let mut failed: Vec<(InstanceId, CliError)> = Vec::new();
    for pod in pods {
        let answer = args
            .node
            .ask(|mut client| async move { client.apply(pod.definition).await });
        match answer {
            Ok(answer) => applied.push(answer),
            Err(error) => {
                // With nobody there the next one has no better luck.
                let last = error.is_unreachable();
                failed.push((pod.instance, error));
                if last {
                    break;
                }
            }
        }
    }
    for answer in &applied {
        for warning in &answer.warnings {
            warn(&warning.to_string());
        }
    }
    if !applied.is_empty() {
        show(args, &applied)?;
    }
    if failed.len() <= 1 {
        return failed.pop().map_or(Ok(()), |(_, error)| Err(error));
    }
    let lines: Vec<String> = failed
        .iter()
        .map(|(id, error)| format!("{id}: {}", error.line().unwrap_or("failed")))
        .collect();
    Err(CliError::says(lines.join("; ")))
}

/// Every Pod, or everything that is wrong with any of them.
fn checked(pieces: Vec<Piece>) -> Result<Vec<Checked>, CliError> {
    let (mut pods, mut faults): (Vec<Checked>, Vec<String>) = (Vec::new(), Vec::new());
    for piece in pieces {
        let file = &piece.file;
        let parsed = match parse(&piece.definition, Strictness::Strict) {
            _ if !piece.faults.is_empty() => Err(piece.faults),
            Ok(parsed) => Ok(parsed.spec),
            Err(error) => Err(error.faults),
        };
        let spec = match parsed {
            Ok(spec) => spec,
            Err(found) => {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                faults.push(format!("{file}: {}", found.join("; ")));
                continue;
            }
        };
        match InstanceId::local(&spec.name, Source::Cli) {
            Err(error) => faults.push(format!("{file}: {error}")),
            Ok(id) if pods.iter().any(|pod| pod.instance == id) => {
                faults.push(format!(
                    "{file}: there are two Pods of the name {}",
                    id.bare()
                ));
            }
            Ok(instance) => pods.push(Checked {
                instance,
                definition: piece.definition,
            }),
        }
    }
    if !faults.is_empty() {
        return Err(CliError::says(faults.join("; ")));
    }
    if pods.is_empty() {
        return Err(CliError::says("there is no Pod in it"));
    }
    Ok(pods)
}

/// One answer as it is; several as a list.
fn show(args: &Args, applied: &[Applied]) -> Result<(), CliError> {
    let line = |a: &Applied| format!("{} {}", a.instance, a.outcome);
    match applied {
        [only] => args.output.print(only, |a, _| line(a)),
        all => args.output.print(&all, |all, _| {
            let lines: Vec<String> = all.iter().map(line).collect();
            lines.join("\n")
        }),
    }
}
