//! `riklet drain` and `riklet uncordon`

use super::{CliError, node::NodeFlags, output::OutputFlags};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "`drain` keeps what is desired: `uncordon` runs it again. \
It holds across restarts and reboots."
)]
pub(super) struct Args {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

/// Which of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Drain,
    Uncordon,
}

pub(super) fn execute(args: &Args, direction: Direction) -> Result<(), CliError> {
    let answer = args.node.ask(|mut client| async move {
        match direction {
            Direction::Drain => client.drain().await,
            Direction::Uncordon => client.uncordon().await,
        }
    })?;
    args.output.print(&answer, |a, _| {
        match (a.drained, a.already) {
            (true, false) => "the node is drained: instances are being stopped",
            (true, true) => "the node was drained already",
            (false, false) => "the node is uncordoned: instances run again",
            (false, true) => "the node was not drained",
        }
        .to_owned()
    })
}
