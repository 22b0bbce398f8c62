//! Listens and serves: an accept loop of its own, because forced misconduct happens below HTTP.
//!
//! Each connection is a task of the tracker; stopping asks all to finish and cuts those that do not.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::line::{Line, Misconduct, Told};
use super::world::World;

/// How long a connection may go on after the simulator was told to stop.
const GRACE: Duration = Duration::from_secs(1);

/// How long a client may take to greet.
const HANDSHAKE: Duration = Duration::from_secs(10);

pub(super) async fn serve(
    (listener, tls): (TcpListener, Option<Arc<ServerConfig>>),
    router: Router,
    world: Arc<World>,
    stop: CancellationToken,
) {
    let tls = tls.map(TlsAcceptor::from);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(welcome((stream, tls.clone()), router.clone(), Arc::clone(&world), stop.clone()));
            }
            // Out of file descriptors, most likely: others must end before the next one fits.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    connections.close();
    connections.wait().await;
}

/// Shakes hands where there is TLS, and talks.
async fn welcome(
    (stream, tls): (TcpStream, Option<TlsAcceptor>),
    router: Router,
    world: Arc<World>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let told = Told::default();
    let line = Line::new(stream, told.clone());
    let Some(tls) = tls else { return talk((line, told), router, world, stop).await };
    tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE, tls.accept(line)) => {
            if let Ok(Ok(stream)) = shaken {
                talk((stream, told), router, world, stop).await;
            }
        }
        () = stop.cancelled() => {}
    }
}

async fn talk(
    (stream, told): (impl AsyncRead + AsyncWrite + Unpin + Send + 'static, Told),
    router: Router,
    world: Arc<World>,
    stop: CancellationToken,
) {
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (router, told) = (router.clone(), told.clone());
        let request = world.places.arrive(request.map(Body::new));
        async move {
            let response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            match response.extensions().get::<Misconduct>() {
                Some(misconduct) if !told.note(*misconduct) => Err(io::Error::other("told to end the connection")),
                _ => Ok(response),
            }
        }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = tokio::time::timeout(GRACE, connection).await;
}
