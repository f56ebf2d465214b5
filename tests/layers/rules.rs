//! The rules: each a function of a source file that returns what breaks it.

use std::fmt;

use crate::{
    paths,
    source::{Source, item_end},
    tables::{
        FILE_LINES, FUNCTION_LINES, LAYERS, LEAVES, LONG_FILES, LONG_FUNCTIONS, MAIN_LINES, PURE,
        SIDEWAYS, SLEEPS, UNSAFE,
    },
};

/// One place that breaks a rule, with the way to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// `src/journal/read.rs:12`
    pub(crate) place: String,
    /// What is the rule.
    pub(crate) rule: String,
    /// What to do.
    pub(crate) mend: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    mend: {}", self.place, self.rule, self.mend)
    }
}

fn violation(source: &Source, line: usize, rule: String, mend: &'static str) -> Violation {
    Violation {
        place: format!("{}:{line}", source.path.display()),
        rule,
        mend,
    }
}

fn row(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// Imports only point down.
pub(crate) fn layers(source: &Source) -> Vec<Violation> {
    let module = source.module();
    let Some(here) = module.first() else {
        return Vec::new(); // lib.rs, the tour
    };
    paths::named(source)
        .into_iter()
        .filter_map(|(line, path)| {
            let there = path.first()?;
            let (rule, mend) = forbidden(here, there)?;
            Some(violation(source, line, rule, mend))
        })
        .collect()
}

fn forbidden(here: &str, there: &str) -> Option<(String, &'static str)> {
    let first = there.chars().next()?;
    if here == there || first.is_uppercase() || here == "testing" {
        return None;
    }
    let rule = format!("`{here}` must not name `{there}`");
    if there == "testing" {
        return Some((
            rule,
            "product code never depends on src/testing; put it under #[cfg(test)]",
        ));
    }
    if LEAVES.contains(&here) {
        let fine = LEAVES.contains(&there) || there == "model";
        return (!fine).then_some((rule, "a leaf names only other leaves and the model"));
    }
    if LEAVES.contains(&there) {
        return PURE.contains(&here).then_some((
            rule,
            "hand the value in: model and plan know no clock and no settings",
        ));
    }
    let (Some(from), Some(to)) = (row(here), row(there)) else {
        let unknown = format!("`{here}` names `{there}`, and one of them is in no layer");
        return Some((
            unknown,
            "add the module to LAYERS in tests/layers/tables.rs, in its place",
        ));
    };
    let sideways = SIDEWAYS.iter().any(|(a, b, _)| (*a, *b) == (here, there));
    (to <= from && !sideways).then_some((
        rule,
        "imports only point down (docs/architecture.md): move the shared part into a lower \
         layer, or have the upper one hand it in",
    ))
}

/// What no pure module may so much as name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocket",
    "std::net::{",
    "std::process",
    "std::env",
    "std::thread",
    "std::io",
    "tokio::",
    "tracing::",
    "nix::",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "println!",
    "eprintln!",
];

/// Everything in `model/` and `plan/` is pure.
pub(crate) fn purity(source: &Source) -> Vec<Violation> {
    if !source
        .module()
        .first()
        .is_some_and(|m| PURE.contains(&m.as_str()))
    {
        return Vec::new();
    }
    hits(source, IMPURE, |word| {
        (
            format!("`{word}` in a pure module"),
            "take the value as an argument, return what is to be done",
        )
    })
}

/// Words that say nothing about what a thing does.
const EMPTY_WORDS: &[&str] = &[
    "manager", "managers", "helper", "helpers", "util", "utils", "handler", "handlers", "common",
    "misc",
];

/// Banned names of files, modules and types.
pub(crate) fn names(source: &Source) -> Vec<Violation> {
    let wire = source.module().first().is_some_and(|m| m == "wire");
    let empty = |name: &str| {
        words(name)
            .into_iter()
            .find(|w| EMPTY_WORDS.contains(&w.as_str()) && !(wire && w == "common"))
    };
    let mend = "name it for what it does or holds (design section 2 has the words)";
    let mut found = Vec::new();
    for part in source.path.with_extension("").components() {
        if let Some(word) = empty(&part.as_os_str().to_string_lossy()) {
            found.push(violation(
                source,
                1,
                format!("`{word}` in a file's name"),
                mend,
            ));
        }
    }
    for (number, line) in source.all() {
        let mut tokens = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        while let Some(token) = tokens.next() {
            if matches!(token, "mod" | "struct" | "enum" | "trait" | "type")
                && let Some(word) = tokens.next().and_then(empty)
            {
                found.push(violation(
                    source,
                    number,
                    format!("`{word}` in a name"),
                    mend,
                ));
            }
        }
    }
    found
}

/// `FooBar_baz` is `foo`, `bar`, `baz`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c.is_uppercase() || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// `unsafe` only in named files.
pub(crate) fn unsafety(source: &Source) -> Vec<Violation> {
    let named = UNSAFE
        .iter()
        .any(|(file, _)| source.path == std::path::Path::new(file));
    let mend = "use nix's safe call; failing that, add the file to UNSAFE in \
                tests/layers/tables.rs with the reason";
    let found: Vec<Violation> = source
        .all()
        .filter(|(_, line)| has_word(line, "unsafe") || line.contains("allow(unsafe_code"))
        .map(|(n, _)| {
            violation(
                source,
                n,
                "`unsafe` outside its named files".to_owned(),
                mend,
            )
        })
        .collect();
    match (named, found.is_empty()) {
        (true, false) => Vec::new(),
        (true, true) => vec![violation(
            source,
            1,
            "named as a place of `unsafe`, and has none".to_owned(),
            "take it off the list in tests/layers/tables.rs",
        )],
        (false, _) => found,
    }
}

/// What ends a thread, or was left from writing.
const PANICS: &[&str] = &[
    ".unwrap()",
    ".expect(",
    "panic!(",
    "todo!(",
    "unimplemented!(",
    "dbg!(",
];

/// Product code has no way to panic on purpose (clippy denies it too; this also sees `allow`s).
pub(crate) fn panics(source: &Source) -> Vec<Violation> {
    if source.path.starts_with("src/testing") {
        return Vec::new();
    }
    hits(source, PANICS, |word| {
        (
            format!("`{word}` outside tests"),
            "return an error, or write the case so that it can't happen (let … else, match)",
        )
    })
}

fn hits(
    source: &Source,
    banned: &[&'static str],
    says: impl Fn(&str) -> (String, &'static str),
) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in source.product() {
        for word in banned.iter().copied().filter(|w| has_word(line, w)) {
            let (rule, mend) = says(word);
            found.push(violation(source, number, rule, mend));
        }
    }
    found
}

/// Is the word there, not as a part of a longer one?
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let inside_before = word.starts_with(part) && line[..at].ends_with(part);
        let inside_after = word.ends_with(part) && line[at + word.len()..].starts_with(part);
        !inside_before && !inside_after
    })
}

/// Files and functions stay small.
pub(crate) fn sizes(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    let is = |file: &str| source.path == std::path::Path::new(file);
    let usual = if is("src/main.rs") {
        MAIN_LINES
    } else {
        FILE_LINES
    };
    let allowed = LONG_FILES.iter().find(|(file, ..)| is(file)).map(|l| l.1);
    let lines = source.test.iter().filter(|test| !**test).count();
    let split = "split it by what its parts are for";
    found.extend(size(lines, usual, allowed).map(|rule| violation(source, 1, rule, split)));
    for (number, name, lines) in functions(source) {
        let allowed = LONG_FUNCTIONS
            .iter()
            .find(|(file, function, ..)| is(file) && *function == name)
            .map(|l| l.2);
        let rule = size(lines, FUNCTION_LINES, allowed).map(|rule| format!("`{name}` has {rule}"));
        let name_it = "give a step of it a name of its own";
        found.extend(rule.map(|rule| violation(source, number, rule, name_it)));
    }
    found
}

/// What is wrong with a size, if anything is; an exception that isn't needed is wrong too.
fn size(lines: usize, usual: usize, allowed: Option<usize>) -> Option<String> {
    match allowed {
        Some(_) if lines <= usual => Some(format!(
            "{lines} lines, so its exception in tests/layers/tables.rs has to go"
        )),
        _ if lines > allowed.unwrap_or(usual) => Some(format!(
            "{lines} lines without tests, and {} are allowed",
            allowed.unwrap_or(usual)
        )),
        _ => None,
    }
}

/// Every product function: line, name, lines of code between its braces.
fn functions(source: &Source) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (number, line) in source.product() {
        let mut tokens = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let Some(name) = tokens
            .by_ref()
            .find(|t| *t == "fn")
            .and_then(|_| tokens.next())
        else {
            continue;
        };
        if name.is_empty() {
            continue; // fn(…) as a type
        }
        let start = number - 1;
        let end = item_end(&source.code, start);
        // The signature ends where the first brace opens.
        let body = (start..=end)
            .find(|i| source.code[*i].contains('{'))
            .unwrap_or(end);
        let length = source.code[(body + 1).min(end)..end]
            .iter()
            .filter(|line| !line.trim().is_empty())
            .count();
        found.push((number, name.to_owned(), length));
    }
    found
}

/// No test sleeps: it waits on a condition with a bound.
pub(crate) fn sleeps(source: &Source) -> Vec<Violation> {
    if SLEEPS
        .iter()
        .any(|(file, _)| source.path == std::path::Path::new(file))
    {
        return Vec::new();
    }
    source
        .all()
        .filter(|(number, line)| source.test[number - 1] && has_word(line, "sleep("))
        .map(|(number, _)| {
            violation(
                source,
                number,
                "a test sleeps".to_owned(),
                "wait on a condition with a bound, or advance the manual clock",
            )
        })
        .collect()
}

/// Every `#[allow(…)]` and `#[expect(…)]` says why.
pub(crate) fn allows(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (number, line) in source.all() {
        let code = line.trim_start();
        let is_attribute = ["#[allow(", "#![allow(", "#[expect(", "#![expect("]
            .iter()
            .any(|start| code.contains(start));
        if !is_attribute {
            continue;
        }
        let index = number - 1;
        let end = (index..source.code.len())
            .find(|i| source.code[*i].contains(']'))
            .unwrap_or(index);
        let attribute = source.code[index..=end].join(" ");
        // A comment right above counts, also across the blank line after a module's comment.
        let above = source.lines[..index]
            .iter()
            .rev()
            .find(|l| !l.trim().is_empty());
        let said = has_word(&attribute, "reason")
            || source.lines[end].contains("//")
            || above.is_some_and(|line| line.trim_start().starts_with("//"));
        if !said {
            found.push(violation(
                source,
                number,
                "an exception from a lint without a reason".to_owned(),
                "add `, reason = \"…\"` to it, or mend what the lint found",
            ));
        }
    }
    found
}
