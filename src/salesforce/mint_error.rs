//! A mint that failed: why, what was seen, and how long Salesforce is left alone after it.

use std::fmt;
use std::time::Duration;

use super::cause::Cause;
use super::printable::printable;

/// A mint that failed. For operators; callers only learn whether waiting helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintError {
    /// Why.
    pub cause: Cause,
    /// What was seen, made safe to print: status, Salesforce's words or the network's.
    pub detail: String,
    /// The least that whoever failed asks us to wait.
    pub retry_after: Option<Duration>,
    /// If it is what another replica was told, the how manieth in a row it was there: then it is known exactly when there is
    /// something to try again.
    pub second_hand: Option<u32>,
}

/// No pause is shorter.
pub(super) const LEAST_PAUSE: Duration = Duration::from_millis(250);
/// No pause is longer, whatever `Retry-After` says: an operator who cures the cause does not wait for an hour.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

impl MintError {
    /// An error with what was seen.
    pub fn new(cause: Cause, detail: impl AsRef<str>) -> Self {
        Self { cause, detail: printable(detail.as_ref()), retry_after: None, second_hand: None }
    }

    /// The same, with the time that the other side asks for.
    pub fn not_before(self, retry_after: Option<Duration>) -> Self {
        Self { retry_after, ..self }
    }

    /// Whether it was said of the integration, so that every replica would be told the same: not what lies at one machine,
    /// its network, its clock, its address or its key, nor our own restraint.
    pub fn holds_for_all(&self) -> bool {
        match self.cause {
            Cause::AppNotInOrg
            | Cause::AppNotApprovedForUser
            | Cause::BadAssertion
            | Cause::FreshTokenRefused
            | Cause::InactiveOrg
            | Cause::InactiveUser
            | Cause::InstanceMismatch
            | Cause::LoginRate
            | Cause::UnknownApp
            | Cause::UserNotApproved
            | Cause::WrongAudience
            | Cause::Unknown => true,
            // Salesforce says until when.
            Cause::Transient => self.retry_after.is_some_and(|wait| !wait.is_zero()),
            Cause::CircuitOpen
            | Cause::ExpiredAssertion
            | Cause::IpOrHours
            | Cause::KeyFailed
            | Cause::KeyUnavailable
            | Cause::LoginBudget
            | Cause::LoginReserve
            | Cause::Malformed
            | Cause::OtherReplica
            | Cause::Dns
            | Cause::Connect
            | Cause::Tls
            | Cause::Timeout
            | Cause::ShortLived
            | Cause::UntrustedInstance => false,
        }
    }

    /// How long Salesforce is left alone after this failure, the `streak`-th in a row (from 1): by the cause, or as long
    /// as the other side asks for, up to 5 minutes.
    pub fn pause(&self, streak: u32, jitter: f64) -> Duration {
        let own = match self.cause {
            // These know exactly when there is something to try again.
            cause if cause.is_restraint() || self.second_hand.is_some() => LEAST_PAUSE,
            cause => cause.pause(streak, jitter),
        };
        self.retry_after.map_or(own, |asked| own.max(asked)).min(LONGEST_PAUSE)
    }
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.cause.sentence(), self.detail)
    }
}

impl std::error::Error for MintError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_another_replica_was_told_is_left_alone_exactly_as_long_as_is_left_of_its_pause() {
        let left = Duration::from_secs(3);
        let own = MintError::new(Cause::UserNotApproved, "status 400").not_before(Some(left));
        let heard = MintError { second_hand: Some(1), ..own.clone() };
        assert_eq!((own.pause(1, 1.0), heard.pause(1, 1.0)), (Duration::from_secs(5), left));
    }

    #[test]
    fn only_what_was_said_of_the_integration_holds_for_all() {
        let holds = |cause| MintError::new(cause, "").holds_for_all();
        assert!(holds(Cause::UserNotApproved) && holds(Cause::LoginRate));
        assert!(!holds(Cause::Connect) && !holds(Cause::KeyFailed) && !holds(Cause::IpOrHours));
        let passing = MintError::new(Cause::Transient, "status 503");
        assert!(!passing.holds_for_all() && passing.not_before(Some(Duration::from_secs(30))).holds_for_all());
        assert!(Cause::ALL.into_iter().filter(|cause| cause.is_restraint()).all(|cause| !holds(cause)));
    }

    proptest! {
        #[test]
        fn what_the_other_side_asks_for_is_kept_up_to_five_minutes(asked in 0_u64..1_000_000, streak in 1_u32..20, jitter in 0.0..1.0) {
            let asked = Duration::from_secs(asked);
            let error = MintError::new(Cause::Transient, "status 503").not_before(Some(asked));
            let pause = error.pause(streak, jitter);
            prop_assert!(pause >= asked.min(LONGEST_PAUSE) && pause <= LONGEST_PAUSE && pause >= LEAST_PAUSE);
        }
    }
}
