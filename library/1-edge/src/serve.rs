use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tower::ServiceExt;

use crate::{Line, Proxies, Tls, patience::Patient};

/// hyper keeps no smaller buffer than this.
const BUFFER_BYTES_MIN: usize = 8192;
/// After an error of the listener itself (out of descriptors), so long a rest.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Bounds of the server and of each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServeLimits {
    /// At most so many connections at a time; further ones wait in the listener's queue.
    pub connections: usize,
    /// The headers of a request arrive within so many milliseconds, counted from the connection's
    /// start or the answer before; so an idle connection lives no longer.
    pub header_read_timeout_ms: u64,
    /// Start line and headers together have at most so many bytes.
    pub max_header_bytes: usize,
    /// There are at most so many headers.
    pub max_headers: usize,
    /// A client takes something of what it is sent within so many milliseconds, each time.
    pub write_timeout_ms: u64,
    /// At most so many requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// So many milliseconds after its start, a connection takes no further request.
    pub connection_life_ms: u64,
    /// A connection that is ending, and the server that is stopping, get so many milliseconds
    /// for what is in flight.
    pub drain_ms: u64,
    /// A connection whose answers are not to leave any more gets so many milliseconds for what else is in flight.
    pub hang_up_ms: u64,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections: 2048,
            header_read_timeout_ms: 10_000,
            max_header_bytes: 64 * 1024,
            max_headers: 128,
            write_timeout_ms: 20_000,
            streams: 64,
            connection_life_ms: 300_000,
            drain_ms: 20_000,
            hang_up_ms: 2_000,
        }
    }
}

/// What is listened on, and to whom.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    tls: Option<Tls>,
    peers: Option<Proxies>,
}

/// Plain HTTP, for everybody who can connect.
impl From<TcpListener> for Listening {
    fn from(listener: TcpListener) -> Self {
        Self {
            listener,
            tls: None,
            peers: None,
        }
    }
}

impl Listening {
    /// The same with TLS, and nothing else.
    pub fn encrypted(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The same for these proxies: the connections of others are closed.
    pub fn only_from(mut self, peers: Proxies) -> Self {
        self.peers = Some(peers);
        self
    }

    fn is_for(&self, peer: SocketAddr) -> bool {
        let peers = self.peers.as_ref();
        peers.is_none_or(|peers| peers.has(peer.ip().to_canonical()))
    }
}

/// Serves the router until `shutdown` is ready, then lets what is in flight end.
///
/// axum's own `serve` sets no timer for headers; a client who sends one now and then would hold
/// its connection for ever.
///
/// # Errors
/// When the listener has no address, that is, never in practice: errors of accepting are survived.
pub async fn serve(
    listening: impl Into<Listening>,
    router: Router,
    limits: ServeLimits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let listening = listening.into();
    tracing::info!(address = %listening.listener.local_addr()?, "serving");
    let places = Arc::new(Semaphore::new(limits.connections));
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listening.listener, &places) => accepted,
        };
        match accepted {
            Ok((_, peer, _)) if !listening.is_for(peer) => {
                tracing::debug!(%peer, "a connection that is no proxy's");
            }
            Ok((stream, peer, place)) => {
                let service = PeerService {
                    router: router.clone(),
                    peer,
                    line: Line::default(),
                };
                let (stopping, tls) = (stopping.clone(), listening.tls.clone());
                tokio::spawn(async move {
                    greet(stream, tls, service, limits, stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection");
                sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listening);
    let _ = stop.send(true);
    drain(&places, limits).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    // A place first: connections that we have no place for are left to the kernel's queue.
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Without it, a small answer waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer, place))
}

/// Waits until every place is free, a little longer than a connection may drain.
async fn drain(places: &Semaphore, limits: ServeLimits) {
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let grace = Duration::from_millis(limits.drain_ms.saturating_add(500));
    if timeout(grace, places.acquire_many(all)).await.is_err() {
        tracing::warn!("stopping with connections still open");
    }
}

/// The router, telling each request where its connection came from.
#[derive(Clone)]
struct PeerService {
    router: Router,
    peer: SocketAddr,
    line: Line,
}

impl PeerService {
    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<axum::response::Response, std::convert::Infallible> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        request.extensions_mut().insert(self.line);
        self.router.oneshot(request).await
    }
}

/// Agrees on TLS with the other end, where it is to be, and runs the connection.
async fn greet(
    stream: TcpStream,
    tls: Option<Tls>,
    service: PeerService,
    limits: ServeLimits,
    stopping: watch::Receiver<bool>,
) {
    let stream = Patient::new(stream, Duration::from_millis(limits.write_timeout_ms));
    let Some(tls) = tls else {
        return run(stream, service, limits, stopping).await;
    };
    let patience = Duration::from_millis(limits.header_read_timeout_ms);
    match timeout(patience, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => run(stream, service, limits, stopping).await,
        Ok(Err(error)) => tracing::debug!(%error, "a connection without TLS that we know"),
        Err(_) => tracing::debug!("a connection that did not greet in time"),
    }
}

/// Runs one connection to its end: the client's, its life's, or the server's.
async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: PeerService,
    limits: ServeLimits,
    mut stopping: watch::Receiver<bool>,
) {
    let asked = Arc::new(AtomicBool::new(false));
    let has_asked = Arc::clone(&asked);
    let line = service.line.clone();
    let service = service_fn(move |request| {
        has_asked.store(true, Ordering::Relaxed);
        service.clone().answer(request)
    });
    let builder = builder(limits);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let silence = silent_for(&asked, limits.header_read_timeout_ms);
    let mut grace_ms = limits.drain_ms;
    tokio::select! {
        ended = connection.as_mut() => return log_end(ended),
        () = silence => return,
        () = line.hung_up() => grace_ms = limits.hang_up_ms,
        () = sleep(Duration::from_millis(limits.connection_life_ms)) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    connection.as_mut().graceful_shutdown();
    let is_cut = async {
        line.hung_up().await;
        sleep(Duration::from_millis(limits.hang_up_ms)).await;
    };
    tokio::select! {
        ended = timeout(Duration::from_millis(grace_ms), connection) => drop(ended.map(log_end)),
        () = is_cut => {}
    }
}

/// Ready when nothing was asked in that time. hyper's header timer starts once the protocol is
/// known; a client who sends `P` and no more has chosen neither HTTP/1 nor HTTP/2.
async fn silent_for(asked: &AtomicBool, limit_ms: u64) {
    sleep(Duration::from_millis(limit_ms.saturating_add(500))).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

fn builder(limits: ServeLimits) -> Builder<TokioExecutor> {
    let header_read = Duration::from_millis(limits.header_read_timeout_ms);
    let header_bytes = limits.max_header_bytes.max(BUFFER_BYTES_MIN);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_read)
        .max_buf_size(header_bytes)
        .max_headers(limits.max_headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(header_read)
        .keep_alive_timeout(header_read);
    builder
}

/// How a connection ended is the client's doing more often than ours: told at the lowest level.
fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
