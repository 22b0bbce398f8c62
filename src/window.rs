//! How often something happened within the last span of time, and when there is room for more: pure rules of a moment.
//!
//! What is refused is not counted: who comes back too early does not push the time away.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Moment;

/// What happened within the last span, of one kind.
#[derive(Debug, Default)]
pub struct Window(VecDeque<Moment>);

impl Window {
    /// Counts one more, unless `most` are counted already: then the time until there is room, or the
    /// whole span where `most` is 0 and there never is.
    pub fn take(&mut self, most: usize, span: Duration, now: Moment) -> Result<(), Duration> {
        match self.wait(most, span, now) {
            Some(wait) => Err(wait),
            None => {
                self.0.push_back(now);
                Ok(())
            }
        }
    }

    /// The time until there is room, if there is none.
    pub fn wait(&mut self, most: usize, span: Duration, now: Moment) -> Option<Duration> {
        // Room comes when so many have gone that fewer than `most` are left.
        let surplus = self.held(span, now).checked_sub(most)?;
        let leaves = self.0.get(surplus).copied().unwrap_or(now);
        Some(leaves.after(span).since(now))
    }

    /// How many are counted.
    pub fn held(&mut self, span: Duration, now: Moment) -> usize {
        while self.0.front().is_some_and(|at| now.since(*at) >= span) {
            self.0.pop_front();
        }
        self.0.len()
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
            steps in prop::collection::vec(0_u64..30, 1..300), most in 1_usize..8,
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
                prop_assert!(within <= most, "{within} from {from}");
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

    #[test]
    fn where_nothing_may_happen_nothing_is_counted() {
        let mut window = Window::default();
        assert_eq!(window.take(0, SPAN, at(0)), Err(SPAN));
        assert_eq!(window.take(0, SPAN, at(1)), Err(SPAN));
        assert_eq!(window.held(SPAN, at(1)), 0);
    }
}
