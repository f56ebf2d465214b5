//! Syncs, new segments, and what happens when the disk fails.
//!
//! Owns: what is durable, withdrawing what is not, the read-only journal and the way back. Must
//! never happen here: a step without the gate.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::core::{Core, Shared, Trouble};
use crate::book::BookError;
use crate::error_chain::one_line;
use crate::journal::{
    segment::{self, Prepared},
    snapshot::{self, Snapshot},
    writer::{AppendError, Point},
};

/// A failed journal is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

impl Shared {
    /// Begins a new segment if the live one takes no more lines. Needs the gate.
    pub(super) fn recover(&self, core: &mut Core) {
        self.recover_with(core, self.sizes.reserve);
    }

    /// The same for a segment that owns so many bytes.
    pub(super) fn recover_with(&self, core: &mut Core, reserve: u64) {
        if core.writer.is_live() || core.closed {
            return;
        }
        let tried = core.trouble.as_ref().and_then(|t| t.tried);
        if tried.is_some_and(|tried| tried.elapsed() < RETRY) {
            return;
        }
        if let Some((file, point)) = core.writer.unsynced() {
            match self.disk.fdatasync(&file) {
                Ok(()) => self.advance(core, point),
                Err(error) => self.lapse(core, &error),
            }
        }
        match self.next_segment(core, reserve) {
            Ok(()) => core.healed = core.trouble.take().map(|t| t.why).or(core.healed.take()),
            Err(error) => {
                let why = one_line(&error);
                tracing::error!(why, "the journal is read-only");
                core.trouble = Some(Trouble {
                    why,
                    full: is_full(&error),
                    tried: Some(Instant::now()),
                });
            }
        }
    }

    fn next_segment(&self, core: &mut Core, reserve: u64) -> Result<(), AppendError> {
        let prepared = Prepared::new(&self.disk, &self.dir, reserve).map_err(AppendError::Io)?;
        if core.snapshot_due
            && let Err(error) = self.write_snapshot(&core.snapshot(self.clock.now().at))
        {
            prepared.discard(&self.disk);
            return Err(AppendError::Io(error));
        }
        core.snapshot_due = false;
        if core.names_due
            && let Err(error) = self.sync_names()
        {
            prepared.discard(&self.disk);
            return Err(AppendError::Io(error));
        }
        core.names_due = false;
        self.begin(core, prepared)
    }

    /// Makes the names of the journal's directory and of the state directory durable.
    fn sync_names(&self) -> std::io::Result<()> {
        self.dir.ancestors().skip(1).take(2).try_for_each(|dir| {
            // Above a bare name lies the working directory.
            let bare = dir.as_os_str().is_empty();
            self.disk.fsync_dir(if bare { Path::new(".") } else { dir })
        })
    }

    /// Makes the prepared segment the live one. Needs the gate.
    pub(super) fn begin(&self, core: &mut Core, prepared: Prepared) -> Result<(), AppendError> {
        let former = core.writer.live_first();
        let header = core.writer.begin(prepared, self.clock.now())?;
        let point = core.writer.synced();
        core.take(header);
        self.written.send_replace(point.seq);
        self.advance(core, point);
        core.rotate_after = None;
        if let Some(first) = former {
            let path = self.dir.join(segment::file_name(first));
            if let Err(error) = segment::release_reserve(&path) {
                tracing::warn!(%error, "an ended segment's space can't be given back");
            }
        }
        Ok(())
    }

    pub(super) fn write_snapshot(&self, snapshot: &Snapshot) -> std::io::Result<()> {
        snapshot::write(&self.disk, &self.dir, snapshot)
    }

    /// Everything up to the point is durable.
    pub(super) fn advance(&self, core: &mut Core, point: Point) {
        core.writer.mark_synced(point);
        let durable = core.writer.synced().seq;
        while core.pending.front().is_some_and(|l| l.seq <= durable) {
            if let Some(line) = core.pending.pop_front() {
                let changed = core.durable_fold.apply(&line);
                core.dirty.extend(changed);
            }
        }
        self.progress.send_modify(|p| p.durable = durable);
        self.wake_store();
    }

    /// A sync failed: what isn't durable is withdrawn. Needs the gate.
    pub(super) fn lapse(&self, core: &mut Core, error: &std::io::Error) {
        tracing::error!(%error, "a sync of the journal failed: what was not durable is withdrawn");
        core.snapshot_due = true;
        let Some(range) = core.writer.mark_sync_failed() else {
            return;
        };
        core.pending.clear();
        // At its own seq, not at the last withdrawn one: until the next segment says where this
        // one ends, a snapshot or store that claims to know those lines would make damage of
        // what may be left of them.
        core.fold = core.durable_fold.clone();
        // First the lapse: who learns that a line is withdrawn shall find it counted.
        self.lapses.send_modify(|n| *n += 1);
        self.progress.send_modify(|p| {
            Arc::make_mut(&mut p.withdrawn).push(range);
            p.why = error.to_string().into();
        });
    }

    /// Makes everything that is written durable, here and now.
    pub(super) fn sync_now(&self) -> Result<(), BookError> {
        let gate = self.gate();
        let mut core = self.core();
        let tip = core.writer.tip();
        if let Some((file, point)) = core.writer.unsynced() {
            match self.disk.fdatasync(&file) {
                Ok(()) => self.advance(&mut core, point),
                Err(error) => {
                    self.lapse(&mut core, &error);
                    self.recover(&mut core);
                }
            }
        }
        drop(core);
        drop(gate);
        let outcome = self.progress.borrow().outcome(tip);
        outcome.unwrap_or(Err(BookError::Closed))
    }

    pub(super) fn heal(&self) {
        let needs = {
            let core = self.core();
            !core.writer.is_live() && !core.closed
        };
        if needs {
            let gate = self.gate();
            let mut core = self.core();
            self.recover(&mut core);
            drop(gate);
        }
        if self.core().low(&self.sizes) {
            self.work.notify_all();
        }
    }
}

fn is_full(error: &AppendError) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error, AppendError::Io(io) if matches!(io.kind(), StorageFull | QuotaExceeded))
}
