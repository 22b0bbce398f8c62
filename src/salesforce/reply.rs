//! What Salesforce answered, read with distrust: a success that is no success is a failure, and nothing half-read
//! gets further.

use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::Grant;
use super::cause::Cause;
use super::endpoint::Reply;
use super::mint_error::MintError;
use super::printable::printable;
use super::rest_error::RestError;
use crate::token::AccessToken;

/// The members that the customer's guide lists, and two that other flows add. Unknown ones are ignored.
#[derive(Deserialize)]
struct Success {
    access_token: Option<String>,
    token_type: Option<String>,
    instance_url: Option<String>,
    id: Option<String>,
    issued_at: Option<Value>,
    sfdc_site_url: Option<String>,
    sfdc_site_id: Option<String>,
    expires_in: Option<Value>,
    error: Option<String>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// A token out of an answer of the token endpoint.
pub(super) fn read(reply: &Reply) -> Result<Grant, MintError> {
    if reply.status != 200 {
        return Err(refused(reply));
    }
    let success: Success = serde_json::from_slice(&reply.body)
        .map_err(|error| malformed(&format!("status 200, not a token response (line {})", error.line())))?;
    // Taken first, so that it is wiped however this ends.
    let token = success.access_token.and_then(AccessToken::parse);
    if let Some(error) = success.error {
        let description = success.error_description.unwrap_or_default();
        return Err(MintError::new(
            Cause::of_answer(&error, &description),
            format!("status 200, {error}: {description}"),
        ));
    }
    let token = token.ok_or_else(|| malformed("status 200 without a usable access_token"))?;
    if !success.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(malformed("status 200 with a token_type other than Bearer"));
    }
    let instance_url = success.instance_url.as_deref().map(str::trim).and_then(|text| Url::parse(text).ok());
    Ok(Grant {
        token,
        instance_url: instance_url
            .map(without_trimmings)
            .ok_or_else(|| malformed("status 200 without a usable instance_url"))?,
        id: plain(success.id)?,
        issued_at: plain(success.issued_at.and_then(text))?,
        site_url: plain(success.sfdc_site_url)?,
        site_id: plain(success.sfdc_site_id)?,
        expires_in: success.expires_in.as_ref().map_or(Ok(None), seconds)?,
    })
}

/// Whether this is an answer of a token endpoint in good health, be it "no"; what stands before it when it is not (a
/// proxy, a maintenance page) says something else.
pub(super) fn is_oauth(reply: &Reply) -> bool {
    match reply.status {
        200 => read(reply).map_or_else(|error| error.cause != Cause::Malformed, |_| true),
        _ => serde_json::from_slice::<Failure>(&reply.body).is_ok(),
    }
}

fn refused(reply: &Reply) -> MintError {
    let asked = match (reply.status, reply.retry_after) {
        // Too many requests, and no word of when there may be more: not at once.
        (429, None) => Some(Duration::from_secs(1)),
        (_, asked) => asked,
    };
    refusal(reply).not_before(asked)
}

fn refusal(reply: &Reply) -> MintError {
    let status = reply.status;
    match serde_json::from_slice::<Failure>(&reply.body) {
        Ok(failure) => {
            let cause = match Cause::of_answer(&failure.error, &failure.error_description) {
                Cause::Unknown if status == 429 || status >= 500 => Cause::Transient,
                cause => cause,
            };
            MintError::new(cause, format!("status {status}, {}: {}", failure.error, failure.error_description))
        }
        Err(_) if status == 429 || status >= 500 => {
            MintError::new(Cause::Transient, format!("status {status} without an OAuth error"))
        }
        Err(_) if (300..400).contains(&status) => {
            malformed(&format!("status {status}: a redirect, which is not followed"))
        }
        Err(_) => malformed(&format!("status {status} without an OAuth error")),
    }
}

fn malformed(seen: &str) -> MintError {
    MintError::new(Cause::Malformed, seen)
}

/// An optional member as visible ASCII, trimmed; it goes on to callers and must not carry anything else.
fn plain(member: Option<String>) -> Result<Option<String>, MintError> {
    let Some(text) = member else { return Ok(None) };
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > 2048 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(malformed("status 200 with a member that is not plain text"));
    }
    Ok(Some(text.to_owned()))
}

/// Text, or a number as text.
fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A life in whole seconds: fractions are cut off, what is below zero is over. Read with care because an answer that
/// tells a life must not be vouched for any longer.
fn seconds(value: &Value) -> Result<Option<u64>, MintError> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number
        .filter(|number| number.is_finite())
        .ok_or_else(|| malformed("status 200 with an unreadable expires_in"))?;
    Ok(Some(Duration::try_from_secs_f64(number.max(0.0)).map_or(u64::MAX, |life| life.as_secs())))
}

/// Where tokens are good is an origin and perhaps a path; the rest would only travel on to callers.
fn without_trimmings(mut url: Url) -> Url {
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// What the answer to a confirm call says about the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    /// It lives.
    Alive,
    /// A definite 401: it is over.
    Dead,
    /// Refused for another reason, or no answer: this says nothing about the session.
    Unclear(String),
}

/// Reads the answer to a confirm call.
pub(super) fn session(reply: &Reply) -> Session {
    match reply.status {
        // A maintenance page can come with 200 as well; the version resource is a JSON object.
        200 if serde_json::from_slice::<serde_json::Map<String, Value>>(&reply.body).is_ok() => Session::Alive,
        401 => match RestError::of(reply) {
            Some(error) if error.ends_session(401) => Session::Dead,
            Some(error) => Session::Unclear(format!("status 401, {}", printable(&error.code))),
            None => Session::Unclear("status 401 without a REST error".to_owned()),
        },
        status => Session::Unclear(format!("status {status}")),
    }
}

/// What an introspection says about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Introspection {
    /// It is good.
    Active {
        /// Until when, in seconds since 1970 by Salesforce's clock.
        exp: i64,
        /// Since when, likewise.
        iat: Option<i64>,
    },
    /// It is not, or it is not this app's to ask about.
    Inactive,
    /// Refused, or not readable: this says nothing about the token.
    Unclear(String),
}

/// Reads the answer to an introspection (RFC 7662). Of an active token it has to tell the end, which is all that is
/// asked for here.
pub(super) fn introspection(reply: &Reply) -> Introspection {
    #[derive(Deserialize)]
    struct Told {
        active: bool,
        exp: Option<i64>,
        iat: Option<i64>,
    }
    let status = reply.status;
    if status != 200 {
        let code = serde_json::from_slice::<Failure>(&reply.body).map_or_else(|_| String::new(), |told| told.error);
        return Introspection::Unclear(printable(&format!("status {status} {code}")));
    }
    match serde_json::from_slice::<Told>(&reply.body) {
        Ok(Told { active: false, .. }) => Introspection::Inactive,
        Ok(Told { exp: Some(exp), iat, .. }) => Introspection::Active { exp, iat },
        Ok(_) => Introspection::Unclear("status 200, active without exp".to_owned()),
        Err(_) => Introspection::Unclear("status 200, no introspection response".to_owned()),
    }
}

/// `iat` and `exp` of a JWT-format token, not verified: an upper bound for how long it is kept, nothing more.
pub(super) fn unverified_life(token: &AccessToken) -> Option<(Option<i64>, i64)> {
    #[derive(Deserialize)]
    struct Life {
        iat: Option<i64>,
        exp: i64,
    }
    let text = token.expose();
    let mut parts = text.strip_prefix("eyJ").map(|_| text.split('.'))?;
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let life: Life = serde_json::from_slice(&payload).ok()?;
    Some((life.iat, life.exp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply::of(status, body.as_bytes())
    }

    const GUIDE: &str = r#"{"access_token":"00Dxx0000001gPL!AR8AQJXg5oj8","scope":"web openid api id",
        "instance_url":" https://yourInstance.salesforce.com/","id":"https://yourInstance.salesforce.com/id/00Dxx0000001gPLEAY/005xx000001SwiUAAS",
        "token_type":"Bearer","sfdc_site_url":"https://site.force.com/customers","sfdc_site_id":"0DM000","new_member":{"a":[1]}}"#;

    #[test]
    fn the_response_of_the_guide_is_read_whole() {
        let grant = read(&reply(200, GUIDE)).unwrap();
        assert_eq!(grant.token.expose(), "00Dxx0000001gPL!AR8AQJXg5oj8");
        assert_eq!(grant.instance_url.as_str(), "https://yourinstance.salesforce.com/");
        assert!(grant.id.unwrap().ends_with("/005xx000001SwiUAAS"));
        assert_eq!(grant.site_url.as_deref(), Some("https://site.force.com/customers"));
        assert_eq!(grant.site_id.as_deref(), Some("0DM000"));
        assert_eq!((grant.issued_at, grant.expires_in), (None, None));
    }

    #[test]
    fn a_told_life_is_never_read_as_longer_than_it_is() {
        let life = |told: &str| {
            let body = format!(
                r#"{{"access_token":"a","instance_url":"https://a.salesforce.com/?x=1#y","expires_in":{told}}}"#
            );
            read(&reply(200, &body)).map(|grant| grant.expires_in)
        };
        for (told, expected) in
            [("30", 30), ("30.9", 30), ("-5", 0), ("\"600\"", 600), ("\"7.5\"", 7), ("1e30", u64::MAX)]
        {
            assert_eq!(life(told).unwrap(), Some(expected), "{told}");
        }
        assert_eq!(life("null").unwrap(), None);
        for bad in ["\"soon\"", "[]", "true", "{}"] {
            assert_eq!(life(bad).unwrap_err().cause, Cause::Malformed, "{bad}");
        }
        let numbered =
            r#"{"access_token":"a","instance_url":"https://a.salesforce.com/?x=1#y","issued_at":1795292304613}"#;
        let grant = read(&reply(200, numbered)).unwrap();
        assert_eq!(grant.issued_at.as_deref(), Some("1795292304613"));
        assert_eq!(grant.instance_url.as_str(), "https://a.salesforce.com/");
    }

    #[test]
    fn a_success_that_is_none_is_a_failure() {
        let cases = [
            ("", Cause::Malformed),
            ("<html>We are down for maintenance.</html>", Cause::Malformed),
            ("[]", Cause::Malformed),
            (r#"{"token_type":"Bearer","instance_url":"https://a.salesforce.com"}"#, Cause::Malformed),
            (r#"{"access_token":"","instance_url":"https://a.salesforce.com"}"#, Cause::Malformed),
            (r#"{"access_token":"a\u0000b","instance_url":"https://a.salesforce.com"}"#, Cause::Malformed),
            (r#"{"access_token":5,"instance_url":"https://a.salesforce.com"}"#, Cause::Malformed),
            (r#"{"access_token":"a","token_type":"Bearer"}"#, Cause::Malformed),
            (r#"{"access_token":"a","token_type":"MAC","instance_url":"https://a.salesforce.com"}"#, Cause::Malformed),
            (r#"{"access_token":"a","instance_url":"https://a.salesforce.com","id":"x\r\ny"}"#, Cause::Malformed),
            (
                r#"{"access_token":"a","instance_url":"https://a.salesforce.com","error":"unknown_error"}"#,
                Cause::Transient,
            ),
        ];
        for (body, cause) in cases {
            assert_eq!(read(&reply(200, body)).unwrap_err().cause, cause, "{body}");
        }
    }

    #[test]
    fn other_statuses_are_told_apart() {
        let refusal = r#"{"error":"invalid_grant","error_description":"user hasn't approved this consumer"}"#;
        assert_eq!(read(&reply(400, refusal)).unwrap_err().cause, Cause::UserNotApproved);
        assert_eq!(read(&reply(503, "<html>")).unwrap_err().cause, Cause::Transient);
        assert_eq!(read(&reply(429, "")).unwrap_err().cause, Cause::Transient);
        assert_eq!(read(&reply(302, "")).unwrap_err().cause, Cause::Malformed);
        assert_eq!(read(&reply(404, "<html>")).unwrap_err().cause, Cause::Malformed);
        assert_eq!(read(&reply(201, GUIDE)).unwrap_err().cause, Cause::Malformed);
    }

    #[test]
    fn only_a_definite_401_is_a_dead_session() {
        let dead = r#"[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]"#;
        assert_eq!(session(&reply(401, dead)), Session::Dead);
        assert_eq!(session(&reply(200, r#"{"identity":"x"}"#)), Session::Alive);
        let others = [
            (
                401,
                r#"[{"message":"This session is not valid for use with the REST API","errorCode":"INVALID_SESSION_ID"}]"#,
            ),
            (401, r#"[{"message":"INVALID_HEADER_TYPE","errorCode":"INVALID_AUTH_HEADER"}]"#),
            (401, "<html>"),
            (403, dead),
            (200, "<html>We are down for maintenance.</html>"),
            (302, ""),
            (503, ""),
        ];
        for (status, body) in others {
            assert!(matches!(session(&reply(status, body)), Session::Unclear(_)), "{status} {body}");
        }
    }

    #[test]
    fn an_introspection_tells_a_life_an_end_or_nothing() {
        let sample = r#"{"active":true,"scope":"id api","client_id":"3MVG9","username":"elastic-log@acme.example",
            "sub":"https://login.salesforce.com/id/00Dxx/005xx","token_type":"access_token","exp":1528502109,
            "iat":1528494909,"nbf":1528494909}"#;
        assert_eq!(
            introspection(&reply(200, sample)),
            Introspection::Active { exp: 1_528_502_109, iat: Some(1_528_494_909) }
        );
        assert_eq!(
            introspection(&reply(200, r#"{"active":true,"exp":5}"#)),
            Introspection::Active { exp: 5, iat: None }
        );
        assert_eq!(introspection(&reply(200, r#"{"active":false}"#)), Introspection::Inactive);
        assert_eq!(introspection(&reply(200, r#"{"active":false,"exp":5}"#)), Introspection::Inactive);
        let others = [
            (401, r#"{"error":"invalid_client"}"#),
            (401, r#"{"active":false}"#),
            (200, r#"{"active":true}"#),
            (200, r#"{"active":"true","exp":5}"#),
            (200, r#"{"active":true,"exp":"soon"}"#),
            (200, r#"{"exp":5}"#),
            (200, "<html>We are down for maintenance.</html>"),
            (302, ""),
            (503, sample),
        ];
        for (status, body) in others {
            assert!(matches!(introspection(&reply(status, body)), Introspection::Unclear(_)), "{status} {body}");
        }
    }

    #[test]
    fn the_life_of_a_jwt_format_token_is_read() {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(r#"{"iat":100,"exp":400}"#);
        let token = |text: String| AccessToken::parse(text).unwrap();
        assert_eq!(unverified_life(&token(format!("eyJhbGciOiJSUzI1NiJ9.{payload}.c2ln"))), Some((Some(100), 400)));
        assert_eq!(unverified_life(&token("00Dxx0000001gPL!AR8AQJXg5oj8".to_owned())), None);
        assert_eq!(unverified_life(&token("eyJ.not-json.x".to_owned())), None);
        assert_eq!(unverified_life(&token(format!("eyJ.{payload}"))), None);
    }
}
