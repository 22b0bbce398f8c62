//! What is true of each integration at the moment when somebody looks.
//!
//! Made anew for each look: an integration that is no longer configured leaves nothing behind, and no look has to search
//! what another one set.

use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntGaugeVec, Opts, Registry};

use crate::names::IntegrationName;

/// What the gauges say of one integration.
#[derive(Debug)]
pub struct Reading<'a> {
    /// Which one.
    pub integration: &'a IntegrationName,
    /// What is left of its token: nothing of one that is gone. `None`: it never had one, and has no series.
    pub token_remaining: Option<Duration>,
    /// Logins left of this hour's budget of its user.
    pub logins_left: u32,
    /// Whether its token host is left alone.
    pub circuit_open: bool,
    /// Whether Salesforce takes its next key instead of the first. `None`: it has no next key, and no series.
    pub next_key_in_use: Option<bool>,
    /// When the first certificate of its keys ends, in seconds since 1970. `None`: it has none, and no series.
    pub certificate_end: Option<i64>,
}

const TOKEN_REMAINING: &str = "What is left of the promise of the current token.";
const LOGINS_LEFT: &str = "Logins left of this hour's budget of the integration's user.";
const CIRCUIT_OPEN: &str = "1 while the integration's token host is left alone after failures in a row.";
const NEXT_KEY: &str = "1 while Salesforce takes the next key of an integration instead of the first.";
const CERTIFICATE_EXPIRY: &str = "When the first certificate of the integration's keys ends.";

/// The gauges with these readings.
///
/// # Errors
/// Two of them have the same name, which is a fault of ours.
pub(super) fn families<'a>(
    readings: impl Iterator<Item = Reading<'a>>,
) -> Result<Vec<MetricFamily>, prometheus::Error> {
    let registry = Registry::new();
    let token_remaining = GaugeVec::new(options("token_remaining_seconds", TOKEN_REMAINING), &["integration"])?;
    registry.register(Box::new(token_remaining.clone()))?;
    let logins_left = whole(&registry, "login_budget_remaining", LOGINS_LEFT)?;
    let circuit_open = whole(&registry, "upstream_circuit_open", CIRCUIT_OPEN)?;
    let next_key_in_use = whole(&registry, "next_key_in_use", NEXT_KEY)?;
    let certificate_end = whole(&registry, "certificate_expiry_timestamp_seconds", CERTIFICATE_EXPIRY)?;
    for reading in readings {
        let of = [reading.integration.as_str()];
        logins_left.with_label_values(&of).set(i64::from(reading.logins_left));
        circuit_open.with_label_values(&of).set(i64::from(reading.circuit_open));
        if let Some(remaining) = reading.token_remaining {
            token_remaining.with_label_values(&of).set(remaining.as_secs_f64());
        }
        if let Some(in_use) = reading.next_key_in_use {
            next_key_in_use.with_label_values(&of).set(i64::from(in_use));
        }
        if let Some(end) = reading.certificate_end {
            certificate_end.with_label_values(&of).set(end);
        }
    }
    Ok(registry.gather())
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("aquila")
}

fn whole(registry: &Registry, name: &str, help: &str) -> Result<IntGaugeVec, prometheus::Error> {
    let gauge = IntGaugeVec::new(options(name, help), &["integration"])?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}
