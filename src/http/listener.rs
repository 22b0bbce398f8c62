//! The accept loop of a door: bounded in every way that `axum::serve` leaves open.
//!
//! Handshakes and requests run in tasks of their own, so a client that says nothing holds up nobody. Not here: what is
//! answered.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::head;
use crate::authn::PeerCertificate;
use crate::tls::{DoorTls, SwappableTls};

/// Who is at the other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address, which may be that of a proxy.
    pub address: SocketAddr,
    /// The same as text, made once for all the records of the connection.
    pub text: String,
    /// Whether it came by TLS.
    pub secure: bool,
    /// What it showed in the handshake, verified there.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// How a door is told to stop: first to finish what it has, then to drop it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// No new connections, no new requests on those that are open.
    pub drain: CancellationToken,
    /// Nothing any more.
    pub kill: CancellationToken,
}

/// A client has this long for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A client has this long for the head of a request, and to begin the first one.
const HEAD: Duration = Duration::from_secs(30);
/// When the service ends, a connection without a request in progress has this long for the rest of its last answer.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A connection is asked to end after this time, so that clients spread again over replicas.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// Open connections of one door; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 20_000;
/// Head of a request, all headers together.
const MAX_HEAD: usize = 32 * 1024;
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A door that is open.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    tls: SwappableTls,
    connections: TaskTracker,
    stop: Stop,
}

impl Listener {
    /// Opens a door on a bound socket.
    pub fn new(socket: TcpListener, tls: SwappableTls, stop: Stop) -> Self {
        Self { socket, tls, connections: TaskTracker::new(), stop }
    }

    /// Accepts until told to drain, then waits for what is being answered until told to kill.
    pub async fn serve<A, F>(self, answer: A)
    where
        A: Fn(Arc<Peer>, Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => break,
                accepted = self.accept(&places) => accepted,
            };
            let Some((stream, remote, place)) = accepted else { continue };
            let admission = Admission { tls: self.tls.load_full(), in_force: Arc::clone(&self.tls), chain: Vec::new() };
            let connection = Connection { remote, admission, stop: self.stop.clone() };
            let answer = answer.clone();
            self.connections.spawn(async move {
                connection.run(stream, answer).await;
                drop(place);
            });
        }
        drop(self.socket);
        self.connections.close();
        tokio::select! {
            () = self.connections.wait() => {}
            () = self.stop.kill.cancelled() => {}
        }
    }

    async fn accept(
        &self,
        places: &Arc<Semaphore>,
    ) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match self.socket.accept().await {
            Ok((stream, remote)) => {
                // Answers are small and whole; waiting to fill a packet only delays them.
                let _ = stream.set_nodelay(true);
                Some((stream, remote, place))
            }
            Err(error) => {
                // Out of descriptors, as a rule: trying again at once would burn a core until one is free.
                if !is_of_the_client(&error) {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                None
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What an open connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// To answer what it has begun, and to end.
    Finish,
    /// To end.
    Leave,
}

impl Stop {
    /// Until a connection is to finish: the service drains, the connection has become old, or other authorities judge
    /// the certificates of clients.
    async fn finish(self, tls: Arc<DoorTls>) -> Order {
        let told = async {
            tokio::select! {
                () = self.drain.cancelled() => {}
                () = tls.retired() => {}
            }
        };
        let _ = tokio::time::timeout(MAX_AGE, told).await;
        Order::Finish
    }

    /// Until a connection must be dropped: everybody is told to, or the service ends and nothing has been in progress on
    /// this one for a moment. hyper would wait for the rest of a head that may never come.
    async fn leave(self, in_progress: InProgress) -> Order {
        let at_rest = async {
            self.drain.cancelled().await;
            let mut since = Instant::now();
            while since.elapsed() < LAST_WORDS {
                tokio::time::sleep(LAST_WORDS / 20).await;
                if in_progress.any() {
                    since = Instant::now();
                }
            }
        };
        tokio::select! {
            () = self.kill.cancelled() => {}
            () = at_rest => {}
        }
        Order::Leave
    }
}

/// The requests of a connection: how many are being answered, and how many there have been.
#[derive(Debug, Clone, Default)]
struct InProgress(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    now: AtomicUsize,
    ever: AtomicUsize,
}

/// One of them, for as long as this is kept.
struct OneInProgress(InProgress);

impl InProgress {
    fn one_more(&self) -> OneInProgress {
        self.0.now.fetch_add(1, Ordering::Relaxed);
        self.0.ever.fetch_add(1, Ordering::Relaxed);
        OneInProgress(self.clone())
    }

    fn any(&self) -> bool {
        self.0.now.load(Ordering::Relaxed) > 0
    }

    fn ever(&self) -> usize {
        self.0.ever.load(Ordering::Relaxed)
    }

    /// Until no request has been in progress and none has begun for [`HEAD`]. One timer of the connection's own; hyper
    /// would set one anew for each request.
    async fn idle(self) -> Order {
        let (mut seen, mut since) = (self.ever(), Instant::now());
        while since.elapsed() < HEAD {
            tokio::time::sleep(HEAD / 10).await;
            let ever = self.ever();
            if ever != seen || self.any() {
                (seen, since) = (ever, Instant::now());
            }
        }
        Order::Leave
    }
}

impl Drop for OneInProgress {
    fn drop(&mut self) {
        self.0.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Connection {
    remote: SocketAddr,
    admission: Admission,
    stop: Stop,
}

/// By what right a connection is open.
struct Admission {
    /// The TLS it came in by.
    tls: Arc<DoorTls>,
    in_force: SwappableTls,
    /// The certificates that it showed.
    chain: Vec<CertificateDer<'static>>,
}

impl Admission {
    /// Whether it would come in as well by what is in force now. What it began before a change it may finish; what it
    /// begins afterwards is a new visit.
    fn holds(&self) -> Result<(), StatusCode> {
        let holds = !self.tls.is_retired() || self.in_force.load().would_admit(&self.chain);
        if holds { Ok(()) } else { Err(StatusCode::MISDIRECTED_REQUEST) }
    }
}

impl Connection {
    async fn run<A, F>(mut self, stream: TcpStream, answer: A)
    where
        A: Fn(Arc<Peer>, Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        match self.admission.tls.config().cloned() {
            None => {
                let speaks = tokio::select! {
                    speaks = tokio::time::timeout(HEAD, first_words(&stream)) => speaks,
                    () = self.stop.drain.cancelled() => return,
                };
                if let Ok(Ok(http2)) = speaks {
                    self.speak(TokioIo::new(stream), http2, answer).await;
                }
            }
            Some(config) => {
                // Load balancers keep connections at hand that may never be used: nothing has begun on them.
                let mut first = [0];
                let begun = tokio::select! {
                    begun = tokio::time::timeout(HANDSHAKE, stream.peek(&mut first)) => matches!(begun, Ok(Ok(1..))),
                    () = self.stop.drain.cancelled() => false,
                };
                if !begun {
                    return;
                }
                let handshake = TlsAcceptor::from(config).accept(stream);
                let shaken = tokio::select! {
                    shaken = tokio::time::timeout(HANDSHAKE, handshake) => shaken,
                    _ = self.stop.clone().leave(InProgress::default()) => return,
                };
                match shaken {
                    Ok(Ok(stream)) => {
                        let (_, session) = stream.get_ref();
                        let http2 = session.alpn_protocol() == Some(b"h2");
                        let shown = session.peer_certificates().unwrap_or_default();
                        self.admission.chain = shown.iter().map(|it| it.clone().into_owned()).collect();
                        self.speak(TokioIo::new(stream), http2, answer).await;
                    }
                    Ok(Err(error)) => tracing::debug!(remote = %self.remote, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(remote = %self.remote, "TLS handshake took too long"),
                }
            }
        }
    }

    async fn speak<S, A, F>(self, stream: TokioIo<S>, http2: bool, answer: A)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Fn(Arc<Peer>, Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let certificate = self.admission.chain.first().map(|own| Arc::new(PeerCertificate::read(own)));
        let secure = self.admission.tls.config().is_some();
        let peer = Arc::new(Peer { address: self.remote, text: self.remote.to_string(), secure, certificate });
        let in_progress = InProgress::default();
        // Asked only when one of them has something to say: a connection is woken twice for each request, and each of
        // these would take a lock that all connections share.
        let finish: BoxFuture<'_, Order> = Box::pin(self.stop.clone().finish(Arc::clone(&self.admission.tls)));
        let leave: BoxFuture<'_, Order> = Box::pin(self.stop.leave(in_progress.clone()));
        let mut orders = FuturesUnordered::from_iter([finish, leave]);
        if !http2 {
            orders.push(Box::pin(in_progress.clone().idle()));
        }
        let admission = self.admission;
        let service = service_fn(move |request: Request<Incoming>| {
            let request_in_progress = in_progress.one_more();
            let sound = head::sound(&request).and_then(|()| admission.holds());
            let answered = sound.map(|()| answer(Arc::clone(&peer), request.map(Body::new)));
            async move {
                let response = match answered {
                    Ok(answered) => answered.await,
                    Err(status) => head::refused(status),
                };
                drop(request_in_progress);
                Ok::<_, Infallible>(response)
            }
        });
        let builder = builder(http2);
        let mut connection = pin!(builder.serve_connection(stream, service));
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::trace!(remote = %self.remote, %error, "the connection ended");
                    }
                    return;
                }
                order = orders.next() => match order {
                    Some(Order::Finish) => connection.as_mut().graceful_shutdown(),
                    Some(Order::Leave) | None => return,
                },
            }
        }
    }
}

/// Whether the client begins with the preface of HTTP/2. Peeks, takes nothing.
///
/// hyper-util can tell by itself, but waits for ever for a client that does not begin.
async fn first_words(stream: &TcpStream) -> io::Result<bool> {
    let mut head = [0; H2_PREFACE.len()];
    loop {
        let seen = stream.peek(&mut head).await?;
        let seen = head.get(..seen).unwrap_or_default();
        if seen.len() == H2_PREFACE.len() || seen.is_empty() || !H2_PREFACE.starts_with(seen) {
            return Ok(seen == H2_PREFACE);
        }
        // A few bytes that could become either: peeking again at once would only spin.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn builder(http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // The time for a head is kept by `InProgress::idle`.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .http2()
        // Without a timer hyper ignores the time limits in silence.
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HANDSHAKE);
    if http2 { builder.http2_only() } else { builder.http1_only() }
}
