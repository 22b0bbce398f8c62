//! A place for one value that ages: read without a lock, renewed by one flight at a time, beside the answers.
//!
//! Each integration has its own [`Slot`], so there is no map to search and nothing to evict: what may be kept is what
//! the configuration names. A flight is a task of its own; a caller who hangs up takes nothing with it. The cache knows
//! nothing of Salesforce: what to fetch and how long to leave it alone after a failure come in from outside.

mod flight;
#[cfg(feature = "model")]
#[cfg(test)]
mod model;
mod slot;
mod sync;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use self::flight::Flight;
pub use self::slot::Slot;
use crate::clock::Moment;
use crate::promise::Promise;

/// A value and how long it is vouched for.
#[derive(Debug)]
pub struct Kept<V> {
    /// The value.
    pub value: V,
    /// Its promise.
    pub promise: Promise,
}

/// How a value was found. The wire names are label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// In memory.
    Hit,
    /// In memory, while a renewal runs beside the answer.
    StaleHit,
    /// Fetched for this caller.
    Miss,
    /// Fetched for another caller, and waited for.
    Joined,
}

impl Lookup {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::StaleHit => "stale_hit",
            Self::Miss => "miss",
            Self::Joined => "joined",
        }
    }
}

/// Asked before a flight is started for a reader who has to wait for it: not for one that others wait for already, nor
/// for one beside an answer. Counts the flight, or says how long there is none.
pub type Gate<'a> = &'a (dyn Fn() -> Result<(), Duration> + Sync);

/// What a caller wants.
#[derive(Clone, Copy)]
pub struct Want<'a> {
    /// At least this much life, if it can be had without harm.
    pub min_life: Duration,
    /// Until when the caller waits.
    pub deadline: Instant,
    /// Whether it may cause a flight.
    pub gate: Gate<'a>,
}

impl fmt::Debug for Want<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min_life, deadline, .. } = self;
        f.debug_struct("Want").field("min_life", min_life).field("deadline", deadline).finish_non_exhaustive()
    }
}

/// Why there is no value.
#[derive(Debug)]
pub enum Unavailable<E> {
    /// The flight failed, now or a while ago; the next one starts after the pause.
    Failed {
        /// Why.
        error: Arc<E>,
        /// Until the next try.
        retry_after: Duration,
    },
    /// The gate let no flight through.
    Forbidden {
        /// Until it may.
        retry_after: Duration,
    },
    /// What came is not vouched for as long as a whole second.
    TooShort,
    /// No outcome before the caller's deadline.
    TooSlow,
    /// The flight broke off: a bug, told as such.
    Broken,
}

impl<E> Unavailable<E> {
    /// The wire name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "failed",
            Self::Forbidden { .. } => "forbidden",
            Self::TooShort => "too_short",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
        }
    }
}

/// No value, and how it was looked for.
#[derive(Debug)]
pub struct Missed<E> {
    /// Why.
    pub why: Unavailable<E>,
    /// Whether it was this caller's flight or another's.
    pub lookup: Lookup,
}

/// The last failure, and when it may be tried again.
#[derive(Debug)]
pub struct Failure<E> {
    /// Why.
    pub error: Arc<E>,
    /// When.
    pub at: Moment,
    /// Not before.
    pub retry_at: Moment,
    /// How many in a row.
    pub streak: u32,
    /// Whether it forbids only what is not urgent: with no good value at hand it is tried all the same.
    pub ahead_only: bool,
}

/// How long to leave the source alone after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// For so long.
    pub lasts: Duration,
    /// See [`Failure::streak`].
    pub streak: u32,
    /// See [`Failure::ahead_only`].
    pub ahead_only: bool,
}

impl<E> Clone for Failure<E> {
    fn clone(&self) -> Self {
        let Self { at, retry_at, streak, ahead_only, .. } = *self;
        Self { error: Arc::clone(&self.error), at, retry_at, streak, ahead_only }
    }
}
