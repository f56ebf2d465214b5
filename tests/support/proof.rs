//! What a run of a proof has shown: counts for `docs/reliability.md`.
//!
//! Owns: the shape of a row. In: what a test has counted itself. Out: one JSON file a promise in
//! the directory that `RIKLET_PROOFS` names (`make prove` sets it and `RIKLET_PROVE=1`, the long
//! form); nothing where it is unset. Must never happen here: a number that was not counted in
//! this very run.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::json;

/// Is this the long form (`make prove`), not the one of `make test`?
pub fn long() -> bool {
    std::env::var_os("RIKLET_PROVE").is_some_and(|v| v == "1")
}

/// How many rounds: the first number in `make test`, the second in `make prove`.
pub fn rounds(short: u64, long_form: u64) -> u64 {
    if long() { long_form } else { short }
}

/// A row of `docs/reliability.md`.
pub struct Proof {
    promise: &'static str,
    method: String,
    counts: BTreeMap<String, u64>,
}

impl Proof {
    /// `promise`: a sentence, what holds. `method`: how it was attacked, in a sentence, with
    /// the seed where there is one.
    pub fn of(promise: &'static str, method: impl Into<String>) -> Self {
        Self {
            promise,
            method: method.into(),
            counts: BTreeMap::new(),
        }
    }

    /// One more of what is counted.
    pub fn one(&mut self, what: impl Into<String>) {
        self.add(what, 1);
    }

    /// So many more of what is counted.
    pub fn add(&mut self, what: impl Into<String>, number: u64) {
        *self.counts.entry(what.into()).or_default() += number;
    }

    /// What was counted of this so far.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Prints the counts, writes the row where rows are asked for, and fails on any violation:
    /// each a sentence that says what was broken and how to see it again.
    pub fn conclude(self, name: &str, violations: &[String]) {
        let row = json!({
            "promise": self.promise,
            "method": self.method,
            "counts": self.counts,
            "violations": violations.len(),
            "form": if long() { "long" } else { "short" },
            "test": name,
        });
        println!("{row}");
        if let Some(dir) = std::env::var_os("RIKLET_PROOFS") {
            let path = PathBuf::from(dir).join(format!("{name}.json"));
            fs::write(&path, format!("{row}\n")).unwrap();
        }
        assert!(violations.is_empty(), "{}: {violations:#?}", self.promise);
    }
}
