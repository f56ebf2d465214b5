//! Lines of the journal on stdout: for `events` and `state log`.

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    path::Path,
};

use super::{
    CliError,
    output::Format,
    records::{self, Changes, Names},
};
use crate::{
    model::{fold::Fold, ids::Seq, line::Line},
    view::hide_secrets,
};

/// Which lines are printed, and how.
pub(super) struct Printer<'a> {
    pub(super) state_dir: &'a Path,
    pub(super) format: Format,
    pub(super) show_secrets: bool,
    /// From this line on.
    pub(super) from: Seq,
    /// Up to this line.
    pub(super) to: Seq,
    /// Only the last so many.
    pub(super) tail: Option<usize>,
    /// Only those that this says yes to.
    pub(super) wanted: &'a dyn Fn(&Line, &Names) -> bool,
    /// Wait for more.
    pub(super) follow: bool,
}

impl Printer<'_> {
    pub(super) fn print(&self, fold: &Fold) -> Result<(), CliError> {
        let changes = self
            .follow
            .then(|| Changes::of(&self.state_dir.join("journal")));
        let mut names = Names::of(fold);
        let mut last = self.from.saturating_sub(1);
        let mut kept = VecDeque::new();
        for line in records::lines(self.state_dir, self.from)? {
            let line = line?;
            if line.seq > self.to {
                break;
            }
            last = line.seq;
            names.hear(&line.event);
            if !(self.wanted)(&line, &names) {
                continue;
            }
            let Some(tail) = self.tail else {
                self.put(&self.text(&line, &names)?)?;
                continue;
            };
            kept.push_back(self.text(&line, &names)?);
            if kept.len() > tail {
                kept.pop_front();
            }
        }
        for text in kept {
            self.put(&text)?;
        }
        let Some(changes) = changes else {
            return Ok(());
        };
        loop {
            changes.wait();
            for line in records::lines(self.state_dir, last + 1)? {
                let line = line?;
                last = line.seq;
                names.hear(&line.event);
                if (self.wanted)(&line, &names) {
                    self.put(&self.text(&line, &names)?)?;
                }
            }
        }
    }

    fn put(&self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let flushed = writeln!(out, "{text}").and_then(|()| out.flush());
        flushed.map_err(|e| CliError::output(&e))
    }

    fn text(&self, line: &Line, names: &Names) -> Result<String, CliError> {
        let unwritable = |e: &dyn std::error::Error| CliError::says(format!("cannot write: {e}"));
        match self.format {
            Format::Table | Format::Wide => Ok(sentence(line, names, self.format == Format::Wide)),
            Format::Json | Format::Yaml => {
                let mut value = serde_json::to_value(line).map_err(|e| unwritable(&e))?;
                if !self.show_secrets {
                    hide_secrets(&mut value);
                }
                match self.format {
                    Format::Yaml => serde_saphyr::to_string(&value)
                        .map(|text| format!("---\n{}", text.trim_end()))
                        .map_err(|e| unwritable(&e)),
                    _ => Ok(value.to_string()),
                }
            }
        }
    }
}

/// `2026-11-22T15:39:04.123Z      42  web@cli  container c0 (attempt 1) started  => Running`
fn sentence(line: &Line, names: &Names, wide: bool) -> String {
    let at = line.moment.at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let instance = names
        .instance(&line.event)
        .unwrap_or_else(|| "-".to_owned());
    let mut text = format!("{at}  {:>6}  {instance:<20}  ", line.seq);
    if wide {
        text.push_str(&format!("{:<17}", line.event.kind()));
    }
    text.push_str(&names.narrate(&line.event));
    if let Some(report) = &line.state {
        text.push_str(&format!("  => {}", report.state));
        if let Some(reason) = report.reason {
            text.push_str(&format!(" ({reason})"));
        }
    }
    text.replace(char::is_control, " ")
}
