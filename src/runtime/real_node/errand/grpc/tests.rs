use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::{
    super::dial::Place,
    check,
    generated::{
        HealthCheckRequest, HealthCheckResponse,
        health_check_response::ServingStatus,
        health_server::{Health, HealthServer},
    },
};

struct Healths;

#[tonic::async_trait]
impl Health for Healths {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = match request.into_inner().service.as_str() {
            "" => ServingStatus::Serving,
            "ill" => ServingStatus::NotServing,
            _ => return Err(Status::not_found("no such service")),
        };
        Ok(Response::new(HealthCheckResponse {
            status: status.into(),
        }))
    }
}

#[tokio::test]
async fn only_serving_is_healthy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    let server = Server::builder().add_service(HealthServer::new(Healths));
    let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let place = Place::at(at.ip(), at.port());
    let said = async |service: &str| {
        let end = check(place.clone(), service).await;
        (end.ok, end.message)
    };
    assert_eq!(said("").await, (true, "SERVING".to_owned()));
    assert_eq!(said("ill").await, (false, "NOT_SERVING".to_owned()));
    let unknown = (false, "NotFound: no such service".to_owned());
    assert_eq!(said("other").await, unknown);
    serving.abort();
    let _ = serving.await;
    let (ok, message) = said("").await;
    assert!(
        !ok && message.starts_with("connect to 127.0.0.1:"),
        "{message}"
    );
}
