//! Instruments, as one value that is handed around; never global.
//!
//! Label values come from the configuration and from closed sets, never from a request. Series appear on first use.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

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
    login_budget_remaining: IntGaugeVec,
    circuit_open: IntGaugeVec,
    next_key_in_use: IntGaugeVec,
    token_remaining: GaugeVec,
    certificate_expiry: IntGaugeVec,
    auth_failures: IntCounterVec,
    issuer_key_fetches: IntCounterVec,
    config_reloads: IntCounterVec,
    audit_records_lost: IntCounterVec,
    next_denials: IntCounterVec,
    next_grants: IntCounterVec,
    throttled: IntCounterVec,
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
            login_budget_remaining: whole_gauge(&registry, "login_budget_remaining", LOGINS_LEFT, "integration")?,
            circuit_open: whole_gauge(&registry, "upstream_circuit_open", CIRCUIT_OPEN, "integration")?,
            next_key_in_use: whole_gauge(&registry, "next_key_in_use", NEXT_KEY, "integration")?,
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
            token_remaining: gauge(&registry, "token_remaining_seconds", TOKEN_REMAINING, "integration")?,
            certificate_expiry: whole_gauge(
                &registry,
                "certificate_expiry_timestamp_seconds",
                CERTIFICATE_EXPIRY,
                "integration",
            )?,
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

    /// A login at Salesforce came to an end.
    pub fn minted(&self, integration: &IntegrationName, outcome: &'static str, lasted: Duration) {
        self.mints.with_label_values(&[integration.as_str(), outcome]).inc();
        self.mint_duration.with_label_values(&[outcome]).observe(lasted.as_secs_f64());
    }

    /// A confirm call came to an end.
    pub fn confirmed(&self, integration: &IntegrationName, outcome: &'static str) {
        self.confirms.with_label_values(&[integration.as_str(), outcome]).inc();
    }

    /// A caller said that a token is dead.
    pub fn reported(&self, integration: &IntegrationName, outcome: &'static str) {
        self.token_reports.with_label_values(&[integration.as_str(), outcome]).inc();
    }

    /// Sets what keeps an integration from minting, called when somebody looks: the logins left of this hour's budget,
    /// and whether its token host is left alone.
    pub fn set_restraints(&self, integration: &IntegrationName, logins_left: u32, circuit_open: bool) {
        self.login_budget_remaining.with_label_values(&[integration.as_str()]).set(i64::from(logins_left));
        self.circuit_open.with_label_values(&[integration.as_str()]).set(i64::from(circuit_open));
    }

    /// Sets whether Salesforce takes the next key of an integration instead of the first, called when somebody looks.
    /// Without a next key there is no series.
    pub fn set_next_key_in_use(&self, integration: &IntegrationName, next_key_in_use: Option<bool>) {
        match next_key_in_use {
            Some(in_use) => self.next_key_in_use.with_label_values(&[integration.as_str()]).set(i64::from(in_use)),
            None => drop(self.next_key_in_use.remove_label_values(&[integration.as_str()])),
        }
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

    /// Sets what is left of an integration's token, if it has one; called when somebody looks. A token that was dropped
    /// leaves nothing behind, and an integration that never had one has no series.
    pub fn set_token_remaining(&self, integration: &IntegrationName, remaining: Option<Duration>) {
        let name = integration.as_str();
        let known = || {
            let families = Collector::collect(&self.token_remaining);
            let mut labels = families.iter().flat_map(|family| family.get_metric()).flat_map(|it| it.get_label());
            labels.any(|label| label.value() == name)
        };
        if remaining.is_some() || known() {
            self.token_remaining.with_label_values(&[name]).set(remaining.unwrap_or_default().as_secs_f64());
        }
    }

    /// Sets when the certificate of an integration's key ends, in seconds since 1970; called when somebody looks.
    pub fn set_certificate_end(&self, integration: &IntegrationName, end: Option<i64>) {
        match end {
            Some(end) => self.certificate_expiry.with_label_values(&[integration.as_str()]).set(end),
            // It is an error only if there was none before.
            None => drop(self.certificate_expiry.remove_label_values(&[integration.as_str()])),
        }
    }

    /// Everything in the Prometheus text format, version 0.0.4.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

const HTTP_REQUESTS: &str = "Requests answered, by route pattern, method and status.";
const TOKEN_REQUESTS: &str = "Decisions about requests for a token of an integration.";
const CALLER_REQUESTS: &str = "Decisions about requests of an authenticated caller.";
const CACHE_LOOKUPS: &str =
    "How tokens were found: hit, stale_hit (a refresh runs beside), miss, joined (waited for another's mint).";
const CONFIRMS: &str = "REST calls that prove a session: alive, dead, unclear.";
const TOKEN_REPORTS: &str =
    "Reports of dead tokens: alive, dead, unclear (looked into now), later (just looked into), superseded.";
const LOGINS_LEFT: &str = "Logins left of this hour's budget of the integration's user.";
const NEXT_KEY: &str = "1 while Salesforce takes the next key of an integration instead of the first.";
const CIRCUIT_OPEN: &str = "1 while the integration's token host is left alone after failures in a row.";
const CONFIG_RELOADS: &str = "Reloads of the configuration: applied, refused.";
const AUDIT_LOST: &str = "Audit records that could not be written.";
const NEXT_DENIALS: &str = "Requests that were allowed and that next_integrations would refuse.";
const NEXT_GRANTS: &str = "Requests that were refused and that next_integrations would allow.";
const THROTTLED: &str = "Requests answered with 429, by the setting that limits them.";
const CERTIFICATE_EXPIRY: &str = "When the first certificate of the integration's keys ends.";
const TOKEN_REMAINING: &str = "What is left of the promise of the current token.";

fn named(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("aquila")
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(named(name, help), labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str, label: &str) -> Result<GaugeVec, prometheus::Error> {
    let gauge = GaugeVec::new(named(name, help), &[label])?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn whole_gauge(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, prometheus::Error> {
    let gauge = IntGaugeVec::new(named(name, help), &[label])?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn histogram(
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
    fn nothing_is_left_of_a_token_that_was_dropped() {
        let metrics = Metrics::new().unwrap();
        let (had_one, never_had) = ("elf-prod".parse().unwrap(), "crm".parse().unwrap());
        metrics.set_token_remaining(&had_one, Some(Duration::from_secs(60)));
        metrics.set_token_remaining(&had_one, None);
        metrics.set_token_remaining(&never_had, None);
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        assert!(text.contains("aquila_token_remaining_seconds{integration=\"elf-prod\"} 0\n"), "{text}");
        assert!(!text.contains("crm"), "{text}");
    }

    #[test]
    fn series_appear_on_first_use() {
        let metrics = Metrics::new().unwrap();
        let text = |metrics: &Metrics| String::from_utf8(metrics.render().unwrap()).unwrap();
        assert!(!text(&metrics).contains("aquila_mints_total{"));
        metrics.minted(&"elf-prod".parse().unwrap(), "success", Duration::from_millis(80));
        metrics.answered("/token", "GET", 200, Duration::from_micros(90));
        let text = text(&metrics);
        assert!(text.contains(r#"aquila_mints_total{integration="elf-prod",outcome="success"} 1"#), "{text}");
        assert!(text.contains(r#"aquila_http_requests_total{method="GET",route="/token",status="200"} 1"#), "{text}");
    }
}
