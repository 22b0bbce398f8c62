//! RFC 8414: what a client can find out about the callers' door by itself.

use axum::Json;
use axum::body::Body;
use axum::http::Response;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;
use url::Url;

use super::callers::CallersDoor;
use super::error::{Refusal, Shape};
use super::grant;
use super::request_id::RequestId;
use super::route::Route;
use crate::signature::Algorithm;

/// The members of RFC 8414 section 2 that apply.
#[derive(Debug, Serialize)]
struct Metadata<'a> {
    issuer: String,
    token_endpoint: String,
    grant_types_supported: Vec<&'static str>,
    /// Required by the RFC; some clients refuse an empty list, and there is no authorization endpoint.
    response_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: &'a [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    token_endpoint_auth_signing_alg_values_supported: &'a [&'static str],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: &'a [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    revocation_endpoint_auth_signing_alg_values_supported: &'a [&'static str],
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: &'a [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    introspection_endpoint_auth_signing_alg_values_supported: &'a [&'static str],
}

/// What every caller may use. Others are told only where they can be used: clients choose by this list, and would choose
/// in vain.
const BY_SECRET: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// `GET /.well-known/oauth-authorization-server`; for an issuer with a path, that path follows the well-known part
/// (RFC 8414 section 3.1). Without `public_url` there is nothing to tell.
pub(super) fn get(door: &CallersDoor, path: &str, id: &RequestId) -> Response<Body> {
    let snapshot = door.snapshots.current();
    let path = path.strip_prefix(Route::Metadata.pattern()).unwrap_or_default();
    let issuer = snapshot.issuer().filter(|issuer| {
        let own = Url::parse(issuer).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        path.is_empty() || path.trim_end_matches('/') == own
    });
    let Some(issuer) = issuer else {
        return Refusal::not_found().into_response(Shape::Problem, id);
    };
    let tokens = snapshot.directory().tokens();
    let algorithms: Vec<&str> = tokens.callers_algorithms().into_iter().map(Algorithm::as_str).collect();
    let mut methods = BY_SECRET.to_vec();
    // RFC 8705 section 2.1.
    methods.extend(snapshot.takes_certificates().then_some("tls_client_auth"));
    methods.extend((!algorithms.is_empty()).then_some("private_key_jwt"));
    let methods = methods.as_slice();
    let grants = ["client_credentials", grant::JWT_BEARER].into_iter().take(if tokens.offer_grant() { 2 } else { 1 });
    let metadata = Metadata {
        token_endpoint: format!("{issuer}/token"),
        revocation_endpoint: format!("{issuer}/revoke"),
        introspection_endpoint: format!("{issuer}/introspect"),
        issuer: issuer.to_owned(),
        grant_types_supported: grants.collect(),
        response_types_supported: ["none"],
        token_endpoint_auth_methods_supported: methods,
        token_endpoint_auth_signing_alg_values_supported: &algorithms,
        revocation_endpoint_auth_methods_supported: methods,
        revocation_endpoint_auth_signing_alg_values_supported: &algorithms,
        introspection_endpoint_auth_methods_supported: methods,
        introspection_endpoint_auth_signing_alg_values_supported: &algorithms,
    };
    // It follows the configuration, so nobody should work from an old one.
    ([(CACHE_CONTROL, "no-store")], Json(metadata)).into_response()
}
