//! `riklet ps`

use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, age, now, or_dash, table},
};
use crate::view::PsRow;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  riklet ps                  one line an instance
  riklet ps -o wide          with uid, generation, address and images
  riklet ps -o json | jq -r '.[] | select(.state == \"Failed\").instance'")]
pub(super) struct Args {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    let rows = args
        .node
        .ask(|mut client| async move { client.ps().await })?;
    args.output.print(&rows, |rows, wide| {
        if rows.is_empty() {
            return "no instances".to_owned();
        }
        text(rows, wide, now().map(|now| now.at))
    })
}

pub(super) fn text(rows: &[PsRow], wide: bool, now: Option<jiff::Timestamp>) -> String {
    let short = rows.iter().map(|row| {
        [
            row.instance.clone(),
            ready(row),
            state(row),
            row.restarts.to_string(),
            row.source.clone(),
            age(row.created_at, now),
        ]
    });
    if !wide {
        return table(
            ["INSTANCE", "READY", "STATE", "RESTARTS", "SOURCE", "AGE"],
            short,
        );
    }
    let long = short.zip(rows).map(|(short, row)| {
        let [instance, ready, state, restarts, source, age] = short;
        let mut images: Vec<&str> = row.containers.iter().map(|c| c.image.as_str()).collect();
        images.dedup();
        let generation = row.generation.to_string();
        let (uid, ip, images) = (row.uid.clone(), or_dash(row.ip.as_ref()), images.join(","));
        [
            instance, ready, state, restarts, source, age, uid, generation, ip, images,
        ]
    });
    table(
        [
            "INSTANCE",
            "READY",
            "STATE",
            "RESTARTS",
            "SOURCE",
            "AGE",
            "UID",
            "GENERATION",
            "IP",
            "IMAGES",
        ],
        long,
    )
}

/// As kubectl counts: init containers that run to their end are none of those that serve.
fn ready(row: &PsRow) -> String {
    let serving = || row.containers.iter().filter(|c| c.serves());
    let ready = serving().filter(|c| c.is_ready());
    format!("{}/{}", ready.count(), serving().count())
}

fn state(row: &PsRow) -> String {
    match &row.reason {
        Some(reason) => format!("{} ({reason})", row.state),
        None => row.state.clone(),
    }
}
