//! Answers in several pieces without a length, as Salesforce sends most of its own.
//!
//! Off by default, so that a test sees what it asks for; on, every body over HTTP/1.1 is chunked.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::middleware::Next;
use axum::response::Response;

use super::streams::Streamed;
use super::world::World;

/// Small, so that a line of CSV and a token are cut through.
const PIECE: usize = 61;

pub(super) async fn cut(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let streamed = response.extensions().get::<Streamed>().is_some();
    if streamed || !world.with(|state| state.switches.answers_chunked) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // All other bodies are made in memory, so this neither fails nor waits.
    let whole = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.remove(CONTENT_LENGTH);
    let pieces: Vec<_> = whole.chunks(PIECE).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
    Response::from_parts(parts, Body::from_stream(futures_util::stream::iter(pieces)))
}
