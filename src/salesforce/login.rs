//! One login at Salesforce: an assertion, signed and traded for a grant. Counted, budgeted, and tried a second time only
//! where that is likely to help.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::assertion;
use super::budget::Need;
use super::cause::{Cause, MintError, Rule};
use super::endpoint::Reply;
use super::reply;
use super::skew::Skew;
use super::{Grant, Integration, jitter};
use crate::config::hosts;

/// A second try needs at least this much of the deadline: less would only spend a login.
const WORTH_IT: Duration = Duration::from_secs(2);
/// What went wrong in passing is given a moment to pass.
const BREATH: Duration = Duration::from_millis(300);

impl Integration {
    /// A new grant. At most two attempts, each with an assertion of its own.
    pub(super) async fn mint(&self, need: Need, deadline: Instant) -> Result<Grant, MintError> {
        let dated_by = self.skew.correction();
        match self.attempt(need, deadline).await {
            Err(error) if self.is_worth_another_try(&error, dated_by, deadline) => {
                tracing::debug!(integration.name = %self.name(), cause = error.cause.code(), detail = error.detail, "one more try at once");
                if error.cause == Cause::Transient {
                    tokio::time::sleep(BREATH.mul_f64(jitter())).await;
                }
                let second = self.attempt(need, deadline).await;
                if error.cause.may_be_the_clock() {
                    self.learn_about_the_clock(second.as_ref().err());
                }
                // What kept the second try from being made is not why there is no token.
                second.map_err(|second| if second.cause.is_restraint() { error } else { second })
            }
            outcome => outcome,
        }
    }

    /// Whether the next request is likely to succeed where this one failed, its assertion dated with the correction
    /// `dated_by`.
    fn is_worth_another_try(&self, error: &MintError, dated_by: i64, deadline: Instant) -> bool {
        let in_time = deadline.saturating_duration_since(Instant::now()) >= WORTH_IT;
        if !in_time || error.retry_after.is_some() {
            return false;
        }
        match error.cause {
            // Dated by a clock that is wrong, or corrected for one that was set right meanwhile, as the answer shows: by
            // Salesforce's own it may be right.
            cause if cause.may_be_the_clock() => {
                self.skew.correct(self.skew.notable().is_some());
                Skew::is_notable(self.skew.correction().saturating_sub(dated_by))
            }
            cause => cause.rule() == Rule::RetryNow,
        }
    }

    /// After a second try with another date: the clock was to blame if that one succeeded, and was not if it was refused
    /// for the same reason.
    fn learn_about_the_clock(&self, error: Option<&MintError>) {
        match error.map(|error| error.cause) {
            None if self.skew.correction() != 0 => {
                let remedy = Cause::ExpiredAssertion.remedy();
                let (skew, help) = (self.skew.correction(), Cause::ExpiredAssertion.help());
                tracing::warn!(integration.name = %self.name(), clock.skew_seconds = skew, remedy, help, "this machine's clock is wrong; assertions are dated by Salesforce's");
            }
            Some(cause) if cause.may_be_the_clock() => {
                self.skew.correct(false);
            }
            _ => {}
        }
    }

    /// One request to the token endpoint, if its host is not left alone and the budget has room for it.
    pub(super) async fn attempt(&self, need: Need, deadline: Instant) -> Result<Grant, MintError> {
        let clock = &self.surroundings.clock;
        let started = clock.now();
        let pass = self.circuit.enter(self.name(), started).map_err(|wait| {
            MintError::new(Cause::CircuitOpen, "the host of token_url was not asked").not_before(Some(wait))
        })?;
        if self.retired.load(Ordering::Acquire) {
            let error = MintError::new(Cause::Transient, "the configuration of this integration changed meanwhile");
            return Err(error.not_before(Some(Duration::ZERO)));
        }
        // Signed before the budget is touched: a key that does not sign costs no login.
        let assertion = self.assertion().await?;
        self.spend(need)?;
        self.logins.fetch_add(1, Ordering::Relaxed);
        let way_out = &self.surroundings.way_out;
        let reply = way_out.post_assertion(&self.settings.token_url, &assertion, deadline).await;
        match &reply {
            Ok(reply) if reply::is_oauth(reply) => pass.answered(),
            _ => pass.failed(clock.now(), jitter()),
        }
        let granted = reply.and_then(|reply| self.read(&reply));
        let outcome = granted.as_ref().map_or_else(|error| error.cause.code(), |_| "success");
        self.surroundings.metrics.minted(self.name(), outcome, clock.now().since(started));
        granted
    }

    fn spend(&self, need: Need) -> Result<(), MintError> {
        let per_hour = self.settings.login_budget_per_hour;
        self.budget.take(per_hour, need, self.surroundings.clock.now()).map_err(|wait| {
            let cause = match need {
                Need::Ahead => Cause::LoginReserve,
                Need::Now => Cause::LoginBudget,
            };
            MintError::new(cause, format!("login_budget_per_hour = {per_hour}")).not_before(Some(wait))
        })
    }

    fn read(&self, reply: &Reply) -> Result<Grant, MintError> {
        self.skew.measure(reply.date, self.surroundings.clock.timestamp());
        let mut grant = reply::read(reply)?;
        self.check_instance(&grant.instance_url)?;
        // Clients follow these too, some with the token in the query.
        grant.id = self.trusted_only("id", grant.id);
        grant.site_url = self.trusted_only("sfdc_site_url", grant.site_url);
        Ok(grant)
    }

    /// A new assertion with a `jti` of its own: Salesforce refuses one that it has seen, so none is ever sent twice.
    async fn assertion(&self) -> Result<Zeroizing<String>, MintError> {
        let jti = Uuid::new_v4().to_string();
        let settings = &self.settings;
        let input = assertion::signing_input(&assertion::Claims {
            iss: &settings.client_id,
            sub: &settings.username,
            aud: &settings.audience_url,
            exp: assertion::Claims::exp(self.surroundings.clock.timestamp()).saturating_add(self.skew.correction()),
            jti: &jti,
        });
        let signer = Arc::clone(&self.signer);
        // Up to 2 ms of arithmetic, or an HSM that takes its time: not on the threads that serve.
        let signed = tokio::task::spawn_blocking(move || (signer.sign(input.as_bytes()), input)).await;
        match signed {
            Ok((Ok(signature), input)) => Ok(assertion::compact(&input, &signature)),
            Ok((Err(error), _)) => Err(MintError::new(Cause::KeyFailed, error.to_string())),
            Err(_) => Err(MintError::new(Cause::KeyFailed, "signing was broken off")),
        }
    }

    /// The token goes to this host, from here and from callers, so it is checked as the token endpoint is.
    fn check_instance(&self, instance_url: &Url) -> Result<(), MintError> {
        let host = instance_url.host_str().unwrap_or_default();
        if !self.trusts(instance_url) {
            return Err(MintError::new(Cause::UntrustedInstance, format!("instance_url names {host}")));
        }
        let expected = self.settings.instance_url.as_deref().and_then(|text| Url::parse(text).ok());
        match expected {
            Some(expected) if expected.origin() != instance_url.origin() && self.settings.pin_instance_url => {
                Err(MintError::new(Cause::InstanceMismatch, format!("instance_url names {host}")))
            }
            Some(expected) if expected.origin() != instance_url.origin() => {
                tracing::warn!(
                    integration.name = %self.name(),
                    instance.expected = expected.host_str(),
                    instance.actual = host,
                    "the token is for another instance than instance_url says; it is passed on, because pin_instance_url is off"
                );
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Loopback only answers for loopback: an org on the internet must not send callers to their own machine.
    pub fn trusts(&self, url: &Url) -> bool {
        let allowlist = &self.surroundings.allowlist;
        match hosts::is_loopback(&self.settings.token_url) {
            true => allowlist.permits_or_loopback(url),
            false => allowlist.permits(url),
        }
    }

    /// An optional URL of the answer, unless it leads to a host that is not on the allowlist.
    fn trusted_only(&self, member: &'static str, text: Option<String>) -> Option<String> {
        let url = Url::parse(text.as_deref()?).ok();
        if url.as_ref().is_some_and(|url| self.trusts(url)) {
            return text;
        }
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        let remedy = "if the host is yours, add it to salesforce.allowed_hosts";
        tracing::warn!(integration.name = %self.name(), member, host, remedy, "a URL in the token response is left out");
        None
    }
}
