//! Who says that a token is dead, and when that is looked into. Pure rules of a moment; who looks is `mod.rs`.
//!
//! A report drops nothing by itself: it starts one confirm call, and at most one in 30 s for all reports together. So
//! does a caller that comes back within seconds for the same token, which is all that most clients do when Salesforce
//! refuses it; but scripts without a cache do the same and mean nothing by it, so while the answer is "alive" these are
//! looked into less and less often. One caller that goes on reporting a token that lives is told so, and it alone.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::clock::Moment;
use crate::names::CallerName;

/// One confirm call in this time, whoever reports.
const EVERY: Duration = Duration::from_secs(30);
/// While the answer stays "alive" those who only come back wait twice as long each time, up to this.
const SELDOM: Duration = Duration::from_secs(1800);
/// Whoever asks again within this time for the same token has come back.
const SOON: Duration = Duration::from_secs(5);
/// So many reports of one caller within [`WINDOW`], of a token that is alive from here, and it is told.
const TOO_MANY: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// For so long it is told, instead of being handed the token that it cannot use.
const BAR: Duration = Duration::from_secs(60);
/// Who was here last, by a hash of the caller: two that share a place forget each other, and nothing worse.
const PLACES: usize = 64;

/// What is suspected of the token of one integration.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    /// Before this moment nobody who comes back is taken for a report. The only thing that the warm path reads of most
    /// integrations.
    returns_from: AtomicU64,
    /// Made when the first caller comes: an integration that nobody asks for needs none.
    visits: OnceLock<Box<[AtomicU64; PLACES]>>,
    /// Spares the warm path the lock while nobody is barred.
    some_barred: AtomicBool,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    looked_at: Option<Moment>,
    /// What the last look said; nothing while somebody looks.
    verdict: Option<Verdict>,
    alive_in_a_row: u32,
    /// Reported since somebody looked, and not looked into because that was a moment ago.
    waiting: bool,
    /// The last [`TOO_MANY`] of each caller: one that reports in a loop takes no more room than any other.
    reports: HashMap<CallerName, VecDeque<Moment>>,
    barred: HashMap<CallerName, Moment>,
}

/// What a confirm call said about a suspected token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It works from here.
    Alive,
    /// A definite 401.
    Dead,
    /// Nothing.
    Unclear,
}

/// What is to be done about a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reaction {
    /// Look into it now.
    pub(super) look: bool,
    /// The caller is told from now on that the token works, from here.
    pub(super) newly_barred: bool,
}

/// A caller on the warm path: a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitor(u16);

impl Visitor {
    /// The visitor of a caller.
    pub fn of(caller: &CallerName) -> Self {
        // FNV-1a, folded: names are configured, nobody from outside can make two of them meet.
        let hash = caller
            .as_str()
            .bytes()
            .fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let [a, b, c, d] = hash.to_be_bytes();
        Self(u16::from_be_bytes([a ^ c, b ^ d]))
    }
}

impl Suspicion {
    /// Notes a visit for the token with this mark; says whether it is a return that is to be looked into, if
    /// [`Suspicion::may_look`] allows it.
    pub(super) fn is_return(&self, visitor: Visitor, token: u16, now: Moment) -> bool {
        if now.to_bits() < self.returns_from.load(Ordering::Relaxed) {
            return false;
        }
        let visits = self.visits.get_or_init(|| Box::new([const { AtomicU64::new(0) }; PLACES]));
        let Some(place) = visits.get(usize::from(visitor.0) % PLACES) else { return false };
        let last = place.swap(packed(visitor, token, now), Ordering::Relaxed);
        let since = now_in_ticks(now).wrapping_sub(u32::try_from(last & 0xFFFF_FFFF).unwrap_or_default());
        let same = last >> 32 == packed(visitor, token, now) >> 32 && last != 0;
        same && u64::from(since) <= SOON.as_secs() * TICKS
    }

    /// Whether a return may be looked into now. The look is the caller's from then on.
    pub(super) fn may_look(&self, now: Moment) -> bool {
        self.lock().claim(now, &self.returns_from)
    }

    /// Notes a report of `caller`, which offered the current token.
    pub(super) fn report(&self, caller: &CallerName, now: Moment) -> Reaction {
        let mut books = self.lock();
        let look = books.claim(now, &self.returns_from);
        books.waiting = !look;
        let reports = books.reports.entry(caller.clone()).or_default();
        reports.retain(|at| now.since(*at) < WINDOW);
        reports.push_back(now);
        if reports.len() > TOO_MANY {
            reports.pop_front();
        }
        let insists = reports.len() >= TOO_MANY && books.verdict == Some(Verdict::Alive);
        let newly_barred =
            insists && books.barred.insert(caller.clone(), now.after(BAR)).is_none_or(|until| until <= now);
        if insists {
            self.some_barred.store(true, Ordering::Release);
        }
        Reaction { look, newly_barred }
    }

    /// A look came to nothing: what was to be looked into still is, when the time comes.
    pub(super) fn put_off(&self) {
        self.lock().waiting = true;
    }

    /// Whether a report waits that may be looked into by now. The look is the caller's from then on.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        let mut books = self.lock();
        let due = books.waiting && books.claim(now, &self.returns_from);
        books.waiting &= !due;
        due
    }

    /// Notes what came of a look.
    pub(super) fn looked(&self, verdict: Verdict, now: Moment) {
        let mut books = self.lock();
        books.verdict = Some(verdict);
        books.alive_in_a_row = if verdict == Verdict::Dead { 0 } else { books.alive_in_a_row.saturating_add(1) };
        books.postpone_returns(now, &self.returns_from);
    }

    /// There is another token now: nothing is known against it.
    pub(super) fn clear(&self) {
        let mut books = self.lock();
        // The last look stays: a new token does not buy another one at once.
        *books = Books { looked_at: books.looked_at, ..Books::default() };
        let from = books.looked_at.map_or(0, |at| at.after(EVERY).to_bits());
        self.returns_from.store(from, Ordering::Relaxed);
        self.some_barred.store(false, Ordering::Release);
    }

    /// Until when `caller` is told that the token works, from here, instead of being handed it.
    pub(super) fn bar(&self, caller: &CallerName, now: Moment) -> Option<Duration> {
        if !self.some_barred.load(Ordering::Acquire) {
            return None;
        }
        let mut books = self.lock();
        books.barred.retain(|_, until| now < *until);
        self.some_barred.store(!books.barred.is_empty(), Ordering::Release);
        books.barred.get(caller).map(|until| until.since(now))
    }

    /// Callers that are told so now, by name.
    pub(super) fn barred(&self, now: Moment) -> Vec<CallerName> {
        let books = self.lock();
        let mut names: Vec<_> =
            books.barred.iter().filter(|(_, until)| now < **until).map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// What the last look said of the current token.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.lock().verdict
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    /// The right to look, which is given once in [`EVERY`].
    fn claim(&mut self, now: Moment, returns_from: &AtomicU64) -> bool {
        if self.looked_at.is_some_and(|at| now.since(at) < EVERY) {
            return false;
        }
        self.looked_at = Some(now);
        // It may have died since the last look: nobody is told on the strength of that one.
        self.verdict = None;
        self.postpone_returns(now, returns_from);
        true
    }

    fn postpone_returns(&self, now: Moment, returns_from: &AtomicU64) {
        let pause = EVERY.saturating_mul(1 << self.alive_in_a_row.min(10)).min(SELDOM);
        returns_from.store(now.after(pause).to_bits(), Ordering::Relaxed);
    }
}

impl Verdict {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Unclear => "unclear",
        }
    }
}

/// A sixteenth of a second; 32 bits of them go round in eight years.
const TICKS: u64 = 16;

fn now_in_ticks(now: Moment) -> u32 {
    let ticks = now.to_bits() / (1_000_000_000 / TICKS);
    u32::try_from(ticks & 0xFFFF_FFFF).unwrap_or_default()
}

fn packed(visitor: Visitor, token: u16, now: Moment) -> u64 {
    (u64::from(visitor.0) << 48) | (u64::from(token) << 32) | u64::from(now_in_ticks(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Moment = Moment::from_bits(1_000_000_000_000);

    fn at(seconds: u64) -> Moment {
        START.after(Duration::from_secs(seconds))
    }

    fn caller(name: &str) -> CallerName {
        name.parse().unwrap()
    }

    fn looks(suspicion: &Suspicion, visitor: Visitor, token: u16, now: Moment) -> bool {
        suspicion.is_return(visitor, token, now) && suspicion.may_look(now)
    }

    #[test]
    fn reports_are_looked_into_once_in_thirty_seconds_and_the_last_one_is_not_forgotten() {
        let suspicion = Suspicion::default();
        assert!(suspicion.report(&caller("a"), at(0)).look);
        assert!(!suspicion.report(&caller("b"), at(29)).look);
        assert!(!suspicion.is_due(at(29)));
        assert!(suspicion.is_due(at(30)));
        assert!(!suspicion.is_due(at(90)), "it was looked into");
        assert!(suspicion.report(&caller("b"), at(91)).look);
        assert!(!suspicion.is_due(at(500)));
    }

    #[test]
    fn a_caller_that_insists_is_barred_alone_and_for_a_minute() {
        let suspicion = Suspicion::default();
        let (one, other) = (caller("one"), caller("other"));
        suspicion.report(&one, at(0));
        suspicion.looked(Verdict::Alive, at(0));
        assert!(!suspicion.report(&one, at(1)).newly_barred);
        assert_eq!(suspicion.bar(&one, at(1)), None);
        suspicion.report(&other, at(1));
        assert!(suspicion.report(&one, at(2)).newly_barred);
        assert!(!suspicion.report(&one, at(3)).newly_barred, "it is told once");
        assert_eq!(suspicion.bar(&one, at(3)), Some(BAR));
        assert_eq!((suspicion.bar(&other, at(3)), suspicion.barred(at(3))), (None, vec![one.clone()]));
        assert_eq!(suspicion.bar(&one, at(63)), None);
        suspicion.clear();
        assert_eq!(suspicion.barred(at(3)), Vec::new());
    }

    #[test]
    fn nobody_is_barred_while_it_is_not_known_that_the_token_lives() {
        for verdict in [None, Some(Verdict::Unclear), Some(Verdict::Dead)] {
            let suspicion = Suspicion::default();
            verdict.into_iter().for_each(|verdict| suspicion.looked(verdict, at(0)));
            assert!((0..20).all(|second| !suspicion.report(&caller("a"), at(second)).newly_barred), "{verdict:?}");
        }
    }

    #[test]
    fn an_old_verdict_bars_nobody_while_somebody_looks() {
        let suspicion = Suspicion::default();
        suspicion.report(&caller("a"), at(0));
        suspicion.looked(Verdict::Alive, at(0));
        assert!(suspicion.report(&caller("a"), at(3600)).look);
        assert!((0..10).all(|_| !suspicion.report(&caller("a"), at(3600)).newly_barred));
        suspicion.looked(Verdict::Alive, at(3600));
        assert!(suspicion.report(&caller("a"), at(3601)).newly_barred);
    }

    #[test]
    fn a_loop_of_reports_takes_no_more_room_than_a_few() {
        let suspicion = Suspicion::default();
        for _ in 0..10_000 {
            suspicion.report(&caller("a"), at(1));
        }
        assert_eq!(suspicion.lock().reports[&caller("a")].len(), TOO_MANY);
    }

    #[test]
    fn a_look_that_came_to_nothing_is_made_again() {
        let suspicion = Suspicion::default();
        assert!(suspicion.report(&caller("a"), at(0)).look);
        suspicion.put_off();
        assert!(!suspicion.is_due(at(29)));
        assert!(suspicion.is_due(at(30)));
    }

    #[test]
    fn coming_back_within_seconds_is_a_hint_and_coming_back_later_is_none() {
        let suspicion = Suspicion::default();
        let (one, other) = (Visitor::of(&caller("one")), Visitor::of(&caller("other")));
        assert!(!suspicion.is_return(one, 7, at(0)));
        assert!(!suspicion.is_return(other, 7, at(1)), "somebody else");
        assert!(!suspicion.is_return(one, 8, at(2)), "for another token");
        assert!(!suspicion.is_return(one, 8, at(10)), "after a while");
        assert!(suspicion.is_return(one, 8, at(12)));
    }

    #[test]
    fn those_who_come_back_are_looked_into_less_and_less_often_while_the_token_lives() {
        let suspicion = Suspicion::default();
        let visitor = Visitor::of(&caller("script"));
        let looked: Vec<u64> = (0..20_000)
            .filter(|&second| {
                let look = looks(&suspicion, visitor, 7, at(second));
                if look {
                    suspicion.looked(Verdict::Alive, at(second));
                }
                look
            })
            .collect();
        let pauses: Vec<u64> = looked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(pauses.is_sorted() && pauses.first() >= Some(&30), "{pauses:?}");
        assert_eq!(pauses.iter().max().map(|pause| pause / 100), Some(18), "{pauses:?}");
        // A report is looked into all the same.
        assert!(suspicion.report(&caller("script"), at(looked.last().unwrap() + 31)).look);
    }

    proptest! {
        #[test]
        fn no_thirty_seconds_see_two_looks(
            steps in prop::collection::vec((0_u64..20, 0_u8..4, 0_u8..3), 1..300),
        ) {
            let suspicion = Suspicion::default();
            let (mut now, mut looked) = (0, Vec::new());
            for (wait, who, what) in steps {
                now += wait;
                let name = caller(&format!("c{who}"));
                let look = match what {
                    0 => suspicion.report(&name, at(now)).look,
                    1 => looks(&suspicion, Visitor::of(&name), 7, at(now)),
                    _ => suspicion.is_due(at(now)),
                };
                if look {
                    looked.push(now);
                    suspicion.looked(if who == 0 { Verdict::Dead } else { Verdict::Alive }, at(now));
                }
            }
            prop_assert!(looked.windows(2).all(|pair| pair[1] - pair[0] >= 30), "{looked:?}");
        }
    }
}
