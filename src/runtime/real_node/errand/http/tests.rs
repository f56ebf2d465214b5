use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::{super::dial::Place, HttpErrand, Next, Stream, ask, resolve, target};

#[test]
fn a_redirect_is_resolved_against_the_path_before_it() {
    let path = |former: &str, location: &str| match resolve(former, location) {
        Next::Path(path) => path,
        Next::Uri(uri) => panic!("{uri}"),
    };
    assert_eq!(path("/a/b?x=1", "/c?y=2#z"), "/c?y=2");
    assert_eq!(path("/a/b?x=/1", "c"), "/a/c");
    assert_eq!(path("/", ""), "/");
    let whole = resolve("/", "http://h:1/d");
    assert_eq!(whole, Next::Uri("http://h:1/d".parse().unwrap()));
}

#[test]
fn a_path_that_cannot_be_asked_for_is_said_and_not_sent() {
    assert_eq!(target("x").unwrap(), "/x");
    assert_eq!(target("").unwrap(), "/");
    assert!(target("/a\r\nX: y").is_err());
    assert!(target("/ä b").is_err());
}

/// A server that answers each request line by `answer`, until it is dropped.
struct Server {
    at: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve<S: Stream + 'static>(mut stream: S, answer: fn(&str) -> String) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        request.push(byte);
    }
    let answer = answer(&String::from_utf8(request).unwrap());
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

impl Server {
    async fn start(tls: Option<TlsAcceptor>, answer: fn(&str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => serve(stream, answer).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, answer).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        Self { at, serving }
    }

    async fn ask(&self, asked: HttpErrand) -> (bool, String) {
        let end = ask(Place::at(self.at.ip(), self.at.port()), &asked).await;
        (end.ok, end.message)
    }
}

fn path(path: &str) -> HttpErrand {
    HttpErrand {
        path: path.to_owned(),
        ..HttpErrand::default()
    }
}

fn said(ok: bool, message: &str) -> (bool, String) {
    (ok, message.to_owned())
}

#[tokio::test]
async fn statuses_count_as_kubernetes_counts_them() {
    let server = Server::start(None, |request| {
        let path = request.split(' ').nth(1).unwrap();
        let (status, location) = match path {
            "/fine" => ("204 Fine", ""),
            "/broken" => ("503 No", ""),
            "/here" => ("302 Look", "location: there?x=1\r\n"),
            "/there?x=1" => ("200 OK", ""),
            "/away" => ("301 Go", "location: http://elsewhere.example/\r\n"),
            "/round" => ("302 Look", "location: /round\r\n"),
            "/not-modified" => ("304 Same", ""),
            _ => ("404 What", ""),
        };
        format!("HTTP/1.1 {status}\r\n{location}content-length: 2\r\n\r\nab")
    });
    let server = server.await;
    for (asked, ok, message) in [
        ("/fine", true, "status 204"),
        ("/broken", false, "status 503"),
        ("/here", true, "status 200"),
        ("/away", true, "status 301, to another host"),
        ("/round", false, "more than 10 redirects"),
        ("/not-modified", true, "status 304"),
        ("/gone", false, "status 404"),
    ] {
        assert_eq!(server.ask(path(asked)).await, said(ok, message), "{asked}");
    }
}

#[tokio::test]
async fn headers_are_sent_as_they_were_asked_for_and_never_said() {
    let server = Server::start(None, |request| {
        let has = |line: &str| request.to_lowercase().contains(line);
        let fine = has("\r\nhost: me.example\r\n") && has("\r\nx-token: s3cret\r\n");
        let status = if fine && has("user-agent: riklet-probe/") {
            200
        } else {
            400
        };
        format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")
    });
    let server = server.await;
    let headers = |headers: &[(&str, &str)]| HttpErrand {
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..path("/")
    };
    let fine = headers(&[("Host", "me.example"), ("X-Token", "s3cret")]);
    assert_eq!(server.ask(fine).await, said(true, "status 200"));
    let (ok, message) = server.ask(headers(&[("X-Token", "s3cret\r\nX: y")])).await;
    assert!(!ok && !message.contains("s3cret"), "{message}");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let server = Server::start(None, |_| {
        let length = 1_000_000_000_u64;
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}",
            "x".repeat(50_000)
        )
    });
    let server = server.await;
    assert_eq!(server.ask(path("/")).await, said(true, "status 200"));
    let server = Server::start(None, |_| {
        format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(300_000))
    });
    assert!(!server.await.ask(path("/")).await.0);
}

#[tokio::test]
async fn a_certificate_is_not_verified() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    let chain = CertificateDer::from_pem_file(format!("{dir}/scheduler.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{dir}/scheduler.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let fine = |_: &str| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned();
    let server = Server::start(Some(TlsAcceptor::from(Arc::new(config))), fine).await;
    let tls = HttpErrand {
        tls: true,
        ..path("/")
    };
    assert_eq!(server.ask(tls).await, said(true, "status 200"));
    assert!(!server.ask(path("/")).await.0, "without TLS");
}
