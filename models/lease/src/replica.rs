//! One replica: where it stands in its flight, and its steps.

use crate::state::{Rules, State};
use crate::store::{Entry, Owner, Request, Seen, Write};

/// Where a replica stands. Each is the step that it takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// No flight is under way.
    Idle,
    /// Ask the store what there is.
    Look,
    /// The answer has come: think.
    Decide(Seen),
    /// Ask for the lease.
    Acquire(Seen),
    /// Try the token at hand at Salesforce.
    Confirm,
    /// Tell that it is dead.
    Drop(u8),
    /// Ask the own clock whether the lease allows a POST.
    Check,
    /// Send the POST.
    Post,
    /// Wait for its answer.
    Posting,
    /// Write the token into the store.
    Put(u8),
    /// Write the refusal into the store.
    Refused,
    /// Let go of the lease.
    Release,
    /// Somebody newer wrote: look at that, and keep what there is if it is no better.
    Overtaken,
    /// Look because of an event, or for the net under them.
    Followed(Seen),
}

/// A token in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Held {
    /// Which.
    pub token: u8,
    /// Under which fence it was written; 0 when it was minted alone.
    pub fence: u8,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Replica {
    /// Whether the process runs.
    pub up: bool,
    /// Whether the store can be reached.
    pub link: bool,
    /// The token in memory.
    pub held: Option<Held>,
    /// The highest fence of an entry that was seen.
    pub highest: u8,
    /// Tokens known to be dead, one bit each.
    pub known_dead: u16,
    /// Whether a refusal is remembered, so that nothing is tried for now.
    pub pausing: bool,
    /// The next step.
    pub step: Step,
    /// The lease, if this flight has one.
    pub lease: Option<Owner>,
    /// Whether the lease is valid by the own clock, with time to spare.
    pub believes: bool,
    /// Whether this flight goes on without the store.
    pub alone: bool,
}

impl Replica {
    /// Just started.
    pub fn cold() -> Self {
        Self {
            up: true,
            link: true,
            held: None,
            highest: 0,
            known_dead: 0,
            pausing: false,
            step: Step::Idle,
            lease: None,
            believes: false,
            alone: false,
        }
    }

    /// Whether the next step is a request to the store.
    pub fn request(&self) -> Option<Request> {
        let owner = self.lease.unwrap_or_default();
        match self.step {
            Step::Acquire(seen) => Some(Request::Acquire(seen)),
            _ if self.lease.is_none() => None,
            Step::Drop(token) => Some(Request::Write(Write::Tombstone(token), owner)),
            Step::Put(token) => Some(Request::Write(Write::Token(token), owner)),
            Step::Refused => Some(Request::Write(Write::Failure, owner)),
            Step::Release => Some(Request::Release(owner)),
            _ => None,
        }
    }

    /// Whether its POST is under way under a lease that it believes to be valid.
    pub fn posts_in_belief(&self) -> bool {
        self.up && self.step == Step::Posting && self.lease.is_some() && self.believes && !self.alone
    }

    /// Whether a token from the store may be put in the place of what is held.
    fn takes(&self, token: u8, owner: Owner, rules: &Rules) -> bool {
        let known = rules.knows_the_dead && self.known_dead & (1 << token) != 0;
        let newer = self.held.is_none_or(|held| held.token != token && owner.fence > held.fence);
        !known && owner.fence >= self.highest && newer
    }

    /// Takes from what was seen what it teaches. Says whether that was a token.
    fn learn(&mut self, seen: Seen, rules: &Rules) -> bool {
        match seen.entry {
            Entry::Token(token, owner) if self.takes(token, owner, rules) => {
                self.held = Some(Held { token, fence: owner.fence });
                self.highest = owner.fence;
                return true;
            }
            // The same token, told again under a later lease.
            Entry::Token(token, owner) if self.held.is_some_and(|held| held.token == token) => {
                self.highest = self.highest.max(owner.fence);
                self.held = self.held.map(|held| Held { fence: held.fence.max(owner.fence), ..held });
            }
            Entry::Tombstone(token, owner) if owner.fence >= self.highest => {
                self.highest = owner.fence;
                self.bury(token);
            }
            _ => {}
        }
        false
    }

    fn bury(&mut self, token: u8) {
        self.known_dead |= 1 << token;
        self.held = self.held.filter(|held| held.token != token);
    }

    /// Ends the flight.
    fn land(&mut self) {
        (self.step, self.lease, self.believes, self.alone) = (Step::Idle, None, false, false);
    }

    /// Goes on without the store.
    fn go_alone(&mut self) {
        self.alone = true;
        self.step = if self.held.is_some() { Step::Confirm } else { Step::Check };
    }

    /// The store did not answer in time, or cannot be reached: what the step at hand comes to then.
    pub fn away(&mut self) {
        match self.step {
            Step::Look | Step::Acquire(_) => self.go_alone(),
            Step::Drop(token) => {
                self.bury(token);
                (self.alone, self.step) = (true, Step::Check);
            }
            Step::Put(token) => {
                self.held = Some(Held { token, fence: self.lease.unwrap_or_default().fence });
                self.land();
            }
            _ => self.land(),
        }
    }

    fn decide(&mut self, seen: Seen, rules: &Rules) {
        if self.learn(seen, rules) {
            return self.land();
        }
        if seen.failure > 0 {
            self.pausing = true;
            return self.land();
        }
        self.step = Step::Acquire(seen);
    }
}

/// The next step of replica `index`, without a fault.
pub fn advance(state: &mut State, index: usize, rules: &Rules) {
    let replica = &mut state.replicas[index];
    let owner = replica.lease.unwrap_or_default();
    match replica.step {
        Step::Idle => {}
        Step::Look if replica.link => replica.step = Step::Decide(state.store.look()),
        Step::Decide(seen) => replica.decide(seen, rules),
        Step::Acquire(seen) if replica.link => match state.store.acquire(seen, rules) {
            Some(owner) => {
                (replica.lease, replica.believes) = (Some(owner), true);
                replica.step = if replica.held.is_some() { Step::Confirm } else { Step::Check };
            }
            None => replica.step = Step::Look,
        },
        Step::Confirm => {
            replica.step = match replica.held {
                Some(held) if state.dead & (1 << held.token) != 0 => Step::Drop(held.token),
                Some(held) => Step::Put(held.token),
                // It has reached its end meanwhile.
                None => Step::Check,
            };
        }
        Step::Check if !may_post(replica, rules) => {
            (replica.step, replica.lease, replica.believes) = (Step::Look, None, false)
        }
        Step::Check => replica.step = Step::Post,
        Step::Post => {
            replica.step = Step::Posting;
            state.allowance -= 1;
        }
        Step::Posting => {
            state.minted += 1;
            replica.step = Step::Put(state.minted);
        }
        Step::Drop(token) if replica.link && replica.lease.is_some() => {
            let kept = state.store.write(Write::Tombstone(token), owner, rules);
            replica.bury(token);
            replica.step = if kept { Step::Check } else { Step::Look };
            if !kept {
                (replica.lease, replica.believes) = (None, false);
            }
        }
        Step::Put(token) if replica.link && replica.lease.is_some() => {
            let kept = state.store.write(Write::Token(token), owner, rules);
            replica.held = Some(Held { token, fence: owner.fence });
            if kept {
                replica.highest = replica.highest.max(owner.fence);
            }
            replica.step = if kept { Step::Release } else { Step::Overtaken };
        }
        Step::Refused if replica.link && replica.lease.is_some() => {
            replica.pausing = true;
            replica.step =
                if state.store.write(Write::Failure, owner, rules) { Step::Release } else { Step::Overtaken };
        }
        Step::Release if replica.link && replica.lease.is_some() => {
            state.store.release(owner, rules);
            replica.land();
        }
        Step::Overtaken if replica.link => replica.step = Step::Followed(state.store.look()),
        Step::Followed(seen) => {
            replica.learn(seen, rules);
            replica.land();
        }
        Step::Refused => {
            replica.pausing = true;
            replica.land();
        }
        _ => replica.away(),
    }
}

fn may_post(replica: &Replica, rules: &Rules) -> bool {
    replica.alone || !rules.may_post || replica.believes
}

/// The heartbeat of a flight under a lease.
pub fn beat(state: &mut State, index: usize) {
    let replica = &mut state.replicas[index];
    let Some(owner) = replica.lease else { return };
    match replica.link {
        true => (replica.alone, replica.believes) = (false, state.store.beat(owner)),
        // The lease is an orphan now: nobody here can say whose it is.
        false => (replica.alone, replica.believes) = (true, false),
    }
}
