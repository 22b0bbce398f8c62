//! A way to a server of loopback on which answers can be lost.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// To one server, by any number of connections.
pub(crate) struct Way {
    pub(crate) port: u16,
    traffic: Arc<Mutex<Traffic>>,
    door: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Traffic {
    holds: bool,
    is_closed: bool,
    streams: Vec<TcpStream>,
}

impl Way {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let traffic = Arc::<Mutex<Traffic>>::default();
        let known = Arc::clone(&traffic);
        let door = std::thread::spawn(move || {
            for client in listener.incoming() {
                if known.lock().unwrap().is_closed {
                    return;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                carry(client.unwrap(), server, &known);
            }
        });
        Self { port, traffic, door: Some(door) }
    }

    /// From now on no answer comes back.
    pub(crate) fn hold(&self) {
        self.traffic.lock().unwrap().holds = true;
    }

    /// Breaks all connections, with the answers that were held. Those that are made from now on are as good as ever.
    pub(crate) fn cut(&self) {
        let mut traffic = self.traffic.lock().unwrap();
        for stream in traffic.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        traffic.holds = false;
    }
}

/// Both directions of one connection, each in a thread that ends with it.
fn carry(client: TcpStream, server: TcpStream, traffic: &Arc<Mutex<Traffic>>) {
    let (mut asks, mut asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (mut answers, mut answered) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    traffic.lock().unwrap().streams.extend([client, server]);
    std::thread::spawn(move || {
        let _ = io::copy(&mut asks, &mut asked);
        let _ = asked.shutdown(Shutdown::Both);
    });
    let traffic = Arc::clone(traffic);
    std::thread::spawn(move || {
        let mut answer = [0; 4096];
        while let Ok(length @ 1..) = answers.read(&mut answer) {
            if !traffic.lock().unwrap().holds && answered.write_all(&answer[..length]).is_err() {
                break;
            }
        }
        let _ = answered.shutdown(Shutdown::Both);
    });
}

impl Drop for Way {
    fn drop(&mut self) {
        self.traffic.lock().unwrap().is_closed = true;
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.door.take().unwrap().join();
    }
}
