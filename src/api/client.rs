//! The command line's end.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

use super::{
    Applied, Deleted, Drained, Running,
    generated::{
        ApplyRequest, DeleteRequest, DescribeRequest, Document, Named, Nothing, PruneRequest,
        PullRequest, RepairRequest, node_client::NodeClient,
    },
};
use crate::view::{
    DescribeView, ImageRow, PlanView, Pruned, PsRow, Pulling, RepairView, Secrets, StatusView,
};

/// A document of 10,000 instances has about 10 MiB.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// The daemon answers at once, or once a line is durable; a full disk may take its time.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why the daemon didn't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("cannot reach riklet at {}", path.display())]
    Unreachable {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It was there, and then it wasn't, or it is starting or ending.
    #[error("riklet at {} broke off: {message}", path.display())]
    BrokeOff {
        /// Where.
        path: PathBuf,
        /// What is known of it.
        message: String,
    },
    /// No such instance.
    #[error("{0}")]
    NotFound(String),
    /// It can't be done, and won't be by asking again.
    #[error("{0}")]
    Refused(String),
    /// It should have been possible.
    #[error("{0}")]
    Failed(String),
    /// The answer is of another riklet.
    #[error("riklet's answer can't be read: is the daemon of another version?")]
    Answer(#[source] serde_json::Error),
}

/// A connection to the daemon.
#[derive(Debug, Clone)]
pub struct Client {
    node: NodeClient<Channel>,
    path: PathBuf,
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable {
            path: path.to_owned(),
            source,
        };
        // The first connection is made here, so that its error is the plain one.
        let mut first = Some(UnixStream::connect(path).await.map_err(unreachable)?);
        let again = path.to_owned();
        // The address is never looked up: the connector knows the way.
        let channel = Endpoint::from_static("http://riklet")
            .timeout(DEADLINE)
            .connect_with_connector(tower::service_fn(move |_| {
                let (first, path) = (first.take(), again.clone());
                async move {
                    let stream = match first {
                        Some(stream) => stream,
                        None => UnixStream::connect(path).await?,
                    };
                    Ok::<_, io::Error>(TokioIo::new(stream))
                }
            }))
            .await
            .map_err(|e| unreachable(io::Error::other(e)))?;
        Ok(Self {
            node: NodeClient::new(channel).max_decoding_message_size(MAX_ANSWER),
            path: path.to_owned(),
        })
    }

    /// See [`super::Desk::status`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn status(&mut self) -> Result<StatusView, ClientError> {
        let answer = self.node.status(Nothing {}).await;
        self.read(answer)
    }

    /// See [`super::Desk::ps`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn ps(&mut self) -> Result<Vec<PsRow>, ClientError> {
        let answer = self.node.ps(Nothing {}).await;
        self.read(answer)
    }

    /// See [`super::Desk::describe`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn describe(
        &mut self,
        instance: &str,
        secrets: Secrets,
    ) -> Result<DescribeView, ClientError> {
        let request = DescribeRequest {
            instance: instance.to_owned(),
            show_secrets: secrets == Secrets::Shown,
        };
        let answer = self.node.describe(request).await;
        self.read(answer)
    }

    /// See [`super::Desk::plan`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn plan(&mut self, instance: Option<&str>) -> Result<PlanView, ClientError> {
        let instance = instance.unwrap_or_default().to_owned();
        let answer = self.node.plan(Named { instance }).await;
        self.read(answer)
    }

    /// See [`super::Desk::apply`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn apply(&mut self, definition: String) -> Result<Applied, ClientError> {
        let answer = self.node.apply(ApplyRequest { definition }).await;
        self.read(answer)
    }

    /// See [`super::Desk::delete`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn delete(&mut self, instance: &str, force: bool) -> Result<Deleted, ClientError> {
        let request = DeleteRequest {
            instance: instance.to_owned(),
            force,
        };
        let answer = self.node.delete(request).await;
        self.read(answer)
    }

    /// See [`super::Desk::drain`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn drain(&mut self) -> Result<Drained, ClientError> {
        let answer = self.node.drain(Nothing {}).await;
        self.read(answer)
    }

    /// See [`super::Desk::uncordon`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn uncordon(&mut self) -> Result<Drained, ClientError> {
        let answer = self.node.uncordon(Nothing {}).await;
        self.read(answer)
    }

    /// See [`super::Desk::repair`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn repair(&mut self, accept: bool) -> Result<RepairView, ClientError> {
        let answer = self.node.repair(RepairRequest { accept }).await;
        self.read(answer)
    }

    /// See [`super::Desk::images`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn images(&mut self) -> Result<Vec<ImageRow>, ClientError> {
        let answer = self.node.images(Nothing {}).await;
        self.read(answer)
    }

    /// See [`super::Desk::pull_image`]; `step` is told each step, and the end.
    ///
    /// # Errors
    /// As the desk's.
    pub async fn pull_image(
        &mut self,
        image: &str,
        mut step: impl FnMut(&Pulling),
    ) -> Result<Pulling, ClientError> {
        let image = image.to_owned();
        let answer = self.node.pull_image(PullRequest { image }).await;
        let mut steps = answer.map_err(|status| self.refused(&status))?.into_inner();
        loop {
            let next = steps.message().await;
            let Some(document) = next.map_err(|status| self.refused(&status))? else {
                return Err(ClientError::BrokeOff {
                    path: self.path.clone(),
                    message: "it said no end of the pull".to_owned(),
                });
            };
            let said = serde_json::from_str(&document.json).map_err(ClientError::Answer)?;
            step(&said);
            if let Pulling::Done { .. } = said {
                return Ok(said);
            }
        }
    }

    /// See [`super::Desk::prune_images`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn prune_images(&mut self, all: bool) -> Result<Pruned, ClientError> {
        let answer = self.node.prune_images(PruneRequest { all }).await;
        self.read(answer)
    }

    /// See [`super::Desk::exec`].
    ///
    /// # Errors
    /// As the desk's.
    pub async fn exec(&mut self, ask: super::ExecAsk) -> Result<Running, ClientError> {
        let (requests, inputs) = super::exec::begin(ask);
        let answer = self.node.exec(inputs).await;
        let answers = answer.map_err(|status| self.refused(&status))?.into_inner();
        Ok(Running::new(requests, answers, self.path.clone()))
    }

    fn read<T: DeserializeOwned>(
        &self,
        answer: Result<Response<Document>, Status>,
    ) -> Result<T, ClientError> {
        let document = answer.map_err(|status| self.refused(&status))?.into_inner();
        serde_json::from_str(&document.json).map_err(ClientError::Answer)
    }

    fn refused(&self, status: &Status) -> ClientError {
        refused(&self.path, status)
    }
}

/// What the daemon's no means.
pub(super) fn refused(path: &Path, status: &Status) -> ClientError {
    let message = status.message().to_owned();
    match status.code() {
        Code::NotFound => ClientError::NotFound(message),
        Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::PermissionDenied
        | Code::OutOfRange => ClientError::Refused(message),
        Code::Internal => ClientError::Failed(message),
        Code::Unimplemented => ClientError::Failed(
            "the running riklet doesn't know this command: is it an older version?".to_owned(),
        ),
        _ => ClientError::BrokeOff {
            path: path.to_owned(),
            message,
        },
    }
}
