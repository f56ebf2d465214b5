//! Which of store and journal is believed.
//!
//! Owns: the decision, from what was read of both. Must never happen here: a doubtful store being
//! used, or the word of a sound one being thrown away because the journal is damaged.

use std::{collections::BTreeSet, path::Path};

use super::{Ahead, OpenError, StoreOpening};
use crate::{
    journal::{
        Damage, Identity,
        read::{self, Loaded},
        writer::Point,
    },
    model::{
        fold::{Fold, Piece},
        ids::Seq,
    },
    store::{Content, Opened, Store, Why},
};

/// What is known after reading, and where the journal goes on.
pub(super) struct Found {
    pub(super) fold: Fold,
    pub(super) identity: Option<Identity>,
    pub(super) tip: Seq,
    /// What the next header continues from.
    pub(super) from: Point,
    /// What the store lacks; none for everything.
    pub(super) dirty: Option<BTreeSet<Piece>>,
    /// The fold is in no file of the journal yet.
    pub(super) snapshot_due: bool,
    pub(super) store: StoreOpening,
    pub(super) ahead: Option<Ahead>,
}

/// Reads store and journal. A store of another journal is set aside.
pub(super) fn read_both(
    dir: &Path,
    store: &Store,
    opened: Opened,
) -> Result<(Opened, Loaded), OpenError> {
    let known = match &opened {
        Opened::Loaded(content) => content.applied,
        _ => 0,
    };
    let loaded = read::load(dir, known, None)?;
    let foreign = match (&opened, &loaded.identity) {
        (Opened::Loaded(content), Some(identity)) => {
            content.owner.1 != identity.journal || content.owner.0 != identity.node.as_str()
        }
        _ => false,
    };
    if !foreign {
        return Ok((opened, loaded));
    }
    let why = Why::Disagrees("it belongs to another journal".to_owned());
    let quarantined = store.quarantine(why.clone());
    // What it said of durability says nothing of this journal.
    Ok((
        Opened::Rebuilt { why, quarantined },
        read::load(dir, 0, None)?,
    ))
}

/// Decides what is known.
pub(super) fn believe(store: &Store, opened: Opened, loaded: &mut Loaded) -> Found {
    match opened {
        Opened::Loaded(content) => believe_store(store, *content, loaded),
        Opened::Rebuilt { why, quarantined } => {
            from_journal(loaded, StoreOpening::Rebuilt { why, quarantined })
        }
        Opened::Off { why } => from_journal(loaded, StoreOpening::Off { why }),
    }
}

fn from_journal(loaded: &mut Loaded, store: StoreOpening) -> Found {
    let (seq, sum) = loaded.tip;
    let mut fold = std::mem::take(&mut loaded.fold);
    // The tip may lie behind the last line: what is between was withdrawn or is damaged.
    fold.seq = fold.seq.max(seq);
    Found {
        identity: loaded.identity.clone(),
        tip: seq.max(loaded.highest_name),
        from: Point {
            seq,
            sum,
            bytes: loaded.end.map_or(0, |end| end.bytes),
        },
        fold,
        dirty: None,
        snapshot_due: false,
        store,
        ahead: None,
    }
}

fn believe_store(store: &Store, content: Content, loaded: &mut Loaded) -> Found {
    let applied = content.applied;
    let Some((mut fold, owner)) = whole_fold(&content) else {
        return distrust(store, loaded, "a piece of it can't be read");
    };
    let told = StoreOpening::Loaded { applied };
    if applied > loaded.tip.0 {
        return go_on_from_store(fold, owner, applied, loaded, told);
    }
    if applied < loaded.base {
        // It was off for a while; what it lacks may be in no segment any more.
        return from_journal(loaded, told);
    }
    let mut dirty = BTreeSet::new();
    for line in loaded.lines.iter().filter(|line| line.seq > applied) {
        dirty.extend(fold.apply(line));
    }
    fold.seq = loaded.fold.seq;
    let doubt = loaded.damage.iter().any(Damage::in_doubt);
    if !doubt && fold.pieces() != loaded.fold.pieces() {
        return distrust(
            store,
            loaded,
            "it is not what the journal's lines add up to",
        );
    }
    for damage in &mut loaded.damage {
        damage.covered |= damage.last.is_some_and(|last| last <= applied);
    }
    // The store knows what damaged lines said: from now on a snapshot does, too.
    let snapshot_due = doubt;
    let mut found = from_journal(loaded, told);
    found.fold = fold;
    found.dirty = Some(dirty);
    found.snapshot_due = snapshot_due;
    found
}

fn distrust(store: &Store, loaded: &mut Loaded, how: &str) -> Found {
    let why = Why::Disagrees(how.to_owned());
    let quarantined = store.quarantine(why.clone());
    from_journal(loaded, StoreOpening::Rebuilt { why, quarantined })
}

/// The journal's end, or all of it, was lost, and the store has it.
fn go_on_from_store(
    fold: Fold,
    owner: Identity,
    applied: Seq,
    loaded: &mut Loaded,
    told: StoreOpening,
) -> Found {
    let journal = loaded.tip.0;
    for damage in &mut loaded.damage {
        damage.last = damage.last.or(Some(applied));
        damage.covered |= damage.last.is_some_and(|last| last <= applied);
    }
    // Not the sum of the last line there is: readers shall see that lines are missing.
    let gap = format!("the store went on at {applied} after {journal}");
    let sum = loaded.tip.1.next(gap.as_bytes());
    let lost_all = loaded.identity.is_none();
    let mut found = from_journal(loaded, told);
    found.from.seq = applied;
    found.from.sum = sum;
    found.tip = found.tip.max(applied);
    found.fold = fold;
    found.identity = found.identity.or(Some(owner));
    found.dirty = Some(BTreeSet::new());
    found.snapshot_due = true;
    found.ahead = (!lost_all).then_some(Ahead {
        journal,
        store: applied,
    });
    found
}

/// The store's fold and owner; none if a part of it can't be read.
fn whole_fold(content: &Content) -> Option<(Fold, Identity)> {
    let mut pieces = Vec::with_capacity(content.pieces.len());
    for (name, text) in &content.pieces {
        pieces.push((name.parse::<Piece>().ok()?, text.clone()));
    }
    let (fold, errors) = Fold::from_pieces(content.applied, pieces);
    if let Some(error) = errors.first() {
        tracing::warn!(%error, "a piece of the store can't be read");
        return None;
    }
    let identity = Identity {
        node: content.owner.0.parse().ok()?,
        journal: content.owner.1.clone(),
    };
    Some((fold, identity))
}
