//! `riklet events [-f] [ID]`

use super::{CliError, lines::Printer, node::NodeFlags, output::OutputFlags, records};
use crate::{
    model::{
        ids::Seq,
        line::{Event, Line},
    },
    view::find,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Read from the journal: works with the daemon alive or dead. With -o json \
each line is a document.

Examples:
  riklet events --tail 20
  riklet events -f web                   watch one instance"
)]
pub(super) struct Args {
    /// Only of this instance
    #[arg(value_name = "ID")]
    instance: Option<String>,
    /// Wait for more
    #[arg(short, long)]
    follow: bool,
    /// Only the last N
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Show environment values instead of ***
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let state_dir = args.node.config().state_dir;
    let snapshot = records::load(&state_dir)?;
    let only = match &args.instance {
        None => None,
        Some(text) => Some(find(&snapshot.fold, text)?.instance().to_string()),
    };
    let wanted = |line: &Line, names: &records::Names| {
        is_news(&line.event) && (only.is_none() || names.instance(&line.event) == only)
    };
    Printer {
        state_dir: &state_dir,
        format: args.output.output,
        show_secrets: args.show_secrets,
        from: 1,
        to: Seq::MAX,
        tail: args.tail.or(args.follow.then_some(10)),
        wanted: &wanted,
        follow: args.follow,
    }
    .print(&snapshot.fold)
}

/// Lines that tell a person something; the others are the journal's own, or steps of a start.
fn is_news(event: &Event) -> bool {
    !matches!(
        event,
        Event::SegmentHeader { .. }
            | Event::SegmentSealed {}
            | Event::Acknowledged { .. }
            | Event::AttemptIntended { .. }
            | Event::Created { .. }
            | Event::StepRemoved { .. }
    )
}
