//! The link to the scheduler: one task that connects, registers, listens, and begins again.
//!
//! Exists so that one place decides whether the node is registered. Owns: the connection, the
//! Register stream, the backoff, [`Link`]. In: instructions from the wire. Out: the same into an
//! [`Inbox`]; statuses by the [`Reporter`], which runs only while the node is registered. Must
//! never happen here: waiting for the inbox (the Register stream is always read; what the inbox
//! is too slow for is refused for its instance), judging an instruction, giving up, or touching
//! an instance because the link is gone.
//!
//! ```text
//! connect ─▶ Register ─▶ headers ─▶ 200 ms, or one instruction ─▶ registered ─▶ read and report
//!    ▲          │           │          (AlreadyExists is the           │
//!    └─ backoff ◀───────────┴─────────── first item) ◀─────────────────┘ reset once registered
//! ```

mod queue;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff as _};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::queue::Queue;
use crate::{
    error_chain::one_line,
    model::instruction::Instruction,
    reporter::{Outbox, Pace, Reporter, Samples},
    wire::{self, ConnectError, Instructions, RegisterError, Registration, StatusSender, Target},
};

/// So many instructions are read before reporting has its turn.
const READ_AT_ONCE: u64 = 32;

/// Where instructions go.
pub trait Inbox: Send + Sync + 'static {
    /// Takes one instruction; resolves when it is accepted or refused, and recorded as such.
    fn submit(&self, instruction: Instruction) -> impl Future<Output = ()> + Send;

    /// So many wait already that this one was dropped: to be refused for its instance. Called
    /// while the Register stream is read, so it must not block.
    fn overloaded(&self, instruction: &Instruction);
}

/// How the link to the scheduler is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not registered yet since the daemon started, and no try has failed.
    Connecting,
    /// Registered.
    Registered {
        /// For how long.
        since: Instant,
    },
    /// Not registered; the next try is under way or waits.
    Lost {
        /// Since the link ended, or the first try failed.
        since: Instant,
        /// Why the newest try failed, in one line.
        why: String,
    },
    /// There is no scheduler by configuration.
    Standalone,
}

impl Link {
    /// May something be sent?
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self, Self::Registered { .. })
    }
}

/// Everything about the link that can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the scheduler is.
    pub target: Target,
    /// Who the node is.
    pub registration: Registration,
    /// Response headers and this long without an error item is "registered".
    pub settle: Duration,
    /// The first wait between two tries, half of it to one and a half; doubles.
    pub backoff_first: Duration,
    /// The longest wait between two tries; jitter comes on top.
    pub backoff_max: Duration,
    /// How long the last statuses, and instructions already read, may take at shutdown.
    pub farewell: Duration,
    /// How often and how much is sent.
    pub pace: Pace,
}

impl Settings {
    /// The usual settings for a scheduler at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>, registration: Registration) -> Self {
        Self {
            target: Target::new(url),
            registration,
            settle: Duration::from_millis(200),
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(20),
            farewell: Duration::from_secs(3),
            pace: Pace::default(),
        }
    }
}

/// The link of a node without a scheduler.
#[must_use]
pub fn standalone() -> watch::Receiver<Link> {
    // The receiver keeps the value when the sender is gone.
    watch::channel(Link::Standalone).1
}

/// Why a registration could not be made, or ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// Which way one round ended.
enum Round {
    /// To be begun again.
    Lost(Lost),
    /// The daemon ends.
    Shutdown,
}

/// The task; [`run`](Self::run) is all it does.
#[derive(Debug)]
pub struct Session<I, O, S> {
    settings: Settings,
    inbox: Arc<I>,
    reporter: Reporter<O, S>,
    queue: Queue,
    link: watch::Sender<Link>,
    shutdown: CancellationToken,
}

impl<I: Inbox, O: Outbox, S: Samples> Session<I, O, S> {
    /// A session and the view of its link.
    #[must_use]
    pub fn new(
        settings: Settings,
        inbox: Arc<I>,
        outbox: Arc<O>,
        samples: Arc<S>,
        shutdown: CancellationToken,
    ) -> (Self, watch::Receiver<Link>) {
        let (link, view) = watch::channel(Link::Connecting);
        let reporter = Reporter::new(outbox, samples, settings.pace.clone());
        let session = Self {
            settings,
            inbox,
            reporter,
            queue: Queue::default(),
            link,
            shutdown,
        };
        (session, view)
    }

    /// Keeps the link until `shutdown`. Then status streams end first, Register last.
    pub async fn run(self) {
        let mut linking = pin!(self.keep_linked());
        let mut submitting = pin!(self.submit_all());
        tokio::select! {
            () = &mut linking => {}
            () = &mut submitting => {}
        }
        // What was read is still submitted; what is not by then is the scheduler's to repeat.
        self.queue.close();
        let _ = time::timeout(self.settings.farewell, submitting).await;
    }

    async fn submit_all(&self) {
        while let Some(instruction) = self.queue.pop().await {
            self.inbox.submit(instruction).await;
        }
    }

    async fn keep_linked(&self) {
        let mut backoff = self.backoff();
        while !self.shutdown.is_cancelled() {
            let lost = match self.round(&mut backoff).await {
                Round::Shutdown => return,
                Round::Lost(lost) => lost,
            };
            let why = one_line(&lost);
            // Without a maximal time the policy never ends.
            let wait = backoff.next_backoff().unwrap_or(self.settings.backoff_max);
            warn!(why, ?wait, "no link to the scheduler");
            self.lost(why);
            tokio::select! {
                () = time::sleep(wait) => {}
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    /// One registration from its beginning to its end.
    async fn round(&self, backoff: &mut ExponentialBackoff) -> Round {
        let registering = async {
            let mut connection = wire::connect(&self.settings.target).await?;
            let mut instructions = connection.register(&self.settings.registration).await?;
            self.settle(&mut instructions).await?;
            let sender = connection.statuses(&self.settings.registration);
            Ok::<_, Lost>((instructions, sender))
        };
        let registered = tokio::select! {
            registered = registering => registered,
            () = self.shutdown.cancelled() => return Round::Shutdown,
        };
        match registered {
            Ok((instructions, sender)) => {
                backoff.reset();
                self.registered(instructions, sender).await
            }
            Err(lost) => Round::Lost(lost),
        }
    }

    /// Waits until the registration holds: the scheduler's refusal is an item of the stream.
    async fn settle(&self, instructions: &mut Instructions) -> Result<(), RegisterError> {
        tokio::select! {
            instruction = instructions.next() => self.take(instruction?),
            () = time::sleep(self.settings.settle) => {}
        }
        Ok(())
    }

    /// Reads and reports until one of them ends.
    async fn registered(&self, mut instructions: Instructions, mut sender: StatusSender) -> Round {
        info!(url = self.settings.target.url, "registered");
        self.link.send_replace(Link::Registered {
            since: Instant::now(),
        });
        let mut reporting = pin!(self.reporter.serve(&mut sender, &self.shutdown));
        let mut reading = pin!(self.read(&mut instructions));
        let mut farewell = pin!(async {
            self.shutdown.cancelled().await;
            time::sleep(self.settings.farewell).await;
        });
        tokio::select! {
            // First, so that no status is begun once the stream is known to be closed.
            biased;
            error = &mut reading => Round::Lost(error.into()),
            () = &mut farewell => Round::Shutdown,
            () = &mut reporting => Round::Shutdown,
        }
    }

    /// Reads until the stream ends.
    async fn read(&self, instructions: &mut Instructions) -> RegisterError {
        let mut count = 0_u64;
        loop {
            match instructions.next().await {
                Ok(instruction) => self.take(instruction),
                Err(error) => return error,
            }
            count += 1;
            if count.is_multiple_of(READ_AT_ONCE) {
                // However fast they come, reporting has its turn.
                tokio::task::yield_now().await;
            }
        }
    }

    fn take(&self, instruction: Instruction) {
        if let Err(instruction) = self.queue.push(instruction) {
            warn!(
                instance = instruction.instance,
                "too many instructions wait, one is refused"
            );
            self.inbox.overloaded(&instruction);
        }
    }

    fn lost(&self, why: String) {
        self.link.send_modify(|link| {
            let since = match link {
                Link::Lost { since, .. } => *since,
                _ => Instant::now(),
            };
            *link = Link::Lost { since, why };
        });
    }

    fn backoff(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(self.settings.backoff_first)
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            .with_max_interval(self.settings.backoff_max)
            .with_max_elapsed_time(None)
            .build()
    }
}
