//! RIK's gRPC service over the [`Core`](super::Core).

use std::{pin::Pin, sync::Arc};

use tokio_stream::{Stream, StreamExt as _, wrappers::UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Shared,
    core::{ReaderEnds, StatusStream},
};
use crate::wire::generated::{
    common::{WorkerRegistration, WorkerStatus},
    worker::{InstanceScheduling, worker_server::Worker},
};

type Items = Pin<Box<dyn Stream<Item = Result<InstanceScheduling, Status>> + Send>>;

pub(super) struct Service(pub(super) Arc<Shared>);

/// Notes the end of a Register stream, however it comes.
struct Leaving {
    shared: Arc<Shared>,
    node: String,
    number: u64,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.shared
            .change(|world| world.core.left(&self.node, self.number));
    }
}

/// What becomes of a status stream that was read to its end.
enum Verdict {
    Acknowledge,
    Silence,
    Refuse,
}

#[tonic::async_trait]
impl Worker for Service {
    type RegisterStream = Items;

    async fn register(
        &self,
        request: Request<WorkerRegistration>,
    ) -> Result<Response<Items>, Status> {
        let who = request.into_inner();
        let registered = self.0.change(|world| {
            if world.faults.names_taken > 0 {
                world.faults.names_taken -= 1;
                return None;
            }
            let (number, parcels) = world.core.register(&who)?;
            let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
            world.links.insert(who.hostname.clone(), sender);
            world.deliver(parcels);
            Some((number, receiver))
        });
        let Some((number, receiver)) = registered else {
            // As the real one: the stream opens well, and its first item is the refusal.
            let refusal = Status::already_exists(format!("worker {} exists", who.hostname));
            return Ok(Response::new(Box::pin(tokio_stream::once(Err(refusal)))));
        };
        let leaving = Leaving {
            shared: Arc::clone(&self.0),
            node: who.hostname,
            number,
        };
        let items = UnboundedReceiverStream::new(receiver).map(move |item| {
            let _held = &leaving;
            item
        });
        Ok(Response::new(Box::pin(items)))
    }

    async fn send_status_updates(
        &self,
        request: Request<Streaming<WorkerStatus>>,
    ) -> Result<Response<()>, Status> {
        let mut messages = request.into_inner();
        let mut stream = self.0.change(|world| world.core.stream());
        loop {
            match messages.message().await {
                Ok(Some(message)) => {
                    if let Err(ended) = self.take(&mut stream, message) {
                        self.0
                            .change(|world| world.core.stream_ended(stream, false));
                        return Err(ended);
                    }
                }
                Ok(None) => break,
                Err(status) => {
                    self.0
                        .change(|world| world.core.stream_ended(stream, false));
                    return Err(status);
                }
            }
        }
        let verdict = self.0.change(|world| {
            let verdict = world.faults.verdict();
            let acknowledged = matches!(verdict, Verdict::Acknowledge);
            world.core.stream_ended(stream, acknowledged);
            verdict
        });
        match verdict {
            Verdict::Acknowledge => Ok(Response::new(())),
            Verdict::Refuse => Err(Status::internal("scripted")),
            // The call is dropped when its connection or the caller's patience ends.
            Verdict::Silence => std::future::pending().await,
        }
    }
}

impl Service {
    fn take(&self, stream: &mut StatusStream, message: WorkerStatus) -> Result<(), Status> {
        let (taken, dies) = self.0.change(|world| {
            let taken = world.core.status(stream, message);
            let taken = taken.map(|parcels| world.deliver(parcels));
            (taken, world.faults.one_status())
        });
        if dies {
            self.0.cut();
        }
        taken.map_err(|ended| match ended {
            ReaderEnds::Panic(text) => Status::cancelled(format!("the reader panicked: {text}")),
            ReaderEnds::Stale => Status::aborted("this registration is over"),
        })
    }
}

impl super::Faults {
    fn verdict(&mut self) -> Verdict {
        if self.silent_streams > 0 {
            self.silent_streams -= 1;
            return Verdict::Silence;
        }
        if self.refused_streams > 0 {
            self.refused_streams -= 1;
            return Verdict::Refuse;
        }
        Verdict::Acknowledge
    }

    /// Is this the status at which the scheduler dies?
    fn one_status(&mut self) -> bool {
        match self.dies_at_status {
            Some(left) if left <= 1 => {
                self.dies_at_status = None;
                true
            }
            Some(left) => {
                self.dies_at_status = Some(left - 1);
                false
            }
            None => false,
        }
    }
}
