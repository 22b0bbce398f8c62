//! Everything that the checker has to know of one moment.

use std::hash::{Hash, Hasher};

use crate::replica::Replica;
use crate::store::{Acquiring, Fences, Kept, Request, Store};

/// The rules of the protocol that can be taken away, to see that the checker misses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What the right to acquire is held against.
    pub acquiring: Acquiring,
    /// Which writes are kept.
    pub kept: Kept,
    /// How fences are made.
    pub fences: Fences,
    /// Whether a holder asks its own clock right before a POST.
    pub may_post: bool,
    /// Whether a release leaves alone the lease of somebody else.
    pub release_compares: bool,
    /// Whether a token that is known dead is passed over when the store shows it.
    pub knows_the_dead: bool,
}

impl Rules {
    /// The protocol.
    pub const PROTOCOL: Self = Self {
        acquiring: Acquiring::SameFence,
        kept: Kept::LastFence,
        fences: Fences::Time,
        may_post: true,
        release_compares: true,
        knows_the_dead: true,
    };
}

/// How often each fault may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Faults {
    /// A holder that stops for longer than its lease.
    pub stops: u8,
    /// A replica that is killed, and comes back with nothing.
    pub crashes: u8,
    /// A replica that loses its way to Redis.
    pub cuts: u8,
    /// A request that is carried out after its sender gave up, or never.
    pub lates: u8,
    /// A request that is carried out twice.
    pub doubles: u8,
    /// A flush of Redis.
    pub flushes: u8,
    /// A failover of Redis to a copy that lags behind.
    pub failovers: u8,
    /// A session that Salesforce ends.
    pub deaths: u8,
    /// A token or tombstone whose time in the store is over.
    pub lapses: u8,
    /// A definite refusal.
    pub refusals: u8,
    /// A refusal whose pause is over.
    pub passes: u8,
    /// A renewal ahead, or a report of a token that lives.
    pub doubts: u8,
}

/// What is checked: the protocol, by these rules, through so many faults.
#[derive(Clone, Debug)]
pub struct Lease {
    /// How many replicas.
    pub replicas: usize,
    /// By which rules.
    pub rules: Rules,
    /// Through which faults.
    pub faults: Faults,
}

/// One moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Redis.
    pub store: Store,
    /// The replicas.
    pub replicas: Vec<Replica>,
    /// A request that is still on its way, though its sender gave up.
    pub late: Option<Request>,
    /// How many tokens were minted.
    pub minted: u8,
    /// Tokens whose session is over at Salesforce, one bit each.
    pub dead: u16,
    /// How many POSTs are still within the bound: one, and one for each fault that may cost one, two for a failover.
    pub allowance: i8,
    /// Whether Redis ever lost something, by a flush or a failover.
    pub lost: bool,
    /// Whether it was by a failover, which can bring back what was gone.
    pub failed_over: bool,
    /// The copy of Redis, as it was when it began to lag.
    pub copy: Option<Store>,
    /// What may still happen.
    pub faults: Faults,
}

/// Replicas have no names, so two states that differ only in the order of their replicas are one.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut replicas: Vec<&Replica> = self.replicas.iter().collect();
        replicas.sort_unstable();
        replicas.hash(hasher);
        self.store.hash(hasher);
        self.late.hash(hasher);
        (self.minted, self.dead, self.allowance, self.lost, self.failed_over).hash(hasher);
        self.copy.hash(hasher);
        self.faults.hash(hasher);
    }
}

impl State {
    /// All replicas just started, nothing in Redis.
    pub fn cold(lease: &Lease) -> Self {
        Self {
            store: Store::default(),
            replicas: vec![Replica::cold(); lease.replicas],
            late: None,
            minted: 0,
            dead: 0,
            allowance: 1,
            lost: false,
            failed_over: false,
            copy: None,
            faults: lease.faults,
        }
    }

    /// Whether the session of this token is over.
    pub fn is_dead(&self, token: u8) -> bool {
        self.dead & (1 << token) != 0
    }

    /// Replicas that run without the store: what the fleet has to do once, each of these does for itself.
    pub fn alone(&self) -> i8 {
        self.replicas.iter().filter(|replica| replica.up && (!replica.link || replica.alone)).count() as i8
    }
}
