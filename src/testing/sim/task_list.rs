//! What a simulated daemon is at: futures that are polled by hand.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake as Waking, Waker},
};

use crate::{
    evictions::Measured,
    node::Failure,
    plan::{errands::ErrandId, eviction::Look},
    probes::Told,
    reconciler::{Ended, Wake},
};

/// What a task ended with.
pub(super) enum Outcome {
    Worked(Ended),
    Errand(ErrandId, Told),
    Looked(Look, Result<Option<Measured>, Failure>),
    Wake(Vec<Wake>),
    Nothing,
}

struct Woken(AtomicBool);

impl Waking for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(super) struct Task {
    /// Ends with the link.
    pub(super) of_link: bool,
    woken: Arc<Woken>,
    future: Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

impl Task {
    pub(super) fn new(
        of_link: bool,
        future: impl Future<Output = Outcome> + Send + 'static,
    ) -> Self {
        Self {
            of_link,
            woken: Arc::new(Woken(AtomicBool::new(true))),
            future: Box::pin(future),
        }
    }

    pub(super) fn can_go_on(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }

    /// Goes on until it has to wait. The outcome, if that was its end.
    pub(super) fn poll(&mut self) -> Option<Outcome> {
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.woken));
        match self.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }
}
