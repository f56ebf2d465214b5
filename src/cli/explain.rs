//! `riklet explain ID`

use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, now},
    records,
};
use crate::view;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Told from the journal: works with the daemon alive or dead, and of \
instances that are gone.

Examples:
  riklet explain web
  riklet explain web -o json | jq -r .why"
)]
pub(super) struct Args {
    /// Its id, its uid, or its name while only one instance has it
    #[arg(value_name = "ID")]
    instance: String,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let state_dir = args.node.config().state_dir;
    let snapshot = records::load(&state_dir)?;
    // One at a time: a history may be bigger than the memory.
    let mut broken = None;
    let lines =
        records::lines(&state_dir, 1)?.map_while(|line| line.map_err(|e| broken = Some(e)).ok());
    let view = view::explain(&snapshot.fold, lines, &args.instance, now().as_ref());
    if let Some(error) = broken {
        return Err(error);
    }
    let view = view?;
    args.output.print(&view, |view, _| text(view))
}

fn text(view: &view::ExplainView) -> String {
    let mut text = format!("{}\n", view.why);
    for next in &view.next {
        text.push_str(&format!("next: {next}\n"));
    }
    text.push('\n');
    let mut day = String::new();
    for step in &view.story {
        let today = step.at.strftime("%Y-%m-%d").to_string();
        if today != day {
            text.push_str(&format!("{today}\n"));
            day = today;
        }
        let time = step.at.strftime("%H:%M:%S%.3fZ");
        let state = step
            .state
            .as_ref()
            .map(|state| format!("  => {state}"))
            .unwrap_or_default();
        let what = step.what.replace(char::is_control, " ");
        text.push_str(&format!("  {time}  {what}{state}  [{}]\n", step.seq));
    }
    text
}
