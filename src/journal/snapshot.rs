//! Snapshots: the whole fold at one seq, in one file.
//!
//! Why: a start reads the newest one and what came after, and segments below the older one may
//! go. Owns: the file's form and how it comes to be. Must never happen here: a half-written one
//! bearing the name of a whole one.
//!
//! ```text
//! {"format":1,"min_reader":1,"seq":7,"sum":"…","at":"…","node":"…","journal":"…","pieces":{
//! "node":{…},
//! "instance/…":{…}
//! },"sha256":"<of all bytes before ,"sha256":>"}
//! ```

use std::{collections::BTreeMap, io, path::Path};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Identity, disk::Disk, frame::Sum, segment};
use crate::model::{
    fold::{Fold, Piece},
    ids::{NodeUid, Seq},
    line::{FORMAT, MIN_READER},
};

const PREPARED: &str = ".snapshot.tmp";
const MARK: &str = ",\"sha256\":\"";
const END: &str = "\"}\n";

/// The fold at one seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Seq of the last line in it.
    pub seq: Seq,
    /// The sum that the next segment's header continues from.
    pub sum: Sum,
    /// When it was taken.
    pub at: Timestamp,
    /// Whose it is.
    pub identity: Identity,
    /// What is known.
    pub fold: Fold,
}

/// Why a snapshot can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file can't be read.
    #[error("it can't be read")]
    Read(#[source] io::Error),
    /// Its bytes are not those that were written.
    #[error("its bytes do not give its sha256")]
    Damaged,
    /// A newer riklet wrote it.
    #[error("it needs reader {0}, this riklet is reader {FORMAT}")]
    Newer(u32),
    /// Its bytes are those that were written, and yet it can't be understood.
    #[error("it is whole and can't be understood: {0}")]
    NotUnderstood(String),
}

/// The name of the snapshot at `seq`.
#[must_use]
pub fn file_name(seq: Seq) -> String {
    format!("snapshot-{seq:020}.json")
}

/// The seq of a snapshot, by its name.
#[must_use]
pub fn parse_name(name: &str) -> Option<Seq> {
    let digits = name.strip_prefix("snapshot-")?.strip_suffix(".json")?;
    segment::parse_seq(digits)
}

/// The snapshots in a directory by their seq, ascending.
///
/// # Errors
/// As readdir(3).
pub fn list(dir: &Path) -> io::Result<Vec<Seq>> {
    segment::list_by(dir, parse_name)
}

/// The bytes of a snapshot.
#[must_use]
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut text = format!(
        "{{\"format\":{FORMAT},\"min_reader\":{MIN_READER},\"seq\":{},\"sum\":\"{}\",\"at\":\"{}\",\
         \"node\":\"{}\",\"journal\":\"{}\",\"pieces\":{{",
        snapshot.seq, snapshot.sum, snapshot.at, snapshot.identity.node, snapshot.identity.journal,
    );
    for (i, (piece, json)) in snapshot.fold.pieces().into_iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.push_str(&format!("\"{piece}\":{json}"));
    }
    text.push_str("\n}");
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
    text.push_str(MARK);
    text.push_str(&hash);
    text.push_str(END);
    text.into_bytes()
}

#[derive(Deserialize)]
struct Versions {
    min_reader: u32,
}

#[derive(Deserialize)]
struct Raw {
    seq: Seq,
    sum: String,
    at: Timestamp,
    node: NodeUid,
    journal: String,
    pieces: BTreeMap<String, Box<RawValue>>,
}

/// Reads a snapshot's bytes.
///
/// # Errors
/// It is damaged, or of a newer riklet.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let split = || {
        let rest = bytes.strip_suffix(END.as_bytes())?;
        let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
        let body = rest.strip_suffix(MARK.as_bytes())?;
        let right = data_encoding::HEXLOWER.encode(&Sha256::digest(body));
        (right.as_bytes() == hash).then_some(())
    };
    split().ok_or(SnapshotError::Damaged)?;
    let bad = |e: serde_json::Error| SnapshotError::NotUnderstood(e.to_string());
    let versions: Versions = serde_json::from_slice(bytes).map_err(bad)?;
    if versions.min_reader > FORMAT {
        return Err(SnapshotError::Newer(versions.min_reader));
    }
    let raw: Raw = serde_json::from_slice(bytes).map_err(bad)?;
    let mut pieces = Vec::with_capacity(raw.pieces.len());
    for (name, json) in raw.pieces {
        let piece: Piece = name.parse().map_err(|e: crate::model::fold::PieceError| {
            SnapshotError::NotUnderstood(e.to_string())
        })?;
        pieces.push((piece, json.get().to_owned()));
    }
    let (fold, errors) = Fold::from_pieces(raw.seq, pieces);
    if let Some(error) = errors.first() {
        return Err(SnapshotError::NotUnderstood(error.to_string()));
    }
    Ok(Snapshot {
        seq: raw.seq,
        sum: raw
            .sum
            .parse()
            .map_err(|_| SnapshotError::NotUnderstood(format!("{:?} is no sum", raw.sum)))?,
        at: raw.at,
        identity: Identity {
            node: raw.node,
            journal: raw.journal,
        },
        fold,
    })
}

/// Reads the snapshot at `seq`.
///
/// # Errors
/// It isn't there, is damaged, or of a newer riklet.
pub fn read(dir: &Path, seq: Seq) -> Result<Snapshot, SnapshotError> {
    let bytes = segment::read_file(&dir.join(file_name(seq))).map_err(SnapshotError::Read)?;
    match decode(&bytes) {
        Ok(snapshot) if snapshot.seq != seq => Err(SnapshotError::Damaged),
        other => other,
    }
}

/// Writes a snapshot: temporary file, fdatasync, rename, fsync of the directory.
///
/// # Errors
/// Any step failed; there is no new snapshot then.
pub fn write(disk: &Disk, dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let temp = dir.join(PREPARED);
    disk.remove(&temp)?;
    let file = disk.create(&temp)?;
    let done = disk
        .append(&file, &encode(snapshot))
        .and_then(|()| disk.fdatasync(&file))
        .and_then(|()| disk.rename(&temp, &dir.join(file_name(snapshot.seq))))
        .and_then(|()| disk.fsync_dir(dir));
    if done.is_err() {
        disk.remove(&temp).ok();
    }
    done
}

#[cfg(test)]
mod tests;
