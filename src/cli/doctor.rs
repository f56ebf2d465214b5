//! `riklet doctor`: can this machine be a node?

mod checks;
mod programs;

use serde::Serialize;

use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, table},
};
use crate::view::Degraded;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Looks and changes nothing. Exits with 1 if anything would keep riklet from \
running containers."
)]
pub(super) struct Args {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// riklet runs, with less.
    Warn,
    /// riklet can't run containers.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Check {
    check: &'static str,
    result: Verdict,
    /// What was found.
    found: String,
    /// What to do about it; empty where nothing needs to be done.
    mend: String,
}

impl Check {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            result: Verdict::Ok,
            found: found.into(),
            mend: String::new(),
        }
    }

    fn warn(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            result: Verdict::Warn,
            mend: mend.into(),
            ..Self::ok(check, found)
        }
    }

    fn fail(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            result: Verdict::Fail,
            ..Self::warn(check, found, mend)
        }
    }
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let config = args.node.config();
    let mut found = checks::machine(&config);
    found.extend(programs::all(&config));
    found.extend(checks::places(&config));
    found.extend(degraded(&args.node));
    args.output.print(&found, |found, _| text(found))?;
    if found.iter().any(|check| check.result == Verdict::Fail) {
        return Err(CliError::told());
    }
    Ok(())
}

/// What the daemon itself says is worse than it should be; nothing where none answers.
fn degraded(node: &NodeFlags) -> Vec<Check> {
    let view = node.ask(|mut client| async move { client.status().await });
    let modes = view.map(|view| view.degraded).unwrap_or_default();
    let check = |d: Degraded| Check::warn("degraded", format!("{}: {}", d.mode, d.detail), d.mend);
    modes.into_iter().map(check).collect()
}

fn text(found: &[Check]) -> String {
    let rows = found.iter().map(|check| {
        let result = match check.result {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let mend = match check.mend.as_str() {
            "" => String::new(),
            mend => format!("; {mend}"),
        };
        [
            check.check.to_owned(),
            result.to_owned(),
            format!("{}{mend}", check.found),
        ]
    });
    table(["CHECK", "RESULT", "FOUND"], rows)
}
