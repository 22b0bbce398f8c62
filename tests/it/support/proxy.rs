//! An egress proxy: opens tunnels by CONNECT, to one place whatever is asked for, and keeps every byte that it sees.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// A running proxy; dropping it ends it.
pub(crate) struct Proxy {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    _stop: DropGuard,
}

/// What it saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// The heads of requests to itself.
    pub(crate) heads: Vec<String>,
    /// What clients sent through tunnels, and what came back.
    pub(crate) tunnelled: Vec<u8>,
}

impl Proxy {
    /// Opens tunnels to `target`, for those alone who send `authorization` if there is one.
    pub(crate) async fn to(target: SocketAddr, authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, book) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Book::default())));
        let (kept, stop) = (Arc::clone(&book), CancellationToken::new());
        let (told, tunnels) = (stop.clone(), TaskTracker::new());
        TaskTracker::new().spawn(told.run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                tunnels.spawn(tunnel(client, target, authorization, Arc::clone(&kept)));
            }
        }));
        Self { address, book, _stop: stop.drop_guard() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn book(&self) -> Book {
        self.book.lock().unwrap().clone()
    }
}

async fn tunnel(mut client: TcpStream, target: SocketAddr, authorization: Option<&str>, book: Arc<Mutex<Book>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let admitted = authorization.is_none_or(|value| {
        head.lines().any(|line| line.to_lowercase().starts_with("proxy-authorization: ") && line.ends_with(value))
    });
    let connect = head.starts_with("CONNECT ");
    book.lock().unwrap().heads.push(head);
    if !connect || !admitted {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
        return;
    }
    let mut server = TcpStream::connect(target).await.unwrap();
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let (piece, onwards) = tokio::select! {
            read = client.read(&mut up) => (up.get(..read.unwrap_or(0)).unwrap(), &mut server),
            read = server.read(&mut down) => (down.get(..read.unwrap_or(0)).unwrap(), &mut client),
        };
        if piece.is_empty() {
            return;
        }
        book.lock().unwrap().tunnelled.extend_from_slice(piece);
        if onwards.write_all(piece).await.is_err() {
            return;
        }
    }
}
