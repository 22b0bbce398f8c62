//! The callers' door: its routes, and what happens around every request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Extensions, Response};
use axum::routing::get;
use jiff::Timestamp;
use tokio::time::Instant;

use super::error::{Refusal, Shape};
use super::health::{self, Readiness};
use super::request_id::RequestId;
use super::route::Route;
use super::visit::Visit;
use super::{metadata, token};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::snapshot::Snapshots;
use crate::telemetry::audit::Trail;
use crate::telemetry::metrics::Metrics;

/// What the handlers of this door need.
#[derive(Debug, Clone)]
pub struct CallersDoor {
    /// The generation in force.
    pub snapshots: Arc<Snapshots>,
    /// Issues tokens.
    pub broker: Broker,
    /// Instruments.
    pub metrics: Arc<Metrics>,
    /// The audit trail.
    pub trail: Arc<Trail>,
    /// Time.
    pub clock: Clock,
    /// Whether new requests are wanted.
    pub readiness: Readiness,
}

/// What is known of a request before it is read.
#[derive(Debug, Clone)]
pub(super) struct Context {
    id: RequestId,
    started: Instant,
}

/// Every answer comes within 10 s, also for those who wait for somebody else's mint; half a second is for the rest.
const ANSWER: Duration = Duration::from_millis(9_500);
/// When even the handler did not keep [`ANSWER`].
const LAST_RESORT: Duration = Duration::from_millis(9_800);
/// When a required audit record is not written by then, there is no token.
const RECORD: Duration = Duration::from_millis(9_950);
const BODY: Duration = Duration::from_secs(5);

impl Context {
    /// A context for a request that arrives now.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { id: RequestId::new(now), started: Instant::now() }
    }

    /// The context of a request of this door.
    pub(super) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(|| Self::new(Timestamp::UNIX_EPOCH))
    }

    /// The request's id.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Until when a token may be waited for.
    pub(super) fn deadline(&self) -> Instant {
        self.started + ANSWER
    }

    /// Until when the body may arrive.
    pub(super) fn body_deadline(&self) -> Instant {
        self.started + BODY
    }

    /// Until when the handler has to have answered, whatever it does.
    pub(super) fn last_resort(&self) -> Instant {
        self.started + LAST_RESORT
    }

    /// Until when a required record has to be written.
    pub(super) fn record_deadline(&self) -> Instant {
        self.started + RECORD
    }
}

impl CallersDoor {
    /// The routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route(Route::Token.pattern(), get(token::get).post(token::post))
            .route(Route::NamedToken.pattern(), get(token::get).post(token::post))
            .route(Route::OauthToken.pattern(), axum::routing::post(token::post))
            .route(Route::NamedOauthToken.pattern(), axum::routing::post(token::post))
            .route(Route::Metadata.pattern(), get(metadata::get))
            .route(&format!("{}/{{*path}}", Route::Metadata.pattern()), get(metadata::get))
            .route(Route::Healthz.pattern(), get(health::alive))
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(self.clone())
    }

    /// Answers one request. Around the routes stand, from outside in: the audit record (so that a panic and a caller
    /// who hangs up leave one too), the metrics, the time limit, the panic guard.
    pub async fn answer(self, router: Router, remote: SocketAddr, mut request: Request) -> Response<Body> {
        let mut visit = Visit::begin(self, remote, &mut request);
        let response = visit.route(router, request).await;
        let response = visit.record(response).await;
        visit.end(response)
    }
}

async fn method_not_allowed(State(_): State<CallersDoor>, request: Request) -> Response<Body> {
    Refusal::method_not_allowed().into_response(Shape::Problem, Context::of(request.extensions()).id())
}
