//! A start: reading what is there, and going on from it.
//!
//! Owns: the order of a start, and where the journal goes on. Out: a ledger that can be written to
//! (or says why not), and [`Opening`], from which the agent records degraded modes. Must never
//! happen here: refusing to start over what can be rebuilt.

use std::{
    collections::VecDeque,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex},
};

use tokio::sync::watch;

use super::{
    Doubt, OpenError, OpenOptions, Opening, StoreOpening,
    belief::{Found, believe, read_both},
    core::{Core, Progress, Shared},
    doubt,
};
use crate::{
    error_chain::one_line,
    journal::{
        Disk, Identity,
        read::Loaded,
        segment::{self, Live},
        writer::Writer,
    },
    model::{ids::NodeUid, line::Event},
    store::{Opened, Store, Why},
};

/// So many segments without a snapshot are enough to take one at start-up.
const SEGMENTS_WITHOUT_SNAPSHOT: usize = 16;

pub(super) fn open(options: OpenOptions) -> Result<(Shared, Opening), OpenError> {
    let dir = options.state_dir.join("journal");
    let had_pods = has_entries(&options.state_dir.join("pods"));
    make_dirs(&options.disk, &options.state_dir, &dir)?;
    let (store, opened) = Store::open(options.store.clone()).map_err(|source| OpenError::Io {
        what: "the store's thread can't be started".to_owned(),
        source,
    })?;
    let (opened, mut loaded) = read_both(&dir, &store, opened)?;
    let had_store = !matches!(
        &opened,
        Opened::Rebuilt {
            why: Why::Missing,
            ..
        }
    );
    let mut found = believe(&store, opened, &mut loaded);
    let new_journal = loaded.identity.is_none();
    let journal_lost = journal_lost(&loaded, had_store, had_pods);
    let identity = match found.identity.clone() {
        Some(identity) => identity,
        None => draw_identity(options.owner.clone().filter(|_| had_pods))?,
    };
    let mut opening = Opening {
        node: identity.node.clone(),
        new_journal,
        store: found.store.clone(),
        ahead: found.ahead,
        damage: std::mem::take(&mut loaded.damage),
        tail: loaded.tail.take(),
        journal_lost,
        doubted: 0,
        read_only: None,
        disk_full: false,
        boot_changed: !found.fold.node.boot.is_empty()
            && found.fold.node.boot != options.clock.now().boot,
        replayed_to: found.fold.seq,
    };
    if new_journal && !had_store && opening.journal_lost.is_none() {
        opening.store = StoreOpening::Fresh;
    }
    // Before anything is written: each file that holds this fold from now on says so, too.
    let doubt = doubt(&found.fold, &opening.damage);
    if let Some(Doubt { uids, why }) = &doubt {
        let changed = found.fold.doubt(uids, why);
        found
            .dirty
            .iter_mut()
            .for_each(|d| d.extend(changed.clone()));
    }
    let shared = assemble(&options, dir, found, identity, &loaded, store, &mut opening);
    if let Some(Doubt { uids, why }) = doubt
        && let Err(error) = shared.record(Event::Doubted { uids, why })
    {
        tracing::error!(error = one_line(&error), "a doubt can't be written down");
    }
    opening.doubted = shared.core().fold.doubted().count();
    Ok((shared, opening))
}

fn make_dirs(disk: &Disk, state_dir: &Path, journal: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path| {
        let what = format!("the directory {} can't be made", path.display());
        move |source| OpenError::Io { what, source }
    };
    if !state_dir.exists() {
        if let Some(above) = state_dir.parent() {
            std::fs::create_dir_all(above).map_err(failed(above))?;
        }
        disk.make_dir(state_dir).map_err(failed(state_dir))?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(state_dir, mode).map_err(failed(state_dir))?;
    }
    disk.make_dir(journal).map_err(failed(journal))
}

fn has_entries(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

fn journal_lost(loaded: &Loaded, had_store: bool, had_pods: bool) -> Option<String> {
    if loaded.identity.is_some() {
        return None;
    }
    if !loaded.is_empty() {
        return Some("nothing in the former journal can be read".to_owned());
    }
    match (had_store, had_pods) {
        (true, _) => Some("the journal is gone; the state comes from the store".to_owned()),
        (false, true) => Some("journal and store are gone; containers may be left".to_owned()),
        (false, false) => None,
    }
}

fn draw_identity(owner: Option<NodeUid>) -> Result<Identity, OpenError> {
    let mut bytes = [0; 24];
    getrandom::fill(&mut bytes).map_err(|error| OpenError::Io {
        what: "a node uid can't be drawn".to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    let mut entropy = [0; 8];
    entropy.copy_from_slice(&bytes[..8]);
    Ok(Identity {
        node: owner.unwrap_or_else(|| NodeUid::from_entropy(u64::from_le_bytes(entropy))),
        journal: data_encoding::HEXLOWER.encode(&bytes[8..]),
    })
}

/// Puts the ledger together and begins this daemon's segment.
fn assemble(
    options: &OpenOptions,
    dir: PathBuf,
    mut found: Found,
    identity: Identity,
    loaded: &Loaded,
    store: Store,
    opening: &mut Opening,
) -> Shared {
    let synced = sync_former(&options.disk, &dir, loaded);
    found.snapshot_due |= !synced;
    let writer = Writer::new(
        options.disk.clone(),
        &dir,
        options.sizes.clone(),
        identity,
        found.from,
        found.tip,
    );
    let all_dirty = found.dirty.is_none();
    let core = Core {
        writer,
        durable_fold: found.fold.clone(),
        fold: found.fold,
        pending: VecDeque::new(),
        dirty: found.dirty.unwrap_or_default(),
        all_dirty,
        offered: 0,
        wanted: 0,
        snapshot_wanted: loaded.segments >= SEGMENTS_WITHOUT_SNAPSHOT
            || loaded
                .end
                .is_some_and(|end| end.bytes >= options.sizes.segment),
        snapshot_due: found.snapshot_due,
        names_due: opening.new_journal,
        rotate_after: None,
        trouble: None,
        healed: None,
        stop: false,
        closed: false,
    };
    let shared = Shared {
        progress: watch::Sender::new(Progress {
            durable: found.from.seq,
            ..Progress::default()
        }),
        written: watch::Sender::new(core.writer.tip()),
        lapses: watch::Sender::new(0),
        core: Mutex::new(core),
        gate: Mutex::new(()),
        work: Condvar::new(),
        store: Mutex::new(Some(store)),
        clock: options.clock.clone(),
        disk: options.disk.clone(),
        sizes: options.sizes.clone(),
        dir,
    };
    first_segment(&shared, loaded, opening);
    shared
}

/// What was read is believed from now on, so it has to be durable, with its names; a kill may
/// have come before its sync. False if that can't be had.
fn sync_former(disk: &Disk, dir: &Path, loaded: &Loaded) -> bool {
    let Some(end) = loaded.end else { return true };
    let path = dir.join(segment::file_name(end.first));
    let done = std::fs::File::open(path)
        .and_then(|file| disk.fdatasync(&file))
        .and_then(|()| disk.fsync_dir(dir));
    if let Err(error) = &done {
        tracing::error!(%error, "the former segment can't be made durable");
    }
    done.is_ok()
}

fn first_segment(shared: &Shared, loaded: &Loaded, opening: &mut Opening) {
    let mut core = shared.core();
    shared.recover(&mut core);
    if core.trouble.as_ref().is_some_and(|t| t.full) {
        opening.disk_full = true;
        if !core.snapshot_due && resume(shared, &mut core, loaded) {
            core.trouble = None;
        } else {
            // It can't be gone on in (it ends in half a line, say), so what it owns is of no use
            // to it. Half of that is enough for the next one, unless somebody else is faster.
            release_former(shared, loaded);
            core.trouble = None;
            shared.recover_with(&mut core, shared.sizes.reserve / 2);
        }
    }
    opening.read_only = core.trouble.as_ref().map(|t| t.why.clone());
    let live = core.writer.live_first();
    if live.is_some() && live != loaded.end.map(|end| end.first) {
        release_former(shared, loaded);
    }
}

/// Gives back what the former segment owns beyond its bytes.
fn release_former(shared: &Shared, loaded: &Loaded) {
    let Some(end) = loaded.end else { return };
    let path = shared.dir.join(segment::file_name(end.first));
    if let Err(error) = segment::release_reserve(&path) {
        tracing::warn!(
            error = one_line(&error),
            "an ended segment's space can't be given back"
        );
    }
}

/// The disk is too full for a new segment: goes on in the former one, which owns space, if
/// nothing stands behind its last line.
fn resume(shared: &Shared, core: &mut Core, loaded: &Loaded) -> bool {
    let Some(end) = loaded.end else { return false };
    let whole = end.bytes == end.len && !end.sealed && loaded.tail.is_none();
    if !whole || core.writer.tip() != core.writer.synced().seq {
        return false;
    }
    let path = shared.dir.join(segment::file_name(end.first));
    let (Ok(file), Ok(owned)) = (shared.disk.open_append(&path), segment::owned(&path)) else {
        return false;
    };
    core.writer.resume(Live {
        file: std::sync::Arc::new(file),
        first: end.first,
        len: end.bytes,
        reserved: Some(owned),
    });
    true
}
