//! The checks that need a memory: has this `jti` been seen, how often has this user logged in, may they use the app.
//!
//! Runs under the state's lock, after the signature was verified outside of it. Memory stays bounded: a `jti` is
//! forgotten when its assertion could not be used any more, a login after an hour.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::checks::Verified;
use super::hosts::Place;
use super::org::{Org, RegisteredApp, RegisteredUser};
use super::permission;
use super::rows::TokenRow;
use super::settings::Standing;
use super::switches::{Switches, UnknownUserError};

/// Above this many remembered `jti` the unusable ones are swept out.
const REPLAY_SWEEP: usize = 1 << 16;

/// What the login machinery remembers.
#[derive(Debug)]
pub(super) struct Logins {
    per_hour: usize,
    /// `(client_id, jti)` and the second after which it does not matter any more.
    seen: HashMap<(String, String), i64>,
    /// The last hour's logins by user, oldest first.
    recent: HashMap<String, VecDeque<Timestamp>>,
}

/// Who gets a token, through what, for what.
pub(super) struct Admitted {
    pub(super) app: Arc<RegisteredApp>,
    pub(super) user: Arc<RegisteredUser>,
    pub(super) scopes: Vec<String>,
}

impl Logins {
    pub(super) fn new(per_hour: u32) -> Self {
        Self { per_hour: per_hour.try_into().unwrap_or(usize::MAX), seen: HashMap::new(), recent: HashMap::new() }
    }

    /// Walks the checks from `jti` on. Each login that gets as far as the user counts against the user's hour.
    pub(super) fn admit(
        &mut self,
        (org, switches): (&Org, &Switches),
        place: &Place,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Admitted, TokenRow> {
        let app = org.app(&verified.client_id).ok_or(TokenRow::ClientIdentifierInvalid)?;
        if switches.jti_replay_refused && !self.is_new(verified, now) {
            return Err(TokenRow::InvalidAssertion);
        }
        let user = org.user(&verified.username).filter(|user| place.knows(&user.is, org.sandbox)).ok_or(
            match switches.unknown_user_error {
                UnknownUserError::InvalidAssertion => TokenRow::InvalidAssertion,
                UnknownUserError::NotApproved => TokenRow::UserHasNotApproved,
            },
        )?;
        match user.is.standing {
            Standing::Active => {}
            Standing::Inactive => return Err(TokenRow::InactiveUser),
            Standing::Locked => return Err(TokenRow::UserIsLocked),
            Standing::IpRestricted => return Err(TokenRow::IpRestricted),
            Standing::OutsideLoginHours => return Err(TokenRow::IpRestrictedOrLoginHours),
        }
        if !self.within_rate(&user.is.username, now) {
            return Err(TokenRow::LoginRateExceeded);
        }
        let scopes = permission::granted_scopes(org, switches, app, &user.is)?;
        Ok(Admitted { app: Arc::clone(app), user: Arc::clone(user), scopes })
    }

    fn is_new(&mut self, verified: &Verified, now: Timestamp) -> bool {
        let Some(jti) = &verified.jti else { return true };
        if self.seen.len() >= REPLAY_SWEEP {
            self.seen.retain(|_, until| *until > now.as_second());
            // Only reachable with dates far away; forgetting is then better than growing without end.
            if self.seen.len() >= REPLAY_SWEEP {
                self.seen.clear();
            }
        }
        self.seen.insert((verified.client_id.clone(), jti.clone()), verified.usable_until).is_none()
    }

    /// Counts the login unless the hour is full. Refused logins do not prolong the refusal.
    fn within_rate(&mut self, username: &str, now: Timestamp) -> bool {
        let hour_ago = now.checked_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MIN);
        let recent = self.recent.entry(username.to_lowercase()).or_default();
        while recent.front().is_some_and(|&login| login <= hour_ago) {
            recent.pop_front();
        }
        if recent.len() >= self.per_hour {
            return false;
        }
        recent.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_is_a_sliding_one() {
        let mut logins = Logins::new(2);
        let at = |second| Timestamp::from_second(second).unwrap();
        let let_in = [0, 1800, 1801, 3599, 3600, 3601, 5401].map(|second| logins.within_rate("elf@x", at(second)));
        assert_eq!(let_in, [true, true, false, false, true, false, true]);
        assert!(logins.within_rate("other@x", at(1)));
    }
}
