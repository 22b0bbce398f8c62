//! What happens around every request of the callers' door, whatever its route: limits, record, metrics.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use futures_util::FutureExt;
use tower::ServiceExt;

use super::callers::{CallersDoor, Context};
use super::decision::{Decision, Outcome};
use super::error::{Refusal, Shape};
use super::route::{Route, method_label};
use crate::clock::Moment;
use crate::hash::hex;
use crate::names::{CallerName, IntegrationName};
use crate::telemetry::audit::Record;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One request, from its head to its answer. Dropped before its end, it tells that the caller hung up.
pub(super) struct Visit {
    door: CallersDoor,
    context: Context,
    remote: SocketAddr,
    route: Route,
    method: &'static str,
    shape: Shape,
    version: Version,
    arrived: Moment,
    told: bool,
}

impl Visit {
    /// Notes what is known before anything is read.
    pub(super) fn begin(door: CallersDoor, remote: SocketAddr, request: &mut Request) -> Self {
        let context = Context::new(door.clock.timestamp());
        let arrived = door.clock.now();
        request.extensions_mut().insert(context.clone());
        let route = Route::of_callers(request.uri().path());
        let posted = request.method() == Method::POST;
        let shape = if posted && route.decides() { Shape::OAuth } else { Shape::Problem };
        let method = method_label(request.method());
        Self {
            door,
            context,
            remote,
            route,
            method,
            shape,
            version: request.version(),
            arrived,
            told: !route.decides(),
        }
    }

    /// The answer of the route, or of the limits around it.
    pub(super) async fn route(&self, router: Router, request: Request) -> Response<Body> {
        let id = self.context.id();
        let routed = async {
            match self.route {
                // The router would take an empty segment for a name.
                Route::Unmatched => Ok(Refusal::not_found().into_response(self.shape, id)),
                _ => router.oneshot(request).await,
            }
        };
        let guarded = AssertUnwindSafe(routed).catch_unwind();
        match tokio::time::timeout_at(self.context.last_resort(), guarded).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_)) => {
                tracing::error!(request_id = id.as_str(), "a handler panicked: this is a bug, please report it");
                Refusal::internal().into_response(self.shape, id)
            }
            Err(_) => Refusal::temporarily_unavailable(Duration::from_secs(1)).into_response(self.shape, id),
        }
    }

    /// Leaves the audit record of a decision. Where records are required, an answer without one is taken back.
    pub(super) async fn record(&mut self, mut response: Response<Body>) -> Response<Body> {
        // A method that the route does not take is refused before there is anything to decide.
        if self.told || response.status() == StatusCode::METHOD_NOT_ALLOWED {
            self.told = true;
            return response;
        }
        let mut decision = response.extensions_mut().remove::<Decision>().unwrap_or_default();
        let texts = Texts::of(&decision, self.remote);
        let record = self.describe(&decision, &texts, response.status());
        let recorded = self.door.trail.record(&record);
        if !matches!(tokio::time::timeout_at(self.context.record_deadline(), recorded).await, Ok(Ok(()))) {
            response = Refusal::no_record().into_response(self.shape, self.context.id());
            // The caller got none of what was decided, and the metrics must not say otherwise.
            decision.outcome = Outcome::Unavailable;
        }
        self.told = true;
        self.count(&decision);
        response
    }

    /// Adds what every answer has.
    pub(super) fn end(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, self.context.id().to_header());
        // While the stop is being prepared: whoever keeps this connection had better open the next one elsewhere.
        if self.version <= Version::HTTP_11 && !self.door.readiness.get() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let lasted = self.door.clock.now().since(self.arrived);
        self.door.metrics.answered(self.route.pattern(), self.method, response.status().as_u16(), lasted);
        response
    }

    fn count(&self, decision: &Decision) {
        let integration = decision.integration.as_ref().map(IntegrationName::as_str);
        self.door.metrics.decided(integration, decision.caller.as_ref(), decision.outcome.as_str());
    }

    fn describe<'a>(&'a self, decision: &'a Decision, texts: &'a Texts, status: StatusCode) -> Record<'a> {
        let lasted = self.door.clock.now().since(self.arrived);
        Record {
            time: self.door.clock.timestamp().to_string(),
            request_id: self.context.id().as_str(),
            outcome: decision.outcome.as_str(),
            reason: decision.reason,
            status: status.as_u16(),
            caller: decision.caller.as_ref().map(CallerName::as_str),
            proof: decision.proof.as_ref().map(|_| "api_key"),
            proof_key: texts.proof_key.as_deref(),
            integration: decision.integration.as_ref().map(IntegrationName::as_str),
            rule: decision.rule.as_deref(),
            cache: decision.cache,
            token_fingerprint: texts.token.as_deref(),
            route: self.route.pattern(),
            method: self.method,
            remote_address: &texts.remote,
            duration_us: u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let decision = Decision { outcome: Outcome::Abandoned, ..Decision::default() };
        // 499, as proxies write it down: nobody was there to be answered.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        let texts = Texts::of(&decision, self.remote);
        self.door.trail.note(&self.describe(&decision, &texts, status));
        self.count(&decision);
    }
}

/// Parts of a record that have to be written out first.
struct Texts {
    remote: String,
    proof_key: Option<String>,
    token: Option<String>,
}

impl Texts {
    fn of(decision: &Decision, remote: SocketAddr) -> Self {
        Self {
            remote: remote.to_string(),
            proof_key: decision.proof.as_ref().map(|proof| hex(&proof.key)),
            token: decision.token.map(|token| token.to_string()),
        }
    }
}
