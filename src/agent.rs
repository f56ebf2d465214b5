//! The composition root: builds the adapters, starts the loops, ends them in order.
//!
//! Owns: the start-up order of design section 7 and the shutdown order. In: a [`Config`]. Out:
//! a node that runs until SIGTERM or SIGINT. Must never happen here: a decision about what
//! should run, or ending a container because the daemon ends.

mod desk;
mod execs;
pub(crate) mod ground;
mod history;
mod hold;
mod images;
mod inbox;
pub(crate) mod outbox;
mod room;
mod rules;
mod samples;
pub(crate) mod tend;
mod underway;
mod wounds;

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use self::ground::GroundError;
use self::{
    desk::AgentDesk, ground::Ground, inbox::Inbox, outbox::Outboxes, room::Room,
    samples::NodeSamples, wounds::Wounds,
};
use crate::{
    api::{self, Desk, Socket},
    book::{Book, BookError},
    config::Config,
    error_chain::one_line,
    evictions::Evictor,
    image::Images,
    intake::Intake,
    ledger::{Ledger, OpenError},
    manifests::Manifests,
    model::{ids::Uid, line::Event},
    node::Node,
    probes::Prober,
    reconciler::{self, Context, Reconciler, Wake, Waker},
    runtime::real_node::{LogLimits, RealNode, Rotation},
    session::{self, Link, Session},
    view::ManifestFault,
    wire::{Registration, Target, Tls},
};

/// How long the loops may take to end, each after the one before it.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Why the daemon didn't run, or didn't end in order.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The ground it stands on is not there: directories, locks, kernel.
    #[error(transparent)]
    Ground(#[from] GroundError),
    /// The journal can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The start can't be written down.
    #[error("the start could not be written into the journal")]
    Record(#[source] BookError),
    /// There is no local API.
    #[error(transparent)]
    Socket(#[from] api::SocketError),
    /// A signal can't be waited for.
    #[error("signals can't be waited for")]
    Signal(#[source] std::io::Error),
    /// The node can't be made ready.
    #[error("the node can't be made ready")]
    Node(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was written last may not survive a power cut.
    #[error("the journal could not be closed in order")]
    Close(#[source] BookError),
}

impl AgentError {
    /// Was the journal written by a newer riklet? Then the containers are untouched.
    #[must_use]
    pub fn is_newer_format(&self) -> bool {
        matches!(self, Self::Open(error) if error.is_newer())
    }
}

/// Runs the daemon until SIGTERM, SIGINT, or SIGHUP (its terminal is closed; there is nothing to
/// reload); containers go on running.
///
/// # Errors
/// It could not start, or the journal could not be closed in order.
pub async fn run(config: Config) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Signal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(AgentError::Signal)?;
    let ground = ground::prepare(&config).await?;
    let agent = Agent::start(&config, ground).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM"),
        _ = interrupt.recv() => tracing::info!("SIGINT"),
        _ = hangup.recv() => tracing::info!("SIGHUP"),
    }
    agent.end().await
}

/// The running loops, in the order in which they end.
struct Agent {
    book: Ledger,
    ground: Ground,
    stop: Stop,
    api: JoinHandle<()>,
    session: Option<JoinHandle<()>>,
    manifests: JoinHandle<()>,
    reconciler: JoinHandle<()>,
    // Puts logs aside until it is dropped.
    _rotation: Rotation,
}

/// Ends the loops, in this order.
#[derive(Default)]
struct Stop {
    intake: CancellationToken,
    work: CancellationToken,
    link: CancellationToken,
}

impl Agent {
    async fn start(config: &Config, ground: Ground) -> Result<Self, AgentError> {
        let book = ground.ledger.clone();
        say_what_is_not_there_yet(config);
        ground::record_start(&book, &ground.opening).map_err(AgentError::Record)?;
        let socket = api::bind(&config.socket)?;
        let intake = Arc::new(Intake::new(book.clone(), rules::rules(config), draw_uid));
        let node = Arc::clone(&ground.node);
        let mut context = Context::new(node, book.clone(), Arc::clone(&intake), operations());
        let (bell, looks_bell) = (context.bell(), context.bell());
        let (reconciler, waker) = Reconciler::new(context, config.resync);
        let runtime = reconciler.context();
        begin_waiting(&intake, &waker);

        // Before any instruction: a create may be meant for what is unclaimed.
        reconciler::look_first(&runtime).await;

        let stop = Stop::default();
        let room = Room::start(ground.images.clone(), book.clone(), config, &stop.work);
        let inbox = Arc::new(Inbox::new(&book, &intake, &waker));
        let samples = NodeSamples::start(book.clone(), ground.cgroups.clone(), &stop.work);
        let arrivals = inbox.arrivals();
        let (to, end) = (Arc::clone(&inbox), stop.link.clone());
        let (link, session) = start_session(config, &book, to, samples, &waker, end);
        let (manifests, faults) = start_manifests(config, &book, &intake, &waker, &stop);
        let desk = Arc::new(AgentDesk {
            book: book.clone(),
            intake,
            manifest_faults: faults,
            context: Arc::clone(&runtime),
            execs: ground.node.execs(),
            waker: waker.clone(),
            inbox,
            wounds: Arc::new(Wounds::of(&ground.opening)),
            link: link.clone(),
            scheduler: config.scheduler.clone().filter(|_| !config.standalone),
            node_name: config.node_name.clone(),
            since: book.now().at,
            room,
        });
        let hold = config.restore.wait_for_scheduler;
        tokio::spawn(hold::lift(link, arrivals, hold, waker.clone()));
        history::start(&book, &ground.node, &stop.work);
        start_tending(&desk, &ground.node, &stop);
        let rotation = rotation(config, &ground)?;
        start_probes(&ground.node, &book, bell, &waker, &stop);
        start_looks(&ground.node, &book, config, looks_bell, &waker, &stop);
        let api = serve_api(socket, desk, stop.intake.clone());
        let reconciler = tokio::spawn(reconciler.run(stop.work.clone()));
        tracing::info!(node = %config.node_name, state_dir = %config.state_dir.display(), "ready");
        Ok(Self {
            book,
            ground,
            stop,
            api,
            session,
            manifests,
            reconciler,
            _rotation: rotation,
        })
    }

    /// Ends the loops: nothing new is taken, what is under way ends, what came of it is sent,
    /// the journal is closed. Containers go on running.
    async fn end(self) -> Result<(), AgentError> {
        self.stop.intake.cancel();
        ended("the local API", self.api).await;
        ended("the manifests", self.manifests).await;
        if ground::node_is_stopping(&self.ground).await {
            record(&self.book, Event::NodeStopping {});
        }
        self.stop.work.cancel();
        ended("the reconciler", self.reconciler).await;
        self.stop.link.cancel();
        if let Some(session) = self.session {
            ended("the link to the scheduler", session).await;
        }
        record(&self.book, Event::DaemonStopped {});
        let ledger = self.book.clone();
        let closed = tokio::task::spawn_blocking(move || ledger.close()).await;
        tracing::info!("ended; containers go on running");
        closed
            .unwrap_or(Err(BookError::Closed))
            .map_err(AgentError::Close)
    }
}

/// Keeps an eye on ledger and link, until `stop`.
fn start_tending(desk: &AgentDesk<RealNode<Images>>, node: &Arc<RealNode<Images>>, stop: &Stop) {
    tokio::spawn(tend::tend(
        desk.book.clone(),
        tend::Senses {
            lacks_space: lacks_space(&desk.context),
            network_missing: network_missing(node),
        },
        desk.link.clone(),
        Arc::clone(&desk.inbox),
        Arc::clone(&desk.wounds),
        desk.waker.clone(),
        stop.work.clone(),
    ));
}

/// Asks the probes of what runs, until `stop`.
fn start_probes(
    node: &Arc<RealNode<Images>>,
    book: &Ledger,
    bell: mpsc::UnboundedReceiver<Uid>,
    waker: &Waker,
    stop: &Stop,
) {
    let look = waker.clone();
    let tell = move |uid| look.wake(Wake::Look(uid));
    let prober = Prober::new(Arc::clone(node), book.clone(), bell, tell);
    tokio::spawn(prober.run(stop.work.clone()));
}

/// Looks at what volumes take of the disk, until `stop`.
fn start_looks(
    node: &Arc<RealNode<Images>>,
    book: &Ledger,
    config: &Config,
    bell: mpsc::UnboundedReceiver<Uid>,
    waker: &Waker,
    stop: &Stop,
) {
    let every = config.evictions.look_every;
    let look = waker.clone();
    // A turn that is about to start something is told that it is stale.
    let tell = move |uid| look.wake(Wake::Instructed(uid));
    let evictor = Evictor::new(Arc::clone(node), book.clone(), every, bell, tell);
    tokio::spawn(evictor.run(stop.work.clone()));
}

/// Settings that are part of the contract and have nothing behind them yet must not be silent.
fn say_what_is_not_there_yet(config: &Config) {
    if let Some(address) = config.http {
        tracing::warn!(%address, "http is set, and this riklet doesn't serve /healthz, /readyz and /metrics yet");
    }
}

/// Begins to put logs aside that are full.
fn rotation(config: &Config, ground: &Ground) -> Result<Rotation, AgentError> {
    let limits = LogLimits {
        size: config.logs.max_size,
        files: usize::try_from(config.logs.max_files).unwrap_or(usize::MAX),
    };
    let begun = ground.node.rotate_logs(limits);
    begun.map_err(|e| AgentError::Node(e.into()))
}

/// Asks whether the runtime has failed for lack of space.
fn lacks_space<N: Node>(context: &Arc<Context<N, Ledger>>) -> impl Fn() -> bool + use<N> {
    let context = Arc::clone(context);
    move || context.lacks_space()
}

/// Asks why instances have no network although they should.
fn network_missing(node: &Arc<RealNode<Images>>) -> impl Fn() -> Option<String> + Clone + use<> {
    let node = Arc::clone(node);
    move || node.network_missing()
}

/// Answers the command line until it is told to stop.
fn serve_api<D: Desk>(socket: Socket, desk: Arc<D>, stop: CancellationToken) -> JoinHandle<()> {
    let serving = api::serve(socket, desk, stop);
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::error!(why = one_line(&error), "the local API ended");
        }
    })
}

fn record(book: &Ledger, event: Event) {
    if let Err(error) = book.record(event) {
        tracing::warn!(why = one_line(&error), "the end could not be written down");
    }
}

async fn ended(what: &str, task: JoinHandle<()>) {
    if tokio::time::timeout(END_WITHIN, task).await.is_err() {
        tracing::warn!("{what} did not end in time");
    }
}

/// How many of the runtime's verbs run at once: 4 x cores (design section 6).
fn operations() -> usize {
    4 * std::thread::available_parallelism().map_or(2, usize::from)
}

/// A new incarnation's name. Where the kernel has no randomness nothing else works either.
fn draw_uid() -> Uid {
    let mut bytes = [0; 8];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the kernel gave no randomness");
        std::process::abort();
    }
    Uid::from_entropy(u64::from_le_bytes(bytes))
}

/// Creates that waited for a destruction which a former daemon has finished.
fn begin_waiting(intake: &Arc<Intake<Ledger>>, waker: &Waker) {
    let (intake, waker) = (Arc::clone(intake), waker.clone());
    tokio::spawn(async move {
        match intake.begin_waiting().await {
            Ok(begun) => begun
                .into_iter()
                .for_each(|uid| waker.wake(Wake::Look(uid))),
            Err(error) => tracing::error!(why = one_line(&error), "waiting creates go on waiting"),
        }
    });
}

/// Keys for `https://`; the scheduler's certificate is checked against `ca`.
fn tls(config: &Config) -> Option<Tls> {
    let ca = config.tls.ca.clone()?;
    let identity = config.tls.cert.clone().zip(config.tls.key.clone());
    Some(Tls {
        ca,
        identity,
        domain: None,
    })
}

/// Runs what has a file in the manifests directory.
fn start_manifests(
    config: &Config,
    book: &Ledger,
    intake: &Arc<Intake<Ledger>>,
    waker: &Waker,
    stop: &Stop,
) -> (JoinHandle<()>, watch::Receiver<Vec<ManifestFault>>) {
    let (dir, waker) = (config.manifests_dir.clone(), waker.clone());
    let woken = Arc::new(move |uid| waker.wake(Wake::Instructed(uid)));
    let (manifests, faults) = Manifests::new(dir, book.clone(), Arc::clone(intake), woken);
    (tokio::spawn(manifests.run(stop.intake.clone())), faults)
}

fn start_session(
    config: &Config,
    book: &Ledger,
    inbox: Arc<Inbox>,
    samples: Arc<NodeSamples>,
    waker: &Waker,
    stop: CancellationToken,
) -> (watch::Receiver<Link>, Option<JoinHandle<()>>) {
    let Some(url) = config.scheduler.as_ref().filter(|_| !config.standalone) else {
        return (session::standalone(), None);
    };
    let registration = Registration {
        node: config.node_name.clone(),
        host_address: config.host_address.clone(),
        boot_id: book.now().boot,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut settings = session::Settings::new(url, registration);
    settings.target = Target {
        tls: tls(config),
        ..settings.target
    };
    let outbox = Outboxes::new(book.clone(), waker.clone(), inbox.arrivals());
    let outbox = Arc::new(outbox);
    let (session, link) = Session::new(settings, inbox, outbox, samples, stop);
    (link, Some(tokio::spawn(session.run())))
}
