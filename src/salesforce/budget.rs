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

const HOUR: Duration = Duration::from_secs(3600);

/// The logins of one user at one host within the last hour.
#[derive(Debug, Default)]
pub struct Budget {
    /// Held for a few instructions, never across a wait.
    made: Mutex<Window>,
}

impl Budget {
    /// Counts one login, unless `per_hour` are used up: then the time until there is room again.
    ///
    /// A tenth is kept for tokens that have expired: renewing ahead stops there.
    pub(super) fn take(&self, per_hour: u32, need: Need, now: Moment) -> Result<(), Duration> {
        let whole = usize::try_from(per_hour).unwrap_or(usize::MAX);
        let room = match need {
            // Rounded up: also of a small budget something is kept.
            Need::Ahead => whole - whole.div_ceil(10),
            Need::Now => whole,
        };
        self.made().take(room, HOUR, now)
    }

    /// How many logins are left of `per_hour`.
    pub fn remaining(&self, per_hour: u32, now: Moment) -> u32 {
        per_hour.saturating_sub(u32::try_from(self.made().held(HOUR, now)).unwrap_or(u32::MAX))
    }

    fn made(&self) -> MutexGuard<'_, Window> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
