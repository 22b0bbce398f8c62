//! The control routes `/__simulator/…`: what a test in any language may look at and change.
//!
//! Guarded by a secret, since whoever reaches the port could otherwise read claims and bend the clock. Everything here
//! is also a method of `Running`.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, patch, post};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::faults::Fault;
use super::render::json_answer;
use super::settings::{PermittedUsers, User};
use super::world::World;

const BODY_LIMIT: usize = 1024 * 1024;

type Answer = Result<Response, Response>;

pub(super) fn router(world: &Arc<World>) -> Router<Arc<World>> {
    Router::new()
        .route("/__simulator/counts", get(counts))
        .route("/__simulator/reset-counts", post(reset_counts))
        .route("/__simulator/faults", get(faults).post(force).delete(clear_faults))
        .route("/__simulator/sessions/kill", post(kill_sessions))
        .route("/__simulator/clock", get(clock).post(advance_clock))
        .route("/__simulator/assertions", get(assertions))
        .route("/__simulator/switches", get(switches).patch(patch_switches))
        .route("/__simulator/users", post(put_user))
        .route("/__simulator/apps/{client_id}", patch(change_app))
        .route("/__simulator/org", patch(change_org))
        .route_layer(middleware::from_fn_with_state(Arc::clone(world), guard))
}

async fn guard(State(world): State<Arc<World>>, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let secret = header.strip_prefix(b"Bearer ").unwrap_or_default();
    if verify_slices_are_equal(secret, world.control_secret.as_bytes()).is_err() {
        return problem(StatusCode::UNAUTHORIZED, "send the control secret as `Authorization: Bearer …`");
    }
    next.run(request).await
}

async fn counts(State(world): State<Arc<World>>) -> Response {
    shown(&world.counts())
}

async fn reset_counts(State(world): State<Arc<World>>) -> Response {
    world.with(|state| state.counts.reset());
    shown(&world.counts())
}

async fn faults(State(world): State<Arc<World>>) -> Response {
    shown(&world.with(|state| state.faults.waiting().to_vec()))
}

/// Takes one order or a list of them; answers with all that wait.
async fn force(State(world): State<Arc<World>>, request: Request) -> Answer {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Orders {
        Many(Vec<Value>),
        One(Value),
    }
    let orders = match body(request).await? {
        Orders::Many(orders) => orders,
        Orders::One(order) => vec![order],
    };
    // All are read before the first one counts.
    let orders = orders.into_iter().map(serde_json::from_value).collect::<Result<Vec<Fault>, _>>().map_err(wrong)?;
    let waiting = world.with(|state| {
        orders.into_iter().for_each(|order| state.faults.add(order));
        state.faults.waiting().to_vec()
    });
    Ok(shown(&waiting))
}

async fn clear_faults(State(world): State<Arc<World>>) -> Response {
    world.with(|state| state.faults.clear());
    shown(&json!([]))
}

async fn kill_sessions(State(world): State<Arc<World>>, request: Request) -> Answer {
    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields, default)]
    struct Which {
        username: Option<String>,
    }
    let which: Which = body(request).await?;
    let killed = world.with(|state| state.sessions.kill(which.username.as_deref()));
    Ok(shown(&json!({"killed": killed})))
}

async fn clock(State(world): State<Arc<World>>) -> Response {
    shown(&json!({"now": world.clock.now().to_string()}))
}

async fn advance_clock(State(world): State<Arc<World>>, request: Request) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Advance {
        advance_seconds: u64,
    }
    let Advance { advance_seconds } = body(request).await?;
    let ahead = world.clock.advance(Duration::from_secs(advance_seconds));
    Ok(shown(&json!({"now": world.clock.now().to_string(), "ahead_ms": ahead})))
}

async fn assertions(State(world): State<Arc<World>>) -> Response {
    shown(&world.with(|state| state.assertions.iter().cloned().collect::<Vec<_>>()))
}

async fn switches(State(world): State<Arc<World>>) -> Response {
    shown(&world.with(|state| state.switches.clone()))
}

async fn patch_switches(State(world): State<Arc<World>>, request: Request) -> Answer {
    let changes: Map<String, Value> = body(request).await?;
    let error = |error: super::SwitchError| problem(StatusCode::BAD_REQUEST, &error.to_string());
    world.patch_switches(&changes).map(|switches| shown(&switches)).map_err(error)
}

/// Adds a user, or changes the one of that name; what is not said is as for a new integration user.
async fn put_user(State(world): State<Arc<World>>, request: Request) -> Answer {
    let user: User = body(request).await?;
    world.with(|state| Arc::make_mut(&mut state.org).put_user(user));
    Ok(shown(&json!({})))
}

/// Changes what is said of the app and leaves the rest.
async fn change_app(State(world): State<Arc<World>>, Path(client_id): Path<String>, request: Request) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Changes {
        /// PEM.
        certificate: Option<String>,
        /// When the certificate is applied, as Salesforce needs minutes for it. Default: at once.
        applies_in_seconds: Option<u64>,
        installed: Option<bool>,
        external: Option<bool>,
        allowlisted: Option<bool>,
        permitted_users: Option<PermittedUsers>,
        scopes: Option<Vec<String>>,
    }
    let mut changes: Changes = body(request).await?;
    if let Some(seconds) = changes.applies_in_seconds {
        let certificate = changes.certificate.take().unwrap_or_default();
        let uploaded = world.upload_certificate(&client_id, certificate.as_bytes(), Duration::from_secs(seconds));
        uploaded.map_err(|error| problem(StatusCode::BAD_REQUEST, &error.to_string()))?;
    }
    let changed = world.with(|state| {
        let known =
            state.org.app(&client_id).ok_or_else(|| (StatusCode::NOT_FOUND, "no app has this key".to_owned()))?;
        let mut app = known.is.clone();
        app.certificate = changes.certificate.map_or(app.certificate, String::into_bytes);
        app.installed = changes.installed.unwrap_or(app.installed);
        app.external = changes.external.unwrap_or(app.external);
        app.allowlisted = changes.allowlisted.unwrap_or(app.allowlisted);
        app.permitted_users = changes.permitted_users.unwrap_or(app.permitted_users);
        app.scopes = changes.scopes.unwrap_or(app.scopes);
        let error = |error: super::RegisterError| (StatusCode::BAD_REQUEST, error.to_string());
        Arc::make_mut(&mut state.org).put_app(app).map_err(error)
    });
    changed.map(|()| shown(&json!({}))).map_err(|(status, what)| problem(status, &what))
}

async fn change_org(State(world): State<Arc<World>>, request: Request) -> Answer {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Changes {
        api_access_control: bool,
    }
    let changes: Changes = body(request).await?;
    world.with(|state| Arc::make_mut(&mut state.org).api_access_control = changes.api_access_control);
    Ok(shown(&json!({})))
}

/// The body as JSON; an empty one is an empty object.
async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Response> {
    let body = to_bytes(request.into_body(), BODY_LIMIT).await;
    let body = body.map_err(|_| problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large or was cut"))?;
    let text = if body.is_empty() { b"{}" } else { body.as_ref() };
    serde_json::from_slice(text).map_err(wrong)
}

fn wrong(error: serde_json::Error) -> Response {
    problem(StatusCode::BAD_REQUEST, &error.to_string())
}

fn problem(status: StatusCode, what: &str) -> Response {
    json_answer(status, &json!({"simulator_error": what}))
}

fn shown(value: &impl serde::Serialize) -> Response {
    match serde_json::to_value(value) {
        Ok(value) => json_answer(StatusCode::OK, &value),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}
