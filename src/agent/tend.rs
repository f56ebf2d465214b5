//! Keeps an eye on what the ledger and the link are like: degraded modes are entered and left.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use crate::{
    book::Book,
    error_chain::one_line,
    ledger::{Health, Ledger},
    model::line::{DegradedMode, Event},
    reconciler::{Wake, Waker},
    session::Link,
};

/// How often the ledger is looked at; it reads memory unless there is trouble.
const EVERY: Duration = Duration::from_secs(5);

/// Looks after ledger and link until `stop`.
pub(super) async fn tend(
    book: Ledger,
    mut link: watch::Receiver<Link>,
    inbox: Arc<Inbox>,
    waker: Waker,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lapses = book.lapses();
    let mut linked = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let ledger = book.clone();
                if let Ok(health) = tokio::task::spawn_blocking(move || ledger.heal()).await {
                    show_health(&book, &health);
                }
            }
            // What was written and not durable was withdrawn: look at everything anew.
            Ok(()) = lapses.changed() => waker.wake(Wake::Everything),
            changed = link.changed(), if linked => {
                linked = changed.is_ok();
                let lost = match &*link.borrow_and_update() {
                    Link::Lost { why, .. } => Some(why.clone()),
                    _ => None,
                };
                if lost.is_some() {
                    inbox.heard().clear();
                }
                show(&book, DegradedMode::SchedulerLost, lost, false);
            }
        }
    }
}

fn show_health(book: &Ledger, health: &Health) {
    show(
        book,
        DegradedMode::JournalReadOnly,
        health.read_only.clone(),
        true,
    );
    show(book, DegradedMode::StoreOff, health.store.off.clone(), true);
    let full = health.disk_full.then(|| match health.reserve_left {
        Some(left) => format!("{left} bytes of the journal's reserve are left"),
        None => "the journal's reserve is nearly used up".to_owned(),
    });
    show(book, DegradedMode::DiskFull, full, false);
}

/// Enters or leaves a mode. A changed detail is written again only where `follow`.
pub(crate) fn show(book: &impl Book, mode: DegradedMode, detail: Option<String>, follow: bool) {
    let shown = book.read(|fold| fold.node.degraded.get(&mode).cloned());
    let event = match (shown, detail) {
        (None, Some(detail)) => Event::DegradedEntered { mode, detail },
        (Some(old), Some(detail)) if follow && old != detail => {
            Event::DegradedEntered { mode, detail }
        }
        (Some(_), None) => Event::DegradedLeft { mode },
        _ => return,
    };
    if let Err(error) = book.record(event) {
        tracing::warn!(%mode, why = one_line(&error), "a degraded mode could not be written down");
    }
}
