//! What lies in sled: the schema.
//!
//! ```text
//! p/<piece>/<chunk, 4 digits>   up to 8,000 bytes of the piece's JSON text
//! meta                          {"schema","applied_seq","count","hash","node","journal","check"}
//! ```
//! `count` and `hash` are over all `p/` entries, changed in the same transaction as they; `hash`
//! is the wrapping sum of the first 8 bytes of SHA-256(key, 0, value). `check` is the same hash
//! over the fields of `meta` itself. A flipped bit in sled's files can lose records without an
//! error (`libraries.md` section 1); it can't do so without these disagreeing.
//!
//! Owns: keys, values, their hash, and the transaction. Must never happen here: a value above
//! 8 KB (sled would put it into a file of its own that it never syncs).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sled::{
    Db,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};

use super::{Changes, Why};
use crate::model::ids::Seq;

/// Version of the schema.
pub const SCHEMA: u32 = 1;

/// The longest value.
pub const CHUNK: usize = 8_000;

const META: &[u8] = b"meta";
const PREFIX: &str = "p/";

/// What the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The seq up to which it is.
    pub applied: Seq,
    /// Node uid and journal uuid of its owner.
    pub owner: (String, String),
    /// Pieces by name, with their text.
    pub pieces: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    schema: u32,
    applied_seq: Seq,
    count: u64,
    hash: u64,
    node: String,
    journal: String,
    #[serde(default)]
    check: u64,
}

impl Meta {
    fn checked(mut self) -> Self {
        self.check = 0;
        let text = serde_json::to_vec(&self).unwrap_or_default();
        self.check = hash(META, &text);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    let hash = Sha256::new()
        .chain_update(key)
        .chain_update([0])
        .chain_update(value)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(first)
}

fn key(piece: &str, chunk: usize) -> String {
    format!("{PREFIX}{piece}/{chunk:04}")
}

/// Reads and checks everything.
///
/// # Errors
/// sled failed, or why what is there can't be used.
pub fn read(db: &Db) -> Result<Content, Why> {
    let sled = |e: sled::Error| Why::Unopenable(e.to_string());
    let Some(meta) = db.get(META).map_err(sled)? else {
        return Err(if db.is_empty() {
            Why::Missing
        } else {
            Why::Unfinished
        });
    };
    let meta = parse_meta(&meta)?;
    let (mut count, mut sum) = (0_u64, 0_u64);
    let mut pieces: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in db.scan_prefix(PREFIX) {
        let (k, v) = entry.map_err(sled)?;
        count += 1;
        sum = sum.wrapping_add(hash(&k, &v));
        take_chunk(&mut pieces, &k, &v)?;
    }
    if (count, sum) != (meta.count, meta.hash) {
        return Err(Why::Disagrees(format!(
            "{count} entries with hash {sum:016x} are there, {} with {:016x} were written",
            meta.count, meta.hash
        )));
    }
    let text = |(name, bytes)| match String::from_utf8(bytes) {
        Ok(text) => Ok((name, text)),
        Err(_) => Err(Why::Disagrees(format!("the piece {name} is not text"))),
    };
    Ok(Content {
        applied: meta.applied_seq,
        owner: (meta.node, meta.journal),
        pieces: pieces.into_iter().map(text).collect::<Result<_, _>>()?,
    })
}

fn parse_meta(bytes: &[u8]) -> Result<Meta, Why> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let unreadable = || Why::Disagrees("its meta record is damaged".to_owned());
    let version: Version = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
    if version.schema != SCHEMA {
        return Err(Why::Schema(version.schema.to_string()));
    }
    let meta: Meta = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
    if meta.clone().checked() == meta {
        Ok(meta)
    } else {
        Err(unreadable())
    }
}

fn take_chunk(pieces: &mut Vec<(String, Vec<u8>)>, k: &[u8], v: &[u8]) -> Result<(), Why> {
    let bad = || Why::Disagrees(format!("{:?} is no key", String::from_utf8_lossy(k)));
    let text = std::str::from_utf8(k).map_err(|_| bad())?;
    let rest = text.strip_prefix(PREFIX).ok_or_else(bad)?;
    let (name, chunk) = rest.rsplit_once('/').ok_or_else(bad)?;
    let chunk: usize = chunk.parse().map_err(|_| bad())?;
    match pieces.last_mut() {
        Some((last, bytes)) if last == name && chunk > 0 => bytes.extend_from_slice(v),
        _ if chunk == 0 => pieces.push((name.to_owned(), v.to_vec())),
        _ => return Err(bad()),
    }
    Ok(())
}

/// Brings the store to the changes' seq, in one transaction.
///
/// # Errors
/// sled failed; nothing of them is in it then.
pub fn write(db: &Db, changes: &Changes) -> Result<(), sled::Error> {
    let done = db.transaction(|tx| {
        let mut meta = match tx.get(META)? {
            Some(bytes) => parse_meta(&bytes)
                .map_err(|why| ConflictableTransactionError::Abort(why.to_string()))?,
            None => empty_meta(),
        };
        for (piece, text) in &changes.pieces {
            put(tx, &mut meta, piece, text.as_deref())?;
        }
        finish(&mut meta, changes);
        tx.insert(META, meta.checked().bytes())?;
        Ok(())
    });
    done.map_err(|error| match error {
        TransactionError::Storage(error) => error,
        TransactionError::Abort(why) => sled::Error::ReportableBug(why),
    })
}

fn empty_meta() -> Meta {
    Meta {
        schema: SCHEMA,
        applied_seq: 0,
        count: 0,
        hash: 0,
        node: String::new(),
        journal: String::new(),
        check: 0,
    }
}

fn finish(meta: &mut Meta, changes: &Changes) {
    meta.applied_seq = changes.seq;
    (meta.node, meta.journal) = changes.owner.clone();
}

fn put(
    tx: &TransactionalTree,
    meta: &mut Meta,
    piece: &str,
    text: Option<&str>,
) -> Result<(), ConflictableTransactionError<String>> {
    let bytes = text.unwrap_or_default().as_bytes();
    let mut chunks = 0;
    for chunk in bytes.chunks(CHUNK) {
        let k = key(piece, chunks);
        if let Some(old) = tx.insert(k.as_bytes(), chunk)? {
            meta.count = meta.count.wrapping_sub(1);
            meta.hash = meta.hash.wrapping_sub(hash(k.as_bytes(), &old));
        }
        meta.count = meta.count.wrapping_add(1);
        meta.hash = meta.hash.wrapping_add(hash(k.as_bytes(), chunk));
        chunks += 1;
    }
    loop {
        let k = key(piece, chunks);
        let Some(old) = tx.remove(k.as_bytes())? else {
            return Ok(());
        };
        meta.count = meta.count.wrapping_sub(1);
        meta.hash = meta.hash.wrapping_sub(hash(k.as_bytes(), &old));
        chunks += 1;
    }
}

/// Fills the store anew: without `meta` until everything is in, so that half a store is none.
///
/// # Errors
/// sled failed; the store holds nothing that counts then.
pub fn replace(db: &Db, changes: &Changes) -> Result<(), sled::Error> {
    db.remove(META)?;
    let old: Vec<sled::IVec> = db.iter().keys().collect::<Result<_, _>>()?;
    for keys in old.chunks(256) {
        let mut batch = sled::Batch::default();
        for k in keys {
            batch.remove(k.clone());
        }
        db.apply_batch(batch)?;
    }
    let mut meta = empty_meta();
    finish(&mut meta, changes);
    for (piece, text) in &changes.pieces {
        let mut batch = sled::Batch::default();
        let bytes = text.as_deref().unwrap_or_default().as_bytes();
        for (i, chunk) in bytes.chunks(CHUNK).enumerate() {
            let k = key(piece, i);
            meta.count += 1;
            meta.hash = meta.hash.wrapping_add(hash(k.as_bytes(), chunk));
            batch.insert(k.as_bytes(), chunk);
        }
        db.apply_batch(batch)?;
    }
    db.insert(META, meta.checked().bytes())?;
    Ok(())
}
