//! A Pod's volumes and what containers mount of them.

use std::collections::BTreeMap;

use super::{
    files,
    quantity::Unit,
    reader::{Fields, Findings},
    resources::amount,
    sources::{Kind, Known},
    tables::{EMPTY_DIR, HOST_PATH, VOLUME, VOLUME_MOUNT},
    words,
};
use crate::model::spec::{HostPathKind, Volume, VolumeMount, VolumeSource};

const SOURCES: &[&str] = &[
    "emptyDir",
    "hostPath",
    "configMap",
    "secret",
    "projected",
    "downwardAPI",
];

/// Reads a Pod's volumes, in order.
pub(super) fn volumes(
    spec: &Fields<'_>,
    known: &Known<'_>,
    findings: &mut Findings,
) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for entry in spec.objects("volumes", &VOLUME, findings) {
        let name = entry.required("name", findings).unwrap_or_default();
        if entry.get("name").is_some() && !words::label(name) {
            findings.fault(
                &entry.at("name"),
                "must have 1 to 63 small letters, digits and '-', with a letter or digit at either end",
            );
        } else if let Some(first) = paths.get(name) {
            findings.fault(&entry.at("name"), format!("is also the name of {first}"));
        }
        let source = source(&entry, known, findings);
        paths
            .entry(name.to_owned())
            .or_insert_with(|| entry.path.clone());
        volumes.push(Volume {
            name: name.to_owned(),
            // A wrong one stays as a name, so that its mounts aren't said to be wrong too.
            source: source.unwrap_or(NOTHING),
        });
    }
    volumes
}

const NOTHING: VolumeSource = VolumeSource::Empty {
    memory: false,
    size_limit: None,
};

fn source(entry: &Fields<'_>, known: &Known<'_>, findings: &mut Findings) -> Option<VolumeSource> {
    if !SOURCES.iter().any(|s| entry.get(s).is_some()) && !entry.unknown() && !entry.refuses() {
        // Kubernetes' default.
        return Some(NOTHING);
    }
    let kind = entry.exactly_one(SOURCES, findings)?;
    match kind {
        "emptyDir" => {
            let fields = entry.object(kind, &EMPTY_DIR, findings)?;
            let media = [("", false), ("Memory", true)];
            let memory = fields.one_of("medium", &media, findings) == Some(true);
            let limit = amount(&fields, "sizeLimit", Unit::One, findings);
            Some(VolumeSource::Empty {
                memory,
                size_limit: limit.filter(|bytes| *bytes > 0),
            })
        }
        "hostPath" => host_path(entry, findings),
        "configMap" => files::of_document(entry, Kind::ConfigMap, known, findings),
        "secret" => files::of_document(entry, Kind::Secret, known, findings),
        "projected" => files::projected(entry, known, findings),
        _ => files::downward(entry, known, findings),
    }
}

fn host_path(entry: &Fields<'_>, findings: &mut Findings) -> Option<VolumeSource> {
    let fields = entry.object("hostPath", &HOST_PATH, findings)?;
    let kinds = [
        ("", HostPathKind::Unchecked),
        ("DirectoryOrCreate", HostPathKind::DirectoryOrCreate),
        ("Directory", HostPathKind::Directory),
        ("FileOrCreate", HostPathKind::FileOrCreate),
        ("File", HostPathKind::File),
        ("Socket", HostPathKind::Socket),
        ("CharDevice", HostPathKind::CharDevice),
        ("BlockDevice", HostPathKind::BlockDevice),
    ];
    let kind = fields.one_of("type", &kinds, findings).unwrap_or_default();
    let path = fields.required("path", findings)?;
    if !words::absolute(path) {
        findings.fault(&fields.at("path"), words::ABSOLUTE);
        return None;
    }
    Some(VolumeSource::HostPath {
        path: words::tidy(path),
        kind,
    })
}

/// Reads what a container mounts.
pub(super) fn mounts(
    container: &Fields<'_>,
    volumes: &[Volume],
    findings: &mut Findings,
) -> Vec<VolumeMount> {
    let mut mounts: Vec<VolumeMount> = Vec::new();
    for entry in container.objects("volumeMounts", &VOLUME_MOUNT, findings) {
        let volume = entry.required("name", findings).unwrap_or_default();
        if entry.get("name").is_some() && !volumes.iter().any(|v| v.name == volume) {
            findings.fault(&entry.at("name"), "names no volume");
        }
        let Some(path) = mount_path(&entry, &mounts, findings) else {
            continue;
        };
        let sub_path = entry.string("subPath", findings).unwrap_or_default();
        if !sub_path.is_empty() && !words::relative(sub_path) {
            findings.fault(&entry.at("subPath"), words::RELATIVE);
        }
        mounts.push(VolumeMount {
            volume: volume.to_owned(),
            path,
            read_only: entry.boolean("readOnly", findings) == Some(true),
            sub_path: words::tidy(sub_path),
        });
    }
    mounts
}

fn mount_path(
    entry: &Fields<'_>,
    mounts: &[VolumeMount],
    findings: &mut Findings,
) -> Option<String> {
    let path = entry.required("mountPath", findings)?;
    let at = entry.at("mountPath");
    if !words::absolute(path) {
        findings.fault(&at, words::ABSOLUTE);
        return None;
    }
    let path = words::tidy(path);
    if path == "/" || path.contains(':') {
        findings.fault(&at, "must not be '/' and must not contain ':'");
    } else if mounts.iter().any(|m| m.path == path) {
        findings.fault(&at, "is mounted twice");
    }
    Some(path)
}
