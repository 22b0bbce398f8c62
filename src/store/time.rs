//! The common clock is the store's: the wall clocks of replicas play no part.

use std::time::Duration;

use crate::clock::Moment;

/// What the right to write was given out as: a later one is higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// Nobody's: none that is given out is as low.
    pub const NONE: Self = Self(0);

    /// The number.
    pub fn number(self) -> u64 {
        self.0
    }

    pub(super) const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// What the store's clock showed, and between which local moments it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreTime {
    micros: u64,
    asked: Moment,
    heard: Moment,
}

impl StoreTime {
    pub(super) fn new(micros: u64, asked: Moment, heard: Moment) -> Self {
        Self { micros, asked, heard }
    }

    /// What is left, at the local moment `now`, until the store's clock shows `ends`: never more than there is, so the
    /// whole way of the reply is taken off.
    pub fn left_until(&self, ends: u64, now: Moment) -> Duration {
        let whole = Duration::from_micros(ends.saturating_sub(self.micros));
        whole.saturating_sub(now.since(self.asked))
    }

    /// What the store's clock shows, at the least, at the end of `span` from the local moment `from`.
    pub fn at_end_of(&self, span: Duration, from: Moment) -> u64 {
        // Before the reply was heard the clock may have been anywhere on the way: then that much is taken off.
        let ahead = u64::try_from(from.since(self.heard).saturating_add(span).as_micros()).unwrap_or(u64::MAX);
        let behind = u64::try_from(self.heard.since(from).as_micros()).unwrap_or(u64::MAX);
        self.micros.saturating_add(ahead).saturating_sub(behind)
    }

    /// Microseconds since 1970, by the store.
    pub fn micros(&self) -> u64 {
        self.micros
    }

    /// The local moment at which the reply was there.
    pub fn heard(&self) -> Moment {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_bits(1_000_000_000).after(Duration::from_millis(millis))
    }

    #[test]
    fn what_is_left_is_never_more_than_there_is() {
        // Asked at 0, heard at 40: the store read its clock somewhere in between.
        let time = StoreTime::new(5_000_000, at(0), at(40));
        let ends = 5_000_000 + 1_000_000;
        assert_eq!(time.left_until(ends, at(40)), Duration::from_millis(960));
        assert_eq!(time.left_until(ends, at(540)), Duration::from_millis(460));
        assert_eq!(time.left_until(ends, at(1000)), Duration::ZERO);
        assert_eq!(time.left_until(4_000_000, at(40)), Duration::ZERO);
    }

    #[test]
    fn an_end_that_is_written_is_never_later_than_the_real_one() {
        let time = StoreTime::new(5_000_000, at(0), at(40));
        let span = Duration::from_secs(1);
        assert_eq!(time.at_end_of(span, at(40)), 6_000_000);
        assert_eq!(time.at_end_of(span, at(140)), 6_100_000);
        // A span that began before the reply: at most 1 s minus 40 ms after the reading.
        assert_eq!(time.at_end_of(span, at(0)), 5_960_000);
        // One who writes and one who reads at once agree on no more than the span.
        assert!(time.left_until(time.at_end_of(span, at(40)), at(40)) <= span);
    }

    #[test]
    fn the_far_end_of_time_overflows_nothing() {
        let time = StoreTime::new(u64::MAX, at(0), at(40));
        assert_eq!(time.at_end_of(Duration::MAX, at(40)), u64::MAX);
        assert_eq!(StoreTime::new(0, at(0), at(0)).left_until(u64::MAX, at(0)), Duration::from_micros(u64::MAX));
    }
}
