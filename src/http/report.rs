//! `POST /revoke` (RFC 7009) and `POST /introspect` (RFC 7662): what a caller says of a token, and what it is told of one.
//!
//! Nothing is revoked at Salesforce: every holder of that session shares it. A report has the token confirmed, and a
//! definite 401 drops it; the answer comes when that is settled, so that whoever asks next gets a token that works. Both
//! routes look only at tokens that the caller may have: of any other it learns nothing, not even that there is one.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use serde::Serialize;

use super::decision::Outcome;
use super::error::{Refusal, Shape};
use super::params::Params;
use super::token::{Inquiry, authenticate};
use super::{credentials, form};
use crate::broker::Introspected;
use crate::hash::sha256;

/// What a form may hold once.
const PARAMETERS: [&str; 6] =
    ["token", "token_type_hint", "client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// `POST /revoke`: 200 without a body, whatever became of it (RFC 7009 section 2.2).
pub(super) async fn revoke(inquiry: Inquiry<'_>, body: Body) -> Response<Body> {
    let reported = async {
        let form = form::read(&inquiry, body).await?;
        let (snapshot, authenticated) =
            authenticate(&inquiry, Shape::OAuth, credentials::read(&inquiry.head.headers, Some(&form))).await?;
        let token = offered(&form)?;
        inquiry.note_abandoned();
        let deadline = inquiry.context.deadline();
        let reports = inquiry.door.broker.report(&snapshot, &authenticated.caller, token, deadline).await;
        let reports = reports.map_err(|wait| {
            inquiry.note(|decision| decision.outcome = Outcome::Throttled);
            Refusal::slow_down(wait)
        })?;
        inquiry.note(|decision| decision.reported(reports.first(), &sha256([token.as_bytes()])));
        Ok(Response::new(Body::empty()))
    };
    answer(reported.await, &inquiry)
}

/// `POST /introspect`.
pub(super) async fn introspect(inquiry: Inquiry<'_>, body: Body) -> Response<Body> {
    let introspected = async {
        let form = form::read(&inquiry, body).await?;
        let (snapshot, authenticated) =
            authenticate(&inquiry, Shape::OAuth, credentials::read(&inquiry.head.headers, Some(&form))).await?;
        let token = offered(&form)?;
        let known = inquiry.door.broker.introspect(&snapshot, &authenticated.caller, token);
        inquiry.note(|decision| decision.introspected(known.as_ref(), &sha256([token.as_bytes()])));
        let now = inquiry.door.clock.timestamp().as_second();
        json(&Introspection::of(known.as_ref(), now, snapshot.issuer()))
    };
    answer(introspected.await, &inquiry)
}

fn offered(form: &Params) -> Result<&str, Refusal> {
    form.once(&PARAMETERS)?;
    form.get("token").ok_or(Refusal::invalid_request("token is missing"))
}

/// The members of RFC 7662 section 2.2 that are known here. A token that is not active has no others.
#[derive(Serialize)]
struct Introspection<'a> {
    active: bool,
    #[serde(flatten)]
    told: Option<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    token_type: &'static str,
    /// Until when the broker vouches for it, less the margin that every answer keeps.
    exp: i64,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    integration: &'a str,
    lifetime_source: &'static str,
}

impl<'a> Introspection<'a> {
    fn of(introspected: Option<&'a Introspected>, now: i64, issuer: Option<&'a str>) -> Self {
        let told = introspected.map(|introspected| Told {
            token_type: "Bearer",
            exp: now.saturating_add(i64::try_from(introspected.expires_in).unwrap_or(i64::MAX)),
            iat: introspected.known.minted_at / 1000,
            iss: issuer,
            integration: introspected.holding.name().as_str(),
            lifetime_source: introspected.known.promise.source().as_str(),
        });
        Self { active: told.is_some(), told }
    }
}

fn json(introspection: &Introspection<'_>) -> Result<Response<Body>, Refusal> {
    // Strings and numbers into memory: there is nothing that could fail.
    let text = serde_json::to_vec(introspection).map_err(|_| Refusal::internal())?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn answer(outcome: Result<Response<Body>, Refusal>, inquiry: &Inquiry<'_>) -> Response<Body> {
    let mut response = outcome.unwrap_or_else(|refusal| refusal.into_response(Shape::OAuth, inquiry.context.id()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
