//! Errands that ask gRPC's health service.

use std::sync::{Arc, Mutex};

use hyper_util::rt::TokioIo;
use tonic::transport::Endpoint;

use self::generated::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use super::{dial::Place, done, undone};
use crate::{error_chain::one_line, node::ErrandEnd};

/// What `build.rs` made of `proto/health.proto`. Its lints are the generator's.
#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the generator's code, not ours; the server is for tests"
)]
pub(super) mod generated {
    tonic::include_proto!("grpc.health.v1");
}

/// An answer is a few bytes.
const MAX_ANSWER: usize = 4096;

pub(super) async fn check(place: Place, service: &str) -> ErrandEnd {
    let stream = match place.dial().await {
        Ok(stream) => stream,
        Err(error) => return undone(format!("connect to {place}: {error}")),
    };
    // The connector is asked once: a connection that is lost is not made again.
    let stream = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
    let connector = tower::service_fn(move |_| {
        let stream = super::super::lock(&stream).take();
        let lost = || std::io::Error::other("the connection was lost");
        async move { stream.ok_or_else(lost) }
    });
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{}", place.authority())) else {
        return undone(format!("{place} is no address"));
    };
    let channel = match endpoint.connect_with_connector(connector).await {
        Ok(channel) => channel,
        Err(error) => return undone(format!("speak gRPC with {place}: {}", one_line(&error))),
    };
    let mut client = HealthClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    match client.check(request).await {
        Err(status) => undone(format!("{:?}: {}", status.code(), status.message())),
        Ok(answer) => match answer.into_inner().status() {
            ServingStatus::Serving => done("SERVING"),
            other => undone(other.as_str_name()),
        },
    }
}

#[cfg(test)]
mod tests;
