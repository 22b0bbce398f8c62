//! What Redis holds for one integration, and the scripts that change it, each of them one step.

use crate::state::Rules;

/// The number of a lease in the order in which leases were given, which no rule of the protocol may read: it says who was
/// really first. Together with the fence that the protocol sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Owner {
    /// Which lease of all that were ever given.
    pub nonce: u8,
    /// Its fence.
    pub fence: u8,
}

/// What stands where the token is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Entry {
    /// Nothing, or nothing any more.
    #[default]
    Nothing,
    /// A token, and the lease under which it was written.
    Token(u8, Owner),
    /// That a token was dropped, and the lease under which that was told.
    Tombstone(u8, Owner),
}

impl Entry {
    /// Under which lease it was written.
    pub fn owner(self) -> Owner {
        match self {
            Self::Nothing => Owner::default(),
            Self::Token(_, owner) | Self::Tombstone(_, owner) => owner,
        }
    }
}

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    /// The token or its tombstone.
    pub entry: Entry,
    /// The fence of the refusal that is remembered; 0 when there is none.
    pub failure: u8,
    /// Whether somebody held the lease.
    pub held: bool,
    /// The last fence that was given out; 0 when none is known.
    pub given: u8,
}

/// How fences are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fences {
    /// The time of Redis, or one more than the last: they rise across a flush.
    Time,
    /// A counter, which a flush resets.
    Counter,
}

/// What the right to acquire is held against, besides that nobody holds the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquiring {
    /// Nothing: who looked may have looked long ago.
    Anyhow,
    /// The fence of the token or tombstone is the one that was looked at.
    SameEntry,
    /// And so is the fence of the refusal.
    SameEntries,
    /// Nobody held the lease at the look, and no fence was given out since.
    SameFence,
}

/// Which writes of a holder are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All.
    Always,
    /// Unless what stands there has a higher fence.
    NotBelowEntry,
    /// If its fence is the last one that was given out.
    LastFence,
}

/// What a holder writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Write {
    /// A token.
    Token(u8),
    /// That a token was dropped.
    Tombstone(u8),
    /// That Salesforce refused.
    Failure,
}

/// A request that is carried out later than its sender waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// For the lease, as of this look.
    Acquire(Seen),
    /// A write under a lease.
    Write(Write, Owner),
    /// The end of a lease.
    Release(Owner),
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Store {
    /// Who holds the lease.
    pub lease: Option<Owner>,
    /// The last fence that was given out; a flush forgets it.
    pub given: u8,
    /// How many leases were ever given: the time of Redis, which nothing turns back.
    pub time: u8,
    /// The token's place.
    pub entry: Entry,
    /// The fence of the refusal that is remembered; 0 when there is none.
    pub failure: u8,
    /// The tokens that were told dead, one bit each. For the properties alone.
    pub dropped: u16,
    /// Whether a write went back behind an earlier one. For the properties alone.
    pub went_back: bool,
}

impl Store {
    /// Everything in one step.
    pub fn look(&self) -> Seen {
        Seen { entry: self.entry, failure: self.failure, held: self.lease.is_some(), given: self.given }
    }

    /// The lease, if nobody holds it and nothing moved since `seen`.
    pub fn acquire(&mut self, seen: Seen, rules: &Rules) -> Option<Owner> {
        let same_entry = seen.entry.owner().fence == self.entry.owner().fence;
        let unmoved = match rules.acquiring {
            Acquiring::Anyhow => true,
            Acquiring::SameEntry => same_entry,
            Acquiring::SameEntries => same_entry && seen.failure == self.failure,
            Acquiring::SameFence => !seen.held && seen.given == self.given,
        };
        if self.lease.is_some() || !unmoved {
            return None;
        }
        self.time += 1;
        self.given = match rules.fences {
            Fences::Time => self.time.max(self.given + 1),
            Fences::Counter => self.given + 1,
        };
        let owner = Owner { nonce: self.time, fence: self.given };
        self.lease = Some(owner);
        Some(owner)
    }

    /// Whether the lease is still `owner`'s; if so, it lasts anew.
    pub fn beat(&self, owner: Owner) -> bool {
        self.lease == Some(owner)
    }

    /// Says whether it is kept.
    pub fn write(&mut self, write: Write, owner: Owner, rules: &Rules) -> bool {
        let kept = match rules.kept {
            Kept::Always => true,
            Kept::NotBelowEntry => self.entry.owner().fence <= owner.fence,
            Kept::LastFence => self.given == owner.fence,
        };
        if !kept {
            return false;
        }
        let entry = match write {
            Write::Token(token) => Entry::Token(token, owner),
            Write::Tombstone(token) => {
                self.dropped |= 1 << token;
                Entry::Tombstone(token, owner)
            }
            Write::Failure => {
                self.failure = owner.fence;
                return true;
            }
        };
        self.went_back |= owner.nonce < self.entry.owner().nonce;
        self.entry = entry;
        if let Write::Token(_) = write {
            self.failure = 0;
        }
        true
    }

    /// Ends the lease, if it is `owner`'s.
    pub fn release(&mut self, owner: Owner, rules: &Rules) {
        if self.lease == Some(owner) || !rules.release_compares {
            self.lease = None;
        }
    }

    /// Carries out a request that nobody waits for any more.
    pub fn late(&mut self, request: Request, rules: &Rules) {
        match request {
            Request::Acquire(seen) => drop(self.acquire(seen, rules)),
            Request::Write(write, owner) => drop(self.write(write, owner, rules)),
            Request::Release(owner) => self.release(owner, rules),
        }
    }

    /// Becomes what the copy was. The time goes on, and so does what only the properties remember.
    pub fn fail_over(&mut self, copy: Self) {
        let (time, dropped, went_back) = (self.time, self.dropped, self.went_back);
        *self = Self { time, dropped, went_back, ..copy };
    }

    /// Forgets everything but the time.
    pub fn flush(&mut self) {
        let (time, dropped, went_back) = (self.time, self.dropped, self.went_back);
        *self = Self { time, dropped, went_back, ..Self::default() };
    }
}
