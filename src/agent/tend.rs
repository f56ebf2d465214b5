//! Keeps an eye on what the ledger and the link are like: degraded modes are entered and left.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{inbox::Inbox, wounds::Wounds};
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

/// Looks after ledger and link until `stop`; `lacks_space` tells whether the runtime does.
pub(super) async fn tend(
    book: Ledger,
    lacks_space: impl Fn() -> bool,
    mut link: watch::Receiver<Link>,
    inbox: Arc<Inbox>,
    wounds: Arc<Wounds>,
    waker: Waker,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut lapses = book.lapses();
    let mut linked = true;
    let mut unwritable = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let ledger = book.clone();
                if let Ok(health) = tokio::task::spawn_blocking(move || ledger.heal()).await {
                    note_unwritable(&book, &mut unwritable, &health);
                    show_health(&book, &health, lacks_space());
                    wounds.show(&book);
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

/// The modes that the ledger itself stands for, with what exactly where they are on.
///
/// `shown`: is DiskFull shown already? It is left with twice the space at which it is entered.
fn modes_of(health: &Health, shown: bool) -> [(DegradedMode, Option<String>); 3] {
    let wanted = health
        .next_segment
        .saturating_mul(if shown { 2 } else { 1 });
    let full = match (health.disk_full, health.reserve_left, health.free) {
        (true, Some(left), _) => Some(format!("{left} bytes of the journal's reserve are left")),
        (true, None, _) => Some("the journal's reserve is nearly used up".to_owned()),
        (false, _, Some(free)) if free < wanted => Some(format!(
            "{free} bytes are free on the state directory's filesystem, less than a segment of \
             the journal takes"
        )),
        _ => None,
    };
    [
        (DegradedMode::JournalReadOnly, health.read_only.clone()),
        (DegradedMode::StoreOff, health.store.off.clone()),
        (DegradedMode::DiskFull, full),
    ]
}

/// Modes that are on and may not be written down: a journal that can't be written can't say so.
pub(super) fn unwritten(book: &Ledger) -> BTreeMap<DegradedMode, String> {
    let modes = modes_of(&book.health(), shows_full(book)).into_iter();
    modes.filter_map(|(mode, on)| Some((mode, on?))).collect()
}

fn shows_full(book: &Ledger) -> bool {
    book.read(|fold| fold.node.degraded.contains_key(&DegradedMode::DiskFull))
}

fn show_health(book: &Ledger, health: &Health, lacks_space: bool) {
    for (mode, detail) in modes_of(health, shows_full(book)) {
        let full = mode == DegradedMode::DiskFull;
        // That there is room for the journal says nothing of what somebody else needs.
        if !(full && detail.is_none() && lacks_space) {
            show(book, mode, detail, !full);
        }
    }
}

/// What the journal couldn't say of itself it says afterwards.
fn note_unwritable(book: &Ledger, unwritable: &mut Option<String>, health: &Health) {
    if health.read_only.is_some() {
        unwritable.clone_from(&health.read_only);
        return;
    }
    // It may have begun and ended between two looks.
    let healed = book.take_healed();
    if let Some(why) = unwritable.take().or(healed) {
        // show_health finds that it is over, and leaves it.
        show(book, DegradedMode::JournalReadOnly, Some(why), false);
    }
}

/// Enters or leaves a mode. A changed detail is written again only where `follow`.
pub(super) fn show(book: &Ledger, mode: DegradedMode, detail: Option<String>, follow: bool) {
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
