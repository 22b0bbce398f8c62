//! Probes: only the status counts, the body is for people.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// True from the moment both doors are open until the stop begins. Salesforce has no part in it: an outage there must
/// not take a service away that still answers from memory.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Ready to serve.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::SeqCst);
    }

    /// Whether it is.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
