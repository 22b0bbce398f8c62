//! `GET /token` and the client-credentials routes: from a request to what is asked, and from a token to its answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use zeroize::Zeroizing;

use super::callers::{CallersDoor, Context};
use super::credentials;
use super::decision::{Decision, Outcome};
use super::error::{Refusal, Shape};
use super::params::Params;
use super::{failed_proof, form};
use crate::ask::{Ask, SelectorKind};
use crate::authn::{AuthnError, Credentials, Occasion, PeerCertificate, ProofKind};
use crate::broker::{IssueError, Issued, Trouble};
use crate::holding::{Granted, Wording};
use crate::snapshot::{Authenticated, Denied, Permit, Snapshot};

/// A request for a token, as far as it is known before its body is read.
pub(super) struct Inquiry<'a> {
    /// The door it came to.
    pub(super) door: &'a CallersDoor,
    /// Where it comes from: from the client that a trusted proxy tells of, or else from the other end of the connection.
    pub(super) client: IpAddr,
    /// Its id and its deadlines.
    pub(super) context: &'a Context,
    /// The integration in the path, if the route has a place for one: as it stands there, still encoded.
    pub(super) in_path: Option<&'a str>,
    /// Everything before the body.
    pub(super) head: &'a Parts,
    /// The certificate of the connection, if it is valid now.
    pub(super) certificate: Option<&'a Arc<PeerCertificate>>,
    /// What is decided, step by step: kept by the visit, so that it is known even if this is broken off.
    pub(super) decision: &'a Mutex<Decision>,
}

impl Inquiry<'_> {
    pub(super) fn note(&self, what: impl FnOnce(&mut Decision)) {
        what(&mut self.decision.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn note_outcome(&self, outcome: Outcome) {
        self.note(|decision| decision.outcome = outcome);
    }

    /// Nobody was recognised, by a mistake that is not counted yet.
    pub(super) fn note_failed_proof(&self, kind: ProofKind, error: AuthnError) {
        self.note(|decision| decision.unauthenticated(error));
        self.door.metrics.refused_proof(kind.as_str(), error.reason());
    }

    /// When and where it is that a proof is offered.
    pub(super) fn occasion(&self) -> Occasion<'_> {
        Occasion { now: self.door.clock.timestamp(), path: self.head.uri.path(), renewed: false }
    }

    /// Until there is an answer: whoever is gone by then has hung up.
    pub(super) fn note_abandoned(&self) {
        self.note_outcome(Outcome::Abandoned);
    }
}

/// `GET /token`, `GET /token/NAME`.
pub(super) async fn get(inquiry: Inquiry<'_>) -> Response<Body> {
    let outcome = from_get(&inquiry).await;
    answer(outcome, Shape::Problem, inquiry.context)
}

/// `POST` on every token route (RFC 6749 section 4.4).
pub(super) async fn post(inquiry: Inquiry<'_>, body: Body) -> Response<Body> {
    let outcome = match form::read(&inquiry, body).await {
        Ok(form) => from_post(&inquiry, &form).await,
        Err(refusal) => Err(refusal),
    };
    answer(outcome, Shape::OAuth, inquiry.context)
}

struct Answer {
    issued: Issued,
    /// The caller's own words, repeated; never Salesforce's scopes, which some clients take for a change of terms.
    scope: Option<String>,
}

async fn from_get(inquiry: &Inquiry<'_>) -> Result<Answer, Refusal> {
    let credentials = credentials::read(&inquiry.head.headers, None);
    let mut ask = Ask::default();
    let asked = select_by_url(&mut ask, inquiry);
    let issued = issue(inquiry, credentials, asked.map(|()| ask), Shape::Problem).await?;
    Ok(Answer { issued, scope: None })
}

async fn from_post(inquiry: &Inquiry<'_>, form: &Params) -> Result<Answer, Refusal> {
    if super::grant::is_one(inquiry, form) {
        let issued = super::grant::issue(inquiry, form).await?;
        return Ok(Answer { issued, scope: form.get("scope").map(str::to_owned) });
    }
    let credentials = credentials::read(&inquiry.head.headers, Some(form));
    let mut ask = Ask::default();
    let asked = ask_by_form(&mut ask, inquiry, form);
    let issued = issue(inquiry, credentials, asked.map(|()| ask), Shape::OAuth).await?;
    Ok(Answer { issued, scope: form.get("scope").map(str::to_owned) })
}

/// Who, then what, then whether: a request without proof learns nothing about its other mistakes.
async fn issue(
    inquiry: &Inquiry<'_>,
    credentials: Result<Credentials, Refusal>,
    asked: Result<Ask, Refusal>,
    shape: Shape,
) -> Result<Issued, Refusal> {
    let (snapshot, authenticated) = authenticate(inquiry, shape, credentials).await?;
    let ask = asked?;
    broker_issues(inquiry, &snapshot, &authenticated, (&ask, shape)).await
}

/// Whether, once who and what are known.
pub(super) async fn broker_issues(
    inquiry: &Inquiry<'_>,
    snapshot: &Snapshot,
    authenticated: &Authenticated,
    (ask, shape): (&Ask, Shape),
) -> Result<Issued, Refusal> {
    let deadline = inquiry.context.deadline();
    let permitted = |permit: &Permit| inquiry.note(|decision| decision.permitted(permit));
    match inquiry.door.broker.issue(snapshot, &authenticated.caller, (ask, deadline), permitted).await {
        Ok(issued) => {
            inquiry.note(|decision| decision.issued(&issued));
            Ok(issued)
        }
        Err(error) => {
            inquiry.note(|decision| decision.failed(&error));
            Err(refusal(&error, shape))
        }
    }
}

/// Who calls, under which generation of the configuration. Noted as a mistake in the request until more is known.
pub(super) async fn authenticate(
    inquiry: &Inquiry<'_>,
    shape: Shape,
    credentials: Result<Credentials, Refusal>,
) -> Result<(Arc<Snapshot>, Authenticated), Refusal> {
    let snapshot = inquiry.door.snapshots.current();
    inquiry.note_outcome(Outcome::InvalidRequest);
    let credentials = Credentials { certificate: inquiry.certificate.map(Arc::clone), ..credentials? };
    let mut authenticated = snapshot.authenticate(&credentials, &inquiry.occasion());
    if authenticated.as_ref().err() == Some(&AuthnError::Stale) {
        // Boxed: it is rare, and each connection keeps room for what is not.
        Box::pin(snapshot.directory().renew_keys(&credentials, inquiry.context.deadline())).await;
        authenticated = snapshot.authenticate(&credentials, &Occasion { renewed: true, ..inquiry.occasion() });
    }
    let authenticated = snapshot.settled(authenticated, inquiry.occasion().now).await;
    let authenticated = authenticated.map_err(|error| {
        let kind = credentials.refused(error);
        if error == AuthnError::Missing {
            inquiry.note_failed_proof(kind, error);
            return Refusal::no_credentials(shape);
        }
        let noted = failed_proof::note(inquiry, &snapshot, &credentials);
        if noted.again {
            inquiry.note(|decision| decision.unauthenticated(error));
        } else {
            inquiry.note_failed_proof(kind, error);
        }
        match noted.wait {
            Some(wait) => Refusal::slow_down(wait),
            None => Refusal::wrong_credentials(shape, credentials::is_bearer(&inquiry.head.headers)),
        }
    })?;
    inquiry.note(|decision| decision.authenticated(&authenticated));
    Ok((snapshot, authenticated))
}

fn refusal(error: &IssueError, shape: Shape) -> Refusal {
    match error {
        IssueError::Denied(Denied::NotGranted { by, .. }) => match (shape, by) {
            (Shape::Problem, _) => Refusal::access_denied(),
            (Shape::OAuth, SelectorKind::Scope) => Refusal::invalid_scope(),
            (Shape::OAuth, SelectorKind::Subject) => Refusal::invalid_grant(),
            (Shape::OAuth, _) => Refusal::invalid_target(),
        },
        IssueError::Denied(Denied::Contradiction) => {
            Refusal::invalid_request("the request names two different integrations")
        }
        IssueError::Denied(Denied::Unnamed { several: true }) => Refusal::invalid_request(
            "this caller may use several integrations; name one: /token/NAME, or integration=NAME in the query",
        ),
        IssueError::Denied(Denied::Unnamed { several: false }) => {
            Refusal::invalid_request("this caller may not use any integration")
        }
        IssueError::Unavailable { why: Trouble::Refused, .. } => Refusal::upstream_refused(shape),
        IssueError::Unavailable { why: Trouble::Passing(wait), .. } => Refusal::temporarily_unavailable(*wait),
        IssueError::Unavailable { why: Trouble::Unusable(wait), .. } => Refusal::token_unusable(shape, *wait),
        IssueError::Unavailable { why: Trouble::TooMuch(wait), .. } => Refusal::slow_down(*wait),
        IssueError::Unavailable { why: Trouble::Broken, .. } => Refusal::internal(),
    }
}

/// Path and query. A selector that is there and empty is refused, not passed over: `?integration=$NAME` with an unset
/// variable must not hand out whatever else the caller may have.
fn select_by_url(ask: &mut Ask, inquiry: &Inquiry<'_>) -> Result<(), Refusal> {
    if let Some(name) = inquiry.in_path {
        // What is not UTF-8 names no integration.
        ask.select(SelectorKind::Path, percent_decode_str(name).decode_utf8().unwrap_or_default());
    }
    let query = inquiry.head.uri.query();
    let Some(query) = query else { return Ok(()) };
    let query = Params::parse(query.as_bytes())?;
    query.once(&["integration", "min_ttl"])?;
    match query.get("integration") {
        Some(name) => ask.select(SelectorKind::Query, name),
        None if query.has("integration") => return Err(Refusal::invalid_request("integration is empty in the query")),
        None => {}
    }
    ask.min_life = query.seconds("min_ttl")?;
    Ok(())
}

fn ask_by_form(ask: &mut Ask, inquiry: &Inquiry<'_>, form: &Params) -> Result<(), Refusal> {
    form.once(&["grant_type", "client_id", "client_secret", "scope", "audience"])?;
    match form.get("grant_type") {
        None => return Err(Refusal::invalid_request("grant_type is missing; send grant_type=client_credentials")),
        Some("client_credentials") => {}
        Some(_) => return Err(Refusal::unsupported_grant_type()),
    }
    select(ask, inquiry, form)
}

/// Everything that may name an integration beside what `ask` holds by now.
pub(super) fn select(ask: &mut Ask, inquiry: &Inquiry<'_>, form: &Params) -> Result<(), Refusal> {
    select_by_url(ask, inquiry)?;
    let named_by_url = !ask.selectors.is_empty();
    for resource in form.all("resource") {
        ask.select(SelectorKind::Resource, resource);
    }
    if let Some(audience) = form.get("audience") {
        ask.select(SelectorKind::Audience, audience);
    }
    if let Some(scope) = form.get("scope").filter(|_| !named_by_url) {
        ask.select(SelectorKind::Scope, scope);
    }
    Ok(())
}

/// The answer of RFC 6749 section 5.1, flat, at most 15 members, in the order in which people read them: these, then
/// `expires_in`, then [`Rest`], then the caller's `scope`.
#[derive(Serialize)]
struct Beginning<'a> {
    access_token: &'a str,
    token_type: &'static str,
}

#[derive(Serialize)]
struct Rest<'a> {
    instance_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    integration: &'a str,
    issued_at: &'a str,
    lifetime_source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sfdc_site_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sfdc_site_id: Option<&'a str>,
}

fn answer(outcome: Result<Answer, Refusal>, shape: Shape, context: &Context) -> Response<Body> {
    let mut response = match outcome {
        Ok(answer) => token_response(&answer, context),
        Err(refusal) => refusal.into_response(shape, context.id()),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

fn token_response(Answer { issued, scope }: &Answer, context: &Context) -> Response<Body> {
    let Ok(text) = token_text(issued, scope.as_deref()) else {
        // Strings and a number into memory: there is nothing that could fail, and no 200 without a token if it did.
        return Refusal::internal().into_response(Shape::OAuth, context.id());
    };
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn token_text(issued: &Issued, scope: Option<&str>) -> serde_json::Result<Vec<u8>> {
    let place = &issued.kept.value.wording;
    let Wording { before, after } = match place.get() {
        Some(known) => known,
        None => {
            let new = wording(issued)?;
            place.get_or_init(|| new)
        }
    };
    let before = before.expose_secret();
    let mut text = Vec::with_capacity(before.len() + after.len() + 128);
    text.extend_from_slice(before.as_bytes());
    serde_json::to_writer(&mut text, &issued.expires_in)?;
    text.extend_from_slice(after.as_bytes());
    if let Some(scope) = scope {
        text.extend_from_slice(b",\"scope\":");
        serde_json::to_writer(&mut text, scope)?;
    }
    text.push(b'}');
    Ok(text)
}

/// All of an answer but the life and the scope: the same for everybody who gets this token.
fn wording(issued: &Issued) -> serde_json::Result<Wording> {
    let Granted { grant, minted_at, .. } = &issued.kept.value;
    let token = grant.token.expose();
    // Room for all of it from the start, so that nothing is left behind unwiped; at worst each character is escaped.
    let mut before = Zeroizing::new(Vec::with_capacity(2 * token.len() + 64));
    serde_json::to_writer(&mut *before, &Beginning { access_token: token, token_type: "Bearer" })?;
    before.pop();
    before.extend_from_slice(b",\"expires_in\":");
    let minted_at = minted_at.to_string();
    let instance_url = grant.instance_url.as_str();
    let rest = serde_json::to_string(&Rest {
        instance_url: instance_url.strip_suffix('/').unwrap_or(instance_url),
        id: grant.id.as_deref(),
        integration: issued.holding.name().as_str(),
        issued_at: grant.issued_at.as_deref().unwrap_or(&minted_at),
        lifetime_source: issued.kept.promise.source().as_str(),
        sfdc_site_url: grant.site_url.as_deref(),
        sfdc_site_id: grant.site_id.as_deref(),
    })?;
    let members = rest.trim_start_matches('{').trim_end_matches('}');
    let before = std::str::from_utf8(&before).map_err(serde::ser::Error::custom)?;
    Ok(Wording { before: SecretString::from(before), after: format!(",{members}").into_boxed_str() })
}
