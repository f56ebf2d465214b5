//! When starts begin after the daemon did.
//!
//! A destroy may have waited for this daemon: what was found exited is started again only after
//! the scheduler had its word (registered, then one second of silence), or can't be reached.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    reconciler::{Wake, Waker},
    session::Link,
};

/// So long nothing must come after registering.
const SILENCE: Duration = Duration::from_secs(1);

/// A scheduler that never falls silent doesn't hold up starts for longer.
const LONGEST: Duration = Duration::from_secs(10);

/// Lifts the hold when it is due.
pub(super) async fn lift(
    mut link: watch::Receiver<Link>,
    mut arrivals: watch::Receiver<u64>,
    without_link: Duration,
    waker: Waker,
) {
    let registered = timeout(
        without_link,
        link.wait_for(|l| l.is_registered() || *l == Link::Standalone),
    );
    let wait_for_silence = matches!(registered.await, Ok(Ok(link)) if link.is_registered());
    if wait_for_silence {
        let last = Instant::now() + LONGEST;
        loop {
            let quiet = Instant::now() + SILENCE;
            tokio::select! {
                () = sleep_until(quiet.min(last)) => break,
                changed = arrivals.changed() => if changed.is_err() { break },
            }
        }
    }
    tracing::info!(wait_for_silence, "starts begin");
    waker.wake(Wake::LiftHold);
}
