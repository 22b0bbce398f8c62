//! The callers' door: what its handlers need, and the deadlines of a request. What happens around a request is in
//! `visit.rs`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::health::Readiness;
use super::request_id::RequestId;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::limits::Failures;
use crate::snapshot::Snapshots;
use crate::telemetry::audit::Trail;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Traces;

/// What the handlers of this door need.
#[derive(Debug)]
pub struct CallersDoor {
    /// The generation in force.
    pub snapshots: Arc<Snapshots>,
    /// Issues tokens.
    pub broker: Broker,
    /// Instruments.
    pub metrics: Arc<Metrics>,
    /// The audit trail.
    pub trail: Arc<Trail>,
    /// Proofs that failed, by where they came from.
    pub failures: Failures,
    /// Time.
    pub clock: Clock,
    /// Whether new requests are wanted.
    pub readiness: Readiness,
    /// Where spans go.
    pub traces: Traces,
}

/// What is known of a request before it is read.
#[derive(Debug)]
pub(super) struct Context {
    id: RequestId,
    started: Instant,
}

/// Every answer comes within 10 s, also for those who wait for somebody else's mint; half a second is for the rest.
const ANSWER: Duration = Duration::from_millis(9_500);
/// When even the handler did not keep [`ANSWER`].
const LAST_RESORT: Duration = Duration::from_millis(9_800);
/// When a required audit record is not written by then, there is no token.
const RECORD: Duration = Duration::from_millis(9_950);
const BODY: Duration = Duration::from_secs(5);

impl Context {
    /// A context for a request that arrives now.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { id: RequestId::new(now), started: Instant::now() }
    }

    /// The request's id.
    pub(super) fn id(&self) -> &RequestId {
        &self.id
    }

    /// Until when a token may be waited for.
    pub(super) fn deadline(&self) -> Instant {
        self.started + ANSWER
    }

    /// Until when the body may arrive.
    pub(super) fn body_deadline(&self) -> Instant {
        self.started + BODY
    }

    /// Until when the handler has to have answered, whatever it does.
    pub(super) fn last_resort(&self) -> Instant {
        self.started + LAST_RESORT
    }

    /// Until when a required record has to be written.
    pub(super) fn record_deadline(&self) -> Instant {
        self.started + RECORD
    }
}
