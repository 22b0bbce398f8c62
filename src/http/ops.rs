//! The ops door: probes, metrics and status. GET and HEAD only; nothing here changes anything.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use aws_lc_rs::constant_time;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use base64::prelude::{BASE64_STANDARD, Engine};
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use tower::ServiceExt;
use zeroize::Zeroizing;

use super::error::{Refusal, Shape};
use super::health::{self, Readiness};
use super::listener::Peer;
use super::page;
use super::request_id::RequestId;
use super::route::{Route, method_label};
use super::standing::Standing;
use super::status::{self, ProcessStatus, Status, StoreStatus};
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
            .route(Route::Status.pattern(), get(page))
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
        self.admits_token(|| Zeroizing::new(credential(headers, "bearer").unwrap_or_default().to_owned()))
    }

    /// The page is asked for by browsers, and all that these can ask a person for is HTTP Basic: any name, and the token
    /// as its password.
    fn admits_person(&self, headers: &HeaderMap) -> bool {
        self.admits(headers)
            || self.admits_token(|| credential(headers, "basic").and_then(password).unwrap_or_default())
    }

    fn admits_token(&self, offered: impl FnOnce() -> Zeroizing<String>) -> bool {
        let snapshot = self.snapshots.current();
        let Some(expected) = snapshot.ops_token() else { return true };
        // Digests, so that the length does not show either.
        let (expected, offered) = (sha256([expected.expose_secret().as_bytes()]), sha256([offered().as_bytes()]));
        constant_time::verify_slices_are_equal(&expected, &offered).is_ok()
    }

    fn status(&self) -> Status {
        let now = self.clock.now();
        let uptime = now.since(self.started);
        let (ready, configuration, today) = (self.readiness.get(), self.standing.told(), self.clock.timestamp());
        let store = self.store.as_deref().map(StoreStatus::of);
        status::of(&self.snapshots.current(), now, ProcessStatus { ready, uptime, configuration, today, store })
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
    ([(CACHE_CONTROL, "no-store")], axum::Json(door.status())).into_response()
}

async fn page(State(door): State<OpsDoor>, headers: HeaderMap) -> Response<Body> {
    if door.admits_person(&headers) {
        return page::answer(&door.status(), door.clock.timestamp());
    }
    let mut response = unauthorized();
    response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(BASIC));
    response
}

const BASIC: &str = r#"Basic realm="aquila ops", charset="UTF-8""#;

/// What the header offers by this scheme.
fn credential<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (offered, credential) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    offered.eq_ignore_ascii_case(scheme).then(|| credential.trim())
}

/// The password in a credential of HTTP Basic (RFC 7617).
fn password(credential: &str) -> Option<Zeroizing<String>> {
    let decoded = Zeroizing::new(BASE64_STANDARD.decode(credential).ok()?);
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
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
