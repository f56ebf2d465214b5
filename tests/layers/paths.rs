//! Which modules of the crate a file names: every `crate::…` and `super::…` in its code.

use crate::source::Source;

/// One path into the crate, from its root: `crate::runtime::process` is `["runtime", "process"]`.
pub(crate) type CratePath = Vec<String>;

/// Every path into the crate that product code names, with its line.
pub(crate) fn named(source: &Source) -> Vec<(usize, CratePath)> {
    let mut found = Vec::new();
    // Joined, for a `use` tree spans lines; blanked lines keep the numbering.
    let text: String = source
        .code
        .iter()
        .zip(&source.test)
        .map(|(line, test)| {
            if *test {
                "\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    let inline = inline_modules(source);
    let mut line = 1;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if let Some(keyword) = path_start(&text, at) {
            let mut base = source.module();
            base.extend(
                inline
                    .iter()
                    .filter(|m| m.0 <= line && line <= m.1)
                    .map(|m| m.2.clone()),
            );
            let mut reader = Reader { text: rest, at: 0 };
            let mut paths = Vec::new();
            reader.tree(&[], &mut paths);
            found.extend(paths.iter().map(|p| (line, resolve(&base, p))));
            // Past a whole tree of a `use`; but only past the keyword of a single path, for
            // what follows it may be another (`crate::a::f::<crate::b::T>()`).
            let past = if paths.len() > 1 { reader.at } else { keyword };
            line += rest[..past].matches('\n').count();
            at += past;
        } else {
            if rest.starts_with('\n') {
                line += 1;
            }
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    found
}

/// Is this the beginning of a path that starts in the crate? Then its keyword's length.
fn path_start(text: &str, at: usize) -> Option<usize> {
    let before = text[..at].chars().next_back().unwrap_or(' ');
    // In the middle of a name or of a longer path.
    if before.is_alphanumeric() || before == '_' || before == ':' {
        return None;
    }
    ["crate", "super", "self"]
        .into_iter()
        .find(|k| {
            text[at..]
                .strip_prefix(k)
                .is_some_and(|r| r.trim_start().starts_with("::"))
        })
        .map(str::len)
}

/// Inline modules (first line, last line, name): paths in them have one more step to the root.
fn inline_modules(source: &Source) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for (number, line) in source.product() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(i) = words.iter().position(|w| *w == "mod")
            && words.last() == Some(&"{")
            && let Some(name) = words.get(i + 1)
        {
            let end = crate::source::item_end(&source.code, number - 1) + 1;
            found.push((number, end, (*name).to_owned()));
        }
    }
    found
}

/// A path as written, from the module it stands in, made one from the crate's root.
fn resolve(module: &[String], path: &[String]) -> CratePath {
    let mut base = module.to_vec();
    let mut rest = path.iter();
    for segment in rest.by_ref() {
        match segment.as_str() {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                base.pop();
            }
            name => {
                base.push(name.to_owned());
                break;
            }
        }
    }
    base.extend(rest.cloned());
    base
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        let hit = self.text[self.at..].starts_with(token);
        self.at += if hit { token.len() } else { 0 };
        hit
    }

    fn name(&mut self) -> Option<String> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let length = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        self.at += length;
        (length > 0).then(|| rest[..length].to_owned())
    }

    /// Reads `a::b`, `a::{b, c::d}`, `a::*` and gathers each leaf.
    fn tree(&mut self, prefix: &[String], out: &mut Vec<Vec<String>>) {
        let mut path = prefix.to_vec();
        loop {
            if self.eat("{") {
                while !self.eat("}") && self.at < self.text.len() {
                    self.tree(&path, out);
                    self.eat(",");
                }
                return;
            }
            match self.name() {
                Some(name) => path.push(name),
                None => {
                    // A glob, or what follows a turbofish.
                    self.at += self.text[self.at..]
                        .chars()
                        .next()
                        .map_or(0, char::len_utf8);
                    break;
                }
            }
            if !self.eat("::") {
                // `as Other` belongs to this leaf.
                let here = self.at;
                if self.name().as_deref() == Some("as") {
                    self.name();
                } else {
                    self.at = here;
                }
                break;
            }
        }
        out.push(path);
    }
}
