//! What the operator reads of an integration: one line per change of state, not per try. During an outage the first
//! failure is told, then the cure.

use crate::cache::Kept;
use crate::holding::Granted;
use crate::names::CallerName;
use crate::salesforce::{Cause, Integration, MintError, Rule, Vouched};

/// The session of the token at hand is over.
pub(super) fn dead(integration: &Integration, kept: &Kept<Granted>) {
    let (name, token) = (integration.name(), kept.value.grant.token.fingerprint());
    tracing::info!(integration.name = %name, token.fingerprint = %token, "the session is over at Salesforce; the token is dropped");
}

/// Experience cut the time for which sessions are trusted.
pub(super) fn trust_cut(integration: &Integration, seconds: u64) {
    let remedy = "compare session_timeout with Setup > Session Settings, and see in Setup > Login History who logs this user out";
    tracing::warn!(integration.name = %integration.name(), promise_seconds = seconds, remedy, "a session died while it was still promised; for now tokens are promised for less");
}

/// One caller reports a token again and again that works from here.
pub(super) fn barred(integration: &Integration, caller: &CallerName) {
    let remedy = "from the broker the token is alive: for that caller look for IP locking (Setup > Session Settings), for a \
                  wrong host (it has to call the instance_url that comes with the token), and for an API access policy";
    tracing::warn!(
        integration.name = %integration.name(),
        caller.name = %caller,
        remedy,
        help = "docs/troubleshooting.md#token_unusable",
        "alive from the broker, refused for this caller: it gets token_unusable for a while"
    );
}

/// What came of a renewal.
pub(super) fn renewed(
    integration: &Integration,
    before: Option<&Kept<Granted>>,
    renewed: Result<&Vouched, &MintError>,
    failed_before: Option<Cause>,
) {
    match renewed {
        Err(error) => failed(integration, error, failed_before),
        Ok(vouched) => {
            let (name, token) = (integration.name(), vouched.grant.token.fingerprint());
            let source = vouched.promise.source().as_str();
            let before = before.filter(|kept| kept.value.grant.token.fingerprint() == token);
            let minted_again = before.is_some_and(|kept| kept.value.minted_at != vouched.minted_at);
            match (failed_before, before) {
                (Some(_), _) => {
                    tracing::info!(integration.name = %name, token.fingerprint = %token, lifetime_source = source, "tokens again, after a failure");
                }
                (None, Some(_)) if minted_again => {
                    tracing::info!(integration.name = %name, token.fingerprint = %token, lifetime_source = source, "a mint, and Salesforce handed out the same running session again");
                }
                (None, Some(_)) => {
                    tracing::debug!(integration.name = %name, token.fingerprint = %token, lifetime_source = source, "the token is good for longer");
                }
                (None, None) => {
                    tracing::info!(integration.name = %name, token.fingerprint = %token, lifetime_source = source, "a new token");
                }
            }
        }
    }
}

fn failed(integration: &Integration, error: &MintError, failed_before: Option<Cause>) {
    let (name, cause) = (integration.name(), error.cause);
    let (code, detail, remedy, help) = (cause.code(), &error.detail, cause.remedy(), cause.help());
    if failed_before == Some(cause) {
        tracing::debug!(integration.name = %name, cause = code, detail, "still no new token");
        return;
    }
    match cause.rule() {
        Rule::WaitForChange => {
            tracing::error!(integration.name = %name, cause = code, detail, remedy, help, "no new token: {}", cause.sentence());
        }
        Rule::RetryLater | Rule::RetryNow => {
            tracing::warn!(integration.name = %name, cause = code, detail, remedy, help, "no new token: {}", cause.sentence());
        }
    }
}
