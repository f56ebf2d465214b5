//! The daemon's end.

use std::{sync::Arc, time::Duration};

use nix::unistd::geteuid;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::UdsConnectInfo},
};

use super::{
    Desk, DeskError, Socket, exec,
    generated::{
        ApplyRequest, DeleteRequest, DescribeRequest, Document, ExecInput, Named, Nothing,
        PruneRequest, PullRequest, RepairRequest,
        node_server::{Node, NodeServer},
    },
};
use crate::{
    error_chain::one_line,
    view::{FindError, Pulling, Secrets},
};

/// A request is a definition (256 KiB) and little more; one in YAML may be escaped.
const MAX_REQUEST: usize = 1024 * 1024;

/// Steps of a pull that may wait to be read.
const STEPS: usize = 8;

/// How long requests under way may take once the daemon ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Answers until `end` is cancelled; requests under way are finished, within 2 s.
///
/// # Errors
/// The socket can't be accepted from.
pub async fn serve<D: Desk>(
    mut socket: Socket,
    desk: Arc<D>,
    end: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let Some(listener) = socket.listener.take() else {
        return Ok(());
    };
    let node = NodeServer::new(Answering { desk }).max_decoding_message_size(MAX_REQUEST);
    let checked = tonic::service::interceptor::InterceptedService::new(node, check_peer);
    let serving = Server::builder()
        .add_service(checked)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), end.cancelled());
    tokio::select! {
        ended = serving => ended,
        () = async { end.cancelled().await; tokio::time::sleep(LAST_WORDS).await } => Ok(()),
    }
}

/// The socket's mode keeps others out already; this holds also where someone has opened it up.
fn check_peer(request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred);
    match peer.map(|peer| peer.uid()) {
        Some(uid) if uid == 0 || uid == geteuid().as_raw() => Ok(request),
        Some(uid) => Err(Status::permission_denied(format!(
            "user {uid} may not command this node: use root"
        ))),
        None => Err(Status::permission_denied("the caller's user is unknown")),
    }
}

/// Passes requests over to the desk.
struct Answering<D> {
    desk: Arc<D>,
}

fn document<T: Serialize>(answer: Result<T, DeskError>) -> Result<Response<Document>, Status> {
    let answer = answer.map_err(|e| refusal(&e))?;
    let json = serde_json::to_string(&answer)
        .map_err(|e| Status::internal(format!("the answer can't be written: {e}")))?;
    Ok(Response::new(Document { json }))
}

/// The codes are the client's exit codes: see [`super::ClientError`].
fn refusal(error: &DeskError) -> Status {
    let text = one_line(error);
    match error {
        DeskError::Find(FindError::NotFound(_)) | DeskError::NoContainer(_) => {
            Status::not_found(text)
        }
        DeskError::Find(FindError::Ambiguous { .. }) => Status::invalid_argument(text),
        DeskError::Refused { reason, .. } => {
            Status::failed_precondition(format!("{reason}: {text}"))
        }
        DeskError::Unfit(_) => Status::failed_precondition(text),
        DeskError::Busy(_) => Status::unavailable(text),
        DeskError::Failed { .. } => Status::internal(text),
    }
}

#[tonic::async_trait]
impl<D: Desk> Node for Answering<D> {
    async fn status(&self, _: Request<Nothing>) -> Result<Response<Document>, Status> {
        document(self.desk.status().await)
    }

    async fn ps(&self, _: Request<Nothing>) -> Result<Response<Document>, Status> {
        document(self.desk.ps().await)
    }

    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<Document>, Status> {
        let request = request.into_inner();
        let secrets = if request.show_secrets {
            Secrets::Shown
        } else {
            Secrets::Hidden
        };
        document(self.desk.describe(&request.instance, secrets).await)
    }

    async fn plan(&self, request: Request<Named>) -> Result<Response<Document>, Status> {
        let name = request.into_inner().instance;
        let instance = Some(name.as_str()).filter(|name| !name.is_empty());
        document(self.desk.plan(instance).await)
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<Document>, Status> {
        document(self.desk.apply(&request.into_inner().definition).await)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<Document>, Status> {
        let request = request.into_inner();
        document(self.desk.delete(&request.instance, request.force).await)
    }

    async fn drain(&self, _: Request<Nothing>) -> Result<Response<Document>, Status> {
        document(self.desk.drain().await)
    }

    async fn uncordon(&self, _: Request<Nothing>) -> Result<Response<Document>, Status> {
        document(self.desk.uncordon().await)
    }

    async fn images(&self, _: Request<Nothing>) -> Result<Response<Document>, Status> {
        document(self.desk.images().await)
    }

    type PullImageStream = ReceiverStream<Result<Document, Status>>;

    async fn pull_image(
        &self,
        request: Request<PullRequest>,
    ) -> Result<Response<Self::PullImageStream>, Status> {
        let (say, answers) = mpsc::channel(STEPS);
        let (desk, image) = (Arc::clone(&self.desk), request.into_inner().image);
        tokio::spawn(async move {
            let (tell, mut told) = mpsc::channel(STEPS);
            let pull = desk.pull_image(&image, tell);
            tokio::pin!(pull);
            let last = loop {
                tokio::select! {
                    biased;
                    last = &mut pull => break last,
                    Some(step) = told.recv() => {
                        // What nobody has read yet is as good as the next one.
                        let step = document(Ok(Pulling::Progress(step)));
                        let _ = say.try_send(step.map(Response::into_inner));
                    }
                    // Nobody waits for it any more.
                    () = say.closed() => return,
                }
            };
            let _ = say.send(document(last).map(Response::into_inner)).await;
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn prune_images(
        &self,
        request: Request<PruneRequest>,
    ) -> Result<Response<Document>, Status> {
        document(self.desk.prune_images(request.into_inner().all).await)
    }

    async fn repair(&self, request: Request<RepairRequest>) -> Result<Response<Document>, Status> {
        document(self.desk.repair(request.into_inner().accept).await)
    }

    type ExecStream = exec::Answers;

    async fn exec(
        &self,
        request: Request<Streaming<ExecInput>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let mut inputs = request.into_inner();
        let ask = exec::ask(inputs.message().await?)?;
        let session = self.desk.exec(ask).await.map_err(|e| refusal(&e))?;
        Ok(Response::new(exec::converse(session, inputs)))
    }
}
