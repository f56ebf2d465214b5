//! `riklet plan [ID]`

use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, or_dash, table},
};
use crate::view::PlanView;

#[derive(Debug, clap::Args)]
#[command(after_help = "Nothing is done by asking. On a converged node there is nothing to do.")]
pub(super) struct Args {
    /// Only this instance
    #[arg(value_name = "ID")]
    instance: Option<String>,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let view = args
        .node
        .ask(|mut client| async move { client.plan(args.instance.as_deref()).await })?;
    args.output.print(&view, |view, _| text(view))
}

fn text(view: &PlanView) -> String {
    let held = view.held.iter();
    let held: Vec<_> = held.map(|h| format!("{}: {}", h.instance, h.why)).collect();
    let held = held.join("\n");
    match (view.instances.is_empty(), view.held.is_empty()) {
        (true, true) => "nothing to do".to_owned(),
        (true, false) => held,
        (false, true) => actions(view),
        (false, false) => format!("{}\n{held}", actions(view)),
    }
}

fn actions(view: &PlanView) -> String {
    let rows = view.instances.iter().flat_map(|instance| {
        instance.actions.iter().map(|action| {
            [
                instance.instance.clone(),
                action.action.clone(),
                or_dash(action.container.as_ref()),
                action.why.clone(),
            ]
        })
    });
    table(["INSTANCE", "ACTION", "CONTAINER", "WHY"], rows)
}
