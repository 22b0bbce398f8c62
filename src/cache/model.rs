//! The slot under shuttle: the same story through thousands of schedules, with callers that wait, hang up or have no
//! time, those who fill, renew and question, and a source that does whatever a source may do.
//!
//! A failed run prints its schedule; `shuttle::replay` repeats it. The books below are the machine's own atomics: they
//! watch, and give the scheduler no point at which others go on.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::sync::break_off;
use super::{Flight, Kept, Lookup, Missed, Pause, Slot, Unavailable, Want};
use crate::clock::Clock;
use crate::promise::{LifetimeSource, Promise};

/// Schedules for each story and scheduler.
const SCHEDULES: usize = 4000;
/// How many changes of task the second scheduler places where they hurt.
const CHANGES: usize = 3;

const LIFE: Duration = Duration::from_secs(3600);
/// The value wants a refresh by then, and is still good.
const AGEING: Duration = Duration::from_secs(3000);

#[test]
fn whatever_the_source_does_each_waiter_has_an_outcome_and_the_place_works_afterwards() {
    const ALL: &[Act] =
        &[Act::Succeed, Act::Succeed, Act::Fail, Act::FindDead, Act::Replace, Act::BringNothing, Act::BreakOff];
    explore(|| async {
        let world = World::new(ALL);
        world.begin_anywhere().await;
        let mut actors: Vec<JoinHandle<()>> = (0..2).map(|_| world.act(|world| world.read(Haste::None))).collect();
        actors.push(world.act(|world| world.read(Haste::None)));
        actors.push(world.act(|world| world.read(Haste::NoTime)));
        actors.push(world.act(World::renew_ahead));
        actors.push(world.act(World::question));
        actors.push(world.act(World::let_time_pass));
        let leaves = world.act(|world| world.read(Haste::None));
        pause().await;
        leaves.abort();
        for actor in actors {
            actor.await.unwrap();
        }
        let _ = leaves.await;
        world.works_again().await;
    });
}

#[test]
fn a_rush_at_an_empty_place_is_one_flight_and_everybody_has_its_value() {
    explore(|| async {
        let world = World::new(&[Act::Succeed]);
        let readers: Vec<_> = (0..3).map(|_| world.act(World::read_value)).collect();
        let filler = world.act(World::fill);
        let leaves = world.act(World::read_value);
        leaves.abort();
        for actor in readers.into_iter().chain([filler]) {
            actor.await.unwrap();
        }
        let _ = leaves.await;
        world.settle().await;
        assert_eq!(world.books.asked(), 1, "one flight is enough for all");
        world.works_again().await;
    });
}

#[test]
fn an_ageing_value_is_answered_at_once_and_renewed_by_one_flight() {
    explore(|| async {
        let world = World::new(&[Act::Succeed]);
        world.clone().read_value().await;
        world.clock.advance(AGEING);
        let mut actors: Vec<_> = (0..3).map(|_| world.act(World::read_value)).collect();
        actors.push(world.act(World::renew_ahead));
        actors.push(world.act(World::fill));
        for actor in actors {
            actor.await.unwrap();
        }
        world.settle().await;
        assert_eq!(world.books.asked(), 2, "one flight is enough for all");
        world.works_again().await;
    });
}

#[test]
fn a_failure_is_one_flight_in_its_pause_and_leaves_a_good_value_alone() {
    explore(|| async {
        let world = World::new(&[Act::Fail]);
        let warm = thread_rng().gen_bool(0.5);
        if warm {
            world.of(&[Act::Succeed]).read_value().await;
            world.clock.advance(AGEING);
        }
        let mut actors: Vec<_> = (0..3).map(|_| world.act(|world| world.read(Haste::None))).collect();
        actors.push(world.act(World::fill));
        for actor in actors {
            actor.await.unwrap();
        }
        world.settle().await;
        assert_eq!(world.books.asked(), 1 + usize::from(warm), "the pause holds for everybody");
        assert_eq!(world.slot.peek().is_some(), warm);
        world.works_again().await;
    });
}

/// Runs the story by schedules that are drawn evenly, and by such as change tasks rarely and at the worst places.
fn explore<F: Future<Output = ()> + 'static>(story: impl Fn() -> F + Send + Sync + Copy + 'static) {
    shuttle::check_random(move || block_on(story()), SCHEDULES);
    shuttle::check_pct(move || block_on(story()), SCHEDULES, CHANGES);
}

/// What the source does when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Succeed,
    Fail,
    /// The value at hand is no good any more, and there is no other.
    FindDead,
    /// The value at hand is no good any more, and here is another.
    Replace,
    BringNothing,
    BreakOff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Haste {
    None,
    NoTime,
}

/// What was seen from outside.
#[derive(Debug, Default)]
struct Books {
    asked: AtomicUsize,
    at_work: AtomicUsize,
    /// The newest value that anybody was handed.
    newest: AtomicUsize,
    acts: Mutex<Vec<Act>>,
    forgotten: Mutex<BTreeSet<usize>>,
}

impl Books {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn forgotten(&self) -> BTreeSet<usize> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget(&self, value: usize) {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).insert(value);
    }

    fn note(&self, act: Act) {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner).push(act);
    }

    fn happened(&self, any_of: &[Act]) -> bool {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|act| any_of.contains(act))
    }
}

/// Counts a flight from its start until its future is gone, however it goes.
struct AtWork(Arc<Books>);

impl AtWork {
    fn begin(books: &Arc<Books>) -> Self {
        assert_eq!(books.at_work.fetch_add(1, Ordering::SeqCst), 0, "two flights at once");
        Self(Arc::clone(books))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
    }
}

type Renewal = Pin<Box<dyn Future<Output = Result<Option<Kept<usize>>, &'static str>> + Send>>;

#[derive(Clone)]
struct World {
    slot: Arc<Slot<usize, &'static str>>,
    clock: Clock,
    books: Arc<Books>,
    acts: &'static [Act],
}

impl World {
    fn new(acts: &'static [Act]) -> Self {
        let clock = Clock::manual();
        let pause = |_: &&'static str, streak| Pause {
            lasts: Duration::from_secs(u64::from(streak)),
            streak,
            ahead_only: false,
        };
        let slot = Arc::new(Slot::new(clock.clone(), TaskTracker::new(), pause));
        Self { slot, clock, books: Arc::default(), acts }
    }

    /// The same with a source of other habits.
    fn of(&self, acts: &'static [Act]) -> Self {
        Self { acts, ..self.clone() }
    }

    fn act<F: Future<Output = ()> + Send + 'static>(&self, what: impl FnOnce(Self) -> F) -> JoinHandle<()> {
        spawn(what(self.clone()))
    }

    /// An empty place, a fresh value, an ageing one, or one that has ended.
    async fn begin_anywhere(&self) {
        let age = thread_rng().gen_range(0..4);
        if age > 0 {
            self.of(&[Act::Succeed]).read_value().await;
            self.clock.advance([Duration::ZERO, AGEING, LIFE][age - 1]);
        }
    }

    fn renew(&self) -> impl FnOnce(Option<Arc<Kept<usize>>>) -> Renewal + use<> {
        let world = self.clone();
        move |kept| {
            let at_work = AtWork::begin(&world.books);
            Box::pin(async move {
                let _at_work = at_work;
                let value = world.books.asked.fetch_add(1, Ordering::SeqCst);
                pause().await;
                let act = world.acts[thread_rng().gen_range(0..world.acts.len())];
                world.books.note(act);
                if let (Act::FindDead | Act::Replace, Some(kept)) = (act, &kept) {
                    world.slot.forget(kept);
                    world.books.forget(kept.value);
                    pause().await;
                }
                let promise = Promise::sliding(LIFE, world.clock.now(), LifetimeSource::Confirmed, 0.0);
                match act {
                    Act::Succeed | Act::Replace => Ok(Some(Kept { value, promise })),
                    Act::Fail | Act::FindDead => Err("refused"),
                    Act::BringNothing => Ok(None),
                    Act::BreakOff => {
                        break_off().await;
                        Ok(None)
                    }
                }
            })
        }
    }

    async fn read_value(self) {
        self.ask(Haste::None).await.unwrap();
    }

    async fn read(self, haste: Haste) {
        let at_hand = self.slot.peek();
        let Err(Missed { why, .. }) = self.ask(haste).await else { return };
        // Whoever leaves with nothing has a reason, and never that something good was taken away by a failure.
        if let Some(kept) = at_hand.filter(|kept| kept.promise.expires_in(self.clock.now()).is_some()) {
            // It was found dead, or one that came after it was.
            let dead = self.books.forgotten().iter().any(|gone| *gone >= kept.value);
            assert!(dead, "a good value is gone: {why:?}");
        }
        let books = &self.books;
        let reasoned = match why {
            Unavailable::Failed { .. } => books.happened(&[Act::Fail, Act::FindDead]),
            Unavailable::TooShort => {
                books.happened(&[Act::BringNothing, Act::FindDead, Act::Replace]) || self.is_late()
            }
            Unavailable::TooSlow => haste == Haste::NoTime,
            Unavailable::Broken => books.happened(&[Act::BreakOff]),
            // Their gate is open.
            Unavailable::Forbidden { .. } => false,
        };
        assert!(reasoned, "{why:?} for no reason");
    }

    /// Whether time has passed that a value may have ended in.
    fn is_late(&self) -> bool {
        self.slot.peek().is_none_or(|kept| kept.promise.expires_in(self.clock.now()).is_none())
    }

    async fn ask(&self, haste: Haste) -> Result<usize, Missed<&'static str>> {
        let gone = self.books.forgotten();
        let newest = self.books.newest.load(Ordering::SeqCst);
        let deadline = match haste {
            Haste::None => Instant::now() + LIFE,
            Haste::NoTime => Instant::now(),
        };
        let found = self.slot.get(Want { min_life: Duration::ZERO, deadline, gate: &|| Ok(()) }, self.renew()).await;
        assert!(self.slot.is_coherent(), "the flag and the flight disagree");
        let (kept, _) = found?;
        assert!(!gone.contains(&kept.value), "{} was forgotten before it was asked for", kept.value);
        assert!(kept.value >= newest, "{} came after {newest}", kept.value);
        self.books.newest.fetch_max(kept.value, Ordering::SeqCst);
        Ok(kept.value)
    }

    async fn renew_ahead(self) {
        pause().await;
        self.slot.refresh_if_due(self.renew());
    }

    async fn fill(self) {
        self.wait_for(self.slot.fill(self.renew())).await;
    }

    async fn question(self) {
        pause().await;
        self.wait_for(Some(self.slot.question(self.renew()).0)).await;
    }

    async fn let_time_pass(self) {
        pause().await;
        self.clock.advance(AGEING);
    }

    async fn wait_for(&self, flight: Option<Flight<&'static str>>) {
        let Some(flight) = flight else { return };
        match flight.landed(Instant::now() + LIFE).await {
            Ok(_) => {}
            Err(why) => assert!(matches!(why, Unavailable::Broken) && self.books.happened(&[Act::BreakOff]), "{why:?}"),
        }
    }

    /// Until nothing is under way.
    async fn settle(&self) {
        while let Some(flight) = self.slot.under_way() {
            let _ = flight.landed(Instant::now() + LIFE).await;
        }
        assert_eq!(self.books.at_work.load(Ordering::SeqCst), 0, "a flight is forgotten that is under way");
    }

    /// When all is over a new value can be had, and is renewed when it ages.
    async fn works_again(&self) {
        self.settle().await;
        self.slot.forgive();
        self.clock.advance(LIFE);
        let cured = self.of(&[Act::Succeed]);
        let want = || Want { min_life: Duration::ZERO, deadline: Instant::now() + LIFE, gate: &|| Ok(()) };
        let asked = self.books.asked();
        let (kept, lookup) = cured.slot.get(want(), cured.renew()).await.unwrap();
        assert_eq!((kept.value, lookup), (asked, Lookup::Miss));
        self.settle().await;
        self.clock.advance(AGEING);
        let (kept, lookup) = cured.slot.get(want(), cured.renew()).await.unwrap();
        assert_eq!((kept.value, lookup), (asked, Lookup::StaleHit));
        self.settle().await;
        let (kept, lookup) = cured.slot.get(want(), cured.renew()).await.unwrap();
        assert_eq!((kept.value, lookup), (asked + 1, Lookup::Hit), "an ageing value was not renewed");
    }
}

/// Lets others go on, a few times or not at all.
async fn pause() {
    for _ in 0..thread_rng().gen_range(0..3) {
        yield_now().await;
    }
}
