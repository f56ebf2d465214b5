//! Volumes whose files the definition gives: `configMap`, `secret`, `projected`, `downwardAPI`.

use data_encoding::BASE64;

use super::{
    reader::{Fields, Findings},
    reference::{Meaning, Place, field_ref, missing, resource_field_ref},
    sources::{Content, Kind, Known, named},
    tables::{
        CONFIG_MAP, DOWNWARD, DOWNWARD_ITEM, ITEM, PROJECTED, PROJECTED_CONFIG_MAP,
        PROJECTED_DOWNWARD, PROJECTED_SECRET, PROJECTION, SECRET,
    },
    words,
};
use crate::model::spec::{FileText, InlineFile, VolumeSource};

/// Kubernetes' default.
const MODE: u32 = 0o644;

/// Sources of one projected volume.
const MAX_SOURCES: usize = 64;

/// The files of a volume while it is read.
#[derive(Debug, Default)]
struct Files {
    files: Vec<InlineFile>,
    secret: bool,
}

impl Files {
    /// One more file; two of one path, or one that is a directory of another, can't be.
    fn push(&mut self, file: InlineFile, at: &str, findings: &mut Findings) {
        let below = |a: &str, b: &str| {
            a.strip_prefix(b)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let clash =
            |other: &InlineFile| below(&other.path, &file.path) || below(&file.path, &other.path);
        if self.files.iter().any(clash) {
            findings.fault(at, "makes a file where the volume has one already");
        }
        self.files.push(file);
    }

    fn done(self) -> VolumeSource {
        VolumeSource::Inline {
            files: self.files,
            secret: self.secret,
        }
    }
}

fn mode(fields: &Fields<'_>, field: &'static str, findings: &mut Findings) -> Option<u32> {
    fields
        .number(field, 0..=0o777, findings)
        .and_then(|n| u32::try_from(n).ok())
}

/// A volume of one ConfigMap or Secret.
pub(super) fn of_document(
    entry: &Fields<'_>,
    kind: Kind,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<VolumeSource> {
    let (field, table, name) = match kind {
        Kind::ConfigMap => ("configMap", &CONFIG_MAP, "name"),
        Kind::Secret => ("secret", &SECRET, "secretName"),
    };
    let fields = entry.object(field, table, findings)?;
    let mode = mode(&fields, "defaultMode", findings).unwrap_or(MODE);
    let mut files = Files::default();
    let from = Document { kind, name, mode };
    document(&fields, from, known, &mut files, findings);
    Some(files.done())
}

/// Which document, by which field, and the mode of its files.
#[derive(Debug, Clone, Copy)]
struct Document {
    kind: Kind,
    name: &'static str,
    mode: u32,
}

fn document(
    fields: &Fields<'_>,
    from: Document,
    known: &Known<'_>,
    files: &mut Files,
    findings: &mut Findings,
) {
    files.secret |= from.kind == Kind::Secret;
    let optional = fields.boolean("optional", findings) == Some(true);
    let items = fields.objects("items", &ITEM, findings);
    let Some(name) = named(fields, from.name, findings) else {
        return;
    };
    let Some(document) = known.document(from.kind, name) else {
        if !optional {
            findings.fault(&fields.at(from.name), missing(from.kind));
        }
        return;
    };
    if items.is_empty() && fields.list("items", findings).is_empty() {
        for (key, content) in document {
            if !known.takes(key.len() + size(content), &fields.path, findings) {
                return;
            }
            files.push(file(key, from.mode, content), &fields.path, findings);
        }
    }
    for item in items {
        let mode = mode(&item, "mode", findings).unwrap_or(from.mode);
        let (key, path) = (item.required("key", findings), file_path(&item, findings));
        let (Some(key), Some(path)) = (key, path) else {
            continue;
        };
        match document.get(key) {
            Some(content) => {
                if !known.takes(path.len() + size(content), &item.path, findings) {
                    return;
                }
                files.push(file(&path, mode, content), &item.path, findings);
            }
            None if optional => {}
            None => findings.fault(
                &item.at("key"),
                format!("is no key of that {}", from.kind.word()),
            ),
        }
    }
}

fn size(content: &Content) -> usize {
    match content {
        Content::Text(text) => text.len(),
        Content::Bytes(bytes) => bytes.len() * 4 / 3,
    }
}

fn file(path: &str, mode: u32, content: &Content) -> InlineFile {
    InlineFile {
        path: path.to_owned(),
        mode,
        text: match content {
            Content::Text(text) => FileText::Text(text.clone()),
            Content::Bytes(bytes) => FileText::Base64(BASE64.encode(bytes)),
        },
    }
}

fn file_path(item: &Fields<'_>, findings: &mut Findings) -> Option<String> {
    let path = item.required("path", findings)?;
    let tidy = words::tidy(path);
    // Kubernetes keeps names that begin with two dots for itself.
    if !words::relative(path) || tidy.is_empty() || tidy.starts_with("..") {
        findings.fault(&item.at("path"), words::RELATIVE);
        return None;
    }
    Some(tidy)
}

/// Several sources in one volume.
pub(super) fn projected(
    entry: &Fields<'_>,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<VolumeSource> {
    let fields = entry.object("projected", &PROJECTED, findings)?;
    let mode = mode(&fields, "defaultMode", findings).unwrap_or(MODE);
    if fields.list("sources", findings).len() > MAX_SOURCES {
        findings.fault(
            &fields.at("sources"),
            format!("has more than {MAX_SOURCES} sources"),
        );
        return None;
    }
    let mut files = Files::default();
    for source in fields.objects("sources", &PROJECTION, findings) {
        let kinds = ["configMap", "secret", "downwardAPI"];
        let (kind, table) = match source.exactly_one(&kinds, findings) {
            Some(field @ "configMap") => ((field, Some(Kind::ConfigMap)), &PROJECTED_CONFIG_MAP),
            Some(field @ "secret") => ((field, Some(Kind::Secret)), &PROJECTED_SECRET),
            Some(field) => ((field, None), &PROJECTED_DOWNWARD),
            None => continue,
        };
        let Some(one) = source.object(kind.0, table, findings) else {
            continue;
        };
        match kind.1 {
            Some(kind) => {
                let from = Document {
                    kind,
                    name: "name",
                    mode,
                };
                document(&one, from, known, &mut files, findings);
            }
            None => items(&one, mode, known, &mut files, findings),
        }
    }
    Some(files.done())
}

/// What a Pod may read of itself.
pub(super) fn downward(
    entry: &Fields<'_>,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Option<VolumeSource> {
    let fields = entry.object("downwardAPI", &DOWNWARD, findings)?;
    let mode = mode(&fields, "defaultMode", findings).unwrap_or(MODE);
    let mut files = Files::default();
    items(&fields, mode, known, &mut files, findings);
    Some(files.done())
}

fn items(
    fields: &Fields<'_>,
    default: u32,
    known: &Known<'_>,
    files: &mut Files,
    findings: &mut Findings,
) {
    for item in fields.objects("items", &DOWNWARD_ITEM, findings) {
        let path = file_path(&item, findings);
        let mode = mode(&item, "mode", findings).unwrap_or(default);
        let meaning = match item.exactly_one(&["fieldRef", "resourceFieldRef"], findings) {
            Some("fieldRef") => field_ref(&item, Place::File, known, findings),
            Some(_) => resource_field_ref(&item, Place::File, known, findings).map(Meaning::Later),
            None => None,
        };
        let (Some(path), Some(meaning)) = (path, meaning) else {
            continue;
        };
        let text = match meaning {
            Meaning::Known(text) => FileText::Text(text),
            Meaning::Later(source) => FileText::From(source),
        };
        files.push(InlineFile { path, mode, text }, &item.path, findings);
    }
}
