//! What the simulator has been asked, for tests that prove how often a broker called.
//!
//! Users are counted by name only if the org has them, so that a stranger's input cannot grow the map.

use std::collections::BTreeMap;

use serde::Serialize;

/// Calls since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests of any method to the token endpoint, counted on arrival.
    pub token_posts: u64,
    /// The same by how they ended: `granted_new`, `granted_running`, a row's name, or `fault_…`.
    pub token_outcomes: BTreeMap<String, u64>,
    /// Requests to the token endpoint being answered now.
    pub token_posts_in_flight: u64,
    /// The most of them there ever were at once.
    pub token_posts_in_flight_max: u64,
    /// Calls below `/services/data/vNN.0`.
    pub rest_calls: u64,
    /// The same by status.
    pub rest_statuses: BTreeMap<u16, u64>,
    /// Successful calls of `/services/data/vNN.0/` itself: what a broker uses as proof that a session lives.
    pub confirms: u64,
    /// Calls of `userinfo`.
    pub userinfo_calls: u64,
    /// Calls of `introspect`.
    pub introspections: u64,
    /// Token requests and REST calls by user of this org.
    pub by_user: BTreeMap<String, UserCounts>,
    /// Sessions that nobody has found dead yet. Not reset.
    pub sessions: u64,
}

/// Calls of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UserCounts {
    /// Token requests that named this user.
    pub token_posts: u64,
    /// Those that ended with a token.
    pub granted: u64,
    /// REST calls with one of this user's tokens.
    pub rest_calls: u64,
    /// Successful ones of the version's root.
    pub confirms: u64,
}

impl Counts {
    pub(super) fn token_arrived(&mut self) {
        self.token_posts += 1;
        self.token_posts_in_flight += 1;
        self.token_posts_in_flight_max = self.token_posts_in_flight_max.max(self.token_posts_in_flight);
    }

    pub(super) fn token_left(&mut self) {
        self.token_posts_in_flight = self.token_posts_in_flight.saturating_sub(1);
    }

    pub(super) fn token_ended(&mut self, outcome: String, user: Option<&str>) {
        if let Some(user) = user {
            let counts = self.by_user.entry(user.to_owned()).or_default();
            counts.token_posts += 1;
            counts.granted += u64::from(outcome.starts_with("granted"));
        }
        *self.token_outcomes.entry(outcome).or_default() += 1;
    }

    pub(super) fn rest_ended(&mut self, status: u16, user: Option<&str>, is_confirm: bool) {
        self.rest_calls += 1;
        *self.rest_statuses.entry(status).or_default() += 1;
        let confirms = u64::from(is_confirm && status == 200);
        self.confirms += confirms;
        if let Some(user) = user {
            let counts = self.by_user.entry(user.to_owned()).or_default();
            counts.rest_calls += 1;
            counts.confirms += confirms;
        }
    }

    /// Everything back to zero, except for what is going on right now.
    pub(super) fn reset(&mut self) {
        let now = self.token_posts_in_flight;
        *self = Self { token_posts_in_flight: now, token_posts_in_flight_max: now, ..Self::default() };
    }
}
