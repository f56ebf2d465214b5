//! The one sender: everything that the scheduler is told goes through here, in one order.
//!
//! Exists because order is meaning on RIK's wire: a node is ready only by its own sample, a
//! state that overtakes another lies, and nothing may follow TERMINATED. Owns: the order, the
//! batches, and what has been said in this registration. In: an [`Outbox`] (what must arrive)
//! and [`Samples`] (what is worth saying). Out: acknowledgements into the outbox. Must never
//! happen here: sending while the node isn't registered (`session` runs [`Reporter::serve`]
//! only while the Register stream is open and drops it at once when that ends), or a state that
//! isn't durable (the outbox gives out none).
//!
//! [`agenda`] decides what is next and is pure; this file only waits and sends.

pub(crate) mod agenda;
mod trouble;

use std::{future::Future, sync::Arc, time::Duration};

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff as _};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::agenda::{Agenda, Batch, Turn};
use crate::{
    error_chain::one_line,
    model::ids::Uid,
    wire::{Message, Report, SendError, StatusSender},
};

/// The states that have yet to be acknowledged, and those that were last.
pub trait Outbox: Send + Sync + 'static {
    /// Durable states of the scheduler's instances that are not yet acknowledged, lowest seq
    /// first, at most `limit`.
    fn batch(&self, limit: usize) -> Vec<Report>;

    /// How many of the scheduler's instructions were judged so far. What is replayed at a
    /// registration must be judged before the scheduler hears that something completed: else a
    /// create that it sent before it heard so runs completed work again.
    fn arrivals(&self) -> u64 {
        0
    }

    /// The scheduler has these. On return [`batch`](Self::batch) gives none of them out any
    /// more, also where that could not be written down.
    fn acknowledge(&self, reports: &[Report]);

    /// The last state of each of the scheduler's instances for which nothing is waiting.
    fn last_acknowledged(&self) -> Vec<Report>;

    /// Resolves when [`batch`](Self::batch) may have more to give than at its last call; at once
    /// if that was so before. May resolve for nothing. Cancel-safe.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// One sample of the node's metrics.
pub trait NodeReading: Send + Sync + 'static {
    /// All of it: `{"cpu":…,"memory":…,"disks":…}`.
    fn json(&self) -> String;

    /// Has a value moved by more than its threshold since `sent`?
    fn worth_sending(&self, sent: &Self) -> bool;
}

/// One sample of an instance's metrics.
pub trait InstanceReading: Send + Sync + 'static {
    /// Restarts of all its containers.
    fn restarts(&self) -> u32;

    /// One object a container, see [`Report::containers`].
    fn containers(&self) -> Vec<Value>;

    /// Has a value moved by more than its threshold since `sent`?
    fn worth_sending(&self, sent: &Self) -> bool;
}

/// What was measured last.
pub trait Samples: Send + Sync + 'static {
    /// A node's sample.
    type Node: NodeReading;
    /// An instance's sample.
    type Instance: InstanceReading;

    /// The newest sample of the node. Reads memory, measures nothing.
    fn node(&self) -> Self::Node;

    /// Does the node take placements (not drained, not cordoned, able to accept)?
    fn placements(&self) -> bool;

    /// The newest sample of an incarnation, if there is one.
    fn instance(&self, uid: &Uid) -> Option<Self::Instance>;

    /// Resolves after the next round of samples, or when
    /// [`placements`](Self::placements) changed. May resolve for nothing. Cancel-safe.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

/// How often and how much is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// Messages in one stream, at most.
    pub batch: usize,
    /// After this much silence the node's full sample is sent.
    pub silence: Duration,
    /// Metrics of one instance go at most once in this time.
    pub instance_every: Duration,
    /// After registering, "completed" is not said before so long no instruction came.
    pub settle: Duration,
    /// The first wait after a batch that was not acknowledged; doubles up to 5 s.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            batch: 256,
            silence: Duration::from_secs(15),
            instance_every: Duration::from_secs(5),
            settle: Duration::from_secs(1),
            retry: Duration::from_millis(200),
        }
    }
}

/// The one sender.
#[derive(Debug)]
pub struct Reporter<O, S> {
    outbox: Arc<O>,
    samples: Arc<S>,
    pace: Pace,
}

impl<O: Outbox, S: Samples> Reporter<O, S> {
    /// A sender of what these two hold.
    #[must_use]
    pub fn new(outbox: Arc<O>, samples: Arc<S>, pace: Pace) -> Self {
        Self {
            outbox,
            samples,
            pace,
        }
    }

    /// Sends for one registration, from its beginning: the node's sample, the outbox, the last
    /// acknowledged states, then whatever comes. Failures are retried for ever; the caller drops
    /// the future when the registration ends. Returns only after `shutdown`, when the outbox is
    /// empty or could not be sent.
    pub async fn serve(&self, sender: &mut StatusSender, shutdown: &CancellationToken) {
        let mut agenda: Agenda<S> = Agenda::new(self.pace.clone());
        let mut retry = self.retry();
        loop {
            let turn = if shutdown.is_cancelled() {
                agenda.last_words(Instant::now(), &*self.outbox)
            } else {
                agenda.next(Instant::now(), &*self.outbox, &*self.samples)
            };
            match turn {
                Turn::Send(batch) => {
                    let outbox = &*self.outbox;
                    let sent = deliver(sender, outbox, &mut agenda, batch, Instant::now).await;
                    match sent {
                        Ok(()) => retry.reset(),
                        Err(_) if shutdown.is_cancelled() => return,
                        Err(error) => {
                            // Without a maximal time the policy never ends.
                            let wait = retry.next_backoff().unwrap_or(self.pace.retry);
                            warn!(
                                error = one_line(&error),
                                ?wait,
                                "statuses will be sent again"
                            );
                            tokio::select! {
                                () = sleep(wait) => {}
                                () = shutdown.cancelled() => {}
                            }
                        }
                    }
                }
                Turn::Wait { until: None } => return,
                Turn::Wait { until: Some(until) } => {
                    let reason = tokio::select! {
                        () = self.outbox.changed() => "outbox",
                        () = self.samples.changed() => "samples",
                        () = sleep_until(until) => "time",
                        () = shutdown.cancelled() => "shutdown",
                    };
                    debug!(reason, "reporter turns");
                }
            }
        }
    }

    fn retry(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(self.pace.retry)
            .with_multiplier(2.0)
            .with_max_interval(Duration::from_secs(5).max(self.pace.retry))
            .with_max_elapsed_time(None)
            .build()
    }
}

/// Where a batch goes: the link, or a simulation's.
pub(crate) trait Wire {
    /// See [`StatusSender::send`].
    fn send(&mut self, batch: Vec<Message>) -> impl Future<Output = Result<(), SendError>> + Send;
}

impl Wire for StatusSender {
    async fn send(&mut self, batch: Vec<Message>) -> Result<(), SendError> {
        Self::send(self, batch).await
    }
}

/// Sends one batch. What was acknowledged is written down before anything else is said.
pub(crate) async fn deliver<S: Samples>(
    wire: &mut impl Wire,
    outbox: &impl Outbox,
    agenda: &mut Agenda<S>,
    batch: Batch<S>,
    now: impl Fn() -> Instant,
) -> Result<(), SendError> {
    if let Err(error) = wire.send(batch.messages()).await {
        // Silence is no judgement on what was sent.
        if matches!(error, SendError::Failed { .. })
            && let Some(instance) = agenda.refused(&batch, now())
        {
            warn!(%instance, "refused again and again, set aside so that others are heard");
        }
        return Err(error);
    }
    if let Batch::States(reports) = &batch {
        outbox.acknowledge(reports);
    }
    debug!(batch = batch.kind(), count = batch.len(), "acknowledged");
    agenda.sent(batch, now());
    Ok(())
}
