//! How much of something may happen within a span of time: pure rules of a moment.
//!
//! Answers from memory have no limit. What has one is what reaches Salesforce because of one caller (`allowance.rs`), and
//! proofs that fail, by where they come from (`failures.rs`). What is refused is not counted: a client that comes back too
//! early does not push its own time away.

mod allowance;
mod failures;

use std::collections::VecDeque;
use std::time::Duration;

pub use self::allowance::{Allowance, Kind, Spent};
pub use self::failures::{FailedProof, Failures, Way};
use crate::clock::Moment;

/// What happened within the last span, of one kind.
#[derive(Debug, Default)]
struct Window(VecDeque<Moment>);

impl Window {
    /// Counts one more, unless `most` are counted already: then the time until there is room.
    fn take(&mut self, most: u32, span: Duration, now: Moment) -> Result<(), Duration> {
        match self.wait(most, span, now) {
            Some(wait) => Err(wait),
            None => {
                self.0.push_back(now);
                Ok(())
            }
        }
    }

    /// The time until there is room, if there is none.
    fn wait(&mut self, most: u32, span: Duration, now: Moment) -> Option<Duration> {
        while self.0.front().is_some_and(|at| now.since(*at) >= span) {
            self.0.pop_front();
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        // Room comes when so many have gone that fewer than `most` are left.
        let leaves = self.0.get(self.0.len().checked_sub(most)?)?;
        Some(leaves.after(span).since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPAN: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Moment {
        Moment::from_bits(1_000_000_000_000).after(Duration::from_secs(seconds))
    }

    proptest! {
        #[test]
        fn no_span_holds_more_than_the_limit_and_there_is_room_when_it_was_promised(
            steps in prop::collection::vec(0_u64..30, 1..300), most in 1_u32..8,
        ) {
            let (mut window, mut now, mut taken) = (Window::default(), 0, Vec::new());
            for step in steps {
                now += step;
                match window.take(most, SPAN, at(now)) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        prop_assert!(wait > Duration::ZERO && wait <= SPAN);
                        // One moment before, there is none.
                        prop_assert!(window.wait(most, SPAN, at(now + wait.as_secs() - 1)).is_some());
                        now += wait.as_secs();
                        prop_assert_eq!(window.take(most, SPAN, at(now)), Ok(()));
                        taken.push(now);
                    }
                }
            }
            for (place, from) in taken.iter().enumerate() {
                let within = taken.iter().skip(place).filter(|at| **at - from < SPAN.as_secs()).count();
                prop_assert!(within <= most as usize, "{within} from {from}");
            }
        }
    }

    #[test]
    fn a_limit_that_was_lowered_holds_at_once() {
        let mut window = Window::default();
        (0..10).for_each(|second| window.take(10, SPAN, at(second)).unwrap());
        assert_eq!(window.take(2, SPAN, at(10)), Err(Duration::from_secs(58)));
        assert_eq!(window.take(20, SPAN, at(10)), Ok(()));
    }
}
