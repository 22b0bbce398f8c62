//! The recorded error answers of Salesforce, word for word: clients match on these texts.
//!
//! Each row has a name of its own, by which the checks refuse and a forced fault picks it. How a row becomes bytes is
//! `render.rs`'s job.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// An error answer of the token endpoint (and of `introspect` and `revoke`). All come with status 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each row is told by its two texts below")]
pub enum TokenRow {
    AppNotFound,
    AudienceIsInvalid,
    AudienceValidationFailed,
    AuthenticationFailure,
    ClientIdentifierInvalid,
    ExpiredAuthorizationCode,
    HttpsRequired,
    InactiveOrg,
    InactiveUser,
    InvalidAssertion,
    InvalidClientCredentials,
    InvalidScope,
    InvalidToken,
    IpRestricted,
    IpRestrictedOrLoginHours,
    LoginRateExceeded,
    MissingAssertion,
    MissingGrantType,
    MissingToken,
    MustUsePost,
    NotAdminApproved,
    RateLimitExceeded,
    RepeatedParameter,
    ScopeParameterNotSupported,
    ServerError,
    UnknownError,
    UnsupportedGrantType,
    UserHasNotApproved,
    UserIsInactive,
    UserIsLocked,
}

impl TokenRow {
    /// `error` and `error_description`.
    pub fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::AppNotFound => ("app_not_found", "External client app is not installed in this org"),
            Self::AudienceIsInvalid => ("invalid_grant", "audience is invalid"),
            Self::AudienceValidationFailed => ("invalid_grant", "Audience validation failed"),
            Self::AuthenticationFailure => ("invalid_grant", "authentication failure"),
            Self::ClientIdentifierInvalid => ("invalid_client_id", "client identifier invalid"),
            Self::ExpiredAuthorizationCode => ("invalid_grant", "expired authorization code"),
            Self::HttpsRequired => ("invalid_request", "HTTPS required"),
            Self::InactiveOrg => ("inactive_org", "Org is locked, closed, or suspended"),
            Self::InactiveUser => ("invalid_grant", "inactive user"),
            Self::InvalidAssertion => ("invalid_grant", "invalid assertion"),
            Self::InvalidClientCredentials => ("invalid_client", "invalid client credentials"),
            Self::InvalidScope => ("invalid_scope", "the app has no usable scope"),
            Self::InvalidToken => ("invalid_token", "invalid token"),
            Self::IpRestricted => ("invalid_grant", "ip restricted"),
            Self::IpRestrictedOrLoginHours => ("invalid_grant", "ip restricted or invalid login hours"),
            Self::LoginRateExceeded => ("invalid_grant", "login rate exceeded"),
            Self::MissingAssertion => ("invalid_request", "missing required parameter: assertion"),
            Self::MissingGrantType => ("invalid_request", "missing required parameter: grant_type"),
            Self::MissingToken => ("invalid_request", "missing required parameter: token"),
            Self::MustUsePost => ("invalid_request", "Must use HTTP POST"),
            Self::NotAdminApproved => ("invalid_app_access", "user is not admin approved to access this app"),
            Self::RateLimitExceeded => ("rate_limit_exceeded", "Number of logins exceeded"),
            Self::RepeatedParameter => ("invalid_request", "repeated parameter"),
            Self::ScopeParameterNotSupported => ("invalid_request", "scope parameter not supported"),
            Self::ServerError => ("server_error", "server error"),
            Self::UnknownError => ("unknown_error", "retry your request"),
            Self::UnsupportedGrantType => ("unsupported_grant_type", "grant type not supported"),
            Self::UserHasNotApproved => ("invalid_grant", "user hasn't approved this consumer"),
            Self::UserIsInactive => ("inactive_user", "User is inactive"),
            Self::UserIsLocked => ("invalid_grant", "user is locked"),
        }
    }
}

/// An error answer of the REST resources, and the one of `userinfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "each row is told by its texts below")]
pub enum RestRow {
    ApiDisabledForOrg,
    BadOauthToken,
    InsufficientAccess,
    InvalidAuthHeader,
    InvalidJwtFormat,
    InvalidSessionId,
    NotFound,
    QueryTimeout,
    RequestLimitExceeded,
    ServerUnavailable,
    SessionNotValidForRest,
    UnknownException,
}

impl RestRow {
    /// Status, `errorCode` and `message`.
    pub fn texts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::ApiDisabledForOrg => {
                (S::FORBIDDEN, "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.")
            }
            Self::BadOauthToken => (S::FORBIDDEN, "Bad_OAuth_Token", "Bad_OAuth_Token"),
            Self::InsufficientAccess => {
                (S::FORBIDDEN, "INSUFFICIENT_ACCESS", "insufficient access rights on object id")
            }
            Self::InvalidAuthHeader => (S::UNAUTHORIZED, "INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"),
            Self::InvalidJwtFormat => (S::UNAUTHORIZED, "INVALID_JWT_FORMAT", "Invalid JWT format"),
            Self::InvalidSessionId => (S::UNAUTHORIZED, "INVALID_SESSION_ID", "Session expired or invalid"),
            Self::NotFound => (S::NOT_FOUND, "NOT_FOUND", "The requested resource does not exist"),
            Self::QueryTimeout => {
                (S::INTERNAL_SERVER_ERROR, "QUERY_TIMEOUT", "Your query request was running for too long.")
            }
            Self::RequestLimitExceeded => (S::FORBIDDEN, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
            Self::ServerUnavailable => (S::SERVICE_UNAVAILABLE, "SERVER_UNAVAILABLE", "Server is unavailable"),
            Self::SessionNotValidForRest => {
                (S::UNAUTHORIZED, "INVALID_SESSION_ID", "This session is not valid for use with the REST API")
            }
            Self::UnknownException => (S::INTERNAL_SERVER_ERROR, "UNKNOWN_EXCEPTION", "An unexpected error occurred"),
        }
    }
}

/// The name of a row, as the control routes and the counts use it.
pub(super) fn name_of(row: impl Serialize) -> String {
    match serde_json::to_value(row) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
