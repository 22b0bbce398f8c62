//! RFC 8414: what a client can find out about the callers' door by itself.

use axum::Json;
use axum::extract::State;
use axum::http::Response;
use axum::response::IntoResponse;
use serde::Serialize;

use super::callers::CallersDoor;

/// The members of RFC 8414 section 2 that apply.
#[derive(Debug, Serialize)]
struct Metadata {
    issuer: String,
    token_endpoint: String,
    grant_types_supported: [&'static str; 1],
    /// Required by the RFC; some clients refuse an empty list, and there is no authorization endpoint.
    response_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 2],
    service_documentation: &'static str,
}

/// `GET /.well-known/oauth-authorization-server`; for an issuer with a path, that path follows the well-known part
/// (RFC 8414 section 3.1). Without `public_url` there is nothing to tell.
pub(super) async fn get(State(door): State<CallersDoor>, request: axum::extract::Request) -> Response<axum::body::Body> {
    let snapshot = door.snapshots.current();
    let context = super::callers::Context::of(request.extensions());
    let path = request.uri().path().trim_start_matches(super::route::Route::Metadata.pattern());
    let issuer = snapshot.public_url().filter(|url| {
        let own = url.path().trim_end_matches('/');
        path.is_empty() || path.trim_end_matches('/') == own
    });
    let Some(issuer) = issuer else {
        return super::error::Refusal::not_found().into_response(super::error::Shape::Problem, context.id());
    };
    let issuer = issuer.as_str().trim_end_matches('/').to_owned();
    Json(Metadata {
        token_endpoint: format!("{issuer}/token"),
        issuer,
        grant_types_supported: ["client_credentials"],
        response_types_supported: ["none"],
        token_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post"],
        service_documentation: env!("CARGO_PKG_REPOSITORY"),
    })
    .into_response()
}
