//! What is kept of instances that are gone: a record in the fold for a while, and their last log
//! for as long. Here the logs go with the record.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    book::Book,
    image::Images,
    ledger::Ledger,
    model::{fold::Fold, ids::Uid, line::DegradedMode},
    runtime::real_node::RealNode,
};

/// How often logs are looked at: a directory is read, of a thousand entries at most.
const EVERY: Duration = Duration::from_secs(60);

/// While these are shown, what isn't known may be unknown by their cause: everything stays.
const IN_DOUBT: [DegradedMode; 3] = [
    DegradedMode::JournalDamaged,
    DegradedMode::JournalLost,
    DegradedMode::Unclaimed,
];

/// Begins to let go of logs, until `stop`.
pub(super) fn start(book: &Ledger, node: &Arc<RealNode<Images>>, stop: &CancellationToken) {
    tokio::spawn(keep(book.clone(), Arc::clone(node), stop.clone()));
}

async fn keep(book: Ledger, node: Arc<RealNode<Images>>, stop: CancellationToken) {
    // Not at once: what is unclaimed isn't known yet.
    let mut ticks = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let (book, node) = (book.clone(), Arc::clone(&node));
        let looked = tokio::task::spawn_blocking(move || let_go(&book, &node)).await;
        if let Ok(Err(error)) = looked {
            tracing::warn!(%error, "logs of instances that are gone can't be removed");
        }
    }
}

fn let_go(book: &Ledger, node: &RealNode<Images>) -> std::io::Result<()> {
    // Looked at first: an instance is in the fold before there is a log of it.
    let logged = node.logged()?;
    for uid in book.read(|fold| expendable(fold, logged)) {
        tracing::debug!(%uid, "its record is gone, and now its log");
        node.remove_logs(&uid)?;
    }
    Ok(())
}

/// Those of which nothing is known any more.
fn expendable(fold: &Fold, mut logged: Vec<Uid>) -> Vec<Uid> {
    if IN_DOUBT
        .iter()
        .any(|mode| fold.node.degraded.contains_key(mode))
    {
        return Vec::new();
    }
    let last: BTreeSet<&Uid> = fold.tombstones.values().map(|t| &t.uid).collect();
    logged.retain(|uid| !fold.instances.contains_key(uid) && !last.contains(uid));
    logged
}

#[cfg(test)]
mod tests;
