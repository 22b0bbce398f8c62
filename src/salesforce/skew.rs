//! How far this machine's clock is off, by the `Date` of Salesforce's answers.
//!
//! An assertion is dated, so a clock that is wrong by minutes is refused, as `expired authorization code` or as
//! `invalid assertion`. Then assertions are dated by Salesforce's clock instead, and the operator is told.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use jiff::Timestamp;

/// The last measurement, and whether assertions go by it.
#[derive(Debug)]
pub(super) struct Skew {
    /// Salesforce's clock less ours, in seconds; [`UNKNOWN`] before the first answer.
    seconds: AtomicI64,
    corrects: AtomicBool,
}

const UNKNOWN: i64 = i64::MIN;
/// `Date` has whole seconds, and an answer takes a few: less than this is no wrong clock.
const NOTABLE: i64 = 60;

impl Default for Skew {
    fn default() -> Self {
        Self { seconds: AtomicI64::new(UNKNOWN), corrects: AtomicBool::new(false) }
    }
}

impl Skew {
    /// Notes the `Date` of an answer that came at `ours`.
    pub(super) fn measure(&self, date: Option<Timestamp>, ours: Timestamp) {
        if let Some(date) = date {
            self.seconds.store(date.as_second().saturating_sub(ours.as_second()), Ordering::Relaxed);
        }
    }

    /// Salesforce's clock less ours, in seconds.
    pub(super) fn measured(&self) -> Option<i64> {
        Some(self.seconds.load(Ordering::Relaxed)).filter(|seconds| *seconds != UNKNOWN)
    }

    /// The measurement, if it is large enough to matter.
    pub(super) fn notable(&self) -> Option<i64> {
        self.measured().filter(|seconds| Self::is_notable(*seconds))
    }

    /// Whether so many seconds are enough to spoil an assertion.
    pub(super) fn is_notable(seconds: i64) -> bool {
        seconds.unsigned_abs() >= NOTABLE.unsigned_abs()
    }

    /// Dates assertions by Salesforce's clock from now on, or by ours again. Says whether that is a change.
    pub(super) fn correct(&self, whether: bool) -> bool {
        self.corrects.swap(whether, Ordering::Relaxed) != whether
    }

    /// What to add to our date for an assertion.
    pub(super) fn correction(&self) -> i64 {
        match self.corrects.load(Ordering::Relaxed) {
            true => self.notable().unwrap_or_default(),
            false => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_notable_skew_is_corrected_and_only_once_it_was_refused() {
        let skew = Skew::default();
        let ours = Timestamp::from_second(1_795_000_000).unwrap();
        assert_eq!((skew.measured(), skew.correction()), (None, 0));
        for (theirs, notable) in [(0, None), (59, None), (-59, None), (60, Some(60)), (-10_800, Some(-10_800))] {
            skew.measure(Some(Timestamp::from_second(1_795_000_000 + theirs).unwrap()), ours);
            assert_eq!((skew.measured(), skew.notable()), (Some(theirs), notable));
            assert_eq!(skew.correction(), 0);
        }
        assert!(skew.correct(true) && !skew.correct(true));
        assert_eq!(skew.correction(), -10_800);
        skew.measure(None, ours);
        assert_eq!(skew.correction(), -10_800);
        skew.measure(Some(ours), ours);
        assert_eq!(skew.correction(), 0);
    }
}
