//! The form of a request, read whole: in bounded time and size, and told apart from one whose sender hung up.

use std::error::Error;
use std::io::{self, ErrorKind};

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use tokio::time::Instant;

use super::decision::Outcome;
use super::error::Refusal;
use super::params::Params;
use super::token::Inquiry;

/// No client sends more than a few hundred bytes.
const MAX_BODY: usize = 16 * 1024;

/// The form of a POST, bounded in size and time.
pub(super) async fn read(inquiry: &Inquiry<'_>, body: Body) -> Result<Params, Refusal> {
    match form(&inquiry.head.headers, body, inquiry.context.body_deadline()).await {
        Ok(form) => Ok(form),
        Err(Formless::Refused(refusal)) => {
            inquiry.note_outcome(Outcome::InvalidRequest);
            Err(refusal)
        }
        Err(Formless::HungUp) => {
            inquiry.note_abandoned();
            Err(Refusal::invalid_request("the body is not whole"))
        }
    }
}

/// Why there is no form.
enum Formless {
    Refused(Refusal),
    /// The connection ended before the body did.
    HungUp,
}

impl From<Refusal> for Formless {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

async fn form(headers: &HeaderMap, body: Body, deadline: Instant) -> Result<Params, Formless> {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let kind = kinds.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    if kinds.next().is_some() {
        return Err(Refusal::invalid_request("more than one Content-Type header").into());
    }
    let media_type = kind.split(';').next().unwrap_or_default().trim();
    // 400 and not 415: RFC 6749 knows only 400 here, and some clients read the error of no other status.
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::invalid_request("Content-Type must be application/x-www-form-urlencoded").into());
    }
    match tokio::time::timeout_at(deadline, axum::body::to_bytes(body, MAX_BODY)).await {
        Err(_) => Err(Refusal::body_timeout().into()),
        Ok(Err(error)) if hung_up(&error) => Err(Formless::HungUp),
        Ok(Err(error)) if came_broken(&error) => Err(Refusal::invalid_request("the body cannot be read").into()),
        Ok(Err(_)) => Err(Refusal::too_large().into()),
        Ok(Ok(bytes)) => Ok(Params::parse(&bytes)?),
    }
}

/// Whether the connection ended before the body did.
fn hung_up(error: &axum::Error) -> bool {
    let ended = |error: &io::Error| {
        matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
        )
    };
    causes(error).any(|cause| cause.downcast_ref().is_some_and(ended))
}

/// Whether the connection gave the error, and not the limit.
fn came_broken(error: &axum::Error) -> bool {
    causes(error).any(|cause| cause.is::<hyper::Error>())
}

fn causes(error: &axum::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}
