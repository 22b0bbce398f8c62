//! An HTTP/1.1 client that sends exactly the bytes it is given and shows exactly what comes back.

use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, Engine};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::PATIENCE;

/// A request, as it will stand on the wire.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer, as it stood on the wire; header names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn get(target: &str) -> Request {
    request("GET", target)
}

/// A POST of a form, its text given whole.
pub(crate) fn post(target: &str, form: &str) -> Request {
    request("POST", target).header("Content-Type", "application/x-www-form-urlencoded").body(form)
}

pub(crate) fn request(method: &str, target: &str) -> Request {
    Request { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
}

impl Request {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn basic(self, name: &str, secret: &str) -> Self {
        self.header("Authorization", &format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{secret}"))))
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes. `Host`, and `Content-Length` where there is a body, are added unless they are there.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self { method, target, headers, body } = self;
        let has = |name: &str| headers.iter().any(|(header, _)| header.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        if !has("host") {
            head.push_str("Host: aquila.example\r\n");
        }
        if !has("content-length") && !has("transfer-encoding") && (!body.is_empty() || method == "POST") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        [head.as_bytes(), body].concat()
    }

    /// Sends it over a connection of its own.
    pub(crate) async fn send(&self, address: SocketAddr) -> Answer {
        let mut connection = Connection::open(address).await;
        connection.ask(self).await
    }
}

/// A connection that stays open.
pub(crate) struct Connection<S = TcpStream> {
    stream: S,
    seen: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, seen: Vec::new() }
    }

    pub(crate) async fn ask(&mut self, request: &Request) -> Answer {
        self.write(&request.bytes()).await;
        self.answer(request.method != "HEAD").await.expect("the connection ended without an answer")
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // A server that has answered and left may refuse the rest; what it said still counts.
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next answer, `None` when the connection ends instead.
    pub(crate) async fn answer(&mut self, with_body: bool) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(with_body)).await.expect("no answer")
    }

    /// Everything until the other side closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let read = async {
            while self.more().await {}
            std::mem::take(&mut self.seen)
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the connection stays open")
    }

    async fn read_answer(&mut self, with_body: bool) -> Option<Answer> {
        let end = loop {
            match self.seen.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if !self.more().await => return None,
                None => {}
            }
        };
        let head = String::from_utf8(self.seen.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let mut first = lines.next().unwrap().splitn(3, ' ');
        let version = first.next().unwrap().to_owned();
        let status: u16 = first.next().unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(':').unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Answer { status, version, headers, body: Vec::new() };
        if with_body && status != 100 {
            assert_eq!(answer.header("transfer-encoding"), None, "answers are whole");
            let length: usize = answer.header("content-length").expect("a length").parse().unwrap();
            while self.seen.len() < length {
                assert!(self.more().await, "the answer was cut");
            }
            answer.body = self.seen.drain(..length).collect();
        }
        Some(answer)
    }

    async fn more(&mut self) -> bool {
        let mut part = vec![0; 16 * 1024];
        match self.stream.read(&mut part).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.seen.extend_from_slice(&part[..length]);
                true
            }
        }
    }
}

impl Answer {
    /// A header that stands there once, or not at all.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} stands there {} times", values.len());
        values.first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A member of the body that is a text.
    pub(crate) fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.text())).to_owned()
    }

    /// Everything that another caller could tell this answer from another by: all but ids and dates.
    pub(crate) fn appearance(&self) -> (u16, Vec<(String, String)>, String) {
        let fixed = |(name, _): &&(String, String)| name != "date" && name != "x-request-id";
        let headers = self.headers.iter().filter(fixed).cloned().collect();
        let id = self.header("x-request-id").unwrap_or("none at all");
        (self.status, headers, self.text().replace(id, "ID"))
    }
}
