//! Ports of loopback for servers that cannot be told to take any: nobody else gets them in between.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use tokio::net::TcpSocket;

/// What keeps them: bound and not listened at, so that the system gives them to nobody who asks for any, while whoever
/// asks for one by number can listen there, as everybody does with `SO_REUSEADDR`.
static KEPT: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

/// A port of 127.0.0.1 where nobody listens, and nobody will but who is told its number, until this process ends.
pub(crate) fn free_port() -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let port = socket.local_addr().unwrap().port();
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    port
}
