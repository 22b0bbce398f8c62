//! The ops door: probes, metrics and status. GET and HEAD only; nothing here changes anything.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use tower::ServiceExt;

use super::error::{Refusal, Shape};
use super::health::{self, Readiness};
use super::listener::Peer;
use super::request_id::RequestId;
use super::route::{Route, method_label};
use super::standing::Standing;
use super::status::{self, ProcessStatus, StoreStatus};
use crate::clock::{Clock, Moment};
use crate::hash::sha256;
use crate::snapshot::Snapshots;
use crate::store::Store;
use crate::telemetry::gauges::Reading;
use crate::telemetry::metrics::Metrics;

/// What the handlers of this door need.
#[derive(Debug, Clone)]
pub struct OpsDoor {
    /// The generation in force.
    pub snapshots: Arc<Snapshots>,
    /// Instruments.
    pub metrics: Arc<Metrics>,
    /// Time.
    pub clock: Clock,
    /// When the process began to serve.
    pub started: Moment,
    /// Whether it serves.
    pub readiness: Readiness,
    /// Which configuration is in force.
    pub standing: Arc<Standing>,
    /// What replicas share, if they do.
    pub store: Option<Arc<Store>>,
}

impl OpsDoor {
    /// The routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route(Route::Livez.pattern(), get(health::alive))
            .route(Route::Healthz.pattern(), get(health::alive))
            .route(Route::Readyz.pattern(), get(ready))
            .route(Route::Metrics.pattern(), get(metrics))
            .route(Route::StatusJson.pattern(), get(status_json))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(not_found)
            .with_state(self.clone())
    }

    /// Answers one request.
    pub async fn answer(self, router: Router, _peer: Arc<Peer>, request: Request) -> Response<Body> {
        let arrived = self.clock.now();
        let route = Route::of_ops(request.uri().path());
        let method = method_label(request.method());
        let response = match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_) => self.refuse(Refusal::internal()),
        };
        let lasted = self.clock.now().since(arrived);
        self.metrics.answered(route.pattern(), method, response.status().as_u16(), lasted);
        response
    }

    fn refuse(&self, refusal: Refusal) -> Response<Body> {
        refusal.into_response(Shape::Problem, &RequestId::new(self.clock.timestamp()))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let snapshot = self.snapshots.current();
        let Some(expected) = snapshot.ops_token() else { return true };
        let offered = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let offered = match offered.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        };
        // Digests, so that the length does not show either.
        let (expected, offered) = (sha256([expected.expose_secret().as_bytes()]), sha256([offered.as_bytes()]));
        constant_time::verify_slices_are_equal(&expected, &offered).is_ok()
    }
}

async fn ready(State(door): State<OpsDoor>) -> Response<Body> {
    match door.readiness.get() {
        true => health::reply(StatusCode::OK, "ready\n").into_response(),
        false => health::reply(StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

async fn metrics(State(door): State<OpsDoor>, headers: HeaderMap) -> Response<Body> {
    if !door.admits(&headers) {
        return unauthorized();
    }
    let now = door.clock.now();
    let snapshot = door.snapshots.current();
    let readings = snapshot.holdings().map(|holding| {
        let ends = snapshot.certificates(holding.name()).flatten().map(|certificate| certificate.not_after.as_second());
        let integration = holding.integration();
        Reading {
            integration: holding.name(),
            token_remaining: holding.token_remaining(now),
            logins_left: integration.logins_left(),
            circuit_open: integration.is_circuit_open(),
            next_key_in_use: integration.is_next_key_in_use(),
            certificate_end: ends.min(),
        }
    });
    match door.metrics.render(readings) {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4"), (CACHE_CONTROL, "no-store")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be rendered");
            door.refuse(Refusal::internal())
        }
    }
}

async fn status_json(State(door): State<OpsDoor>, headers: HeaderMap) -> Response<Body> {
    if !door.admits(&headers) {
        return unauthorized();
    }
    let now = door.clock.now();
    let uptime = now.since(door.started);
    let (ready, configuration, today) = (door.readiness.get(), door.standing.told(), door.clock.timestamp());
    let store = door.store.as_deref().map(StoreStatus::of);
    let process = ProcessStatus { ready, uptime, configuration, today, store };
    let status = status::of(&door.snapshots.current(), now, process);
    ([(CACHE_CONTROL, "no-store")], axum::Json(status)).into_response()
}

fn unauthorized() -> Response<Body> {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, r#"Bearer realm="aquila ops""#)], "unauthorized\n").into_response()
}

async fn not_found(State(door): State<OpsDoor>) -> Response<Body> {
    door.refuse(Refusal::not_found())
}

async fn method_not_allowed(State(door): State<OpsDoor>) -> Response<Body> {
    door.refuse(Refusal::method_not_allowed())
}
