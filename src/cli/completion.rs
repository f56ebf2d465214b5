//! `riklet completion SHELL`

use clap_complete::Shell;

use super::{CliError, help, output::print};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  riklet completion bash > /etc/bash_completion.d/riklet
  riklet completion zsh > \"${fpath[1]}/_riklet\"")]
pub(super) struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "riklet", &mut script);
    print(&String::from_utf8_lossy(&script))
}
