//! `riklet describe ID`

use jiff::Timestamp;

use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, age, facts, now, or_dash, waiting},
};
use crate::view::{ContainerDescription, DescribeView, ExitView, PullView, Secrets};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  riklet describe web                  what it is, what it runs, how it ended last
  riklet describe web@manifest -o yaml --show-secrets")]
pub(super) struct Args {
    /// Its id, its uid, or its name while only one instance has it
    #[arg(value_name = "ID")]
    instance: String,
    /// Show environment values instead of ***
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let secrets = if args.show_secrets {
        Secrets::Shown
    } else {
        Secrets::Hidden
    };
    let view = args
        .node
        .ask(|mut client| async move { client.describe(&args.instance, secrets).await })?;
    args.output
        .print(&view, |view, _| text(view, now().map(|now| now.at)))
}

fn text(view: &DescribeView, now: Option<Timestamp>) -> String {
    let state = match &view.reason {
        Some(reason) => format!("{} ({reason})", view.state),
        None => view.state.clone(),
    };
    let warnings: Vec<String> = view.warnings.iter().map(ToString::to_string).collect();
    let dropped = view.unacknowledged.iter().map(|entry| entry.gap).sum();
    let unacknowledged = waiting(view.unacknowledged.len(), dropped);
    let mut text = facts(&[
        ("Instance", view.instance.clone()),
        ("Uid", view.uid.clone()),
        ("Source", view.source.clone()),
        ("State", state),
        ("Why", view.message.clone().unwrap_or_default()),
        ("Desired", view.desired.clone()),
        ("Generation", view.generation.to_string()),
        (
            "Accepted",
            format!(
                "{} ({} ago)",
                view.created_at,
                age(Some(view.created_at), now)
            ),
        ),
        ("Address", view.ip.clone().unwrap_or_default()),
        ("Ignored", warnings.join("\n")),
        ("Unacknowledged", unacknowledged),
        (
            "Uncertain",
            flag(view.uncertain, "its lines don't fit together"),
        ),
        ("In doubt", view.doubt.clone().unwrap_or_default()),
        ("Queued", flag(view.queued, "a create waits for its end")),
        ("Last line", view.last_seq.to_string()),
    ]);
    for container in &view.containers {
        text.push_str(&format!("\n\nContainer {}\n", container.name));
        let lines = facts(&of_container(view, container));
        text.push_str(&format!("  {}", lines.replace('\n', "\n  ")));
    }
    text
}

fn flag(on: bool, text: &str) -> String {
    if on { text.to_owned() } else { String::new() }
}

fn of_container(
    view: &DescribeView,
    container: &ContainerDescription,
) -> Vec<(&'static str, String)> {
    let state = match &container.reason {
        Some(reason) => format!("{} ({reason})", container.state),
        None => container.state.clone(),
    };
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    vec![
        ("Id", or_dash(container.id.as_ref())),
        ("State", state),
        (
            "Pid",
            container.pid.map(|p| p.to_string()).unwrap_or_default(),
        ),
        ("Started", time(container.started_at)),
        ("Restarts", container.restarts.to_string()),
        ("Next start", time(container.next_start_at)),
        ("SIGKILL", time(container.kill_at)),
        (
            "Monitor",
            flag(
                container.monitor_lost,
                "gone: the exit code may stay unknown",
            ),
        ),
        (
            "Last exit",
            container.last_exit.as_ref().map(exit).unwrap_or_default(),
        ),
        (
            "Last words",
            last_words(container.last_exit.as_ref()).unwrap_or_default(),
        ),
        ("Image", container.image.clone()),
        ("Digest", container.image_digest.clone().unwrap_or_default()),
        (
            "Image error",
            container.image_error.clone().unwrap_or_default(),
        ),
        (
            "Pull",
            container
                .pull
                .as_ref()
                .map_or_else(String::new, PullView::words),
        ),
        ("Environment", environment(view, &container.name)),
        ("Log", container.log.clone().unwrap_or_default()),
    ]
}

/// A termination message on one line, without what a terminal would act on.
fn last_words(exit: Option<&ExitView>) -> Option<String> {
    let message = exit?.message.as_deref()?.trim_end();
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    Some(message.chars().map(plain).collect())
}

fn environment(view: &DescribeView, container: &str) -> String {
    let spec = view.spec.clone().unwrap_or_default();
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    list(&spec["containers"])
        .iter()
        .filter(|c| c["name"] == container)
        .flat_map(|c| list(&c["env"]))
        .map(|v| {
            let (name, value) = (v["name"].as_str(), v["value"].as_str());
            format!("{}={}", name.unwrap_or_default(), value.unwrap_or_default())
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn exit(exit: &ExitView) -> String {
    let how = match (&exit.error, exit.signal, exit.code) {
        (Some(error), _, _) => format!("never ran: {error}"),
        (None, Some(signal), _) => format!("signal {signal}"),
        (None, None, Some(code)) => format!("code {code}"),
        (None, None, None) => "code unknown".to_owned(),
    };
    let oom = if exit.oom { ", out of memory" } else { "" };
    let reason = exit
        .reason
        .as_ref()
        .map(|r| format!(" ({r})"))
        .unwrap_or_default();
    format!(
        "attempt {}: {how}{oom}{reason} at {}",
        exit.attempt, exit.at
    )
}
