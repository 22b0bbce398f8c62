//! The place of one value: read without a lock, renewed by one flight at a time.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::flight::Flight;
use super::sync::{self, ArcSwapOption, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, PoisonError};
use super::{Failure, Kept, Lookup, Missed, Pause, Unavailable, Want};
use crate::clock::{Clock, Moment};
use crate::promise::Promise;
use crate::telemetry::trace;

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
    pause: fn(&E, u32) -> Pause,
}

#[derive(Debug)]
struct State<E> {
    flight: Option<Flight<E>>,
    failure: Option<Failure<E>>,
}

/// What a caller without a good value finds.
enum Boarded<V, E> {
    /// It landed a moment ago.
    Value(Arc<Kept<V>>),
    /// It has to be waited for.
    Flight(Flight<E>, Lookup),
}

/// A renewal asked for within this time of the last one gives nothing new.
const SETTLED: Duration = Duration::from_secs(60);

/// What a flight brings: a new value, `None` when there is nothing new to keep, or an error to remember.
type Brought<V, E> = Result<Option<Kept<V>>, E>;

impl<V: Send + Sync + 'static, E: Send + Sync + 'static> Slot<V, E> {
    /// An empty place. Flights run as tasks of `flights`.
    pub fn new(clock: Clock, flights: TaskTracker, pause: fn(&E, u32) -> Pause) -> Self {
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
    pub async fn get<R, F>(self: &Arc<Self>, want: Want<'_>, renew: R) -> Result<(Arc<Kept<V>>, Lookup), Missed<E>>
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Brought<V, E>> + Send + 'static,
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
        F: Future<Output = Brought<V, E>> + Send + 'static,
    {
        let now = self.clock.now();
        let Some(kept) = self.current.load_full() else { return };
        let in_use = self.last_read.load(Ordering::Relaxed) >= kept.promise.from().to_bits();
        let good = kept.promise.expires_in(now).is_some();
        if in_use && good && kept.promise.wants_refresh(now) {
            self.refresh(now, renew);
        }
    }

    /// For a place that is to be kept filled whether or not somebody reads it: starts a flight unless the value is good
    /// and not ageing, or a failure forbids one. Comes back with the flight that is under way, if one is.
    pub fn fill<R, F>(self: &Arc<Self>, renew: R) -> Option<Flight<E>>
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Brought<V, E>> + Send + 'static,
    {
        let now = self.clock.now();
        let settled = |kept: &Kept<V>| kept.promise.expires_in(now).is_some() && !kept.promise.wants_refresh(now);
        if self.current.load().as_ref().is_some_and(|kept| settled(kept)) {
            return None;
        }
        let mut state = self.lock();
        let kept = self.current.load_full();
        let needed = kept.as_ref().is_none_or(|kept| !self.is_good(kept));
        match (&state.flight, &state.failure) {
            (Some(flight), _) => Some(flight.clone()),
            (None, Some(failure)) if failure.forbids(now, needed) => None,
            // A flight may have landed between the look and the lock.
            (None, _) if kept.is_some_and(|kept| settled(&kept)) => None,
            (None, _) => Some(self.start(&mut state, renew)),
        }
    }

    /// Starts a flight whatever the value looks like from here, unless one is under way. Comes back with the one that is
    /// under way then, and whether it is the new one.
    pub fn question<R, F>(self: &Arc<Self>, renew: R) -> (Flight<E>, bool)
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Brought<V, E>> + Send + 'static,
    {
        let mut state = self.lock();
        match &state.flight {
            Some(flight) => (flight.clone(), false),
            None => (self.start(&mut state, renew), true),
        }
    }

    /// The flight that is under way, if one is.
    pub fn under_way(&self) -> Option<Flight<E>> {
        self.lock().flight.clone()
    }

    /// Takes `kept` out of the place, if it is still what stands there: it turned out to be no good.
    pub fn forget(&self, kept: &Arc<Kept<V>>) {
        self.current.compare_and_swap(kept, None);
    }

    /// Forgets the last failure: what caused it may be cured, and the next one who asks finds out.
    pub fn forgive(&self) {
        let mut state = self.lock();
        state.failure = None;
        self.quiet_until.store(0, Ordering::Release);
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
        F: Future<Output = Brought<V, E>> + Send + 'static,
    {
        let quiet = now.to_bits() < self.quiet_until.load(Ordering::Acquire);
        if !quiet && !self.flying.load(Ordering::Acquire) {
            let mut state = self.lock();
            let paused = state.failure.as_ref().is_some_and(|failure| failure.forbids(now, false));
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
        want: Want<'_>,
        now: Moment,
        renew: R,
    ) -> Result<(Arc<Kept<V>>, Lookup), Missed<E>>
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Brought<V, E>> + Send + 'static,
    {
        let (mut renew, mut now, mut again) = (Some(renew), now, false);
        loop {
            let (flight, lookup) = match self.board(want, now, &mut renew)? {
                Boarded::Value(kept) => return Ok((kept, Lookup::Joined)),
                Boarded::Flight(flight, lookup) => (flight, lookup),
            };
            match self.arrive(flight, lookup, want).await {
                // It was not there to fetch one, and there is none, or the one that it looked into has ended meanwhile. If that
                // had been fetched just now, the next would live no longer: so not without end.
                Err(Missed { why: Unavailable::TooShort, lookup: Lookup::Joined })
                    if !again || self.current.load().is_none() =>
                {
                    (now, again) = (self.clock.now(), true);
                }
                arrived => return arrived,
            }
        }
    }

    /// A place in the flight that is under way, or in a new one, unless there is nothing to wait for.
    fn board<R, F>(
        self: &Arc<Self>,
        want: Want<'_>,
        now: Moment,
        renew: &mut Option<R>,
    ) -> Result<Boarded<V, E>, Missed<E>>
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Brought<V, E>> + Send + 'static,
    {
        let mut state = self.lock();
        // A flight may have landed between this caller's look and the lock.
        let kept = self.current.load_full();
        let needed = kept.as_ref().is_none_or(|kept| !self.is_good(kept));
        match (&state.flight, &state.failure, kept, renew.take()) {
            (Some(flight), _, _, unused) => {
                *renew = unused;
                Ok(Boarded::Flight(flight.clone(), Lookup::Joined))
            }
            (None, Some(failure), ..) if failure.forbids(now, needed) => {
                Err(Missed { why: failure.told(now), lookup: Lookup::Miss })
            }
            (None, _, Some(kept), _) if suffices(&kept.promise, want.min_life, now) => Ok(Boarded::Value(kept)),
            (None, _, _, Some(renew)) => match (want.gate)() {
                Ok(()) => Ok(Boarded::Flight(self.start(&mut state, renew), Lookup::Miss)),
                Err(retry_after) => Err(Missed { why: Unavailable::Forbidden { retry_after }, lookup: Lookup::Miss }),
            },
            (None, _, _, None) => Err(Missed { why: Unavailable::Broken, lookup: Lookup::Miss }),
        }
    }

    async fn arrive(
        &self,
        flight: Flight<E>,
        lookup: Lookup,
        want: Want<'_>,
    ) -> Result<(Arc<Kept<V>>, Lookup), Missed<E>> {
        let missed = |why| Err(Missed { why, lookup });
        if lookup == Lookup::Joined {
            flight.join();
        }
        let outcome = match flight.landed(want.deadline).await {
            Err(why) => return missed(why),
            Ok(outcome) => outcome,
        };
        let now = self.clock.now();
        // The caller reads it now, not when it began to wait: that counts as use of the new value.
        self.last_read.store(now.to_bits(), Ordering::Relaxed);
        let failure = || self.lock().failure.as_ref().map(|failure| failure.told(now));
        let in_force = || {
            self.lock().failure.as_ref().filter(|failure| failure.forbids(now, true)).map(|failure| failure.told(now))
        };
        match (outcome, self.current.load_full()) {
            (Err(error), _) => missed(failure().unwrap_or(Unavailable::Failed { error, retry_after: SETTLED })),
            (Ok(()), Some(kept)) if kept.promise.expires_in(now).is_some() => Ok((kept, lookup)),
            // It was not there to fetch one. A failure whose pause is over is no answer: nobody has tried since.
            (Ok(()), None) => missed(in_force().unwrap_or(Unavailable::TooShort)),
            (Ok(()), Some(_)) => missed(Unavailable::TooShort),
        }
    }

    fn start<R, F>(self: &Arc<Self>, state: &mut State<E>, renew: R) -> Flight<E>
    where
        R: FnOnce(Option<Arc<Kept<V>>>) -> F,
        F: Future<Output = Brought<V, E>> + Send + 'static,
    {
        let (land, landing) = watch::channel(None);
        // Beneath whoever began it; others link to it.
        let span = trace::child("flight");
        let flight = Flight::new(landing, span.mark());
        state.flight = Some(flight.clone());
        self.flying.store(true, Ordering::Release);
        let renewal = renew(self.current.load_full());
        let guard = Guard { slot: Arc::clone(self) };
        sync::spawn(&self.flights, async move {
            let brought = {
                // Moved in here: it ends before those who wait are told.
                let span = span;
                span.around(pin!(renewal)).await
            };
            let outcome = guard.slot.land(brought);
            drop(guard);
            let _ = land.send(Some(outcome));
        });
        flight
    }

    fn land(&self, brought: Brought<V, E>) -> Result<(), Arc<E>> {
        let mut state = self.lock();
        let now = self.clock.now();
        match brought {
            Ok(None) => Ok(()),
            Ok(Some(kept)) => {
                self.current.store(Some(Arc::new(kept)));
                state.failure = None;
                self.quiet_until.store(0, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                let next = state.failure.as_ref().map_or(0, |failure| failure.streak).saturating_add(1);
                let error = Arc::new(error);
                let Pause { lasts, streak, ahead_only } = (self.pause)(&error, next);
                let retry_at = now.after(lasts);
                self.quiet_until.store(retry_at.to_bits(), Ordering::Release);
                state.failure = Some(Failure { error: Arc::clone(&error), at: now, retry_at, streak, ahead_only });
                Err(error)
            }
        }
    }
}

impl<E> Failure<E> {
    /// Whether it forbids a try now; `needed` when there is no good value at hand.
    pub fn forbids(&self, now: Moment, needed: bool) -> bool {
        now < self.retry_at && !(needed && self.ahead_only)
    }

    fn told(&self, now: Moment) -> Unavailable<E> {
        Unavailable::Failed { error: Arc::clone(&self.error), retry_after: self.retry_at.since(now) }
    }
}

impl<V, E> Slot<V, E> {
    /// Whether the sign for readers without the lock says what those with the lock see.
    #[cfg(all(test, feature = "model"))]
    pub(super) fn is_coherent(&self) -> bool {
        let state = self.lock();
        state.flight.is_some() == self.flying.load(Ordering::Acquire)
    }

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
        // Under the lock: cleared after it, the flag of a flight that began in between would be cleared.
        let mut state = self.slot.lock();
        state.flight = None;
        self.slot.flying.store(false, Ordering::Release);
    }
}
