//! `userinfo` and the identity URL: who a token belongs to.
//!
//! Their refusals differ from the REST resources': 403 with plain text, neither 401 nor JSON.

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::faults::Door;
use super::forced::{self, Order};
use super::format::Format;
use super::hosts::Place;
use super::render::{json_answer, rest_row};
use super::rest::{self, Caller};
use super::rows::RestRow;
use super::world::World;

pub(super) async fn userinfo(
    State(world): State<Arc<World>>,
    Extension(place): Extension<Arc<Place>>,
    request: Request,
) -> Response {
    let token = rest::bearer(request.headers()).ok();
    let fault = world.with(|state| {
        state.counts.userinfo_calls += 1;
        let user = token.as_ref().and_then(|token| state.sessions.username(token)).map(str::to_owned);
        state.faults.take(Door::Userinfo, user.as_deref())
    });
    match forced::obey(&world, fault, Format::Json).await {
        Order::Answer(response, _) => response,
        Order::AsUsual(then) => then.applied_to(tell((&world, &place), token, None)).await,
    }
}

/// `GET /id/ORG/USER`, which also takes the token as `oauth_token`.
pub(super) async fn identity(
    State(world): State<Arc<World>>,
    Extension(place): Extension<Arc<Place>>,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let parameter = || url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "oauth_token");
    let token = rest::bearer(&headers).ok().or_else(|| parameter().map(|(_, token)| token.into_owned()));
    tell((&world, &place), token, Some(path))
}

fn tell((world, place): (&World, &Place), token: Option<String>, asked_for: Option<(String, String)>) -> Response {
    let now = world.clock.now();
    let caller = token.and_then(|token| {
        world.with(|state| {
            let caller = state.caller(&token, now)?;
            if state.switches.userinfo_needs_identity_scope && !caller.has_identity_scope {
                return None;
            }
            if state.switches.userinfo_counts_as_activity {
                state.sessions.note_activity(&token, now);
            }
            Some(caller)
        })
    });
    let own = |caller: &Caller| (caller.org.long_id(), caller.user.id.clone());
    match caller {
        Some(caller) if asked_for.is_none_or(|asked_for| asked_for == own(&caller)) => {
            json_answer(StatusCode::OK, &described((world, place), &caller))
        }
        _ => rest_row(RestRow::BadOauthToken),
    }
}

fn described((world, place): (&World, &Place), caller: &Caller) -> Value {
    let (organization, user, instance) = (caller.org.long_id(), &caller.user.id, &world.instance_url);
    let identity = format!("{}/id/{organization}/{user}", place.base_url);
    json!({
        "sub": identity,
        "id": identity,
        "user_id": user,
        "organization_id": organization,
        "preferred_username": caller.user.is.username,
        "username": caller.user.is.username,
        "nickname": "simulated",
        "name": "SIMULATED User",
        "email": caller.user.is.username,
        "email_verified": true,
        "active": true,
        "user_type": "STANDARD",
        "language": "en_US",
        "locale": "en_US",
        "zoneinfo": "GMT",
        "is_salesforce_integration_user": true,
        "urls": {
            "rest": format!("{instance}/services/data/v{{version}}/"),
            "query": format!("{instance}/services/data/v{{version}}/query/"),
            "sobjects": format!("{instance}/services/data/v{{version}}/sobjects/"),
        },
    })
}
