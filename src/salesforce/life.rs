//! For how long a newly minted token is vouched for: what Salesforce tells of its end, else what a proof of life allows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::Introspector;
use super::reply::{self, Introspection, Session};
use super::{Errand, Grant, Integration, jitter};
use crate::clock::Moment;
use crate::promise::{LifetimeSource, Promise};

/// What is known of a token that was just minted, and is not known to be dead.
pub(super) struct Proof {
    pub(super) session: Session,
    pub(super) before_mint: Moment,
    pub(super) before_confirm: Moment,
}

/// The longest session that Salesforce offers; what claims more is not believed.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The promise after a proof of life.
pub(super) fn confirmed(trust: Duration, from: Moment) -> Promise {
    Promise::sliding(trust, from, LifetimeSource::Confirmed, jitter())
}

impl Integration {
    /// The promise of a newly minted token, by the first of these that applies: introspection, `exp` of a JWT-format
    /// token, `expires_in`, the confirm call; else an estimate.
    pub(super) async fn promise(&self, grant: &Arc<Grant>, proof: Proof, errand: &Errand<'_>) -> Promise {
        let fixed = self.fixed_life(grant, proof.before_mint);
        // The session has moved by the confirm call, so its end is asked for afterwards.
        if let Some((life, from)) = self.introspected_life(grant, &proof.session, errand.deadline).await {
            return match fixed {
                // A token with an end of its own is over then, whatever its session says.
                Some(fixed) => {
                    Promise::fixed(life.min(fixed.remaining(from)), from, LifetimeSource::Introspection, jitter())
                }
                None => Promise::sliding(life, from, LifetimeSource::Introspection, jitter()),
            };
        }
        match (fixed, proof.session) {
            (Some(fixed), _) => fixed,
            (None, Session::Alive) => confirmed(errand.trust, proof.before_confirm),
            (None, session) => {
                self.say_unconfirmed(&session);
                Promise::sliding(errand.trust, proof.before_mint, LifetimeSource::Estimate, jitter())
            }
        }
    }

    /// What introspection says is left, and since when; nothing without the app's secret, or when the answer is of no use.
    async fn introspected_life(
        &self,
        grant: &Grant,
        session: &Session,
        deadline: Instant,
    ) -> Option<(Duration, Moment)> {
        let from = self.surroundings.clock.now();
        let (told, left) = self.introspect(grant, deadline).await?;
        let seen = match told {
            Introspection::Active { .. } => return Some((left.min(LONGEST_LIFE), from)),
            Introspection::Inactive if *session == Session::Alive => {
                "it says inactive of a token that works".to_owned()
            }
            Introspection::Inactive => "it says inactive".to_owned(),
            Introspection::Unclear(seen) => seen,
        };
        let remedy = "compare client_secret_path or client_secret_env with the app's consumer secret, or remove it";
        let help = "docs/troubleshooting.md#introspection-that-tells-nothing";
        tracing::warn!(integration.name = %self.name(), seen, remedy, help, "introspection does not tell the life of the new token");
        None
    }

    /// What the app's secret lets us ask of a token, and what is left of it if it is active; nothing without the secret.
    pub async fn introspect(&self, grant: &Grant, deadline: Instant) -> Option<(Introspection, Duration)> {
        let client_secret = self.settings.client_secret.as_ref()?;
        let app = Introspector { client_id: &self.settings.client_id, client_secret };
        let now = self.their_milliseconds() / 1000;
        let way_out = &self.surroundings.way_out;
        let reply = way_out.introspect(&self.settings.token_url, &app, &grant.token, deadline).await;
        let reply = reply.map(|reply| self.discreet(reply));
        let told = match &reply {
            Ok(reply) => reply::introspection(reply),
            // The sentence of the cause speaks of a login.
            Err(error) => Introspection::Unclear(error.detail.clone()),
        };
        let Introspection::Active { exp, .. } = told else { return Some((told, Duration::ZERO)) };
        // By Salesforce's own clock where it tells it, for ours may be wrong; that one tells whole seconds only.
        let theirs = reply.ok().and_then(|reply| reply.date).map_or(now, |date| date.as_second() + 1);
        let left = u64::try_from(exp.saturating_sub(theirs)).unwrap_or_default();
        Some((told, Duration::from_secs(left)))
    }

    /// The promise of a token that tells its own life.
    fn fixed_life(&self, grant: &Grant, from: Moment) -> Option<Promise> {
        if let Some((iat, exp)) = reply::unverified_life(&grant.token) {
            // In milliseconds: with whole seconds a clock at .9 would promise most of a second too much.
            let ends = exp.saturating_mul(1000);
            let left = ends.saturating_sub(self.their_milliseconds());
            // The shorter one: no clock that runs behind may stretch the life. What the token itself says is better than
            // our clock, which may be the one that is wrong.
            let ours = || self.surroundings.clock.timestamp().as_millisecond();
            let begins = iat.map_or_else(ours, |iat| iat.saturating_mul(1000));
            let life = left.min(ends.saturating_sub(begins));
            let life = Duration::from_millis(u64::try_from(life).unwrap_or_default()).min(LONGEST_LIFE);
            return Some(Promise::fixed(life, from, LifetimeSource::JwtExp, jitter()));
        }
        let life = Duration::from_secs(grant.expires_in?).min(LONGEST_LIFE);
        Some(Promise::fixed(life, from, LifetimeSource::ExpiresIn, jitter()))
    }

    /// What time it is at Salesforce, in milliseconds since 1970: by our clock unless that is known to be wrong.
    fn their_milliseconds(&self) -> i64 {
        let ours = self.surroundings.clock.timestamp().as_millisecond();
        // `Date` tells whole seconds, so the skew may be short of almost one.
        self.skew.notable().map_or(ours, |skew| ours.saturating_add((skew + 1).saturating_mul(1000)))
    }

    fn say_unconfirmed(&self, session: &Session) {
        let Session::Unclear(seen) = session else { return };
        if self.settings.confirm_session {
            tracing::warn!(
                integration.name = %self.name(),
                seen,
                help = "docs/troubleshooting.md#a-token-that-cannot-be-confirmed",
                "the new token could not be confirmed; its life is an estimate until a confirm call succeeds"
            );
        }
    }
}
