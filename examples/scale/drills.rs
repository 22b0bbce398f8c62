//! Failures, played with the pauses of `Cause::pause` and the circuit of a host.

use super::fleet::{FLEET, Random, Used};
use super::hour::Sharing;

/// How a fleet comes back when Salesforce has been away for an hour.
pub(crate) struct Return {
    /// Logins in all.
    pub(crate) logins: u64,
    /// Of the user that has most of them.
    pub(crate) of_one_user: u64,
    /// Logins in the busiest second.
    pub(crate) busiest: u64,
    /// Seconds until 99 of 100 integrations have a token everywhere.
    pub(crate) until_99: u64,
}

/// The longest pause after a failure that passes by itself, and of a circuit.
const LONGEST: f64 = 30.0;

/// After an hour every session has timed out, so each group logs in once: when its host's circuit lets somebody through,
/// its own pause is over, and a caller asks.
pub(crate) fn outage(all: &[Used], sharing: Sharing) -> Return {
    let mut random = Random(28);
    let mut moments = Vec::new();
    let mut seconds = vec![0_u64; 600];
    let (mut logins, mut of_one_user) = (0, 0);
    let mut circuit = 0.0;
    for (index, used) in all.iter().enumerate() {
        if index % FLEET.per_org == 0 {
            // An open circuit lasts from half of its length to the whole, and the end falls anywhere in it.
            circuit = random.fraction() * LONGEST * (0.5 + random.fraction() / 2.0);
        }
        let (groups, _) = sharing.groups(used);
        let callers = (f64::from(used.callers) / groups as f64).max(1.0);
        let mut last: f64 = 0.0;
        for _ in 0..groups {
            let pause = random.fraction() * LONGEST;
            // The first of so many callers that each ask once in a while.
            let asked = FLEET.asks_every * (1.0 - random.fraction().powf(1.0 / callers));
            let at = f64::max(circuit, pause) + asked;
            last = last.max(at);
            if let Some(second) = seconds.get_mut(at as usize) {
                *second += 1;
            }
        }
        moments.push(last as u64);
        logins += groups;
        of_one_user = of_one_user.max(groups);
    }
    moments.sort_unstable();
    let until_99 = moments.get(moments.len() * 99 / 100).copied().unwrap_or_default();
    Return { logins, of_one_user, busiest: seconds.into_iter().max().unwrap_or_default(), until_99 }
}

/// Logins when every process is replaced within an hour and Salesforce is up: in all, and of the user that has most.
pub(crate) fn restart(all: &[Used], sharing: Sharing) -> (u64, u64) {
    match sharing {
        // The token of a process dies with it, and the next one logs in.
        Sharing::Nobody => {
            let each = || all.iter().map(|used| sharing.groups(used).0);
            (each().sum(), each().max().unwrap_or_default())
        }
        // What the one before left in the store is taken up.
        _ => (0, 0),
    }
}

/// Logins when the store of one region is lost for an hour in which every process of that region is replaced, too: in
/// all, and of one user. Without a restart there is none: each process confirms what it holds.
pub(crate) fn lost_store(all: &[Used], sharing: Sharing) -> (u64, u64) {
    let processes = FLEET.processes as u64;
    let held: u64 = all.iter().map(Used::regions).sum();
    match sharing {
        Sharing::Nobody => (0, 0),
        Sharing::Region => (held / FLEET.regions as u64 * processes, processes),
        Sharing::Everybody => (held * processes, all.iter().map(Used::regions).max().unwrap_or_default() * processes),
        Sharing::Org => (all.len() as u64 / FLEET.regions as u64 * processes, processes),
    }
}
