//! Everything a running simulator knows, behind one lock.
//!
//! Invariant: the lock is only held inside [`World::with`], by a closure, so it cannot be held across an await; slow
//! work (signatures, delays) happens outside.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::admission::Logins;
use super::clock::Clock;
use super::counts::Counts;
use super::cursors::Cursors;
use super::faults::Faults;
use super::hosts::Places;
use super::org::{Org, RegisterError};
use super::sessions::Sessions;
use super::settings::EventLogs;
use super::switches::{SwitchError, Switches};

/// How many assertions are remembered for `GET /__simulator/assertions`.
const REMEMBERED_ASSERTIONS: usize = 100;

/// Has no `Debug`: it holds the control secret and living tokens.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) places: Places,
    pub(super) instance_url: String,
    pub(super) session_timeout: Duration,
    pub(super) api_calls_per_day: u64,
    pub(super) event_logs: EventLogs,
    pub(super) query_batch: usize,
    pub(super) control_secret: String,
    /// Ends the waits of requests that are never answered.
    pub(super) stopping: CancellationToken,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    pub(super) org: Arc<Org>,
    pub(super) switches: Switches,
    pub(super) sessions: Sessions,
    pub(super) cursors: Cursors,
    pub(super) logins: Logins,
    pub(super) faults: Faults,
    pub(super) counts: Counts,
    pub(super) assertions: VecDeque<SeenAssertion>,
    /// How long event log files are, by their ids: it costs writing them to know.
    pub(super) log_lengths: BTreeMap<String, usize>,
    /// API calls since the start, for `Sforce-Limit-Info`.
    pub(super) api_calls: u64,
}

impl World {
    /// Runs something short under the lock.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // A panic under the lock is a bug of the simulator; what it guards is still worth more than a second panic.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn patch_switches(&self, changes: &Map<String, Value>) -> Result<Switches, SwitchError> {
        self.with(|state| {
            state.switches = state.switches.patched(changes)?;
            Ok(state.switches.clone())
        })
    }

    pub(super) fn upload_certificate(
        &self,
        client_id: &str,
        certificate: &[u8],
        after: Duration,
    ) -> Result<(), RegisterError> {
        let now = self.clock.now();
        let applies = now.checked_add(after).unwrap_or(Timestamp::MAX);
        self.with(|state| Arc::make_mut(&mut state.org).upload(client_id, certificate, (now, applies)))
    }

    pub(super) fn counts(&self) -> Counts {
        self.with(|state| {
            let sessions = state.sessions.len().try_into().unwrap_or(u64::MAX);
            Counts { sessions, ..state.counts.clone() }
        })
    }
}

impl State {
    /// The username as the org writes it, if it has such a user.
    pub(super) fn known_name(&self, username: Option<&str>) -> Option<String> {
        Some(self.org.user(username?)?.is.username.clone())
    }

    pub(super) fn remember(&mut self, seen: SeenAssertion) {
        if self.assertions.len() == REMEMBERED_ASSERTIONS {
            self.assertions.pop_front();
        }
        self.assertions.push_back(seen);
    }
}

/// What an assertion said, without its signature: enough to look at, too little to log in with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeenAssertion {
    /// When it came, by the simulator's clock.
    #[serde(serialize_with = "as_text")]
    pub at: Timestamp,
    /// The header's algorithm.
    pub alg: String,
    /// The payload.
    pub claims: Map<String, Value>,
    /// How it ended: `granted_new`, `granted_running`, a row's name, or `fault_…`.
    pub outcome: String,
}

fn as_text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
