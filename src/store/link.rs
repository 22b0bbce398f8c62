//! The connection, and what is known of it: everything that is asked of the store goes through here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::events::{Event, ROOM};
use super::place::Names;
use super::reply::{Nonsense, Reply};
use super::seal::Label;
use super::secrets::Secrets;
use super::{Away, Standing};
use crate::clock::Clock;
use crate::config;
use crate::telemetry::metrics::Metrics;

/// The last fence is remembered for so long.
pub(super) const FENCE_LASTS: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug)]
pub(super) struct Link {
    names: Names,
    replica: String,
    clock: Clock,
    secrets: ArcSwap<Secrets>,
    standing: watch::Sender<Standing>,
    events: broadcast::Sender<Event>,
    metrics: Arc<Metrics>,
    told: Mutex<Option<String>>,
}

impl Link {
    pub(super) fn new(settings: &config::Redis, secrets: Secrets, metrics: Arc<Metrics>) -> Self {
        Self {
            names: Names::new(settings.key_prefix.clone()),
            replica: Uuid::new_v4().simple().to_string(),
            clock: Clock::system(),
            secrets: ArcSwap::from_pointee(secrets),
            standing: watch::Sender::new(Standing::Connecting),
            events: broadcast::Sender::new(ROOM),
            metrics,
            told: Mutex::default(),
        }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn replica(&self) -> &str {
        &self.replica
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    pub(super) async fn settled(&self, at_most: Duration) {
        let mut standing = self.standing.subscribe();
        let known = standing.wait_for(|standing| *standing != Standing::Connecting);
        let _ = tokio::time::timeout(at_most, known).await;
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(super) fn replace_secrets(&self, secrets: Secrets) {
        self.secrets.store(Arc::new(secrets));
    }

    pub(super) async fn keep(&self, stop: &CancellationToken) {
        stop.cancelled().await;
    }

    pub(super) async fn call(
        &self,
        _operation: &'static str,
        _script: &'static str,
        _names: &[String],
        _arguments: &[Vec<u8>],
    ) -> Result<Reply, Away> {
        Err(Away)
    }

    /// What came is nothing that a script of ours returns: whoever answers there is not to be relied on.
    pub(super) fn nonsense(&self, Nonsense: Nonsense) -> Away {
        Away
    }

    pub(super) fn seal(&self, label: &Label<'_>, content: &[u8]) -> Option<Vec<u8>> {
        self.secrets.load().keys.seal(label, content)
    }

    /// What opens; of what does not it is told once.
    pub(super) fn open(&self, label: &Label<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.secrets.load().keys.open(label, sealed).ok()
    }
}

/// As Redis takes a time.
pub(super) fn millis(span: Duration) -> Vec<u8> {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).clamp(1, LONGEST_MILLIS).to_string().into_bytes()
}

/// A year: more is no time that anything here lasts, and far more is refused by Redis.
const LONGEST_MILLIS: u64 = 366 * 24 * 3600 * 1000;
