//! Writes docs/definition.md anew from the parser's table of fields.

use std::{fs, path::Path};

fn main() -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/definition.md");
    fs::write(path, riklet::model::definition::page())
}
