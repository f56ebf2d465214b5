//! Figures: smallest, median, largest, and where they go.

use std::{fmt::Display, io::Write};

/// Measured values of one thing, in one unit.
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// One more.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The one in the middle.
    #[must_use]
    pub fn median(&self) -> f64 {
        let n = self.0.len();
        (self.0[(n - 1) / 2] + self.0[n / 2]) / 2.0
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// `name   min 1.0  median 2.0  max 3.0 ms`
    pub fn print(&self, name: &str, unit: &str) {
        let (min, median, max) = (self.0[0], self.median(), self.max());
        let n = self.0.len();
        say(format_args!(
            "{name:<34} min {min:>8.1}  median {median:>8.1}  max {max:>8.1} {unit}  (n={n})"
        ));
    }
}

/// Prints a line now, also into a pipe.
pub fn say(line: impl Display) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Prints what must hold and whether it does; returns whether.
pub fn verdict(what: &str, value: f64, limit: f64, unit: &str) -> bool {
    let holds = value < limit;
    let word = if holds { "holds" } else { "DOES NOT HOLD" };
    say(format_args!(
        "=> {what}: {value:.2} {unit}, limit {limit} {unit}: {word}"
    ));
    holds
}
