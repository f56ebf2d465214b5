//! `riklet state …`: the records themselves, with the daemon alive or dead.

use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    CliError,
    lines::Printer,
    node::NodeFlags,
    output::{OutputFlags, counted, or_dash, print, table, warn},
    records::{self, Names},
    repair,
};
use crate::{
    ledger::offline,
    model::{
        fold::{Fold, Piece},
        ids::Seq,
        line::Line,
    },
    view::{find, hide_secrets},
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Read from the journal alone: works with the daemon alive or dead, and \
changes nothing
(but for `repair --accept`).

Examples:
  riklet state ls
  riklet state log --from 100 web        the journal's lines about an instance, as sentences
  riklet state verify                    is every line as it was written?
  riklet state export --show-secrets > state.json"
)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List everything that is known, piece by piece
    Ls(Flags),
    /// Print one piece as JSON
    Get(Get),
    /// Print the journal's lines
    Log(Log),
    /// Check every line and snapshot
    Verify(Flags),
    /// Show what a damaged journal left open, and settle it
    Repair(repair::Args),
    /// Print everything that is known as one JSON document
    Export(Export),
}

#[derive(Debug, clap::Args)]
struct Flags {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

#[derive(Debug, clap::Args)]
struct Get {
    /// A piece as `state ls` names it, or an instance
    #[arg(value_name = "PIECE|ID")]
    piece: String,
    /// Show environment values instead of ***
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    node: NodeFlags,
}

#[derive(Debug, clap::Args)]
struct Log {
    /// Only lines about this instance
    #[arg(value_name = "ID")]
    instance: Option<String>,
    /// From this line on
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    from: Seq,
    /// Up to this line
    #[arg(long, value_name = "SEQ", default_value_t = Seq::MAX, hide_default_value = true)]
    to: Seq,
    /// Only the last N
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Show environment values instead of ***
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

#[derive(Debug, clap::Args)]
struct Export {
    /// Show environment values instead of ***: only then can the document take the state's place
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    match &args.action {
        Action::Ls(flags) => ls(flags),
        Action::Get(args) => get(args),
        Action::Log(args) => log(args),
        Action::Verify(flags) => verify(flags),
        Action::Repair(args) => repair::execute(args),
        Action::Export(args) => export(args),
    }
}

#[derive(Debug, Serialize)]
struct PieceRow {
    piece: String,
    instance: Option<String>,
    state: Option<String>,
    last_seq: Option<Seq>,
    bytes: usize,
}

fn ls(flags: &Flags) -> Result<(), CliError> {
    let fold = records::load(&flags.node.config().state_dir)?.fold;
    let rows: Vec<PieceRow> = fold
        .pieces()
        .into_iter()
        .map(|(piece, text)| piece_row(&fold, &piece, text.len()))
        .collect();
    flags.output.print(&rows, |rows, _| {
        table(
            ["PIECE", "INSTANCE", "STATE", "LAST LINE", "BYTES"],
            rows.iter().map(|row| {
                [
                    row.piece.clone(),
                    or_dash(row.instance.as_ref()),
                    or_dash(row.state.as_ref()),
                    or_dash(row.last_seq),
                    row.bytes.to_string(),
                ]
            }),
        )
    })
}

fn piece_row(fold: &Fold, piece: &Piece, bytes: usize) -> PieceRow {
    let mut row = PieceRow {
        piece: piece.to_string(),
        instance: None,
        state: None,
        last_seq: None,
        bytes,
    };
    match piece {
        Piece::Node => row.last_seq = Some(fold.seq),
        Piece::Instance(uid) => {
            if let Some(record) = fold.instances.get(uid) {
                row.instance = Some(record.instance.to_string());
                row.state = record.reported.as_ref().map(|r| r.state.to_string());
                row.last_seq = Some(record.last_seq);
            }
        }
        Piece::Tombstone(id) => {
            row.instance = Some(id.to_string());
            if let Some(tombstone) = fold.tombstones.get(id) {
                row.state = Some(tombstone.report.state.to_string());
                row.last_seq = Some(tombstone.seq);
            }
        }
        Piece::Outbox(uid) => {
            if let Some(outbox) = fold.outboxes.get(uid) {
                row.instance = Some(outbox.instance.to_string());
                let waiting = outbox.entries.len();
                row.state = Some(format!("{waiting} unacknowledged"));
                row.last_seq = outbox.entries.back().map(|entry| entry.seq);
            }
        }
    }
    row
}

fn get(args: &Get) -> Result<(), CliError> {
    let fold = records::load(&args.node.config().state_dir)?.fold;
    let named = args.piece.parse::<Piece>().ok();
    let piece = match named.filter(|piece| fold.piece(piece).is_some()) {
        Some(piece) => piece,
        None => match find(&fold, &args.piece)? {
            crate::view::Found::Live(record) => Piece::Instance(record.uid.clone()),
            crate::view::Found::Gone(id, _) => Piece::Tombstone(id.clone()),
        },
    };
    let text = fold.piece(&piece).unwrap_or_default();
    let value = serde_json::from_str(&text).map_err(|e| CliError::failed(&e))?;
    print_document(value, args.show_secrets)
}

fn export(args: &Export) -> Result<(), CliError> {
    let fold = records::load(&args.node.config().state_dir)?.fold;
    let value = serde_json::to_value(&fold).map_err(|e| CliError::failed(&e))?;
    if !args.show_secrets {
        warn("environment values are hidden; --show-secrets exports them");
    }
    print_document(value, args.show_secrets)
}

fn print_document(mut value: Value, show_secrets: bool) -> Result<(), CliError> {
    if !show_secrets {
        hide_secrets(&mut value);
    }
    print(&serde_json::to_string_pretty(&value).map_err(|e| CliError::failed(&e))?)
}

fn log(args: &Log) -> Result<(), CliError> {
    let state_dir = args.node.config().state_dir;
    let snapshot = records::load(&state_dir)?;
    let only = match &args.instance {
        None => None,
        Some(text) => Some(find(&snapshot.fold, text)?.instance().to_string()),
    };
    let wanted = |line: &Line, names: &Names| only.is_none() || names.instance(&line.event) == only;
    Printer {
        state_dir: &state_dir,
        format: args.output.output,
        show_secrets: args.show_secrets,
        from: args.from,
        to: args.to,
        tail: args.tail,
        wanted: &wanted,
        follow: false,
    }
    .print(&snapshot.fold)
}

fn verify(flags: &Flags) -> Result<(), CliError> {
    let state_dir = flags.node.config().state_dir;
    let verdict = offline::verify(&state_dir).map_err(|e| CliError::failed(&e))?;
    if verdict.segments == 0 {
        return Err(CliError::says(format!(
            "there is no journal in {}: give the node's --state-dir",
            state_dir.display()
        )));
    }
    let sound = verdict.is_sound();
    let texts = |items: &[_]| -> Vec<String> { items.iter().map(ToString::to_string).collect() };
    let document = json!({
        "sound": sound,
        "segments": verdict.segments,
        "snapshots": verdict.snapshots,
        "lines": verdict.lines,
        "first": verdict.first,
        "last": verdict.last,
        "durable": verdict.durable,
        "damage": texts(&verdict.damage),
        "tail": verdict.tail.as_ref().map(ToString::to_string),
    });
    flags.output.print(&document, |_, _| {
        let mut text = format!(
            "{}: lines {} to {} in {} and {}, durable to line {} at least",
            if sound { "sound" } else { "DAMAGED" },
            verdict.first,
            verdict.last,
            counted(verdict.segments, "segment"),
            counted(verdict.snapshots, "snapshot"),
            verdict.durable
        );
        for damage in &verdict.damage {
            text.push_str(&format!("\n{damage}"));
        }
        if let Some(tail) = &verdict.tail {
            text.push_str(&format!("\n{tail}"));
        }
        text
    })?;
    if sound { Ok(()) } else { Err(CliError::told()) }
}
