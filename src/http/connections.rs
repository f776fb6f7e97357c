//! Connections of the server: taken up to limits, and closed when they stall.
//!
//! Anybody may connect. A connection holds a descriptor, which Realtime, sweeps and the broker need, too,
//! and memory for what it sends; so neither their number nor their duration is left to the other side.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Largest number of bytes that the headers of a request may have.
const MAX_HEADERS: usize = 16 << 10;
/// Pause after the system refused a new connection, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(200);
/// Answer to a connection over a limit. It is sent as it is, because nothing of the request is read.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Largest number of connections.
    pub all: usize,
    /// Largest number of connections of one address; of one /64 network in IPv6.
    pub per_address: usize,
    /// Longest time that a connection waits for a request's headers, also between two requests.
    pub headers: Duration,
}

impl Default for ConnectionLimits {
    /// Returns limits that leave the process three quarters of its descriptors. A database sends up to 200
    /// webhooks at a time from one address.
    fn default() -> Self {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
        let all = usize::try_from(descriptors / 4).unwrap_or(usize::MAX).clamp(8, 512);
        Self { all, per_address: all.div_ceil(2), headers: Duration::from_secs(10) }
    }
}

/// Serves connections until `stop` completes, then closes the socket and waits for the requests that
/// have begun.
///
/// # Errors
/// Errors of the listening socket itself.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (connections, closing) = (TaskTracker::new(), CancellationToken::new());
    // A dropped future closes what it has begun.
    let _closes = closing.clone().drop_guard();
    let places = Places::default();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "no connection can be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match places.take(peer.ip(), &limits) {
            Some(place) => {
                let served = serve_one(stream, peer, router.clone(), limits.headers, closing.clone());
                connections.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
            None => turn_away(stream),
        }
    }
    drop(listener);
    closing.cancel();
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    headers: Duration,
    closing: CancellationToken,
) {
    let service = router.map_request(move |mut request: axum::http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(headers).max_buf_size(MAX_HEADERS);
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Answers a connection over a limit without waiting, and closes it.
fn turn_away(stream: TcpStream) {
    use std::io::{Read, Write};
    let Ok(mut stream) = stream.into_std() else { return };
    // A socket that is closed with unread bytes may lose its answer. Neither call waits; whoever is not
    // ready goes without.
    let _ = stream.read(&mut [0; 4 << 10]);
    let _ = stream.write(TOO_MANY);
}

/// Returns true for an error of one connection, which leaves the socket usable.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Numbers of open connections by address. Clones share them.
#[derive(Debug, Clone, Default)]
struct Places {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The place of one connection, given back on drop.
struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    fn take(&self, address: IpAddr, limits: &ConnectionLimits) -> Option<Place> {
        let address = network(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&address).copied().unwrap_or_default();
        if own >= limits.per_address || taken.values().sum::<usize>() >= limits.all {
            return None;
        }
        taken.insert(address, own + 1);
        Some(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Returns the address that a connection counts for. A host of IPv6 usually has a whole /64 network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Starts a server with these limits, and returns its address and the token that stops it.
    async fn server(limits: ConnectionLimits) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let router = Router::new().route("/", get(|| async { "ok" }));
        let stopped = stop.clone();
        tokio::spawn(async move { serve(listener, router, limits, stopped.cancelled()).await });
        (address, stop)
    }

    async fn connected(address: SocketAddr, sent: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream
    }

    /// Reads to the end of a connection, which the other side must close.
    async fn read(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // A reset is an end, too: the server closed while bytes of the client were on their way.
        let _ = tokio::time::timeout(Duration::from_secs(60), read).await.expect("an end of the connection");
        String::from_utf8(answer).unwrap()
    }

    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn connections_over_a_limit_are_told_so_and_places_come_back() {
        let limits = ConnectionLimits { all: 3, per_address: 2, headers: Duration::from_secs(600) };
        let (address, _stop) = server(limits).await;
        let stalled = [connected(address, "GET / HT").await, connected(address, "").await];
        // The server takes connections in their order, so both have their places by now.
        assert!(read(connected(address, REQUEST).await).await.starts_with("HTTP/1.1 429 "));
        drop(stalled);
        let answered =
            async { while !read(connected(address, REQUEST).await).await.starts_with("HTTP/1.1 200 ") {} };
        tokio::time::timeout(Duration::from_secs(60), answered).await.expect("a place");
    }

    #[tokio::test]
    async fn slow_headers_idle_connections_and_long_headers_are_closed() {
        let limits = ConnectionLimits { all: 9, per_address: 9, headers: Duration::from_millis(50) };
        let (address, _stop) = server(limits).await;
        for sent in ["", "GET / HTTP/1.1\r\nhost", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
            read(connected(address, sent).await).await;
        }
        let long = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(2 * MAX_HEADERS));
        let answer = read(connected(address, &long).await).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test]
    async fn a_stopped_server_ends_idle_connections() {
        let limits = ConnectionLimits { headers: Duration::from_secs(600), ..ConnectionLimits::default() };
        let (address, stop) = server(limits).await;
        let mut kept = connected(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut first = [0; 12];
        kept.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stop.cancel();
        assert!(read(kept).await.ends_with("ok"));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let places = Places::default();
        let limits = ConnectionLimits { all: 9, per_address: 1, headers: Duration::ZERO };
        let take = |address: &str| places.take(address.parse().unwrap(), &limits);
        let first = take("2001:db8::1");
        assert!(first.is_some() && take("2001:db8::2").is_none() && take("2001:db8:0:1::1").is_some());
        let mapped = take("::ffff:10.0.0.1");
        assert!(mapped.is_some() && take("10.0.0.1").is_none() && take("10.0.0.2").is_some());
        drop(first);
        assert!(take("2001:db8::2").is_some());
    }
}
