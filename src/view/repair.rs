//! `state repair`: what a damaged journal left open, for a person to settle.

use serde::{Deserialize, Serialize};

use super::{Live, Unclaimed, ps::shown_state};
use crate::model::fold::{Desired, Fold, InstanceRecord};

/// What is open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairView {
    /// Was what is known accepted by this very call?
    pub accepted: bool,
    /// What of the journal is damaged, a sentence each, as its files are now.
    pub damage: Vec<String>,
    /// Instances that are in doubt, or were until this call accepted what is known of them.
    pub doubted: Vec<DoubtedView>,
    /// What bears this node's mark and of which nothing is known.
    pub unclaimed: Vec<Unclaimed>,
}

/// An instance in doubt: neither started nor stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubtedView {
    /// Its id.
    pub instance: String,
    /// Its incarnation.
    pub uid: String,
    /// What it shall be by the lines that are left: `run` or `gone`.
    pub desired: String,
    /// Which definition that is, counted from 1.
    pub generation: u32,
    /// Its state by those lines.
    pub state: String,
    /// What is lost.
    pub why: String,
}

/// What is open by the fold and by what a live daemon sees.
#[must_use]
pub fn repair(fold: &Fold, live: &Live) -> RepairView {
    let mut doubted: Vec<_> = fold.doubted().map(doubted_view).collect();
    doubted.sort_by(|a, b| (&a.instance, &a.uid).cmp(&(&b.instance, &b.uid)));
    RepairView {
        doubted,
        unclaimed: live.unclaimed.clone(),
        ..RepairView::default()
    }
}

fn doubted_view(record: &InstanceRecord) -> DoubtedView {
    let desired = match record.desired {
        Desired::Run => "run",
        Desired::Gone => "gone",
    };
    DoubtedView {
        instance: record.instance.to_string(),
        uid: record.uid.to_string(),
        desired: desired.to_owned(),
        generation: record.generation,
        state: shown_state(record).state.to_string(),
        why: record.doubt.clone().unwrap_or_default(),
    }
}
