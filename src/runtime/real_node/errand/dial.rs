//! Connections to a container, from where it can be reached.
//!
//! A container that has an address is called from the host. One that has none (there is no
//! network to join) has only `lo`, which is reached from within its network namespace: there a
//! thread makes the connection, which stays in that namespace wherever it is used.

use std::{
    fmt,
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream as StdStream, ToSocketAddrs as _},
    thread,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, oneshot},
};

use crate::{model::ids::Uid, network::netns, runtime::layout::netns_name};

pub(super) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How many names may be looked up at once.
static LOOKUPS: Semaphore = Semaphore::const_new(16);

/// A server, and from where it is called.
#[derive(Debug, Clone)]
pub(super) struct Place {
    host: String,
    port: u16,
    /// In whose network namespace; the host's if none.
    within: Option<Uid>,
    limit: Duration,
}

impl Place {
    pub(super) fn named(host: &str, port: u16) -> Self {
        Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            within: None,
            limit: Duration::MAX,
        }
    }

    pub(super) fn at(address: IpAddr, port: u16) -> Self {
        Self::named(&address.to_string(), port)
    }

    pub(super) fn within(uid: &Uid, port: u16) -> Self {
        Self {
            within: Some(uid.clone()),
            ..Self::at(LOCALHOST, port)
        }
    }

    /// The same with a limit for a connection.
    pub(super) fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The same with another port.
    pub(super) fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// As it stands in a URL.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Connects. The caller's own deadline holds; `limit` only ends what it left behind.
    pub(super) async fn dial(&self) -> io::Result<TcpStream> {
        let Some(uid) = &self.within else {
            let addresses = self.addresses().await?;
            let mut last = io::Error::other("the name has no address");
            for address in addresses {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            return Err(last);
        };
        let (answer, dialed) = oneshot::channel();
        let (name, limit) = (netns_name(uid), self.limit);
        let to = SocketAddr::new(LOCALHOST, self.port);
        // A thread of its own: it ends in the other namespace and takes nothing of it along.
        thread::Builder::new()
            .name("dial".to_owned())
            .spawn(move || {
                let _ = answer.send(dial_within(&name, to, limit));
            })?;
        let stream = dialed.await.map_err(io::Error::other)??;
        stream.set_nonblocking(true)?;
        TcpStream::from_std(stream)
    }
}

impl Place {
    /// Looks its name up, on a thread of its own: a resolver that is silent keeps it for longer than
    /// anybody waits, and the runtime's threads are for work on which all instances wait.
    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let turn = LOOKUPS.acquire().await.map_err(io::Error::other)?;
        let (answer, answered) = oneshot::channel();
        let (host, port) = (self.host.clone(), self.port);
        thread::Builder::new()
            .name("lookup".to_owned())
            .spawn(move || {
                let found = (host.as_str(), port).to_socket_addrs();
                let _ = answer.send(found.map(Iterator::collect));
                drop(turn);
            })?;
        answered.await.map_err(io::Error::other)?
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority())
    }
}

fn dial_within(name: &str, to: SocketAddr, limit: Duration) -> io::Result<StdStream> {
    let namespace = File::open(netns::path(name))?;
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    StdStream::connect_timeout(&to, limit)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, sync::mpsc};

    use super::*;

    #[test]
    fn a_name_is_looked_up_without_the_runtimes_threads_for_what_blocks() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (release, released) = mpsc::channel::<()>();
        let busy = runtime.spawn_blocking(move || released.recv());
        let server = TcpListener::bind((LOCALHOST, 0)).unwrap();
        let place = Place::named("localhost", server.local_addr().unwrap().port());
        let limit = Duration::from_secs(10);
        let dialed = runtime.block_on(async { tokio::time::timeout(limit, place.dial()).await });
        release.send(()).unwrap();
        runtime.block_on(busy).unwrap().unwrap();
        assert!(dialed.unwrap().is_ok());
    }
}
