//! `riklet status`

use jiff::Timestamp;

use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, age, facts, now, waiting},
};
use crate::view::{Degraded, LinkState, StatusView, size};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  riklet status
  riklet status -o json | jq '.degraded'")]
pub(super) struct Args {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let view = args
        .node
        .ask(|mut client| async move { client.status().await })?;
    args.output
        .print(&view, |view, _| text(view, now().map(|now| now.at)))
}

fn text(view: &StatusView, now: Option<Timestamp>) -> String {
    let lines = |items: Vec<String>| items.join("\n");
    facts(&[
        ("Node", view.node.clone()),
        ("Uid", view.node_uid.clone().unwrap_or_default()),
        ("riklet", daemon(view, now)),
        ("Boot", view.boot.clone()),
        ("Scheduler", link(view, now)),
        (
            "Drained",
            if view.drained {
                "yes: instances stay stopped until `riklet uncordon`".to_owned()
            } else {
                "no".to_owned()
            },
        ),
        ("Instances", instances(view)),
        (
            "Journal",
            format!(
                "written to line {}, durable to line {}",
                view.seq.written, view.seq.durable
            ),
        ),
        ("Unacknowledged", waiting(view.unacknowledged, view.dropped)),
        (
            "Degraded",
            match view.degraded.len() {
                0 => "no".to_owned(),
                _ => lines(view.degraded.iter().flat_map(degraded).collect()),
            },
        ),
        ("Images", images(view)),
        (
            "Manifests",
            lines(
                view.manifest_faults
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            ),
        ),
        (
            "Refused",
            lines(
                view.refused
                    .iter()
                    .map(|r| {
                        format!(
                            "{:?} from {} at {}, {}: {}",
                            r.instance, r.source, r.at, r.reason, r.message
                        )
                    })
                    .collect(),
            ),
        ),
        ("Notes", lines(view.notes.clone())),
    ])
}

/// What is wrong, what riklet does meanwhile, what to do: a line each.
fn degraded(degraded: &Degraded) -> [String; 3] {
    [
        format!("{}: {}", degraded.mode, degraded.detail),
        format!("  meanwhile: {}", degraded.meanwhile),
        format!("  mend: {}", degraded.mend),
    ]
}

fn daemon(view: &StatusView, now: Option<Timestamp>) -> String {
    let mut text = view.version.clone();
    if let Some(pid) = view.pid {
        text.push_str(&format!(", pid {pid}"));
    }
    if view.since.is_some() {
        text.push_str(&format!(", for {}", age(view.since, now)));
    }
    text
}

fn link(view: &StatusView, now: Option<Timestamp>) -> String {
    let link = &view.link;
    if link.state == LinkState::Standalone {
        return "none (standalone)".to_owned();
    }
    let mut text = format!(
        "{} at {}",
        link.state,
        link.scheduler.as_deref().unwrap_or("an unknown address")
    );
    if link.since.is_some() {
        text.push_str(&format!(", for {}", age(link.since, now)));
    }
    if let Some(error) = &link.error {
        text.push_str(&format!(": {error}"));
    }
    text
}

fn images(view: &StatusView) -> String {
    let Some(taken) = &view.images else {
        return String::new();
    };
    let full = taken.full_percent.map_or_else(String::new, |percent| {
        format!("; their filesystem is {percent}% full")
    });
    format!("{}, {}{full}", taken.images, size(taken.bytes))
}

fn instances(view: &StatusView) -> String {
    let c = &view.instances;
    let mut parts = vec![c.total.to_string()];
    for (count, what) in [
        (c.running, "running"),
        (c.creating, "creating"),
        (c.failed, "failed"),
        (c.destroying, "being destroyed"),
        (c.terminated, "completed"),
        (c.in_doubt, "in doubt"),
        (c.unclaimed, "unclaimed"),
        (c.forgotten, "forgotten by the scheduler"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join(", ")
}
