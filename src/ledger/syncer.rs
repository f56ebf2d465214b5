//! The ledger's thread: the only one that syncs in the ordinary course of things.
//!
//! Owns: group commit (whoever waits when it begins shares its fdatasync), beginning new
//! segments, snapshots. Must never happen here: a sync that nobody waits for.

use std::{
    sync::MutexGuard,
    time::{Duration, Instant},
};

use super::core::{Core, Shared};
use crate::error_chain::one_line;
use crate::journal::{retention, segment::Prepared, writer::AppendError};
use crate::model::{
    ids::Seq,
    line::{Event, Line},
};

/// If the disk has no room for a new segment, it is tried again after so long.
const ROTATE_RETRY: Duration = Duration::from_secs(1);

/// Works until it is stopped.
pub(super) fn run(shared: &Shared) {
    while let Some(wanted) = next_job(shared) {
        let gate = shared.gate();
        if wanted {
            sync(shared);
        }
        if should_rotate(shared, &shared.core()) {
            rotate(shared);
        }
        let mut core = shared.core();
        if std::mem::take(&mut core.snapshot_wanted)
            && let Err(error) = snapshot(shared, core)
        {
            tracing::warn!(%error, "a snapshot can't be written");
        }
        drop(gate);
    }
}

/// Waits for work; none if it is to stop, true if a sync is part of it.
fn next_job(shared: &Shared) -> Option<bool> {
    let mut core = shared.core();
    loop {
        if core.stop {
            return None;
        }
        let wanted = core.wanted > core.writer.synced().seq && core.writer.unsynced().is_some();
        if wanted || core.snapshot_wanted || should_rotate(shared, &core) {
            return Some(wanted);
        }
        core = shared
            .work
            .wait(core)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
    }
}

fn should_rotate(shared: &Shared, core: &Core) -> bool {
    let due = core.writer.is_full() || core.low(&shared.sizes);
    due && core
        .rotate_after
        .is_none_or(|after| Instant::now() >= after)
}

/// One fdatasync for everybody who waits by now.
fn sync(shared: &Shared) {
    let Some((file, point)) = shared.core().writer.unsynced() else {
        return;
    };
    // Without the lock: lines are recorded meanwhile, and wait for the next one.
    let done = shared.disk.fdatasync(&file);
    let mut core = shared.core();
    match done {
        Ok(()) => shared.advance(&mut core, point),
        Err(error) => {
            shared.lapse(&mut core, &error);
            shared.recover(&mut core);
        }
    }
}

fn rotate(shared: &Shared) {
    let prepared = Prepared::new(&shared.disk, &shared.dir, shared.sizes.reserve);
    let mut core = shared.core();
    match prepared {
        Err(error) => {
            // The old one goes on with what it owns.
            tracing::warn!(%error, "no new segment can be had");
            core.rotate_after = Some(Instant::now() + ROTATE_RETRY);
        }
        Ok(prepared) => match seal(shared, &mut core) {
            Ok(()) => match shared.begin(&mut core, prepared) {
                Ok(()) => core.snapshot_wanted = true,
                Err(error) => {
                    tracing::error!(error = one_line(&error), "a new segment can't be begun");
                    core.writer.give_up();
                    shared.recover(&mut core);
                }
            },
            Err(error) => {
                tracing::error!(
                    error = one_line(&error),
                    "a segment can't be ended in order"
                );
                prepared.discard(&shared.disk);
                shared.recover(&mut core);
            }
        },
    }
}

/// Writes the last line of the live segment and makes it durable.
fn seal(shared: &Shared, core: &mut Core) -> Result<(), AppendError> {
    let mut line = Line {
        seq: Seq::default(),
        moment: shared.clock.now(),
        event: Event::SegmentSealed {},
        state: None,
        durable: None,
    };
    core.writer.append(&mut line)?;
    let seq = line.seq;
    core.take(line);
    shared.written.send_replace(seq);
    if let Some((file, point)) = core.writer.unsynced() {
        match shared.disk.fdatasync(&file) {
            Ok(()) => shared.advance(core, point),
            Err(error) => {
                shared.lapse(core, &error);
                return Err(AppendError::Io(error));
            }
        }
    }
    Ok(())
}

/// Takes a snapshot of what is durable and lets go of what need not be kept.
/// Needs the gate.
pub(super) fn snapshot(shared: &Shared, core: MutexGuard<'_, Core>) -> std::io::Result<()> {
    let now = shared.clock.now().at;
    let snapshot = core.snapshot(now);
    drop(core);
    shared.write_snapshot(&snapshot)?;
    match retention::prune(&shared.disk, &shared.dir, &shared.sizes, now) {
        Ok(gone) if !gone.is_empty() => tracing::info!(segments = gone.len(), "history removed"),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "history can't be removed"),
    }
    shared.flush_store_soon();
    Ok(())
}
