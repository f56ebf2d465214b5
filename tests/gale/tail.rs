//! The journal, read from outside while it is written: every line as soon as it is there, and
//! kept, for its segment may be gone later.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use serde_json::Value;

/// What is read of a journal so far.
pub(crate) struct Tail {
    dir: PathBuf,
    read: BTreeMap<PathBuf, (u64, Vec<u8>)>,
    /// Every line, by seq.
    pub(crate) lines: BTreeMap<u64, Value>,
    /// Two lines with one number, a line that is none.
    pub(crate) violations: Vec<String>,
}

impl Tail {
    pub(crate) fn of(state: &Path) -> Self {
        Self {
            dir: state.join("journal"),
            read: BTreeMap::new(),
            lines: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    /// The lines that came since the last look.
    pub(crate) fn news(&mut self) -> Vec<Value> {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return Vec::new();
        };
        let mut news = Vec::new();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let segments = paths.filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
        for path in segments.collect::<Vec<_>>() {
            for text in self.more_of(&path) {
                match serde_json::from_str::<Value>(&text) {
                    Ok(line) => news.push(line),
                    Err(error) => self.violations.push(format!("{error}: {text}")),
                }
            }
        }
        news.sort_by_key(|line| line["seq"].as_u64());
        for line in &news {
            let seq = line["seq"].as_u64().unwrap_or(0);
            if let Some(former) = self.lines.insert(seq, line.clone()) {
                let text = format!("two lines of one number: {former} and {line}");
                self.violations.push(text);
            }
        }
        news
    }

    fn more_of(&mut self, path: &Path) -> Vec<String> {
        let (from, rest) = self.read.entry(path.to_owned()).or_default();
        let Ok(mut file) = File::open(path) else {
            return Vec::new();
        };
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(*from)).is_err() || file.read_to_end(&mut bytes).is_err() {
            return Vec::new();
        }
        *from += bytes.len() as u64;
        rest.extend(bytes);
        let mut lines = Vec::new();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        lines
    }

    /// Lines of a kind, in order.
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.lines.values().filter(move |line| line["kind"] == kind)
    }

    /// Uid and instance of every incarnation.
    pub(crate) fn instances(&self) -> BTreeMap<String, String> {
        let accepted = self.of_kind("accepted");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = |line: &Value| (text(&line["uid"]), text(&line["instance"]));
        accepted.map(of).collect()
    }

    /// The node's uid; its cgroups bear it.
    pub(crate) fn node(&self) -> Option<String> {
        let mut headers = self.of_kind("segment_header");
        Some(headers.next()?["node"].as_str()?.to_owned())
    }
}
