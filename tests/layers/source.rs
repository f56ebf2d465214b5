//! A Rust file as the rules look at it: code without comments and texts, with its line numbers.

use std::path::{Path, PathBuf};

/// One source file.
pub(crate) struct Source {
    /// Its path from the checkout's root.
    pub(crate) path: PathBuf,
    /// Its lines as written.
    pub(crate) lines: Vec<String>,
    /// Its lines with every comment, text and character blanked out, column by column.
    pub(crate) code: Vec<String>,
    /// For each line: does it belong to tests?
    pub(crate) test: Vec<bool>,
}

impl Source {
    /// Takes a file's text apart.
    pub(crate) fn parse(path: impl Into<PathBuf>, text: &str) -> Self {
        let path = path.into();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut code: Vec<String> = blank(text).lines().map(str::to_owned).collect();
        code.resize(lines.len(), String::new());
        let test = mark_tests(&path, &code);
        Self {
            path,
            lines,
            code,
            test,
        }
    }

    /// Reads every `.rs` file below a directory of the checkout, in a fixed order.
    pub(crate) fn read_all(root: &Path, below: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut left = vec![root.join(below)];
        while let Some(directory) = left.pop() {
            let Ok(entries) = std::fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries {
                let path = entry.expect("readable directory").path();
                if path.is_dir() {
                    left.push(path);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path).expect("readable source");
                Self::parse(path.strip_prefix(root).expect("below the root"), &text)
            })
            .collect()
    }

    /// Lines of code that belong to no test, numbered from 1.
    pub(crate) fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .zip(&self.test)
            .enumerate()
            .filter(|(_, (_, test))| !**test)
            .map(|(i, (line, _))| (i + 1, line.as_str()))
    }

    /// All lines of code, numbered from 1.
    pub(crate) fn all(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(i, line)| (i + 1, line.as_str()))
    }

    /// The module path of a file in `src/`: `src/journal/read.rs` is `["journal", "read"]`.
    pub(crate) fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> = self
            .path
            .strip_prefix("src")
            .unwrap_or(&self.path)
            .with_extension("")
            .components()
            .map(|c| c.as_os_str().to_string_lossy().into_owned())
            .collect();
        if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
            parts.pop();
        }
        parts
    }
}

/// Blanks comments, texts and characters, keeping every newline and column.
fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = opaque_end(&chars, i);
        if end > i {
            out.extend(
                chars[i..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            i = end;
        } else {
            out.push(chars[i]);
            i += 1;
        }
    }
    out
}

/// Where the comment, text or character that begins at `i` ends; `i` if none does.
fn opaque_end(chars: &[char], i: usize) -> usize {
    let at = |k: usize| chars.get(k).copied().unwrap_or('\0');
    let before = if i == 0 { ' ' } else { at(i - 1) };
    let mut from = i;
    match (at(i), at(i + 1)) {
        ('/', '/') => {
            return (i..chars.len())
                .find(|k| at(*k) == '\n')
                .unwrap_or(chars.len());
        }
        ('/', '*') => return block_end(chars, i),
        ('\'', _) => return char_end(chars, i),
        ('"', _) => return text_end(chars, i + 1),
        _ if before.is_alphanumeric() || before == '_' => return i,
        ('b' | 'c', '"') => return text_end(chars, i + 2),
        ('b' | 'c', 'r') => from += 2,
        ('r', _) => from += 1,
        _ => return i,
    }
    // A raw text: r"…", r#"…"#. `r#match` is a name.
    let hashes = (from..).take_while(|k| at(*k) == '#').count();
    if at(from + hashes) != '"' {
        return i;
    }
    let mut k = from + hashes + 1;
    while k < chars.len() {
        if at(k) == '"' && (0..hashes).all(|h| at(k + 1 + h) == '#') {
            return k + 1 + hashes;
        }
        k += 1;
    }
    chars.len()
}

fn block_end(chars: &[char], i: usize) -> usize {
    let (mut depth, mut k) = (0, i);
    while k < chars.len() {
        match (chars[k], chars.get(k + 1)) {
            ('/', Some('*')) => (depth, k) = (depth + 1, k + 2),
            ('*', Some('/')) => (depth, k) = (depth - 1, k + 2),
            _ => k += 1,
        }
        if depth == 0 {
            return k;
        }
    }
    chars.len()
}

fn text_end(chars: &[char], from: usize) -> usize {
    let mut k = from;
    while k < chars.len() {
        match chars[k] {
            '\\' => k += 2,
            '"' => return k + 1,
            _ => k += 1,
        }
    }
    chars.len()
}

/// The end of a character literal; `i` for a lifetime.
fn char_end(chars: &[char], i: usize) -> usize {
    match (chars.get(i + 1), chars.get(i + 2)) {
        (Some('\\'), _) => (i + 3..chars.len())
            .find(|k| chars[*k] == '\'')
            .map_or(chars.len(), |k| k + 1),
        (Some(_), Some('\'')) => i + 3,
        _ => i,
    }
}

/// Which lines belong to tests: a file of tests, or an item under `#[cfg(test)]`.
fn mark_tests(path: &Path, code: &[String]) -> Vec<bool> {
    let of_tests = path.starts_with("tests")
        || path.starts_with("benches")
        || path.components().any(|c| c.as_os_str() == "tests")
        || path.file_name().is_some_and(|name| name == "tests.rs");
    let mut test = vec![of_tests; code.len()];
    for start in 0..code.len() {
        let line = code[start].trim_start();
        if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(any(test") {
            let end = item_end(code, start);
            test[start..=end].fill(true);
        }
    }
    test
}

/// The last line of the item that begins at `start`: at its `;`, or where its braces close.
pub(crate) fn item_end(code: &[String], start: usize) -> usize {
    let (mut braces, mut others) = (0_i32, 0_i32);
    for (i, line) in code.iter().enumerate().skip(start) {
        for c in line.chars() {
            match c {
                '{' => braces += 1,
                '(' | '[' => others += 1,
                ')' | ']' => others -= 1,
                '}' => {
                    braces -= 1;
                    if braces == 0 && others == 0 {
                        return i;
                    }
                }
                ';' if braces == 0 && others == 0 => return i,
                _ => {}
            }
        }
    }
    code.len().saturating_sub(1)
}

/// Numbers of the scenarios that functions are named after: `S07` of `fn s07_a_destroy…`.
pub(crate) fn scenarios(source: &Source) -> Vec<String> {
    let named = source.code.iter().filter_map(|line| {
        let (_, name) = line.split_once("fn s")?;
        let digits = name.get(..2)?;
        let whole = name.get(2..3) == Some("_") && digits.chars().all(|c| c.is_ascii_digit());
        whole.then(|| format!("S{digits}"))
    });
    named.collect()
}

/// The variants of an enum of this file.
pub(crate) fn variants(source: &Source, name: &str) -> Vec<String> {
    let opening = format!("enum {name} {{");
    let Some(start) = source.code.iter().position(|line| line.contains(&opening)) else {
        return Vec::new();
    };
    let end = item_end(&source.code, start);
    // rustfmt indents variants by four.
    source.code[start + 1..end]
        .iter()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(|line| line.chars().take_while(|c| c.is_alphanumeric()).collect())
        .collect()
}
