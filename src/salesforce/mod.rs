//! One integration at Salesforce: mint a token, prove that its session lives, and say for how long to vouch for it.
//!
//! The story is [`Integration::renew`]. Not here: who may have the token, how long it is kept, how many mint at once.

mod assertion;
mod cause;
mod endpoint;
mod reply;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use self::cause::{Cause, MintError, Rule};
pub use self::endpoint::{WayOut, WayOutError};
use self::reply::Session;
use crate::clock::{Clock, Moment};
use crate::config;
use crate::config::hosts::{self, Allowlist};
use crate::hash::sha256;
use crate::keys::Signer;
use crate::names::IntegrationName;
use crate::promise::{LifetimeSource, Promise};
use crate::telemetry::metrics::Metrics;
use crate::token::{AccessToken, Fingerprint};

/// What Salesforce granted. The token is wiped when the last holder lets go.
#[derive(Debug)]
pub struct Grant {
    /// The token.
    pub token: AccessToken,
    /// Where the token is good.
    pub instance_url: Url,
    /// The identity URL of the user.
    pub id: Option<String>,
    /// Milliseconds since 1970, as Salesforce sent them; it leaves them out in this flow as a rule.
    pub issued_at: Option<String>,
    /// Experience Cloud members only.
    pub site_url: Option<String>,
    /// Experience Cloud members only.
    pub site_id: Option<String>,
    expires_in: Option<u64>,
}

/// A grant with the promise that the broker makes about it.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// The grant. The same one as before when only the promise is new.
    pub grant: Arc<Grant>,
    /// How long it is vouched for.
    pub promise: Promise,
    /// When it was minted, in milliseconds since 1970.
    pub minted_at: i64,
}

/// What every integration shares: the client, the hosts it may talk to, the clock and the instruments.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// HTTP to Salesforce.
    pub way_out: WayOut,
    /// Where tokens may be good.
    pub allowlist: Arc<Allowlist>,
    /// Time.
    pub clock: Clock,
    /// Where mints are counted.
    pub metrics: Arc<Metrics>,
}

/// One integration user reached through one app in one org.
#[derive(Debug)]
pub struct Integration {
    settings: config::Integration,
    signer: Arc<dyn Signer>,
    surroundings: Surroundings,
}

/// The oldest version that has all this service asks for; every org of today serves it.
const CONFIRM_PATH: &str = "/services/data/v60.0/";

/// The longest session that Salesforce offers; what claims more is not believed.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

impl Integration {
    /// Puts an integration together.
    pub fn new(settings: config::Integration, signer: Arc<dyn Signer>, surroundings: Surroundings) -> Self {
        Self { settings, signer, surroundings }
    }

    /// Its name.
    pub fn name(&self) -> &IntegrationName {
        &self.settings.name
    }

    /// Where what happens around it is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.surroundings.metrics
    }

    /// Its settings.
    pub fn settings(&self) -> &config::Integration {
        &self.settings
    }

    /// SHA-256 over everything that shapes its tokens. Two configurations with the same digest may share a token, two
    /// with different ones never do.
    pub fn digest(&self) -> [u8; 32] {
        let settings = &self.settings;
        let timeout = settings.session_timeout.as_millis().to_string();
        let parts = [
            settings.token_url.as_str(),
            &settings.audience_url,
            &settings.username,
            &settings.client_id,
            settings.instance_url.as_deref().unwrap_or_default(),
            if settings.pin_instance_url { "pinned" } else { "" },
            if settings.confirm_session { "confirmed" } else { "" },
            &timeout,
            self.signer.thumbprint().as_str(),
        ];
        // The length first, so that no two lists of parts run together to the same bytes.
        let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
        sha256(lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), part.as_bytes()]))
    }

    /// A token with a fresh promise: the one at hand if its session proves alive, else a newly minted one.
    ///
    /// A confirm call costs no login, so it comes first while the session can still live. A definite "dead" is told to
    /// `on_dead` at once, before anything else is tried, so that nobody is handed that token any more. While a
    /// confirmed `current` is promised and nothing definite is learned, the error leaves it as it is. A mint that hands
    /// out a dead session is repeated once (the session may have ended in between), never again.
    pub async fn renew(
        &self,
        current: Option<Vouched>,
        deadline: Instant,
        on_dead: impl FnOnce() + Send,
    ) -> Result<Vouched, MintError> {
        let now = self.surroundings.clock.now();
        let mut dead = None;
        if let Some(current) = current.filter(|_| self.settings.confirm_session)
            && current.promise.may_be_confirmed(now)
        {
            match self.confirm(&current.grant, deadline).await {
                Session::Alive => return self.worth_keeping(Vouched { promise: self.confirmed(now), ..current }),
                Session::Dead => {
                    dead = Some(current.grant.token.fingerprint());
                    on_dead();
                }
                // An estimate was never confirmed: where REST calls are refused, only a mint makes a new one.
                Session::Unclear(seen) if current.promise.is_confirmed_at(now) => {
                    return Err(MintError::new(Cause::Transient, format!("the confirm call says nothing: {seen}")));
                }
                Session::Unclear(_) => {}
            }
        }
        for _ in 0..2 {
            match self.mint_and_confirm(deadline, dead).await? {
                Ok(vouched) => return self.worth_keeping(vouched),
                Err(refused) => dead = Some(refused),
            }
        }
        Err(MintError::new(Cause::FreshTokenRefused, "two mints, and no token that the org takes"))
    }

    /// A life of less than a whole second cannot be handed out, and minting again at once would not make it longer.
    fn worth_keeping(&self, vouched: Vouched) -> Result<Vouched, MintError> {
        match vouched.promise.expires_in(self.surroundings.clock.now()) {
            Some(_) => Ok(vouched),
            None => {
                let source = vouched.promise.source().as_str();
                Err(MintError::new(Cause::ShortLived, format!("no whole second is left, by {source}")))
            }
        }
    }

    /// `Err` when the minted token is dead already: refused right after its mint, or the very one that was found `dead`
    /// before, which a mint may hand back, and nothing proves that it lives again.
    async fn mint_and_confirm(
        &self,
        deadline: Instant,
        dead: Option<Fingerprint>,
    ) -> Result<Result<Vouched, Fingerprint>, MintError> {
        let before_mint = self.surroundings.clock.now();
        let minted_at = self.surroundings.clock.timestamp().as_millisecond();
        let grant = Arc::new(self.mint(deadline).await?);
        let before_confirm = self.surroundings.clock.now();
        let session = match self.settings.confirm_session {
            true => self.confirm(&grant, deadline).await,
            false => Session::Unclear("confirm_session = false".to_owned()),
        };
        let fingerprint = grant.token.fingerprint();
        let promise = match (self.fixed_life(&grant, before_mint), session) {
            (_, Session::Dead) => return Ok(Err(fingerprint)),
            (_, Session::Unclear(_)) if dead == Some(fingerprint) => return Ok(Err(fingerprint)),
            (Some(fixed), _) => fixed,
            (None, Session::Alive) => self.confirmed(before_confirm),
            (None, Session::Unclear(seen)) => {
                self.say_unconfirmed(&seen);
                Promise::half_of(self.settings.session_timeout, before_mint, LifetimeSource::Estimate, jitter())
            }
        };
        Ok(Ok(Vouched { grant, promise, minted_at }))
    }

    /// One login at Salesforce, counted.
    async fn mint(&self, deadline: Instant) -> Result<Grant, MintError> {
        let started = self.surroundings.clock.now();
        let minted = self.exchange(deadline).await;
        let outcome = minted.as_ref().map_or_else(|error| error.cause.code(), |_| "success");
        let lasted = self.surroundings.clock.now().since(started);
        self.surroundings.metrics.minted(self.name(), outcome, lasted);
        minted
    }

    async fn exchange(&self, deadline: Instant) -> Result<Grant, MintError> {
        let assertion = self.assertion().await?;
        let way_out = &self.surroundings.way_out;
        let reply = way_out.post_assertion(&self.settings.token_url, &assertion, deadline).await?;
        let mut grant = reply::read(&reply)?;
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
            exp: assertion::Claims::exp(self.surroundings.clock.timestamp()),
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
        let trusted = self.trusts(instance_url);
        if !trusted {
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
    fn trusts(&self, url: &Url) -> bool {
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

    /// Asks the org for a small resource with the token: proof that the session lives, and activity that counts.
    async fn confirm(&self, grant: &Grant, deadline: Instant) -> Session {
        let mut url = grant.instance_url.clone();
        url.set_path(CONFIRM_PATH);
        url.set_query(None);
        let session = match self.surroundings.way_out.get(url, &grant.token, deadline).await {
            Ok(reply) => reply::session(&reply),
            Err(error) => Session::Unclear(error.to_string()),
        };
        let outcome = match session {
            Session::Alive => "alive",
            Session::Dead => "dead",
            Session::Unclear(_) => "unclear",
        };
        self.surroundings.metrics.confirmed(self.name(), outcome);
        session
    }

    fn confirmed(&self, from: Moment) -> Promise {
        Promise::half_of(self.settings.session_timeout, from, LifetimeSource::Confirmed, jitter())
    }

    /// The promise of a token that tells its own life.
    fn fixed_life(&self, grant: &Grant, from: Moment) -> Option<Promise> {
        if let Some((iat, exp)) = reply::unverified_life(&grant.token) {
            // In milliseconds: with whole seconds a clock at .9 would promise most of a second too much.
            let ends = exp.saturating_mul(1000);
            let by_our_clock = ends.saturating_sub(self.surroundings.clock.timestamp().as_millisecond());
            // The shorter one: a clock of ours that runs behind must not stretch the life.
            let life = iat.map_or(by_our_clock, |iat| by_our_clock.min(ends.saturating_sub(iat.saturating_mul(1000))));
            let life = Duration::from_millis(u64::try_from(life).unwrap_or_default()).min(LONGEST_LIFE);
            return Some(Promise::fixed(life, from, LifetimeSource::JwtExp, jitter()));
        }
        let life = Duration::from_secs(grant.expires_in?).min(LONGEST_LIFE);
        Some(Promise::fixed(life, from, LifetimeSource::ExpiresIn, jitter()))
    }

    fn say_unconfirmed(&self, seen: &str) {
        if self.settings.confirm_session {
            tracing::warn!(
                integration.name = %self.name(),
                seen,
                "the new token could not be confirmed; its life is an estimate until a confirm call succeeds"
            );
        }
    }
}

/// Somewhere between 0 and 1; spreads refreshes, decides nothing else.
fn jitter() -> f64 {
    let mut byte = [0_u8; 1];
    // Without random numbers all refreshes fall on the same side of the band, which harms nobody.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte.first().copied().unwrap_or_default()) / 255.0
}
