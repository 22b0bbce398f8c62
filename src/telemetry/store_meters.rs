//! Instruments of the store that replicas share. Without one they have no series.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::metrics::{counter, histogram, named};
use crate::names::IntegrationName;

/// What is counted of the store.
#[derive(Debug)]
pub struct StoreMeters {
    up: IntGaugeVec,
    operations: IntCounterVec,
    operation_duration: HistogramVec,
    unreadable: IntCounterVec,
    leases: IntCounterVec,
    tokens_taken_over: IntCounterVec,
}

const UP: &str = "1 while the store is there and what this replica does is shared; 0 while it is alone.";
const OPERATIONS: &str = "Questions to the store: success, away (not even asked), or why it went away.";
const UNREADABLE: &str = "Values from the store that could not be read: form, key, seal.";
const LEASES: &str = "What became of the right to mint: acquired, awaited, overtaken, lost, alone.";
const TAKEN_OVER: &str = "Tokens that another replica minted.";

impl StoreMeters {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let up = IntGaugeVec::new(named("store_up", UP), &[])?;
        registry.register(Box::new(up.clone()))?;
        Ok(Self {
            up,
            operations: counter(registry, "store_operations_total", OPERATIONS, &["operation", "outcome"])?,
            operation_duration: histogram(
                registry,
                "store_operation_duration_seconds",
                "Time of one question to the store.",
                "operation",
                &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25],
            )?,
            unreadable: counter(registry, "store_unreadable_total", UNREADABLE, &["reason"])?,
            leases: counter(registry, "leases_total", LEASES, &["outcome"])?,
            tokens_taken_over: counter(registry, "store_tokens_taken_over_total", TAKEN_OVER, &["integration"])?,
        })
    }

    /// Whether the store is there.
    pub fn is_up(&self, up: bool) {
        let none: [&str; 0] = [];
        self.up.with_label_values(&none).set(i64::from(up));
    }

    /// The store was asked something, or would have been if it were not away: then it took no time.
    pub fn asked(&self, operation: &'static str, outcome: &'static str, lasted: Option<Duration>) {
        self.operations.with_label_values(&[operation, outcome]).inc();
        if let Some(lasted) = lasted {
            self.operation_duration.with_label_values(&[operation]).observe(lasted.as_secs_f64());
        }
    }

    /// A value from the store could not be read.
    pub fn could_not_read(&self, reason: &'static str) {
        self.unreadable.with_label_values(&[reason]).inc();
    }

    /// A flight asked for the right to mint.
    pub fn lease(&self, outcome: &'static str) {
        self.leases.with_label_values(&[outcome]).inc();
    }

    /// A token of another replica was taken over.
    pub fn took_over(&self, integration: &IntegrationName) {
        self.tokens_taken_over.with_label_values(&[integration.as_str()]).inc();
    }
}
