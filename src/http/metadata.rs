//! RFC 8414: what a client can find out about the callers' door by itself.

use axum::Json;
use axum::extract::State;
use axum::http::Response;
use axum::response::IntoResponse;
use serde::Serialize;
use url::Url;

use super::callers::{CallersDoor, Context};
use super::error::{Refusal, Shape};
use super::route::below_metadata;

/// The members of RFC 8414 section 2 that apply.
#[derive(Debug, Serialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
    grant_types_supported: [&'static str; 1],
    /// Required by the RFC; some clients refuse an empty list, and there is no authorization endpoint.
    response_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 2],
}

/// `GET /.well-known/oauth-authorization-server`; for an issuer with a path, that path follows the well-known part
/// (RFC 8414 section 3.1). Without `public_url` there is nothing to tell.
pub(super) async fn get(
    State(door): State<CallersDoor>,
    request: axum::extract::Request,
) -> Response<axum::body::Body> {
    let snapshot = door.snapshots.current();
    let context = Context::of(request.extensions());
    let path = below_metadata(request.uri().path()).unwrap_or("/");
    let issuer = snapshot.issuer().filter(|issuer| {
        let own = Url::parse(issuer).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        path.is_empty() || path.trim_end_matches('/') == own
    });
    let Some(issuer) = issuer else {
        return Refusal::not_found().into_response(Shape::Problem, context.id());
    };
    Json(Metadata {
        token_endpoint: format!("{issuer}/token"),
        issuer: issuer.to_owned(),
        grant_types_supported: ["client_credentials"],
        response_types_supported: ["none"],
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
    })
    .into_response()
}
