//! Assertions that were used: each counts once.
//!
//! Not a cache: what a cache evicts while it is still good could be used again. So this forgets only what has expired,
//! and when a caller has more that is good than there is room for, its next one is refused. Only assertions whose
//! signature held come here, so nobody can fill another's room.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

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
    /// Notes that a caller used this `jti`; no, if it has before.
    pub(super) fn is_first_use(&self, caller: &CallerName, jti: &str, ends: i64, now: i64) -> bool {
        let digest = sha256([jti.as_bytes()]);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(caller.clone()).or_default();
        if used.ends.len() >= used.look_at.max(FIRST_LOOK) {
            used.ends.retain(|_, ends| *ends > now);
            // Twice what is left: on average each look costs its assertion a step or two.
            used.look_at = (2 * used.ends.len()).min(MOST);
        }
        if used.ends.len() >= MOST || used.ends.contains_key(&digest) {
            return false;
        }
        used.ends.insert(digest, ends);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_once_and_for_its_own_caller() {
        let replay = Replay::default();
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        assert!(replay.is_first_use(&one, "a", 1300, 1000));
        assert!(!replay.is_first_use(&one, "a", 1300, 1000));
        assert!(!replay.is_first_use(&one, "a", 1300, 1299));
        assert!(replay.is_first_use(&one, "A", 1300, 1000));
        assert!(replay.is_first_use(&two, "a", 1300, 1000));
    }

    #[test]
    fn when_there_is_no_room_the_next_is_refused_until_some_have_expired_and_none_is_forgotten_before() {
        let replay = Replay::default();
        let (flood, other) = ("flood".parse().unwrap(), "other".parse().unwrap());
        for number in 0..MOST {
            assert!(replay.is_first_use(&flood, &number.to_string(), 1300, 1000), "{number}");
        }
        assert!(!replay.is_first_use(&flood, "one more", 1300, 1000));
        assert!(!replay.is_first_use(&flood, "0", 1300, 1000));
        assert!(replay.is_first_use(&other, "0", 1300, 1000));
        assert!(replay.is_first_use(&flood, "one more", 1600, 1300));
        let all = replay.0.lock().unwrap();
        assert_eq!(all[&flood].ends.len(), 1, "what has expired takes no room");
    }
}
