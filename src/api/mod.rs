//! The local API: how the `riklet` command speaks with the daemon.
//!
//! Owns: the socket, who may use it, and the mapping between [`Desk`] and `proto/node.proto`. In:
//! requests over a unix socket. Out: calls of the desk that the agent keeps. Must never happen
//! here: a decision; the desk answers with views, and its refusals are passed on as they are.

mod client;
mod exec;
mod server;
mod socket;

use std::{error::Error, future::Future};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::{
    client::{Client, ClientError},
    exec::{Inputs, Running},
    server::serve,
    socket::{Socket, SocketError, bind},
};
use crate::{
    model::{definition::Warning, state::Reason},
    runtime::exec::{Session, Terminal},
    view::{
        DescribeView, FindError, ImageRow, PlanView, Pruned, PsRow, PullView, Pulling, RepairView,
        Secrets, StatusView,
    },
};

/// What `build.rs` made of `proto/node.proto`. Its lints are the generator's.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
mod generated {
    tonic::include_proto!("riklet.node.v1");
}

/// What became of an applied definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A new incarnation.
    Created,
    /// The next generation of what runs.
    Replaced,
    /// The same model runs already.
    Unchanged,
    /// It begins once the destruction of the former one is over.
    Queued,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Unchanged => "unchanged",
            Self::Queued => "queued",
        })
    }
}

/// The answer to an apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The instance's id: `<name>@cli`.
    pub instance: String,
    /// Its incarnation.
    pub uid: String,
    /// What became of the definition.
    pub outcome: Outcome,
    /// Which definition it is, counted from 1.
    pub generation: u32,
    /// What of it has no effect on this node.
    pub warnings: Vec<Warning>,
}

/// The answer to a delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The instance's id.
    pub instance: String,
    /// The incarnation whose destruction was accepted.
    pub uid: String,
}

/// The answer to a drain or an uncordon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Are instances stopped from now on?
    pub drained: bool,
    /// Was that so before?
    pub already: bool,
}

/// Why the desk didn't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// No such instance, or several of that name.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The instance has no such container.
    #[error("{0}")]
    NoContainer(String),
    /// It can't be done, and won't be by asking again.
    #[error("{message}")]
    Refused {
        /// Why, in a word.
        reason: Reason,
        /// Why, in a sentence, with the mend where there is one.
        message: String,
    },
    /// It can't be done as things are.
    #[error("{0}")]
    Unfit(String),
    /// The daemon is starting or ending: ask again.
    #[error("riklet is {0}: try again")]
    Busy(&'static str),
    /// It should have been possible.
    #[error("{tried}")]
    Failed {
        /// What was tried.
        tried: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A command that is to be run in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecAsk {
    /// The instance that is meant (see [`find`](crate::view::find)).
    pub instance: String,
    /// The container's name; none where there is only one.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its terminal, if it is to have one.
    pub terminal: Option<Terminal>,
}

/// What the agent does for the command line. A command returns once what it asks for is durable.
pub trait Desk: Send + Sync + 'static {
    /// The node, its link, degraded modes, both ends of the journal.
    fn status(&self) -> impl Future<Output = Result<StatusView, DeskError>> + Send;

    /// One row an instance.
    fn ps(&self) -> impl Future<Output = Result<Vec<PsRow>, DeskError>> + Send;

    /// Everything about the instance that `instance` names (see [`find`](crate::view::find)).
    fn describe(
        &self,
        instance: &str,
        secrets: Secrets,
    ) -> impl Future<Output = Result<DescribeView, DeskError>> + Send;

    /// What would be done now, to one instance or to all.
    fn plan(
        &self,
        instance: Option<&str>,
    ) -> impl Future<Output = Result<PlanView, DeskError>> + Send;

    /// Runs the definition as `<its name>@cli`.
    fn apply(&self, definition: &str) -> impl Future<Output = Result<Applied, DeskError>> + Send;

    /// Destroys an instance: only one of the command line's own, unless `force`.
    fn delete(
        &self,
        instance: &str,
        force: bool,
    ) -> impl Future<Output = Result<Deleted, DeskError>> + Send;

    /// Stops every instance until [`Self::uncordon`], also across a reboot.
    fn drain(&self) -> impl Future<Output = Result<Drained, DeskError>> + Send;

    /// Runs every instance again.
    fn uncordon(&self) -> impl Future<Output = Result<Drained, DeskError>> + Send;

    /// What a damaged journal left open; with `accept`, what is known of it holds from now on.
    fn repair(&self, accept: bool) -> impl Future<Output = Result<RepairView, DeskError>> + Send;

    /// One row an image on this node.
    fn images(&self) -> impl Future<Output = Result<Vec<ImageRow>, DeskError>> + Send;

    /// Has the image, asking its registry, and says how far it is until it is there. Given up
    /// when dropped.
    fn pull_image(
        &self,
        image: &str,
        progress: mpsc::Sender<PullView>,
    ) -> impl Future<Output = Result<Pulling, DeskError>> + Send;

    /// Removes the images that nothing uses; with `all` also those that were used a moment ago.
    fn prune_images(&self, all: bool) -> impl Future<Output = Result<Pruned, DeskError>> + Send;

    /// Runs a command in a container. It ends when its session is dropped.
    fn exec(&self, ask: ExecAsk) -> impl Future<Output = Result<Session, DeskError>> + Send;
}

#[cfg(test)]
mod tests;
