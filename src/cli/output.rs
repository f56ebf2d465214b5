//! What goes to stdout: tables for people, documents for scripts.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;
use serde::Serialize;

use super::CliError;
use crate::clock::Clock;

/// How a document is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// One JSON document
    Json,
    /// The same in YAML
    Yaml,
}

/// How a document is shown.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct OutputFlags {
    /// How the answer is shown
    #[arg(
        short,
        long = "output",
        value_enum,
        value_name = "FORMAT",
        default_value_t
    )]
    pub(super) output: Format,
}

impl OutputFlags {
    /// Is it for scripts?
    pub(super) fn is_document(&self) -> bool {
        matches!(self.output, Format::Json | Format::Yaml)
    }

    /// Prints the document, or the text made of it for people.
    pub(super) fn print<T: Serialize>(
        &self,
        document: &T,
        text: impl FnOnce(&T, bool) -> String,
    ) -> Result<(), CliError> {
        let text = match self.output {
            Format::Table => text(document, false),
            Format::Wide => text(document, true),
            Format::Json => serde_json::to_string_pretty(document)
                .map_err(|e| CliError::says(format!("cannot write JSON: {e}")))?,
            Format::Yaml => serde_saphyr::to_string(document)
                .map_err(|e| CliError::says(format!("cannot write YAML: {e}")))?,
        };
        print(&text)
    }
}

/// Prints a text to stdout, ending its last line.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let end = match text {
        "" => "",
        text if text.ends_with('\n') => "",
        _ => "\n",
    };
    write!(out, "{text}{end}")
        .and_then(|()| out.flush())
        .map_err(|e| CliError::output(&e))
}

/// A line to stderr that is no error.
pub(super) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "riklet: warning: {text}");
}

/// Columns without borders, as kubectl has them: two spaces between, none at the ends.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for row in rows {
        // A cell is one line, whatever a remote text holds.
        table.add_row(row.map(|cell| cell.replace(char::is_control, " ")));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table
        .to_string()
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n")
}

/// `LABEL  value` lines, aligned.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let lines: Vec<String> = facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| {
            let indent = format!("\n{:width$}", "");
            format!("{name:width$}{}", value.replace('\n', &indent))
        })
        .collect();
    lines.join("\n")
}

/// The value, or a dash.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |v| v.to_string())
}

/// States that wait for the scheduler; empty if none do.
pub(super) fn waiting(states: usize, dropped: u64) -> String {
    match (states, dropped) {
        (0, 0) => String::new(),
        (n, 0) => counted(n, "state"),
        (n, dropped) => format!(
            "{}; {dropped} between them were dropped, for the scheduler was away too long",
            counted(n, "state")
        ),
    }
}

/// `1 state`, `2 states`.
pub(super) fn counted(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// Now; none where the kernel doesn't tell its boot.
pub(super) fn now() -> Option<crate::model::line::Moment> {
    Clock::system().ok().map(|clock| clock.now())
}

/// How long ago, as kubectl says it: `45s`, `12m`, `3h`, `9d`.
pub(super) fn age(at: Option<Timestamp>, now: Option<Timestamp>) -> String {
    let (Some(at), Some(now)) = (at, now) else {
        return "-".to_owned();
    };
    // A clock that stepped back makes nothing younger than now.
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
