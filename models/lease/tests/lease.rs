//! The protocol holds through every combination of faults that is listed here, and each rule of it is needed: without it
//! the checker finds a law broken.

#![expect(clippy::disallowed_methods, reason = "how long a check takes is told, and nothing depends on it")]

use std::time::Instant;

use aquila_lease_model::{Acquiring, Action, Faults, Fences, Kept, Lease, Rules, State};
use stateright::{Checker, Expectation, HasDiscoveries, Model, Path};

const NONE: Faults = Faults {
    stops: 0,
    crashes: 0,
    cuts: 0,
    lates: 0,
    doubles: 0,
    flushes: 0,
    failovers: 0,
    deaths: 0,
    lapses: 0,
    refusals: 0,
    passes: 0,
    doubts: 0,
};

fn lease(rules: Rules, faults: Faults) -> Lease {
    Lease { replicas: 3, rules, faults }
}

/// Visits every state; a broken law fails with the steps that lead to it, a sight that is never seen fails, too.
#[track_caller]
fn holds(name: &str, faults: Faults) {
    let begun = Instant::now();
    let checker =
        lease(Rules::PROTOCOL, faults).checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{name:<50} {:>9} states, {:>2} deep, {:>5.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f64()
    );
    for (law, path) in checker.discoveries() {
        if checker.model().property(law).expectation == Expectation::Always {
            panic!("{name}: broken: {law}\n{path}{:#?}", path.last_state());
        }
    }
    checker.assert_properties();
}

/// Looks for a broken law until one is found.
#[track_caller]
fn breaks(name: &str, rules: Rules, faults: Faults, law: &'static str) {
    let begun = Instant::now();
    // One thread, so that the way to it is as short as can be.
    let checker = lease(rules, faults).checker().finish_when(HasDiscoveries::AnyOf([law].into())).spawn_bfs().join();
    let Some(path) = checker.discovery(law) else { panic!("{name}: nobody missed it") };
    let states = checker.unique_state_count();
    let steps = told(path);
    println!(
        "{name:<50} {states:>9} states, {:>2} steps, {:>5.1} s: {law}",
        steps.len(),
        begun.elapsed().as_secs_f64()
    );
    println!("  {}", steps.join(", "));
}

/// The step that this replica takes next, without what it carries.
fn name(state: &State, index: usize) -> String {
    let step = format!("{:?}", state.replicas[index].step);
    step.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

/// What happened, each step by its name.
fn told(path: Path<State, Action>) -> Vec<String> {
    let step = |(state, action): (State, Option<Action>)| {
        let action = action?;
        Some(match action {
            Action::Step(index) => format!("{}({index})", name(&state, index)),
            other => format!("{other:?}"),
        })
    };
    path.into_vec().into_iter().filter_map(step).collect()
}

#[test]
fn holders_may_stop_and_be_killed() {
    holds("two stops, a crash", Faults { stops: 2, crashes: 1, ..NONE });
}

#[test]
fn replicas_may_lose_their_way() {
    holds("two cuts, a late request", Faults { cuts: 2, lates: 1, ..NONE });
}

#[test]
fn redis_may_be_flushed() {
    holds("a flush, a stop, a request twice", Faults { flushes: 1, stops: 1, doubles: 1, ..NONE });
}

#[test]
fn redis_may_be_flushed_while_replicas_come_and_go() {
    holds("a flush, a crash, a cut", Faults { flushes: 1, crashes: 1, cuts: 1, ..NONE });
}

#[test]
fn a_copy_of_redis_that_lags_may_take_over() {
    holds("a failover, a stop", Faults { failovers: 1, stops: 1, ..NONE });
}

#[test]
fn sessions_may_die_while_a_copy_takes_over() {
    holds("a failover, a death", Faults { failovers: 1, deaths: 1, ..NONE });
}

#[test]
fn sessions_may_die_while_a_holder_stops() {
    holds("a death, a stop, a lapse", Faults { deaths: 1, stops: 1, lapses: 1, ..NONE });
}

#[test]
fn sessions_may_die_while_the_store_forgets() {
    holds("a death, a renewal ahead, a flush", Faults { deaths: 1, doubts: 1, flushes: 1, ..NONE });
}

#[test]
fn sessions_may_die_while_a_replica_is_cut_off() {
    holds("a death, a cut", Faults { deaths: 1, cuts: 1, ..NONE });
}

#[test]
fn salesforce_may_refuse() {
    holds("a refusal, its end, a stop, a crash", Faults { refusals: 1, passes: 1, stops: 1, crashes: 1, ..NONE });
}

const GOES_BACK: &str = "no write goes back behind a later lease's";
const TWO_AT_ONCE: &str = "one POST at a time under leases that are believed in";
const TOO_MANY: &str = "no more POSTs than the faults allow";
const SHOWN_AGAIN: &str = "the store never shows a token again that was dropped";
const KNOWN_DEAD: &str = "nobody holds a token that he knows to be dead";

#[test]
fn a_write_has_to_be_held_against_the_fence() {
    let rules = Rules { kept: Kept::Always, ..Rules::PROTOCOL };
    breaks("writes are always kept", rules, Faults { stops: 1, ..NONE }, GOES_BACK);
}

#[test]
fn a_write_has_to_be_held_against_the_last_fence_and_not_what_stands_there() {
    let rules = Rules { kept: Kept::NotBelowEntry, ..Rules::PROTOCOL };
    let faults = Faults { deaths: 1, doubts: 1, stops: 1, lapses: 1, ..NONE };
    breaks("writes are held against the entry", rules, faults, SHOWN_AGAIN);
}

#[test]
fn a_holder_has_to_ask_its_clock() {
    let rules = Rules { may_post: false, ..Rules::PROTOCOL };
    breaks("nobody asks the clock", rules, Faults { stops: 1, ..NONE }, TOO_MANY);
}

#[test]
fn a_release_has_to_compare_the_owner() {
    let rules = Rules { release_compares: false, ..Rules::PROTOCOL };
    breaks("releases whatever there is", rules, Faults { stops: 1, deaths: 1, ..NONE }, TWO_AT_ONCE);
}

#[test]
fn the_right_to_mint_has_to_be_as_old_as_the_look() {
    let rules = Rules { acquiring: Acquiring::Anyhow, ..Rules::PROTOCOL };
    breaks("the look may be old", rules, NONE, TOO_MANY);
}

#[test]
fn a_refusal_has_to_count_as_a_move() {
    let rules = Rules { acquiring: Acquiring::SameEntry, ..Rules::PROTOCOL };
    breaks("only the token is held against the look", rules, Faults { refusals: 1, ..NONE }, TOO_MANY);
}

#[test]
fn fences_have_to_rise_across_a_flush() {
    let rules = Rules { fences: Fences::Counter, ..Rules::PROTOCOL };
    breaks("fences are a counter", rules, Faults { flushes: 1, stops: 1, ..NONE }, GOES_BACK);
}

#[test]
fn a_token_known_to_be_dead_has_to_be_passed_over() {
    let rules = Rules { knows_the_dead: false, ..Rules::PROTOCOL };
    breaks("nobody remembers the dead", rules, Faults { deaths: 1, cuts: 1, ..NONE }, KNOWN_DEAD);
}
