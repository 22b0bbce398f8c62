//! Who says that a token is dead, and when that is looked into. Pure rules of a moment; who looks is `mod.rs`.
//!
//! A report drops nothing by itself: it starts one confirm call, and at most one in 30 s for all reports together. So
//! does a caller that comes back within seconds for the same token, which is all that most clients do when Salesforce
//! refuses it; but scripts without a cache do the same all the time and mean nothing by it, so while the answer is
//! "alive" these are looked into less and less often. One caller that goes on reporting a token that lives is told so,
//! and it alone.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::visits::{Visit, Visitor, Visits};
use crate::clock::Moment;
use crate::names::CallerName;

/// One confirm call in this time, whoever reports.
const EVERY: Duration = Duration::from_secs(30);
/// While the answer stays "alive" those who only come back wait twice as long each time, up to this.
const SELDOM: Duration = Duration::from_secs(1800);
/// So many reports of one caller within [`WINDOW`], of a token that is alive from here, and it is told.
const TOO_MANY: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);
/// For so long it is told, instead of being handed the token that it cannot use.
const BAR: Duration = Duration::from_secs(60);
/// What is suspected of the token of one integration.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    visits: Visits,
    /// Before this moment nothing is looked into; spares the warm path the lock.
    looks_from: AtomicU64,
    /// Before this moment callers that come back all the time are not looked into.
    returns_from: AtomicU64,
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

impl Suspicion {
    /// Notes a visit for the token with this mark; says whether it is a return that is to be looked into, if
    /// [`Suspicion::may_look`] allows it.
    ///
    /// A caller that comes back after a quiet time is looked into as soon as anybody is; one that does so all the time,
    /// less and less often while the token lives.
    pub(super) fn is_return(&self, visitor: Visitor, token: u16, now: Moment) -> bool {
        let from = match self.visits.note(visitor, token, now) {
            Visit::Ordinary => return false,
            Visit::Return { news: true } => &self.looks_from,
            Visit::Return { news: false } => &self.returns_from,
        };
        now.to_bits() >= from.load(Ordering::Relaxed)
    }

    /// Whether a return of this visitor may be looked into now. The look is the caller's from then on.
    pub(super) fn may_look(&self, visitor: Visitor, now: Moment) -> bool {
        let granted = self.claim(&mut self.lock(), now);
        if granted {
            self.visits.looked_into(visitor);
        }
        granted
    }

    /// Notes a report of `caller`, which offered the current token.
    pub(super) fn report(&self, caller: &CallerName, now: Moment) -> Reaction {
        let mut books = self.lock();
        let look = self.claim(&mut books, now);
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
        let due = books.waiting && self.claim(&mut books, now);
        books.waiting &= !due;
        due
    }

    /// Notes what came of a look.
    pub(super) fn looked(&self, verdict: Verdict, now: Moment) {
        let mut books = self.lock();
        books.verdict = Some(verdict);
        books.alive_in_a_row = if verdict == Verdict::Dead { 0 } else { books.alive_in_a_row.saturating_add(1) };
        self.postpone_returns(&books, now);
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

    /// The right to look, which is given once in [`EVERY`].
    fn claim(&self, books: &mut Books, now: Moment) -> bool {
        if books.looked_at.is_some_and(|at| now.since(at) < EVERY) {
            return false;
        }
        books.looked_at = Some(now);
        // It may have died since the last look: nobody is told on the strength of that one.
        books.verdict = None;
        self.looks_from.store(now.after(EVERY).to_bits(), Ordering::Relaxed);
        self.postpone_returns(books, now);
        true
    }

    fn postpone_returns(&self, books: &Books, now: Moment) {
        let pause = EVERY.saturating_mul(1 << books.alive_in_a_row.min(10)).min(SELDOM);
        self.returns_from.store(now.after(pause).to_bits(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
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
        suspicion.is_return(visitor, token, now) && suspicion.may_look(visitor, now)
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
    fn a_caller_that_was_quiet_is_looked_into_although_a_script_comes_back_all_the_time() {
        let suspicion = Suspicion::default();
        let (script, quiet) = (Visitor::of(&caller("script")), Visitor::of(&caller("quiet")));
        let mut last = 0;
        for second in 0..5000 {
            if looks(&suspicion, script, 7, at(second)) {
                suspicion.looked(Verdict::Alive, at(second));
                last = second;
            }
        }
        assert!(!looks(&suspicion, script, 7, at(5000)) && last + 60 < 5000, "the script is not looked into now");
        assert!(!looks(&suspicion, quiet, 7, at(5000)));
        assert!(looks(&suspicion, quiet, 7, at(5001)));
        suspicion.looked(Verdict::Alive, at(5001));
        // Once it has been looked into it is like the others.
        assert!((5002..5100).all(|second| !looks(&suspicion, quiet, 7, at(second))));
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
