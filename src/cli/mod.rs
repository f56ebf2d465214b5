//! The command line: one file a subcommand.
//!
//! Owns: flags, exit codes, tables. In: arguments. Out: documents of [`view`](crate::view) on
//! stdout, one line on stderr where something went wrong. Must never happen here: a decision
//! about instances; the daemon decides, the views say.
//!
//! Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 the daemon can't be reached.

mod apply;
mod completion;
mod config;
mod delete;
mod describe;
mod doctor;
mod drain;
mod dry_run;
mod error;
mod events;
mod exec;
mod explain;
mod help;
mod images;
mod leaks;
mod lines;
mod logs;
mod node;
mod output;
mod plan;
mod ps;
mod records;
mod repair;
mod run;
mod state;
mod status;

use clap::{FromArgMatches as _, Parser, Subcommand};

pub use error::CliError;

/// The node agent of a RIK cluster: makes what should run true, and keeps it true.
#[derive(Debug, Parser)]
#[command(name = "riklet", version, styles = help::STYLES, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node agent
    Run(run::Args),
    /// List instances
    Ps(ps::Args),
    /// Show everything about an instance
    Describe(describe::Args),
    /// Run a definition
    Apply(apply::Args),
    /// Destroy an instance
    Delete(delete::Args),
    /// Print what a container wrote
    Logs(logs::Args),
    /// Run a command in a container
    Exec(exec::Args),
    /// Show the node, its link and what is degraded
    Status(status::Args),
    /// Stop every instance until `uncordon`, also across a reboot
    Drain(drain::Args),
    /// Run every instance again
    Uncordon(drain::Args),
    /// Show what would be done now, and why
    Plan(plan::Args),
    /// Tell why an instance is as it is
    Explain(explain::Args),
    /// Show what is on the node and shouldn't be
    Leaks(leaks::Args),
    /// Print what happened, as it happened
    Events(events::Args),
    /// Read the records themselves
    State(state::Args),
    /// List, pull and prune images
    Images(images::Args),
    /// Check whether this machine can be a node
    Doctor(doctor::Args),
    /// Check or print the settings
    Config(config::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
}

/// Reads the arguments; help and usage errors end the process (0 and 2).
#[must_use]
pub fn parse() -> Cli {
    let matches = help::command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit())
}

/// Logs go to stderr: of the daemon as it was told, of other commands only warnings.
pub fn init_tracing(cli: &Cli) {
    match &cli.command {
        Command::Run(args) => args.log.init(),
        _ => run::LogFlags::default().init(),
    }
}

/// Does what the arguments say.
///
/// # Errors
/// What was tried and why it failed, with the exit code that it means.
pub fn execute(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Run(args) => run::execute(&args),
        Command::Ps(args) => ps::execute(&args),
        Command::Describe(args) => describe::execute(&args),
        Command::Apply(args) => apply::execute(&args),
        Command::Delete(args) => delete::execute(&args),
        Command::Logs(args) => logs::execute(&args),
        Command::Exec(args) => exec::execute(&args),
        Command::Status(args) => status::execute(&args),
        Command::Drain(args) => drain::execute(&args, drain::Direction::Drain),
        Command::Uncordon(args) => drain::execute(&args, drain::Direction::Uncordon),
        Command::Plan(args) => plan::execute(&args),
        Command::Explain(args) => explain::execute(&args),
        Command::Leaks(args) => leaks::execute(&args),
        Command::Events(args) => events::execute(&args),
        Command::State(args) => state::execute(&args),
        Command::Images(args) => images::execute(&args),
        Command::Doctor(args) => doctor::execute(&args),
        Command::Config(args) => config::execute(&args),
        Command::Completion(args) => completion::execute(&args),
    }
}

#[cfg(test)]
mod tests;
