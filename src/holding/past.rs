//! The last few tokens that were superseded: what is still known of a token that a caller may be holding.

use std::collections::VecDeque;

use aws_lc_rs::constant_time;

use crate::promise::Promise;

/// A token that was handed out once. Its digest only: nobody needs it again.
#[derive(Debug)]
struct Former {
    digest: [u8; 32],
    promise: Promise,
    minted_at: i64,
    dead: bool,
}

/// The last few, the newest first.
#[derive(Debug, Default)]
pub(super) struct Past(VecDeque<Former>);

/// Tokens change every hour or so at the most, unless something is wrong; callers keep one for as long as they are told.
const KEPT: usize = 4;

impl Past {
    /// Notes a token that is no longer handed out.
    pub(super) fn add(&mut self, digest: [u8; 32], promise: Promise, minted_at: i64, dead: bool) {
        self.0.retain(|former| former.digest != digest);
        self.0.push_front(Former { digest, promise, minted_at, dead });
        self.0.truncate(KEPT);
    }

    /// A token that came back: a mint handed it out again. Whether it was one of them.
    pub(super) fn remove(&mut self, digest: &[u8; 32]) -> bool {
        let before = self.0.len();
        self.0.retain(|former| former.digest != *digest);
        self.0.len() < before
    }

    /// The promise of a former token and when it was minted, unless it is known to be dead.
    pub(super) fn alive(&self, digest: &[u8; 32]) -> Option<(Promise, i64)> {
        let former = self.find(digest).filter(|former| !former.dead)?;
        Some((former.promise, former.minted_at))
    }

    /// Whether it is one of them and known to be dead.
    pub(super) fn is_dead(&self, digest: &[u8; 32]) -> bool {
        self.find(digest).is_some_and(|former| former.dead)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them.
    pub(super) fn holds(&self, digest: &[u8; 32]) -> bool {
        self.find(digest).is_some()
    }

    fn find(&self, digest: &[u8; 32]) -> Option<&Former> {
        self.0.iter().find(|former| constant_time::verify_slices_are_equal(&former.digest, digest).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::promise::LifetimeSource;
    use std::time::Duration;

    #[test]
    fn a_few_are_remembered_and_of_a_dead_one_only_that_it_was() {
        let promise = Promise::sliding(Duration::from_secs(60), Moment::from_bits(1), LifetimeSource::Confirmed, 0.0);
        let mut past = Past::default();
        for number in 0..6 {
            past.add([number; 32], promise, i64::from(number), number == 4);
        }
        assert!(!past.holds(&[1; 32]) && past.holds(&[2; 32]));
        assert_eq!((past.alive(&[5; 32]).map(|it| it.1), past.alive(&[4; 32])), (Some(5), None));
        assert!(past.is_dead(&[4; 32]) && !past.is_dead(&[5; 32]));
        past.remove(&[5; 32]);
        assert!(!past.holds(&[5; 32]));
    }
}
