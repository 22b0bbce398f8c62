//! A circuit per token host: when the host fails again and again, whoever asks, it is left alone for a moment and then
//! asked by one at a time, until it answers.
//!
//! Each integration has pauses of its own, but a thousand integrations of one host would together still storm it at the
//! end of an outage. Only what says something about the host counts: no answer, and answers that are none. Salesforce's
//! "no" to one integration shows a host in good health. What fails may be one integration alone, by a path that is wrong
//! or an org that is down: it does not probe again while others wait who might find the host in good health.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use url::Url;

use crate::clock::Moment;
use crate::names::IntegrationName;
use crate::store::{Patience, STREAK_LASTS};

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
    /// Who failed last.
    failed: Option<IntegrationName>,
    /// When somebody else was turned away last.
    turned_away: Option<Moment>,
    /// When it was heard last that all replicas together leave it alone.
    left_alone_by_all: Option<Moment>,
}

/// So many failures in a row open it.
const TOLERATED: u32 = 5;
/// For so long at first, then twice as long each time.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// The same for all replicas together.
pub(super) const PATIENCE: Patience = Patience { tolerated: TOLERATED, shortest: SHORTEST, longest: LONGEST };
/// What those wait who come while somebody else is probing.
const WHILE_PROBING: Duration = Duration::from_secs(1);
/// For so long who failed last leaves the next probe to those who were turned away; most callers ask once a minute.
const AFTER_YOU: Duration = Duration::from_secs(90);

impl Circuit {
    /// Whether an integration has the right to ask the host, or how long to leave it alone: before there is a request.
    pub(super) fn look(&self, who: &IntegrationName, now: Moment) -> Result<(), Duration> {
        self.admitted(who, now).map(|_| ())
    }

    /// The right of an integration to ask the host, or how long to leave it alone.
    pub(super) fn enter(self: &Arc<Self>, who: &IntegrationName, now: Moment) -> Result<Pass, Duration> {
        let mut state = self.admitted(who, now)?;
        let probes = state.open_until.is_some();
        state.probing = probes;
        Ok(Pass { circuit: Arc::clone(self), who: who.clone(), probes, told: false })
    }

    fn admitted(&self, who: &IntegrationName, now: Moment) -> Result<MutexGuard<'_, State>, Duration> {
        let mut state = self.lock();
        let failed_last = state.failed.as_ref() == Some(who);
        if let Some(wait) = state.wait(failed_last, now) {
            if !failed_last {
                state.turned_away = Some(now);
            }
            return Err(wait);
        }
        Ok(state)
    }

    /// Forgets the failures: what caused them may be cured.
    pub(super) fn forgive(&self) {
        *self.lock() = State::default();
    }

    /// Whether all replicas together leave it alone, as the store just said.
    pub(super) fn hear(&self, left_alone: bool, now: Moment) {
        self.lock().left_alone_by_all = left_alone.then_some(now);
    }

    /// Whether the host is left alone, or only probed: by what was met here, or by all replicas together as far as is known
    /// here. Who asks no more is not told when the host is back, but the store forgets in a while, and so does this.
    pub fn is_open(&self, now: Moment) -> bool {
        let state = self.lock();
        state.open_until.is_some() || state.left_alone_by_all.is_some_and(|at| now.since(at) < STREAK_LASTS)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&self, failed_last: bool, now: Moment) -> Option<Duration> {
        let after_others = failed_last && self.turned_away.is_some_and(|at| now.since(at) < AFTER_YOU);
        match self.open_until? {
            until if now < until => Some(until.since(now)),
            _ if self.probing || after_others => Some(WHILE_PROBING),
            _ => None,
        }
    }
}

/// The right to ask the host once. Dropped untold (the flight was broken off) it says nothing about the host.
#[derive(Debug)]
pub(super) struct Pass {
    circuit: Arc<Circuit>,
    who: IntegrationName,
    /// Whether it finds out, alone, if the host is back.
    probes: bool,
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
        if state.open_until.is_some() && !self.probes {
            // Asked before it opened: one blip of the host with many on their way is no long outage.
            return;
        }
        state.failures = state.failures.saturating_add(1);
        state.probing = false;
        state.failed = Some(self.who.clone());
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
        if !self.told && self.probes {
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

    fn one() -> IntegrationName {
        "one".parse().unwrap()
    }

    fn broken(circuit: &Arc<Circuit>, now: Moment) {
        for _ in 0..TOLERATED {
            circuit.enter(&one(), now).unwrap().failed(now, 1.0);
        }
    }

    #[test]
    fn after_five_failures_one_at_a_time_finds_out_whether_the_host_is_back() {
        let circuit = Arc::new(Circuit::default());
        broken(&circuit, START);
        assert!(circuit.is_open(START));
        assert_eq!(circuit.enter(&one(), START).unwrap_err(), SHORTEST);
        let later = START.after(SHORTEST);
        let probe = circuit.enter(&one(), later).unwrap();
        assert_eq!(circuit.enter(&one(), later).unwrap_err(), WHILE_PROBING);
        probe.failed(later, 1.0);
        assert_eq!(circuit.enter(&one(), later).unwrap_err(), SHORTEST * 2);
        let later = later.after(SHORTEST * 2);
        circuit.enter(&one(), later).unwrap().answered();
        assert!(!circuit.is_open(later));
        let (one, other) = (circuit.enter(&one(), later), circuit.enter(&one(), later));
        assert!(one.is_ok() && other.is_ok());
    }

    #[test]
    fn who_failed_last_leaves_the_probe_to_those_who_were_turned_away_but_not_for_long() {
        let (circuit, other) = (Arc::new(Circuit::default()), "other".parse().unwrap());
        broken(&circuit, START);
        assert_eq!(circuit.enter(&other, START).unwrap_err(), SHORTEST);
        assert_eq!(circuit.enter(&one(), START.after(AFTER_YOU / 2)).unwrap_err(), WHILE_PROBING);
        // The other one has gone: nobody waits for it any longer.
        circuit.enter(&one(), START.after(AFTER_YOU)).unwrap().failed(START.after(AFTER_YOU), 1.0);
        let later = START.after(AFTER_YOU + LONGEST);
        assert_eq!(circuit.enter(&other, START.after(AFTER_YOU)).unwrap_err(), SHORTEST * 2);
        assert_eq!(circuit.enter(&one(), later).unwrap_err(), WHILE_PROBING);
        circuit.enter(&other, later).unwrap().answered();
        assert!(circuit.enter(&one(), later).is_ok());
    }

    #[test]
    fn a_probe_that_is_broken_off_does_not_block_the_next_one() {
        let circuit = Arc::new(Circuit::default());
        broken(&circuit, START);
        let later = START.after(LONGEST);
        drop(circuit.enter(&one(), later).unwrap());
        assert!(circuit.enter(&one(), later).is_ok());
    }

    #[test]
    fn failures_that_come_in_together_count_as_one_outage() {
        let circuit = Arc::new(Circuit::default());
        let mut passes = Vec::new();
        passes.resize_with(100, || circuit.enter(&one(), START).unwrap());
        passes.into_iter().for_each(|pass| pass.failed(START, 1.0));
        assert_eq!(circuit.enter(&one(), START).unwrap_err(), SHORTEST);
        // What was under way before it opened says nothing about the one that finds out, either.
        let slow = Pass { circuit: Arc::clone(&circuit), who: one(), probes: false, told: false };
        let later = START.after(SHORTEST);
        let probe = circuit.enter(&one(), later).unwrap();
        slow.failed(later, 1.0);
        assert_eq!(circuit.enter(&one(), later).unwrap_err(), WHILE_PROBING);
        probe.failed(later, 1.0);
        assert_eq!(circuit.enter(&one(), later).unwrap_err(), SHORTEST * 2);
    }

    #[test]
    fn what_all_replicas_leave_alone_counts_as_open_until_it_answers_or_the_store_forgets() {
        let circuit = Arc::new(Circuit::default());
        circuit.hear(true, START);
        assert!(circuit.is_open(START.after(LONGEST * 2)));
        // It is for the store to say who may ask.
        circuit.enter(&one(), START).unwrap().answered();
        assert!(!circuit.is_open(START));
        circuit.hear(true, START);
        circuit.hear(false, START);
        assert!(!circuit.is_open(START));
        circuit.hear(true, START);
        assert!(!circuit.is_open(START.after(STREAK_LASTS)));
        circuit.forgive();
        assert!(!circuit.is_open(START));
    }

    #[test]
    fn failures_between_answers_do_not_add_up() {
        let circuit = Arc::new(Circuit::default());
        for _ in 0..20 {
            circuit.enter(&one(), START).unwrap().failed(START, 1.0);
            circuit.enter(&one(), START).unwrap().answered();
        }
        assert!(!circuit.is_open(START));
    }

    proptest! {
        #[test]
        fn it_is_open_for_half_a_second_to_thirty(failures in 5_u32..200, jitter in 0.0..1.0) {
            let circuit = Arc::new(Circuit::default());
            let mut now = START;
            for _ in 0..failures {
                now = now.after(LONGEST);
                circuit.enter(&one(), now).unwrap().failed(now, jitter);
            }
            let closed_for = circuit.enter(&one(), now).unwrap_err();
            prop_assert!(closed_for >= SHORTEST / 2 && closed_for <= LONGEST);
        }
    }
}
