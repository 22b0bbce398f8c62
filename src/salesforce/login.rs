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
use super::cause::{Cause, Rule};
use super::endpoint::Reply;
use super::errand::{MayPost, Terms};
use super::mint_error::MintError;
use super::reply;
use super::rotation::{Chosen, Setting};
use super::skew::Skew;
use super::{Grant, Integration, jitter};
use crate::config::hosts;
use crate::keys::SignError;
use crate::telemetry::metrics::SUCCESS;

/// A second try needs at least this much of the deadline: less would only spend a login.
const WORTH_IT: Duration = Duration::from_secs(2);
/// What went wrong in passing is given a moment to pass.
const BREATH: Duration = Duration::from_millis(300);

impl Integration {
    /// A new grant. At most three attempts, each with an assertion of its own: one, one more where the next is likely to
    /// succeed, and one with the other key where there is another.
    pub(super) async fn mint(&self, terms: Terms<'_>) -> Result<Grant, MintError> {
        let dated_by = self.skew.correction();
        let mut key = self.rotation.current();
        let mut outcome = self.attempt(&key, terms).await;
        if outcome.is_err() && !self.rotation.holds(&key) {
            // Another configuration came meanwhile, and has other keys for the same tokens.
            key = self.rotation.current();
            outcome = self.attempt(&key, terms).await;
        }
        let mut redated = false;
        if let Err(error) = &outcome
            && self.is_worth_another_try(error, dated_by, terms.deadline)
        {
            tracing::debug!(integration.name = %self.name(), cause = error.cause.code(), detail = error.detail, "one more try at once");
            if error.cause == Cause::Transient {
                tokio::time::sleep(BREATH.mul_f64(jitter())).await;
            }
            let second = self.attempt(&key, terms).await;
            // What kept the second try from being made is not why there is no token.
            if second.as_ref().err().is_none_or(|second| !second.cause.is_restraint()) {
                redated = error.cause.may_be_the_clock();
                outcome = second;
            }
        }
        if let Err(error) = &outcome
            && error.cause == Cause::BadAssertion
        {
            outcome = self.try_the_other_key(&key, error.clone(), terms).await;
        }
        if redated {
            self.learn_about_the_clock(outcome.as_ref().err());
        }
        outcome
    }

    /// After `refused` was refused with `error`: one more login with the other key, if there is one and it is its turn.
    async fn try_the_other_key(
        &self,
        refused: &Chosen,
        error: MintError,
        terms: Terms<'_>,
    ) -> Result<Grant, MintError> {
        let in_time =
            terms.deadline.saturating_duration_since(Instant::now()) >= WORTH_IT && error.retry_after.is_none();
        let other = || self.rotation.turn(refused, self.surroundings.clock.now());
        let Some(other) = in_time.then(other).flatten() else { return Err(error) };
        match self.attempt(&other, terms).await {
            Err(second) if second.cause == Cause::BadAssertion => {
                let detail = format!("{}; so it is with the other key", second.detail);
                Err(MintError::new(Cause::BadAssertion, detail).not_before(second.retry_after))
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

    /// After tries with another date: the clock was to blame if that one succeeded, and was not if it was refused
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

    /// One request to the token endpoint, if its host is not left alone, the budget has room for it and the right to log in
    /// has not gone over to somebody else meanwhile.
    pub(super) async fn attempt(&self, key: &Chosen, terms: Terms<'_>) -> Result<Grant, MintError> {
        let clock = &self.surroundings.clock;
        let started = clock.now();
        let left_alone =
            |wait| MintError::new(Cause::CircuitOpen, "the host of token_url was not asked").not_before(Some(wait));
        self.circuit.look(self.name(), started).map_err(left_alone)?;
        self.is_in_force(key)?;
        // Signed before host and budget are touched: a key that does not sign costs no login, and one that takes its time
        // keeps nobody else from finding out whether the host is back.
        let assertion = self.assertion(key, terms.deadline).await?;
        self.is_in_force(key)?;
        let pass = self.circuit.enter(self.name(), clock.now()).map_err(left_alone)?;
        let probe = self.enter_host().await.map_err(left_alone)?;
        if let Err(error) = self.spend(terms.need).await.and_then(|()| is_still_ours(terms.may_post)) {
            self.give_back(probe).await;
            return Err(error);
        }
        self.logins.fetch_add(1, Ordering::Relaxed);
        let way_out = &self.surroundings.way_out;
        let reply = way_out.post_assertion(&self.settings.token_url, &assertion, terms.deadline).await;
        let reply = reply.map(|reply| self.discreet(reply));
        let answered = reply.as_ref().is_ok_and(reply::is_oauth);
        match answered {
            true => pass.answered(),
            false => pass.failed(clock.now(), jitter()),
        }
        self.tell_of_host(answered).await;
        let granted = reply.and_then(|reply| self.read(&reply));
        self.learn_about_the_key(key, granted.as_ref().err());
        let outcome = granted.as_ref().map_or_else(|error| error.cause.code(), |_| SUCCESS);
        let ended = clock.now();
        self.surroundings.metrics.minted(self.name(), outcome, ended.since(started), ended);
        granted
    }

    fn learn_about_the_key(&self, key: &Chosen, error: Option<&MintError>) {
        let now = self.surroundings.clock.now();
        match error.map(|error| error.cause) {
            None if self.rotation.accepted(key, now) => {
                let remedy = match key.setting {
                    Setting::NextKey => {
                        "when every org has the new certificate: make next_key the client_key, and remove next_key"
                    }
                    Setting::ClientKey => "none, if the old certificate was put back; else see which one the app has",
                };
                let (setting, thumbprint) = (key.setting.as_str(), key.signer.thumbprint().as_str());
                let help = "docs/rotation.md";
                tracing::warn!(integration.name = %self.name(), key.setting = setting, key.thumbprint = thumbprint, remedy, help, "Salesforce takes the other key now");
            }
            Some(Cause::BadAssertion) => self.rotation.refused(key, now),
            _ => {}
        }
    }

    fn is_in_force(&self, key: &Chosen) -> Result<(), MintError> {
        if !self.retired.load(Ordering::Acquire) && self.rotation.holds(key) {
            return Ok(());
        }
        let error = MintError::new(Cause::Transient, "the configuration of this integration changed meanwhile");
        Err(error.not_before(Some(Duration::ZERO)))
    }

    async fn spend(&self, need: Need) -> Result<(), MintError> {
        self.count_login(need).await.map_err(|wait| {
            let cause = match need {
                Need::Ahead => Cause::LoginReserve,
                Need::Now => Cause::LoginBudget,
            };
            let per_hour = self.settings.login_budget_per_hour;
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
    async fn assertion(&self, key: &Chosen, deadline: Instant) -> Result<Zeroizing<String>, MintError> {
        let jti = Uuid::new_v4().to_string();
        let settings = &self.settings;
        let input = assertion::signing_input(&assertion::Claims {
            iss: &settings.client_id,
            sub: &settings.username,
            aud: &settings.audience_url,
            exp: assertion::Claims::exp(self.surroundings.clock.timestamp()).saturating_add(self.skew.correction()),
            jti: &jti,
        });
        let signature = self.signature(key, input.as_bytes(), deadline).await?;
        Ok(assertion::compact(&input, &signature))
    }

    /// A signature, if there is one before the deadline.
    pub(super) async fn signature(&self, key: &Chosen, text: &[u8], deadline: Instant) -> Result<Vec<u8>, MintError> {
        match tokio::time::timeout_at(deadline, Arc::clone(&key.signer).sign(text.to_vec())).await {
            Ok(Ok(signature)) => Ok(signature),
            Ok(Err(SignError::Refused(detail))) => Err(MintError::new(Cause::KeyFailed, detail)),
            Ok(Err(SignError::Unavailable(detail))) => Err(MintError::new(Cause::KeyUnavailable, detail)),
            Err(_) => Err(MintError::new(Cause::KeyUnavailable, "there was no signature in time")),
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
    pub(super) fn trusted_only(&self, member: &'static str, text: Option<String>) -> Option<String> {
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

fn is_still_ours(may_post: MayPost<'_>) -> Result<(), MintError> {
    let lost = || MintError::new(Cause::OtherReplica, "this one lost the right to log in before its request was sent");
    may_post().then_some(()).ok_or_else(lost)
}
