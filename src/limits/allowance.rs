//! What one caller may cause at Salesforce. It outlives a change of the configuration: nobody gets a new hour by it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::at_least_one;
use crate::clock::Moment;
use crate::window::Window;

/// What is limited. The wire names are those of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Flights to Salesforce that this caller started; to join another's is free.
    Mints,
    /// Reports of the current token.
    Reports,
}

impl Kind {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mints => "mints_per_hour",
            Self::Reports => "reports_per_minute",
        }
    }

    fn span(self) -> Duration {
        match self {
            Self::Mints => Duration::from_secs(3600),
            Self::Reports => Duration::from_secs(60),
        }
    }
}

/// There is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// There is, after this time.
    pub wait: Duration,
    /// Whether there was until now: it is told once.
    pub news: bool,
}

/// What one caller has used up.
#[derive(Debug, Default)]
pub struct Allowance {
    mints: Mutex<Account>,
    reports: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    window: Window,
    refused: bool,
}

impl Allowance {
    /// Counts one more, if `most` leaves room for it.
    pub fn take(&self, kind: Kind, most: u32, now: Moment) -> Result<(), Spent> {
        let mut account = self.account(kind);
        match account.window.take(at_least_one(most), kind.span(), now) {
            Ok(()) => {
                account.refused = false;
                Ok(())
            }
            Err(wait) => Err(Spent { wait, news: !std::mem::replace(&mut account.refused, true) }),
        }
    }

    /// How long it is refused from now, if it was refused since there was room.
    pub fn refused_for(&self, kind: Kind, most: u32, now: Moment) -> Option<Duration> {
        let mut account = self.account(kind);
        if account.refused { account.window.wait(at_least_one(most), kind.span(), now) } else { None }
    }

    fn account(&self, kind: Kind) -> MutexGuard<'_, Account> {
        let account = match kind {
            Kind::Mints => &self.mints,
            Kind::Reports => &self.reports,
        };
        account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_bits(1_000_000_000_000).after(Duration::from_secs(seconds))
    }

    #[test]
    fn the_kinds_have_nothing_to_do_with_each_other_and_a_limit_is_told_once_until_there_is_room() {
        let allowance = Allowance::default();
        assert_eq!(allowance.take(Kind::Mints, 2, at(0)), Ok(()));
        assert_eq!(allowance.take(Kind::Mints, 2, at(10)), Ok(()));
        assert_eq!(allowance.refused_for(Kind::Mints, 2, at(10)), None, "nothing was refused yet");
        let spent = |wait, news| Err(Spent { wait: Duration::from_secs(wait), news });
        assert_eq!(allowance.take(Kind::Mints, 2, at(20)), spent(3580, true));
        assert_eq!(allowance.take(Kind::Mints, 2, at(30)), spent(3570, false));
        assert_eq!(allowance.refused_for(Kind::Mints, 2, at(600)), Some(Duration::from_secs(3000)));
        assert_eq!(allowance.take(Kind::Reports, 1, at(30)), Ok(()));
        assert_eq!(allowance.take(Kind::Reports, 1, at(31)), spent(59, true));
        assert_eq!(allowance.refused_for(Kind::Mints, 2, at(3600)), None);
        assert_eq!(allowance.take(Kind::Mints, 2, at(3600)), Ok(()));
        assert_eq!(allowance.take(Kind::Mints, 2, at(3601)), spent(9, true));
    }
}
