//! An hour of renewals, second by second, by the rules of `src/promise.rs`.

use super::fleet::{FLEET, Random, Used};

/// Which processes share a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// None do: each process is by itself.
    Nobody,
    /// Those of one region.
    Region,
    /// All of them.
    Everybody,
    /// Orgs are dealt out to the regions; the brokers of one region serve an org, to callers from everywhere.
    Org,
}

impl Sharing {
    pub(crate) const ALL: [Self; 4] = [Self::Nobody, Self::Region, Self::Everybody, Self::Org];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "no store",
            Self::Region => "a store in each region",
            Self::Everybody => "one store for all",
            Self::Org => "orgs dealt out to regions, a store in each",
        }
    }

    /// How many stores.
    pub(crate) fn stores(self) -> u64 {
        match self {
            Self::Nobody => 0,
            Self::Region | Self::Org => FLEET.regions as u64,
            Self::Everybody => 1,
        }
    }

    /// Into how many groups the processes that hold this integration fall, each with a session to keep alive, and how
    /// many processes are in one.
    pub(crate) fn groups(self, used: &Used) -> (u64, u64) {
        let processes = FLEET.processes as u64;
        match self {
            Self::Nobody => (used.regions() * processes, 1),
            Self::Region => (used.regions(), processes),
            Self::Everybody => (1, used.regions() * processes),
            Self::Org => (1, processes),
        }
    }
}

/// What an hour comes to, all stores together.
pub(crate) struct Hour {
    /// Renewals, each a confirm call to Salesforce.
    pub(crate) renewals: u64,
    /// Renewals in the busiest second.
    pub(crate) busiest: u64,
    /// Looks of processes that heard of a renewal by another.
    pub(crate) follows: u64,
    /// Places that are held, each counted once for every process that holds it.
    pub(crate) held: u64,
}

const SECONDS: f64 = 3600.0;

/// Plays the hour.
pub(crate) fn play(all: &[Used], sharing: Sharing, session_timeout: f64) -> Hour {
    let mut random = Random(18);
    let mut seconds = vec![0_u64; SECONDS as usize];
    let mut hour = Hour { renewals: 0, busiest: 0, follows: 0, held: 0 };
    for used in all {
        let (groups, processes) = sharing.groups(used);
        hour.held += groups * processes;
        for _ in 0..groups {
            // Nobody remembers when the first of them was.
            let mut at = random.fraction() * renewed_after(session_timeout, 0.5);
            while at < SECONDS {
                hour.renewals += 1;
                hour.follows += processes - 1;
                if let Some(second) = seconds.get_mut(at as usize) {
                    *second += 1;
                }
                at += renewed_after(session_timeout, random.fraction());
            }
        }
    }
    hour.busiest = seconds.into_iter().max().unwrap_or_default();
    hour
}

/// Seconds from a promise to the call that renews it: `Promise::wants_refresh`.
pub(crate) fn renewed_after(session_timeout: f64, jitter: f64) -> f64 {
    let lasts = session_timeout / 2.0;
    let margin = (lasts / 10.0).min(30.0);
    let comfortable = (330.0 + margin).min(lasts * 0.75);
    let window = (lasts / 4.0).max(comfortable);
    lasts - window * (1.0 + jitter / 10.0)
}
