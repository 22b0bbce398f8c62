//! The head of a request: whether it is one to answer at all.

use axum::body::Body;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{Request, Response, StatusCode, Version};

const MAX_HEADERS: usize = 64;

/// Whether the head of a request is one to answer.
pub(super) fn sound<B>(request: &Request<B>) -> Result<(), StatusCode> {
    // Counted here and not by hyper, which makes room for a number that it is given anew for each request.
    match request.headers().len() {
        0..=MAX_HEADERS if has_sound_host(request) => Ok(()),
        0..=MAX_HEADERS => Err(StatusCode::BAD_REQUEST),
        _ => Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
    }
}

/// RFC 9112 section 3.2: exactly one `Host`, and one that can name a host. Of two, what stands before this door might go
/// by the other one.
fn has_sound_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let host = host.as_bytes();
            host.is_empty() || is_plain_host(host) || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
        }
        // HTTP/2 has `:authority` instead, HTTP/1.0 nothing.
        (None, _) => request.version() != Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// A name or an IPv4 address, perhaps with a port: what needs no closer look.
fn is_plain_host(host: &[u8]) -> bool {
    let mut parts = host.split(|&byte| byte == b':');
    let name = parts.next().unwrap_or_default();
    let port = parts.next().unwrap_or_default();
    let of_a_name = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    !name.is_empty() && name.iter().all(of_a_name) && port.iter().all(u8::is_ascii_digit) && parts.next().is_none()
}

/// As hyper answers what it cannot read.
pub(super) fn refused(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
