//! An integration together with the place where its token is kept, and with what is suspected of that token.
//!
//! The cache knows nothing of Salesforce and Salesforce nothing of the cache; here they meet, and here a change of
//! state is told to the operator, once.

mod memory;
mod past;
mod renewal;
mod replicas;
mod sharing;
mod suspicion;
mod tell;
mod together;
mod visits;

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::constant_time;
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use self::memory::Memory;
use self::renewal::Renewal;
use self::suspicion::Suspicion;
pub use self::suspicion::Verdict;
pub use self::visits::Visitor;
use crate::cache::{Failure, Flight, Kept, Lookup, Missed, Slot, Want};
use crate::clock::Moment;
use crate::names::{CallerName, IntegrationName};
use crate::promise::{Promise, Trust};
use crate::salesforce::{Grant, Integration, MintError, Purpose};
use crate::telemetry::metrics::Series;
use crate::token::AccessToken;

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
    memory: Arc<Memory>,
    counts: Counts,
}

#[derive(Debug)]
struct Counts {
    decisions: Series,
    lookups: Series,
}

/// What a report of a dead token came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It was looked into.
    Looked(Verdict),
    /// It is looked into later: it was a moment ago.
    Later,
    /// It is not the current token: nothing to do.
    Superseded,
}

impl Reported {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Looked(verdict) => verdict.as_str(),
            Self::Later => "later",
            Self::Superseded => "superseded",
        }
    }
}

/// What is known of a token that a caller offers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Known {
    /// How long it is vouched for.
    pub promise: Promise,
    /// When it was minted, in milliseconds since 1970.
    pub minted_at: i64,
}

/// A token that ends sooner will be renewed anyway: coming back for it is no hint.
const LONG: Duration = Duration::from_secs(60);

impl Holding {
    /// A holding with nothing in it yet.
    pub fn new(integration: Integration, flights: TaskTracker) -> Self {
        let memory = Memory::new(&integration, flights);
        Self::with(integration, Arc::new(memory))
    }

    fn with(integration: Integration, memory: Arc<Memory>) -> Self {
        let metrics = integration.metrics();
        let counts = Counts { decisions: metrics.decisions_of_integration(), lookups: metrics.lookups() };
        Self { integration: Arc::new(integration), memory, counts }
    }

    /// Counts a decision about a request for its token.
    pub fn decided(&self, outcome: &'static str) {
        self.counts.decisions.count(self.name().as_str(), outcome);
    }

    /// Counts how its token was found.
    pub fn looked_up(&self, lookup: Lookup) {
        self.counts.lookups.count(self.name().as_str(), lookup.as_str());
    }

    /// Counts what a report of its token came to.
    pub fn reported(&self, outcome: Reported) {
        self.integration.metrics().reported(self.name(), outcome.as_str());
    }

    /// A holding for a new generation of the configuration.
    ///
    /// What shapes the token decides: if that is the same, the token stays warm; if not, the old one is never seen
    /// again.
    pub fn succeed(mut integration: Integration, previous: Option<&Self>, flights: TaskTracker) -> Self {
        match previous {
            // Also what it holds must still be allowed: the list of hosts may have changed.
            Some(previous) if integration.continues(&previous.integration) && previous.is_trusted_by(&integration) => {
                integration.learn_from(&previous.integration);
                Self::with(integration, Arc::clone(&previous.memory))
            }
            _ => Self::new(integration, flights),
        }
    }

    fn is_trusted_by(&self, integration: &Integration) -> bool {
        self.memory.slot.peek().is_none_or(|kept| integration.trusts(&kept.value.grant.instance_url))
    }

    /// Whether it goes on with what `previous` remembers.
    pub fn continues(&self, previous: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &previous.memory)
    }

    /// `next`, which goes on with what it remembers, is in force. Other keys are news: what was refused with the old ones
    /// is tried at once. Says whether they are others.
    pub fn hand_over(&self, next: &Self) -> bool {
        let changed = self.integration.hand_over(&next.integration);
        if changed {
            next.memory.slot.forgive();
            *next.memory.told() = None;
        }
        changed
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
    pub async fn token(
        &self,
        visitor: Visitor,
        want: Want<'_>,
    ) -> Result<(Arc<Kept<Granted>>, Lookup), Missed<MintError>> {
        let found = self.memory.slot.get(want, |kept| self.renewal(None, kept)).await;
        if let Ok((kept, Lookup::Hit)) = &found {
            let now = self.memory.clock.now();
            let mark = mark(&kept.value.grant.token);
            // All that most clients do when Salesforce refuses a token is to ask for it again.
            if kept.promise.remaining(now) >= LONG && self.memory.suspicion.is_return(visitor, mark, now) {
                self.look_if(|suspicion| suspicion.may_look(visitor, now));
            }
        }
        found
    }

    /// Whether `caller` is told for now that the token works, from here: it reported it again and again.
    pub fn bar(&self, caller: &CallerName, now: Moment) -> Option<Duration> {
        self.memory.suspicion.bar(caller, now)
    }

    /// `caller` says that the token with this digest is dead. Comes back when it has been looked into, if it is.
    ///
    /// `None`: it is no token of this integration.
    pub async fn report(&self, caller: &CallerName, digest: &[u8; 32], deadline: Instant) -> Option<Reported> {
        let now = self.memory.clock.now();
        let mut current = false;
        let flight = self.look_if(|suspicion| {
            current = self.is_current(digest);
            if !current {
                return false;
            }
            let reaction = suspicion.report(caller, now);
            if reaction.newly_barred {
                tell::barred(&self.integration, caller);
            }
            reaction.look
        });
        if !current {
            return self.memory.past().holds(digest).then_some(Reported::Superseded);
        }
        let Some(flight) = flight else { return Some(Reported::Later) };
        let _ = flight.landed(deadline).await;
        let verdict = if self.is_current(digest) { self.memory.suspicion.verdict() } else { Some(Verdict::Dead) };
        Some(verdict.map_or(Reported::Later, Reported::Looked))
    }

    /// Whether the token with this digest is the one that is handed out.
    pub fn hands_out(&self, digest: &[u8; 32]) -> bool {
        self.is_current(digest)
    }

    /// What is known of the token with this digest: the current one or one of the last few. `None` also when it is dead
    /// or no longer vouched for.
    pub fn known(&self, digest: &[u8; 32]) -> Option<Known> {
        let kept = self.memory.slot.peek().filter(|kept| is_of(kept, digest));
        let known = match kept {
            Some(kept) => Known { promise: kept.promise, minted_at: kept.value.minted_at },
            None => {
                let (promise, minted_at) = self.memory.past().alive(digest)?;
                Known { promise, minted_at }
            }
        };
        known.promise.expires_in(self.memory.clock.now()).map(|_| known)
    }

    /// What has to be done beside the answers: renewing ahead of an end, and looking into reports that had to wait.
    pub fn look_after(&self) {
        let now = self.memory.clock.now();
        self.look_at_replicas_if_due();
        self.look_if(|suspicion| suspicion.is_due(now));
        if self.integration.settings().keep_warm && self.was_asked_for() {
            self.memory.slot.fill(|kept| self.renewal(None, kept));
        } else {
            self.memory.slot.refresh_if_due(|kept| self.renewal(None, kept));
        }
    }

    /// Has a token fetched before anybody asks, if it is configured so.
    pub fn prefetch(&self) -> Option<Flight<MintError>> {
        let wanted = self.integration.settings().prefetch;
        if wanted { self.memory.slot.fill(|kept| self.renewal(None, kept)) } else { None }
    }

    /// Forgets the last failure, and those of its token host: the next one who asks finds out whether it is cured.
    pub fn forgive(&self) {
        self.memory.slot.forgive();
        self.integration.forgive();
        *self.memory.told() = None;
    }

    /// What is kept, good or not.
    pub fn peek(&self) -> Option<Arc<Kept<Granted>>> {
        self.memory.slot.peek()
    }

    /// What is left of its token: nothing of one that was dropped. `None`: it never had one.
    pub fn token_remaining(&self, now: Moment) -> Option<Duration> {
        let current = self.peek().map(|kept| kept.promise.remaining(now));
        current.or_else(|| (!self.memory.past().is_empty()).then_some(Duration::ZERO))
    }

    /// The last failure, unless a success came after it.
    pub fn failure(&self) -> Option<Failure<MintError>> {
        self.memory.slot.failure()
    }

    /// When somebody last asked.
    pub fn last_read(&self) -> Option<Moment> {
        self.memory.slot.last_read()
    }

    /// For how long sessions are trusted, by experience.
    pub fn trust(&self) -> Trust {
        *self.memory.trust()
    }

    /// Callers that are told for now that the token works, from here.
    pub fn barred(&self, now: Moment) -> Vec<CallerName> {
        self.memory.suspicion.barred(now)
    }

    fn was_asked_for(&self) -> bool {
        let slot = &self.memory.slot;
        slot.last_read().is_some() || slot.peek().is_some() || slot.failure().is_some()
    }

    fn is_current(&self, digest: &[u8; 32]) -> bool {
        self.memory.slot.peek().is_some_and(|kept| is_of(&kept, digest))
    }

    /// Looks if it has the right to; comes back with the flight that is under way then, if one is.
    fn look_if(&self, may: impl FnOnce(&Suspicion) -> bool) -> Option<Flight<MintError>> {
        // Whoever finds that somebody else looks has to find that flight, too, to wait for it.
        let _turn = self.memory.turn();
        if may(&self.memory.suspicion) { Some(self.look()) } else { self.memory.slot.under_way() }
    }

    /// Has the token confirmed now; a new one is minted only if it is dead and nothing forbids a login.
    fn look(&self) -> Flight<MintError> {
        let now = self.memory.clock.now();
        let may_mint = self.memory.slot.failure().is_none_or(|failure| !failure.forbids(now, true));
        let (flight, looks) = self.memory.slot.question(|kept| self.renewal(Some(Purpose::Verify { may_mint }), kept));
        if !looks {
            // A renewal for another reason is under way, and may end without a word on this token.
            self.memory.suspicion.put_off();
        }
        flight
    }

    fn renewal(
        &self,
        purpose: Option<Purpose>,
        kept: Option<Arc<Kept<Granted>>>,
    ) -> impl Future<Output = Result<Option<Kept<Granted>>, MintError>> + Send + use<> {
        Renewal::new(&self.integration, &self.memory).fly(purpose, kept)
    }
}

fn is_of(kept: &Kept<Granted>, digest: &[u8; 32]) -> bool {
    constant_time::verify_slices_are_equal(&kept.value.grant.token.digest(), digest).is_ok()
}

/// Tells one token from another on the warm path, where a mistake costs a confirm call at the most.
fn mark(token: &AccessToken) -> u16 {
    let [first, second, ..] = token.digest();
    u16::from_be_bytes([first, second])
}
