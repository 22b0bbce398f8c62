//! What is known here of the same integration at the other replicas: its place in the store, and what was seen there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Granted;
use super::memory::Memory;
use crate::cache::Kept;
use crate::clock::Moment;
use crate::promise::Promise;
use crate::salesforce::{Integration, MintError, Purpose, Vouched};
use crate::store::{Away, Entry, Place, Seen, Store};

/// One integration's place in the store.
#[derive(Debug)]
pub(super) struct Sharing {
    pub(super) store: Arc<Store>,
    pub(super) place: Place,
    /// By which right the token at hand was written, or the last one that was dropped.
    held: AtomicU64,
    /// The highest right that anything was written by that was seen: what is older does not come back.
    newest: AtomicU64,
    /// When to look although nobody said that anything changed.
    looks_at: AtomicU64,
    /// Something changed while a flight was under way that may have looked before.
    behind: AtomicBool,
    /// Somebody said that what was refused may be cured.
    forgiven: AtomicBool,
}

/// Who missed all events finds out within this time.
const NET: Duration = Duration::from_secs(30);
/// Turns come once in a second; who is so late for one stood still.
const STANDSTILL: Duration = Duration::from_secs(5);
/// In microseconds.
const DAY: u64 = 86_400_000_000;
/// By so much two readings of one promise do not differ.
const TOO_MUCH: Duration = Duration::from_secs(2);
/// What is stored is there a little longer than it is good, so that who is slow finds it ended and not lost.
const LEEWAY: Duration = Duration::from_secs(60);

impl Sharing {
    pub(super) fn new(store: &Arc<Store>, integration: &Integration) -> Self {
        let digest = integration.digest();
        // Spread, so that they do not all look in the same moment.
        let first = NET.mul_f64(f64::from(*digest.first().unwrap_or(&0)) / 256.0);
        Self {
            place: Place::new(integration.name().as_str(), digest),
            held: AtomicU64::new(0),
            newest: AtomicU64::new(0),
            looks_at: AtomicU64::new(store.clock().now().after(first).to_bits()),
            behind: AtomicBool::new(false),
            forgiven: AtomicBool::new(false),
            store: Arc::clone(store),
        }
    }

    /// What stands at its place, without what is older than something that was seen before.
    pub(super) async fn look(&self) -> Result<Seen, Away> {
        let mut seen = self.store.look(&self.place).await?;
        self.forget_the_future(seen.at.micros());
        let newest = self.newest.load(Ordering::SeqCst);
        let is_news = |entry: &Entry| entry.fence.number() >= newest;
        seen.token = seen.token.filter(is_news);
        seen.dropped = seen.dropped.filter(is_news);
        if let Some(entry) = seen.token.as_ref().or(seen.dropped.as_ref()) {
            self.newest.fetch_max(entry.fence.number(), Ordering::SeqCst);
        }
        seen.rise_above(self.newest.load(Ordering::SeqCst));
        Ok(seen)
    }

    /// A right of the day after tomorrow came from a clock that was wrong: whoever remembered it would take nothing for
    /// news until then.
    fn forget_the_future(&self, now: u64) {
        for right in [&self.held, &self.newest] {
            if right.load(Ordering::SeqCst) > now.saturating_add(DAY) {
                right.store(0, Ordering::SeqCst);
            }
        }
    }

    /// The token at hand, or the mark that there is none, was written by this right.
    pub(super) fn hold(&self, fence: u64) {
        self.held.store(fence, Ordering::SeqCst);
        self.newest.fetch_max(fence, Ordering::SeqCst);
    }

    /// Whether something written by this right would be news here. What was seen is not enough: the mark of a dropped token
    /// and the token after it are written by one right.
    pub(super) fn is_news(&self, fence: u64) -> bool {
        fence > self.held.load(Ordering::SeqCst)
    }

    /// Somebody has to look again as soon as the flight that is under way has landed.
    pub(super) fn fall_behind(&self) {
        self.behind.store(true, Ordering::SeqCst);
    }

    /// Another replica was told that what was refused may be cured.
    pub(super) fn hear_of_a_cure(&self) {
        self.forgiven.store(true, Ordering::SeqCst);
    }

    /// Whether it was, since this was asked last. That no failure stands in the store says nothing: it may have been
    /// emptied.
    pub(super) fn heard_of_a_cure(&self) -> bool {
        self.forgiven.swap(false, Ordering::SeqCst)
    }

    /// Whether the token at hand stands there, written by the right that is known here, with more left than there is: the
    /// store's clock was set back since.
    pub(super) fn overstates(&self, seen: &Seen, integration: &Integration, kept: &Kept<Granted>, now: Moment) -> bool {
        let Some(entry) = &seen.token else { return false };
        let theirs = || integration.read_token(&entry.content, |ends| self.left(seen, ends));
        entry.fence.number() == self.held.load(Ordering::SeqCst)
            && theirs().is_none_or(|theirs| {
                theirs.grant.token.digest() == kept.value.grant.token.digest()
                    && theirs.promise.remaining(now) > kept.promise.remaining(now) + TOO_MUCH
            })
    }

    /// Whether it is time to look. The look is the caller's from then on.
    pub(super) fn is_due(&self) -> bool {
        let (turn, now) = (Moment::from_bits(self.looks_at.load(Ordering::SeqCst)), self.store.clock().now());
        if now >= turn {
            self.looks_at.store(turn_after(turn, now).to_bits(), Ordering::SeqCst);
        }
        self.behind.swap(false, Ordering::SeqCst) || is_turn(turn, now)
    }

    /// What is left by the store's clock until `ends`.
    fn left(&self, seen: &Seen, ends: u64) -> Duration {
        seen.at.left_until(ends, self.store.clock().now())
    }

    /// When `span` from now is over, by the store's clock.
    pub(super) fn at_end_of(&self, seen: &Seen, span: Duration) -> u64 {
        seen.at.at_end_of(span, self.store.clock().now())
    }

    /// The failure that stands there, if it is one for us too, with what is left of its pause.
    pub(super) fn failure(&self, seen: &Seen, integration: &Integration) -> Option<MintError> {
        let entry = seen.failure.as_ref()?;
        integration.read_failure(&entry.content, |ends| self.left(seen, ends))
    }

    /// The token that stands there, if it is worth taking: `kept` is what is at hand, and `purpose` what a token is wanted
    /// for, unless nobody asked.
    pub(super) fn worth_taking(
        &self,
        seen: &Seen,
        (integration, memory): (&Integration, &Memory),
        kept: Option<&Kept<Granted>>,
        purpose: Option<Purpose>,
    ) -> Option<(Vouched, u64)> {
        let entry = seen.token.as_ref()?;
        let theirs = integration.read_token(&entry.content, |ends| self.left(seen, ends))?;
        let (fence, now) = (entry.fence.number(), memory.clock.now());
        let digest = theirs.grant.token.digest();
        if theirs.promise.expires_in(now).is_none() || memory.past().is_dead(&digest) {
            return None;
        }
        let news = fence > self.held.load(Ordering::SeqCst);
        let same = kept.is_some_and(|kept| kept.value.grant.token.digest() == digest);
        let ours = kept.map(|kept| kept.promise).filter(|promise| promise.expires_in(now).is_some());
        let further = ours.is_none_or(|ours| theirs.promise.remaining(now) > ours.remaining(now));
        let worth = match purpose {
            Some(Purpose::Now) => true,
            Some(Purpose::Ahead) => news && further && !theirs.promise.wants_refresh(now),
            // The word of another replica on the same token may be as old as ours.
            Some(Purpose::Verify { .. }) => news && !same,
            // Replicas are to hand out one token, so the newest it is.
            None => ours.is_none() || news && (further || !same),
        };
        worth.then_some((theirs, fence))
    }
}

/// Whether to look now by the turn at that moment. After a standstill all that fell due meanwhile would look at once, and an
/// answer that is late for them is late for the whole replica: they wait for their next turn, which is within [`NET`].
fn is_turn(turn: Moment, now: Moment) -> bool {
    now >= turn && now.since(turn) < STANDSTILL
}

/// The first turn after `now`, by whole spans: all keep the places among each other that they began with.
fn turn_after(turn: Moment, now: Moment) -> Moment {
    let spans = now.since(turn).as_secs() / NET.as_secs() + 1;
    turn.after(Duration::from_secs(spans.saturating_mul(NET.as_secs())))
}

/// Whether what stands there says that this token is dead.
pub(super) fn buries(seen: &Seen, kept: &Kept<Granted>) -> bool {
    let digest = kept.value.grant.token.digest();
    seen.dropped.as_ref().is_some_and(|entry| entry.content.as_slice() == digest)
}

/// For how long something about a promise has to be stored.
pub(super) fn stays(promise: &Promise, now: Moment) -> Duration {
    promise.remaining(now).saturating_add(LEEWAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One place for each of the 256 that the first turns are spread over.
    struct Crowd(Vec<Moment>);

    impl Crowd {
        fn at(start: Moment) -> Self {
            Self((0..256).map(|place| start.after(NET.mul_f64(f64::from(place) / 256.0))).collect())
        }

        /// How many look in this moment.
        fn look(&mut self, now: Moment) -> usize {
            let mut looks = 0;
            for turn in self.0.iter_mut().filter(|turn| now >= **turn) {
                looks += usize::from(is_turn(*turn, now));
                *turn = turn_after(*turn, now);
            }
            looks
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::from_bits(1_000_000_000).after(Duration::from_millis(millis))
    }

    #[test]
    fn after_a_standstill_each_looks_in_its_own_turn_and_nobody_misses_more_than_one() {
        let mut crowd = Crowd::at(at(0));
        // A second at a time, then nothing for a while, then on.
        for (from, until) in [(0, 100), (110, 200), (229, 300), (900, 1000), (100_000, 100_100)] {
            let looks: Vec<usize> = (from..until).map(|second| crowd.look(at(second * 1000 + 7))).collect();
            // What is up to 5 s late is looked at all the same.
            assert!(looks[0] <= 43 && looks[1..].iter().all(|looks| (8..=9).contains(looks)), "{from}: {looks:?}");
        }
    }

    #[test]
    fn who_is_a_little_late_looks_at_once_and_then_in_its_turn() {
        for (late, looks) in [(0, true), (4_999, true), (5_000, false), (29_999, false), (30_000, false)] {
            assert_eq!(is_turn(at(0), at(late)), looks, "{late} ms");
        }
        assert!(!is_turn(at(1), at(0)));
        for (late, next) in [(0, 30_000), (4_999, 30_000), (29_999, 30_000), (30_000, 60_000), (95_000, 120_000)] {
            assert_eq!(turn_after(at(0), at(late)), at(next), "{late} ms");
        }
    }
}
