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

/// What is asked of the runtime edge.
pub(super) struct Senses<S, N> {
    /// Does it lack space?
    pub(super) lacks_space: S,
    /// What instances lack for a network; reads files.
    pub(super) network_missing: N,
}

/// Looks after ledger, link and what the senses tell until `stop`.
pub(super) async fn tend(
    book: Ledger,
    senses: Senses<impl Fn() -> bool, impl Fn() -> Option<String> + Clone + Send + 'static>,
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
    let mut unwritten = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                let (ledger, network) = (book.clone(), senses.network_missing.clone());
                let look = move || (ledger.heal(), network());
                if let Ok((health, network)) = tokio::task::spawn_blocking(look).await {
                    show_health(&book, &health, (senses.lacks_space)(), &mut unwritten);
                    wounds.show(&book);
                    show(&book, DegradedMode::NetworkMissing, network, true);
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

/// The degraded modes that the ledger is in by itself, each with what exactly. Where DiskFull is
/// shown already it is left with twice the space at which it is entered.
pub(super) fn modes_of(book: &Ledger, health: &Health) -> [(DegradedMode, Option<String>); 3] {
    let shown = book.read(|fold| fold.node.degraded.contains_key(&DegradedMode::DiskFull));
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

/// Writes down what the ledger is like. What can't be written down now (the journal is what is in
/// trouble) is kept in `unwritten`, and written down once that is over, so that history has it;
/// until then `status` says it from the ledger itself.
fn show_health(
    book: &Ledger,
    health: &Health,
    lacks_space: bool,
    unwritten: &mut BTreeMap<DegradedMode, String>,
) {
    if health.read_only.is_none()
        && let Some(why) = book.take_healed()
    {
        // Or it began and ended between two looks.
        unwritten
            .entry(DegradedMode::JournalReadOnly)
            .or_insert(why);
    }
    for (mode, detail) in modes_of(book, health) {
        // The journal has space of its own; that says nothing of everybody else's.
        if mode == DegradedMode::DiskFull && detail.is_none() && lacks_space {
            continue;
        }
        if detail.is_none()
            && let Some(missed) = unwritten.remove(&mode)
        {
            show(book, mode, Some(missed), true);
        }
        let follow = mode != DegradedMode::DiskFull;
        if !show(book, mode, detail.clone(), follow)
            && let Some(detail) = detail
        {
            unwritten.entry(mode).or_insert(detail);
        }
    }
}

/// Enters or leaves a mode. A changed detail is written again only where `follow`. False if it
/// could not be written down.
pub(crate) fn show(
    book: &impl Book,
    mode: DegradedMode,
    detail: Option<String>,
    follow: bool,
) -> bool {
    let shown = book.read(|fold| fold.node.degraded.get(&mode).cloned());
    let event = match (shown, detail) {
        (None, Some(detail)) => Event::DegradedEntered { mode, detail },
        (Some(old), Some(detail)) if follow && old != detail => {
            Event::DegradedEntered { mode, detail }
        }
        (Some(_), None) => Event::DegradedLeft { mode },
        _ => return true,
    };
    let written = book.record(event);
    if let Err(error) = &written {
        tracing::warn!(%mode, why = one_line(error), "a degraded mode could not be written down");
    }
    written.is_ok()
}
