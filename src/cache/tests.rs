//! The slot, driven by a source that waits for a sign.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{Kept, Lookup, Missed, Pause, Slot, Unavailable, Want};
use crate::clock::Clock;
use crate::promise::{LifetimeSource, Promise};

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
                let promise = Promise::sliding(TIMEOUT / 2, clock.now(), LifetimeSource::Confirmed, 0.0);
                Ok(Some(Kept { value, promise }))
            })
        }
    }
}

type BoxedRenewal = Pin<Box<dyn Future<Output = Result<Option<Kept<usize>>, &'static str>> + Send>>;

fn slot(clock: &Clock) -> Arc<Slot<usize, &'static str>> {
    Arc::new(Slot::new(clock.clone(), TaskTracker::new(), |_, streak| Pause {
        lasts: Duration::from_secs(u64::from(streak)),
        streak,
        ahead_only: false,
    }))
}

fn want() -> Want<'static> {
    Want { min_life: Duration::ZERO, deadline: Instant::now() + Duration::from_secs(9), gate: &|| Ok(()) }
}

#[tokio::test]
async fn a_flight_is_charged_to_whoever_caused_it_and_neither_to_those_who_join_nor_to_answers_from_memory() {
    let (clock, source) = (Clock::manual(), Source::default());
    let slot = slot(&clock);
    // It lets one through.
    let passes = AtomicUsize::new(1);
    let gate = || {
        let left = passes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| Duration::from_secs(77))
    };
    let mine = || Want { gate: &gate, ..want() };
    let (one, other) = tokio::join!(slot.get(mine(), source.renew(&clock)), async {
        let joined = slot.get(mine(), source.renew(&clock));
        tokio::join!(joined, async { source.gate.notify_one() }).0
    });
    assert_eq!((one.unwrap().1, other.unwrap().1), (Lookup::Miss, Lookup::Joined));
    // More life than is left: it may cause no flight any more, and what is good is handed out all the same.
    clock.advance(Duration::from_secs(900));
    let greedy = Want { min_life: Duration::from_secs(86_400), ..mine() };
    assert!(slot.get(greedy, source.renew(&clock)).await.is_ok());
    clock.advance(TIMEOUT);
    let missed = slot.get(mine(), source.renew(&clock)).await.unwrap_err();
    assert!(matches!(missed.why, Unavailable::Forbidden { retry_after } if retry_after.as_secs() == 77));
    assert_eq!(source.asked(), 1);
}

fn is_waiting(reader: Pin<&mut impl Future>) -> bool {
    reader.poll(&mut Context::from_waker(Waker::noop())).is_pending()
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
async fn a_flight_that_was_not_to_fetch_anything_leaves_no_reader_without_a_value() {
    let (clock, source) = (Clock::manual(), Source::default());
    let slot = slot(&clock);
    source.gate.notify_one();
    slot.get(want(), source.renew(&clock)).await.unwrap();
    // Somebody looks into the value, and before that is over its end comes.
    let looked = Arc::new(Notify::new());
    let look = Arc::clone(&looked);
    slot.question(|_| async move {
        look.notified().await;
        Ok(None)
    });
    clock.advance(TIMEOUT / 2);
    let tasks = TaskTracker::new();
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let (slot, renew) = (Arc::clone(&slot), source.renew(&clock));
            tasks.spawn(async move { slot.get(want(), renew).await.map(|(kept, _)| kept.value) })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(source.asked(), 1, "they do not wait for the look");
    looked.notify_one();
    until(|| source.asked() == 2).await;
    source.gate.notify_one();
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap(), 1);
    }
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn a_failure_whose_pause_is_over_is_told_to_nobody_before_it_was_tried_again() {
    let (clock, source) = (Clock::manual(), Source::default());
    let slot = slot(&clock);
    source.failing.store(true, Ordering::SeqCst);
    source.gate.notify_one();
    slot.get(want(), source.renew(&clock)).await.unwrap_err();
    source.failing.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(1));
    // Somebody looks in time for something else to take over, and finds nothing.
    let looked = Arc::new(Notify::new());
    let look = || {
        let looked = Arc::clone(&looked);
        assert!(
            slot.question(|_| async move {
                looked.notified().await;
                Ok(None)
            })
            .1,
            "no other flight is under way"
        );
    };
    look();
    let mut reader = pin!(slot.get(want(), source.renew(&clock)));
    for _ in 0..3 {
        assert!(is_waiting(reader.as_mut()));
        looked.notify_one();
        until(|| slot.under_way().is_none()).await;
        // And again, before the reader is on.
        look();
    }
    assert!(is_waiting(reader.as_mut()));
    looked.notify_one();
    until(|| slot.under_way().is_none()).await;
    source.gate.notify_one();
    let (kept, lookup) = reader.await.unwrap();
    assert_eq!((kept.value, lookup, source.asked()), (1, Lookup::Miss, 2));
}

#[tokio::test]
async fn a_failure_in_its_pause_is_told_to_who_waited_for_a_look_that_found_nothing() {
    let (clock, source) = (Clock::manual(), Source::default());
    let slot = slot(&clock);
    source.failing.store(true, Ordering::SeqCst);
    source.gate.notify_one();
    slot.get(want(), source.renew(&clock)).await.unwrap_err();
    slot.question(|_| async { Ok(None) });
    let missed = slot.get(want(), source.renew(&clock)).await.unwrap_err();
    assert!(matches!(missed, Missed { why: Unavailable::Failed { .. }, lookup: Lookup::Joined }), "{missed:?}");
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
    assert!(matches!(refused.why, Unavailable::Failed { retry_after, .. } if retry_after == Duration::from_secs(1)));
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
    assert!(matches!(slot.get(impatient, source.renew(&clock)).await, Err(Missed { why: Unavailable::TooSlow, .. })));
    source.gate.notify_one();
    until(|| slot.peek().is_some()).await;
    assert_eq!(slot.get(want(), source.renew(&clock)).await.unwrap().1, Lookup::Hit);
}

#[tokio::test]
async fn a_flight_that_panics_frees_the_place() {
    let (clock, source) = (Clock::manual(), Source::default());
    let slot = slot(&clock);
    let bug = |_| async { if Clock::system().timestamp().as_second() > 0 { panic!("a bug") } else { Err("no bug") } };
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
