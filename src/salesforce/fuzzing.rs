//! What must hold for whatever comes back in Salesforce's name, as properties of bytes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use serde_json::Value;

use super::endpoint::{self, Reply, WayOut};
use super::mint_error::{LONGEST_PAUSE, MintError};
use super::reply::{self, Introspection, Session};
use super::{Budgets, Circuits, Integration, Keys, Surroundings};
use crate::clock::Clock;
use crate::config::hosts::Allowlist;
use crate::keys::{Unlock, parse};
use crate::telemetry::metrics::Metrics;

/// A name and what panics for bytes that break it.
type Property = (&'static str, fn(&[u8]));

/// By the names of their folders in `fuzz/seeds`.
pub(crate) const PROPERTIES: &[Property] = &[
    ("token-reply", token_reply),
    ("confirm-reply", confirm_reply),
    ("retry-after", retry_after),
    ("handed-over", handed_over),
];

/// What a plain JSON parser reads in it. Nothing, where only members that nobody looks at are no JSON: numbers beyond all
/// bounds, bytes that are no UTF-8. They do not spoil an answer.
fn plainly(reply: &Reply) -> Option<Value> {
    serde_json::from_slice(&reply.body).ok()
}

/// The first byte chooses the status, the rest is the body.
fn reply_of(bytes: &[u8]) -> Option<Reply> {
    const STATUSES: [u16; 8] = [200, 400, 401, 403, 429, 302, 500, 503];
    let (choice, body) = bytes.split_first()?;
    let status = *STATUSES.get(usize::from(choice % 8))?;
    Some(Reply::of(status, body))
}

/// A grant comes of nothing but 200 and a member `access_token`, which no error repeats; what is passed on to callers is
/// plain text, and what is told to operators can be printed.
fn token_reply(bytes: &[u8]) {
    let Some(reply) = reply_of(bytes) else { return };
    let sent = plainly(&reply);
    let member = |name: &str| sent.as_ref()?.get(name)?.as_str();
    let oauth = reply::is_oauth(&reply);
    match reply::read(&reply) {
        Ok(grant) => {
            assert_eq!(reply.status, 200);
            assert!(oauth);
            assert!(sent.is_none() || member("access_token") == Some(grant.token.expose()));
            assert!(grant.instance_url.query().is_none() && grant.instance_url.fragment().is_none());
            for passed_on in [&grant.id, &grant.issued_at, &grant.site_url, &grant.site_id].into_iter().flatten() {
                assert!(passed_on.bytes().all(|byte| byte.is_ascii_graphic()) && passed_on.len() <= 2048);
            }
            assert!(!format!("{grant:?}").contains(grant.token.expose()) || grant.token.expose().len() < 24);
            if let Some((_, ends)) = reply::unverified_life(&grant.token) {
                assert!(grant.token.expose().starts_with("eyJ"), "{ends}");
            }
        }
        Err(MintError { detail, .. }) => {
            assert!(!detail.chars().any(char::is_control) && detail.chars().count() <= 300, "{detail:?}");
            let token = member("access_token").filter(|token| token.len() > 64 && !token.contains(char::is_whitespace));
            assert!(token.is_none_or(|token| !detail.contains(token)), "a token in an error");
        }
    }
}

/// A session is dead by 401 alone, alive by 200 alone, and an introspection that says "active" has an end.
fn confirm_reply(bytes: &[u8]) {
    let Some(reply) = reply_of(bytes) else { return };
    let sent = plainly(&reply);
    let text = match reply::session(&reply) {
        Session::Alive => {
            assert!(reply.status == 200 && sent.as_ref().is_some_and(Value::is_object));
            String::new()
        }
        Session::Dead => {
            assert_eq!(reply.status, 401);
            let code = sent.as_ref().and_then(|sent| sent.get(0)?.get("errorCode")?.as_str());
            assert!(sent.is_none() || code == Some("INVALID_SESSION_ID"));
            String::new()
        }
        Session::Unclear(text) => text,
    };
    assert!(!text.chars().any(char::is_control) && text.chars().count() <= 300);
    let active = sent.as_ref().and_then(|sent| sent.get("active")?.as_bool());
    match reply::introspection(&reply) {
        Introspection::Active { exp, iat } => {
            assert!(reply.status == 200 && active.is_none_or(|active| active));
            let number = |name: &str| sent.as_ref().and_then(|sent| sent.get(name)?.as_i64());
            assert!(sent.is_none() || (number("exp"), number("iat")) == (Some(exp), iat));
        }
        Introspection::Inactive => assert!(reply.status == 200 && active.is_none_or(|active| !active)),
        Introspection::Unclear(text) => assert!(!text.chars().any(char::is_control) && text.chars().count() <= 300),
    }
}

/// A first line `Date`, a second one `Retry-After`: the wait is a day at most, and digits mean themselves.
fn retry_after(bytes: &[u8]) {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in [DATE, RETRY_AFTER] {
        headers.extend(lines.next().and_then(|line| HeaderValue::from_bytes(line).ok()).map(|line| (name, line)));
    }
    let date = endpoint::date(&headers, DATE);
    let wait = endpoint::retry_after(&headers, date);
    assert!(wait.is_none_or(|wait| wait <= DAY));
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map_or("", str::trim);
    if let Ok(seconds) = text.parse::<u64>()
        && !text.starts_with('+')
    {
        assert_eq!(wait, Some(Duration::from_secs(seconds).min(DAY)));
    }
}

static INTEGRATION: LazyLock<Option<Integration>> = LazyLock::new(|| {
    let config = crate::config::fuzzing::with_issuer(br#"{"keys": []}"#)?;
    let surroundings = Surroundings {
        way_out: WayOut::new(&config.salesforce).ok()?,
        allowlist: Arc::new(Allowlist::new([])),
        budgets: Arc::new(Budgets::default()),
        circuits: Arc::new(Circuits::default()),
        store: None,
        clock: Clock::manual(),
        metrics: Arc::new(Metrics::new().ok()?),
    };
    // The seeds name it by its thumbprint.
    let key = parse(include_bytes!("../../fuzz/seeds/key-file/pkcs8.pem"), &Unlock::default()).ok()?.key;
    let keys = Keys { first: Arc::new(key), next: None };
    Some(Integration::new(config.integrations.into_iter().next()?, keys, surroundings))
});

/// A token or a failure that was sealed with our key, and says anything. Taken over is only what an answer of Salesforce
/// could have said here, from those who share a key; nothing lasts longer than is left; and what is written again is read as
/// the same.
fn handed_over(bytes: &[u8]) {
    const LEFT: Duration = Duration::from_secs(3600);
    let Some(integration) = INTEGRATION.as_ref() else { unreachable!("the configuration of the fixture loads") };
    let now = integration.clock().now();
    let has_our_key = || {
        let form: Option<Value> = serde_json::from_slice(bytes).ok();
        let theirs = form.as_ref().map(|form| form.get("keys").and_then(Value::as_array));
        let is_ours = |key: &Value| integration.keys().iter().any(|ours| key == ours.thumbprint.as_str());
        theirs.is_none_or(|keys| keys.is_some_and(|keys| keys.iter().any(is_ours)))
    };
    if let Some(vouched) = integration.read_token(bytes, |_| LEFT) {
        let grant = &vouched.grant;
        assert!(has_our_key() && integration.trusts(&grant.instance_url));
        assert!(grant.instance_url.query().is_none() && grant.instance_url.fragment().is_none());
        for passed_on in [&grant.id, &grant.issued_at, &grant.site_url, &grant.site_id].into_iter().flatten() {
            assert!(passed_on.bytes().all(|byte| byte.is_ascii_graphic()) && passed_on.len() <= 2048);
        }
        assert!(vouched.promise.remaining(now) <= LEFT);
        let written = integration.write_token(&vouched, 1).unwrap_or_default();
        let left = vouched.promise.remaining(now);
        let Some(again) = integration.read_token(&written, |_| left) else { unreachable!("it was read once") };
        assert_eq!(again.grant.token.expose(), grant.token.expose());
        assert_eq!((&again.grant.instance_url, &again.grant.id), (&grant.instance_url, &grant.id));
        assert_eq!(
            (again.minted_at, again.promise.terms().source),
            (vouched.minted_at, vouched.promise.terms().source)
        );
    }
    if let Some(error) = integration.read_failure(bytes, |_| LEFT) {
        assert!(has_our_key());
        let Some(streak) = error.second_hand else { unreachable!("it is another replica's") };
        assert!(!error.detail.chars().any(char::is_control) && error.detail.chars().count() <= 300, "{error:?}");
        assert!(error.pause(streak, 1.0) <= LONGEST_PAUSE);
        // More than its pause is never left of it.
        let left = error.retry_after.unwrap_or_default();
        let written = integration.write_failure(&error, streak, (left, 1)).unwrap_or_default();
        assert_eq!(integration.read_failure(&written, |_| left), Some(error));
    }
}
