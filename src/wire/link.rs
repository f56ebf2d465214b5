//! One connection to the scheduler, and RIK's two calls on it.
//!
//! A connection is never made anew under the caller's feet: tonic's channels reconnect by
//! themselves on the next call, and a status on such a connection would arrive while the node's
//! Register stream is closed. So the connector works once.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tonic::{
    Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri},
};
use tower::service_fn;

use super::{
    MAX_MESSAGE, Message,
    error::{ConnectError, RegisterError, Said, SendError},
    generated::{
        common::WorkerRegistration,
        worker::{InstanceScheduling, worker_client::WorkerClient},
    },
};
use crate::model::instruction::Instruction;

/// RIK's port, where the address names none.
const DEFAULT_PORT: u16 = 4995;

/// TLS to the scheduler; paths of PEM files, read anew for each connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Who may sign the scheduler's certificate.
    pub ca: PathBuf,
    /// The node's own certificate and key, where the scheduler asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the scheduler's certificate, if it isn't the host of the address.
    pub domain: Option<String>,
}

/// Where the scheduler is and how long it may be silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `http://HOST:PORT`, `https://HOST:PORT` or `HOST[:PORT]`; the port defaults to 4995.
    pub url: String,
    /// Needed for `https`, and only then.
    pub tls: Option<Tls>,
    /// For the connection and its TLS handshake.
    pub connect_timeout: Duration,
    /// For the response headers of Register, and for the end of a status stream.
    pub answer_timeout: Duration,
    /// Between two pings, also while nothing is said.
    pub keepalive_interval: Duration,
    /// For the answer to a ping; then the connection is dead.
    pub keepalive_timeout: Duration,
}

impl Target {
    /// A scheduler with the usual limits: 5 s to connect, 10 s to answer, pings every 10 s with
    /// 5 s for their answer.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: None,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
        }
    }

    /// The address with its scheme and port.
    ///
    /// # Errors
    /// [`ConnectError::Address`]: it can't be read, or scheme and TLS settings contradict.
    pub fn uri(&self) -> Result<Uri, ConnectError> {
        let bad = |reason: &str| ConnectError::Address {
            url: self.url.clone(),
            reason: reason.to_owned(),
        };
        let text = match (self.url.contains("://"), self.tls.is_some()) {
            (true, _) => self.url.clone(),
            (false, false) => format!("http://{}", self.url),
            (false, true) => format!("https://{}", self.url),
        };
        let uri: Uri = text.parse().map_err(|_| bad("write http://HOST:PORT"))?;
        match (uri.scheme_str(), self.tls.is_some()) {
            (Some("http"), false) | (Some("https"), true) => {}
            // tonic would talk plain text without a word.
            (Some("http"), true) => return Err(bad("TLS is configured; write https://")),
            (Some("https"), false) => return Err(bad("https needs a CA certificate")),
            _ => return Err(bad("only http:// and https:// are known")),
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| bad("no host"))?;
        if uri.port_u16().is_some() {
            return Ok(uri);
        }
        let scheme = uri.scheme_str().unwrap_or("http");
        format!("{scheme}://{host}:{DEFAULT_PORT}")
            .parse()
            .map_err(|_| bad("no such host"))
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, ConnectError> {
    std::fs::read(path).map_err(|source| ConnectError::File {
        path: path.to_owned(),
        source,
    })
}

fn client_tls(tls: &Tls) -> Result<ClientTlsConfig, ConnectError> {
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem(&tls.ca)?));
    if let Some((cert, key)) = &tls.identity {
        config = config.identity(Identity::from_pem(pem(cert)?, pem(key)?));
    }
    if let Some(domain) = &tls.domain {
        config = config.domain_name(domain.clone());
    }
    Ok(config)
}

async fn dial(uri: Uri, spent: Arc<AtomicBool>) -> io::Result<TokioIo<TcpStream>> {
    if spent.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other("this registration's connection has ended"));
    }
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(DEFAULT_PORT))).await?;
    stream.set_nodelay(true)?;
    Ok(TokioIo::new(stream))
}

/// Makes one connection, which ends once and for all when it ends.
///
/// # Errors
/// See [`ConnectError`]; every one of them may mend itself, for files and names are looked up
/// anew each time.
pub async fn connect(target: &Target) -> Result<Connection, ConnectError> {
    let uri = target.uri()?;
    let url = uri.to_string();
    let mut endpoint = Endpoint::from(uri)
        .http2_keep_alive_interval(target.keepalive_interval)
        .keep_alive_timeout(target.keepalive_timeout)
        .keep_alive_while_idle(true);
    if let Some(tls) = &target.tls {
        endpoint = endpoint
            .tls_config(client_tls(tls)?)
            .map_err(|source| ConnectError::Tls {
                url: url.clone(),
                source,
            })?;
    }
    let spent = Arc::new(AtomicBool::new(false));
    let connector = service_fn(move |uri: Uri| dial(uri, Arc::clone(&spent)));
    let connecting = endpoint.connect_with_connector(connector);
    match timeout(target.connect_timeout, connecting).await {
        Ok(Ok(channel)) => Ok(Connection {
            client: WorkerClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
            answer_timeout: target.answer_timeout,
        }),
        Ok(Err(source)) => Err(ConnectError::Refused { url, source }),
        Err(_) => Err(ConnectError::Silent {
            url,
            limit: target.connect_timeout,
        }),
    }
}

/// How the node introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The name that the scheduler keys nodes by.
    pub node: String,
    /// Sent with every status, if set.
    pub host_address: Option<String>,
    /// The kernel's boot id.
    pub boot_id: String,
    /// riklet's version.
    pub version: String,
}

/// A connection to the scheduler.
#[derive(Debug)]
pub struct Connection {
    client: WorkerClient<Channel>,
    answer_timeout: Duration,
}

impl Connection {
    /// Calls Register and waits for its response headers. That alone doesn't mean that the node
    /// is registered: RIK's refusal is the first item of the stream.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub async fn register(
        &mut self,
        registration: &Registration,
    ) -> Result<Instructions, RegisterError> {
        let request = WorkerRegistration {
            hostname: registration.node.clone(),
            boot_id: registration.boot_id.clone(),
            version: registration.version.clone(),
        };
        match timeout(self.answer_timeout, self.client.register(request)).await {
            Ok(Ok(response)) => Ok(Instructions {
                node: registration.node.clone(),
                stream: response.into_inner(),
            }),
            Ok(Err(status)) => Err(RegisterError::of(&registration.node, status)),
            Err(_) => Err(RegisterError::Silent {
                limit: self.answer_timeout,
            }),
        }
    }

    /// The way for this node's statuses on the same connection.
    #[must_use]
    pub fn statuses(&self, registration: &Registration) -> StatusSender {
        StatusSender {
            client: self.client.clone(),
            answer_timeout: self.answer_timeout,
            node: registration.node.clone(),
            host_address: registration.host_address.clone(),
        }
    }
}

/// The open Register stream; dropping it ends the registration.
#[derive(Debug)]
pub struct Instructions {
    node: String,
    stream: Streaming<InstanceScheduling>,
}

impl Instructions {
    /// The next instruction. Cancel-safe.
    ///
    /// # Errors
    /// The stream has ended; see [`RegisterError`].
    pub async fn next(&mut self) -> Result<Instruction, RegisterError> {
        match self.stream.message().await {
            Ok(Some(scheduling)) => Ok(scheduling.into()),
            Ok(None) => Err(RegisterError::Ended),
            Err(status) => Err(RegisterError::of(&self.node, status)),
        }
    }
}

/// Sends statuses; to be used only while the connection's [`Instructions`] are open.
#[derive(Debug)]
pub struct StatusSender {
    client: WorkerClient<Channel>,
    answer_timeout: Duration,
    node: String,
    host_address: Option<String>,
}

impl StatusSender {
    /// Sends one batch as one stream. `Ok` means that the stream ended in order: the batch is
    /// acknowledged. Dropping the future resets the stream.
    ///
    /// # Errors
    /// See [`SendError`]; part of the batch, or all of it, may have arrived.
    pub async fn send(&mut self, batch: Vec<Message>) -> Result<(), SendError> {
        let count = batch.len();
        let (node, host) = (self.node.clone(), self.host_address.clone());
        let messages = tokio_stream::iter(
            batch
                .into_iter()
                .map(move |message| message.into_proto(&node, host.as_deref())),
        );
        match timeout(
            self.answer_timeout,
            self.client.send_status_updates(messages),
        )
        .await
        {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(SendError::Failed {
                count,
                code: status.code(),
                source: Said::new(status),
            }),
            Err(_) => Err(SendError::Silent {
                count,
                limit: self.answer_timeout,
            }),
        }
    }
}
