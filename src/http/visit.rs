//! What happens around every request of the callers' door, whatever its route: limits, record, metrics.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version};
use axum::response::IntoResponse;
use futures_util::FutureExt;
use hyper::body::Body as _;
use jiff::Timestamp;

use super::callers::{CallersDoor, Context};
use super::decision::{Decision, Outcome};
use super::error::{Refusal, Shape};
use super::listener::Peer;
use super::route::{Route, method_label};
use super::token::{self, Inquiry};
use super::{forwarded, health, metadata, openapi, report};
use crate::clock::Moment;
use crate::telemetry::audit::Record;
use crate::telemetry::trace::Span;
use crate::token::Fingerprint;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl CallersDoor {
    /// Answers one request. Around the routes stand, from outside in: the audit record (so that a panic and a caller
    /// who hangs up leave one too), the metrics, the time limit, the panic guard. The span is around all of it.
    pub async fn answer(self: Arc<Self>, peer: Arc<Peer>, request: Request) -> Response<Body> {
        let mut visit = Visit::begin(self, peer, &request);
        let span = visit.span.clone();
        let response = span
            .around(pin!(async {
                let response = visit.route(request).await;
                visit.record(response).await
            }))
            .await;
        visit.end(response)
    }
}

/// One request, from its head to its answer. Dropped before its end, it tells that the caller hung up.
pub(super) struct Visit {
    door: Arc<CallersDoor>,
    context: Context,
    peer: Arc<Peer>,
    /// Where the request came from.
    client: IpAddr,
    /// That as text, if a proxy that is trusted has told it.
    forwarded: Option<String>,
    route: Route,
    method: &'static str,
    shape: Shape,
    version: Version,
    began: Timestamp,
    arrived: Moment,
    decision: Mutex<Decision>,
    told: bool,
    span: Span,
    trace_id: Option<String>,
}

impl Visit {
    /// Notes what is known before anything is read.
    pub(super) fn begin(door: Arc<CallersDoor>, peer: Arc<Peer>, request: &Request) -> Self {
        let began = door.clock.timestamp();
        let context = Context::new(began);
        let arrived = door.clock.now();
        let route = Route::of_callers(request.uri().path());
        let posted = request.method() == Method::POST;
        let shape = if posted && route.decides() { Shape::OAuth } else { Shape::Problem };
        let method = method_label(request.method());
        let trusted = |address| door.snapshots.is_trusted_proxy(address);
        let told_by_proxy = forwarded::client(request.headers(), peer.address.ip(), trusted);
        let client = told_by_proxy.unwrap_or_else(|| peer.address.ip());
        let forwarded = told_by_proxy.map(|address| address.to_string());
        let (version, decision, told) = (request.version(), Mutex::default(), !route.decides());
        let span = match route {
            // Asked by load balancers, again and again.
            Route::Healthz => Span::default(),
            route => door.traces.request(method, route.pattern(), request.headers()),
        };
        let trace_id = span.id();
        #[rustfmt::skip]
        let visit = Self {
            door, context, peer, client, forwarded, route, method, shape, version, began, arrived, decision, told, span,
            trace_id,
        };
        visit
    }

    /// The answer of the route, or of the limits around it.
    pub(super) async fn route(&mut self, request: Request) -> Response<Body> {
        let answered = {
            // Pinned here, so that what is wrapped around it moves a pointer and not the whole of it.
            let guarded = pin!(AssertUnwindSafe(self.dispatch(request)).catch_unwind());
            tokio::time::timeout_at(self.context.last_resort(), guarded).await
        };
        let (outcome, refusal) = match answered {
            Ok(Ok(response)) => {
                // A method that the route does not take is refused before there is anything to decide.
                self.told |= response.status() == StatusCode::METHOD_NOT_ALLOWED;
                return response;
            }
            Ok(Err(_)) => {
                let id = self.context.id().as_str();
                tracing::error!(request_id = id, "a handler panicked: this is a bug, please report it");
                (Outcome::InternalError, Refusal::internal())
            }
            Err(_) => (Outcome::Unavailable, Refusal::temporarily_unavailable(Duration::from_secs(1))),
        };
        self.decision.get_mut().unwrap_or_else(PoisonError::into_inner).outcome = outcome;
        refusal.into_response(self.shape, self.context.id())
    }

    /// Every route and method of this door. A match on a closed set instead of a router: there is no second table of
    /// paths that could disagree with the labels of metrics and records, and nothing is boxed on the way.
    async fn dispatch(&self, request: Request) -> Response<Body> {
        let (head, body) = request.into_parts();
        let Self { door, context, client, decision, .. } = self;
        let in_path = self.route.integration_in(head.uri.path());
        let certificate = self.peer.certificate.as_ref().filter(|certificate| certificate.is_valid_at(self.began));
        let inquiry = Inquiry { door, client: *client, context, in_path, head: &head, certificate, decision };
        match (self.route, self.method) {
            (Route::Token | Route::NamedToken, "GET") => token::get(inquiry).await,
            (Route::Token | Route::NamedToken, "HEAD") => without_body(token::get(inquiry).await),
            (Route::Token | Route::NamedToken | Route::OauthToken | Route::NamedOauthToken, "POST") => {
                // Boxed: it is larger than all the rest, and each connection keeps room for what is not.
                Box::pin(token::post(inquiry, body)).await
            }
            (Route::Revoke, "POST") => Box::pin(report::revoke(inquiry, body)).await,
            (Route::Introspect, "POST") => Box::pin(report::introspect(inquiry, body)).await,
            (Route::Metadata | Route::IssuerMetadata | Route::OpenApi | Route::Healthz, "GET" | "HEAD") => {
                let response = match self.route {
                    Route::OpenApi => openapi::get(),
                    Route::Healthz => health::alive().await.into_response(),
                    _ => metadata::get(door, head.uri.path(), context.id()),
                };
                if self.method == "HEAD" { without_body(response) } else { response }
            }
            (Route::Unmatched, _) => Refusal::not_found().into_response(self.shape, context.id()),
            (route, _) => {
                let mut response = Refusal::method_not_allowed().into_response(Shape::Problem, context.id());
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.allow()));
                response
            }
        }
    }

    /// Leaves the audit record of a decision. Where records are required, an answer without one is taken back, and so is
    /// one that waited for its record longer than the life it tells allows.
    pub(super) async fn record(&mut self, mut response: Response<Body>) -> Response<Body> {
        if self.told {
            return response;
        }
        // From here on the trail has it, also if the caller hangs up while it is being written.
        self.told = true;
        let mut decision = self.take_decision();
        let status = if decision.outcome == Outcome::Abandoned { hung_up() } else { response.status() };
        let record = self.describe(&decision, status);
        if !self.door.trail.is_required() {
            self.door.trail.note(&record);
        } else if !self.is_recorded_in_time(&record, decision.slack).await {
            response = Refusal::no_record().into_response(self.shape, self.context.id());
            // The caller got none of what was decided, and the metrics must not say otherwise.
            decision.outcome = Outcome::Unavailable;
        }
        decision.count(self.route, &self.door.metrics, self.arrived);
        decision.trace(&self.span, response.status());
        response
    }

    async fn is_recorded_in_time(&self, record: &Record<'_>, slack: Option<Duration>) -> bool {
        let before = self.door.clock.now();
        let recorded = tokio::time::timeout_at(self.context.record_deadline(), self.door.trail.record(record)).await;
        let waited = self.door.clock.now().since(before);
        recorded == Ok(Ok(())) && slack.is_none_or(|slack| waited <= slack)
    }

    /// The decision, which is told once.
    fn take_decision(&mut self) -> Decision {
        std::mem::take(self.decision.get_mut().unwrap_or_else(PoisonError::into_inner))
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
        self.trace(response.status());
        response
    }

    fn trace(&self, status: StatusCode) {
        self.span.set("url.scheme", if self.peer.secure { "https" } else { "http" });
        self.span.set("aquila.request_id", self.context.id().as_str());
        self.span.set_number("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() && !self.route.decides() {
            self.span.fail(status.as_str());
        }
    }

    fn describe<'a>(&'a self, decision: &'a Decision, status: StatusCode) -> Record<'a> {
        let lasted = self.door.clock.now().since(self.arrived);
        let authenticated = decision.authenticated.as_ref();
        Record {
            time: self.began.checked_add(lasted).unwrap_or(self.began),
            request_id: self.context.id().as_str(),
            outcome: decision.outcome.as_str(),
            reason: decision.reason,
            status: status.as_u16(),
            caller: authenticated.map(|it| it.caller.name().as_str()),
            proof: authenticated.map(|it| it.proof.kind.as_str()),
            proof_key: authenticated.map(|it| it.proof.key.as_str()),
            integration: decision.integration(),
            rule: decision.allowed.as_ref().map(|(_, rule)| rule.as_str()),
            cache: decision.cache,
            token_fingerprint: decision.token.as_ref().map(Fingerprint::as_str),
            route: self.route.pattern(),
            method: self.method,
            remote_address: self.forwarded.as_ref().unwrap_or(&self.peer.text),
            duration_us: u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX),
            trace_id: self.trace_id.as_deref(),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let decision = Decision { outcome: Outcome::Abandoned, ..self.take_decision() };
        self.door.trail.note(&self.describe(&decision, hung_up()));
        decision.count(self.route, &self.door.metrics, self.arrived);
        decision.trace(&self.span, hung_up());
        self.trace(hung_up());
    }
}

/// 499, as proxies write it down: nobody was there to be answered.
fn hung_up() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

/// The answer to HEAD: all that GET would have said of the body, and not the body (RFC 9110 section 9.3.2).
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(head, Body::empty())
}
