//! Probes: only the status counts, the body is for people.

use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;

/// The process answers.
pub(super) async fn alive() -> impl IntoResponse {
    reply(StatusCode::OK, "ok\n")
}

/// A probe's answer.
pub(super) fn reply(status: StatusCode, text: &'static str) -> impl IntoResponse {
    (status, [(CACHE_CONTROL, "no-store")], text)
}
