//! The beginnings of loops that need more than one line.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Ground, Link, Stop, hold, operations};
use crate::{
    config::Config,
    intake::Intake,
    ledger::Ledger,
    probes::{Bell, Prober},
    reconciler::{Context, Wake, Waker},
    runtime::real_node::RealNode,
};

/// What turns share, and the bell that rings for probes and hooks.
pub(super) fn context(
    ground: &Ground,
    intake: &Arc<Intake<Ledger>>,
) -> (Context<RealNode<crate::image::Images>, Ledger>, Bell) {
    let (node, book) = (Arc::clone(&ground.node), ground.ledger.clone());
    let mut context = Context::new(node, book, Arc::clone(intake), operations());
    let bell = context.bell();
    (context, bell)
}

/// Starts of what is known wait until the scheduler has had its say.
pub(super) fn start_lifting(
    config: &Config,
    link: &watch::Receiver<Link>,
    arrivals: watch::Receiver<u64>,
    waker: &Waker,
) {
    let hold = config.restore.wait_for_scheduler;
    tokio::spawn(hold::lift(link.clone(), arrivals, hold, waker.clone()));
}

/// Starts the loop of probes and hooks.
pub(super) fn start_prober(ground: &Ground, bell: Bell, waker: Waker, stop: &Stop) {
    let tell = move |uid| waker.wake(Wake::Look(uid));
    let (node, book) = (Arc::clone(&ground.node), ground.ledger.clone());
    tokio::spawn(Prober::new(node, book, bell, tell).run(stop.work.clone()));
}
