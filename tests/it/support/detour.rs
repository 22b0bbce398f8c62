//! A long way to Redis and back: whatever it answers comes later by as much as the test says, and in order.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A running detour; dropping it ends it.
pub(crate) struct Detour {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Detour {
    /// To this port of loopback; answers take `longer`. It goes on while whoever asks is busy, as a network does: it has a
    /// thread of its own.
    pub(crate) fn to(port: u16, longer: Duration) -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let told = stop.clone();
        let open = async move {
            let (listener, ways) = (TcpListener::from_std(listener).unwrap(), TaskTracker::new());
            while let Ok((client, _)) = listener.accept().await {
                ways.spawn(way(client, port, longer));
            }
        };
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(told.run_until_cancelled(open));
        });
        Self { address, _stop: stop.drop_guard() }
    }

    /// For `store.redis.url`.
    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }
}

async fn way(client: TcpStream, port: u16, longer: Duration) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((mut from_client, to_client), (from_server, mut to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        () = late(from_server, to_client, longer) => {}
    }
}

/// Each piece is sent so much later than it came, however many are on their way.
async fn late(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, longer: Duration) {
    let (come, mut waiting) = mpsc::unbounded_channel();
    let reads = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let piece = buffer.get(..length).unwrap().to_vec();
            if come.send((Instant::now() + longer, piece)).is_err() {
                return;
            }
        }
    };
    let writes = async {
        while let Some((at, piece)) = waiting.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reads => {}
        () = writes => {}
    }
}
