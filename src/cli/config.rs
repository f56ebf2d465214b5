//! `riklet config check|print`

use std::path::PathBuf;

use clap::Subcommand;
use toml::{Table, Value};

use super::{CliError, node, output::print};
use crate::{
    config::{self, Config, Loaded, Origin, SETTINGS},
    error_chain::one_line,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Settings are taken from the defaults, then riklet.toml, then RIKLET_*, \
then the flags of `run`.

Examples:
  riklet config check --config new.toml
  riklet config print                     what holds, and where each value came from"
)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether the settings can be used
    Check(File),
    /// Print every setting as TOML, with where it came from
    Print(File),
}

#[derive(Debug, clap::Args)]
struct File {
    /// The settings file [default: /etc/riklet/riklet.toml] [env: RIKLET_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let (Action::Check(file) | Action::Print(file)) = &args.action;
    let layers = node::layers(file.config.clone());
    let loaded = config::load(&layers).map_err(|e| CliError::usage(one_line(&e)))?;
    match &args.action {
        Action::Check(_) => print(&format!(
            "the settings are good: {} set, the rest by default",
            loaded.origins.len()
        )),
        Action::Print(_) => print(&text(&loaded)?),
    }
}

/// Every setting in the order of the table, its value or that it is unset.
fn text(loaded: &Loaded) -> Result<String, CliError> {
    let table = Table::try_from::<&Config>(&loaded.config).map_err(|e| CliError::failed(&e))?;
    let mut lines = Vec::new();
    let mut section = "";
    for setting in SETTINGS {
        let (of, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if of != section {
            lines.push(format!("\n[{of}]"));
            section = of;
        }
        let mut steps = setting.key.split('.');
        let first = steps.next().and_then(|step| table.get(step));
        let value = steps.fold(first, |value, step| value?.get(step));
        lines.push(match value {
            Some(value) => {
                let origin = loaded.origins.get(setting.key).unwrap_or(&Origin::Default);
                format!("{:<52} # {origin}", format!("{name} = {}", inline(value)))
            }
            None => format!("# {name} is not set"),
        });
    }
    Ok(lines.join("\n"))
}

fn inline(value: &Value) -> String {
    value.to_string()
}
