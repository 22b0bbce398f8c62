//! A place for one value that ages: read without a lock, renewed by one flight at a time, beside the answers.
//!
//! Each integration has its own [`Slot`], so there is no map to search and nothing to evict: what may be kept is what
//! the configuration names. A flight is a task of its own; a caller who hangs up takes nothing with it. The cache knows
//! nothing of Salesforce: what to fetch and how long to leave it alone after a failure come in from outside.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, Moment};
use crate::promise::Promise;

/// A value and how long it is vouched for.
#[derive(Debug)]
pub struct Kept<V> {
    /// The value.
    pub value: V,
    /// Its promise.
    pub promise: Promise,
}

/// How a value was found. The wire names are label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// In memory.
    Hit,
    /// In memory, while a renewal runs beside the answer.
    StaleHit,
    /// Fetched for this caller.
    Miss,
    /// Fetched for another caller, and waited for.
    Joined,
}

impl Lookup {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::StaleHit => "stale_hit",
            Self::Miss => "miss",
            Self::Joined => "joined",
        }
    }
}

/// What a caller wants.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// At least this much life, if it can be had without harm.
    pub min_life: Duration,
    /// Until when the caller waits.
    pub deadline: Instant,
}

/// Why there is no value.
#[derive(Debug)]
pub enum Unavailable<E> {
    /// The flight failed, now or a while ago; the next one starts after the pause.
    Failed {
        /// Why.
        error: Arc<E>,
        /// Until the next try.
        retry_after: Duration,
    },
    /// What came is not vouched for as long as a whole second.
    TooShort,
    /// No outcome before the caller's deadline.
    TooSlow,
    /// The flight broke off: a bug, told as such.
    Broken,
}

/// No value, and how it was looked for.
#[derive(Debug)]
pub struct Missed<E> {
    /// Why.
    pub why: Unavailable<E>,
    /// Whether it was this caller's flight or another's.
    pub lookup: Lookup,
}

/// The last failure, and when it may be tried again.
#[derive(Debug)]
pub struct Failure<E> {
    /// Why.
    pub error: Arc<E>,
    /// When.
    pub at: Moment,
    /// Not before.
    pub retry_at: Moment,
    /// How many in a row.
    pub streak: u32,
}

impl<E> Clone for Failure<E> {
    fn clone(&self) -> Self {
        Self { error: Arc::clone(&self.error), at: self.at, retry_at: self.retry_at, streak: self.streak }
    }
}

type Landing<E> = watch::Receiver<Option<Result<(), Arc<E>>>>;

#[derive(Debug)]
struct State<E> {
    flight: Option<Landing<E>>,
    failure: Option<Failure<E>>,
}

/// The place of one value.
#[derive(Debug)]
pub struct Slot<V, E> {
    current: ArcSwapOption<Kept<V>>,
    /// Held for a few instructions, never across a wait.
    state: Mutex<State<E>>,
    /// Spares the readers of an ageing value the lock while a flight is under way.
    flying: AtomicBool,
    /// Until when the last failure forbids a try; spares those readers the lock, too.
    quiet_until: AtomicU64,
    last_read: AtomicU64,
    clock: Clock,
    flights: TaskTracker,
    /// How long to leave the source alone after the n-th failure in a row.
    pause: fn(&E, u32) -> Duration,
}

/// A renewal asked for within this time of the last one gives nothing new.
const SETTLED: Duration = Duration::from_secs(60);

impl<V: Send + Sync + 'static, E: Send + Sync + 'static> Slot<V, E> {
    /// An empty place. Flights run as tasks of `flights`.
    pub fn new(clock: Clock, flights: TaskTracker, pause: fn(&E, u32) -> Duration) -> Self {
        Self {
            current: ArcSwapOption::empty(),
            state: Mutex::new(State { flight: None, failure: None }),
            flying: AtomicBool::new(false),
            quiet_until: AtomicU64::new(0),
            last_read: AtomicU64::new(0),
            clock,
            flights,
            pause,
        }
    }

    /// The value: from memory while it is good, else from a flight that everybody shares.
    ///
    /// `renew` is called with the value at hand when a flight is to start, and its future runs to its end whatever
    /// happens to the caller.
    pub async fn get<R, F>(self: &Arc<Self>, want: Want, renew: R) -> Result<(Arc<Kept<V>>, Lookup), Missed<E>>
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Result<Kept<V>, E>> + Send + 'static,
    {
        let now = self.clock.now();
        self.last_read.store(now.to_bits(), Ordering::Relaxed);
        match self.current.load_full() {
            Some(kept) if suffices(&kept.promise, want.min_life, now) => {
                let lookup = if kept.promise.wants_refresh(now) { self.refresh(now, renew) } else { Lookup::Hit };
                Ok((kept, lookup))
            }
            // Boxed: each connection keeps room for what is not, and few have to wait.
            _ => match Box::pin(self.wait(want, now, renew)).await {
                // Somebody asked for more life than can be had; what is there may still be good, unless the flight found
                // out that it is not.
                Err(missed) => match self.current.load_full().filter(|kept| self.is_good(kept)) {
                    Some(kept) => Ok((kept, Lookup::StaleHit)),
                    None => Err(missed),
                },
                found => found,
            },
        }
    }

    fn is_good(&self, kept: &Kept<V>) -> bool {
        kept.promise.expires_in(self.clock.now()).is_some()
    }

    /// Starts a renewal beside the answers if the value wants one, is in use and nothing forbids it.
    pub fn refresh_if_due<R, F>(self: &Arc<Self>, renew: R)
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Result<Kept<V>, E>> + Send + 'static,
    {
        let now = self.clock.now();
        let Some(kept) = self.current.load_full() else { return };
        let in_use = self.last_read.load(Ordering::Relaxed) >= kept.promise.from().to_bits();
        let good = kept.promise.expires_in(now).is_some();
        if in_use && good && kept.promise.wants_refresh(now) {
            self.refresh(now, renew);
        }
    }

    /// Takes `kept` out of the place, if it is still what stands there: it turned out to be no good.
    pub fn forget(&self, kept: &Arc<Kept<V>>) {
        self.current.compare_and_swap(kept, None);
    }

    /// What is in the place, good or not.
    pub fn peek(&self) -> Option<Arc<Kept<V>>> {
        self.current.load_full()
    }

    /// The last failure, unless a success came after it.
    pub fn failure(&self) -> Option<Failure<E>> {
        self.lock().failure.clone()
    }

    /// When somebody last asked for it.
    pub fn last_read(&self) -> Option<Moment> {
        match self.last_read.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(Moment::from_bits(bits)),
        }
    }

    fn refresh<R, F>(self: &Arc<Self>, now: Moment, renew: R) -> Lookup
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Result<Kept<V>, E>> + Send + 'static,
    {
        let quiet = now.to_bits() < self.quiet_until.load(Ordering::Acquire);
        if !quiet && !self.flying.load(Ordering::Acquire) {
            let mut state = self.lock();
            let paused = state.failure.as_ref().is_some_and(|failure| now < failure.retry_at);
            // Another reader may have renewed it since this one looked.
            let due = self.current.load().as_ref().is_some_and(|kept| kept.promise.wants_refresh(now));
            if state.flight.is_none() && !paused && due {
                self.start(&mut state, renew);
            }
        }
        Lookup::StaleHit
    }

    async fn wait<R, F>(
        self: &Arc<Self>,
        want: Want,
        now: Moment,
        renew: R,
    ) -> Result<(Arc<Kept<V>>, Lookup), Missed<E>>
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Result<Kept<V>, E>> + Send + 'static,
    {
        let (mut landing, lookup) = {
            let mut state = self.lock();
            match (&state.flight, &state.failure) {
                (Some(flight), _) => (flight.clone(), Lookup::Joined),
                (None, Some(failure)) if now < failure.retry_at => {
                    let (error, retry_after) = (Arc::clone(&failure.error), failure.retry_at.since(now));
                    return Err(Missed { why: Unavailable::Failed { error, retry_after }, lookup: Lookup::Miss });
                }
                // A flight may have landed between this caller's look and the lock.
                (None, _) => {
                    match self.current.load_full().filter(|kept| suffices(&kept.promise, want.min_life, now)) {
                        Some(kept) => return Ok((kept, Lookup::Joined)),
                        None => (self.start(&mut state, renew), Lookup::Miss),
                    }
                }
            }
        };
        let landed = tokio::time::timeout_at(want.deadline, landing.wait_for(Option::is_some)).await;
        let missed = |why| Err(Missed { why, lookup });
        let outcome = match landed {
            Err(_) => return missed(Unavailable::TooSlow),
            Ok(Err(_)) => return missed(Unavailable::Broken),
            Ok(Ok(outcome)) => outcome.clone(),
        };
        let now = self.clock.now();
        // The caller reads it now, not when it began to wait: that counts as use of the new value.
        self.last_read.store(now.to_bits(), Ordering::Relaxed);
        match outcome {
            Some(Err(error)) => {
                let retry_after = self.lock().failure.as_ref().map_or(SETTLED, |failure| failure.retry_at.since(now));
                missed(Unavailable::Failed { error, retry_after })
            }
            _ => match self.current.load_full() {
                Some(kept) if kept.promise.expires_in(now).is_some() => Ok((kept, lookup)),
                _ => missed(Unavailable::TooShort),
            },
        }
    }

    fn start<R, F>(self: &Arc<Self>, state: &mut State<E>, renew: R) -> Landing<E>
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Result<Kept<V>, E>> + Send + 'static,
    {
        let (land, landing) = watch::channel(None);
        state.flight = Some(landing.clone());
        self.flying.store(true, Ordering::Release);
        let flight = renew(self.current.load_full());
        let guard = Guard { slot: Arc::clone(self) };
        self.flights.spawn(async move {
            let outcome = flight.await;
            let outcome = guard.slot.land(outcome);
            drop(guard);
            let _ = land.send(Some(outcome));
        });
        landing
    }

    fn land(&self, outcome: Result<Kept<V>, E>) -> Result<(), Arc<E>> {
        let mut state = self.lock();
        let now = self.clock.now();
        match outcome {
            Ok(kept) => {
                self.current.store(Some(Arc::new(kept)));
                state.failure = None;
                self.quiet_until.store(0, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                let streak = state.failure.as_ref().map_or(0, |failure| failure.streak).saturating_add(1);
                let error = Arc::new(error);
                let retry_at = now.after((self.pause)(&error, streak));
                self.quiet_until.store(retry_at.to_bits(), Ordering::Release);
                state.failure = Some(Failure { error: Arc::clone(&error), at: now, retry_at, streak });
                Err(error)
            }
        }
    }
}

impl<V, E> Slot<V, E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        // Nothing panics while it is held; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a value is good, and for as long as was asked.
///
/// Nobody gets more than four fifths of a full promise, or a caller could renew without end; nor is a value younger
/// than [`SETTLED`] renewed to please a caller.
fn suffices(promise: &Promise, min_life: Duration, now: Moment) -> bool {
    let Some(left) = promise.expires_in(now) else { return false };
    let asked = min_life.min(promise.full().mul_f64(0.8));
    Duration::from_secs(left) >= asked || now.since(promise.from()) < SETTLED
}

/// Clears the flight when its task ends, also when it panics or is dropped: the next caller can start another.
struct Guard<V, E> {
    slot: Arc<Slot<V, E>>,
}

impl<V, E> Drop for Guard<V, E> {
    fn drop(&mut self) {
        self.slot.lock().flight = None;
        self.slot.flying.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promise::LifetimeSource;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::Notify;

    const TIMEOUT: Duration = Duration::from_secs(7200);

    /// A source that counts how often it is asked and waits for a sign before it answers.
    #[derive(Clone, Default)]
    struct Source {
        asked: Arc<AtomicUsize>,
        gate: Arc<Notify>,
        failing: Arc<AtomicBool>,
    }

    impl Source {
        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        fn renew(&self, clock: &Clock) -> impl FnOnce(Option<Arc<Kept<usize>>>) -> BoxedRenewal + use<> {
            let (source, clock) = (self.clone(), clock.clone());
            move |_| {
                Box::pin(async move {
                    let value = source.asked.fetch_add(1, Ordering::SeqCst);
                    source.gate.notified().await;
                    if source.failing.load(Ordering::SeqCst) {
                        return Err("refused");
                    }
                    let promise = Promise::half_of(TIMEOUT, clock.now(), LifetimeSource::Confirmed, 0.0);
                    Ok(Kept { value, promise })
                })
            }
        }
    }

    type BoxedRenewal = std::pin::Pin<Box<dyn Future<Output = Result<Kept<usize>, &'static str>> + Send>>;

    fn slot(clock: &Clock) -> Arc<Slot<usize, &'static str>> {
        Arc::new(Slot::new(clock.clone(), TaskTracker::new(), |_, streak| Duration::from_secs(u64::from(streak))))
    }

    fn want() -> Want {
        Want { min_life: Duration::ZERO, deadline: Instant::now() + Duration::from_secs(9) }
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_thousand_cold_readers_share_one_flight() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        let readers = TaskTracker::new();
        let answers: Vec<_> = (0..1000)
            .map(|_| {
                let (slot, renew) = (Arc::clone(&slot), source.renew(&clock));
                readers.spawn(async move { slot.get(want(), renew).await.unwrap() })
            })
            .collect();
        until(|| source.asked() == 1).await;
        source.gate.notify_one();
        let mut misses = 0;
        for answer in answers {
            let (kept, lookup) = answer.await.unwrap();
            assert_eq!(kept.value, 0);
            misses += usize::from(lookup == Lookup::Miss);
        }
        assert_eq!((source.asked(), misses), (1, 1));
    }

    #[tokio::test]
    async fn a_leader_who_hangs_up_harms_nobody() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        let tasks = TaskTracker::new();
        let reader = |renew| {
            let slot = Arc::clone(&slot);
            tasks.spawn(async move { slot.get(want(), renew).await.map(|(kept, _)| kept.value) })
        };
        let leader = reader(source.renew(&clock));
        until(|| source.asked() == 1).await;
        let follower = reader(source.renew(&clock));
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        source.gate.notify_one();
        assert_eq!(follower.await.unwrap().unwrap(), 0);
        assert_eq!(source.asked(), 1);
    }

    #[tokio::test]
    async fn an_ageing_value_is_answered_while_one_renewal_runs_and_survives_its_failure() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        source.gate.notify_one();
        slot.get(want(), source.renew(&clock)).await.unwrap();
        clock.advance(Duration::from_secs(3000));
        source.failing.store(true, Ordering::SeqCst);
        for _ in 0..100 {
            let (kept, lookup) = slot.get(want(), source.renew(&clock)).await.unwrap();
            assert_eq!((kept.value, lookup), (0, Lookup::StaleHit));
        }
        source.gate.notify_one();
        until(|| slot.failure().is_some()).await;
        // During the pause nobody asks again, and the value is still good.
        assert_eq!(slot.get(want(), source.renew(&clock)).await.unwrap().0.value, 0);
        assert_eq!(source.asked(), 2);
        clock.advance(Duration::from_secs(2));
        source.failing.store(false, Ordering::SeqCst);
        source.gate.notify_one();
        slot.get(want(), source.renew(&clock)).await.unwrap();
        until(|| slot.failure().is_none()).await;
        assert_eq!(slot.get(want(), source.renew(&clock)).await.unwrap().0.value, 2);
    }

    #[tokio::test]
    async fn a_failure_is_remembered_for_its_pause() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        source.failing.store(true, Ordering::SeqCst);
        source.gate.notify_one();
        let refused = slot.get(want(), source.renew(&clock)).await.unwrap_err();
        assert!(
            matches!(refused.why, Unavailable::Failed { retry_after, .. } if retry_after == Duration::from_secs(1))
        );
        assert!(slot.get(want(), source.renew(&clock)).await.is_err());
        assert_eq!(source.asked(), 1);
        clock.advance(Duration::from_secs(1));
        source.failing.store(false, Ordering::SeqCst);
        source.gate.notify_one();
        assert_eq!(slot.get(want(), source.renew(&clock)).await.unwrap().0.value, 1);
    }

    #[tokio::test]
    async fn nobody_waits_beyond_the_deadline_and_the_flight_still_lands() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        let impatient = Want { deadline: Instant::now(), ..want() };
        assert!(matches!(
            slot.get(impatient, source.renew(&clock)).await,
            Err(Missed { why: Unavailable::TooSlow, .. })
        ));
        source.gate.notify_one();
        until(|| slot.peek().is_some()).await;
        assert_eq!(slot.get(want(), source.renew(&clock)).await.unwrap().1, Lookup::Hit);
    }

    #[tokio::test]
    async fn a_flight_that_panics_frees_the_place() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        let bug =
            |_| async { if Clock::system().timestamp().as_second() > 0 { panic!("a bug") } else { Err("no bug") } };
        let broken = slot.get(want(), bug).await;
        assert!(matches!(broken, Err(Missed { why: Unavailable::Broken, .. })));
        source.gate.notify_one();
        assert!(slot.get(want(), source.renew(&clock)).await.is_ok());
    }

    #[tokio::test]
    async fn only_a_value_in_use_is_renewed_ahead() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        source.gate.notify_one();
        slot.get(want(), source.renew(&clock)).await.unwrap();
        clock.advance(Duration::from_secs(3000));
        slot.refresh_if_due(source.renew(&clock));
        source.gate.notify_one();
        until(|| slot.peek().unwrap().value == 1).await;
        // Nobody read the new value: it is let go.
        clock.advance(Duration::from_secs(3000));
        slot.refresh_if_due(source.renew(&clock));
        tokio::task::yield_now().await;
        assert_eq!(source.asked(), 2);
    }

    #[tokio::test]
    async fn more_life_can_be_asked_for_but_not_without_end() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        source.gate.notify_one();
        slot.get(want(), source.renew(&clock)).await.unwrap();
        clock.advance(Duration::from_secs(59));
        let greedy = || Want { min_life: Duration::from_secs(86_400), ..want() };
        assert_eq!(slot.get(greedy(), source.renew(&clock)).await.unwrap().1, Lookup::Hit);
        clock.advance(Duration::from_secs(1000));
        source.gate.notify_one();
        assert_eq!(slot.get(greedy(), source.renew(&clock)).await.unwrap().0.value, 1);
        // It cannot be had: what is there is handed out all the same.
        clock.advance(Duration::from_secs(1000));
        source.failing.store(true, Ordering::SeqCst);
        source.gate.notify_one();
        assert_eq!(slot.get(greedy(), source.renew(&clock)).await.unwrap().0.value, 1);
        assert_eq!(source.asked(), 3);
    }

    #[tokio::test]
    async fn a_value_that_the_flight_found_dead_is_not_handed_to_who_asked_for_more_life() {
        let (clock, source) = (Clock::manual(), Source::default());
        let slot = slot(&clock);
        source.gate.notify_one();
        slot.get(want(), source.renew(&clock)).await.unwrap();
        clock.advance(Duration::from_secs(1000));
        let greedy = Want { min_life: Duration::from_secs(86_400), ..want() };
        let finds_it_dead = |kept: Option<Arc<Kept<usize>>>| {
            let slot = Arc::clone(&slot);
            async move {
                slot.forget(&kept.unwrap());
                Err("and there is no other")
            }
        };
        assert!(slot.get(greedy, finds_it_dead).await.is_err());
        assert!(slot.peek().is_none());
    }
}
