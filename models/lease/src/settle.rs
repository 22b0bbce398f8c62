//! What becomes of a state when no further fault happens: the steps that are left are taken in turn.

use crate::replica::{self, Held, Replica, Step};
use crate::state::{Rules, State};
use crate::store::Entry;

/// More than any flight takes, with three replicas that wait for each other.
const ROUNDS: usize = 60;

/// Whether everybody who runs comes to a token whose session lives, and nobody keeps a dead
/// one of which the store tells him.
pub fn everybody_is_served(state: &State, rules: &Rules) -> bool {
    let mut state = state.clone();
    if let Some(request) = state.late.take() {
        state.store.late(request, rules);
    }
    for _ in 0..ROUNDS {
        if is_served(&state) {
            return true;
        }
        round(&mut state, rules);
    }
    false
}

fn is_served(state: &State) -> bool {
    state
        .replicas
        .iter()
        .filter(|one| one.up)
        .all(|one| one.step == Step::Idle && one.held.is_some_and(|held| !state.is_dead(held.token)))
}

fn round(state: &mut State, rules: &Rules) {
    // No pause is for ever.
    state.store.failure = 0;
    if state.lease_may_end() {
        state.store.lease = None;
    }
    for index in 0..state.replicas.len() {
        state.replicas[index].pausing = false;
        let one = &state.replicas[index];
        if !one.up {
            continue;
        }
        if one.lease.is_some() && matches!(one.step, Step::Confirm | Step::Check | Step::Posting) {
            replica::beat(state, index);
        }
        let one = &state.replicas[index];
        let next = match (one.step, one.held) {
            (Step::Idle, None) => Step::Look,
            // Callers report it, unless the store is to tell of it.
            (Step::Idle, Some(held)) if state.is_dead(held.token) && !is_told(state, one, held) => Step::Look,
            (Step::Idle, Some(_)) if one.link && state.store.entry != Entry::Nothing => {
                Step::Followed(state.store.look())
            }
            (step, _) => step,
        };
        state.replicas[index].step = next;
        replica::advance(state, index, rules);
    }
}

/// Whether the store has something that makes this replica let go of what it holds, without a caller's report.
fn is_told(state: &State, one: &Replica, held: Held) -> bool {
    one.link
        && match state.store.entry {
            Entry::Token(token, owner) => owner.fence > held.fence && !state.is_dead(token),
            Entry::Tombstone(token, _) => token == held.token,
            Entry::Nothing => false,
        }
}
