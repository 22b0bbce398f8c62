//! The simulator's own clock: the system's time plus an offset that tests push forward.
//!
//! Salesforce has a clock of its own, and so has its stand-in: a test can let a session grow old without waiting.
//! Invariant: the offset only grows, so the simulator's time never runs backwards on request.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// Tells the simulator's time.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Milliseconds that tests have added.
    ahead_ms: AtomicI64,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the simulator has its own clock, as Salesforce has")]
    pub(super) fn now(&self) -> Timestamp {
        let system = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH);
        let ahead = SignedDuration::from_millis(self.ahead_ms.load(Ordering::SeqCst));
        system.checked_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// Pushes the time forward and tells the whole offset in milliseconds.
    pub(super) fn advance(&self, by: Duration) -> i64 {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let add = |ahead: i64| Some(ahead.saturating_add(by));
        match self.ahead_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add) {
            Ok(before) | Err(before) => before.saturating_add(by),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advanced_clock_is_ahead_by_just_that() {
        let clock = Clock::default();
        let before = clock.now();
        clock.advance(Duration::from_secs(3600));
        let gone = clock.now().duration_since(before);
        assert!(gone >= SignedDuration::from_secs(3600) && gone < SignedDuration::from_secs(3610));
    }
}
