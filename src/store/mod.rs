//! What the replicas of this service share, in a Redis or Valkey: sealed values under names, leases with fences, counters
//! and marks. It knows nothing of Salesforce.
//!
//! It is help, never a crutch: every question is answered within [`LIMIT`] or is [`Away`], and while the store is away
//! nothing waits for it at all. Whatever comes from it is as untrusted as a request from the street.

mod counters;
mod dial;
mod events;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod lane;
mod lease;
mod link;
mod place;
mod reply;
mod scripts;
mod seal;
mod secrets;
mod shelf;
mod time;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::counters::{HostGate, Patience, Probe, Room, STREAK_LASTS};
pub use self::events::{Changes, Event, What};
pub use self::lease::{Acquired, Hold, LEASE, Lease, Put};
use self::link::Link;
pub use self::place::{Place, Tag};
pub use self::seal::{SealKeyError, SealKeys};
pub use self::secrets::Secrets;
pub use self::shelf::{Entry, Seen};
pub use self::time::{Fence, StoreTime};
pub use self::trouble::Trouble;
use crate::clock::{Clock, Moment};
use crate::config;
use crate::telemetry::metrics::Metrics;

/// No question to the store takes longer.
pub const LIMIT: Duration = Duration::from_millis(250);

/// No value is larger; what is, counts as absent.
pub const LARGEST_VALUE: usize = 64 * 1024;

/// The store does not answer: whoever asked goes on alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store that replicas share is away")]
pub struct Away;

/// How this replica stands to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does not know yet.
    Connecting,
    /// What it does is known to all.
    Shared {
        /// Since when.
        since: Moment,
    },
    /// It is cut off.
    Alone {
        /// Since when.
        since: Moment,
        /// Why.
        trouble: Trouble,
    },
}

impl Standing {
    /// A word of a closed set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Shared { .. } => "shared",
            Self::Alone { .. } => "alone",
        }
    }
}

/// What replicas share. One per process; it outlives changes of the configuration.
#[derive(Debug)]
pub struct Store {
    link: Arc<Link>,
    mode: config::RedisMode,
    max_replicas: u32,
    /// What says that holders of leases live; each ends with its lease.
    beats: TaskTracker,
}

impl Store {
    /// For a process that begins. Its questions may take `limit`, which is [`LIMIT`] but for who has the time. Asks nobody.
    pub fn new(settings: &config::Store, secrets: Secrets, metrics: Arc<Metrics>, limit: Duration) -> Arc<Self> {
        Arc::new(Self {
            link: Arc::new(Link::new(&settings.redis, secrets, metrics, limit)),
            mode: settings.redis.mode,
            max_replicas: settings.max_replicas,
            beats: TaskTracker::new(),
        })
    }

    /// Keeps the connection, until told to stop; tells `on_event` what other replicas did. To be run once, by who owns the
    /// process's tasks.
    pub async fn run(self: Arc<Self>, on_event: impl Fn(Event) + Send + Sync, stop: CancellationToken) {
        let keep = self.link.keep(&stop);
        let read = self.read_events(on_event, &stop);
        tokio::join!(keep, read);
    }

    /// Takes what the files hold now. With other users, passwords or authorities Redis is connected to anew at once, and
    /// whoever is not let in goes on alone. They are for the Redis that the process was started with: those of another one
    /// wait for the next start, as its address does.
    pub fn replace_secrets(&self, secrets: Secrets) {
        self.link.replace_secrets(secrets);
    }

    /// How this replica stands to the others.
    pub fn standing(&self) -> Standing {
        self.link.standing()
    }

    /// Waits until it is known whether the store can be had, `at_most` so long. Only a process that has just begun does not
    /// know it.
    pub async fn settled(&self, at_most: Duration) {
        self.link.settled(at_most).await;
    }

    /// What this replica is called in the store.
    pub fn replica(&self) -> &str {
        self.link.replica()
    }

    /// How Redis is run.
    pub fn mode(&self) -> config::RedisMode {
        self.mode
    }

    /// Replicas, at most.
    pub fn max_replicas(&self) -> u32 {
        self.max_replicas
    }

    /// The clock that leases are judged by; never a manual one.
    pub fn clock(&self) -> &Clock {
        self.link.clock()
    }
}
