//! The REST resources below `/services/data`: who calls, may they, which resource.
//!
//! Invariant: a call moves its session's activity stamp only after it succeeded. The resources themselves are in
//! `soql/` and `logs.rs`.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::describe;
use super::faults::Door;
use super::forced::{self, Order};
use super::format::Format;
use super::hosts::Place;
use super::limits;
use super::logs::{self, LogFile};
use super::org::{Org, RegisteredUser};
use super::render::{RestError, json_answer, plain, rest_error};
use super::rows::RestRow;
use super::settings::Standing;
use super::soql;
use super::tables;
use super::world::{State as WorldState, World};

const OLDEST_VERSION: u32 = 31;
const NEWEST_VERSION: u32 = 67;

/// `GET /services/data`: the versions, for everybody.
pub(super) async fn versions() -> Response {
    let versions = (OLDEST_VERSION..=NEWEST_VERSION).map(|number| {
        let (season, year) = match number % 3 {
            0 => ("Spring", (number + 12) / 3),
            1 => ("Summer", (number + 11) / 3),
            _ => ("Winter", (number + 13) / 3),
        };
        let (version, url) = (format!("{number}.0"), format!("/services/data/v{number}.0"));
        json!({"label": format!("{season} '{year} (SIMULATED)"), "url": url, "version": version})
    });
    json_answer(StatusCode::OK, &Value::Array(versions.collect()))
}

/// Everything below `/services/data/`.
pub(super) async fn answer(
    State(world): State<Arc<World>>,
    Extension(place): Extension<Arc<Place>>,
    request: Request,
) -> Response {
    let ask = Ask::read(&request, place);
    let (fault, user) = world.with(|state| {
        let user = ask.bearer.as_ref().ok().and_then(|token| state.sessions.username(token)).map(str::to_owned);
        (state.faults.take(Door::Rest, user.as_deref()), user)
    });
    let response = match forced::obey(&world, fault, Format::Json).await {
        Order::Answer(response, _) => response,
        Order::AsUsual(then) => then.applied_to(serve(&world, &ask)).await,
    };
    let is_confirm = ask.version.is_some() && ask.resource.is_empty();
    world.with(|state| state.counts.rest_ended(response.status().as_u16(), user.as_deref(), is_confirm));
    response
}

/// What is asked for.
struct Ask {
    place: Arc<Place>,
    method: Method,
    bearer: Result<String, RestRow>,
    /// `60` of `v60.0`; `None` when that is no version we have.
    version: Option<u32>,
    /// The path's segments after the version, without a trailing slash.
    resource: Vec<String>,
    query: String,
}

impl Ask {
    fn read(request: &Request, place: Arc<Place>) -> Self {
        let path = request.uri().path().trim_start_matches("/services/data/");
        let mut segments = path.split('/').map(str::to_owned);
        let version = segments.next().and_then(|text| version_number(&text));
        let mut resource: Vec<String> = segments.collect();
        resource.pop_if(|last| last.is_empty());
        Self {
            place,
            method: request.method().clone(),
            bearer: bearer(request.headers()),
            version,
            resource,
            query: request.uri().query().unwrap_or_default().to_owned(),
        }
    }

    fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.into_owned())
    }
}

fn version_number(text: &str) -> Option<u32> {
    let number = text.strip_prefix('v')?.strip_suffix(".0")?;
    let number = number.parse().ok().filter(|_| number.len() == 2)?;
    (OLDEST_VERSION..=NEWEST_VERSION).contains(&number).then_some(number)
}

/// The token of the `Authorization` header. Salesforce takes the scheme `OAuth` as well.
pub(super) fn bearer(headers: &HeaderMap) -> Result<String, RestRow> {
    let header = headers.get(AUTHORIZATION).ok_or(RestRow::InvalidSessionId)?;
    let text = header.to_str().map_err(|_| RestRow::InvalidAuthHeader)?;
    let (scheme, token) = text.split_once(' ').ok_or(RestRow::InvalidAuthHeader)?;
    let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("oauth");
    if known && !token.trim().is_empty() { Ok(token.trim().to_owned()) } else { Err(RestRow::InvalidAuthHeader) }
}

/// Who calls, proved by a living session.
pub(super) struct Caller {
    pub(super) token: String,
    pub(super) user: Arc<RegisteredUser>,
    pub(super) org: Arc<Org>,
    may_use_rest: bool,
    pub(super) has_identity_scope: bool,
}

impl WorldState {
    /// The living session's user. A user who was deactivated takes the sessions along.
    pub(super) fn caller(&mut self, token: &str, now: Timestamp) -> Option<Caller> {
        let session = self.sessions.living(token, now)?;
        let may_use_rest = session.scopes.iter().any(|scope| matches!(scope.as_str(), "api" | "full"));
        let identifies = |scope: &String| matches!(scope.as_str(), "id" | "openid" | "profile" | "full");
        let has_identity_scope = session.scopes.iter().any(identifies);
        let user = Arc::clone(self.org.user(&session.username)?);
        if user.is.standing == Standing::Inactive {
            self.sessions.end(token);
            return None;
        }
        let org = Arc::clone(&self.org);
        Some(Caller { token: token.to_owned(), user, org, may_use_rest, has_identity_scope })
    }
}

fn serve(world: &World, ask: &Ask) -> Response {
    let now = world.clock.now();
    let (caller, used) = match admit(world, ask, now) {
        Ok(admitted) => admitted,
        Err(row) => return rest_error(&row.into()),
    };
    let mut response = route(world, ask, &caller, now).unwrap_or_else(|error| rest_error(&error));
    if response.status().is_success() {
        world.with(|state| state.sessions.note_activity(&caller.token, now));
    }
    if let Ok(usage) = HeaderValue::try_from(format!("api-usage={used}/{}", world.api_calls_per_day)) {
        response.headers_mut().insert("Sforce-Limit-Info", usage);
    }
    response
}

fn admit(world: &World, ask: &Ask, now: Timestamp) -> Result<(Caller, u64), RestRow> {
    let token = ask.bearer.as_ref().map_err(|row| *row)?;
    // A login host has no data: for a client this looks like a dead session, and another token does not help.
    if !ask.place.serves_data() {
        return Err(RestRow::InvalidSessionId);
    }
    world.with(|state| {
        let caller = state.caller(token, now).ok_or(RestRow::InvalidSessionId)?;
        if !caller.may_use_rest {
            return Err(RestRow::SessionNotValidForRest);
        }
        if !caller.user.is.api_enabled {
            return Err(RestRow::ApiDisabledForOrg);
        }
        if state.api_calls >= world.api_calls_per_day {
            return Err(RestRow::RequestLimitExceeded);
        }
        state.api_calls += 1;
        Ok((caller, state.api_calls))
    })
}

fn route(world: &World, ask: &Ask, caller: &Caller, now: Timestamp) -> Result<Response, RestError> {
    let version = ask.version.ok_or(RestRow::NotFound)?;
    if ask.method != Method::GET && ask.method != Method::HEAD {
        let message = format!("HTTP Method '{}' not allowed. Allowed are GET,HEAD", ask.method);
        return Err(RestError { status: StatusCode::METHOD_NOT_ALLOWED, code: "METHOD_NOT_ALLOWED", message });
    }
    let resource: Vec<&str> = ask.resource.iter().map(String::as_str).collect();
    match resource.as_slice() {
        [] => Ok(json_answer(StatusCode::OK, &resources(&ask.place, caller, version))),
        ["limits"] => {
            let (used, closed) = world.with(|state| (state.api_calls, state.switches.limits_need_view_setup));
            if closed {
                return Err(RestRow::InsufficientAccess.into());
            }
            Ok(json_answer(StatusCode::OK, &limits::told(used, world.api_calls_per_day)))
        }
        ["query"] => query(world, ask, (caller, version), now),
        ["query", locator] => query_more(world, (caller, version), locator),
        ["sobjects"] => Ok(json_answer(StatusCode::OK, &objects(world, (caller, version), now))),
        ["sobjects", object] => object_summary(world, (caller, version), object, now),
        ["sobjects", object, "describe"] => described(world, (caller, version), object, now),
        ["sobjects", "EventLogFile", id, "LogFile"] => log_file(world, caller, id, now),
        ["sobjects", object, id] => record(world, (caller, version), (object, id), now),
        _ => Err(RestRow::NotFound.into()),
    }
}

fn query(world: &World, ask: &Ask, by: (&Caller, u32), now: Timestamp) -> Result<Response, RestError> {
    let Some(text) = ask.parameter("q").filter(|text| !text.trim().is_empty()) else {
        return Err(RestError::bad_request("MALFORMED_QUERY", "SOQL statements cannot be empty or null"));
    };
    let (caller, version) = by;
    let open = |name: &str| tables::open(world, caller, version, now, name);
    if ask.parameter("columns").is_some_and(|wanted| wanted == "true") {
        let (table, columns) = soql::asked_columns(&text, now, open)?;
        return Ok(json_answer(StatusCode::OK, &describe::columns(&table, &columns, version)));
    }
    let answer = soql::answer(&text, version, now, open)?;
    let username = &caller.user.is.username;
    let batch = world.with(|state| state.cursors.first(answer, version, username, world.query_batch));
    Ok(json_answer(StatusCode::OK, &batch))
}

fn query_more(world: &World, (caller, version): (&Caller, u32), locator: &str) -> Result<Response, RestError> {
    let username = &caller.user.is.username;
    let batch = world.with(|state| state.cursors.next(locator, version, username, world.query_batch));
    let batch = batch.ok_or_else(|| RestError::bad_request("INVALID_QUERY_LOCATOR", "invalid query locator"))?;
    Ok(json_answer(StatusCode::OK, &batch))
}

/// The objects that this user may see.
fn objects(world: &World, (caller, version): (&Caller, u32), now: Timestamp) -> Value {
    let seen = |name: &&str| tables::open(world, caller, version, now, name).is_some();
    let names = describe::OBJECTS.iter().map(|(name, _)| *name).filter(seen);
    let objects: Vec<Value> = names.map(|name| describe::summary(name, version)).collect();
    json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects})
}

fn object_summary(world: &World, by: (&Caller, u32), object: &str, now: Timestamp) -> Result<Response, RestError> {
    let (caller, version) = by;
    let table = tables::open(world, caller, version, now, object).ok_or(RestRow::NotFound)?;
    let summary = describe::summary(table.name, version);
    Ok(json_answer(StatusCode::OK, &json!({"objectDescribe": summary, "recentItems": []})))
}

/// The object's fields by name and type.
fn described(world: &World, by: (&Caller, u32), object: &str, now: Timestamp) -> Result<Response, RestError> {
    let (caller, version) = by;
    let table = tables::open(world, caller, version, now, object).ok_or(RestRow::NotFound)?;
    Ok(json_answer(StatusCode::OK, &describe::object(&table, version)))
}

/// One record with all its fields, without the wrapping of a query.
fn record(
    world: &World,
    (caller, version): (&Caller, u32),
    (object, id): (&str, &str),
    now: Timestamp,
) -> Result<Response, RestError> {
    let table = tables::open(world, caller, version, now, object).ok_or(RestRow::NotFound)?;
    let record = table.record(id, version).ok_or(RestRow::NotFound)?;
    Ok(json_answer(StatusCode::OK, &record))
}

fn log_file(world: &World, caller: &Caller, id: &str, now: Timestamp) -> Result<Response, RestError> {
    if !tables::sees_event_logs(&caller.user.is) {
        return Err(RestRow::NotFound.into());
    }
    let is_asked_for = |file: &LogFile| file.id == id || file.id.get(..15) == Some(id);
    let file = logs::files(&world.event_logs, now).into_iter().find(is_asked_for).ok_or(RestRow::NotFound)?;
    let content = file.csv(&caller.org.id, world.event_logs.events_per_hour);
    Ok(plain(StatusCode::OK, "text/csv;charset=UTF-8", content))
}

fn resources(place: &Place, caller: &Caller, version: u32) -> Value {
    let root = format!("/services/data/v{version}.0");
    let identity = format!("{}/id/{}/{}", place.base_url, caller.org.long_id(), caller.user.id);
    json!({
        "identity": identity,
        "limits": format!("{root}/limits"),
        "query": format!("{root}/query"),
        "sobjects": format!("{root}/sobjects"),
    })
}
