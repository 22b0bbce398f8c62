//! An integration together with the place where its token is kept.
//!
//! The cache knows nothing of Salesforce and Salesforce nothing of the cache; here they meet, and here a change of
//! state is told to the operator, once.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::cache::{Failure, Kept, Lookup, Missed, Slot, Want};
use crate::clock::{Clock, Moment};
use crate::names::IntegrationName;
use crate::salesforce::{Cause, Grant, Integration, MintError, Rule, Vouched};
use crate::telemetry::metrics::Series;

/// A grant as it is kept.
#[derive(Debug)]
pub struct Granted {
    /// The grant.
    pub grant: Arc<Grant>,
    /// When it was minted, in milliseconds since 1970.
    pub minted_at: i64,
    /// What callers are told of it, put into words once; only the edge knows which.
    pub wording: OnceLock<Wording>,
}

/// An answer about a token around the one number in it that changes.
#[derive(Debug)]
pub struct Wording {
    /// What stands before the number, the token in it.
    pub before: SecretString,
    /// What stands behind it.
    pub after: Box<str>,
}

type TokenSlot = Slot<Granted, MintError>;

/// One integration, ready to serve.
#[derive(Debug)]
pub struct Holding {
    integration: Arc<Integration>,
    slot: Arc<TokenSlot>,
    digest: [u8; 32],
    counts: Counts,
}

#[derive(Debug)]
struct Counts {
    decisions: Series,
    lookups: Series,
}

/// What a renewal may take, both calls of a mint and its confirmation together; those who wait for it have 10 s.
const FLIGHT: Duration = Duration::from_secs(9);

impl Holding {
    /// A holding with nothing in it yet.
    pub fn new(integration: Integration, clock: Clock, flights: TaskTracker) -> Self {
        let digest = integration.digest();
        let slot = Slot::new(clock, flights, |error: &MintError, streak| error.cause.pause(streak));
        Self::with(integration, Arc::new(slot), digest)
    }

    /// A holding for a new generation of the configuration.
    ///
    /// What shapes the token decides: if that is the same, the token stays warm; if not, the old one is never seen
    /// again.
    pub fn succeed(integration: Integration, previous: Option<&Self>, clock: Clock, flights: TaskTracker) -> Self {
        let digest = integration.digest();
        match previous {
            Some(previous) if previous.digest == digest => Self::with(integration, Arc::clone(&previous.slot), digest),
            _ => Self::new(integration, clock, flights),
        }
    }

    fn with(integration: Integration, slot: Arc<TokenSlot>, digest: [u8; 32]) -> Self {
        let metrics = integration.metrics();
        let counts = Counts { decisions: metrics.decisions_of_integration(), lookups: metrics.lookups() };
        Self { integration: Arc::new(integration), slot, digest, counts }
    }

    /// Counts a decision about a request for its token.
    pub fn decided(&self, outcome: &'static str) {
        self.counts.decisions.count(self.name().as_str(), outcome);
    }

    /// Counts how its token was found.
    pub fn looked_up(&self, lookup: Lookup) {
        self.counts.lookups.count(self.name().as_str(), lookup.as_str());
    }

    /// Its name.
    pub fn name(&self) -> &IntegrationName {
        self.integration.name()
    }

    /// Its integration.
    pub fn integration(&self) -> &Integration {
        &self.integration
    }

    /// A good token, from memory or newly had.
    pub async fn token(&self, want: Want) -> Result<(Arc<Kept<Granted>>, Lookup), Missed<MintError>> {
        self.slot.get(want, |kept| self.renewal(kept)).await
    }

    /// Renews beside the answers, if it is time.
    pub fn refresh_if_due(&self) {
        self.slot.refresh_if_due(|kept| self.renewal(kept));
    }

    /// What is kept, good or not.
    pub fn peek(&self) -> Option<Arc<Kept<Granted>>> {
        self.slot.peek()
    }

    /// The last failure, unless a success came after it.
    pub fn failure(&self) -> Option<Failure<MintError>> {
        self.slot.failure()
    }

    /// When somebody last asked.
    pub fn last_read(&self) -> Option<Moment> {
        self.slot.last_read()
    }

    fn renewal(
        &self,
        kept: Option<Arc<Kept<Granted>>>,
    ) -> impl Future<Output = Result<Kept<Granted>, MintError>> + Send + use<> {
        let integration = Arc::clone(&self.integration);
        let slot = Arc::clone(&self.slot);
        let deadline = Instant::now() + FLIGHT;
        async move {
            let failed_before = slot.failure().map(|failure| failure.error.cause);
            let current = kept.as_ref().map(|kept| Vouched {
                grant: Arc::clone(&kept.value.grant),
                promise: kept.promise,
                minted_at: kept.value.minted_at,
            });
            let on_dead = || {
                if let Some(kept) = &kept {
                    slot.forget(kept);
                    tell_dead(&integration, kept);
                }
            };
            let renewed = integration.renew(current, deadline, on_dead).await;
            tell(&integration, kept.as_deref(), renewed.as_ref(), failed_before);
            let Vouched { grant, promise, minted_at } = renewed?;
            Ok(Kept { value: Granted { grant, minted_at, wording: OnceLock::new() }, promise })
        }
    }
}

fn tell_dead(integration: &Integration, kept: &Kept<Granted>) {
    let (name, token) = (integration.name(), kept.value.grant.token.fingerprint());
    tracing::info!(integration.name = %name, token.fingerprint = %token, "the session is over at Salesforce; the token is dropped");
}

/// One line per change of state, not per try: during an outage the first failure is told, then the cure.
fn tell(
    integration: &Integration,
    before: Option<&Kept<Granted>>,
    renewed: Result<&Vouched, &MintError>,
    failed_before: Option<Cause>,
) {
    let name = integration.name();
    match renewed {
        Err(error) if failed_before == Some(error.cause) => {
            tracing::debug!(integration.name = %name, cause = error.cause.code(), detail = error.detail, "still no new token");
        }
        Err(error) => {
            let cause = error.cause;
            let (code, detail, remedy) = (cause.code(), &error.detail, cause.remedy());
            match cause.rule() {
                Rule::WaitForChange => {
                    tracing::error!(integration.name = %name, cause = code, detail, remedy, "no new token: {}", cause.sentence());
                }
                Rule::RetryLater => {
                    tracing::warn!(integration.name = %name, cause = code, detail, remedy, "no new token: {}", cause.sentence());
                }
            }
        }
        Ok(vouched) => {
            let token = vouched.grant.token.fingerprint();
            let source = vouched.promise.source().as_str();
            let same = before.is_some_and(|kept| kept.value.grant.token.fingerprint() == token);
            match (failed_before, same) {
                (Some(_), _) => {
                    tracing::info!(integration.name = %name, token.fingerprint = %token, lifetime_source = source, "tokens again, after a failure");
                }
                (None, true) => {
                    tracing::debug!(integration.name = %name, token.fingerprint = %token, lifetime_source = source, "the token is good for longer");
                }
                (None, false) => {
                    tracing::info!(integration.name = %name, token.fingerprint = %token, lifetime_source = source, "a new token");
                }
            }
        }
    }
}
