//! Sessions: one per app, user and scopes, the same token for as long as it lives, ended by the half-period rule.
//!
//! Invariant: a token is in here exactly as long as nobody found it dead; whoever looks one up says what time it is.
//! Whether a mint counts as activity is the caller's question (a switch).

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A session is over when a whole period has gone since its activity stamp.
pub(super) fn is_over(stamp: Timestamp, timeout: Duration, now: Timestamp) -> bool {
    now.duration_since(stamp) >= signed(timeout)
}

/// The activity stamp after a successful call: it moves only when more than half of the period has gone since.
pub(super) fn stamp_after_use(stamp: Timestamp, timeout: Duration, now: Timestamp) -> Timestamp {
    if now.duration_since(stamp) > signed(timeout / 2) { now } else { stamp }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Above this many sessions the dead ones are swept out.
const SWEEP: usize = 1 << 14;

/// How a session comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// At a fixed time: tokens in JWT form.
    Fixed { ends: Timestamp },
    /// A whole period after the activity that Salesforce noted last.
    Sliding { timeout: Duration, stamp: Timestamp },
}

impl Life {
    fn is_over(self, now: Timestamp) -> bool {
        match self {
            Self::Fixed { ends } => now >= ends,
            Self::Sliding { timeout, stamp } => is_over(stamp, timeout, now),
        }
    }

    fn after_use(self, now: Timestamp) -> Self {
        match self {
            Self::Fixed { .. } => self,
            Self::Sliding { timeout, stamp } => Self::Sliding { timeout, stamp: stamp_after_use(stamp, timeout, now) },
        }
    }

    /// When it ends if nothing happens.
    pub(super) fn ends(self) -> Timestamp {
        match self {
            Self::Fixed { ends } => ends,
            Self::Sliding { timeout, stamp } => stamp.checked_add(signed(timeout)).unwrap_or(Timestamp::MAX),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) client_id: String,
    pub(super) username: String,
    pub(super) scopes: Vec<String>,
    pub(super) opened: Timestamp,
    pub(super) life: Life,
}

/// Whose session it is: a mint for the same owner hands the same one back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Owner {
    client_id: String,
    username: String,
    scopes: Vec<String>,
}

impl Owner {
    fn of(session: &Session) -> Self {
        let Session { client_id, username, scopes, .. } = session.clone();
        Self { client_id, username, scopes }
    }
}

/// All sessions that nobody has found dead yet.
#[derive(Default)]
pub(super) struct Sessions {
    by_token: HashMap<String, Session>,
    /// The token that a mint for the owner hands back.
    current: HashMap<Owner, String>,
}

impl Sessions {
    /// The token of the running session with the same owner as this one, if it lives.
    pub(super) fn running(&mut self, like: &Session, now: Timestamp) -> Option<String> {
        let token = self.current.get(&Owner::of(like))?.clone();
        self.living(&token, now).map(|_| token)
    }

    pub(super) fn open(&mut self, token: String, session: Session, now: Timestamp) {
        if self.by_token.len() >= SWEEP {
            self.by_token.retain(|_, session| !session.life.is_over(now));
            self.current.retain(|_, token| self.by_token.contains_key(token));
        }
        if matches!(session.life, Life::Sliding { .. }) {
            self.current.insert(Owner::of(&session), token.clone());
        }
        self.by_token.insert(token, session);
    }

    /// The session behind a bearer, if it lives; a dead one is forgotten.
    pub(super) fn living(&mut self, token: &str, now: Timestamp) -> Option<&Session> {
        let session = self.by_token.get(token)?;
        if session.life.is_over(now) {
            self.end(token);
            return None;
        }
        self.by_token.get(token)
    }

    /// Whose token this is, dead or not as long as it is remembered.
    pub(super) fn username(&self, token: &str) -> Option<&str> {
        self.by_token.get(token).map(|session| session.username.as_str())
    }

    /// Notes activity by the half-period rule. A session that ended meanwhile stays ended.
    pub(super) fn note_activity(&mut self, token: &str, now: Timestamp) {
        if let Some(session) = self.by_token.get_mut(token) {
            session.life = session.life.after_use(now);
        }
    }

    pub(super) fn end(&mut self, token: &str) -> bool {
        let Some(session) = self.by_token.remove(token) else { return false };
        let owner = Owner::of(&session);
        if self.current.get(&owner).is_some_and(|current| current == token) {
            self.current.remove(&owner);
        }
        true
    }

    /// Ends the sessions of one user, or all; tells how many.
    pub(super) fn kill(&mut self, username: Option<&str>) -> usize {
        let before = self.by_token.len();
        let spared = |name: &str| username.is_some_and(|username| !username.eq_ignore_ascii_case(name));
        self.by_token.retain(|_, session| spared(&session.username));
        self.current.retain(|owner, _| spared(&owner.username));
        before - self.by_token.len()
    }

    pub(super) fn len(&self) -> usize {
        self.by_token.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_call_in_the_first_half_does_not_save_the_session() {
        let timeout = Duration::from_secs(7200);
        for (used_at, ends_at) in [(1, 7200), (3540, 7200), (3600, 7200), (3601, 10_801), (7199, 14_399)] {
            let stamp = stamp_after_use(at(0), timeout, at(used_at));
            assert!(!is_over(stamp, timeout, at(ends_at - 1)), "used at {used_at}");
            assert!(is_over(stamp, timeout, at(ends_at)), "used at {used_at}");
        }
    }

    #[test]
    fn a_dead_session_is_not_handed_back() {
        let mut sessions = Sessions::default();
        let session = |second| Session {
            client_id: "app".to_owned(),
            username: "elf@x".to_owned(),
            scopes: Vec::new(),
            opened: at(second),
            life: Life::Sliding { timeout: Duration::from_secs(900), stamp: at(second) },
        };
        let any = session(0);
        sessions.open("one".to_owned(), session(0), at(0));
        assert_eq!(sessions.running(&any, at(899)).as_deref(), Some("one"));
        let other_scopes = Session { scopes: vec!["full".to_owned()], ..session(0) };
        assert_eq!(sessions.running(&other_scopes, at(899)), None);
        assert_eq!(sessions.running(&any, at(900)), None);
        sessions.open("two".to_owned(), session(900), at(900));
        assert_eq!(sessions.kill(Some("other@x")), 0);
        assert_eq!(sessions.kill(Some("ELF@x")), 1);
        assert_eq!(sessions.running(&any, at(901)), None);
    }

    proptest! {
        /// The rule a broker's promise stands on.
        #[test]
        fn at_least_half_a_period_is_left_after_any_successful_call(
            period in 2_i64..200_000, gaps in proptest::collection::vec(0_i64..100_000, 1..20)
        ) {
            let timeout = Duration::from_secs(period as u64);
            let (mut now, mut stamp) = (0, at(0));
            for gap in gaps {
                now += gap;
                if is_over(stamp, timeout, at(now)) {
                    break;
                }
                stamp = stamp_after_use(stamp, timeout, at(now));
                let last_sure_second = now + (period + 1) / 2 - 1;
                prop_assert!(!is_over(stamp, timeout, at(last_sure_second)));
                prop_assert!(is_over(stamp, timeout, at(now + period)));
            }
        }
    }
}
