//! Instruments, as one value that is handed around; never global.
//!
//! Label values come from the configuration and from closed sets, never from a request. Series appear on first use.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::gauges::{self, Reading};
use super::lately::{Lately, Minute};
use super::store_meters::StoreMeters;
use crate::clock::Moment;
use crate::names::{CallerName, IntegrationName};

/// All instruments of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    http_requests: IntCounterVec,
    http_request_duration: HistogramVec,
    token_requests: IntCounterVec,
    caller_requests: IntCounterVec,
    cache_lookups: IntCounterVec,
    mints: IntCounterVec,
    mint_duration: HistogramVec,
    confirms: IntCounterVec,
    token_reports: IntCounterVec,
    auth_failures: IntCounterVec,
    issuer_key_fetches: IntCounterVec,
    config_reloads: IntCounterVec,
    audit_records_lost: IntCounterVec,
    next_denials: IntCounterVec,
    next_grants: IntCounterVec,
    throttled: IntCounterVec,
    store: StoreMeters,
    lately: Lately,
    /// What [`Metrics::answered`] has found before.
    answers: Found<(&'static str, &'static str, u16), (IntCounter, Histogram), 16>,
}

/// Instruments by their labels, found once each: a look-up in prometheus hashes all labels, on every request. The first
/// few are remembered, which are the ones in use; a search among them costs a comparison or two.
#[derive(Debug)]
struct Found<L, I, const MOST: usize>([OnceLock<(L, I)>; MOST]);

impl<L: Copy + PartialEq, I, const MOST: usize> Found<L, I, MOST> {
    const fn new() -> Self {
        Self([const { OnceLock::new() }; MOST])
    }

    /// Does `what` with the instrument of `labels`, which `find` finds the first time.
    fn with(&self, labels: L, find: impl Fn() -> I, what: impl Fn(&I)) {
        for place in &self.0 {
            let (of, instrument) = place.get_or_init(|| (labels, find()));
            if *of == labels {
                return what(instrument);
            }
        }
        what(&find());
    }
}

/// The counters of one integration or of one caller. The places are made on first use: most names of a large
/// configuration are idle.
#[derive(Debug)]
pub struct Series {
    counters: IntCounterVec,
    found: OnceLock<Box<Found<&'static str, IntCounter, 8>>>,
}

impl Series {
    /// Counts one more for `name`, which is the same for all calls, under a `label` of a closed set.
    pub fn count(&self, name: &str, label: &'static str) {
        let found = self.found.get_or_init(|| Box::new(Found::new()));
        found.with(label, || self.counters.with_label_values(&[name, label]), IntCounter::inc);
    }
}

impl Metrics {
    /// Registers everything. Fails only when two instruments have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            http_requests: counter(&registry, "http_requests_total", HTTP_REQUESTS, &["route", "method", "status"])?,
            http_request_duration: histogram(
                &registry,
                "http_request_duration_seconds",
                "Time from a request's head to its answer.",
                "route",
                &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 2.5, 5.0, 10.0],
            )?,
            token_requests: counter(&registry, "token_requests_total", TOKEN_REQUESTS, &["integration", "outcome"])?,
            caller_requests: counter(&registry, "caller_requests_total", CALLER_REQUESTS, &["caller", "outcome"])?,
            cache_lookups: counter(&registry, "cache_lookups_total", CACHE_LOOKUPS, &["integration", "result"])?,
            mints: counter(&registry, "mints_total", "Logins at Salesforce.", &["integration", "outcome"])?,
            mint_duration: histogram(
                &registry,
                "mint_duration_seconds",
                "Time of one login at Salesforce, signing included.",
                "outcome",
                &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0],
            )?,
            confirms: counter(&registry, "confirms_total", CONFIRMS, &["integration", "outcome"])?,
            token_reports: counter(&registry, "token_reports_total", TOKEN_REPORTS, &["integration", "outcome"])?,
            issuer_key_fetches: counter(
                &registry,
                "issuer_key_fetches_total",
                "Times the keys of an issuer were asked for.",
                &["issuer", "outcome"],
            )?,
            auth_failures: counter(&registry, "auth_failures_total", "Proofs that failed.", &["proof", "reason"])?,
            config_reloads: counter(&registry, "config_reloads_total", CONFIG_RELOADS, &["outcome"])?,
            audit_records_lost: counter(&registry, "audit_records_lost_total", AUDIT_LOST, &["reason"])?,
            next_denials: counter(&registry, "next_denials_total", NEXT_DENIALS, &["caller", "integration"])?,
            next_grants: counter(&registry, "next_grants_total", NEXT_GRANTS, &["caller", "integration"])?,
            throttled: counter(&registry, "throttled_total", THROTTLED, &["limit"])?,
            store: StoreMeters::new(&registry)?,
            lately: Lately::default(),
            answers: Found::new(),
            registry,
        };
        metrics.register_process()?;
        Ok(metrics)
    }

    fn register_process(&self) -> Result<(), prometheus::Error> {
        let build = IntGaugeVec::new(named("build_info", "The running version; always 1."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        self.registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        self.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(())
    }

    /// A request was answered. `route` and `method` come from closed sets.
    pub fn answered(&self, route: &'static str, method: &'static str, status: u16, lasted: Duration) {
        let find = || {
            let mut digits = [0; 3];
            let requests = self.http_requests.with_label_values(&[route, method, decimal(status, &mut digits)]);
            (requests, self.http_request_duration.with_label_values(&[route]))
        };
        self.answers.with((route, method, status), find, |(requests, duration)| {
            requests.inc();
            duration.observe(lasted.as_secs_f64());
        });
    }

    /// A caller was denied an integration that exists.
    pub fn decided_without_right(&self, integration: &IntegrationName, outcome: &'static str) {
        self.token_requests.with_label_values(&[integration.as_str(), outcome]).inc();
    }

    /// The counters of the decisions about one integration.
    pub fn decisions_of_integration(&self) -> Series {
        Series { counters: self.token_requests.clone(), found: OnceLock::new() }
    }

    /// The counters of the decisions about one caller.
    pub fn decisions_of_caller(&self) -> Series {
        Series { counters: self.caller_requests.clone(), found: OnceLock::new() }
    }

    /// The counters of the look-ups for one integration.
    pub fn lookups(&self) -> Series {
        Series { counters: self.cache_lookups.clone(), found: OnceLock::new() }
    }

    /// A login at Salesforce came to its end now: `outcome` is [`SUCCESS`] or the cause why there is no token.
    pub fn minted(&self, integration: &IntegrationName, outcome: &'static str, lasted: Duration, now: Moment) {
        self.lately.note(integration, outcome == SUCCESS, now);
        self.mints.with_label_values(&[integration.as_str(), outcome]).inc();
        self.mint_duration.with_label_values(&[outcome]).observe(lasted.as_secs_f64());
    }

    /// The minutes of the last hour in which there were logins, the latest first.
    pub fn minted_lately(&self, integration: &IntegrationName, now: Moment) -> Vec<Minute> {
        self.lately.minutes(integration, now)
    }

    /// A confirm call came to an end.
    pub fn confirmed(&self, integration: &IntegrationName, outcome: &'static str) {
        self.confirms.with_label_values(&[integration.as_str(), outcome]).inc();
    }

    /// A caller said that a token is dead.
    pub fn reported(&self, integration: &IntegrationName, outcome: &'static str) {
        self.token_reports.with_label_values(&[integration.as_str(), outcome]).inc();
    }

    /// A proof did not hold.
    pub fn refused_proof(&self, proof: &'static str, reason: &'static str) {
        self.auth_failures.with_label_values(&[proof, reason]).inc();
    }

    /// The keys of an issuer were asked for.
    pub fn fetched_key_set(&self, issuer: &str, outcome: &'static str) {
        self.issuer_key_fetches.with_label_values(&[issuer, outcome]).inc();
    }

    /// A reload came to an end.
    pub fn reloaded(&self, outcome: &'static str) {
        self.config_reloads.with_label_values(&[outcome]).inc();
    }

    /// An audit record was lost.
    pub fn lost_audit_record(&self, reason: &'static str) {
        self.audit_records_lost.with_label_values(&[reason]).inc();
    }

    /// A request was answered with 429 because of a limit.
    pub fn throttled(&self, limit: &'static str) {
        self.throttled.with_label_values(&[limit]).inc();
    }

    /// A request was allowed, and the caller's next rights would refuse it.
    pub fn next_would_deny(&self, caller: &CallerName, integration: &IntegrationName) {
        self.next_denials.with_label_values(&[caller.as_str(), integration.as_str()]).inc();
    }

    /// A request was refused, and the caller's next rights would allow it.
    pub fn next_would_grant(&self, caller: &CallerName, integration: &IntegrationName) {
        self.next_grants.with_label_values(&[caller.as_str(), integration.as_str()]).inc();
    }

    /// What is counted of the store that replicas share.
    pub fn store(&self) -> &StoreMeters {
        &self.store
    }

    /// Everything in the Prometheus text format, version 0.0.4, with what is true of the integrations now.
    ///
    /// # Errors
    /// Two instruments have the same name, which is a fault of ours.
    pub fn render<'a>(&self, readings: impl Iterator<Item = Reading<'a>>) -> Result<Vec<u8>, prometheus::Error> {
        let mut families = self.registry.gather();
        families.extend(gauges::families(readings)?);
        families.sort_by(|one, other| one.name().cmp(other.name()));
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

/// The outcome of a login that brought a token.
pub const SUCCESS: &str = "success";

const HTTP_REQUESTS: &str = "Requests answered, by route pattern, method and status.";
const TOKEN_REQUESTS: &str = "Decisions about requests for a token of an integration.";
const CALLER_REQUESTS: &str = "Decisions about requests of an authenticated caller.";
const CACHE_LOOKUPS: &str =
    "How tokens were found: hit, stale_hit (a refresh runs beside), miss, joined (waited for another's mint).";
const CONFIRMS: &str = "REST calls that prove a session: alive, dead, unclear.";
const TOKEN_REPORTS: &str =
    "Reports of dead tokens: alive, dead, unclear (looked into now), later (just looked into), superseded.";
const CONFIG_RELOADS: &str = "Reloads of the configuration: applied, refused.";
const AUDIT_LOST: &str = "Audit records that could not be written.";
const NEXT_DENIALS: &str = "Requests that were allowed and that next_integrations would refuse.";
const NEXT_GRANTS: &str = "Requests that were refused and that next_integrations would allow.";
const THROTTLED: &str = "Requests answered with 429, by the setting that limits them.";

pub(super) fn named(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("aquila")
}

pub(super) fn counter(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(named(name, help), labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

pub(super) fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
    buckets: &[f64],
) -> Result<HistogramVec, prometheus::Error> {
    let options = HistogramOpts::from(named(name, help)).buckets(buckets.to_vec());
    let histogram = HistogramVec::new(options, &[label])?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// Three digits without an allocation; statuses have three.
fn decimal(status: u16, digits: &mut [u8; 3]) -> &str {
    let status = status.min(999);
    for (digit, power) in digits.iter_mut().zip([100, 10, 1]) {
        *digit = b'0' + u8::try_from(status / power % 10).unwrap_or_default();
    }
    std::str::from_utf8(digits).unwrap_or("000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gauges_say_what_is_read_and_nothing_of_what_is_not_there() {
        let metrics = Metrics::new().unwrap();
        let (had_one, never_had) = ("elf-prod".parse().unwrap(), "crm".parse().unwrap());
        let reading = |integration, token_remaining| Reading {
            integration,
            token_remaining,
            logins_left: 119,
            circuit_open: true,
            next_key_in_use: None,
            certificate_end: None,
        };
        let text =
            |readings: Vec<Reading<'_>>| String::from_utf8(metrics.render(readings.into_iter()).unwrap()).unwrap();
        let both = text(vec![reading(&had_one, Some(Duration::ZERO)), reading(&never_had, None)]);
        for line in [
            "aquila_token_remaining_seconds{integration=\"elf-prod\"} 0",
            "aquila_login_budget_remaining{integration=\"crm\"} 119",
            "aquila_upstream_circuit_open{integration=\"crm\"} 1",
        ] {
            assert!(both.lines().any(|found| found == line), "{line} in {both}");
        }
        for absent in ["token_remaining_seconds{integration=\"crm\"", "next_key_in_use", "certificate_expiry"] {
            assert!(!both.contains(absent), "{absent} in {both}");
        }
        // One that the next configuration does not name is gone with it.
        assert!(!text(vec![reading(&had_one, None)]).contains("crm"));
    }

    #[test]
    fn series_appear_on_first_use() {
        let metrics = Metrics::new().unwrap();
        let text = |metrics: &Metrics| String::from_utf8(metrics.render(std::iter::empty()).unwrap()).unwrap();
        assert!(!text(&metrics).contains("aquila_mints_total{"));
        metrics.minted(&"elf-prod".parse().unwrap(), SUCCESS, Duration::from_millis(80), Moment::from_bits(1));
        metrics.answered("/token", "GET", 200, Duration::from_micros(90));
        let text = text(&metrics);
        assert!(text.contains(r#"aquila_mints_total{integration="elf-prod",outcome="success"} 1"#), "{text}");
        assert!(text.contains(r#"aquila_http_requests_total{method="GET",route="/token",status="200"} 1"#), "{text}");
    }
}
