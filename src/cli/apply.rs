//! `riklet apply -f FILE|-`

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    CliError, dry_run,
    node::NodeFlags,
    output::{OutputFlags, warn},
};
use crate::{
    error_chain::one_line,
    model::{
        definition::{MAX_BYTES, Parsed, Strictness, parse},
        ids::{InstanceId, Source},
    },
    view::Secrets,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The definition is RIK's JSON, or a Kubernetes v1 Pod in JSON or YAML. \
It runs as NAME@cli;
applied again it replaces what runs only where it describes another workload.

Examples:
  riklet apply -f web.json
  riklet apply --dry-run -f web.yaml       show what would run, without a daemon
  sed s/1.0/1.1/ web.json | riklet apply -f -"
)]
pub(super) struct Args {
    /// The definition's file, or - for stdin
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Only check the definition and show its model; needs no daemon
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

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let text = definition(&args.file)?;
    let place = match args.file.to_str() {
        Some("-") => "the definition on stdin".to_owned(),
        _ => args.file.display().to_string(),
    };
    if args.dry_run {
        let secrets = match args.show_secrets {
            true => Secrets::Shown,
            false => Secrets::Hidden,
        };
        return dry_run::execute(&place, text, secrets, &args.output);
    }
    let refused = |e: &dyn std::error::Error| CliError::says(format!("{place}: {e}"));
    // Checked here too: the faults then come with the file's name, and without a daemon.
    let Parsed { spec, .. } = parse(&text, Strictness::Strict).map_err(|e| refused(&e))?;
    InstanceId::local(&spec.name, Source::Cli).map_err(|e| refused(&e))?;
    let answer = args
        .node
        .ask(|mut client| async move { client.apply(text).await })?;
    for warning in &answer.warnings {
        warn(&warning.to_string());
    }
    args.output
        .print(&answer, |a, _| format!("{} {}", a.instance, a.outcome))
}

/// Reads the definition; one that is over the limit is not read to its end.
fn definition(path: &Path) -> Result<String, CliError> {
    let unreadable =
        |e: io::Error| CliError::says(format!("cannot read {}: {}", path.display(), one_line(&e)));
    let source: Box<dyn io::Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(path).map_err(unreadable)?),
    };
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    source
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    // Judged before it is taken for text: the cut may lie within a character.
    if bytes.len() > MAX_BYTES {
        return Err(CliError::says(format!(
            "{}: the definition has more than {MAX_BYTES} bytes, which is the limit",
            path.display()
        )));
    }
    String::from_utf8(bytes)
        .map_err(|e| CliError::says(format!("{} is not UTF-8: {e}", path.display())))
}
