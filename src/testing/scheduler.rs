//! A small RIK v1 scheduler, to be embedded by tests and by `examples/scheduler.rs`.
//!
//! Owns: RIK's service over real gRPC, the quirks of the real one ([`Manners::LikeRik`]), and
//! scripted [`Faults`]. Every rule that a node breaks is kept in [`Core::violations`].

mod core;
mod definition;
mod event;
mod service;
mod socket;

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{mpsc::UnboundedSender, watch},
    task::JoinHandle,
};
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    transport::{Server, ServerTlsConfig},
};

use self::{core::Parcel, service::Service, socket::Socket};
pub use self::{
    core::{Core, InstanceView, Manners, NodeView, Place},
    definition::reserialised,
    event::Event,
};
use crate::wire::{
    MAX_MESSAGE,
    generated::worker::{InstanceScheduling, worker_server::WorkerServer},
};

/// What goes wrong next. Numbers count down as it does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// So many Registers are refused for their name, as the first item of the stream.
    pub names_taken: u32,
    /// So many status streams are read and never answered.
    pub silent_streams: u32,
    /// So many status streams are read and answered with an error.
    pub refused_streams: u32,
    /// At the n-th status from now every connection is cut.
    pub dies_at_status: Option<u32>,
}

type Item = Result<InstanceScheduling, Status>;

/// Everything behind the one lock.
pub(in crate::testing) struct World {
    core: Core,
    faults: Faults,
    links: HashMap<String, UnboundedSender<Item>>,
}

impl World {
    fn deliver(&mut self, parcels: Vec<Parcel>) {
        for parcel in parcels {
            if let Some(link) = self.links.get(&parcel.0)
                && link.send(Ok(parcel.1.clone())).is_ok()
            {
                self.core.sent(&parcel);
            }
        }
    }
}

/// The ways of ending the connections of one life.
#[derive(Clone, Default)]
struct Wires {
    cut: CancellationToken,
    frozen: CancellationToken,
    listening: CancellationToken,
}

pub(in crate::testing) struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<u64>,
    wires: Mutex<Wires>,
}

impl Shared {
    fn change<T>(&self, how: impl FnOnce(&mut World) -> T) -> T {
        let result = how(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|count| *count += 1);
        result
    }

    fn wires<T>(&self, how: impl FnOnce(&mut Wires) -> T) -> T {
        how(&mut self.wires.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends every connection there is, without a word.
    fn cut(&self) {
        self.wires(|wires| std::mem::take(&mut wires.cut)).cancel();
    }
}

/// A running scheduler. It lives as long as the value and ends with it.
pub struct Scheduler {
    shared: Arc<Shared>,
    address: SocketAddr,
    tls: Option<ServerTlsConfig>,
    /// Serves; ends once told to stop listening.
    serving: Option<JoinHandle<()>>,
}

/// A condition that did not come to hold in time.
#[derive(Debug, thiserror::Error)]
#[error("not within {limit:?}: {what}; the last events: {events:#?}")]
pub struct NotInTime {
    /// What was waited for.
    what: String,
    /// How long.
    limit: Duration,
    /// What happened last.
    events: Vec<Event>,
}

impl Scheduler {
    /// Listens on `address` (port 0: any free one).
    ///
    /// # Errors
    /// The address can't be bound.
    pub async fn start(address: SocketAddr, manners: Manners) -> io::Result<Self> {
        Self::start_with(address, manners, None).await
    }

    /// The same, with TLS if it is given.
    ///
    /// # Errors
    /// The address can't be bound, or the TLS settings don't fit.
    pub async fn start_with(
        address: SocketAddr,
        manners: Manners,
        tls: Option<ServerTlsConfig>,
    ) -> io::Result<Self> {
        let world = World {
            core: Core::new(manners),
            faults: Faults::default(),
            links: HashMap::new(),
        };
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            changed: watch::Sender::new(0),
            wires: Mutex::default(),
        });
        let mut scheduler = Self {
            shared,
            address,
            tls,
            serving: None,
        };
        scheduler.revive().await?;
        Ok(scheduler)
    }

    /// Listens again after [`die`](Self::die), on the same port.
    ///
    /// # Errors
    /// The address can't be bound.
    pub async fn revive(&mut self) -> io::Result<()> {
        if let Some(former) = self.serving.take() {
            // The port is free once its listener is dropped.
            let _ = former.await;
        }
        let mut server = Server::builder();
        if let Some(tls) = self.tls.clone() {
            server = server.tls_config(tls).map_err(io::Error::other)?;
        }
        let listener = TcpListener::bind(self.address).await?;
        self.address = listener.local_addr()?;
        let listening = CancellationToken::new();
        self.shared
            .wires(|wires| wires.listening = listening.clone());
        let shared = Arc::clone(&self.shared);
        let connections = TcpListenerStream::new(listener).map(move |stream| {
            let wires = shared.wires(|wires| wires.clone());
            let stream = stream?;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(Socket::new(stream, wires.cut, wires.frozen))
        });
        let service = WorkerServer::new(Service(Arc::clone(&self.shared)))
            .max_decoding_message_size(MAX_MESSAGE);
        self.serving = Some(tokio::spawn(async move {
            let serving = server.add_service(service).serve_with_incoming(connections);
            tokio::select! {
                ended = serving => if let Err(error) = ended {
                    tracing::error!(%error, "the scheduler stopped serving");
                },
                () = listening.cancelled() => {}
            }
        }));
        Ok(())
    }

    /// Dies: every connection is cut, nobody listens, what only the scheduler knew is gone.
    pub fn die(&self) {
        self.shared.wires(|wires| wires.listening.clone()).cancel();
        self.shared.cut();
        self.shared.change(|world| {
            world.links.clear();
            world.core.restart();
        });
    }

    /// Ends every connection there is, and goes on listening.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Turns every connection there is into a black hole: open, and silent for ever.
    pub fn freeze(&self) {
        self.shared
            .wires(|wires| std::mem::take(&mut wires.frozen))
            .cancel();
    }

    /// Scripts what goes wrong next.
    pub fn fault(&self, script: impl FnOnce(&mut Faults)) {
        self.shared.change(|world| script(&mut world.faults));
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a node's configuration has it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Wants an instance; it is placed as soon as a node is ready.
    ///
    /// # Errors
    /// As the real controller: the definition is no JSON.
    pub fn create(&self, id: &str, definition: &str) -> Result<(), String> {
        self.shared.change(|world| {
            let parcels = world.core.create(id, definition)?;
            world.deliver(parcels);
            Ok(())
        })
    }

    /// Wants an instance gone.
    ///
    /// # Errors
    /// It isn't known, or the scheduler has forgotten where it is.
    pub fn destroy(&self, id: &str) -> Result<(), String> {
        self.shared.change(|world| {
            let parcels = world.core.destroy(id)?;
            world.deliver(parcels);
            Ok(())
        })
    }

    /// Sends a node anything, past all bookkeeping.
    pub fn send_raw(&self, node: &str, id: &str, definition: &str, action: i32) {
        let what = InstanceScheduling {
            instance_id: id.to_owned(),
            definition: definition.to_owned(),
            action,
        };
        self.shared
            .change(|world| world.deliver(vec![(node.to_owned(), what)]));
    }

    /// Looks at what it knows.
    pub fn look<T>(&self, how: impl FnOnce(&Core) -> T) -> T {
        how(&self
            .shared
            .world
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .core)
    }

    /// Resolves at every change, see [`look`](Self::look).
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Waits until a look gives something.
    ///
    /// # Errors
    /// It doesn't within `limit`; the error shows the last events.
    pub async fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        how: impl Fn(&Core) -> Option<T>,
    ) -> Result<T, NotInTime> {
        let mut changes = self.changes();
        let seen = async {
            loop {
                changes.mark_unchanged();
                if let Some(seen) = self.look(&how) {
                    return seen;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        let waited = tokio::time::timeout(limit, seen).await;
        waited.map_err(|_| {
            let (mut events, _) = self.look(|core| core.events(0));
            let events = events.split_off(events.len().saturating_sub(20));
            NotInTime {
                what: what.to_owned(),
                limit,
                events,
            }
        })
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.wires(|wires| wires.listening.clone()).cancel();
        self.shared.cut();
    }
}
