//! The files that `apply` reads.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{cli::CliError, error_chain::one_line, model::definition::MAX_BYTES};

/// What the name of a definition's file ends with, in a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Every file with its text, those of a directory by name.
pub(super) fn read(places: &[PathBuf]) -> Result<Vec<(String, String)>, CliError> {
    let mut files = Vec::new();
    for place in places {
        if place.to_str() == Some("-") {
            let text = text(&mut io::stdin().lock(), "the definition on stdin")?;
            files.push(("the definition on stdin".to_owned(), text));
            continue;
        }
        if !place.is_dir() {
            files.push(file(place)?);
            continue;
        }
        let inside = listed(place)?;
        if inside.is_empty() {
            let dir = place.display();
            return Err(CliError::says(format!(
                "{dir} has no .yaml, .yml or .json file"
            )));
        }
        for path in inside {
            files.push(file(&path)?);
        }
    }
    Ok(files)
}

fn listed(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |e: io::Error| unreadable(&dir.display().to_string(), &e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let ends = path
            .extension()
            .is_some_and(|end| ENDINGS.iter().any(|known| end == *known));
        // What lies in a directory is not chosen one by one: a fifo there would keep us waiting.
        if ends && !hidden && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn file(path: &Path) -> Result<(String, String), CliError> {
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(|e| unreadable(&name, &e))?;
    let text = text(&mut file, &name)?;
    Ok((name, text))
}

/// Reads a text; one that is over the limit is not read to its end.
fn text(source: &mut impl io::Read, name: &str) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    let read = source.take(limit).read_to_end(&mut bytes);
    read.map_err(|e| unreadable(name, &e))?;
    // Judged before it is taken for text: the cut may lie within a character.
    if bytes.len() > MAX_BYTES {
        return Err(CliError::says(format!(
            "{name}: the definition has more than {MAX_BYTES} bytes, which is the limit"
        )));
    }
    String::from_utf8(bytes).map_err(|e| CliError::says(format!("{name} is not UTF-8: {e}")))
}

fn unreadable(name: &str, error: &io::Error) -> CliError {
    CliError::says(format!("cannot read {name}: {}", one_line(error)))
}
