//! How long the broker vouches for a token, as pure functions of a moment.
//!
//! Salesforce sends no `expires_in`, and any mint may hand back a running session of unknown age, so a mint proves
//! nothing. A REST call does: Salesforce counts it as activity but moves the session's stamp only in the second half
//! of a period, so after a successful call at least half of the session timeout is left in every case.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Moment;

/// What a promise rests on. The wire names are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LifetimeSource {
    /// A successful REST call with the token.
    Confirmed,
    /// Half of the session timeout from the mint, unproved.
    Estimate,
    /// `expires_in` of the token response.
    ExpiresIn,
    /// `exp` of the token endpoint's introspection (RFC 7662).
    Introspection,
    /// `exp` of a JWT-format token.
    JwtExp,
}

impl LifetimeSource {
    /// The source with this wire name.
    pub fn of_str(text: &str) -> Option<Self> {
        let all = [Self::Confirmed, Self::Estimate, Self::ExpiresIn, Self::Introspection, Self::JwtExp];
        all.into_iter().find(|source| source.as_str() == text)
    }

    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Estimate => "estimate",
            Self::ExpiresIn => "expires_in",
            Self::Introspection => "introspection",
            Self::JwtExp => "jwt_exp",
        }
    }
}

/// From when, for how long, and on what ground the broker vouches for a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Promise {
    from: Moment,
    lasts: Duration,
    source: LifetimeSource,
    /// Whether use makes the life longer: a session slides, a token with an end of its own does not.
    grows: bool,
    /// Between 0 and 1: how early inside the jitter band this one is refreshed.
    jitter: f64,
}

/// What of a promise does not depend on a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// For how long, counted from its beginning.
    pub lasts: Duration,
    /// What it rests on.
    pub source: LifetimeSource,
    /// Whether use makes the life longer.
    pub grows: bool,
}

/// OpenTelemetry's collector drops a token 300 s before its end and asks again on every request from then on; a
/// token that is handed out should have more than that whenever its life allows.
const COMFORT: Duration = Duration::from_secs(330);

impl Promise {
    /// A promise about a session, which grows by use: `lasts` is half of its timeout, or less by experience.
    ///
    /// `from` is the moment *before* the call that proves it was sent: the proof may be that old. `jitter` spreads
    /// refreshes and is clamped to 0..=1.
    pub fn sliding(lasts: Duration, from: Moment, source: LifetimeSource, jitter: f64) -> Self {
        Self { from, lasts, source, grows: true, jitter: jitter.clamp(0.0, 1.0) }
    }

    /// A promise for a life that the token itself or its response tells, and that no use makes longer.
    pub fn fixed(life: Duration, from: Moment, source: LifetimeSource, jitter: f64) -> Self {
        Self { grows: false, ..Self::sliding(life, from, source, jitter) }
    }

    /// A promise that somebody else made, of which `left` is left now: it ends when theirs does.
    pub fn taken_over(theirs: Terms, left: Duration, now: Moment, jitter: f64) -> Self {
        let Terms { lasts, source, grows } = theirs;
        let from = now.before(lasts.saturating_sub(left));
        // This clock may have started after the promise was made: then less of it is known here, and none of it is added.
        let lasts = left.min(lasts).saturating_add(now.since(from));
        Self { grows, ..Self::sliding(lasts, from, source, jitter) }
    }

    /// What somebody else has to know to take it over, beside what is left of it.
    pub fn terms(&self) -> Terms {
        Terms { lasts: self.lasts, source: self.source, grows: self.grows }
    }

    /// Whether a REST call can make a new one for the same token.
    pub fn grows_by_use(&self) -> bool {
        self.grows
    }

    /// The one of two promises about the same token that reaches further.
    pub fn longer(self, other: Self, now: Moment) -> Self {
        if other.remaining(now) > self.remaining(now) { other } else { self }
    }

    /// The same end, counted from a later proof of life, which was asked for at `from`.
    ///
    /// Without it a promise that reaches further than the proof does would want the next refresh at once, and again.
    pub fn proved_again(self, from: Moment) -> Self {
        Self { from, lasts: self.remaining(from), ..self }
    }

    /// What it rests on.
    pub fn source(&self) -> LifetimeSource {
        self.source
    }

    /// Since when it holds.
    pub fn from(&self) -> Moment {
        self.from
    }

    /// Kept back from what callers are told: 10 % of the promise, 30 s at most.
    pub fn margin(&self) -> Duration {
        (self.lasts / 10).min(Duration::from_secs(30))
    }

    /// What is left of it.
    pub fn remaining(&self, now: Moment) -> Duration {
        self.lasts.saturating_sub(now.since(self.from))
    }

    /// Whole seconds a caller may rely on; `None` when there is not one left. Never above what is left.
    pub fn expires_in(&self, now: Moment) -> Option<u64> {
        match self.remaining(now).saturating_sub(self.margin()).as_secs() {
            0 => None,
            seconds => Some(seconds),
        }
    }

    /// What [`Promise::expires_in`] would say if it had been made this very moment: the most a caller can ask for.
    pub fn full(&self) -> Duration {
        self.lasts.saturating_sub(self.margin())
    }

    /// Whether it is time to look for a new one, beside the answers.
    ///
    /// The window is a quarter of the promise, or what keeps 330 s in callers' hands, at most three quarters;
    /// jitter makes it up to a tenth wider, so that integrations minted together part ways.
    pub fn wants_refresh(&self, now: Moment) -> bool {
        let comfortable = (COMFORT + self.margin()).min(self.lasts / 4 * 3);
        let window = (self.lasts / 4).max(comfortable);
        let jittered = window.mul_f64(1.0 + self.jitter / 10.0);
        self.remaining(now) <= jittered
    }

    /// Whether something proved it and callers may still rely on it: an estimate is no proof.
    pub fn is_proved_at(&self, now: Moment) -> bool {
        self.source != LifetimeSource::Estimate && self.expires_in(now).is_some()
    }

    /// Whether a REST call is worth trying: the session grows by use, and it may still live, with this timeout and at
    /// the end of the promise.
    pub fn may_be_confirmed(&self, session_timeout: Duration, now: Moment) -> bool {
        self.grows_by_use() && now.since(self.from) < session_timeout.max(self.lasts)
    }
}

/// How long a session is trusted after a proof of life, by experience with this integration.
///
/// It begins at half of the configured session timeout, which is what Salesforce's own rule leaves. A session that is
/// found dead while it was still promised shows that less holds here: a wrong `session_timeout`, or somebody who logs
/// the user out. Then the trust is cut, to half of what it was or to the age at which the session was found dead if
/// that is less, and grows back by a half whenever sessions have lived through the whole of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trust {
    most: Duration,
    now: Duration,
    lived: Duration,
}

/// Below this no experience cuts: some clients refuse a life of 66 s and less, and the margin is taken off, too.
const LEAST_TRUST: Duration = Duration::from_secs(120);

impl Trust {
    /// Full trust in a session timeout.
    pub fn new(session_timeout: Duration) -> Self {
        let most = session_timeout / 2;
        Self { most, now: most, lived: Duration::ZERO }
    }

    /// For how long a session is promised after a proof of life.
    pub fn lasts(&self) -> Duration {
        self.now
    }

    /// Whether experience has cut it.
    pub fn is_cut(&self) -> bool {
        self.now < self.most
    }

    /// A session was found dead `age` after its last proof of life. What is older than the promise teaches nothing.
    pub fn died(&mut self, age: Duration) {
        if age < self.now {
            self.now = (self.now / 2).min(age).max(LEAST_TRUST).min(self.most);
            self.lived = Duration::ZERO;
        }
    }

    /// A session was found alive `age` after its last proof of life.
    pub fn lived(&mut self, age: Duration) {
        self.lived = self.lived.saturating_add(age);
        if self.lived >= self.now {
            self.now = (self.now + self.now / 2).min(self.most);
            self.lived = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Moment = Moment::from_bits(1_000_000_000_000);

    fn promise(timeout: u64) -> Promise {
        Promise::sliding(Duration::from_secs(timeout) / 2, START, LifetimeSource::Confirmed, 0.0)
    }

    #[test]
    fn a_two_hour_session_is_promised_for_an_hour_less_thirty_seconds() {
        let promise = promise(7200);
        assert_eq!(promise.expires_in(START), Some(3570));
        assert_eq!(promise.expires_in(START.after(Duration::from_secs(1))), Some(3569));
        assert_eq!(promise.expires_in(START.after(Duration::from_millis(3_569_500))), None);
    }

    #[test]
    fn refresh_leaves_callers_more_than_three_hundred_seconds_when_life_allows() {
        for timeout in [15 * 60, 30 * 60, 7200, 86_400] {
            let promise = promise(timeout);
            let mut at = 0;
            while !promise.wants_refresh(START.after(Duration::from_secs(at))) {
                let told = promise.expires_in(START.after(Duration::from_secs(at))).unwrap();
                assert!(told > 300, "{timeout} s session, {at} s old: {told}");
                at += 1;
            }
            assert!(at > timeout / 10, "{timeout} s session refreshes after {at} s already");
        }
    }

    proptest! {
        #[test]
        fn what_callers_are_told_is_never_more_than_what_is_left(timeout in 2_u64..86_400, age in 0_u64..100_000_000) {
            let promise = promise(timeout);
            let now = START.after(Duration::from_millis(age));
            if let Some(told) = promise.expires_in(now) {
                prop_assert!(told > 0);
                prop_assert!(Duration::from_secs(told) + promise.margin() <= promise.remaining(now));
                prop_assert!(Duration::from_millis(age) < Duration::from_secs(timeout) / 2);
            }
        }

        #[test]
        fn a_token_without_a_second_left_wants_a_refresh(timeout in 2_u64..86_400, age in 0_u64..100_000_000, jitter in 0.0..1.0) {
            let half = Duration::from_secs(timeout) / 2;
            let promise = Promise::sliding(half, START, LifetimeSource::Estimate, jitter);
            let now = START.after(Duration::from_millis(age));
            if promise.remaining(now).is_zero() {
                prop_assert!(promise.wants_refresh(now));
            }
        }

        #[test]
        fn trust_stays_between_its_bounds_and_a_death_never_raises_it(
            timeout in 2_u64..86_400,
            events in prop::collection::vec((any::<bool>(), 0_u64..86_400), 0..60),
        ) {
            let most = Duration::from_secs(timeout) / 2;
            let mut trust = Trust::new(Duration::from_secs(timeout));
            for (alive, age) in events {
                let (before, age) = (trust.lasts(), Duration::from_secs(age));
                if alive {
                    trust.lived(age);
                    prop_assert!(trust.lasts() >= before);
                } else {
                    trust.died(age);
                    prop_assert!(trust.lasts() <= before);
                }
                prop_assert!(trust.lasts() <= most && trust.lasts() >= LEAST_TRUST.min(most));
            }
        }

        #[test]
        fn trust_comes_back_while_sessions_live(timeout in 600_u64..86_400, deaths in 1_usize..20) {
            let mut trust = Trust::new(Duration::from_secs(timeout));
            for _ in 0..deaths {
                trust.died(Duration::from_secs(1));
            }
            prop_assert!(trust.is_cut());
            let mut rounds = 0;
            while trust.is_cut() {
                trust.lived(trust.lasts() / 4);
                rounds += 1;
                prop_assert!(rounds < 100);
            }
        }

        #[test]
        fn a_promise_that_is_proved_again_ends_when_it_did_and_wants_no_refresh_at_once(
            life in 2_u64..86_400, age in 0_u64..86_400, later in 0_u64..86_400, jitter in 0.0..1.0,
        ) {
            let from = START.after(Duration::from_secs(age.min(life - 1)));
            let promise = Promise::sliding(Duration::from_secs(life), START, LifetimeSource::Introspection, jitter);
            let again = promise.proved_again(from);
            let now = from.after(Duration::from_secs(later));
            prop_assert_eq!(again.remaining(now), promise.remaining(now));
            prop_assert!(!again.wants_refresh(from));
        }

        #[test]
        fn a_promise_that_is_taken_over_ends_when_it_did_also_by_a_clock_that_started_later(
            life in 2_u64..86_400, age in 0_u64..90_000, later in 0_u64..90_000, up in 1_u64..100_000, grows in any::<bool>(),
        ) {
            let theirs = Promise { grows, ..Promise::sliding(Duration::from_secs(life), START, LifetimeSource::Confirmed, 0.0) };
            let left = theirs.remaining(START.after(Duration::from_secs(age)));
            let now = Moment::from_bits(0).after(Duration::from_secs(up));
            let ours = Promise::taken_over(theirs.terms(), left, now, 0.0);
            let later = Duration::from_secs(later);
            prop_assert_eq!(ours.remaining(now.after(later)), left.saturating_sub(later));
            prop_assert!(ours.full() <= theirs.full() && ours.grows_by_use() == grows);
        }

        #[test]
        fn what_is_left_of_a_promise_is_never_more_than_the_whole(life in 1_u64..86_400, told in 0_u64..1_000_000) {
            let terms = Terms { lasts: Duration::from_secs(life), source: LifetimeSource::JwtExp, grows: false };
            let ours = Promise::taken_over(terms, Duration::from_secs(told), START, 0.5);
            prop_assert!(ours.remaining(START) <= terms.lasts);
        }

        #[test]
        fn the_longer_promise_is_never_the_shorter_one(one in 2_u64..86_400, other in 2_u64..86_400, age in 0_u64..90_000) {
            let now = START.after(Duration::from_secs(age));
            let (one, other) = (promise(one), promise(other));
            let longer = one.longer(other, now).remaining(now);
            prop_assert!(longer >= one.remaining(now) && longer >= other.remaining(now));
        }
    }

    #[test]
    fn every_source_is_known_by_its_name() {
        for name in ["confirmed", "estimate", "expires_in", "introspection", "jwt_exp"] {
            assert_eq!(LifetimeSource::of_str(name).map(LifetimeSource::as_str), Some(name));
        }
        assert_eq!(LifetimeSource::of_str("guess"), None);
    }

    #[test]
    fn a_death_within_the_promise_cuts_it_to_the_age_or_a_half() {
        let mut trust = Trust::new(Duration::from_secs(7200));
        trust.died(Duration::from_secs(3000));
        assert_eq!(trust.lasts(), Duration::from_secs(1800));
        trust.died(Duration::from_secs(500));
        assert_eq!(trust.lasts(), Duration::from_secs(500));
        trust.died(Duration::from_secs(3000));
        assert_eq!(trust.lasts(), Duration::from_secs(500), "a session that outlived its promise teaches nothing");
    }
}
