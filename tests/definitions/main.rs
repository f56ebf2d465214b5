//! Definitions as people, programs and attackers write them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test program, which runs the command"
)]

mod dry_run;
mod hostile;
mod pods;

use std::{fs, path::Path};

use riklet::model::definition::{REGENERATE, page};

#[test]
fn the_page_of_fields_is_what_the_table_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/definition.md");
    let there = fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == page(),
        "docs/definition.md is not what the table of fields makes; mend: {REGENERATE}"
    );
}
