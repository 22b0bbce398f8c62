//! A circuit per token host: when the host fails again and again, whoever asks, it is left alone for a moment and then
//! asked by one at a time, until it answers.
//!
//! Each integration has pauses of its own, but a thousand integrations of one host would together still storm it at the
//! end of an outage. Only what says something about the host counts: no answer, and answers that are none. Salesforce's
//! "no" to one integration shows a host in good health.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;

use crate::clock::Moment;

/// The circuit of one token host.
#[derive(Debug, Default)]
pub struct Circuit {
    /// Held for a few instructions, never across a wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In a row, over all integrations of the host.
    failures: u32,
    open_until: Option<Moment>,
    /// Whether somebody is finding out if the host answers again.
    probing: bool,
}

/// So many failures in a row open it.
const TOLERATED: u32 = 5;
/// For so long at first, then twice as long each time.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// What those wait who come while somebody else is probing.
const WHILE_PROBING: Duration = Duration::from_secs(1);

impl Circuit {
    /// The right to ask the host, or how long to leave it alone.
    pub(super) fn enter(self: &Arc<Self>, now: Moment) -> Result<Pass, Duration> {
        let mut state = self.lock();
        match state.open_until {
            Some(until) if now < until => return Err(until.since(now)),
            Some(_) if state.probing => return Err(WHILE_PROBING),
            Some(_) => state.probing = true,
            None => {}
        }
        Ok(Pass { circuit: Arc::clone(self), told: false })
    }

    /// Forgets the failures: what caused them may be cured.
    pub(super) fn forgive(&self) {
        *self.lock() = State::default();
    }

    /// Whether the host is left alone, or only probed.
    pub fn is_open(&self) -> bool {
        self.lock().open_until.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to ask the host once. Dropped untold (the flight was broken off) it says nothing about the host.
#[derive(Debug)]
pub(super) struct Pass {
    circuit: Arc<Circuit>,
    told: bool,
}

impl Pass {
    /// The host answered, be it with "no".
    pub(super) fn answered(mut self) {
        self.told = true;
        *self.circuit.lock() = State::default();
    }

    /// The host did not answer, or not as one in good health. `jitter` is between 0 and 1.
    pub(super) fn failed(mut self, now: Moment, jitter: f64) {
        self.told = true;
        let mut state = self.circuit.lock();
        state.failures = state.failures.saturating_add(1);
        state.probing = false;
        let beyond = state.failures.saturating_sub(TOLERATED);
        if state.failures >= TOLERATED {
            let bound = SHORTEST.saturating_mul(1 << beyond.min(8)).min(LONGEST);
            // Half of it at least: a circuit that hardly opens protects nobody.
            state.open_until = Some(now.after(bound.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.told {
            self.circuit.lock().probing = false;
        }
    }
}

/// All circuits of a process.
#[derive(Debug, Default)]
pub struct Circuits(Mutex<HashMap<String, Arc<Circuit>>>);

impl Circuits {
    /// The circuit of the host of a token endpoint.
    pub(super) fn of(&self, token_url: &Url) -> Arc<Circuit> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(token_url.origin().ascii_serialization()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Moment = Moment::from_bits(1_000_000_000_000);

    fn broken(circuit: &Arc<Circuit>, now: Moment) {
        for _ in 0..TOLERATED {
            circuit.enter(now).unwrap().failed(now, 1.0);
        }
    }

    #[test]
    fn after_five_failures_one_at_a_time_finds_out_whether_the_host_is_back() {
        let circuit = Arc::new(Circuit::default());
        broken(&circuit, START);
        assert!(circuit.is_open());
        assert_eq!(circuit.enter(START).unwrap_err(), SHORTEST);
        let later = START.after(SHORTEST);
        let probe = circuit.enter(later).unwrap();
        assert_eq!(circuit.enter(later).unwrap_err(), WHILE_PROBING);
        probe.failed(later, 1.0);
        assert_eq!(circuit.enter(later).unwrap_err(), SHORTEST * 2);
        let later = later.after(SHORTEST * 2);
        circuit.enter(later).unwrap().answered();
        assert!(!circuit.is_open());
        let (one, other) = (circuit.enter(later), circuit.enter(later));
        assert!(one.is_ok() && other.is_ok());
    }

    #[test]
    fn a_probe_that_is_broken_off_does_not_block_the_next_one() {
        let circuit = Arc::new(Circuit::default());
        broken(&circuit, START);
        let later = START.after(LONGEST);
        drop(circuit.enter(later).unwrap());
        assert!(circuit.enter(later).is_ok());
    }

    #[test]
    fn failures_between_answers_do_not_add_up() {
        let circuit = Arc::new(Circuit::default());
        for _ in 0..20 {
            circuit.enter(START).unwrap().failed(START, 1.0);
            circuit.enter(START).unwrap().answered();
        }
        assert!(!circuit.is_open());
    }

    proptest! {
        #[test]
        fn it_is_open_for_half_a_second_to_thirty(failures in 5_u32..200, jitter in 0.0..1.0) {
            let circuit = Arc::new(Circuit::default());
            let mut now = START;
            for _ in 0..failures {
                now = now.after(LONGEST);
                circuit.enter(now).unwrap().failed(now, jitter);
            }
            let closed_for = circuit.enter(now).unwrap_err();
            prop_assert!(closed_for >= SHORTEST / 2 && closed_for <= LONGEST);
        }
    }
}
