//! Assertions that were used: each counts once.
//!
//! Not a cache: what a cache evicts while it is still good could be used again. So this forgets only what has expired,
//! and when a caller has more that is good than there is room for, its next one is refused. Only assertions whose
//! signature held come here, so nobody can fill another's room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::jwt::JwtFault;
use crate::hash::{hex, sha256};
use crate::names::CallerName;
use crate::store::{Away, Store, Tag};

/// Assertions that are still good, by caller. Outlives generations of the configuration.
#[derive(Debug, Default)]
pub struct Replay {
    here: Mutex<HashMap<CallerName, Used>>,
    /// Where all replicas note them, if they share a store.
    everywhere: Option<Arc<Store>>,
}

/// What counts once, and until when: it was noted here, and the other replicas are still to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Once {
    digest: [u8; 32],
    ends: i64,
}

#[derive(Debug, Default)]
struct Used {
    /// When each expires, by the digest of its `jti`.
    ends: HashMap<[u8; 32], i64>,
    /// How many there may be before the expired ones are looked for.
    look_at: usize,
}

/// Sixty in every second of the five minutes that an assertion may last, and some 1.5 MB.
const MOST: usize = 20_000;
const FIRST_LOOK: usize = 64;

/// Clocks of replicas may differ by so much, in seconds, and an assertion is still nowhere good again.
const APART: i64 = 300;

impl Replay {
    /// Empty; noted for all replicas if there is a store.
    pub fn new(everywhere: Option<Arc<Store>>) -> Self {
        Self { here: Mutex::default(), everywhere }
    }

    /// Notes for all replicas what was noted here before. While the store is away each replica goes by its own notes.
    ///
    /// # Errors
    /// It was used at another replica.
    pub(super) async fn note_everywhere(&self, caller: &CallerName, once: Once, now: i64) -> Result<(), JwtFault> {
        let Some(store) = &self.everywhere else { return Ok(()) };
        let mark = Tag::of_assertion(caller.as_str(), &hex(&once.digest));
        let lasts = once.ends.saturating_sub(now).max(0).saturating_add(APART);
        match store.use_once(&mark, Duration::from_secs(lasts.unsigned_abs())).await {
            Ok(false) => Err(JwtFault::Replayed),
            Ok(true) | Err(Away) => Ok(()),
        }
    }

    /// Notes that a caller used this `jti`. Here only: see [`Replay::note_everywhere`].
    ///
    /// # Errors
    /// It has before, or there is no room to note it.
    pub(super) fn note(&self, caller: &CallerName, jti: &str, ends: i64, now: i64) -> Result<Once, JwtFault> {
        let digest = sha256([jti.as_bytes()]);
        let mut all = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(caller.clone()).or_default();
        if used.ends.len() >= used.look_at.max(FIRST_LOOK) {
            used.ends.retain(|_, ends| *ends > now);
            // Twice what is left: on average each look costs its assertion a step or two.
            used.look_at = (2 * used.ends.len()).min(MOST);
        }
        if used.ends.contains_key(&digest) {
            return Err(JwtFault::Replayed);
        }
        if used.ends.len() >= MOST {
            return Err(JwtFault::TooMany);
        }
        used.ends.insert(digest, ends);
        Ok(Once { digest, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_once_and_for_its_own_caller() {
        let replay = Replay::default();
        let note = |caller: &CallerName, jti: &str, ends, now| replay.note(caller, jti, ends, now).map(|_| ());
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        assert_eq!(note(&one, "a", 1300, 1000), Ok(()));
        assert_eq!(note(&one, "a", 1300, 1000), Err(JwtFault::Replayed));
        assert_eq!(note(&one, "a", 1300, 1299), Err(JwtFault::Replayed));
        assert_eq!(note(&one, "A", 1300, 1000), Ok(()));
        assert_eq!(note(&two, "a", 1300, 1000), Ok(()));
    }

    #[test]
    fn when_there_is_no_room_the_next_is_refused_until_some_have_expired_and_none_is_forgotten_before() {
        let replay = Replay::default();
        let note = |caller: &CallerName, jti: &str, ends, now| replay.note(caller, jti, ends, now).map(|_| ());
        let (flood, other) = ("flood".parse().unwrap(), "other".parse().unwrap());
        for number in 0..MOST {
            assert_eq!(note(&flood, &number.to_string(), 1300, 1000), Ok(()));
        }
        assert_eq!(note(&flood, "one more", 1300, 1000), Err(JwtFault::TooMany));
        assert_eq!(note(&flood, "0", 1300, 1000), Err(JwtFault::Replayed));
        assert_eq!(note(&other, "0", 1300, 1000), Ok(()));
        assert_eq!(note(&flood, "one more", 1600, 1300), Ok(()));
        let all = replay.here.lock().unwrap();
        assert_eq!(all[&flood].ends.len(), 1, "what has expired takes no room");
    }
}
