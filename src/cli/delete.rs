//! `riklet delete ID`

use super::{CliError, node::NodeFlags, output::OutputFlags};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Returns once the destruction is durable; `riklet ps` shows it end. \
An instance of a manifest is
deleted by removing its file, one of the scheduler by the scheduler.

Examples:
  riklet delete web
  riklet delete --force web-3f2a     whoever it belongs to"
)]
pub(super) struct Args {
    /// Its id, its uid, or its name while only one instance has it; also of what is unclaimed
    #[arg(value_name = "ID")]
    instance: String,
    /// Whoever it belongs to
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let answer = args
        .node
        .ask(|mut client| async move { client.delete(&args.instance, args.force).await })?;
    args.output
        .print(&answer, |a, _| format!("{} is being destroyed", a.instance))
}
