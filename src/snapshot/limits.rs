//! The limits of one caller in one generation.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::Moment;
use crate::config;
use crate::limits::{Allowance, Kind, Spent};
use crate::names::CallerName;
use crate::telemetry::metrics::Metrics;

/// What a caller may cause at Salesforce, and what it has.
#[derive(Debug)]
pub(super) struct Limits {
    /// As configured, or by what it may have; found out when it is first needed.
    pub(super) mints_per_hour: OnceLock<u32>,
    pub(super) reports_per_minute: u32,
    pub(super) allowance: Arc<Allowance>,
    metrics: Arc<Metrics>,
}

/// Within an hour, for each integration, unless it is configured. Through an outage an honest caller that asks all the
/// time causes some 240 flights: pauses are half of 30 s on the average. It must not be kept out when Salesforce is back.
pub(super) const MINTS_FOR_EACH: u32 = 600;

impl Limits {
    pub(super) fn new(settings: &config::Caller, metrics: &Arc<Metrics>, allowance: Arc<Allowance>) -> Self {
        Self {
            mints_per_hour: settings.mints_per_hour.map(OnceLock::from).unwrap_or_default(),
            reports_per_minute: settings.reports_per_minute,
            allowance,
            metrics: Arc::clone(metrics),
        }
    }

    pub(super) fn take(&self, caller: &CallerName, kind: Kind, most: u32, now: Moment) -> Result<(), Duration> {
        self.allowance.take(kind, most, now).map_err(|Spent { wait, news }| {
            self.metrics.throttled(kind.as_str());
            if news {
                let remedy = "see in the audit trail what it asks for; raise the limit in its section if that is right";
                let help = "docs/troubleshooting.md#a-caller-at-its-limit";
                tracing::warn!(caller.name = %caller, limit = kind.as_str(), most, remedy, help, "a caller causes too much work at Salesforce: it gets 429 for now");
            }
            wait
        })
    }
}
