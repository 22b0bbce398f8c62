//! What is remembered of an integration's tokens: the current one, the last few, how long sessions lived, and what is
//! suspected.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::task::TaskTracker;

use super::past::Past;
use super::sharing::Sharing;
use super::suspicion::{Suspicion, Verdict};
use super::{Granted, TokenSlot, tell};
use crate::cache::{Kept, Pause, Slot};
use crate::clock::{Clock, Moment};
use crate::promise::Trust;
use crate::salesforce::{Cause, Integration, MintError, Purpose, Vouched, jitter};

/// What outlives a new configuration that leaves the integration as it was.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) slot: Arc<TokenSlot>,
    trust: Mutex<Trust>,
    /// The failure that the operator read of last, until it is over.
    told: Mutex<Option<Cause>>,
    past: Mutex<Past>,
    pub(super) suspicion: Suspicion,
    /// Held from the right to look to the flight that looks, and while a dead token is dropped: for a few instructions.
    turn: Mutex<()>,
    pub(super) clock: Clock,
    /// The same integration at other replicas, if they share a store.
    pub(super) sharing: Option<Sharing>,
}

/// How long Salesforce is left alone after a failure, the `next` in a row here. One that is heard of keeps the place that it
/// has: who hears of it twice has met no second one.
fn pause(error: &MintError, next: u32) -> Pause {
    let streak = error.second_hand.unwrap_or(next);
    Pause { lasts: error.pause(streak, jitter()), streak, ahead_only: error.cause == Cause::LoginReserve }
}

impl Memory {
    /// Of an integration that has had no token yet. Flights run as tasks of `flights`.
    pub(super) fn new(integration: &Integration, flights: TaskTracker) -> Self {
        let clock = integration.clock().clone();
        let slot = Slot::new(clock.clone(), flights, pause);
        Self {
            slot: Arc::new(slot),
            trust: Mutex::new(Trust::new(integration.settings().session_timeout)),
            told: Mutex::default(),
            past: Mutex::default(),
            suspicion: Suspicion::default(),
            turn: Mutex::default(),
            clock,
            sharing: integration.store().map(|store| Sharing::new(store, integration)),
        }
    }

    /// The session of `kept` is over: nobody is handed its token any more.
    pub(super) fn bury(&self, integration: &Integration, kept: &Arc<Kept<Granted>>) {
        {
            // In one go, or a report of this token would count against the next one.
            let _turn = self.turn();
            self.slot.forget(kept);
            self.past().add(kept.value.grant.token.digest(), kept.promise, kept.value.minted_at, true);
            self.suspicion.clear();
        }
        tell::dead(integration, kept);
        if kept.promise.grows_by_use() {
            let (before, after) = {
                let mut trust = self.trust();
                let before = trust.lasts();
                trust.died(self.clock.now().since(kept.promise.from()));
                (before, trust.lasts())
            };
            if after < before {
                tell::trust_cut(integration, after.as_secs());
            }
        }
    }

    /// What a renewal teaches beyond its token.
    pub(super) fn learn(&self, before: Option<&Kept<Granted>>, vouched: Option<&Vouched>, purpose: Purpose) {
        let now = self.clock.now();
        let verified = matches!(purpose, Purpose::Verify { .. });
        match (before, vouched) {
            (Some(before), Some(vouched)) if same(before, vouched) => {
                // Handed back by a mint right after it was found dead, it did not live.
                let died = self.past().remove(&vouched.grant.token.digest());
                if vouched.promise.from() > before.promise.from() && !died {
                    self.trust().lived(vouched.promise.from().since(before.promise.from()));
                }
                if verified {
                    self.suspicion.looked(Verdict::Alive, now);
                }
            }
            (before, Some(vouched)) => {
                self.past().remove(&vouched.grant.token.digest());
                if let Some(before) = before {
                    self.supersede(before, now);
                }
                self.suspicion.clear();
            }
            (_, None) if verified => self.suspicion.looked(Verdict::Unclear, now),
            (_, None) => {}
        }
    }

    /// What is noted of a token that another replica brought. How long sessions live it does not teach: nobody saw that
    /// here.
    pub(super) fn take_over(&self, before: Option<&Kept<Granted>>, vouched: &Vouched) {
        if before.is_some_and(|before| same(before, vouched)) {
            return;
        }
        self.past().remove(&vouched.grant.token.digest());
        if let Some(before) = before {
            self.retire(before);
        }
        self.suspicion.clear();
    }

    /// Notes that a token is no longer handed out; whether that is news.
    fn retire(&self, before: &Kept<Granted>) -> bool {
        let digest = before.value.grant.token.digest();
        let mut past = self.past();
        let news = !past.holds(&digest);
        if news {
            past.add(digest, before.promise, before.value.minted_at, false);
        }
        news
    }

    /// Another token stands in the place of `before`.
    fn supersede(&self, before: &Kept<Granted>, now: Moment) {
        if self.retire(before) && before.promise.grows_by_use() {
            // Nobody found it dead. Where no confirm call is made, that is all that is ever heard of a life.
            self.trust().lived(now.since(before.promise.from()).min(before.promise.full()));
        }
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trust(&self) -> MutexGuard<'_, Trust> {
        self.trust.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Option<Cause>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same(kept: &Kept<Granted>, vouched: &Vouched) -> bool {
    kept.value.grant.token.fingerprint() == vouched.grant.token.fingerprint()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_failure_that_is_heard_of_twice_is_one_failure_and_the_next_is_the_one_after_it() {
        let slot: Arc<TokenSlot> = Arc::new(Slot::new(Clock::manual(), TaskTracker::new(), pause));
        let own = MintError::new(Cause::UserNotApproved, "no").not_before(Some(Duration::from_secs(1)));
        let heard = MintError { second_hand: Some(3), ..own.clone() };
        for (error, streak) in [(&own, 1), (&heard, 3), (&heard, 3), (&own, 4)] {
            let error = error.clone();
            let (flight, _) = slot.question(|_| async move { Err(error) });
            let _ = flight.landed(tokio::time::Instant::now() + Duration::from_secs(9)).await;
            assert_eq!(slot.failure().unwrap().streak, streak);
        }
    }
}
