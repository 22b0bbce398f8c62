//! The one place where answers become bytes.
//!
//! Token answers are lists of pairs until here, written in the form that the request wants (`format.rs`). REST errors
//! are JSON arrays, as Salesforce sends them.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::format::Format;
use super::rows::{RestRow, TokenRow};

pub(super) const JSON: &str = "application/json;charset=UTF-8";

/// An answer of the token endpoint.
pub(super) fn token_answer(status: StatusCode, pairs: &[(&str, String)], format: Format) -> Response {
    let mut response = plain(status, format.content_type(), format.written(pairs));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

pub(super) fn token_refusal(row: TokenRow, format: Format) -> Response {
    let (error, description) = row.texts();
    let pairs = [("error", error.to_owned()), ("error_description", description.to_owned())];
    token_answer(StatusCode::BAD_REQUEST, &pairs, format)
}

/// An error of the REST resources that is not one of the fixed rows, or is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RestError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl RestError {
    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }
}

impl From<RestRow> for RestError {
    fn from(row: RestRow) -> Self {
        let (status, code, message) = row.texts();
        Self { status, code, message: message.to_owned() }
    }
}

pub(super) fn rest_error(error: &RestError) -> Response {
    plain(error.status, JSON, json!([{"message": error.message, "errorCode": error.code}]).to_string())
}

/// A fixed row of the REST side; `userinfo`'s is plain text.
pub(super) fn rest_row(row: RestRow) -> Response {
    if row == RestRow::BadOauthToken {
        let (status, _, text) = row.texts();
        return plain(status, "text/plain;charset=UTF-8", text.to_owned());
    }
    rest_error(&row.into())
}

pub(super) fn json_answer(status: StatusCode, value: &Value) -> Response {
    plain(status, JSON, value.to_string())
}

pub(super) fn plain(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_status_400_with_the_two_texts_and_must_not_be_stored() {
        let response = token_refusal(TokenRow::UserHasNotApproved, Format::Json);
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["pragma"], "no-cache");
        assert_eq!(response.headers()["content-type"], "application/json;charset=UTF-8");
    }
}
