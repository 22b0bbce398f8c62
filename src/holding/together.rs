//! A renewal among replicas that share a store: whoever has the lease asks Salesforce, the others take over what comes of it.
//!
//! The protocol and its bounds stand in `docs/replicas.md`. The store is help: as soon as it is away the flight goes on as
//! if there were none, and a token that is at hand stays what it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::renewal::{Flown, Renewal, keep};
use super::sharing::{Sharing, buries, stays};
use super::{Granted, tell};
use crate::cache::Kept;
use crate::salesforce::{Cause, MintError, Purpose, Vouched, jitter};
use crate::store::{Acquired, Away, Changes, Lease, Put, Seen};

/// A process that has just begun waits so long for the first word of the store.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// Who waits for another replica looks again after this time, whether or not it heard of anything.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Of the time for a flight, so much is kept for its answer.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// A failure is remembered for so long after its pause: the next one in a row waits longer.
const STREAK_LASTS: Duration = Duration::from_secs(600);

/// What came of a turn.
enum Turn {
    /// The flight is over.
    Landed(Flown),
    /// Somebody else had the right meanwhile. A token that was minted before that was known may still be of use.
    Lost(Option<Vouched>),
}

impl Renewal {
    pub(super) async fn fly_together(
        &self,
        sharing: &Sharing,
        asked: Option<Purpose>,
        kept: Option<Arc<Kept<Granted>>>,
    ) -> Flown {
        sharing.store.settled(FIRST_WORD).await;
        // With nothing to verify it is an ordinary renewal.
        let asked = asked.filter(|_| kept.is_some());
        // Before the first look, so that nothing is missed between a look and the wait after it.
        let mut changes = sharing.store.changes();
        let (mut spare, mut waited) = (None, false);
        loop {
            let Ok(seen) = sharing.look().await else { return self.go_on_alone(asked, spare).await };
            let kept = self.bury_if_dropped(&seen);
            if kept.is_none() && asked == Some(Purpose::Verify { may_mint: false }) {
                return Ok(None);
            }
            let purpose = self.purpose(asked, kept.as_deref());
            let around = (&*self.integration, &*self.memory);
            if let Some((theirs, fence)) = sharing.worth_taking(&seen, around, kept.as_deref(), Some(purpose)) {
                return Ok(Some(self.take_over(sharing, kept.as_deref(), theirs, fence)));
            }
            if let Some(spare) = spare.take_if(|spare| !is_dropped(&seen, spare)) {
                return self.land(kept.as_deref(), purpose, Ok(Some(spare)));
            }
            let purpose = match sharing.failure(&seen, &self.integration) {
                Some(error) if error.retry_after.is_some_and(|left| !left.is_zero()) => match purpose {
                    Purpose::Verify { .. } => Purpose::Verify { may_mint: false },
                    _ => return self.land(kept.as_deref(), purpose, Err(error)),
                },
                _ => purpose,
            };
            let acquired = match seen.lease {
                // Whatever comes of it stands there as soon as it is free: look again, never go on by this look.
                Some(left) => Ok(Acquired::Held { left }),
                None => sharing.store.acquire(&sharing.place, &seen).await,
            };
            match acquired {
                Err(Away) => return self.go_on_alone(asked, spare).await,
                Ok(Acquired::Moved) if self.is_in_time() => {}
                Ok(Acquired::Held { left }) if self.is_in_time() => {
                    if !waited {
                        self.integration.metrics().store().lease("awaited");
                    }
                    waited = true;
                    self.wait(sharing, &mut changes, left).await;
                }
                Ok(Acquired::Moved | Acquired::Held { .. }) => {
                    let detail = "another replica had the right to log in for the whole of the time that there was";
                    return self.land(kept.as_deref(), purpose, Err(MintError::new(Cause::OtherReplica, detail)));
                }
                Ok(Acquired::Lease(lease)) => match self.by_right(sharing, lease, (kept, purpose), &seen).await {
                    Turn::Landed(flown) => return flown,
                    Turn::Lost(minted) => spare = minted,
                },
            }
        }
    }

    /// Looks what the others did, when nobody here waits for a token: takes over what they brought, drops what they
    /// dropped, and puts the token at hand where there is none.
    pub(super) async fn follow(self, kept: Option<Arc<Kept<Granted>>>) -> Flown {
        let Some(sharing) = &self.memory.sharing else { return Ok(None) };
        // Whatever the look brings: the cure was for what failed until now, and for nothing that fails later.
        if sharing.heard_of_a_cure() {
            self.memory.slot.forgive();
            *self.memory.told() = None;
        }
        let Ok(seen) = sharing.look().await else { return Ok(None) };
        let kept = kept.and_then(|_| self.bury_if_dropped(&seen));
        let around = (&*self.integration, &*self.memory);
        if let Some((theirs, fence)) = sharing.worth_taking(&seen, around, kept.as_deref(), None) {
            return Ok(Some(self.take_over(sharing, kept.as_deref(), theirs, fence)));
        }
        let now = self.memory.clock.now();
        let Some(kept) = kept.filter(|kept| kept.promise.expires_in(now).is_some()) else { return Ok(None) };
        // A failure that stands there instead is from before this token.
        let empty = seen.token.is_none() && seen.dropped.is_none() && seen.lease.is_none();
        if empty || sharing.overstates(&seen, &self.integration, &kept, now) {
            self.offer(sharing, &seen, &kept.vouched()).await;
        }
        Ok(None)
    }

    /// The store was emptied, or was away when this token came, or has a wrong idea of it: now the others may have it.
    async fn offer(&self, sharing: &Sharing, seen: &Seen, vouched: &Vouched) {
        if let Ok(Acquired::Lease(lease)) = sharing.store.acquire(&sharing.place, seen).await {
            let _ = self.put(sharing, &lease, seen, vouched).await;
            lease.release().await;
        }
    }

    /// Asks Salesforce, while the right to do so is ours.
    async fn by_right(
        &self,
        sharing: &Sharing,
        lease: Lease,
        (kept, purpose): (Option<Arc<Kept<Granted>>>, Purpose),
        seen: &Seen,
    ) -> Turn {
        self.integration.metrics().store().lease("acquired");
        let hold = lease.hold();
        let tell_of_death = || async {
            if let Some(kept) = &kept {
                let (digest, now) = (kept.value.grant.token.digest(), self.memory.clock.now());
                if let Ok(Put::Kept) = lease.drop_token(&digest, stays(&kept.promise, now)).await {
                    sharing.hold(lease.fence().number());
                }
            }
        };
        let may_post = || hold.may_post();
        let renewed = self.renew(kept.as_ref(), purpose, &may_post, tell_of_death).await;
        let lost = match &renewed {
            Err(error) if error.cause == Cause::OtherReplica => Some("lost"),
            Ok(Some(vouched)) => match self.put(sharing, &lease, seen, vouched).await {
                Ok(Put::Overtaken) => Some("overtaken"),
                Ok(Put::Kept) | Err(Away) => None,
            },
            Err(error) if error.holds_for_all() => {
                self.put_failure(sharing, &lease, seen, error).await;
                None
            }
            Ok(None) | Err(_) => None,
        };
        lease.release().await;
        match lost {
            Some(how) if self.is_in_time() => {
                self.integration.metrics().store().lease(how);
                Turn::Lost(renewed.ok().flatten())
            }
            _ => Turn::Landed(self.land(kept.as_deref(), purpose, renewed)),
        }
    }

    async fn put(&self, sharing: &Sharing, lease: &Lease, seen: &Seen, vouched: &Vouched) -> Result<Put, Away> {
        let now = self.memory.clock.now();
        let ends = sharing.at_end_of(seen, vouched.promise.remaining(now));
        let content = self.integration.write_token(vouched, ends).ok_or(Away)?;
        let put = lease.put_token(&content, stays(&vouched.promise, now)).await?;
        if put == Put::Kept {
            sharing.hold(lease.fence().number());
        }
        Ok(put)
    }

    async fn put_failure(&self, sharing: &Sharing, lease: &Lease, seen: &Seen, error: &MintError) {
        let theirs = sharing.failure(seen, &self.integration).and_then(|error| error.second_hand).unwrap_or(0);
        // The store may have been emptied since.
        let ours = self.memory.slot.failure().filter(|failure| failure.error.holds_for_all());
        let streak = theirs.max(ours.map_or(0, |failure| failure.streak)).saturating_add(1);
        let pause = error.pause(streak, jitter());
        let content = self.integration.write_failure(error, streak, (pause, sharing.at_end_of(seen, pause)));
        if let Some(content) = content {
            // If it is away or somebody came after us, the others find out by themselves.
            let _ = lease.put_failure(&content, pause.saturating_add(STREAK_LASTS)).await;
        }
    }

    async fn go_on_alone(&self, asked: Option<Purpose>, spare: Option<Vouched>) -> Flown {
        self.integration.metrics().store().lease("alone");
        let kept = self.memory.slot.peek();
        match spare {
            Some(spare) => {
                let purpose = self.purpose(asked, kept.as_deref());
                self.land(kept.as_deref(), purpose, Ok(Some(spare)))
            }
            None if kept.is_none() && asked == Some(Purpose::Verify { may_mint: false }) => Ok(None),
            None => self.fly_alone(asked, kept).await,
        }
    }

    async fn wait(&self, sharing: &Sharing, changes: &mut Changes, left: Duration) {
        let end = self.deadline.saturating_duration_since(Instant::now() + LAST_WORDS);
        changes.at(&sharing.place, left.min(LOOK_AGAIN).min(end)).await;
    }

    fn is_in_time(&self) -> bool {
        Instant::now() + LAST_WORDS < self.deadline
    }

    /// The token at hand, unless the others found it dead: then nobody is handed it any more.
    fn bury_if_dropped(&self, seen: &Seen) -> Option<Arc<Kept<Granted>>> {
        let kept = self.memory.slot.peek()?;
        if !buries(seen, &kept) {
            return Some(kept);
        }
        self.memory.bury(&self.integration, &kept);
        None
    }

    fn take_over(
        &self,
        sharing: &Sharing,
        before: Option<&Kept<Granted>>,
        theirs: Vouched,
        fence: u64,
    ) -> Kept<Granted> {
        sharing.hold(fence);
        self.integration.metrics().store().took_over(self.integration.name());
        tell::taken_over(&self.integration, before, &theirs, &mut self.memory.told());
        self.memory.take_over(before, &theirs);
        keep(theirs)
    }
}

fn is_dropped(seen: &Seen, vouched: &Vouched) -> bool {
    seen.dropped.as_ref().is_some_and(|entry| entry.content.as_slice() == vouched.grant.token.digest())
}
