//! What may happen next, and what must hold whatever happens.

use stateright::{Model, Property};

use crate::replica::{self, Replica, Step};
use crate::settle;
use crate::state::{Faults, Lease, State};
use crate::store::Entry;

/// What happens next; the number is that of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A caller comes to a replica that has no token, or the token at hand is reported or ages: a flight starts.
    Start(usize),
    /// An event of the stream, or the look at everything once in 30 s.
    Follow(usize),
    /// The next step of a flight.
    Step(usize),
    /// The answer to a POST is a definite refusal.
    Refuse(usize),
    /// A heartbeat.
    Beat(usize),
    /// The holder has stood still: by its own clock the lease is no longer good for a POST.
    Age(usize),
    /// Redis lets go of a lease that its holder no longer believes in.
    LeaseEnds,
    /// The process is killed.
    Crash(usize),
    /// It is started again.
    Restart(usize),
    /// The way to Redis is cut.
    Cut(usize),
    /// It is there again.
    Heal(usize),
    /// The request of the next step does not come back in time, and is carried out later or never.
    Delay(usize),
    /// It is carried out twice: now, and once more later.
    Double(usize),
    /// What was delayed arrives.
    Arrive,
    /// Redis loses everything.
    Flush,
    /// The copy of Redis begins to lag.
    Lag,
    /// The copy takes over: what was written since is lost.
    FailOver,
    /// Salesforce ends the session of a token.
    Die(u8),
    /// What stands in the token's place has reached its end.
    Lapse,
    /// The pause after a refusal is over.
    Pass,
}

impl Model for Lease {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::cold(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (index, replica) in state.replicas.iter().enumerate() {
            if replica.up {
                of_replica(state, index, replica, actions);
            } else {
                actions.push(Action::Restart(index));
            }
        }
        let faults = &state.faults;
        if state.lease_may_end() {
            actions.push(Action::LeaseEnds);
        }
        if state.late.is_some() {
            actions.push(Action::Arrive);
        }
        if faults.flushes > 0 {
            actions.push(Action::Flush);
        }
        if state.copy.is_some() {
            actions.push(Action::FailOver);
        } else if faults.failovers > 0 {
            actions.push(Action::Lag);
        }
        if faults.deaths > 0 {
            actions.extend((1..=state.minted).filter(|token| !state.is_dead(*token)).map(Action::Die));
        }
        if faults.lapses > 0 && state.store.entry != Entry::Nothing {
            actions.push(Action::Lapse);
        }
        if faults.passes > 0 && (state.store.failure > 0 || state.replicas.iter().any(|replica| replica.pausing)) {
            actions.push(Action::Pass);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.apply(action, self);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = laws();
        all.extend(sights(&self.faults));
        all
    }
}

/// What holds in every state.
fn laws() -> Vec<Property<Lease>> {
    vec![
        Property::always("no write goes back behind a later lease's", |_, state: &State| !state.store.went_back),
        Property::always("one POST at a time under leases that are believed in", |_, state: &State| {
            state.lost || state.replicas.iter().filter(|replica| replica.posts_in_belief()).count() <= 1
        }),
        Property::always("no more POSTs than the faults allow", |_, state: &State| state.allowance >= 0),
        Property::always("the store never shows a token again that was dropped", |_, state: &State| {
            let shows = |token: u8| state.store.dropped & (1 << token) != 0;
            state.failed_over || !matches!(state.store.entry, Entry::Token(token, _) if shows(token))
        }),
        Property::always("nobody holds a token that he knows to be dead", |_, state: &State| {
            state.replicas.iter().all(|one| one.held.is_none_or(|held| one.known_dead & (1 << held.token) == 0))
        }),
        Property::always("when the faults end everybody has a token that lives", |lease: &Lease, state: &State| {
            settle::everybody_is_served(state, &lease.rules)
        }),
    ]
}

/// What is reached at least once, so that the laws are seen to be tried.
fn sights(faults: &Faults) -> Vec<Property<Lease>> {
    let mut all = vec![Property::sometimes("a token is taken over", |_, state: &State| {
        let held = |index: usize| state.replicas.get(index).and_then(|one| one.held).map(|held| held.token);
        state.minted == 1 && held(0).is_some() && held(0) == held(1) && held(1) == held(2)
    })];
    if faults.stops > 0 {
        all.push(Property::sometimes(
            "the lease is taken over from a holder that stopped in its POST",
            |_, state: &State| {
                let stopped =
                    |one: &Replica| one.step == Step::Posting && one.lease.is_some() && !one.believes && !one.alone;
                state.replicas.iter().any(stopped) && state.replicas.iter().any(Replica::posts_in_belief)
            },
        ));
        all.push(Property::sometimes("a holder is told that it was overtaken", |_, state: &State| {
            state.replicas.iter().any(|one| one.step == Step::Overtaken)
        }));
    }
    if faults.cuts > 0 {
        all.push(Property::sometimes("a replica posts under an orphaned lease", |_, state: &State| {
            state.replicas.iter().any(|one| one.step == Step::Posting && one.alone && one.lease.is_some())
        }));
    }
    if faults.crashes + faults.lates > 0 {
        all.push(Property::sometimes("a lease is nobody's", |_, state: &State| {
            state.store.lease.is_some_and(|owner| state.replicas.iter().all(|one| !one.up || one.lease != Some(owner)))
        }));
    }
    if faults.deaths > 0 {
        all.push(Property::sometimes("a drop is heard of by everybody", |_, state: &State| {
            state.replicas.iter().all(|one| one.known_dead != 0)
        }));
    }
    if faults.refusals > 0 {
        all.push(Property::sometimes("one refusal stops everybody", |_, state: &State| {
            state.minted == 0 && state.replicas.iter().all(|one| one.pausing)
        }));
    }
    all
}

fn of_replica(state: &State, index: usize, replica: &Replica, actions: &mut Vec<Action>) {
    let faults = &state.faults;
    if replica.step == Step::Idle {
        let suspect = replica.held.is_some_and(|held| state.is_dead(held.token));
        if !replica.pausing && (replica.held.is_none() || suspect || faults.doubts > 0) {
            actions.push(Action::Start(index));
        }
        if replica.link && state.store.entry != Entry::Nothing {
            actions.push(Action::Follow(index));
        }
    } else {
        actions.push(Action::Step(index));
    }
    if replica.lease.is_some() {
        actions.push(Action::Beat(index));
        if replica.believes && (faults.stops > 0 || !replica.link) {
            actions.push(Action::Age(index));
        }
    }
    if replica.step == Step::Posting && faults.refusals > 0 {
        actions.push(Action::Refuse(index));
    }
    if faults.crashes > 0 {
        actions.push(Action::Crash(index));
    }
    if !replica.link {
        actions.push(Action::Heal(index));
    } else if faults.cuts > 0 {
        actions.push(Action::Cut(index));
    }
    if replica.link && replica.request().is_some() && state.late.is_none() {
        if faults.lates > 0 {
            actions.push(Action::Delay(index));
        }
        if faults.doubles > 0 {
            actions.push(Action::Double(index));
        }
    }
}

impl State {
    /// Nobody who runs believes in it.
    pub fn lease_may_end(&self) -> bool {
        let believed = |owner| self.replicas.iter().any(|one| one.up && one.lease == Some(owner) && one.believes);
        self.store.lease.is_some_and(|owner| !believed(owner))
    }

    /// Lets it happen.
    pub fn apply(&mut self, action: Action, lease: &Lease) {
        match action {
            Action::Start(index) => {
                let held = self.replicas[index].held;
                if held.is_some_and(|held| !self.is_dead(held.token)) {
                    self.faults.doubts -= 1;
                }
                self.replicas[index].step = Step::Look;
            }
            Action::Follow(index) => self.replicas[index].step = Step::Followed(self.store.look()),
            Action::Step(index) => replica::advance(self, index, &lease.rules),
            Action::Refuse(index) => {
                self.faults.refusals -= 1;
                self.replicas[index].step = Step::Refused;
            }
            Action::Beat(index) => replica::beat(self, index),
            Action::Age(index) => self.age(index),
            Action::LeaseEnds => self.store.lease = None,
            Action::Crash(index) => {
                self.faults.crashes -= 1;
                self.allowance += 1;
                self.replicas[index] = Replica { up: false, ..Replica::cold() };
            }
            Action::Restart(index) => self.replicas[index].up = true,
            Action::Cut(index) => {
                self.faults.cuts -= 1;
                self.lose_the_way(index);
            }
            Action::Heal(index) => self.replicas[index].link = true,
            Action::Delay(index) => {
                self.faults.lates -= 1;
                self.late = self.replicas[index].request();
                self.lose_the_way(index);
                self.replicas[index].away();
            }
            Action::Double(index) => {
                self.faults.doubles -= 1;
                self.allowance += 1;
                self.late = self.replicas[index].request();
                replica::advance(self, index, &lease.rules);
            }
            other => self.befall(other, lease),
        }
    }

    /// What happens to no replica in particular.
    fn befall(&mut self, action: Action, lease: &Lease) {
        match action {
            Action::Arrive => {
                if let Some(request) = self.late.take() {
                    self.store.late(request, &lease.rules);
                }
            }
            Action::Flush => {
                self.faults.flushes -= 1;
                self.allowance += 1;
                self.lost = true;
                self.store.flush();
            }
            Action::Lag => {
                self.faults.failovers -= 1;
                self.copy = Some(self.store.clone());
            }
            Action::FailOver => {
                if let Some(copy) = self.copy.take() {
                    // The lease goes back, so its holder may believe again; and the last fence, so a look from before all
                    // that finds it as it was.
                    self.allowance += 2;
                    (self.lost, self.failed_over) = (true, true);
                    self.store.fail_over(copy);
                }
            }
            Action::Die(token) => {
                self.faults.deaths -= 1;
                self.allowance += 1 + self.alone();
                self.dead |= 1 << token;
            }
            Action::Lapse => {
                self.faults.lapses -= 1;
                if let Entry::Token(token, owner) = self.store.entry {
                    self.allowance += 1 + self.alone();
                    for one in &mut self.replicas {
                        one.held = one.held.filter(|held| held.token != token || held.fence != owner.fence);
                    }
                }
                self.store.entry = Entry::Nothing;
            }
            Action::Pass => {
                self.faults.passes -= 1;
                self.allowance += 1 + self.alone();
                self.store.failure = 0;
                for one in &mut self.replicas {
                    one.pausing = false;
                }
            }
            _ => {}
        }
    }

    fn age(&mut self, index: usize) {
        let one = &self.replicas[index];
        // A way that is cut has been counted already.
        if one.link {
            self.faults.stops -= 1;
            // Whoever stops before he asked his clock does not POST; only after that is a POST more to be expected.
            if matches!(one.step, Step::Post | Step::Posting | Step::Put(_) | Step::Refused) {
                self.allowance += 1;
            }
        }
        self.replicas[index].believes = false;
    }

    fn lose_the_way(&mut self, index: usize) {
        self.allowance += 1;
        self.replicas[index].link = false;
    }
}
