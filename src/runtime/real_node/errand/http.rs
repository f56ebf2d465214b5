//! Errands that ask over HTTP.
//!
//! By Kubernetes' rules: 200 to 399 is well; a redirect to the same host is followed, one to
//! another host counts as it stands; a certificate isn't verified, for the server's name is an
//! address that none is made out to.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use hyper::{
    Request, Response, Uri,
    body::{Body as _, Incoming},
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::{dial::Place, done, undone};
use crate::{error_chain::one_line, model::spec::HttpErrand, node::ErrandEnd};

/// So many redirects are followed.
const REDIRECTS: usize = 10;
/// So much of an answer is read, so that a server which writes one at once isn't cut off.
const BODY: usize = 10 * 1024;
/// So long may status and headers be.
const HEAD: usize = 64 * 1024;

pub(super) async fn ask(place: Place, asked: &HttpErrand) -> ErrandEnd {
    follow(place, asked).await.unwrap_or_else(undone)
}

async fn follow(mut place: Place, asked: &HttpErrand) -> Result<ErrandEnd, String> {
    let mut tls = asked.tls;
    let mut path = target(&asked.path)?;
    for _ in 0..=REDIRECTS {
        let answer = once(&place, tls, &path, &asked.headers).await?;
        let status = answer.status();
        let location = answer.headers().get(header::LOCATION);
        let location = location.and_then(|value| Some(value.to_str().ok()?.to_owned()));
        read_some(answer).await;
        let said = format!("status {}", status.as_u16());
        let Some(location) = location.filter(|_| status.is_redirection()) else {
            let well = (200..400).contains(&status.as_u16());
            return Ok(if well { done(said) } else { undone(said) });
        };
        path = match resolve(&path, &location) {
            Next::Path(path) => target(&path)?,
            Next::Uri(uri) if uri.host().map(bare) == Some(place.host()) => {
                tls = uri.scheme_str() == Some("https");
                let usual = if tls { 443 } else { 80 };
                place = place.port(uri.port_u16().unwrap_or(usual));
                uri.path_and_query()
                    .map_or("/", |path| path.as_str())
                    .to_owned()
            }
            Next::Uri(_) => return Ok(done(format!("{said}, to another host"))),
        };
    }
    Err(format!("more than {REDIRECTS} redirects"))
}

/// A host as it is without a URL around it.
fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

/// Path and query as they can be asked for.
fn target(path: &str) -> Result<String, String> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = format!("{slash}{path}");
    match path.parse::<Uri>() {
        Ok(_) => Ok(path),
        Err(_) => Err("its path is none that can be asked for".to_owned()),
    }
}

/// To where a redirect leads.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// On the same server.
    Path(String),
    /// Anywhere.
    Uri(Uri),
}

fn resolve(former: &str, location: &str) -> Next {
    let location = location.split('#').next().unwrap_or_default();
    let whole = location.parse::<Uri>().ok();
    if let Some(uri) = whole.filter(|uri| uri.scheme().is_some()) {
        return Next::Uri(uri);
    }
    if location.starts_with('/') {
        return Next::Path(location.to_owned());
    }
    let directory = former.split('?').next().unwrap_or_default();
    let directory = directory
        .rsplit_once('/')
        .map_or("", |(directory, _)| directory);
    Next::Path(format!("{directory}/{location}"))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn once(
    place: &Place,
    tls: bool,
    path: &str,
    headers: &[(String, String)],
) -> Result<Response<Incoming>, String> {
    let failed = |what: &str, error: &(dyn std::error::Error + 'static)| {
        format!("{what} {place}: {}", one_line(error))
    };
    let stream = place.dial().await.map_err(|e| failed("connect to", &e))?;
    let stream: Box<dyn Stream> = if tls {
        let name = ServerName::try_from(place.host().to_owned()).map_err(|e| failed("name", &e))?;
        let over = connector().map_err(|e| failed("speak TLS with", &e))?;
        let stream = over.connect(name, stream).await;
        Box::new(stream.map_err(|e| failed("speak TLS with", &e))?)
    } else {
        Box::new(stream)
    };
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| failed("speak with", &e))?;
    // It ends with the answer: the sender is dropped here, the answer by its reader.
    tokio::spawn(connection);
    let request = request(place, path, headers)?;
    sender
        .send_request(request)
        .await
        .map_err(|e| failed("ask", &e))
}

fn request(
    place: &Place,
    path: &str,
    headers: &[(String, String)],
) -> Result<Request<String>, String> {
    let request = Request::get(path).body(String::new());
    let mut request = request.map_err(|e| format!("ask for its path: {e}"))?;
    let of = request.headers_mut();
    for (name, value) in headers {
        // Values may be secrets: only names are said.
        let name: HeaderName = name
            .parse()
            .map_err(|_| "a header's name is none".to_owned())?;
        let value = HeaderValue::from_str(value);
        let value =
            value.map_err(|_| format!("the header {name} has a value that can't be sent"))?;
        of.append(name, value);
    }
    let agent = concat!("riklet-probe/", env!("CARGO_PKG_VERSION")).to_owned();
    let usual = [
        (header::HOST, place.authority()),
        (header::USER_AGENT, agent),
        (header::ACCEPT, "*/*".to_owned()),
    ];
    for (name, value) in usual {
        if !of.contains_key(&name)
            && let Ok(value) = value.parse()
        {
            of.insert(name, value);
        }
    }
    of.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

/// Reads the beginning of an answer and forgets it.
async fn read_some(answer: Response<Incoming>) {
    let mut body = answer.into_body();
    let mut read = 0;
    while read < BODY {
        let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        match frame {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len()),
            Some(Err(_)) | None => return,
        }
    }
}

fn connector() -> Result<TlsConnector, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes every certificate. Nothing that is said over such a connection is secret or believed
/// beyond "it answers".
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
