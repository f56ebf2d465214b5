//! The rules of the house that neither rustc nor clippy knows, read off the sources.
//!
//! A failure lists every place as `file:line: rule` with its mend. `tables.rs` has the layers
//! and the exceptions, each with its reason.

#![allow(
    clippy::expect_used,
    reason = "a test program: what it reads is the checkout"
)]

mod checker;
mod paths;
mod rules;
mod source;
mod tables;

use std::path::PathBuf;

use rules::Violation;
use source::Source;

/// The checkout; read when run, so that a built test can look at another one.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("run by cargo")
        .into()
}

fn check(directories: &[&str], rule: impl Fn(&Source) -> Vec<Violation>) {
    let root = root();
    let found: Vec<String> = directories
        .iter()
        .flat_map(|directory| Source::read_all(&root, directory))
        .flat_map(|source| rule(&source))
        .map(|violation| violation.to_string())
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn imports_only_point_down() {
    check(&["src"], rules::layers);
}

#[test]
fn model_and_plan_are_pure() {
    check(&["src"], rules::purity);
}

#[test]
fn no_name_is_empty_of_meaning() {
    check(&["src", "tests", "examples", "benches"], rules::names);
}

#[test]
fn unsafe_stands_only_where_it_has_a_reason() {
    check(&["src"], rules::unsafety);
}

#[test]
fn product_code_does_not_panic_on_purpose() {
    check(&["src"], rules::panics);
}

#[test]
fn files_and_functions_stay_small() {
    check(&["src", "examples"], rules::sizes);
}

#[test]
fn no_test_sleeps() {
    check(&["src", "tests"], rules::sleeps);
}

#[test]
fn every_exception_from_a_lint_says_why() {
    check(&["src", "tests", "examples", "benches"], rules::allows);
}

#[test]
fn every_kind_of_line_is_explained_to_operators() {
    explained(
        "src/model/line/event.rs",
        "Event",
        "state/README.md",
        snake_case,
    );
}

#[test]
fn every_degraded_mode_and_reason_has_its_mend() {
    let same = |name: &str| name.to_owned();
    explained(
        "src/model/line/parts.rs",
        "DegradedMode",
        "docs/operations.md",
        same,
    );
    explained("src/model/state.rs", "Reason", "docs/operations.md", same);
}

#[test]
fn every_degraded_mode_has_a_section_in_recovery() {
    let page = std::fs::read_to_string(root().join("docs/recovery.md"));
    let page = page.expect("a file of the checkout");
    let modes = variants("src/model/line/parts.rs", "DegradedMode");
    let is_section = |mode: &String| page.lines().any(|line| line == format!("## {mode}"));
    let missing: Vec<_> = modes.iter().filter(|mode| !is_section(mode)).collect();
    assert!(
        missing.is_empty(),
        "no section of docs/recovery.md: {missing:?}"
    );
}

#[test]
fn every_scenario_that_is_held_has_a_test_of_its_number() {
    let page = std::fs::read_to_string(root().join("docs/scenarios.md"));
    let page = page.expect("a file of the checkout");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| S"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert!(
        rows.len() > 20,
        "the table of docs/scenarios.md: mend this test"
    );
    let tested: std::collections::BTreeSet<String> = ["src", "tests"]
        .iter()
        .flat_map(|directory| Source::read_all(&root(), directory))
        .flat_map(|source| source::scenarios(&source))
        .collect();
    let known = |id: &String| rows.iter().any(|row| row[1] == id);
    let strangers: Vec<_> = tested.iter().filter(|id| !known(id)).collect();
    assert!(
        strangers.is_empty(),
        "not in docs/scenarios.md: {strangers:?}"
    );
    for row in rows {
        let (id, held) = (row[1], row[3]);
        assert!(["yes", "later"].contains(&held), "{id}: {held:?}");
        let shown = held == "later" || tested.contains(id);
        assert!(shown, "{id} is held, and no test's name begins with it");
    }
}

/// The variants of an enum.
fn variants(file: &str, name: &str) -> Vec<String> {
    let read = |path| std::fs::read_to_string(root().join(path)).expect("a file of the checkout");
    let variants = source::variants(&Source::parse(file, &read(file)), name);
    let any = variants.len() > 3;
    assert!(any, "{file} has no `enum {name}`: mend this test");
    variants
}

/// Every variant of an enum is a word in a page.
fn explained(file: &str, name: &str, page: &str, written: impl Fn(&str) -> String) {
    let read = |path| std::fs::read_to_string(root().join(path)).expect("a file of the checkout");
    let variants = variants(file, name);
    let text = read(page);
    let missing: Vec<String> = variants
        .iter()
        .map(|variant| written(variant))
        .filter(|word| {
            !text
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .any(|w| w == word)
        })
        .collect();
    assert!(
        missing.is_empty(),
        "{page} does not explain {missing:?} of {file}"
    );
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}
