//! What the operator reads of an integration: one line per change of state, not per try. During an outage the first
//! failure is told, then the cure.

use crate::cache::Kept;
use crate::holding::Granted;
use crate::names::CallerName;
use crate::salesforce::{Cause, Integration, MintError, Purpose, Rule, Vouched};
use crate::telemetry::trace;

/// The session of the token at hand is over.
pub(super) fn dead(integration: &Integration, kept: &Kept<Granted>) {
    let (name, token) = (integration.name(), kept.value.grant.token.fingerprint());
    tracing::info!(integration.name = %name, token.fingerprint = %token, "the session is over at Salesforce; the token is dropped");
}

/// Another replica brought a token.
pub(super) fn taken_over(
    integration: &Integration,
    before: Option<&Kept<Granted>>,
    vouched: &Vouched,
    told: &mut Option<Cause>,
) {
    let (name, token) = (integration.name(), vouched.grant.token.fingerprint());
    let same = before.is_some_and(|kept| kept.value.grant.token.fingerprint() == token);
    match told.take() {
        Some(_) => {
            tracing::info!(integration.name = %name, token.fingerprint = %token, "tokens again, after a failure: another replica brought one");
        }
        None if same => {
            tracing::debug!(integration.name = %name, token.fingerprint = %token, "the token is good for longer: another replica saw to it");
        }
        None => {
            tracing::info!(integration.name = %name, token.fingerprint = %token, "a new token, brought by another replica");
        }
    }
}

/// Experience cut the time for which sessions are trusted.
pub(super) fn trust_cut(integration: &Integration, seconds: u64) {
    let remedy = "compare session_timeout with Setup > Session Settings, and see in Setup > Login History who logs this user out";
    let help = "docs/troubleshooting.md#a-session-that-dies-early";
    tracing::warn!(integration.name = %integration.name(), promise_seconds = seconds, remedy, help, "a session died while it was still promised; for now tokens are promised for less");
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

/// What came of a renewal. `told` is the failure that was told last, until it is over.
pub(super) fn renewed(
    integration: &Integration,
    before: Option<&Kept<Granted>>,
    renewed: Result<&Vouched, &MintError>,
    told: &mut Option<Cause>,
) {
    match renewed {
        Err(error) => failed(integration, error, told),
        Ok(vouched) => {
            let (name, token) = (integration.name(), vouched.grant.token.fingerprint());
            let source = vouched.promise.source().as_str();
            let before = before.filter(|kept| kept.value.grant.token.fingerprint() == token);
            let minted_again = before.is_some_and(|kept| kept.value.minted_at != vouched.minted_at);
            match (told.take(), before) {
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

/// The same for the span of the flight.
pub(super) fn traced(integration: &Integration, purpose: Purpose, renewed: Result<&Option<Vouched>, &MintError>) {
    let flight = trace::current();
    flight.set("aquila.integration", integration.name().as_str());
    flight.set("aquila.purpose", purpose.as_str());
    if let Err(error) = renewed {
        flight.fail(error.cause.code());
    }
}

fn failed(integration: &Integration, error: &MintError, told: &mut Option<Cause>) {
    let (name, cause) = (integration.name(), error.cause);
    let (code, detail, remedy, help) = (cause.code(), &error.detail, cause.remedy(), cause.help());
    if !is_news(told, cause) {
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

/// Whether a failure is a change of state, which it is noted as. That the host is left alone is none after the failures
/// that led there: an outage would be told anew with each look at the host.
fn is_news(told: &mut Option<Cause>, cause: Cause) -> bool {
    if *told == Some(cause) || (cause == Cause::CircuitOpen && told.is_some()) {
        return false;
    }
    *told = Some(cause);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_although_its_host_is_left_alone_now_and_then() {
        let seen = |causes: &[Cause]| {
            let mut told = None;
            causes.iter().copied().filter(|cause| is_news(&mut told, *cause)).collect::<Vec<_>>()
        };
        use Cause::{CircuitOpen, Connect, Timeout};
        assert_eq!(seen(&[Connect, Connect, CircuitOpen, Connect, CircuitOpen, Connect]), [Connect]);
        assert_eq!(seen(&[Connect, CircuitOpen, Timeout, CircuitOpen, Timeout]), [Connect, Timeout]);
        // Others failed at that host before: what is wrong is told as soon as it is known here.
        assert_eq!(seen(&[CircuitOpen, CircuitOpen, Connect, CircuitOpen]), [CircuitOpen, Connect]);
    }
}
