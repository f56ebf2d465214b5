//! The one writer: where the next line goes.
//!
//! Owns: seqs, the chain of sums, the live segment, and what of it is known to be durable. In:
//! events. Out: lines. Must never happen here: a line after a torn one, a sync of a file whose
//! sync has failed, or a thread (who syncs is the ledger's affair).

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Identity, Sizes,
    disk::Disk,
    frame::{self, EncodeError, Sum},
    segment::{Live, Prepared},
};
use crate::model::{
    ids::Seq,
    line::{Event, FORMAT, Line, MIN_READER, Moment},
};

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Seq of the line that ends there.
    pub seq: Seq,
    /// Its sum.
    pub sum: Sum,
    /// Its end within its segment, in bytes.
    pub bytes: u64,
}

/// Why a line was not written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No segment takes lines.
    #[error("the journal has no segment to write to")]
    NotLive,
    /// The line has no bytes.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The disk refused. The segment takes no more lines: it may end in half a one.
    #[error("a line can't be appended to the journal")]
    Io(#[source] io::Error),
}

/// The writer.
#[derive(Debug)]
pub struct Writer {
    disk: Disk,
    dir: PathBuf,
    sizes: Sizes,
    identity: Identity,
    live: Option<Live>,
    // The live segment refused a line or a sync: it takes no more.
    broken: bool,
    sync_failed: bool,
    tip: Seq,
    sum: Sum,
    synced: Point,
    marked: Seq,
}

impl Writer {
    /// A writer without a live segment, whose next segment continues from `synced`; the first
    /// line will be above `tip`, which is `synced.seq` or later.
    #[must_use]
    pub fn new(
        disk: Disk,
        dir: &Path,
        sizes: Sizes,
        identity: Identity,
        synced: Point,
        tip: Seq,
    ) -> Self {
        Self {
            disk,
            dir: dir.to_owned(),
            sizes,
            identity,
            live: None,
            broken: false,
            sync_failed: false,
            tip: tip.max(synced.seq),
            sum: synced.sum,
            synced,
            marked: 0,
        }
    }

    /// Goes on in a segment that is there, because the disk is too full for a new one.
    pub fn resume(&mut self, live: Live) {
        self.live = Some(live);
    }

    /// Whose journal this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last seq that was used.
    #[must_use]
    pub fn tip(&self) -> Seq {
        self.tip
    }

    /// Up to where everything is durable.
    #[must_use]
    pub fn synced(&self) -> Point {
        self.synced
    }

    /// Can a line be written?
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live.is_some() && !self.broken
    }

    /// Is it time for the next segment?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_live()
            && self
                .live
                .as_ref()
                .is_some_and(|l| l.len >= self.sizes.segment)
    }

    /// Bytes that the live segment still owns; none where that can't be known.
    #[must_use]
    pub fn reserve_left(&self) -> Option<u64> {
        self.live.as_ref().and_then(Live::reserve_left)
    }

    /// Writes the line of an event: on return it is in the file, not durable.
    ///
    /// # Errors
    /// Nothing that counts was written.
    pub fn append(&mut self, line: &mut Line) -> Result<(), AppendError> {
        if self.broken {
            return Err(AppendError::NotLive);
        }
        let live = self.live.as_mut().ok_or(AppendError::NotLive)?;
        line.seq = self.tip + 1;
        // The first line of a batch tells up to where the batches before it are durable.
        line.durable = (self.synced.seq > self.marked).then_some(self.synced.seq);
        let (bytes, sum) = frame::encode(line, self.sum)?;
        if let Err(error) = self.disk.append(&live.file, &bytes) {
            self.broken = true;
            return Err(AppendError::Io(error));
        }
        live.len += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.tip = line.seq;
        self.sum = sum;
        self.marked = self.marked.max(line.durable.unwrap_or(0));
        Ok(())
    }

    /// What a sync now would make durable: the file, and up to where; none if everything is, or
    /// if this file must not be synced.
    #[must_use]
    pub fn unsynced(&self) -> Option<(Arc<File>, Point)> {
        let live = self.live.as_ref().filter(|_| !self.sync_failed)?;
        let point = Point {
            seq: self.tip,
            sum: self.sum,
            bytes: live.len,
        };
        (point.seq > self.synced.seq).then(|| (Arc::clone(&live.file), point))
    }

    /// A sync up to there has returned.
    pub fn mark_synced(&mut self, point: Point) {
        if point.seq > self.synced.seq {
            self.synced = point;
        }
    }

    /// A sync of the live segment has failed. It takes no more lines and is never synced again;
    /// what of it counts ends where the last sync that returned left it. Returns the seqs that
    /// are withdrawn by this.
    pub fn mark_sync_failed(&mut self) -> Option<(Seq, Seq)> {
        self.broken = true;
        self.sync_failed = true;
        self.sum = self.synced.sum;
        (self.tip > self.synced.seq).then(|| (self.synced.seq + 1, self.tip))
    }

    /// Ends the live segment for the one that was prepared: writes its header, durable, as the
    /// next line. Everything that counts has to be durable by now.
    ///
    /// # Errors
    /// There is no new segment; the old one, if it was sound, is still live.
    pub fn begin(&mut self, prepared: Prepared, moment: Moment) -> Result<Line, AppendError> {
        let first = self.tip + 1;
        let header = Line {
            seq: first,
            moment,
            event: Event::SegmentHeader {
                format: FORMAT,
                min_reader: MIN_READER,
                journal: self.identity.journal.clone(),
                node: self.identity.node.clone(),
                first_seq: first,
                prev_sum: self.synced.sum.to_string(),
                prev_bytes: self.synced.bytes,
            },
            state: None,
            durable: Some(self.synced.seq),
        };
        let (bytes, sum) = frame::encode(&header, self.synced.sum)?;
        let live = prepared
            .publish(&self.disk, &self.dir, first, &bytes)
            .map_err(AppendError::Io)?;
        self.synced = Point {
            seq: first,
            sum,
            bytes: live.len,
        };
        self.live = Some(live);
        self.broken = false;
        self.sync_failed = false;
        self.tip = first;
        self.sum = sum;
        self.marked = first;
        Ok(header)
    }

    /// First seq of the live segment.
    #[must_use]
    pub fn live_first(&self) -> Option<Seq> {
        self.live.as_ref().map(|l| l.first)
    }

    /// The live segment takes no more lines (it was ended, or refused one).
    pub fn give_up(&mut self) {
        self.broken = true;
    }
}

#[cfg(test)]
mod tests;
