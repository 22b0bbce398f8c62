//! The right to mint: one replica at a time has it, for as long as it says every second that it lives.
//!
//! A holder that was stopped finds out by the local clock, before it does anything. What it writes is refused by the store
//! as soon as somebody else was given the right after it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::link::{FENCE_LASTS, millis};
use super::reply::Nonsense;
use super::shelf::{DROPPED, FAILURE, Seen, TOKEN, number};
use super::time::Fence;
use super::{Away, LIMIT, Place, Store, scripts};
use crate::clock::{Clock, Moment};

/// A holder that says nothing for so long has lost it.
pub const LEASE: Duration = Duration::from_secs(3);
/// How often a holder says that it lives.
const BEAT: Duration = Duration::from_secs(1);
/// What has to be left of it for a request to go out.
const TO_SPARE: Duration = Duration::from_millis(500);

/// What became of a wish for the lease.
#[derive(Debug)]
pub enum Acquired {
    /// It is ours.
    Lease(Lease),
    /// Somebody has it.
    Held {
        /// What is left of it, unless they go on.
        left: Duration,
    },
    /// Somebody had it since that look, and something may have come of it: look again.
    Moved,
}

/// What became of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// All replicas can have it.
    Kept,
    /// Somebody was given the right after us: what they write counts.
    Overtaken,
}

/// The right to mint. Dropped without [`Lease::release`] it ends by itself.
pub struct Lease {
    store: Arc<Store>,
    place: Place,
    owner: Vec<u8>,
    fence: Fence,
    hold: Hold,
    _beating: DropGuard,
}

/// Whether the right still holds, for whoever is on an errand by it.
#[derive(Debug, Clone)]
pub struct Hold(Arc<State>);

#[derive(Debug)]
struct State {
    clock: Clock,
    /// Bits of the moment up to which nobody else is given it.
    ends: AtomicU64,
    fate: AtomicU8,
}

/// It is ours as long as the clock says.
const HELD: u8 = 0;
/// Somebody else has it, or had it since.
const LOST: u8 = 1;
/// The store went away while it was ours: everybody is alone.
const ORPHAN: u8 = 2;

impl Hold {
    fn new(clock: Clock, asked: Moment) -> Self {
        let ends = AtomicU64::new(asked.after(LEASE).to_bits());
        Self(Arc::new(State { clock, ends, fate: AtomicU8::new(HELD) }))
    }

    /// Whether a request may go out by this right, now.
    pub fn may_post(&self) -> bool {
        match self.0.fate.load(Ordering::SeqCst) {
            HELD => self.0.clock.now().after(TO_SPARE) < self.ends(),
            fate => fate == ORPHAN,
        }
    }

    /// Whether the store went away while the right was ours.
    pub fn is_orphan(&self) -> bool {
        self.0.fate.load(Ordering::SeqCst) == ORPHAN
    }

    fn ends(&self) -> Moment {
        Moment::from_bits(self.0.ends.load(Ordering::SeqCst))
    }

    /// A beat that went out at `asked` was taken.
    fn goes_on(&self, asked: Moment) {
        self.0.ends.fetch_max(asked.after(LEASE).to_bits(), Ordering::SeqCst);
    }

    fn lose(&self) {
        self.0.fate.store(LOST, Ordering::SeqCst);
    }

    /// The store is away. Who was stopped until the right had run out may not take this for a reason to go on: somebody
    /// else may have been given it. Who was told that somebody was, all the less.
    fn store_is_away(&self) {
        let in_time = self.0.clock.now() < self.ends();
        let fate = if in_time { ORPHAN } else { LOST };
        let _ = self.0.fate.compare_exchange(HELD, fate, Ordering::SeqCst, Ordering::SeqCst);
    }
}

impl Lease {
    /// What was given out with it.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Whether it still holds, for those who go on an errand by it.
    pub fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// Puts a token in its place and takes away a failure; it stays there for `keep`.
    ///
    /// # Errors
    /// The store is away.
    pub async fn put_token(&self, content: &[u8], keep: Duration) -> Result<Put, Away> {
        self.put(TOKEN, content, keep).await
    }

    /// Puts the mark of a dropped token in the place of the token.
    ///
    /// # Errors
    /// The store is away.
    pub async fn drop_token(&self, content: &[u8], keep: Duration) -> Result<Put, Away> {
        self.put(DROPPED, content, keep).await
    }

    /// Puts a failure beside the token.
    ///
    /// # Errors
    /// The store is away.
    pub async fn put_failure(&self, content: &[u8], keep: Duration) -> Result<Put, Away> {
        self.put(FAILURE, content, keep).await
    }

    /// Gives it back, and tells those who wait for it.
    pub async fn release(self) {
        let names = [self.store.name(&self.place, "lease")];
        let released =
            self.store.link.call("release", scripts::RELEASE, &names, std::slice::from_ref(&self.owner)).await;
        if released.is_ok_and(|reply| reply.word(1) == Ok("released")) {
            self.store.tell(&self.place, RELEASED, self.fence).await;
        }
    }

    async fn put(&self, kind: &'static str, content: &[u8], keep: Duration) -> Result<Put, Away> {
        let put = self.store.put(&self.place, (kind, self.fence), content, keep).await?;
        match put {
            Put::Kept => self.store.tell(&self.place, kind, self.fence).await,
            Put::Overtaken => self.hold.lose(),
        }
        Ok(put)
    }
}

pub(super) const RELEASED: &str = "released";

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("place", &self.place).field("fence", &self.fence).finish_non_exhaustive()
    }
}

impl Store {
    /// The right to mint for a place, if nobody has it and nobody had it since what was `seen`. A look that saw somebody
    /// have it leads to no lease: what comes of theirs has to be looked at first.
    ///
    /// # Errors
    /// The store is away.
    pub async fn acquire(self: &Arc<Self>, place: &Place, seen: &Seen) -> Result<Acquired, Away> {
        if let Some(left) = seen.lease {
            return Ok(Acquired::Held { left });
        }
        let owner = format!("{}:{}", self.replica(), Uuid::new_v4()).into_bytes();
        let names = ["token", "lease", "fence"].map(|what| self.name(place, what));
        let [seen, above] = [seen.given, seen.above].map(|fence| fence.to_string().into_bytes());
        let asked = self.clock().now();
        let arguments = [owner.clone(), millis(LEASE), millis(FENCE_LASTS), seen, above];
        let reply = self.link.call("acquire", scripts::ACQUIRE, &names, &arguments).await?;
        let nonsense = |nonsense| self.link.nonsense(nonsense);
        match reply.word(1).map_err(nonsense)? {
            "moved" => Ok(Acquired::Moved),
            "held" => Ok(Acquired::Held { left: Duration::from_millis(reply.number(2).map_err(nonsense)?) }),
            "lease" => {
                let fence = Fence::new(reply.number(2).map_err(nonsense)?);
                Ok(Acquired::Lease(self.begin(place.clone(), owner, fence, asked)))
            }
            _ => Err(nonsense(Nonsense)),
        }
    }

    fn begin(self: &Arc<Self>, place: Place, owner: Vec<u8>, fence: Fence, asked: Moment) -> Lease {
        let hold = Hold::new(self.clock().clone(), asked);
        let stop = CancellationToken::new();
        let beats = Arc::clone(self).beat((place.clone(), owner.clone(), fence), hold.clone());
        self.beats.spawn(stop.clone().run_until_cancelled_owned(beats));
        Lease { store: Arc::clone(self), place, owner, fence, hold, _beating: stop.drop_guard() }
    }

    /// Says that the holder lives, until it has lost its right or the store.
    async fn beat(self: Arc<Self>, (place, owner, fence): (Place, Vec<u8>, Fence), hold: Hold) {
        let names = ["lease", "fence"].map(|what| self.name(&place, what));
        let arguments = [owner, millis(LEASE), millis(FENCE_LASTS), number(fence)];
        loop {
            tokio::time::sleep(BEAT.saturating_sub(LIMIT)).await;
            let asked = self.clock().now();
            match self.link.call("beat", scripts::BEAT, &names, &arguments).await {
                Ok(reply) if reply.word(1) == Ok("held") => hold.goes_on(asked),
                Ok(_) => return hold.lose(),
                Err(Away) => return hold.store_is_away(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold() -> (Clock, Hold) {
        let clock = Clock::manual();
        (clock.clone(), Hold::new(clock.clone(), clock.now()))
    }

    #[test]
    fn a_request_goes_out_only_while_there_is_time_to_spare() {
        let (clock, hold) = hold();
        assert!(hold.may_post());
        clock.advance(Duration::from_millis(2499));
        assert!(hold.may_post());
        clock.advance(Duration::from_millis(1));
        assert!(!hold.may_post());
        hold.goes_on(clock.now());
        assert!(hold.may_post());
    }

    #[test]
    fn who_loses_the_store_in_time_goes_on_alone() {
        let (clock, hold) = hold();
        clock.advance(Duration::from_millis(2999));
        hold.store_is_away();
        clock.advance(Duration::from_secs(60));
        assert!(hold.may_post() && hold.is_orphan());
    }

    #[test]
    fn who_was_stopped_beyond_the_end_does_nothing_whether_the_store_is_there_or_not() {
        let (clock, hold) = hold();
        clock.advance(Duration::from_secs(3));
        assert!(!hold.may_post());
        hold.store_is_away();
        assert!(!hold.may_post() && !hold.is_orphan());
    }

    #[test]
    fn what_is_lost_stays_lost() {
        let (clock, hold) = hold();
        hold.lose();
        hold.goes_on(clock.now());
        hold.store_is_away();
        assert!(!hold.may_post() && !hold.is_orphan());
    }

    #[test]
    fn a_beat_that_was_slow_on_its_way_counts_from_when_it_went_out() {
        let (clock, hold) = hold();
        let asked = clock.now();
        clock.advance(Duration::from_millis(200));
        hold.goes_on(asked);
        clock.advance(Duration::from_millis(2300));
        assert!(!hold.may_post());
    }
}
