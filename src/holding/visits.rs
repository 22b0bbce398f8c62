//! Who asked last, and when, on the warm path: without a lock, and without a list that could grow.
//!
//! All that most clients do when Salesforce refuses a token is to ask for it again. So do scripts without a cache, all
//! the time. What tells them apart is what went before: a client whose token has just been refused was quiet until then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Moment;
use crate::names::CallerName;

/// The last visits for the token of one integration.
#[derive(Debug, Default)]
pub(super) struct Visits {
    /// Made when the first caller comes: an integration that nobody asks for needs none.
    places: OnceLock<Box<[AtomicU64; PLACES]>>,
}

/// By a hash of the caller: two that share a place forget each other, and nothing worse.
const PLACES: usize = 64;
/// Whoever asks again within this time for the same token has come back.
const SOON: Duration = Duration::from_secs(5);
/// Whoever did not ask for so long was quiet: coming back after that is news.
const QUIET: Duration = Duration::from_secs(60);

/// A caller on the warm path: a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visitor(u16);

/// What a visit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    /// Nothing to think about.
    Ordinary,
    /// The caller was here a moment ago, for the same token.
    Return {
        /// Before that it was quiet, and no return of its since has been looked into.
        news: bool,
    },
}

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

impl Visits {
    /// Notes a visit for the token with this mark.
    pub(super) fn note(&self, visitor: Visitor, token: u16, now: Moment) -> Visit {
        let places = self.places.get_or_init(|| Box::new([const { AtomicU64::new(0) }; PLACES]));
        let Some(place) = places.get(usize::from(visitor.0) % PLACES) else { return Visit::Ordinary };
        let (before, this) = (place.load(Ordering::Relaxed), packed(visitor, token, now));
        let since = ticks_between(before, this);
        let known = before >> 32 == this >> 32 && before != 0;
        let (returns, quiet) = (known && since <= in_ticks(SOON), !known || since > in_ticks(QUIET));
        let news = quiet || before & NEWS != 0;
        let after = this | if news { NEWS } else { 0 };
        // Most visits of a busy caller change nothing that is kept, and a line that is only read is shared by all cores.
        if after != before {
            place.store(after, Ordering::Relaxed);
        }
        if returns { Visit::Return { news } } else { Visit::Ordinary }
    }

    /// A return of this caller is being looked into: the ones that follow are no news.
    pub(super) fn looked_into(&self, visitor: Visitor) {
        if let Some(place) = self.places.get().and_then(|places| places.get(usize::from(visitor.0) % PLACES)) {
            place.fetch_and(!NEWS, Ordering::Relaxed);
        }
    }
}

/// A sixteenth of a second; 31 bits of them go round in four years.
const TICKS: u64 = 16;
const TIME: u64 = 0x7FFF_FFFF;
/// Between the marks of caller and token, and the time.
const NEWS: u64 = 0x8000_0000;

fn in_ticks(span: Duration) -> u64 {
    span.as_secs() * TICKS
}

fn packed(visitor: Visitor, token: u16, now: Moment) -> u64 {
    let ticks = now.to_bits() / (1_000_000_000 / TICKS);
    (u64::from(visitor.0) << 48) | (u64::from(token) << 32) | (ticks & TIME)
}

fn ticks_between(before: u64, after: u64) -> u64 {
    (after & TIME).wrapping_sub(before & TIME) & TIME
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_bits(1_000_000_000_000);

    fn at(seconds: u64) -> Moment {
        START.after(Duration::from_secs(seconds))
    }

    fn visitor(name: &str) -> Visitor {
        Visitor::of(&name.parse().unwrap())
    }

    #[test]
    fn coming_back_within_seconds_is_a_hint_and_coming_back_later_is_none() {
        let (visits, one, other) = (Visits::default(), visitor("one"), visitor("other"));
        assert_eq!(visits.note(one, 7, at(0)), Visit::Ordinary);
        assert_eq!(visits.note(other, 7, at(1)), Visit::Ordinary, "somebody else");
        assert_eq!(visits.note(one, 8, at(2)), Visit::Ordinary, "for another token");
        assert_eq!(visits.note(one, 8, at(10)), Visit::Ordinary, "after a while");
        assert_eq!(visits.note(one, 8, at(12)), Visit::Return { news: true });
    }

    #[test]
    fn a_return_is_news_until_it_is_looked_into_and_again_after_a_quiet_time() {
        let (visits, one) = (Visits::default(), visitor("one"));
        visits.note(one, 7, at(0));
        assert_eq!(visits.note(one, 7, at(1)), Visit::Return { news: true });
        assert_eq!(visits.note(one, 7, at(2)), Visit::Return { news: true });
        visits.looked_into(one);
        for second in 3..100 {
            assert_eq!(visits.note(one, 7, at(second)), Visit::Return { news: false });
        }
        // A pause that is none yet, and one that is.
        assert_eq!(visits.note(one, 7, at(130)), Visit::Ordinary);
        assert_eq!(visits.note(one, 7, at(131)), Visit::Return { news: false });
        assert_eq!(visits.note(one, 7, at(200)), Visit::Ordinary);
        assert_eq!(visits.note(one, 7, at(201)), Visit::Return { news: true });
    }
}
