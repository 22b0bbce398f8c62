//! `introspect` and `revoke`: is a token alive, and make it not so.
//!
//! Introspection wants the app's secret, which the JWT bearer flow itself has no use for. An app sees its own tokens
//! only; any other is just not active.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::faults::Door;
use super::forced::{self, Order};
use super::form::Form;
use super::format::Format;
use super::hosts::Place;
use super::render::{json_answer, token_refusal};
use super::rows::TokenRow;
use super::world::World;

/// `POST /services/oauth2/introspect`.
pub(super) async fn introspect(
    State(world): State<Arc<World>>,
    Extension(place): Extension<Arc<Place>>,
    request: Request,
) -> Response {
    let fault = world.with(|state| {
        state.counts.introspections += 1;
        state.faults.take(Door::Introspect, None)
    });
    let then = match forced::obey(&world, fault, Format::Json).await {
        Order::Answer(response, _) => return response,
        Order::AsUsual(then) => then,
    };
    let basic = basic(request.headers());
    let form = Form::read(request, false).await;
    let response = match form.and_then(|form| describe((&world, &place), &form, basic)) {
        Ok(answer) => json_answer(StatusCode::OK, &answer),
        Err(row) => token_refusal(row, Format::Json),
    };
    then.applied_to(response).await
}

fn describe((world, place): (&World, &Place), form: &Form, basic: Option<(String, String)>) -> Result<Value, TokenRow> {
    let in_body = || Ok(form.one("client_id")?.map(str::to_owned).zip(form.one("client_secret")?.map(str::to_owned)));
    let client = match basic {
        Some(client) => Some(client),
        None => in_body()?,
    };
    let (client_id, secret) = client.ok_or(TokenRow::InvalidClientCredentials)?;
    let token = form.one("token")?.ok_or(TokenRow::MissingToken)?;
    let now = world.clock.now();
    world.with(|state| {
        let app = state.org.app(&client_id).ok_or(TokenRow::InvalidClientCredentials)?;
        let registered = app.is.client_secret.as_deref().ok_or(TokenRow::InvalidClientCredentials)?;
        verify_slices_are_equal(registered.as_bytes(), secret.as_bytes())
            .map_err(|_| TokenRow::InvalidClientCredentials)?;
        let Some(caller) = state.caller(token, now) else { return Ok(json!({"active": false})) };
        if state.switches.introspection_counts_as_activity {
            state.sessions.note_activity(token, now);
        }
        let Some(session) = state.sessions.living(token, now).filter(|session| session.client_id == client_id) else {
            return Ok(json!({"active": false}));
        };
        let identity = format!("{}/id/{}/{}", place.base_url, caller.org.long_id(), caller.user.id);
        Ok(json!({
            "active": true,
            "scope": session.scopes.join(" "),
            "client_id": session.client_id,
            "username": session.username,
            "sub": identity,
            "token_type": "access_token",
            "exp": session.life.ends().as_second(),
            "iat": session.opened.as_second(),
            "nbf": session.opened.as_second(),
        }))
    })
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (name, secret) = decoded.split_once(':')?;
    Some((name.to_owned(), secret.to_owned()))
}

/// `POST /services/oauth2/revoke`; `GET` takes the token in the query string. It ends the session for every holder.
pub(super) async fn revoke(State(world): State<Arc<World>>, request: Request) -> Response {
    let with_query = request.method() == Method::GET;
    let headers = request.headers().clone();
    let form = Form::read(request, with_query).await;
    let format = Format::wanted(&headers, form.as_ref().ok());
    let ended = form.and_then(|form| {
        let token = form.one("token")?.ok_or(TokenRow::MissingToken)?;
        if world.with(|state| state.sessions.end(token)) { Ok(()) } else { Err(TokenRow::InvalidToken) }
    });
    match ended {
        Ok(()) => Response::new(Body::empty()),
        Err(row) => token_refusal(row, format),
    }
}
