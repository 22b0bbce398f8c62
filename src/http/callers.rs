//! The callers' door: its routes, and what happens around every request.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderName, Response};
use axum::routing::get;
use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;
use tower::ServiceExt;

use super::decision::Decision;
use super::error::{Refusal, Shape};
use super::request_id::RequestId;
use super::route::{Route, method_label};
use super::{health, metadata, openapi, token};
use crate::broker::Broker;
use crate::clock::Clock;
use crate::snapshot::Snapshots;
use crate::telemetry::audit::{Record, Trail};
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
const BODY: Duration = Duration::from_secs(5);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Context {
    fn new(now: Timestamp) -> Self {
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
            .route(Route::IssuerMetadata.pattern(), get(metadata::get))
            .route(Route::OpenApi.pattern(), get(openapi::get))
            .route(Route::Healthz.pattern(), get(health::alive))
            .method_not_allowed_fallback(method_not_allowed)
            .fallback(not_found)
            .with_state(self.clone())
    }

    /// Answers one request. Around the routes stand, from outside in: the audit record (so that a panic leaves one
    /// too), the metrics, the time limit, the panic guard.
    pub async fn answer(self, router: Router, remote: SocketAddr, mut request: Request) -> Response<Body> {
        let context = Context::new(self.clock.timestamp());
        let arrived = self.clock.now();
        let route = Route::of_callers(request.uri().path());
        let method = method_label(request.method());
        request.extensions_mut().insert(context.clone());
        let shape = shape_of(route, &request);

        let guarded = AssertUnwindSafe(router.oneshot(request)).catch_unwind();
        let mut response = match tokio::time::timeout_at(context.started + LAST_RESORT, guarded).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => {
                tracing::error!(
                    request_id = context.id().as_str(),
                    "a handler panicked: this is a bug, please report it"
                );
                Refusal::internal().into_response(shape, context.id())
            }
            Err(_) => Refusal::temporarily_unavailable(Duration::from_secs(1)).into_response(shape, context.id()),
        };

        if route.decides() {
            let decision = response.extensions_mut().remove::<Decision>().unwrap_or_default();
            let lasted = self.clock.now().since(arrived);
            let entry = Entry { decision: &decision, route, method, remote, lasted };
            if self.record(&context, &entry, response.status().as_u16()).await.is_err() {
                response = Refusal::no_record().into_response(shape, context.id());
            }
            let integration = decision.integration.as_ref().map(crate::names::IntegrationName::as_str);
            self.metrics.decided(integration, decision.caller.as_ref(), decision.outcome.as_str());
        }
        response.headers_mut().insert(REQUEST_ID, context.id.to_header());
        let lasted = self.clock.now().since(arrived);
        self.metrics.answered(route.pattern(), method, response.status().as_u16(), lasted);
        response
    }

    async fn record(
        &self,
        context: &Context,
        entry: &Entry<'_>,
        status: u16,
    ) -> Result<(), crate::telemetry::audit::NotRecorded> {
        let decision = entry.decision;
        let proof_key = decision.proof.as_ref().map(|proof| hex(proof.key));
        let token = decision.token.map(|token| token.to_string());
        let remote = entry.remote.to_string();
        let record = Record {
            time: self.clock.timestamp().to_string(),
            request_id: context.id.as_str(),
            outcome: decision.outcome.as_str(),
            reason: decision.reason,
            status,
            caller: decision.caller.as_ref().map(crate::names::CallerName::as_str),
            proof: decision.proof.as_ref().map(|_| "api_key"),
            proof_key: proof_key.as_deref(),
            integration: decision.integration.as_ref().map(crate::names::IntegrationName::as_str),
            rule: decision.rule.as_deref(),
            cache: decision.cache,
            token_fingerprint: token.as_deref(),
            route: entry.route.pattern(),
            method: entry.method,
            remote_address: &remote,
            duration_us: u64::try_from(entry.lasted.as_micros()).unwrap_or(u64::MAX),
        };
        self.trail.record(&record).await
    }
}

struct Entry<'a> {
    decision: &'a Decision,
    route: Route,
    method: &'static str,
    remote: SocketAddr,
    lasted: Duration,
}

fn hex(bytes: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(bytes))
}

fn shape_of(route: Route, request: &Request) -> Shape {
    let posted = request.method() == axum::http::Method::POST;
    if posted && route.decides() { Shape::OAuth } else { Shape::Problem }
}

async fn not_found(State(_): State<CallersDoor>, request: Request) -> Response<Body> {
    Refusal::not_found().into_response(Shape::Problem, Context::of(request.extensions()).id())
}

async fn method_not_allowed(State(_): State<CallersDoor>, request: Request) -> Response<Body> {
    Refusal::method_not_allowed().into_response(Shape::Problem, Context::of(request.extensions()).id())
}
