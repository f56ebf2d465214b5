//! `riklet state repair`: what a damaged journal left open, with the daemon alive or dead.

use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, counted, table},
};
use crate::{
    api::ClientError,
    book::Book as _,
    clock::Clock,
    config::Config,
    error_chain::one_line,
    ledger::{self, DirLock, Ledger, LockError, OpenOptions, offline},
    model::line::{DegradedMode, Event},
    view::{self, Live, RepairView},
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --accept nothing is changed. No byte of the journal is changed either \
way: what is damaged\nstays where it is, as history.\n
With --accept every instance in doubt goes on as the lines that are left say. To have it\n\
otherwise, instruct it: apply or delete it.

Examples:
  riklet state repair
  riklet state repair -o json | jq -r '.doubted[].instance'
  riklet state repair --accept"
)]
pub(super) struct Args {
    /// What is known holds from now on
    #[arg(long)]
    accept: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let config = args.node.config();
    let asked = args
        .node
        .answered(|mut client| async move { client.repair(args.accept).await });
    let mut view = match asked? {
        Ok(view) => view,
        Err(ClientError::Unreachable { .. }) if args.accept => accept(&config)?,
        Err(ClientError::Unreachable { .. }) => look(&config)?,
        Err(error) => return Err(error.into()),
    };
    let verdict = offline::verify(&config.state_dir).map_err(|e| CliError::failed(&e))?;
    view.damage = verdict.damage.iter().map(ToString::to_string).collect();
    args.output.print(&view, |view, _| text(view))
}

/// What is open where no daemon lives: by the journal alone, for the store isn't opened.
fn look(config: &Config) -> Result<RepairView, CliError> {
    let mut snapshot = super::records::load(&config.state_dir)?;
    if let Some(doubt) = ledger::doubt(&snapshot.fold, &snapshot.damage) {
        // So the next start marks them, unless the store has what is lost.
        snapshot.fold.doubt(&doubt.uids, &doubt.why);
    }
    Ok(view::repair(&snapshot.fold, &Live::default()))
}

/// Accepts what is known where no daemon lives, as the owner of the state directory.
fn accept(config: &Config) -> Result<RepairView, CliError> {
    let lock = DirLock::take(&config.state_dir).map_err(|error| match error {
        LockError::Held { .. } => CliError::says(format!(
            "{}; --socket says where it listens",
            one_line(&error)
        )),
        other => CliError::failed(&other),
    })?;
    let clock = Clock::system().map_err(|e| CliError::failed(&e))?;
    let options = OpenOptions::new(&config.state_dir, clock);
    let (ledger, opening) = Ledger::open(options).map_err(|e| CliError::failed(&e))?;
    let mut view = ledger.read(|fold| view::repair(fold, &Live::default()));
    let failed = |e| CliError::failed(&e);
    if opening.boot_changed {
        ledger.record(Event::Boot {}).map_err(failed)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|e| CliError::says(format!("cannot start a runtime: {e}")))?;
    runtime.block_on(ledger.accept_damage()).map_err(failed)?;
    let snapshot = ledger.snapshot_now();
    snapshot.map_err(|e| CliError::says(format!("a snapshot can't be written: {e}")))?;
    let mode = DegradedMode::JournalDamaged;
    if ledger.read(|fold| fold.node.degraded.contains_key(&mode)) {
        ledger
            .record(Event::DegradedLeft { mode })
            .map_err(failed)?;
    }
    ledger.close().map_err(failed)?;
    drop(lock);
    view.accepted = true;
    Ok(view)
}

fn text(view: &RepairView) -> String {
    let mut parts = Vec::new();
    match view.damage.len() {
        0 => parts.push("the journal is sound".to_owned()),
        n => {
            parts.push(format!("{} of the journal:", counted(n, "damaged place")));
            parts.extend(view.damage.iter().map(|damage| format!("  {damage}")));
        }
    }
    let known = "what is known of it holds from now on";
    match (view.doubted.len(), view.accepted) {
        (0, _) => parts.push("no instance is in doubt".to_owned()),
        (n, true) => parts.push(format!("{} in doubt: {known}", counted(n, "instance"))),
        (n, false) => parts.push(format!(
            "{} in doubt, neither started nor stopped until an instruction names it or `riklet \
             state repair --accept`:",
            counted(n, "instance")
        )),
    }
    if !view.doubted.is_empty() {
        let rows = view.doubted.iter().map(|d| {
            [
                d.instance.clone(),
                d.desired.clone(),
                d.generation.to_string(),
                d.state.clone(),
                d.why.clone(),
            ]
        });
        let heads = ["INSTANCE", "SHALL", "GENERATION", "STATE", "LOST"];
        parts.push(table(heads, rows));
    }
    for unclaimed in &view.unclaimed {
        let named = unclaimed.instance.as_deref().unwrap_or("no instance");
        parts.push(format!(
            "{} is unclaimed (its mark names {named}): left running; `riklet delete {}` removes it",
            unclaimed.uid, unclaimed.uid
        ));
    }
    parts.join("\n")
}
