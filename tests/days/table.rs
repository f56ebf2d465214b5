//! The table's form: what is expected of a row, what was seen, and how both are printed.

use super::world::World;

/// One bad day.
pub struct Row {
    /// What goes wrong.
    pub input: &'static str,
    /// The states on the wire of the row's instance, in order, each with its reason; `*` stands
    /// for anything, here and below.
    pub wire: &'static str,
    /// The exit code of the row's command.
    pub code: i32,
    /// The first line that the command says.
    pub line: &'static str,
    /// Degraded modes that were entered, or are on.
    pub modes: &'static str,
    /// Makes it go wrong, and looks.
    pub case: fn(&mut World) -> Seen,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub wire: String,
    pub command: String,
    pub code: i32,
    pub line: String,
    pub modes: String,
}

/// A row with all that is wrong with it.
pub struct Judged {
    row: &'static Row,
    seen: Seen,
    faults: Vec<String>,
    took_ms: u128,
}

impl Judged {
    /// Compares, and adds what was found otherwise.
    pub fn new(row: &'static Row, seen: Seen, more: Vec<String>, took_ms: u128) -> Self {
        let mut faults = Vec::new();
        let mut compare = |what: &str, expected: &str, seen: &str| {
            if !matches(expected, seen) {
                faults.push(format!("{what}: expected {expected:?}, seen {seen:?}"));
            }
        };
        compare("wire", row.wire, &seen.wire);
        compare("exit code", &row.code.to_string(), &seen.code.to_string());
        compare("first line", row.line, &seen.line);
        compare("modes", row.modes, &seen.modes);
        faults.extend(more);
        Self {
            row,
            seen,
            faults,
            took_ms,
        }
    }

    /// Did all hold?
    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Does the text match the pattern, in which `*` stands for anything?
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(head) else {
        return false;
    };
    loop {
        if matches(rest, left) {
            return true;
        }
        let mut chars = left.chars();
        if chars.next().is_none() {
            return false;
        }
        left = chars.as_str();
    }
}

/// The table, aligned; under a row that doesn't hold, why.
pub fn printed(judged: &[Judged]) -> String {
    let cells = |j: &Judged| {
        let or_none = |text: &str| match text {
            "" => "-".to_owned(),
            text => cut(text, 60),
        };
        let verdict = if j.holds() { "ok" } else { "BAD" };
        [
            verdict.to_owned(),
            j.row.input.to_owned(),
            or_none(&j.seen.wire),
            format!("{} {}", j.seen.code, j.seen.command),
            or_none(&j.seen.modes),
            format!("{} ms", j.took_ms),
            cut(&j.seen.line, 150),
        ]
    };
    let head = [
        "",
        "input",
        "wire",
        "command",
        "modes",
        "took",
        "first line",
    ]
    .map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(judged.iter().map(cells))
        .collect();
    let width = |n: usize| rows.iter().map(|r| r[n].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        let padded: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
        for fault in n.checked_sub(1).iter().flat_map(|n| &judged[*n].faults) {
            text.push_str(&format!("     ! {}\n", fault.replace('\n', "\n       ")));
        }
    }
    text
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
