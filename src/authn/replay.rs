//! Assertions that were used: each counts once.
//!
//! Not a cache: what a cache evicts while it is still good could be used again. So this forgets only what has expired,
//! and when a caller has more that is good than there is room for, its next one is refused. Only assertions whose
//! signature held come here, so nobody can fill another's room.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::jwt::JwtFault;
use crate::hash::sha256;
use crate::names::CallerName;

/// Assertions that are still good, by caller. Outlives generations of the configuration.
#[derive(Debug, Default)]
pub struct Replay(Mutex<HashMap<CallerName, Used>>);

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

impl Replay {
    /// Notes that a caller used this `jti`.
    ///
    /// # Errors
    /// It has before, or there is no room to note it.
    pub(super) fn note(&self, caller: &CallerName, jti: &str, ends: i64, now: i64) -> Result<(), JwtFault> {
        let digest = sha256([jti.as_bytes()]);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_once_and_for_its_own_caller() {
        let replay = Replay::default();
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        assert_eq!(replay.note(&one, "a", 1300, 1000), Ok(()));
        assert_eq!(replay.note(&one, "a", 1300, 1000), Err(JwtFault::Replayed));
        assert_eq!(replay.note(&one, "a", 1300, 1299), Err(JwtFault::Replayed));
        assert_eq!(replay.note(&one, "A", 1300, 1000), Ok(()));
        assert_eq!(replay.note(&two, "a", 1300, 1000), Ok(()));
    }

    #[test]
    fn when_there_is_no_room_the_next_is_refused_until_some_have_expired_and_none_is_forgotten_before() {
        let replay = Replay::default();
        let (flood, other) = ("flood".parse().unwrap(), "other".parse().unwrap());
        for number in 0..MOST {
            assert_eq!(replay.note(&flood, &number.to_string(), 1300, 1000), Ok(()));
        }
        assert_eq!(replay.note(&flood, "one more", 1300, 1000), Err(JwtFault::TooMany));
        assert_eq!(replay.note(&flood, "0", 1300, 1000), Err(JwtFault::Replayed));
        assert_eq!(replay.note(&other, "0", 1300, 1000), Ok(()));
        assert_eq!(replay.note(&flood, "one more", 1600, 1300), Ok(()));
        let all = replay.0.lock().unwrap();
        assert_eq!(all[&flood].ends.len(), 1, "what has expired takes no room");
    }
}
