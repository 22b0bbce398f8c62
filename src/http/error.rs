//! Refusals as answers: the only type that becomes an error response, in the two shapes that callers understand.
//!
//! GET speaks RFC 9457 problem details, the OAuth routes RFC 6749 section 5.2. Nothing that Salesforce wrote and nothing
//! from the request is in either: some clients print whole bodies into their logs.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::request_id::RequestId;
use crate::telemetry::trace;

/// In which shape a route speaks of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `application/problem+json`.
    Problem,
    /// `{"error":…,"error_description":…}`.
    OAuth,
}

/// A refusal. The details are ASCII without `"` and `\` (RFC 6749 section 5.2), a test holds that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    detail: &'static str,
    retry_after: Option<Duration>,
    challenge: Option<Challenge>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Challenge {
    /// No bearer key came.
    Plain,
    /// One came, and was wrong.
    WrongBearer,
}

impl Refusal {
    const fn new(status: StatusCode, error: &'static str, detail: &'static str) -> Self {
        Self { status, error, detail, retry_after: None, challenge: None }
    }

    /// No proof, on a route that speaks `shape`.
    pub(super) fn no_credentials(shape: Shape) -> Self {
        let detail = "send the API key: Authorization: Bearer KEY, or HTTP Basic with the caller's name and the key";
        Self {
            challenge: Some(Challenge::Plain),
            ..Self::new(StatusCode::UNAUTHORIZED, unauthenticated(shape), detail)
        }
    }

    /// A proof that does not hold, as `Bearer` or otherwise.
    pub(super) fn wrong_credentials(shape: Shape, bearer: bool) -> Self {
        let detail =
            "the credentials are not valid here; the audit trail of the broker tells why, under this request id";
        Self {
            challenge: Some(if bearer { Challenge::WrongBearer } else { Challenge::Plain }),
            ..Self::new(StatusCode::UNAUTHORIZED, unauthenticated(shape), detail)
        }
    }

    /// Unknown and not granted, which look the same.
    pub(super) const fn access_denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", "this caller may not have a token of such an integration")
    }

    /// The same on an OAuth route, selected by `scope`.
    pub(super) const fn invalid_scope() -> Self {
        let detail = "scope must be the name of an integration that this caller may use";
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", detail)
    }

    /// The same on an OAuth route, selected otherwise.
    pub(super) const fn invalid_target() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_target", "this caller may not have a token of such an integration")
    }

    /// A request that cannot be understood.
    pub(super) const fn invalid_request(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    /// A grant that is not offered.
    pub(super) const fn unsupported_grant_type() -> Self {
        let detail = "grant_type must be client_credentials";
        Self::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", detail)
    }

    /// An assertion that is no grant, or one for what the caller may not have: the same answer.
    pub(super) const fn invalid_grant() -> Self {
        let detail = "the assertion is not valid here, or names no integration that this caller may use; \
                      the audit trail of the broker tells why, under this request id";
        Self::new(StatusCode::BAD_REQUEST, "invalid_grant", detail)
    }

    /// A body over the limit.
    pub(super) const fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "the body is larger than 16 KiB")
    }

    /// A body that did not come.
    pub(super) const fn body_timeout() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request", "the body did not arrive in time")
    }

    /// No such path.
    pub(super) const fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path; see the API description")
    }

    /// No such method on this path.
    pub(super) const fn method_not_allowed() -> Self {
        let detail = "this path does not take this method; the Allow header lists what it takes";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    }

    /// Salesforce says no for a reason that waiting cannot cure.
    pub(super) fn upstream_refused(shape: Shape) -> Self {
        let error = match shape {
            Shape::Problem => "upstream_refused",
            Shape::OAuth => "server_error",
        };
        let detail = "Salesforce refuses to issue a token; the operators of the broker see why and what to do";
        Self::new(StatusCode::BAD_GATEWAY, error, detail)
    }

    /// It may pass.
    pub(super) fn temporarily_unavailable(retry_after: Duration) -> Self {
        let detail = "no token can be had from Salesforce at the moment; try again after the time in Retry-After";
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", detail)
        }
    }

    /// The caller reports its token again and again, and it works from here.
    pub(super) fn token_unusable(shape: Shape, retry_after: Duration) -> Self {
        let error = match shape {
            Shape::Problem => "token_unusable",
            Shape::OAuth => "server_error",
        };
        let detail =
            "Salesforce accepts this token from the broker; check the host it is sent to, and ask the operators";
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::BAD_GATEWAY, error, detail) }
    }

    /// Too much of something, for now. The name is that of RFC 8628, the only one for this at a token endpoint.
    pub(super) fn slow_down(retry_after: Duration) -> Self {
        let detail = "too many requests of this kind; go on after the time in Retry-After";
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "slow_down", detail) }
    }

    /// Without a record there is no token.
    pub(super) fn no_record() -> Self {
        let detail = "the decision could not be recorded, and without a record there is no token";
        Self {
            retry_after: Some(Duration::from_secs(5)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", detail)
        }
    }

    /// Our own fault.
    pub(super) const fn internal() -> Self {
        let detail = "the broker has a fault; its log tells more under this request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", detail)
    }

    /// Its status and error code, for the tests that hold the API description against this list.
    #[cfg(test)]
    pub(super) fn told(&self) -> (u16, &'static str) {
        (self.status.as_u16(), self.error)
    }

    /// The answer.
    pub(super) fn into_response(self, shape: Shape, id: &RequestId) -> Response<Body> {
        let (body, kind) = match shape {
            Shape::Problem => (self.problem(id), "application/problem+json"),
            Shape::OAuth => (self.oauth(), "application/json"),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        // A cache may keep 404 and 405 at its own discretion (RFC 9110 section 15.1); what is refused now may be right
        // after the next reload.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            // Rounded up: a client that comes back too early would be told to wait once more.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(challenge) = self.challenge {
            // RFC 6750 section 3: an error code only where a bearer key came. RFC 6749 section 5.2: the scheme that was
            // used is among the challenges, so both are; the usual one of the route goes first.
            let bearer = match challenge {
                Challenge::Plain => r#"Bearer realm="aquila""#,
                Challenge::WrongBearer => r#"Bearer realm="aquila", error="invalid_token""#,
            };
            let challenges = match shape {
                Shape::Problem => [bearer, BASIC],
                Shape::OAuth => [BASIC, bearer],
            };
            for challenge in challenges {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        response
    }

    fn problem(&self, id: &RequestId) -> Vec<u8> {
        #[derive(Serialize)]
        struct Problem<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            error: &'a str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            trace_id: Option<String>,
        }
        let problem = Problem {
            r#type: format!("urn:aquila:problem:{}", self.error),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail,
            error: self.error,
            request_id: id.as_str(),
            trace_id: trace::current_id(),
        };
        serde_json::to_vec(&problem).unwrap_or_default()
    }

    fn oauth(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct OAuthError<'a> {
            error: &'a str,
            error_description: &'a str,
        }
        let error = OAuthError { error: self.error, error_description: self.detail };
        serde_json::to_vec(&error).unwrap_or_default()
    }
}

const BASIC: &str = r#"Basic realm="aquila", charset="UTF-8""#;

fn unauthenticated(shape: Shape) -> &'static str {
    match shape {
        Shape::Problem => "unauthenticated",
        Shape::OAuth => "invalid_client",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_hold_only_what_rfc_6749_allows() {
        let all = [
            Refusal::no_credentials(Shape::OAuth),
            Refusal::wrong_credentials(Shape::OAuth, true),
            Refusal::access_denied(),
            Refusal::invalid_scope(),
            Refusal::invalid_target(),
            Refusal::unsupported_grant_type(),
            Refusal::too_large(),
            Refusal::body_timeout(),
            Refusal::not_found(),
            Refusal::method_not_allowed(),
            Refusal::upstream_refused(Shape::OAuth),
            Refusal::temporarily_unavailable(Duration::ZERO),
            Refusal::slow_down(Duration::ZERO),
            Refusal::no_record(),
            Refusal::internal(),
        ];
        for refusal in all {
            assert!(refusal.detail.bytes().all(|b| matches!(b, 0x20..=0x7E) && b != b'"' && b != b'\\'), "{refusal:?}");
            assert!(refusal.status.is_client_error() || refusal.status.is_server_error());
        }
    }

    #[test]
    fn no_cache_may_keep_a_refusal() {
        let id = RequestId::new(jiff::Timestamp::UNIX_EPOCH);
        for shape in [Shape::Problem, Shape::OAuth] {
            for refusal in [Refusal::not_found(), Refusal::method_not_allowed(), Refusal::no_record()] {
                let response = refusal.into_response(shape, &id);
                assert_eq!(response.headers().get(CACHE_CONTROL).unwrap(), "no-store");
            }
        }
    }

    #[test]
    fn a_challenge_comes_with_every_401_and_with_nothing_else() {
        let id = RequestId::new(jiff::Timestamp::UNIX_EPOCH);
        for shape in [Shape::Problem, Shape::OAuth] {
            let unauthorized = Refusal::wrong_credentials(shape, true).into_response(shape, &id);
            assert_eq!(unauthorized.headers().get_all(WWW_AUTHENTICATE).iter().count(), 2);
            let bad = Refusal::invalid_request("x").into_response(shape, &id);
            assert!(!bad.headers().contains_key(WWW_AUTHENTICATE));
        }
        let waits = Refusal::temporarily_unavailable(Duration::from_millis(1200)).into_response(Shape::OAuth, &id);
        assert_eq!(waits.headers().get(RETRY_AFTER).unwrap(), "2");
    }
}
