//! Answers whose bodies take their time, break off, never end or burst when they are unpacked.
//!
//! None of them is ever whole in memory.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::Response;
use futures_util::stream;

use super::render::JSON;

/// In the extensions of a response: its body is not to be collected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streamed;

/// Time enough for what was written to leave.
const BREATH: Duration = Duration::from_millis(20);

/// The first half of the body, then the end of the connection.
pub(super) async fn cut(response: Response) -> Response {
    let (parts, mut whole) = taken(response).await;
    let length = whole.len();
    let first = whole.split_to(length / 2);
    let pieces = stream::unfold(Some(first), |piece| async {
        match piece {
            Some(piece) if !piece.is_empty() => Some((Ok(piece), Some(Bytes::new()))),
            Some(_) => {
                tokio::time::sleep(BREATH).await;
                Some((Err(io::Error::other("told to break off")), None))
            }
            None => None,
        }
    });
    streamed(Response::from_parts(parts, Body::from_stream(pieces)), Some(length as u64))
}

/// One byte at a time.
pub(super) async fn trickled(response: Response, pause: Duration) -> Response {
    let (parts, whole) = taken(response).await;
    let length = whole.len();
    let pieces = stream::unfold(whole, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        Some((Ok::<_, Infallible>(rest.split_to(1)), rest))
    });
    streamed(Response::from_parts(parts, Body::from_stream(pieces)), Some(length as u64))
}

/// So many blanks; without a number, without an end.
pub(super) fn blanks(length: Option<u64>) -> Response {
    const PIECE: &[u8] = &[b' '; 64 * 1024];
    let pieces = stream::unfold(length, |left| async move {
        let now = left.map_or(PIECE.len() as u64, |left| left.min(PIECE.len() as u64));
        let piece = PIECE.get(..usize::try_from(now).unwrap_or(PIECE.len())).filter(|piece| !piece.is_empty())?;
        // Lets others work between two pieces, however fast the client reads.
        tokio::task::yield_now().await;
        Some((Ok::<_, Infallible>(Bytes::from_static(piece)), left.map(|left| left - now)))
    });
    streamed(json(Body::from_stream(pieces)), length)
}

/// A gzip file of as many members as mebibytes, each a mebibyte of blanks.
pub(super) fn bomb(mebibytes: u16) -> Response {
    let member = Bytes::from(gzip_of_blanks(MEBIBYTE));
    let length = member.len() as u64 * u64::from(mebibytes);
    let pieces = stream::iter((0..mebibytes).map(move |_| Ok::<_, Infallible>(member.clone())));
    let mut response = json(Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    streamed(response, Some(length))
}

const MEBIBYTE: usize = 1024 * 1024;

async fn taken(response: Response) -> (axum::http::response::Parts, Bytes) {
    let (parts, body) = response.into_parts();
    // Made in memory, so this neither fails nor waits.
    (parts, to_bytes(body, usize::MAX).await.unwrap_or_default())
}

fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

fn streamed(mut response: Response, length: Option<u64>) -> Response {
    response.headers_mut().remove(CONTENT_LENGTH);
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.extensions_mut().insert(Streamed);
    response
}

/// RFC 1952 around one block of RFC 1951 with its fixed codes: a blank, and copies of it as long as a copy can be.
fn gzip_of_blanks(length: usize) -> Vec<u8> {
    const LONGEST_COPY: usize = 258;
    let mut bits = Bits { bytes: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], filled: 0 };
    // Last block, fixed codes.
    bits.push(0b011, 3);
    let copies = length.saturating_sub(1) / LONGEST_COPY;
    for _ in 0..length - copies * LONGEST_COPY {
        bits.push_code(0x30 + u16::from(b' '), 8);
    }
    for _ in 0..copies {
        // Length 258, then distance 1.
        bits.push_code(0b1100_0101, 8);
        bits.push_code(0, 5);
    }
    // End of the block.
    bits.push_code(0, 7);
    let mut file = bits.bytes;
    file.extend(crc32(length).to_le_bytes());
    file.extend(u32::try_from(length).unwrap_or_default().to_le_bytes());
    file
}

struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are taken; 0 means all of them.
    filled: u8,
}

impl Bits {
    /// Numbers begin with their lowest bit.
    fn push(&mut self, number: u16, width: u8) {
        for place in 0..width {
            if self.filled == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(number >> place & 1 == 1) << self.filled;
            }
            self.filled = (self.filled + 1) % 8;
        }
    }

    /// Codes begin with their highest.
    fn push_code(&mut self, code: u16, width: u8) {
        self.push(code.reverse_bits() >> (16 - width), width);
    }
}

/// Of so many blanks.
fn crc32(length: usize) -> u32 {
    let mut crc = u32::MAX;
    for _ in 0..length {
        crc ^= u32::from(b' ');
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_bomb_is_what_gzip_unpacks() {
        for length in [1, 2, 258, 259, 260, 600, MEBIBYTE] {
            let packed = gzip_of_blanks(length);
            assert!(packed.len() < 40 + length / 150 + 600);
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), packed.repeat(2)).unwrap();
            let input = Stdio::from(std::fs::File::open(file.path()).unwrap());
            let unpacked = Command::new("gzip").arg("-dc").stdin(input).output().unwrap();
            assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
            assert!(
                unpacked.stdout.len() == 2 * length && unpacked.stdout.iter().all(|byte| *byte == b' '),
                "{length}"
            );
        }
    }
}
