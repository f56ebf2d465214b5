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
    if view.instances.is_empty() {
        return "nothing to do".to_owned();
    }
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
