//! Which generation of the configuration is in force, and what came of the last try to replace it: for
//! `/status.json` and the page.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

/// What came of a reload. The wire names are label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// A new generation is in force.
    Applied,
    /// The files hold mistakes; what was in force still is.
    Refused,
}

impl Outcome {
    /// The wire name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
        }
    }
}

/// The standing of a running service.
#[derive(Debug)]
pub struct Standing(Mutex<Told>);

/// It, as operators read it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Told {
    /// Counts from 1, which is what the process was started with.
    pub(super) generation: u64,
    pub(super) in_force_since: String,
    pub(super) last_reload: Option<LastReload>,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct LastReload {
    pub(super) outcome: Outcome,
    pub(super) at: String,
    /// What `check` would say.
    pub(super) findings: Vec<String>,
}

impl Told {
    /// Whether the files hold mistakes, so that something older than they are is in force.
    pub(super) fn is_stale(&self) -> bool {
        self.last_reload.as_ref().is_some_and(|last| last.outcome == Outcome::Refused)
    }
}

impl Standing {
    /// Of a service that starts.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Told { generation: 1, in_force_since: now.to_string(), last_reload: None }))
    }

    /// Notes a reload.
    pub fn reloaded(&self, outcome: Outcome, now: Timestamp, findings: Vec<String>) {
        let mut told = self.lock();
        if outcome == Outcome::Applied {
            told.generation += 1;
            told.in_force_since = now.to_string();
        }
        told.last_reload = Some(LastReload { outcome, at: now.to_string(), findings });
    }

    /// What is to be told.
    pub(super) fn told(&self) -> Told {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
