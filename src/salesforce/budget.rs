//! The login budget: how often one Salesforce user may be logged in at one host within an hour, by us.
//!
//! Salesforce counts logins per user, over all its apps and clients, and blocks the user at 3,600 an hour. The budget
//! is far below that, so that a fault here never locks out everybody else. Integrations of the same user and host share
//! one. Each attempt counts when it is made, whatever comes of it: so does Salesforce.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;

use crate::clock::Moment;
use crate::window::Window;

/// What a login is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The token at hand is still good.
    Ahead,
    /// There is no good token: somebody may be waiting.
    Now,
}

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// The logins of one user at one host within the last hour.
#[derive(Debug, Default)]
pub struct Budget {
    /// Held for a few instructions, never across a wait.
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// By this replica.
    made: Window,
    /// Those of them that no other replica knows of.
    unshared: Window,
    /// How many all replicas had made by then, as the store told last.
    by_all: Option<(u32, Moment)>,
}

impl Budget {
    /// Counts one login, unless `per_hour` are used up: then the time until there is room again.
    ///
    /// A tenth is kept for tokens that have expired: renewing ahead stops there.
    pub(super) fn take(&self, per_hour: u32, need: Need, now: Moment) -> Result<(), Duration> {
        self.books().made.take(size(room(per_hour, need)), HOUR, now)
    }

    /// The same where the others cannot be asked: within this replica's share, so that all of them together stay within
    /// one more budget.
    pub(super) fn take_share(&self, per_hour: u32, need: Need, replicas: u32, now: Moment) -> Result<(), Duration> {
        let room = room(per_hour, need);
        let share = size((room / replicas.max(1)).max(1));
        let mut books = self.books();
        if let Some(wait) = books.unshared.wait(share, HOUR, now) {
            return Err(wait);
        }
        books.made.take(size(room), HOUR, now)?;
        books.unshared.take(share, HOUR, now)
    }

    /// Notes a login that was counted for all replicas; they have made so many by now.
    pub(super) fn note(&self, by_all: u32, now: Moment) {
        let mut books = self.books();
        let _ = books.made.take(usize::MAX, HOUR, now);
        books.by_all = Some((by_all, now));
    }

    /// All replicas have made so many by now.
    pub(super) fn hear(&self, by_all: u32, now: Moment) {
        self.books().by_all = Some((by_all, now));
    }

    /// How many logins are left of `per_hour`, as far as is known here.
    pub fn remaining(&self, per_hour: u32, now: Moment) -> u32 {
        let mut books = self.books();
        let made = u32::try_from(books.made.held(HOUR, now)).unwrap_or(u32::MAX);
        let by_all = books.by_all.filter(|(_, at)| now.since(*at) < HOUR).map_or(0, |(count, _)| count);
        per_hour.saturating_sub(made.max(by_all))
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many logins there may be for this.
pub(super) fn room(per_hour: u32, need: Need) -> u32 {
    match need {
        // Rounded up: also of a small budget something is kept.
        Need::Ahead => per_hour - per_hour.div_ceil(10),
        Need::Now => per_hour,
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// All budgets of a process. They outlive a change of the configuration: Salesforce does not forget either.
#[derive(Debug, Default)]
pub struct Budgets(Mutex<HashMap<(String, String), Arc<Budget>>>);

impl Budgets {
    /// The budget of a user at the host of a token endpoint. Salesforce's usernames do not tell case apart.
    pub(super) fn of(&self, username: &str, token_url: &Url) -> Arc<Budget> {
        let key = (username.to_lowercase(), token_url.origin().ascii_serialization());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(key).or_default())
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

    #[test]
    fn a_tenth_is_kept_for_tokens_that_have_expired() {
        let budget = Budget::default();
        for _ in 0..108 {
            budget.take(120, Need::Ahead, START).unwrap();
        }
        assert!(budget.take(120, Need::Ahead, START).is_err());
        for _ in 0..12 {
            budget.take(120, Need::Now, START).unwrap();
        }
        assert_eq!(budget.take(120, Need::Now, at(600)), Err(Duration::from_secs(3000)));
        assert_eq!((budget.remaining(120, at(600)), budget.remaining(120, at(3600))), (0, 120));
    }

    #[test]
    fn a_tenth_is_kept_of_every_budget() {
        for per_hour in 1..=3600 {
            let budget = Budget::default();
            while budget.take(per_hour, Need::Ahead, START).is_ok() {}
            assert!(budget.remaining(per_hour, START) * 10 >= per_hour, "of {per_hour}");
            assert!(budget.take(per_hour, Need::Now, START).is_ok(), "of {per_hour}");
        }
    }

    #[test]
    fn who_cannot_ask_the_others_has_its_share_whatever_was_counted_with_them_before() {
        let budget = Budget::default();
        for made in 1..=100 {
            budget.note(made + 10, START);
        }
        assert_eq!(budget.remaining(120, START), 10);
        let alone = |need| std::iter::from_fn(|| budget.take_share(120, need, 10, at(1)).ok()).count();
        assert_eq!((alone(Need::Ahead), alone(Need::Now)), (8, 4));
        assert_eq!(budget.take_share(120, Need::Now, 10, at(1)), Err(HOUR));
        let small = Budget::default();
        assert!(
            small.take_share(3, Need::Now, 10, START).is_ok() && small.take_share(3, Need::Now, 10, START).is_err()
        );
    }

    #[test]
    fn what_the_others_used_is_told_for_an_hour_after_it_was_heard() {
        let budget = Budget::default();
        budget.hear(108, START);
        assert_eq!((budget.remaining(120, at(3599)), budget.remaining(120, at(3600))), (12, 120));
    }

    #[test]
    fn a_budget_is_of_one_user_at_one_host() {
        let budgets = Budgets::default();
        let url = |text: &str| Url::parse(text).unwrap();
        let (login, own) =
            (url("https://login.salesforce.com/services/oauth2/token"), url("https://acme.my.salesforce.com/x"));
        assert!(Arc::ptr_eq(&budgets.of("elf@acme.example", &login), &budgets.of("ELF@acme.example", &login)));
        assert!(!Arc::ptr_eq(&budgets.of("elf@acme.example", &login), &budgets.of("elf@acme.example", &own)));
        assert!(!Arc::ptr_eq(&budgets.of("elf@acme.example", &login), &budgets.of("crm@acme.example", &login)));
    }

    proptest! {
        #[test]
        fn no_hour_ever_holds_more_logins_than_the_budget(
            per_hour in 1_u32..50,
            steps in prop::collection::vec((0_u64..400, any::<bool>()), 1..200),
        ) {
            let budget = Budget::default();
            let (mut now, mut made) = (0, Vec::new());
            for (wait, urgent) in steps {
                now += wait;
                let need = if urgent { Need::Now } else { Need::Ahead };
                match budget.take(per_hour, need, at(now)) {
                    Ok(()) => made.push(now),
                    Err(until) => {
                        // After that time, and not before it, there is room.
                        let then = at(now).after(until);
                        prop_assert!(!until.is_zero() && until <= HOUR);
                        prop_assert!(then.since(at(now)) == until);
                    }
                }
                let within = made.iter().filter(|at| now - **at < 3600).count();
                prop_assert!(within <= usize::try_from(per_hour).unwrap());
            }
        }
    }
}
