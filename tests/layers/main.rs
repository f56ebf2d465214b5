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

use std::path::Path;

use rules::Violation;
use source::Source;

fn check(directories: &[&str], rule: impl Fn(&Source) -> Vec<Violation>) {
    // Read when run: a built test can look at another checkout.
    let root = std::env::var_os("CARGO_MANIFEST_DIR").expect("run by cargo");
    let root = Path::new(&root);
    let found: Vec<String> = directories
        .iter()
        .flat_map(|directory| Source::read_all(root, directory))
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
