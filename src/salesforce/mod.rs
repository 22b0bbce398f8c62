//! One integration at Salesforce: mint a token, prove that its session lives, and say for how long to vouch for it.
//!
//! The story is [`Integration::renew`]. Not here: who may have the token, how long it is kept, how many mint at once.

mod assertion;
mod budget;
mod cause;
mod circuit;
mod endpoint;
mod errand;
mod fleet;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handover;
mod inquiry;
mod life;
mod login;
mod mint_error;
mod no_answer;
mod printable;
mod reply;
mod rest_error;
mod rotation;
mod skew;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use self::budget::Need;
pub use self::budget::{Budget, Budgets};
pub use self::cause::{Cause, Rule};
pub use self::circuit::{Circuit, Circuits};
pub use self::endpoint::{Reply, WayOut, WayOutError};
pub use self::errand::{Errand, MayPost, Purpose};
use self::fleet::Fleet;
pub use self::mint_error::MintError;
pub use self::printable::printable;
pub use self::reply::Introspection;
use self::reply::Session;
pub use self::rest_error::RestError;
use self::rotation::Rotation;
pub use self::rotation::{KeyTold, Keys, Setting};
use self::skew::Skew;
use crate::clock::{Clock, Moment};
use crate::config;
use crate::config::hosts::Allowlist;
use crate::hash::sha256;
use crate::names::IntegrationName;
use crate::promise::Promise;
use crate::store::Store;
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

/// What every integration shares.
///
/// Budgets and circuits outlive a change of the configuration: Salesforce does not forget by one either.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// HTTP to Salesforce.
    pub way_out: WayOut,
    /// Where tokens may be good.
    pub allowlist: Arc<Allowlist>,
    /// Logins of the last hour.
    pub budgets: Arc<Budgets>,
    /// The health of token hosts.
    pub circuits: Arc<Circuits>,
    /// What replicas share, if they do.
    pub store: Option<Arc<Store>>,
    /// Time.
    pub clock: Clock,
    /// Where mints are counted.
    pub metrics: Arc<Metrics>,
}

/// One integration user reached through one app in one org.
#[derive(Debug)]
pub struct Integration {
    settings: config::Integration,
    rotation: Rotation,
    budget: Arc<Budget>,
    circuit: Arc<Circuit>,
    /// The same over all replicas, if they share a store.
    fleet: Option<Fleet>,
    skew: Skew,
    /// Set when a new configuration has another integration of this name, or none.
    retired: AtomicBool,
    /// Requests to the token endpoint so far, for whoever has to tell what an inquiry cost.
    logins: AtomicU32,
    surroundings: Surroundings,
}

/// The oldest version that has all this service asks for; every org of today serves it.
pub const CONFIRM_PATH: &str = "/services/data/v60.0/";

impl Integration {
    /// Puts an integration together.
    pub fn new(settings: config::Integration, keys: Keys, surroundings: Surroundings) -> Self {
        let budget = surroundings.budgets.of(&settings.username, &settings.token_url);
        let circuit = surroundings.circuits.of(&settings.token_url);
        let (rotation, skew, logins) = (Rotation::new(keys), Skew::default(), AtomicU32::new(0));
        let retired = AtomicBool::new(false);
        let store = surroundings.store.as_ref();
        let fleet = store.map(|store| Fleet::new(store, &settings.username, &settings.token_url));
        Self { settings, rotation, budget, circuit, fleet, skew, retired, logins, surroundings }
    }

    /// It is no longer part of the configuration: its key signs nothing from now on.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Whether it may go on with the tokens of `previous`: what shapes a token is the same, and a key is. Two keys of one
    /// integration are keys of one app, so a token that one of them made is as good by the other; a key that nothing
    /// joins to the one before may be anybody's.
    pub fn continues(&self, previous: &Self) -> bool {
        self.digest() == previous.digest() && self.rotation.overlaps(&previous.rotation)
    }

    /// Goes on with what `previous` knows of its keys.
    pub fn learn_from(&mut self, previous: &Self) {
        self.rotation.learn_from(&previous.rotation);
    }

    /// `next`, which goes on with its tokens, is in force: flights that are under way here sign with its keys from now
    /// on. Says whether these are others.
    pub fn hand_over(&self, next: &Self) -> bool {
        self.rotation.hand_over(&next.rotation)
    }

    /// Whether the next login begins with the next key; nothing without one.
    pub fn is_next_key_in_use(&self) -> Option<bool> {
        let next = self.rotation.told().into_iter().find(|key| key.setting == Setting::NextKey)?;
        Some(next.in_use)
    }

    /// What is known of its keys.
    pub fn keys(&self) -> Vec<KeyTold> {
        self.rotation.told()
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

    /// What replicas share, if they do.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.surroundings.store.as_ref()
    }

    /// The time by which it goes.
    pub fn clock(&self) -> &Clock {
        &self.surroundings.clock
    }

    /// Logins that are left of this hour's budget: over all replicas, as far as is known here.
    pub fn logins_left(&self) -> u32 {
        self.budget.remaining(self.settings.login_budget_per_hour, self.surroundings.clock.now())
    }

    /// Whether its token host failed so often that it is left alone, here or by all replicas together.
    pub fn is_circuit_open(&self) -> bool {
        self.circuit.is_open(self.surroundings.clock.now())
    }

    /// Forgets the failures of its token host and of its keys.
    pub fn forgive(&self) {
        self.circuit.forgive();
        self.rotation.forgive();
    }

    /// By how many seconds Salesforce's clock is ahead of this machine's, as of the last answer.
    pub fn clock_skew(&self) -> Option<i64> {
        self.skew.measured()
    }

    /// SHA-256 over everything that shapes its tokens: two configurations with different ones never share a token. A key
    /// shapes none: Salesforce hands out the session of this user and this app, whichever of the app's keys signed.
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
        ];
        // The length first, so that no two lists of parts run together to the same bytes.
        let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
        sha256(lengths.iter().zip(parts).flat_map(|(length, part)| [length.as_slice(), part.as_bytes()]))
    }

    /// A token with a fresh promise: the one at hand if its session proves alive, else a newly minted one.
    ///
    /// A confirm call costs no login, so it comes first while the session can still live. A definite "dead" is told to
    /// `on_dead` at once, and waited for before anything else is tried, so that nobody is handed that token any more; it
    /// says for how long sessions are trusted from then on. While a proved `current` is promised and nothing definite is learned, the
    /// error leaves it as it is. `None`: it was only to be verified, and there is nothing new to keep. A mint that hands
    /// out a dead session is repeated once (the session may have ended in between), never again.
    pub async fn renew<D>(
        &self,
        current: Option<Vouched>,
        mut errand: Errand<'_>,
        on_dead: impl FnOnce() -> D + Send,
    ) -> Result<Option<Vouched>, MintError>
    where
        D: Future<Output = Duration> + Send,
    {
        let now = self.surroundings.clock.now();
        let (mut dead, mut need) = (None, errand.need());
        if let Some(current) = current.filter(|current| self.is_to_be_confirmed(current, &errand)) {
            match self.confirm(&current.grant, errand.deadline).await {
                Session::Alive => return self.prolonged(current, now, &errand).map(Some),
                Session::Dead => {
                    (dead, need) = (Some(current.grant.token.fingerprint()), Need::Now);
                    errand.trust = on_dead().await;
                    if errand.purpose == (Purpose::Verify { may_mint: false }) {
                        return Ok(None);
                    }
                }
                Session::Unclear(_) if errand.verifies() => return Ok(None),
                // An estimate was never proved: where REST calls are refused, only a mint makes a new one. And the call may
                // have taken longer than the promise had left.
                Session::Unclear(seen) if current.promise.is_proved_at(self.surroundings.clock.now()) => {
                    return Err(MintError::new(Cause::Transient, format!("the confirm call says nothing: {seen}")));
                }
                // It ended meanwhile: whoever asks now waits for the mint.
                Session::Unclear(_) if current.promise.expires_in(self.surroundings.clock.now()).is_none() => {
                    need = Need::Now;
                }
                Session::Unclear(_) => {}
            }
        }
        for _ in 0..2 {
            match self.mint_and_confirm(need, &errand, dead).await? {
                Ok(vouched) => return self.worth_keeping(vouched).map(Some),
                Err(refused) => (dead, need) = (Some(refused), Need::Now),
            }
        }
        Err(MintError::new(Cause::FreshTokenRefused, "two mints, and no token that the org takes"))
    }

    fn is_to_be_confirmed(&self, current: &Vouched, errand: &Errand<'_>) -> bool {
        let now = self.surroundings.clock.now();
        let usual =
            || self.settings.confirm_session && current.promise.may_be_confirmed(self.settings.session_timeout, now);
        errand.verifies() || usual()
    }

    /// The same token, proved alive by a call that was sent after `from`.
    fn prolonged(&self, current: Vouched, from: Moment, errand: &Errand<'_>) -> Result<Vouched, MintError> {
        let promise = match current.promise.grows_by_use() {
            true => {
                let confirmed = life::confirmed(errand.trust, from);
                current.promise.proved_again(from).longer(confirmed, self.surroundings.clock.now())
            }
            false => current.promise,
        };
        self.worth_keeping(Vouched { promise, ..current })
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
        need: Need,
        errand: &Errand<'_>,
        dead: Option<Fingerprint>,
    ) -> Result<Result<Vouched, Fingerprint>, MintError> {
        let before_mint = self.surroundings.clock.now();
        let minted_at = self.surroundings.clock.timestamp().as_millisecond();
        let grant = Arc::new(self.mint(errand.terms(need)).await?);
        let before_confirm = self.surroundings.clock.now();
        let session = match self.settings.confirm_session {
            true => self.confirm(&grant, errand.deadline).await,
            false => Session::Unclear("confirm_session = false".to_owned()),
        };
        let fingerprint = grant.token.fingerprint();
        match session {
            Session::Dead => Ok(Err(fingerprint)),
            Session::Unclear(_) if dead == Some(fingerprint) => Ok(Err(fingerprint)),
            session => {
                let proof = life::Proof { session, before_mint, before_confirm };
                let promise = self.promise(&grant, proof, errand).await;
                Ok(Ok(Vouched { grant, promise, minted_at }))
            }
        }
    }

    /// Asks the org for a small resource with the token: proof that the session lives, and activity that counts.
    async fn confirm(&self, grant: &Grant, deadline: Instant) -> Session {
        let session = match self.ask(grant, CONFIRM_PATH, None, deadline).await {
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
}

/// Somewhere between 0 and 1; spreads refreshes and pauses, decides nothing else.
pub fn jitter() -> f64 {
    let mut byte = [0_u8; 1];
    // Without random numbers all refreshes fall on the same side of the band, which harms nobody.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    f64::from(byte.first().copied().unwrap_or_default()) / 255.0
}
