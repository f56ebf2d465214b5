//! Errands: what probes and hooks do at a container.
//!
//! Owns: from where a connection is made, how much time and text an errand has, and what counts
//! as done well (Kubernetes' rules). In: an [`Errand`]. Out: an [`ErrandEnd`]; a failure only
//! where nothing could be tried. Must never happen here: an errand that outlives its limit, on
//! either side of the container's walls, or a value of an environment in what it says.

mod dial;
mod exec;
mod grpc;
mod http;

use std::{net::IpAddr, time::Duration};

use tokio::time::timeout;

use self::dial::Place;
use super::{ImageSource, RealNode};
use crate::{
    model::{
        ids::ContainerId,
        spec::{Errand, HttpErrand},
    },
    node::{ErrandEnd, Failure, FailureKind},
    runtime::{
        layout::container_cgroup,
        runc_state::{self, RuncState},
    },
};

/// The most that an errand says.
const MOST: usize = 1024;

fn done(message: impl Into<String>) -> ErrandEnd {
    end(true, message.into())
}

fn undone(message: impl Into<String>) -> ErrandEnd {
    end(false, message.into())
}

fn late(limit: Duration) -> ErrandEnd {
    undone(format!("not done within {limit:?}"))
}

fn untried(id: &ContainerId) -> Failure {
    let tried = format!("do an errand at {id}: it doesn't run");
    Failure::plain(FailureKind::Transient, tried)
}

fn end(ok: bool, mut message: String) -> ErrandEnd {
    let mut most = MOST.min(message.len());
    while !message.is_char_boundary(most) {
        most -= 1;
    }
    message.truncate(most);
    ErrandEnd { ok, message }
}

impl<I: ImageSource> RealNode<I> {
    pub(super) async fn do_errand(
        &self,
        id: &ContainerId,
        address: Option<IpAddr>,
        errand: &Errand,
        limit: Duration,
    ) -> Result<ErrandEnd, Failure> {
        // On the node's network somebody else may answer for one that is gone.
        if !self.runs(id) {
            return Err(untried(id));
        }
        let answer = match errand {
            Errand::Exec { command } => return self.exec_errand(id, command, limit).await,
            Errand::Sleep { seconds } => {
                let time = Duration::from_secs(u64::from(*seconds));
                tokio::time::sleep(time.min(limit)).await;
                return Ok(if time > limit { late(limit) } else { done("") });
            }
            Errand::Tcp { port, host } => {
                let place = self.place(id, address, host.as_deref(), *port, limit);
                timeout(limit, tcp(place)).await
            }
            Errand::Http(asked) => {
                let HttpErrand { host, port, .. } = asked;
                let place = self.place(id, address, host.as_deref(), *port, limit);
                timeout(limit, http::ask(place, asked)).await
            }
            Errand::Grpc { port, service } => {
                let place = self.place(id, address, None, *port, limit);
                timeout(limit, grpc::check(place, service)).await
            }
        };
        let end = answer.unwrap_or_else(|_| late(limit));
        // One that has just ended refuses a connection, too: that says nothing of it.
        match end.ok || self.runs(id) {
            true => Ok(end),
            false => Err(untried(id)),
        }
    }

    /// Does the container run, as the files tell that the runtime can command it by?
    fn runs(&self, id: &ContainerId) -> bool {
        let cgroup = container_cgroup(id);
        match runc_state::read(&self.layout().runc_dir(id)) {
            Ok(RuncState::Known {
                process,
                alive: true,
                waiting: false,
                ..
            }) => self.cgroups().holds(&cgroup, process.pid),
            _ => false,
        }
    }

    /// Where an errand's server is. As for Kubernetes' kubelet, a host that the definition names
    /// is one as the node sees it.
    fn place(
        &self,
        id: &ContainerId,
        address: Option<IpAddr>,
        host: Option<&str>,
        port: u16,
        limit: Duration,
    ) -> Place {
        let place = match (host, address) {
            (Some(host), _) => Place::named(host, port),
            (None, Some(address)) => Place::at(address, port),
            (None, None) if self.shares_network(&id.uid) => Place::at(dial::LOCALHOST, port),
            (None, None) => Place::within(&id.uid, port),
        };
        place.limit(limit)
    }
}

async fn tcp(place: Place) -> ErrandEnd {
    match place.dial().await {
        Ok(_) => done("connected"),
        Err(error) => undone(format!("connect to {place}: {error}")),
    }
}

#[cfg(test)]
mod tests;
