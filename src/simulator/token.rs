//! `POST /services/oauth2/token`: from the request to the grant.
//!
//! The steps are: read the form, look for a forced answer, verify (no lock), admit and grant (under the lock). The
//! answer has no `refresh_token`, and no `expires_in` unless a switch says so; Salesforce sends neither in this flow.

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::extract::{Extension, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use super::access_token;
use super::admission::Admitted;
use super::assertion::UnverifiedAssertion;
use super::checks::Court;
use super::faults::Door;
use super::forced::{self, Order};
use super::form::Form;
use super::format::Format;
use super::hosts::Place;
use super::org;
use super::render;
use super::rows::{TokenRow, name_of};
use super::sessions::{Life, Session};
use super::switches::Switches;
use super::world::{SeenAssertion, State as WorldState, World};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

pub(super) async fn answer(
    State(world): State<Arc<World>>,
    Extension(place): Extension<Arc<Place>>,
    request: Request,
) -> Response {
    let _arrival = Arrival::note(&world);
    let (asked, format) = read(&world, request).await;
    let named = asked.as_ref().ok().and_then(UnverifiedAssertion::subject);

    let fault = world.with(|state| state.faults.take(Door::Token, named));
    let (response, outcome) = match forced::obey(&world, fault, format).await {
        Order::Answer(response, name) => (response, name),
        Order::AsUsual(then) => {
            let (response, outcome) = decide((&world, &place), &asked, format);
            (then.applied_to(response).await, outcome)
        }
    };
    world.with(|state| {
        let user = state.known_name(named);
        state.counts.token_ended(outcome.clone(), user.as_deref());
        if let Ok(assertion) = &asked {
            let (alg, claims) = (assertion.alg().to_owned(), assertion.claims().clone());
            state.remember(SeenAssertion { at: world.clock.now(), alg, claims, outcome });
        }
    });
    response
}

/// Counts a request while it is being answered, also if the client hangs up meanwhile.
struct Arrival<'a>(&'a World);

impl<'a> Arrival<'a> {
    fn note(world: &'a World) -> Self {
        world.with(|state| state.counts.token_arrived());
        Self(world)
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.counts.token_left());
    }
}

/// The assertion, or why there is none; and in which form to answer, which holds for refusals, too.
async fn read(world: &World, request: Request) -> (Result<UnverifiedAssertion, TokenRow>, Format) {
    let headers = request.headers().clone();
    if request.method() != Method::POST {
        return (Err(TokenRow::MustUsePost), Format::wanted(&headers, None));
    }
    let switches = world.with(|state| state.switches.clone());
    let form = Form::read(request, switches.query_parameters_accepted).await;
    let format = Format::wanted(&headers, form.as_ref().ok());
    (form.and_then(|form| assertion(&form, &switches)), format)
}

fn assertion(form: &Form, switches: &Switches) -> Result<UnverifiedAssertion, TokenRow> {
    if form.one("grant_type")?.ok_or(TokenRow::MissingGrantType)? != JWT_BEARER {
        return Err(TokenRow::UnsupportedGrantType);
    }
    if switches.scope_parameter_refused && form.one("scope")?.is_some() {
        return Err(TokenRow::ScopeParameterNotSupported);
    }
    let assertion = form.one("assertion")?.ok_or(TokenRow::MissingAssertion)?;
    UnverifiedAssertion::parse(assertion).ok_or(TokenRow::InvalidAssertion)
}

fn decide(at: (&World, &Place), asked: &Result<UnverifiedAssertion, TokenRow>, format: Format) -> (Response, String) {
    match asked.as_ref().map_err(|row| *row).and_then(|assertion| grant(at, assertion)) {
        Ok((pairs, outcome)) => (render::token_answer(StatusCode::OK, &pairs, format), outcome.to_owned()),
        Err(row) => (render::token_refusal(row, format), name_of(row)),
    }
}

/// The fields of the answer, and how it came to them.
type Grant = (Vec<(&'static str, String)>, &'static str);

fn grant((world, place): (&World, &Place), assertion: &UnverifiedAssertion) -> Result<Grant, TokenRow> {
    let now = world.clock.now();
    let (org, switches) = world.with(|state| (Arc::clone(&state.org), state.switches.clone()));
    let court = Court { org: &org, switches: &switches, place, now };
    let verified = court.verify(assertion)?;

    let (admitted, token, outcome, left) = world.with(|state| {
        let admitted = state.logins.admit((&org, &switches), place, &verified, now)?;
        let (token, outcome) = open_session((world, place), state, &admitted, now);
        let ends = state.sessions.living(&token, now).map_or(now, |session| session.life.ends());
        Ok((admitted, token, outcome, ends.as_second() - now.as_second()))
    })?;

    let identity = format!("{}/id/{}/{}", place.base_url, org.long_id(), admitted.user.id);
    let mut pairs = vec![
        ("access_token", token),
        ("scope", admitted.scopes.join(" ")),
        ("instance_url", world.instance_url.clone()),
        ("id", identity.clone()),
        ("token_type", "Bearer".to_owned()),
    ];
    if place.is_site() {
        pairs.push(("sfdc_site_url", place.base_url.clone()));
        pairs.push(("sfdc_site_id", org::site_id(&place.base_url)));
    }
    if switches.expires_in_present {
        pairs.push(("expires_in", left.to_string()));
    }
    if switches.issued_at_present {
        let issued_at = now.as_millisecond().to_string();
        // The true one is an HMAC with the app's secret, which this flow's client does not hold either.
        let signature = digest::digest(&digest::SHA256, format!("{identity}{issued_at}").as_bytes());
        pairs.push(("issued_at", issued_at));
        pairs.push(("signature", BASE64_STANDARD.encode(signature)));
    }
    Ok((pairs, outcome))
}

/// The running session's token, or that of a new one.
fn open_session(
    (world, place): (&World, &Place),
    state: &mut WorldState,
    admitted: &Admitted,
    now: Timestamp,
) -> (String, &'static str) {
    let Admitted { app, user, scopes } = admitted;
    // The app's policy goes before the user's profile, and that before the org's settings.
    let timeout = app.is.session_timeout.or(user.is.session_timeout).unwrap_or(world.session_timeout);
    let life = match app.is.jwt_token_lifetime {
        Some(lifetime) => Life::Fixed { ends: now.checked_add(lifetime).unwrap_or(Timestamp::MAX) },
        None => Life::Sliding { timeout, stamp: now },
    };
    let session = Session {
        client_id: app.is.client_id.clone(),
        username: user.is.username.clone(),
        scopes: scopes.clone(),
        opened: now,
        life,
    };
    let token = match life {
        Life::Fixed { ends } => access_token::jwt(&place.base_url, &state.org, admitted, (now, ends)),
        Life::Sliding { .. } => {
            if state.switches.running_session_handed_back
                && let Some(token) = state.sessions.running(&session, now)
            {
                if state.switches.mint_counts_as_activity {
                    state.sessions.note_activity(&token, now);
                }
                return (token, "granted_running");
            }
            access_token::opaque(&state.org.id)
        }
    };
    state.sessions.open(token.clone(), session, now);
    (token, "granted_new")
}
