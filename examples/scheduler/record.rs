//! `--record`: one JSON object a line, `{"at":"…Z","event":"…",…}`.

use std::{fs::File, io, io::Write as _, path::Path};

use jiff::Timestamp;
use riklet::testing::scheduler::Event;
use serde::Serialize;

/// The file.
pub(crate) struct Record(File);

#[derive(Serialize)]
struct Line<'a> {
    at: Timestamp,
    #[serde(flatten)]
    event: &'a Event,
}

impl Record {
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let file = File::create(path);
        file.map(Self)
            .map_err(|error| format!("cannot write to {}: {error}", path.display()))
    }

    /// Writes one line at once, so that a reader never sees half of one.
    pub(crate) fn write(&mut self, at: Timestamp, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { at, event })?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}
